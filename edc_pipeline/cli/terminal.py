"""How numbers, times and tables look on a terminal. One look for all commands."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from edc_pipeline.market_day import MARKET_ZONE, NS_PER_SECOND
from edc_pipeline.printable import printable

_PIPE_COLUMNS: Final = 240


def table(title: str, *columns: str) -> Table:
    """Columns whose name begins with `#` hold numbers."""
    made = Table(
        title=title, title_justify="left", title_style="bold", header_style="dim", box=None
    )
    for column in columns:
        number = column.startswith("#")
        made.add_column(column.removeprefix("#"), justify="right" if number else "left")
    return made


class _Console(Console):
    def render_str(self, text: str, **how: Any) -> Text:
        """Every text that is printed, of cells too: what is stored must not steer a terminal."""
        return super().render_str(printable(text), **how)

    def on_broken_pipe(self) -> None:
        """To `edc`, which knows what to do; rich would exit with 1."""
        raise  # noqa: PLE0704 - rich calls this where it caught the error


def console(*, stderr: bool = False) -> Console:
    """Into a file or a pipe nothing is cut to the width of a terminal that is not there."""
    made = _Console(stderr=stderr, soft_wrap=True)
    if not made.is_terminal:
        made.width = _PIPE_COLUMNS
    return made


def show(*things: object, in_place: bool = False) -> None:
    to = console()
    if in_place and to.is_terminal:
        _show_in_place(to, things)
        return
    for thing in things:
        to.print(thing, highlight=False, markup=False)


def _show_in_place(to: Console, things: tuple[object, ...]) -> None:
    """Over what was shown before, in one write: a screen that is cleared first flickers."""
    with to.capture() as shown:
        for thing in things:
            to.print(thing, highlight=False, markup=False)
    # Home; each line cleared behind its end; then all below.
    lines = shown.get().splitlines()[: max(to.height - 1, 1)]
    to.file.write("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
    to.file.flush()


def market_time(ns: int | None) -> str:
    """`2026-01-22 09:30:00` in New York, or a dash."""
    if ns is None:
        return "–"
    moment = dt.datetime.fromtimestamp(ns // NS_PER_SECOND, MARKET_ZONE)
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def ago(ns: int | None, now_ns: int) -> str:
    """`4 s ago`, `3 h ago`, or a dash."""
    if ns is None:
        return "–"
    seconds = max(0, now_ns - ns) // NS_PER_SECOND
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def size(number: int) -> str:
    """`12.3 MB`."""
    value = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
