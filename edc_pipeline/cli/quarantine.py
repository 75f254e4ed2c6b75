"""`edc quarantine`: the frames that could not be read."""

from __future__ import annotations

import base64
import datetime as dt
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edc_pipeline.cli import options

if TYPE_CHECKING:
    from edc_pipeline.spool.quarantine import QuarantinedFrame


@click.group(epilog="Example: edc quarantine list; edc quarantine show --day 2026-01-22 FRAME")
def quarantine() -> None:
    """List and show the frames that could not be read, by day of receipt."""


@quarantine.command("list", epilog="Example: edc quarantine list --day 2026-01-22 --json")
@options.config
@click.option("--day", type=options.Day(), help="Only what was received on this New York day.")
@options.as_json
def list_frames(config: Path | None, day: dt.date | None, as_json: bool) -> int:
    """List frame, feed, receive time and reason; exit 1 if there is any."""
    import msgspec  # noqa: PLC0415

    from edc_pipeline.cli import terminal  # noqa: PLC0415

    spool = options.load_settings(config).spool
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


def _frames(spool: Path, day: dt.date | None) -> list[QuarantinedFrame]:
    from edc_pipeline.spool.layout import quarantine_days  # noqa: PLC0415
    from edc_pipeline.spool.quarantine import read_quarantine  # noqa: PLC0415

    days = quarantine_days(spool) if day is None else [day]
    return [frame for one in days for frame in read_quarantine(spool, one)]
