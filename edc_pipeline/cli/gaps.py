"""`edc gaps`: what is known to be missing."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

import click

from edc_pipeline.cli import options
from edc_pipeline.market_day import day_bounds


@click.command(epilog="Example: edc gaps --day 2026-01-22; exit 1 if there is any.")
@options.config
@click.option("--spool", type=click.Path(path_type=Path, file_okay=False), help="Another spool.")
@click.option("--day", type=options.Day(), help="Only gaps that touch this New York day.")
@options.as_json
def gaps(config: Path | None, spool: Path | None, day: dt.date | None, as_json: bool) -> int:
    """List the gaps that the ledger knows: which feed, from when to when, how many, and why."""
    from edc_pipeline.cli import terminal  # noqa: PLC0415 - rich is slow to import
    from edc_pipeline.spool.ledger import Ledger  # noqa: PLC0415

    where = options.existing_spool(spool or options.load_settings(config).spool)
    if not Ledger(where).path.exists():
        raise options.FallsShort(f"{where} has no ledger: what is missing is not known")
    found = Ledger(where).gaps(*(day_bounds(day) if day else (None, None)))
    if as_json:
        import msgspec  # noqa: PLC0415

        for gap in found:
            click.echo(msgspec.json.encode(dataclasses.asdict(gap)))
        return 1 if found else 0
    if not found:
        click.echo(f"no gaps{f' on {day}' if day else ''} in {where}")
        return 0
    shown = terminal.table("", "feed", "symbol", "from", "to", "#seconds", "#size", "state", "why")
    for gap in found:
        seconds = "" if gap.to_ns is None else f"{(gap.to_ns - gap.from_ns) / 1e9:,.3f}"
        shown.add_row(
            gap.source.name,
            gap.symbol or "all",
            terminal.market_time(gap.from_ns),
            terminal.market_time(gap.to_ns),
            seconds,
            "?" if gap.size is None else f"{gap.size:,}",
            gap.state,
            gap.reason,
        )
    terminal.show(shown)
    return 1
