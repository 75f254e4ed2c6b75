"""`edc show`: a daily file at a glance."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edc_pipeline.market_day import MARKET_ZONE, NS_PER_SECOND

if TYPE_CHECKING:
    from rich.console import Console

    from edc_pipeline.consolidation import Summary


@click.command(
    epilog="Example:  edc show daily/consol_feeds_trade_2026_01_22.h5 --symbols 20 --rows 3"
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--symbols", type=click.IntRange(min=0), default=10, show_default=True, help="Symbols listed."
)
@click.option(
    "--rows",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    help="Rows of head and tail.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def show(file: Path, symbols: int, rows: int, as_json: bool) -> None:
    """Show what a daily FILE holds: columns, counts, symbols, first and last rows, certificate.

    It believes the file; `edc verify` does not.
    """
    import msgspec  # noqa: PLC0415

    from edc_pipeline.consolidation import NoCertificate, summary  # noqa: PLC0415

    try:
        shown = summary(file, rows=rows)
    except KeyboardInterrupt:
        sys.exit(130)
    except (NoCertificate, OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise click.ClickException(f"{file} is no readable daily file: {reason}") from None
    if as_json:
        fields: dict[str, Any] = msgspec.structs.asdict(shown)
        fields["symbols"] = shown.symbols[:symbols]
        fields["symbols_count"] = len(shown.symbols)
        click.echo(msgspec.json.encode({**fields, "spark_line": shown.spark_line}))
        return
    from edc_pipeline.cli import terminal  # noqa: PLC0415 - rich is slow to import

    console = terminal.console()
    _counts(console, shown)
    _columns(console, shown)
    _symbols(console, shown, symbols)
    _rows(console, shown)


def _counts(console: Console, shown: Summary) -> None:
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    c = shown.certificate
    table = Table.grid(padding=(0, 2))
    d = c.duplicates
    facts = {
        "file": f"{shown.path}, {shown.bytes:,} bytes, {c.codec}",
        "holds": f"{shown.rows:,} {c.event_type} rows of {c.day}, {c.symbols:,} symbols",
        "from": f"{c.rows_in:,} rows in {len(c.inputs):,} micro-batches",
        "left out": f"{d.total:,} duplicates: {d.redelivered:,} redelivered,"
        f" {d.other_connection:,} from another connection, {d.same_id:,} by id",
        "near duplicates": f"{c.near_duplicates:,}",
        "gaps": f"{len(c.gaps):,}",
        "content": c.content_hash,
        "ledger": "balances" if c.balanced else "; ".join(c.reasons),
    }
    if c.first_event is not None and c.last_event is not None:
        facts["events"] = f"{_clock(c.first_event)} to {_clock(c.last_event)} New York"
        facts["rate"] = f"|{shown.spark_line}| midnight to midnight, {max(shown.rate):,} at most"
    for name, fact in facts.items():
        table.add_row(f"[bold]{name}[/]", escape(fact))
    for aside in c.set_aside:
        table.add_row("[yellow]set aside[/]", escape(f"{aside.name}: {aside.reason}"))
    console.print(table)


def _columns(console: Console, shown: Summary) -> None:
    from rich.table import Table  # noqa: PLC0415

    table = Table("column", "stored as", "meaning", box=None, header_style="bold")
    for column in shown.columns:
        width = f" {column.bytes} bytes" if column.stored == "text" else ""
        table.add_row(column.name, column.stored + width, column.meaning)
    console.print(table)


def _symbols(console: Console, shown: Summary, symbols: int) -> None:
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    if not symbols or not shown.symbols:
        return
    table = Table("symbol", box=None, header_style="bold")
    table.add_column("rows", justify="right")
    table.add_column("first")
    table.add_column("last")
    for s in shown.symbols[:symbols]:
        table.add_row(escape(s.symbol), f"{s.rows:,}", _clock(s.first), _clock(s.last))
    console.print(table)
    if len(shown.symbols) > symbols:
        console.print(f"[dim]and {len(shown.symbols) - symbols:,} more symbols[/]")


def _rows(console: Console, shown: Summary) -> None:
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    rows = [*shown.head, *shown.tail]
    if not rows:
        return
    # What is the same in all rows shown is said nowhere; the columns stand above.
    names = [
        n for n in rows[0] if n in ("ts_event", "symbol") or len({str(r[n]) for r in rows}) > 1
    ]
    table = Table(*names, box=None, header_style="bold")
    for at, row in enumerate(rows):
        if at == len(shown.head):
            table.add_row("…")
        cells = (_clock(row[n]) if n in ("ts_event", "created_at") else str(row[n]) for n in names)
        table.add_row(*map(escape, cells))
    console.print(table)


def _clock(ns: int) -> str:
    """An instant as New York's clock shows it, to the nanosecond."""
    seconds, rest = divmod(ns, NS_PER_SECOND)
    at = dt.datetime.fromtimestamp(seconds, MARKET_ZONE)
    return f"{at:%H:%M:%S}.{rest:09d}"
