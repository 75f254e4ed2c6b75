"""`edc decode`: the vendors' readers, without a socket."""

from __future__ import annotations

import base64
import binascii
import sys
import time
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from edc_pipeline.cli.options import WrongCall, as_json, config, load_settings, vendor_named

if TYPE_CHECKING:
    from edc_pipeline.vendors.contract import Subscription, Vendor


@click.command(
    epilog="Example: edc decode --vendor tiingo --feed iex frames.jsonl | head; with the mapping of"
    " a feed of feeds.yaml: edc decode --vendor signed_json --like my_feed bodies.jsonl",
)
@click.option("--vendor", required=True, help="Whose frames these are.")
@click.option("--feed", default="", help="The vendor's product, where a frame does not tell.")
@click.option("--symbols", default="", help="What was asked for, A,B,…, where it matters.")
@click.option(
    "--options",
    "asked_options",
    default="",
    metavar="JSON",
    help="The feed's options, e.g. '{\"mapping\": …}'.",
)
@click.option(
    "--like", metavar="FEED", help="Symbols and options of this feed of feeds.yaml, by its name."
)
@config
@click.option(
    "--receive-times",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="When each frame came, line by line: epoch seconds or integer ns. [default: now]",
)
@as_json
@click.argument("file", type=click.File("rb"), default="-")
def decode(
    *,
    vendor: str,
    feed: str,
    symbols: str,
    asked_options: str,
    like: str | None,
    config: Path | None,
    receive_times: Path | None,
    as_json: bool,
    file: IO[bytes],
) -> int:
    """Read frames, one a line as sent (base64 for binary), and print one JSON event a line.

    What can't be read goes to standard error with the reason, and the exit code is 1. The output
    is JSON with or without --json.
    """
    import msgspec  # noqa: PLC0415

    from edc_pipeline.capture.admission import Admission  # noqa: PLC0415

    rules = vendor_named(vendor)
    if feed and feed not in rules.feeds:
        raise WrongCall(
            f"{rules.name} has no feed {feed!r}; it has: {', '.join(sorted(rules.feeds))}"
        )
    if like is None:
        asked = _asked(rules, feed, symbols, asked_options)
    else:
        asked = _as_set(rules, feed, like, config)
    read = rules.decoder(asked)
    admission = Admission(horizon_days=None)
    unreadable = 0
    for line_number, frame, received_at in _frames(file, receive_times):
        reading = admission.admit(read(frame, received_at), received_at)
        for event in reading.events:
            sys.stdout.buffer.write(msgspec.json.encode(event) + b"\n")
        if reading.faults or reading.outcome == "quarantined":
            unreadable += 1
            sys.stdout.flush()
            said = {
                "line": line_number,
                "reason": "; ".join(reading.faults) or "nothing in it",
                "frame": frame.decode("utf-8", "backslashreplace"),
            }
            click.echo(msgspec.json.encode(said), err=True)
    sys.stdout.flush()
    return 1 if unreadable else 0


def _asked(rules: Vendor, feed: str, symbols: str, as_text: str) -> Subscription:
    import msgspec  # noqa: PLC0415

    from edc_pipeline.vendors.contract import Subscription  # noqa: PLC0415

    try:
        options = msgspec.json.decode(as_text, type=dict[str, Any]) if as_text else {}
    except (msgspec.MsgspecError, ValueError) as error:
        raise WrongCall(f"--options: {as_text!r:.80} is no JSON object: {error}") from None
    for name in [feed] if feed else rules.feeds:
        # Without a feed the options may be any of theirs.
        wrong = rules.feeds[name].check_options(options)
        if not wrong:
            break
    if wrong:
        raise WrongCall("--options: " + "\n  ".join(wrong))
    return Subscription(feed, tuple(filter(None, symbols.split(","))), options)


def _as_set(rules: Vendor, feed: str, name: str, path: Path | None) -> Subscription:
    feeds = load_settings(path).feeds
    if name not in feeds:
        raise WrongCall(f"--like: there is no feed {name!r}; there are: {', '.join(sorted(feeds))}")
    like = feeds[name]
    if like.vendor != rules.name or (feed and feed != like.feed):
        raise WrongCall(f"--like: the feed {name!r} is {like.vendor} {like.feed}")
    return like.subscription


def _frames(file: IO[bytes], receive_times: Path | None) -> Iterator[tuple[int, bytes, int]]:
    times = None if receive_times is None else receive_times.read_text().split()
    for number, line in enumerate(file):
        frame = _frame(line.rstrip(b"\r\n"))
        if times is None:
            received_at = time.time_ns()
        elif number < len(times):
            received_at = _receive_time(times[number], number + 1)
        else:
            raise WrongCall(f"{receive_times} has {len(times)} lines, the frames have more")
        if frame:
            yield number + 1, frame, received_at


def _frame(line: bytes) -> bytes:
    """A line of text as it stands; base64 only where it is no JSON (`null` is both)."""
    import msgspec  # noqa: PLC0415

    if not line or line.lstrip()[:1] in b'{["':
        return line
    try:
        msgspec.json.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        try:
            return base64.b64decode(line, validate=True)
        except binascii.Error:
            return line
    return line


def _receive_time(text: str, line: int) -> int:
    """Epoch seconds with a fraction, or integer ns: told apart by their size."""
    try:
        value = Decimal(text)
        ns = int(value) if value == int(value) and value > 10**14 else int(value * 10**9)
    except (InvalidOperation, ValueError, OverflowError):
        raise WrongCall(f"receive times, line {line}: {text!r} is no time") from None
    return ns
