"""A daily file at a glance: schema, counts, symbols, head and tail, rate, certificate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from edc_pipeline.consolidation.certificate import Certificate, read_certificate
from edc_pipeline.consolidation.h5_read import blocks, open_daily, table_in
from edc_pipeline.events import COLUMNS
from edc_pipeline.market_day import day_bounds, parse_day

_BARS: Final = "▁▂▃▄▅▆▇█"
_SLOTS: Final = 48  # half hours of a day of 24


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
    columns: list[ColumnShown]
    symbols: list[SymbolShown]  # the busiest first
    head: list[dict[str, Any]]
    tail: list[dict[str, Any]]
    rate: list[int]  # events in each of 48 equal parts of the day
    certificate: Certificate

    @property
    def spark_line(self) -> str:
        return spark_line(self.rate)


def summary(path: Path, *, rows: int = 5) -> Summary:
    """`NoCertificate` or OSError for a file that is not a readable daily file."""
    certificate = read_certificate(path)
    with open_daily(path) as file:
        table = table_in(file, certificate.event_type)
        columns = COLUMNS[certificate.event_type]
        rate = np.zeros(_SLOTS, np.int64)
        symbols: dict[bytes, SymbolShown] = {}
        edges = np.linspace(*day_bounds(parse_day(certificate.day)), _SLOTS + 1)
        for block in blocks(table):
            rate += np.histogram(block["ts_event"], edges)[0]
            _count_symbols(symbols, block)
        return Summary(
            path=str(path),
            bytes=path.stat().st_size,
            rows=len(table),
            columns=[
                ColumnShown(
                    name=c.name,
                    stored=c.stored,
                    bytes=table.dtype[c.name].itemsize,
                    meaning=c.meaning,
                )
                for c in columns
            ],
            symbols=sorted(symbols.values(), key=lambda s: (-s.rows, s.symbol)),
            head=_rows(table[: max(0, rows)], columns),
            tail=_rows(table[max(0, rows, len(table) - rows) :], columns) if rows > 0 else [],
            rate=rate.tolist(),
            certificate=certificate,
        )


def spark_line(counts: Sequence[int]) -> str:
    """One bar a count, as high as it is large; blank where there is nothing."""
    top = max(counts, default=0)
    return "".join(
        _BARS[min(len(_BARS) - 1, n * len(_BARS) // (top + 1))] if n else " " for n in counts
    )


def _count_symbols(symbols: dict[bytes, SymbolShown], block: Any) -> None:
    # Rows go by time, so the first and last index of a symbol are its first and last event.
    names, first, counts = np.unique(block["symbol"], return_index=True, return_counts=True)
    last = len(block) - 1 - np.unique(block["symbol"][::-1], return_index=True)[1]
    stamps = block["ts_event"]
    for name, begin, end, n in zip(names.tolist(), first, last, counts.tolist(), strict=True):
        seen = symbols.setdefault(
            name,
            SymbolShown(
                symbol=name.decode("utf-8", "replace"), rows=0, first=int(stamps[begin]), last=0
            ),
        )
        seen.rows += n
        seen.last = int(stamps[end])


def _rows(block: Any, columns: Any) -> list[dict[str, Any]]:
    return [
        {
            c.name: value.decode("utf-8", "replace") if c.stored == "text" else value
            for c, value in zip(columns, row[1:], strict=True)
        }
        for row in block.tolist()
    ]
