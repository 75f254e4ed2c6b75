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

from edc_pipeline.consolidation.batch_rows import sound_ones, why_none
from edc_pipeline.consolidation.certificate import Certificate, SetAside
from edc_pipeline.consolidation.errors import CannotConsolidate, NoSuchData
from edc_pipeline.consolidation.h5_read import Chunk, StoredTable
from edc_pipeline.consolidation.identity import identity_rules, settle
from edc_pipeline.consolidation.names import SYMBOLS
from edc_pipeline.consolidation.plan import Plan, make_plan
from edc_pipeline.consolidation.rows import Array, Rows
from edc_pipeline.consolidation.slices import Reading, SetAsideWhileReading, cuts, slices
from edc_pipeline.consolidation.words import as_dictionary, factorized
from edc_pipeline.events import COLUMNS, EventType
from edc_pipeline.market_day import day_bounds

_SPOOL_SLICE_ROWS: Final = 500_000
_PIECE_ROWS: Final = 65_536  # of some symbols, made a table of at a time
_FEW_SYMBOLS: Final = 4  # up to so many it is quicker to compare than to look up


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
    # Micro-batches that could not be read, and why: their rows are not in what was read.
    set_aside: list[SetAside] = []


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
        self._listed = certificate.certificate_version > 1  # the list of symbols came with it
        self.state = DayRead(
            state=certificate.state.state,
            source=str(path),
            why=certificate.state.why,
            balanced=certificate.balanced,
            gaps=len(certificate.gaps),
            near_duplicates=certificate.near_duplicates,
            content_hash=certificate.content_hash,
            set_aside=certificate.set_aside,
        )

    def tables(self, wish: Wish) -> Iterator[pa.Table]:
        with StoredTable(self._path, wish.event_type) as table:
            if wish.symbols is None:
                yield from table.each(lambda _c, block: _table(block, wish))
                return
            runs = _runs(self._path, wish.symbols) if self._listed else None
            if self._order == "symbol" and runs is not None:
                for first, rows in runs:
                    yield from _rows_of(table, first, first + rows, wish)
            else:
                yield from self._among_others(table, wish, wish.symbols, runs)

    def _among_others(
        self,
        table: StoredTable,
        wish: Wish,
        symbols: tuple[bytes, ...],
        runs: list[tuple[int, int]] | None,
    ) -> Iterator[pa.Table]:
        """The rows of some symbols, wherever they lie: from the first that is listed, until there
        are as many as are listed."""
        chunks, listed = table.chunks, None
        if runs is not None:
            listed = sum(rows for _, rows in runs)
            begin = min((first for first, _ in runs), default=table.rows)
            chunks = [c for c in chunks if begin < c.first + c.rows]
        found = 0
        for records in _gathered(table.each(lambda _c, block: _of(block, symbols), chunks), listed):
            found += len(records)
            yield _table(records.view(table.dtype), wish)
        if listed is not None and found != listed:
            raise NoSuchData(
                f"{self._path} is damaged: its list says {listed} rows of these symbols, its table"
                f" holds {found}. `edc verify` tells more; consolidate the day again"
            )


class FromSpool(DayRows):
    def __init__(self, spool: Path, day: dt.date, why: str) -> None:
        self._spool = spool
        self._day = day
        self.state = DayRead(state="live", source=str(spool), why=why)

    def tables(self, wish: Wish) -> Iterator[pa.Table]:
        plan = self._plan(wish.event_type)
        given_until = day_bounds(self._day)[0]  # what happened before is given
        while True:
            self.state.gaps = len(plan.ledger.gaps)
            self.state.set_aside = plan.set_aside
            try:
                for until, settled in _settled(plan):
                    rows = _of_symbols(_from(settled, given_until), wish.symbols)
                    yield rows.to_arrow(wish.columns)
                    given_until = max(given_until, until)
                return
            except SetAsideWhileReading as bad:
                # It was to be read next: no slice that was given holds or misses rows of it.
                gone = not bad.batch.path.exists()  # compacted meanwhile, or removed: look again
                plan = self._plan(wish.event_type) if gone else without_damaged(plan)

    def _plan(self, event_type: EventType) -> Plan:
        try:
            return make_plan(self._spool, event_type, self._day)
        except CannotConsolidate as error:
            raise NoSuchData(str(error)) from error


