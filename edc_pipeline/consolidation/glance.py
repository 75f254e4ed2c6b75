"""A daily file at a glance: schema, counts, symbols, head and tail, rate, certificate.

Every byte is hashed and every row unpacked, on two threads; of the rows, only stamps and symbols
are looked at: 1.6 s of CPU for ten million rows, in 120 MB beside the libraries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from edc_pipeline.consolidation.certificate import Certificate, read_certificate
from edc_pipeline.consolidation.h5_read import StoredTable
from edc_pipeline.consolidation.rows import Array
from edc_pipeline.consolidation.same_files import of_same_files
from edc_pipeline.consolidation.words import factorized
from edc_pipeline.events import COLUMNS
from edc_pipeline.market_day import NS_PER_SECOND, day_bounds, parse_day

_BARS: Final = "▁▂▃▄▅▆▇█"
_SLOTS: Final = 48  # half hours of a day of 24
_MINUTE_NS: Final = 60 * NS_PER_SECOND
_NEAR_NAMES: Final = 5


class NoSuchSymbol(Exception):
    """A symbol that the file does not hold; the message names some that are spelled alike."""


class ColumnShown(msgspec.Struct, kw_only=True):
    name: str
    stored: str
    bytes: int
    meaning: str


class SymbolShown(msgspec.Struct, kw_only=True):
    symbol: str
    rows: int
    first: int
    last: int


class Summary(msgspec.Struct, kw_only=True):
    path: str
    bytes: int
    rows: int
    row_bytes: int  # of a row as it is unpacked
    columns: list[ColumnShown]
    symbols: list[SymbolShown]  # the busiest first
    symbol: str | None  # what head, tail, rate and minutes are of; None: of all
    head: list[dict[str, Any]]
    tail: list[dict[str, Any]]
    rate: list[int]  # events in each of 48 equal parts of the day
    span_rate: list[int]  # and of the time from the file's first event to its last
    minutes: int  # of the day in which there is an event
    minutes_of_day: int
    certificate: Certificate

    @property
    def spark_line(self) -> str:
        return spark_line(self.rate)

    @property
    def span_spark_line(self) -> str:
        return spark_line(self.span_rate)


def summary(path: Path, *, head: int = 5, tail: int = 5, symbol: str | None = None) -> Summary:
    """`NoCertificate` or OSError for a file that is not a readable daily file; `NoSuchSymbol` for a
    symbol that is not in it."""
    return of_same_files(lambda: _summary(path, head, tail, symbol), path)


def _summary(path: Path, head: int, tail: int, symbol: str | None) -> Summary:
    certificate = read_certificate(path)
    counted = _Counted(certificate, head, tail, symbol)
    with StoredTable(path, certificate.event_type) as table:
        for part in table.each(lambda _chunk, block: counted.look(block)):
            counted.add(part)
        counted.finish()
        if symbol is not None and not counted.found:
            raise NoSuchSymbol(_not_there(path, symbol, counted.symbols))
        first, last = counted.ends if symbol is not None else _ends(table, head, tail)
        columns = COLUMNS[certificate.event_type]
        return Summary(
            path=str(path),
            bytes=path.stat().st_size,
            rows=table.rows,
            row_bytes=table.dtype.itemsize,
            columns=[
                ColumnShown(
                    name=c.name,
                    stored=c.stored,
                    bytes=table.dtype[c.name].itemsize,
                    meaning=c.meaning,
                )
                for c in columns
            ],
            symbols=sorted(
                (s for s in counted.symbols if symbol in (None, s.symbol)),
                key=lambda s: (-s.rows, s.symbol),
            ),
            symbol=symbol,
            head=_rows(first, columns),
            tail=_rows(last, columns),
            rate=counted.rate.tolist(),
            span_rate=counted.span_rate.tolist(),
            minutes=int(np.count_nonzero(counted.minutes)),
            minutes_of_day=len(counted.minutes),
            certificate=certificate,
        )


def spark_line(counts: Sequence[int]) -> str:
    """One bar a count, as high as it is large; blank where there is nothing."""
    top = max(counts, default=0)
    return "".join(
        _BARS[min(len(_BARS) - 1, n * len(_BARS) // (top + 1))] if n else " " for n in counts
    )


@dataclass(frozen=True)
class _Part:
    """What there is to see in a chunk."""

    symbols: Array  # `_OF_SYMBOL`, of those in it
    rate: Array
    span_rate: Array
    minutes: Array
    found: int  # rows of the symbol asked for
    head: Array  # its first and last records
    tail: Array


_OF_SYMBOL: Final = [("rows", "<i8"), ("first", "<i8"), ("last", "<i8")]


class _Counted:
    def __init__(self, certificate: Certificate, head: int, tail: int, symbol: str | None) -> None:
        begin, end = day_bounds(parse_day(certificate.day))
        first, last = certificate.first_event, certificate.last_event
        minutes = (end - begin) // _MINUTE_NS
        self._edges = {
            "rate": _edges(begin, end, _SLOTS),
            "span": _edges(first or 0, (last or 0) + 1, _SLOTS),
            "minutes": _edges(begin, end, minutes),
        }
        self._by_time = certificate.order == "time"
        self._head, self._tail = head, tail
        self._symbol = None if symbol is None else symbol.encode()
        self._of_symbols: list[Array] = []
        self.symbols: list[SymbolShown] = []
        self.rate = np.zeros(_SLOTS, np.int64)
        self.span_rate = np.zeros(_SLOTS, np.int64)
        self.minutes = np.zeros(minutes, np.int64)
        self.found = 0
        self._first: list[Array] = []
        self._last: Array | None = None

    def look(self, block: Array) -> _Part:
        stamps = block["ts_event"].copy()
        names, codes = factorized(block["symbol"].copy())
        symbols = np.zeros(len(names), [("name", block.dtype["symbol"]), *_OF_SYMBOL])
        symbols["name"] = names
        symbols["rows"] = np.bincount(codes, minlength=len(names))
        # In either order the rows of a symbol go by time. Of assignments the last one stays.
        symbols["last"][codes] = stamps
        symbols["first"][codes[::-1]] = stamps[::-1]
        found = 0
        head = tail = block[:0].copy()
        if self._symbol is not None:
            code = names.index(self._symbol) if self._symbol in names else -1
            rows = np.flatnonzero(codes == code)
            found = len(rows)
            head = block[rows[: self._head]]
            tail = block[rows[max(0, found - self._tail) :]]
            stamps = stamps[rows]
        if not self._by_time:
            stamps.sort()
        of = {what: np.diff(np.searchsorted(stamps, at)) for what, at in self._edges.items()}
        return _Part(symbols, of["rate"], of["span"], of["minutes"], found, head, tail)

    def add(self, part: _Part) -> None:
        self._of_symbols.append(part.symbols)
        self.rate += part.rate
        self.span_rate += part.span_rate
        self.minutes += part.minutes
        self.found += part.found
        if sum(map(len, self._first)) < self._head:
            self._first.append(part.head)
        last = part.tail if self._last is None else np.concatenate([self._last, part.tail])
        self._last = last[max(0, len(last) - self._tail) :]

    def finish(self) -> None:
        """Pieces, a million of ten million rows, are put together as columns, not one by one."""
        if not self._of_symbols:
            return
        name = np.concatenate([part["name"] for part in self._of_symbols])
        rows, first, last = (
            np.concatenate([part[field] for part in self._of_symbols]) for field, _ in _OF_SYMBOL
        )
        names, codes = factorized(name)
        low, high, total = np.zeros((3, len(names)), np.int64)
        np.add.at(total, codes, rows)
        high[codes] = last
        low[codes[::-1]] = first[::-1]
        self.symbols = [
            SymbolShown(symbol=word.decode("utf-8", "replace"), rows=n, first=begin, last=end)
            for word, n, begin, end in zip(
                names, total.tolist(), low.tolist(), high.tolist(), strict=True
            )
        ]

    @property
    def ends(self) -> tuple[Array, Array]:
        """The first and the last records of the symbol; none is in both."""
        assert self._last is not None
        head = np.concatenate([*self._first, self._last[:0]])[: self._head]
        tail = self._last[max(0, len(self._last) - (self.found - len(head))) :]
        return head, tail


def _edges(begin: int, end: int, parts: int) -> Array:
    """Where equal parts of a time begin, and its end."""
    return begin + np.arange(parts + 1) * (end - begin) // parts


def _ends(table: StoredTable, head: int, tail: int) -> tuple[Array, Array]:
    head = min(head, table.rows)
    return _between(table, 0, head), _between(table, max(head, table.rows - tail), table.rows)


def _between(table: StoredTable, first: int, end: int) -> Array:
    found = [np.empty(0, table.dtype)]
    for chunk in table.chunks:
        if chunk.first < end and first < chunk.first + chunk.rows:
            found.append(table.read(chunk)[max(0, first - chunk.first) : end - chunk.first])
    return np.concatenate(found)


def _not_there(path: Path, symbol: str, there: list[SymbolShown]) -> str:
    names = sorted(s.symbol for s in there)
    if not names:
        return f"{path} holds no {symbol!r}: it has no rows"
    near = get_close_matches(symbol.upper(), names, _NEAR_NAMES) or names[:_NEAR_NAMES]
    return f"{path} holds no {symbol!r}; of its {len(names):,} symbols, e.g. {', '.join(near)}"


def _rows(block: Array, columns: Any) -> list[dict[str, Any]]:
    return [
        {
            c.name: value.decode("utf-8", "replace") if c.stored == "text" else value
            for c, value in zip(columns, row[1:], strict=True)
        }
        for row in block.tolist()
    ]
