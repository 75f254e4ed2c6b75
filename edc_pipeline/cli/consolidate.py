"""`edc consolidate`: a day's micro-batches → daily files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from edc_pipeline.cli.options import Day
from edc_pipeline.events import EVENT_TYPES, EventType

if TYPE_CHECKING:
    import datetime as dt

    from rich.console import Console

    from edc_pipeline.consolidation.make import Consolidated

# `edc_pipeline.consolidation.CODECS`, written out: importing it costs a second, `--help` none.
_CODECS: Final = ("blosc2-lz4", "zstd", "zlib")


@click.command(
    epilog="Example:  edc consolidate --spool spool --out daily --day 2026-01-22 --type trade"
)
@click.option(
    "--spool",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="The folder that capture fills.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="The folder of the daily files; it is made where missing.",
)
@click.option("--day", type=Day(), required=True, help="A day of New York.")
@click.option(
    "--type", "event_type", type=click.Choice(EVENT_TYPES), help="One event type; default: all."
)
@click.option(
    "--codec",
    type=click.Choice(_CODECS),
    default="blosc2-lz4",
    show_default=True,
    help="zlib is read by h5py without hdf5plugin.",
)
@click.option(
    "--order",
    type=click.Choice(("time", "symbol")),
    default="time",
    show_default=True,
    help="How rows lie: by symbol, one symbol's day is read in milliseconds.",
)
@click.option(
    "--memory", default="1GiB", show_default=True, help="What may be used, e.g. 512MiB or 2GiB."
)
@click.option(
    "--versions",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    help="Superseded files to keep, in OUT/versions.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def consolidate(
    *,
    spool: Path,
    out: Path,
    day: dt.date,
    event_type: EventType | None,
    codec: str,
    order: str,
    memory: str,
    versions: int,
    as_json: bool,
) -> None:
    """Make the daily HDF5 files of a day: each genuine event once, in order, verified.

    A file that stands already, made of the same, is not touched. Exit 1: nothing could be made,
    events are missing, or a ledger does not balance.
    """
    from edc_pipeline.cli import terminal  # noqa: PLC0415 - rich is slow to import
    from edc_pipeline.consolidation.errors import CannotConsolidate  # noqa: PLC0415
    from edc_pipeline.consolidation.make import consolidate as make  # noqa: PLC0415
    from edc_pipeline.consolidation.wish import bytes_of  # noqa: PLC0415

    try:
        size = bytes_of(memory)
    except CannotConsolidate as error:
        raise click.BadParameter(str(error), param_hint="--memory") from None
    console = terminal.console(stderr=as_json)
    made: list[Consolidated] = []
    not_made: dict[str, CannotConsolidate] = {}
    for each in (event_type,) if event_type else EVENT_TYPES:
        try:
            with _progress(console, each) as progress:
                made.append(
                    make(
                        *(spool, out, each, day),
                        codec=codec,  # type: ignore[arg-type] # click has checked it
                        order=order,  # type: ignore[arg-type] # so is this
                        memory=size,
                        versions=versions,
                        progress=progress,
                    )
                )
        except CannotConsolidate as error:
            not_made[each] = error
        except OSError as error:
            raise click.ClickException(f"{error.strerror}: {error.filename or out}") from None
        except KeyboardInterrupt:
            click.echo("interrupted; the former file stays", err=True)
            sys.exit(130)
    if as_json:
        click.echo(_as_json(made, not_made))
    else:
        _show(console, made, not_made)
    short = [m for m in made if not m.certificate.balanced]
    if short or not made or not all(error.nothing_there for error in not_made.values()):
        sys.exit(1)


@contextmanager
def _progress(console: Console, name: str) -> Iterator[Callable[[str, int, int], None] | None]:
    """A bar with rate and time left, where the output is a terminal."""
    if not console.is_terminal:
        yield None
        return
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:24}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} rows"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, TaskID] = {}

        def advance(stage: str, done: int, of: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(f"{name}: {stage}", rate="")
            task = tasks[stage]
            speed = next(t.speed for t in bars.tasks if t.id == task)
            rate = f"{speed:,.0f} rows/s" if speed else ""
            bars.update(task, completed=done, total=max(of, 1), rate=rate)

        yield advance


def _as_json(made: list[Consolidated], not_made: dict[str, Any]) -> str:
    import msgspec  # noqa: PLC0415

    files = [
        {
            "path": str(m.path),
            "unchanged": m.unchanged,
            "seconds": {stage: round(s, 4) for stage, s in m.seconds.items()},
            "warnings": m.warnings,
            "certificate": m.certificate,
        }
        for m in made
    ]
    reasons = {event_type: str(error) for event_type, error in not_made.items()}
    return msgspec.json.encode({"files": files, "not_made": reasons}).decode()


def _show(console: Console, made: list[Consolidated], not_made: dict[str, Any]) -> None:
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    if made:
        table = Table(box=None, header_style="bold")
        table.add_column("daily file", overflow="fold")
        for name in ("rows in", "kept", "duplicates", "symbols", "seconds"):
            table.add_column(name, justify="right")
        table.add_column("ledger")
        for m in made:
            c = m.certificate
            table.add_row(
                escape(m.path.name) + ("  [dim]unchanged[/]" if m.unchanged else ""),
                *(f"{n:,}" for n in (c.rows_in, c.rows, c.duplicates.total, c.symbols)),
                f"{sum(m.seconds.values()):.2f}",
                "[green]balances[/]" if c.balanced else "[red]does not balance[/]",
            )
        console.print(table)
    for m in made:
        for reason in m.certificate.reasons:
            console.print(f"[red]{escape(m.certificate.event_type)}[/]: {escape(reason)}")
        for warning in m.warnings:
            console.print(f"[yellow]{escape(m.certificate.event_type)}[/]: {escape(warning)}")
    for event_type, error in not_made.items():
        colour = "dim" if error.nothing_there and made else "red"
        console.print(f"[{colour}]{escape(event_type)}[/]: {escape(str(error))}")
