"""`edc diff`: what one daily file says that another does not."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edc_pipeline.consolidation.difference import Difference


@click.command(
    epilog="Example:  edc diff daily/versions/consol_feeds_trade_2026_01_22.0001.h5"
    " daily/consol_feeds_trade_2026_01_22.h5"
)
@click.argument("former", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("new", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--symbols", type=click.IntRange(min=0), default=20, show_default=True, help="Symbols listed."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def diff(former: Path, new: Path, symbols: int, as_json: bool) -> None:
    """Tell what the daily file NEW says that FORMER does not: rows added, removed and changed.

    By symbol and by cause, whatever the order of their rows. Exit 0: they say the same; 1: they
    differ; 2: they can't be compared, since one is no daily file, or of another day or type.
    """
    import msgspec  # noqa: PLC0415

    from edc_pipeline.cli.options import WrongCall  # noqa: PLC0415
    from edc_pipeline.consolidation.certificate import NoCertificate  # noqa: PLC0415
    from edc_pipeline.consolidation.difference import NotComparable, difference  # noqa: PLC0415
    from edc_pipeline.consolidation.errors import DamagedFile  # noqa: PLC0415

    try:
        found = difference(former, new)
    except (NotComparable, DamagedFile) as error:
        raise WrongCall(str(error)) from None
    except NoCertificate as error:
        raise WrongCall(
            f"{error}. `edc verify` tells more; `edc consolidate` makes a day anew"
        ) from None
    except KeyboardInterrupt:
        sys.exit(130)
    with suppress(BrokenPipeError):  # the verdict stands, whoever reads it
        if as_json:
            told = {"same": found.same, **msgspec.to_builtins(found)}
            click.echo(msgspec.json.encode(told))
        else:
            _show(found, symbols)
    sys.exit(0 if found.same else 1)


def _show(found: Difference, symbols: int) -> None:
    from edc_pipeline.cli import terminal  # noqa: PLC0415 - rich is slow to import

    lines = [
        f"{found.event_type} of {found.day}: {found.rows[0]:,} rows before, {found.rows[1]:,} now",
        "the same content"
        if found.same
        else f"{found.added:,} added, {found.removed:,} removed, {found.changed:,} changed",
    ]
    lines += [f"cause: {cause}" for cause in found.causes]
    if found.added_by_origin:
        origins = ", ".join(f"{n:,} {o}" for o, n in sorted(found.added_by_origin.items()))
        lines.append(f"added came as: {origins}")
    if found.changed_columns:
        names = ", ".join(f"{name} {n:,}" for name, n in sorted(found.changed_columns.items()))
        lines.append(f"changed in: {names}")
    terminal.show(*lines)
    if found.by_symbol and symbols:
        table = terminal.table("", "symbol", "#added", "#removed", "#changed")
        for name, of in list(found.by_symbol.items())[:symbols]:
            table.add_row(name, f"{of.added:,}", f"{of.removed:,}", f"{of.changed:,}")
        terminal.show(table)
        if len(found.by_symbol) > symbols:
            terminal.show(f"and {len(found.by_symbol) - symbols:,} more symbols")
