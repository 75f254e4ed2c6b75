"""`edc retain`: remove the micro-batches that sound daily files hold."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import click

from edc_pipeline.cli.options import Day, existing_spool
from edc_pipeline.events import EVENT_TYPES, EventType


@click.command(
    epilog="Example:  edc retain --spool data/spool --out data/daily --before 2026-01-15 --dry-run"
)
@click.option("--spool", type=click.Path(path_type=Path), required=True, help="The spool.")
@click.option(
    "--out",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="The folder of the daily files.",
)
@click.option("--before", type=Day(), required=True, help="Days before this one.")
@click.option(
    "--type", "event_type", type=click.Choice(EVENT_TYPES), help="One event type; default: all."
)
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def retain(
    *,
    spool: Path,
    out: Path,
    before: dt.date,
    event_type: EventType | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove micro-batches of days BEFORE a day, where a daily file holds every row of them.

    Each daily file is verified against them first; a day that is provisional, or whose ledger does
    not balance, keeps them. Exit 1: some had to stay.
    """
    import sys  # noqa: PLC0415

    import msgspec  # noqa: PLC0415

    from edc_pipeline.cli import terminal  # noqa: PLC0415 - rich is slow to import
    from edc_pipeline.consolidation.retention import retire  # noqa: PLC0415
    from edc_pipeline.spool.layout import batch_files, days_in  # noqa: PLC0415

    existing_spool(spool)
    done = [
        retire(spool, out, of_type, on, dry_run=dry_run)
        for of_type, on in days_in(spool)
        if event_type in (None, of_type) and on < before and batch_files(spool, of_type, on)
    ]
    if as_json:
        click.echo(msgspec.json.encode({"dry_run": dry_run, "days": done}))
    else:
        table = terminal.table("", "day", "type", "#micro-batches", "#bytes", "stay because")
        for one in done:
            numbers = (f"{len(one.removed):,}", f"{one.bytes:,}")
            table.add_row(one.day, one.event_type, *numbers, one.kept_because)
        terminal.show(table, *(["nothing was removed (--dry-run)"] if dry_run else []))
    sys.exit(1 if any(one.kept_because for one in done) else 0)
