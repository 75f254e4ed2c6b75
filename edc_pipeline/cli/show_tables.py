"""How `edc show` draws a daily file: what it holds and is worth, then columns, symbols and rows."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from edc_pipeline.cli import terminal
from edc_pipeline.consolidation.glance import Summary
from edc_pipeline.market_day import MARKET_ZONE, NS_PER_SECOND

_GAPS: Final = 5  # so many are listed; `edc gaps` lists all
_WIDEST_CELL: Final = 24  # of a text, on a terminal
_TIMES: Final = ("ts_event", "created_at")
# When not all columns fit, those that come first here are shown.
_WORTH: Final = (
    *("ts_event", "symbol", "price", "size", "bid_price", "bid_size", "ask_price", "ask_size"),
    *("kind", "side", "conditions", "venue", "vendor", "feed", "event_id", "seq", "status"),
    *("occurrence", "origin", "created_at", "asset_class", "ts_source"),
)


def draw(shown: Summary, console: Console, *, symbols: int, columns: list[str]) -> None:
    _facts(console, shown)
    _feeds(console, shown)
    _gaps(console, shown)
    _columns(console, shown)
    _symbols(console, shown, symbols)
    _rows(console, shown, columns)


def _facts(console: Console, shown: Summary) -> None:
    c, d = shown.certificate, shown.certificate.duplicates
    packed = shown.bytes / max(shown.rows, 1)
    causes = {
        "redelivered": d.redelivered,
        "from another connection": d.other_connection,
        "by id": d.same_id,
    }
    by_cause = ", ".join(f"{n:,} {cause}" for cause, n in causes.items() if n)
    size = f"{terminal.size(shown.bytes)}, {c.codec}"
    if shown.rows:
        size += f", {packed:.1f} bytes a row of {shown.row_bytes}"
    why = f": {c.state.why}" if c.state.why else ""
    facts = {
        "file": shown.path,
        "size": f"{size}, in order of {c.order}",
        "holds": f"{shown.rows:,} {c.event_type} rows of {c.day}, {c.symbols:,} symbols",
        "state": c.state.state + why,
        "ledger": "balances" if c.balanced else "; ".join(c.reasons),
        "gaps": _gaps_in_words(shown),
        "made from": f"{c.rows_in:,} rows in {len(c.inputs):,} micro-batches",
        "left out": f"{d.total:,} duplicates" + (f": {by_cause}" if by_cause else ""),
        "near duplicates": f"{c.near_duplicates:,} rows whose id an earlier row has",
        "content": c.content_hash,
    }
    if not c.near_duplicates:
        del facts["near duplicates"]
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for name, fact in {**facts, **_times(shown)}.items():
        wrong = name == "ledger" and not c.balanced
        grid.add_row(f"[bold]{name}[/]", f"[red]{escape(fact)}[/]" if wrong else escape(fact))
    for aside in c.set_aside:
        rows = "" if aside.rows is None else f" ({aside.rows:,} rows)"
        grid.add_row("[yellow]set aside[/]", escape(f"{aside.name}{rows}: {aside.reason}"))
    console.print(grid, highlight=False)


def _times(shown: Summary) -> dict[str, str]:
    c = shown.certificate
    if c.first_event is None or c.last_event is None:
        return {}
    first, last, facts = c.first_event, c.last_event, {}
    if shown.symbol:
        only = shown.symbols[0]
        first, last = only.first, only.last
        share = _share(only.rows, shown.rows)
        facts["symbol"] = (
            f"{only.symbol}, {only.rows:,} rows, {share}; times, rate and rows are of it"
        )
    seconds = (last - first) / NS_PER_SECOND
    part = _lasting(shown.minutes_of_day * 60 / len(shown.rate))
    facts |= {
        "events": f"{_clock(first)} to {_clock(last)} New York, {_lasting(seconds)}; in"
        f" {shown.minutes:,} of the day's {shown.minutes_of_day:,} minutes",
        "rate": f"|{shown.spark_line}| midnight to midnight, at most {max(shown.rate):,} in {part}",
    }
    # A morning is a few bars of a day.
    if (c.last_event - c.first_event) * 2 < shown.minutes_of_day * 60 * NS_PER_SECOND:
        part = _lasting((c.last_event - c.first_event) / NS_PER_SECOND / len(shown.span_rate))
        facts[""] = (
            f"|{shown.span_spark_line}| first event to last, at most {max(shown.span_rate):,}"
            f" in {part}"
        )
    return facts


def _gaps_in_words(shown: Summary) -> str:
    gaps = shown.certificate.gaps
    if not gaps:
        return "none known"
    states = Counter(gap.state for gap in gaps)
    return f"{len(gaps):,}: " + ", ".join(f"{n:,} {state}" for state, n in sorted(states.items()))


def _feeds(console: Console, shown: Summary) -> None:
    made = terminal.table(
        "", "feed", "same event by", "#rows in", "#rows", "#duplicates", "#near duplicates"
    )
    for name, n in sorted(shown.certificate.feeds.items()):
        numbers = (n.rows_in, n.rows, n.duplicates.total, n.near_duplicates)
        made.add_row(escape(name), n.identity, *(f"{number:,}" for number in numbers))
    _print(console, made)


def _gaps(console: Console, shown: Summary) -> None:
    gaps = shown.certificate.gaps
    if not gaps:
        return
    sized = any(gap.size is not None for gap in gaps[:_GAPS])
    made = terminal.table(
        "", "gap of", "symbol", "from", "to", *(["#lost"] if sized else []), "state", "reason"
    )
    for gap in gaps[:_GAPS]:
        lost = "?" if gap.size is None else f"{gap.size:,}"
        made.add_row(
            escape(gap.name),
            escape(gap.symbol or "all"),
            _clock(gap.from_ns)[:12],
            "no end yet" if gap.to_ns is None else _clock(gap.to_ns)[:12],
            *([lost] if sized else []),
            gap.state,
            escape(gap.reason),
        )
    _print(console, made)
    _more(console, len(gaps) - _GAPS, "gaps; `edc gaps` and --json list all")


def _columns(console: Console, shown: Summary) -> None:
    made = terminal.table("", "column", "stored as", "meaning")
    for column in shown.columns:
        width = f" {column.bytes} bytes" if column.stored == "text" else ""
        made.add_row(column.name, column.stored + width, column.meaning)
    _print(console, made)


def _symbols(console: Console, shown: Summary, most: int) -> None:
    if not most or not shown.symbols:
        return
    made = terminal.table("", "symbol", "#rows", "#share", "first", "last")
    for s in shown.symbols[:most]:
        share = _share(s.rows, shown.rows)
        made.add_row(escape(s.symbol), f"{s.rows:,}", share, _clock(s.first), _clock(s.last))
    _print(console, made)
    _more(console, len(shown.symbols) - most, "symbols; --symbols all lists them")


def _rows(console: Console, shown: Summary, asked: list[str]) -> None:
    rows = [*shown.head, *shown.tail]
    if not rows:
        return
    cells = {name: [_cell(name, row[name]) for row in rows] for name in rows[0]}
    same = {
        name: values[0]
        for name, values in cells.items()
        if len(rows) > 1 and len(set(values)) == 1 and name not in _WORTH[:2]
    }
    names = asked or [name for name in cells if name not in same]
    fit = names if asked else _what_fits(console, names, cells)
    stored = {c.name: c.stored for c in shown.columns}
    made = Table(title="", box=None, header_style="dim", title_justify="left")
    for name in fit:
        text = stored[name] == "text"
        most = _WIDEST_CELL if console.is_terminal and not asked and text else None
        justify: Any = "left" if text or stored[name] == "time" else "right"
        made.add_column(name, justify=justify, no_wrap=True, max_width=most)
    for at in range(len(rows)):
        if at == len(shown.head) and shown.head:
            made.add_row("…")
        made.add_row(*(escape(cells[name][at]) for name in fit))
    _print(console, made)
    if same and not asked:
        said = ", ".join(f"{name} {value or '(empty)'}" for name, value in same.items())
        console.print(f"[dim]in all of these: {escape(said)}[/]", highlight=False)
    if left := [name for name in names if name not in fit]:
        console.print(
            f"[dim]no room for {', '.join(left)}; --columns chooses, a pipe takes all[/]",
            highlight=False,
        )


def _what_fits(console: Console, names: list[str], cells: dict[str, list[str]]) -> list[str]:
    if not console.is_terminal:
        return names
    room, fit = console.width, set()
    for name in sorted(names, key=_WORTH.index):
        widest = max(len(name), *(min(len(cell), _WIDEST_CELL) for cell in cells[name]))
        if widest + 2 <= room:
            fit.add(name)
            room -= widest + 2
    return [name for name in names if name in fit]


def _print(console: Console, made: Table) -> None:
    console.print()
    console.print(made, highlight=False)


def _more(console: Console, left: int, what: str) -> None:
    if left > 0:
        console.print(f"[dim]and {left:,} more {what}[/]", highlight=False)


def _cell(name: str, value: Any) -> str:
    return _clock(value) if name in _TIMES else str(value)


def _share(rows: int, of: int) -> str:
    return f"{100 * rows / of:.1f} %"


def _clock(ns: int) -> str:
    """An instant as New York's clock shows it, to the nanosecond."""
    seconds, rest = divmod(ns, NS_PER_SECOND)
    at = dt.datetime.fromtimestamp(seconds, MARKET_ZONE)
    return f"{at:%H:%M:%S}.{rest:09d}"


def _lasting(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.3g} µs"
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 120 else f"{minutes} min"
