"""The rows of one day, as Arrow tables, out of its daily file or out of the spool.

A daily file is read chunk by chunk on two threads and never decoded to Python text.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import h5py
import msgspec
import numpy as np
import pyarrow as pa

from edc_pipeline.consolidation.certificate import Certificate
from edc_pipeline.consolidation.errors import NoSuchData
from edc_pipeline.consolidation.h5_read import Chunk, StoredTable
from edc_pipeline.consolidation.identity import identity_rules, settle
from edc_pipeline.consolidation.names import SYMBOLS
from edc_pipeline.consolidation.plan import make_plan
from edc_pipeline.consolidation.rows import Array
from edc_pipeline.consolidation.slices import Reading, SetAsideWhileReading, slices
from edc_pipeline.consolidation.words import as_dictionary
from edc_pipeline.events import COLUMNS, EventType

_SPOOL_SLICE_ROWS: Final = 500_000


class DayRead(msgspec.Struct, kw_only=True):
    """How far what was read of a day may be relied on."""

    state: str  # provisional, sealed, restated; `live`: from the spool, no file holds all of it
    source: str  # the file, or the spool
    rows: int = 0
    why: str = ""
    balanced: bool = False
    gaps: int = 0
    near_duplicates: int = 0
    content_hash: str = ""


@dataclass(frozen=True)
class Wish:
    event_type: EventType
    symbols: tuple[bytes, ...] | None
    columns: tuple[str, ...]  # in the order of the file
    wanted: tuple[str, ...]  # in the order asked for
    corrected: bool


class DayRows:
    """Where a day is read from."""

    state: DayRead

    def tables(self, wish: Wish) -> Iterator[pa.Table]:
        raise NotImplementedError


class FromFile(DayRows):
    def __init__(self, path: Path, certificate: Certificate) -> None:
        self._path = path
        self._order = certificate.order
        self.state = DayRead(
            state=certificate.state.state,
            source=str(path),
            why=certificate.state.why,
            balanced=certificate.balanced,
            gaps=len(certificate.gaps),
            near_duplicates=certificate.near_duplicates,
            content_hash=certificate.content_hash,
        )

    def tables(self, wish: Wish) -> Iterator[pa.Table]:
        with StoredTable(self._path, wish.event_type) as table:
            if wish.symbols is None:
                yield from table.each(lambda _c, block: _table(block, wish))
            elif self._order == "symbol":
                for first, rows in _runs(self._path, wish.symbols):
                    yield from _rows_of(table, first, first + rows, wish)
            else:
                names = wish.symbols
                yield from table.each(lambda _c, block: _table(_of(block, names), wish))


class FromSpool(DayRows):
    def __init__(self, spool: Path, day: dt.date, why: str) -> None:
        self._spool = spool
        self._day = day
        self.state = DayRead(state="live", source=str(spool), why=why)

    def tables(self, wish: Wish) -> Iterator[pa.Table]:
        plan = make_plan(self._spool, wish.event_type, self._day)
        self.state.gaps = len(plan.ledger.gaps)
        rules = identity_rules()
        with tempfile.TemporaryDirectory(prefix="edc-read-") as scratch:
            found = slices(
                plan, rules, _SPOOL_SLICE_ROWS, Path(scratch), Reading(), lambda _rows: None
            )
            try:
                for slice_ in found:
                    settled = settle(slice_.rows, rules, settled_from=slice_.settled_from)
                    rows = slice_.rows.take(settled.order)
                    rows.numbers["occurrence"] = settled.occurrence
                    if wish.symbols is not None:
                        wanted = np.zeros(rows.count, bool)
                        for name in wish.symbols:
                            wanted |= rows.says("symbol", name)
                        rows = rows.take(np.flatnonzero(wanted))
                    yield rows.to_arrow(wish.columns)
            except SetAsideWhileReading as bad:
                raise NoSuchData(
                    f"the micro-batch {bad.batch.path} can't be read ({bad.error}); consolidate the"
                    " day, which sets it aside"
                ) from bad


def _rows_of(table: StoredTable, first: int, end: int, wish: Wish) -> Iterator[pa.Table]:
    def take(chunk: Chunk, block: Array) -> pa.Table:
        return _table(block[max(0, first - chunk.first) : end - chunk.first], wish)

    chunks = [c for c in table.chunks if c.first < end and first < c.first + c.rows]
    return table.each(take, chunks)


def _table(block: Array, wish: Wish) -> pa.Table:
    stored = {c.name: c.stored for c in COLUMNS[wish.event_type]}
    columns = {}
    for name in wish.columns:
        values = np.ascontiguousarray(block[name])
        columns[name] = as_dictionary(values) if stored[name] == "text" else pa.array(values)
    return pa.table(columns)


def _of(block: Array, symbols: tuple[bytes, ...]) -> Array:
    names = block["symbol"]
    wanted = names == symbols[0] if symbols else np.zeros(len(block), bool)
    for symbol in symbols[1:]:
        wanted |= names == symbol
    found: Array = block[wanted]
    return found


def _runs(path: Path, symbols: tuple[bytes, ...]) -> list[tuple[int, int]]:
    with h5py.File(path, "r") as file:
        table = file[SYMBOLS][()]
    at = np.searchsorted(table["symbol"], np.array(sorted(symbols), table["symbol"].dtype))
    return [
        (int(table["first_row"][i]), int(table["rows"][i]))
        for i, name in zip(at.tolist(), sorted(symbols), strict=True)
        if i < len(table) and table["symbol"][i] == name
    ]
