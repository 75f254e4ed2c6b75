"""`edc quarantine`: the frames that could not be read."""

from __future__ import annotations

import base64
import datetime as dt
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edc_pipeline.cli import options
from edc_pipeline.printable import printable

if TYPE_CHECKING:
    from edc_pipeline.spool.quarantine import QuarantinedFrame


@click.group(
    epilog="Example: edc quarantine list; edc quarantine show FRAME; edc quarantine retry --dry-run"
)
def quarantine() -> None:
    """List, show and retry the frames that could not be read, by day of receipt."""


@quarantine.command("list", epilog="Example: edc quarantine list --day 2026-01-22 --json")
@options.config
@click.option("--day", type=options.Day(), help="Only what was received on this New York day.")
@options.as_json
def list_frames(config: Path | None, day: dt.date | None, as_json: bool) -> int:
    """List frame, feed, receive time and reason; exit 1 if there is any, or a file is torn."""
    import msgspec  # noqa: PLC0415

    from edc_pipeline.cli import terminal  # noqa: PLC0415

    spool = options.existing_spool(options.load_settings(config).spool)
    shown = terminal.table("", "received", "feed", "connection", "#frame", "#bytes", "reason")
    found, torn = 0, list[Path]()
    for frame in _frames(spool, day, torn):
        found += 1
        if as_json:
            click.echo(msgspec.json.encode(_told(frame)))
            continue
        shown.add_row(
            terminal.market_time(frame.received_at),
            frame.source.name,
            frame.connection,
            str(frame.frame),
            f"{len(frame.payload):,}",
            frame.reason,
        )
    if found and not as_json:
        terminal.show(shown)
    elif not (found or torn or as_json):
        click.echo(f"nothing in quarantine{f' of {day}' if day else ''} in {spool}")
    return 1 if found or torn else 0


@quarantine.command("show", epilog="Example: edc quarantine show 700 --day 2026-01-22 > frame.bin")
@options.config
@click.option("--day", type=options.Day(), help="The day it was received.")
@options.as_json
@click.argument("frame", type=int)
def show(config: Path | None, day: dt.date | None, as_json: bool, frame: int) -> int:
    """Write a frame's bytes to standard output, just as they were received.

    With --json all that is known of it, the bytes in base64. Several collectors may each have a
    frame of that number.
    """
    import msgspec  # noqa: PLC0415

    spool = options.existing_spool(options.load_settings(config).spool)
    torn = list[Path]()
    found = [f for f in _frames(spool, day, torn) if f.frame == frame]
    if not found:
        raise options.FallsShort(f"no frame {frame} in quarantine; see: edc quarantine list")
    for one in found:
        said = msgspec.json.encode(_told(one)) if as_json else one.payload
        sys.stdout.buffer.write(said + b"\n")
    sys.stdout.flush()
    return 1 if torn else 0


@quarantine.command("retry", epilog="Example: edc quarantine retry --day 2026-01-22 --dry-run")
@options.config
@click.option("--day", type=options.Day(), help="Only what was received on this New York day.")
@click.option("--dry-run", is_flag=True, help="Tell what would move; change nothing.")
@options.as_json
def retry(config: Path | None, day: dt.date | None, dry_run: bool, as_json: bool) -> int:
    """Read the frames again with today's parsers; what now parses moves into its day.

    May run while capture does. Exit 1 when some frames stay.
    """
    import msgspec  # noqa: PLC0415

    from edc_pipeline.capture.retry import RetryUnderWay, retry_quarantine  # noqa: PLC0415
    from edc_pipeline.spool.micro_batch import UnreadableBatch  # noqa: PLC0415

    settings = options.load_settings(config)
    try:
        done = retry_quarantine(
            settings.spool,
            settings.capture,
            time.time_ns,
            day=day,
            feeds=settings.feeds,
            dry_run=dry_run,
        )
    except RetryUnderWay as other:
        raise options.WrongCall(str(other)) from None
    except UnreadableBatch as unreadable:
        raise options.FallsShort(str(unreadable)) from None
    why = Counter(reason for _, reason in done.stay)
    if as_json:
        told = {
            "dry_run": dry_run,
            "frames_moved": len(done.moved),
            "events": done.events,
            "frames_that_stay": len(done.stay),
            "reasons": why,
            "frames_not_flushed_yet": done.later,
        }
        click.echo(msgspec.json.encode(told))
    else:
        verb = "would move" if dry_run else "moved"
        gave = ", ".join(f"{n:,} {t}" for t, n in sorted(done.events.items())) or "no events"
        click.echo(f"{verb} {len(done.moved):,} frames: {gave}; {len(done.stay):,} stay")
        for reason, number in why.most_common(10):
            click.echo(f"  {number:,} × {printable(reason)}")
        if done.later:
            click.echo(f"  {done.later:,} are still on their way into the ledger: ask again")
    return 1 if done.stay or done.later else 0


def _told(frame: QuarantinedFrame) -> dict[str, Any]:
    payload = base64.b64encode(frame.payload).decode()
    return {**frame._asdict(), "source": frame.source.name, "payload": payload}


def _frames(spool: Path, day: dt.date | None, torn: list[Path]) -> Iterator[QuarantinedFrame]:
    """All that can be read, one file in memory at a time; which could not, and are named."""
    from edc_pipeline.spool.layout import quarantine_days, quarantine_files  # noqa: PLC0415
    from edc_pipeline.spool.micro_batch import UnreadableBatch  # noqa: PLC0415
    from edc_pipeline.spool.quarantine import read_quarantine_file  # noqa: PLC0415

    for path in [p for d in (quarantine_days(spool) if day is None else [day])
                 for p in quarantine_files(spool, d)]:  # fmt: skip
        try:
            yield from read_quarantine_file(path).frames
        except FileNotFoundError:  # a retry emptied it while we looked
            continue
        except UnreadableBatch as unreadable:
            torn.append(path)
            click.echo(f"edc: {unreadable}; it lies in {path.parent}", err=True)
