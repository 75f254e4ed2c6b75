"""`edc show`: a daily file at a glance."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import click

from edc_pipeline.cli.options import FallsShort, WrongCall

_ALL: Final = 1 << 62


class _Count(click.ParamType[int]):
    name = "N|all"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        if str(value).lower() == "all":
            return _ALL
        try:
            count = int(value)
        except ValueError:
            count = -1
        if count < 0:
            self.fail(f"{value!r} is no number of symbols: give 0, 1, 2 … or all", param, ctx)
        return count


@click.command(
    epilog="Example:  edc show daily/consol_feeds_trade_2026_01_22.h5 --symbol SPY --head 50"
    " --columns ts_event,price,size"
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--symbols", type=_Count(), default=10, show_default=True, help="Symbols listed.")
@click.option("--symbol", help="Rows, rate and times of this symbol alone.")
@click.option(
    "--rows",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    help="Rows of head and tail.",
)
@click.option("--head", type=click.IntRange(min=0), help="First rows.  [default: --rows]")
@click.option("--tail", type=click.IntRange(min=0), help="Last rows.  [default: --rows]")
@click.option("--columns", help="Of the rows, with commas; by default what fits and differs.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def show(
    file: Path,
    symbols: int,
    symbol: str | None,
    rows: int,
    head: int | None,
    tail: int | None,
    columns: str | None,
    as_json: bool,
) -> None:
    """Show what a daily FILE holds: counts, state, rate, columns, symbols, first and last rows.

    It reads the whole file once, a second or two for ten million rows, and believes it; `edc
    verify` does not.
    """
    import msgspec  # noqa: PLC0415

    from edc_pipeline.consolidation.certificate import NoCertificate  # noqa: PLC0415
    from edc_pipeline.consolidation.glance import NoSuchSymbol, summary  # noqa: PLC0415

    try:
        shown = summary(
            file,
            head=rows if head is None else head,
            tail=rows if tail is None else tail,
            symbol=symbol,
        )
    except KeyboardInterrupt:
        sys.exit(130)
    except NoSuchSymbol as error:
        raise FallsShort(str(error)) from None
    except (NoCertificate, OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise FallsShort(
            f"{file} is no readable daily file: {reason}. `edc verify {file}` tells more;"
            " `edc consolidate` makes a day anew"
        ) from None
    wanted = _columns_of(columns, [c.name for c in shown.columns])
    if as_json:
        fields: dict[str, Any] = msgspec.structs.asdict(shown)
        fields["symbols"] = shown.symbols[:symbols]
        fields["symbols_count"] = len(shown.symbols)
        for end in ("head", "tail"):
            fields[end] = [{n: row[n] for n in wanted or row} for row in fields[end]]
        click.echo(msgspec.json.encode({**fields, "spark_line": shown.spark_line}))
        return
    from edc_pipeline.cli import terminal  # noqa: PLC0415 - rich is slow to import
    from edc_pipeline.cli.show_tables import draw  # noqa: PLC0415

    draw(shown, terminal.console(), symbols=symbols, columns=wanted)


def _columns_of(asked: str | None, there: list[str]) -> list[str]:
    names = [name.strip() for name in (asked or "").split(",") if name.strip()]
    for name in names:
        if name not in there:
            raise WrongCall(f"--columns: no column {name!r}; there are {', '.join(there)}")
    return list(dict.fromkeys(names))
