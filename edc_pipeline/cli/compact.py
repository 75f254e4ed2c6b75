"""`edc compact`: many small micro-batches → few."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import click

from edc_pipeline.cli.options import Day, existing_spool
from edc_pipeline.events import EVENT_TYPES, EventType


@click.command(epilog="Example:  edc compact --spool data/spool --day 2026-01-22 --dry-run")
@click.option("--spool", type=click.Path(path_type=Path), required=True, help="The spool.")
@click.option("--day", type=Day(), help="One day; default: every day in the spool.")
@click.option(
    "--type", "event_type", type=click.Choice(EVENT_TYPES), help="One event type; default: all."
)
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def compact(
    *, spool: Path, day: dt.date | None, event_type: EventType | None, dry_run: bool, as_json: bool
) -> None:
    """Put small micro-batches together, with every row, frame and connection.

    Only what the ledger has counted is touched; capture may go on meanwhile.
    """
    import msgspec  # noqa: PLC0415

    from edc_pipeline.cli import terminal  # noqa: PLC0415 - rich is slow to import
    from edc_pipeline.spool.compaction import compact as put_together  # noqa: PLC0415
    from edc_pipeline.spool.layout import days_in  # noqa: PLC0415

    existing_spool(spool)
    done = [
        put_together(spool, of_type, on, dry_run=dry_run)
        for of_type, on in days_in(spool)
        if event_type in (None, of_type) and day in (None, on)
    ]
    if as_json:
        click.echo(msgspec.json.encode({"dry_run": dry_run, "days": done}))
        return
    table = terminal.table("", "day", "type", "#files before", "#files after", "#rows rewritten")
    for one in done:
        numbers = (f"{n:,}" for n in (one.files_before, one.files_after, one.rows))
        table.add_row(one.day, one.event_type, *numbers)
    terminal.show(table, *(["nothing was changed (--dry-run)"] if dry_run else []))
