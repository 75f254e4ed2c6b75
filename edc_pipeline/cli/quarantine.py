"""`edc quarantine`: the frames that could not be read."""

from __future__ import annotations

import base64
import datetime as dt
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edc_pipeline.cli import options

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
    """List frame, feed, receive time and reason; exit 1 if there is any."""
    import msgspec  # noqa: PLC0415

    from edc_pipeline.cli import terminal  # noqa: PLC0415

    spool = options.existing_spool(options.load_settings(config).spool)
    found = _frames(spool, day)
    if as_json:
        for frame in found:
            told = {**frame._asdict(), "source": frame.source.name}
            told["payload"] = base64.b64encode(frame.payload).decode()
            click.echo(msgspec.json.encode(told))
    elif found:
        shown = terminal.table("", "received", "feed", "connection", "#frame", "#bytes", "reason")
        for frame in found:
            shown.add_row(
                terminal.market_time(frame.received_at),
                frame.source.name,
                frame.connection,
                str(frame.frame),
                f"{len(frame.payload):,}",
                frame.reason,
            )
        terminal.show(shown)
    else:
        click.echo(f"nothing in quarantine{f' of {day}' if day else ''} in {spool}")
    return 1 if found else 0


@quarantine.command("show", epilog="Example: edc quarantine show 700 --day 2026-01-22 > frame.bin")
@options.config
@click.option("--day", type=options.Day(), help="The day it was received.")
@click.argument("frame", type=int)
def show(config: Path | None, day: dt.date | None, frame: int) -> int:
    """Write a frame's bytes to standard output, just as they were received."""
    found = [f for f in _frames(options.load_settings(config).spool, day) if f.frame == frame]
    if not found:
        raise options.FallsShort(f"no frame {frame} in quarantine; see: edc quarantine list")
    for one in found:
        sys.stdout.buffer.write(one.payload + b"\n")
    sys.stdout.flush()
    return 0


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
            click.echo(f"  {number:,} × {reason}")
        if done.later:
            click.echo(f"  {done.later:,} are still on their way into the ledger: ask again")
    return 1 if done.stay or done.later else 0


def _frames(spool: Path, day: dt.date | None) -> list[QuarantinedFrame]:
    from edc_pipeline.spool.layout import quarantine_days  # noqa: PLC0415
    from edc_pipeline.spool.micro_batch import UnreadableBatch  # noqa: PLC0415
    from edc_pipeline.spool.quarantine import read_quarantine  # noqa: PLC0415

    days = quarantine_days(spool) if day is None else [day]
    try:
        return [frame for one in days for frame in read_quarantine(spool, one)]
    except UnreadableBatch as torn:
        raise options.FallsShort(f"{torn}; move that file out of {spool} to see the rest") from None