def _settled(plan: Plan) -> Iterator[tuple[int, Rows]]:
    """The day's rows as a consolidation keeps them, slice by slice, each with the instant before
    which all is given then."""
    rules = identity_rules()
    edges = [*cuts(plan.batches, _SPOOL_SLICE_ROWS), day_bounds(plan.day)[1]]
    with tempfile.TemporaryDirectory(prefix="edc-read-") as scratch:
        found = slices(plan, rules, _SPOOL_SLICE_ROWS, Path(scratch), Reading(), lambda _rows: None)
        for until, slice_ in zip(edges, found, strict=True):
            settled = settle(slice_.rows, rules, settled_from=slice_.settled_from)
            rows = slice_.rows.take(settled.order)
            rows.numbers["occurrence"] = settled.occurrence
            yield until, rows


def without_damaged(plan: Plan) -> Plan:
    """Those micro-batches that are none are left out."""
    try:
        sound = sound_ones(plan)
    except CannotConsolidate as error:
        raise NoSuchData(str(error)) from error
    if not sound.batches:
        raise NoSuchData(why_none(sound))
    return sound


def _from(rows: Rows, instant: int) -> Rows:
    later = rows.numbers["ts_event"] >= instant
    return rows if later.all() else rows.take(np.flatnonzero(later))


def _of_symbols(rows: Rows, symbols: tuple[bytes, ...] | None) -> Rows:
    if symbols is None:
        return rows
    wanted = np.zeros(rows.count, bool)
    for name in symbols:
        wanted |= rows.says("symbol", name)
    return rows.take(np.flatnonzero(wanted))


def _rows_of(table: StoredTable, first: int, end: int, wish: Wish) -> Iterator[pa.Table]:
    def take(chunk: Chunk, block: Array) -> pa.Table:
        return _table(block[max(0, first - chunk.first) : end - chunk.first], wish)

    chunks = [c for c in table.chunks if c.first < end and first < c.first + c.rows]
    return table.each(take, chunks)


def _gathered(blocks: Iterator[Array], listed: int | None) -> Iterator[Array]:
    """Joined to pieces that are worth making a table of, up to so many rows as are listed."""
    waiting: list[Array] = []
    held = given = 0
    for block in blocks:
        if len(block):
            waiting.append(block)
            held += len(block)
        done = given + held == listed
        if held >= _PIECE_ROWS or (held and done):
            yield np.concatenate(waiting)
            given += held
            waiting, held = [], 0
        if done:
            return
    if held:
        yield np.concatenate(waiting)


def _table(block: Array, wish: Wish) -> pa.Table:
    stored = {c.name: c.stored for c in COLUMNS[wish.event_type]}
    columns = {}
    for name in wish.columns:
        # A copy in any case: of a single record the field would be a view.
        values = block[name].copy()
        columns[name] = as_dictionary(values) if stored[name] == "text" else pa.array(values)
    return pa.table(columns)


def _of(block: Array, symbols: tuple[bytes, ...]) -> Array:
    """A copy of the records of these symbols, as plain bytes: records with fields numpy copies
    and joins field by field."""
    names = block["symbol"]
    if len(symbols) <= _FEW_SYMBOLS:
        wanted = np.zeros(len(block), bool)
        for symbol in symbols:
            wanted |= names == symbol
    else:
        words, codes = factorized(names.copy())
        asked = set(symbols)
        wanted = np.array([word in asked for word in words], bool)[codes]
    raw = block.view(np.dtype((np.void, block.dtype.itemsize)))
    found: Array = raw[np.flatnonzero(wanted)]
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
