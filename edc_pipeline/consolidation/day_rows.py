"""The rows of one day, out of its daily file or out of the spool.

A daily file is read chunk by chunk on two threads and never decoded to Python text.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from edc_pipeline.consolidation.after_retention import gone
from edc_pipeline.consolidation.batch_rows import sound_ones, why_none
from edc_pipeline.consolidation.bit_planes import Asked, OfRecords, Said
from edc_pipeline.consolidation.certificate import Certificate, SetAside
from edc_pipeline.consolidation.errors import (
    CannotConsolidate,
    DamagedFile,
    Moved,
    NoSuchData,
    told_clearly,
)
from edc_pipeline.consolidation.gathered import Gathered, Piece, joined, numbers_of, texts_of
from edc_pipeline.consolidation.h5_read import Chunk, Columns, Span, StoredTable
from edc_pipeline.consolidation.identity import identity_rules, settle
from edc_pipeline.consolidation.layout import CHUNK_ROWS
from edc_pipeline.consolidation.plan import Plan, make_plan
from edc_pipeline.consolidation.rows import Array, Rows
from edc_pipeline.consolidation.slices import Reading, SetAsideWhileReading, slices
from edc_pipeline.durable_file import Seen
from edc_pipeline.events import EventType
from edc_pipeline.market_day import day_bounds
from edc_pipeline.spool.micro_batch import UnreadableBatch

_SPOOL_SLICE_ROWS: Final = 500_000
_NOTHING: Final[Mapping[str, Said]] = {}
_PIECE_ROWS: Final = 65_536  # of some symbols, made a frame of at a time


class DayRead(msgspec.Struct, kw_only=True):
    """How far what was read of a day may be relied on."""

    state: str  # provisional, sealed, restated; `live`: from the spool, no file holds all of it
    source: str  # the file, or the spool
    rows: int = 0  # of it that are read; with `blocks`, so far
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
    lacks = ""  # in words, what is known to be missing of the day

    def pieces(self, wish: Wish) -> Iterator[Rows]:
        """The rows, in pieces that memory has room for."""
        raise NotImplementedError

    def whole(self, wish: Wish) -> Rows:
        return joined(wish.event_type, wish.columns, self.pieces(wish))


class FromFile(DayRows):
    def __init__(self, path: Path, was: Seen, certificate: Certificate) -> None:
        """`was`: the file whose certificate this is."""
        self._path = path
        self._was = was
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

    def pieces(self, wish: Wish) -> Iterator[Rows]:
        with self._table(wish) as table:
            runs = self._runs(table, wish)
            if runs is not None and (wish.symbols is None or self._order == "symbol"):
                found = _in_runs(table, runs, wish)
            else:
                found = self._among_others(table, wish, runs)
            least = 1 if wish.symbols is None else _PIECE_ROWS
            gathered = Gathered(wish.event_type, wish.columns, None)
            for piece in found:
                gathered.add(piece)
                if gathered.count >= least:
                    yield gathered.rows()
                    gathered = Gathered(wish.event_type, wish.columns, None)
            if gathered.count:
                yield gathered.rows()

    def whole(self, wish: Wish) -> Rows:
        with self._table(wish) as table:
            runs = self._runs(table, wish)
            rows = None if runs is None else sum(rows for _, rows in runs)
            gathered = Gathered(wish.event_type, wish.columns, rows)
            if runs is not None and (wish.symbols is None or self._order == "symbol"):
                found = _in_runs(table, runs, wish, gathered.room)
            else:
                found = self._among_others(table, wish, runs)
            for piece in found:
                gathered.add(piece)
            return gathered.rows()

    @contextmanager
    def _table(self, wish: Wish) -> Iterator[StoredTable]:
        """Once it is open, it stays the same file, whatever takes its name."""
        with told_clearly(self._path), StoredTable(self._path, wish.event_type) as table:
            if not table.is_file(self._was):
                raise Moved(f"{self._path} was replaced before it was read: read it again")
            yield table

    def _runs(self, table: StoredTable, wish: Wish) -> list[tuple[int, int]] | None:
        """(first row, rows) of what is asked for, as far as it is listed."""
        if wish.symbols is None:
            return [(0, table.rows)]
        return table.runs_of(wish.symbols) if self._listed else None

    def _among_others(
        self, table: StoredTable, wish: Wish, runs: list[tuple[int, int]] | None
    ) -> Iterator[Piece]:
        """The rows of some symbols, wherever they lie: from the first that is listed, until there
        are as many as are listed."""
        symbols = Asked(wish.symbols or ())
        chunks, listed = table.chunks, None
        if runs is not None:
            listed = sum(rows for _, rows in runs)
            begin = min((first for first, _ in runs), default=table.rows)
            chunks = [c for c in chunks if begin < c.first + c.rows]
        found, few = 0, _FewRecords(table.dtype, wish)
        for piece in table.each_by_columns(lambda _s, columns: _of(columns, symbols, wish), chunks):
            found += piece.rows if isinstance(piece, Piece) else len(piece)
            if listed is not None and found > listed:
                break
            if isinstance(piece, Piece):
                yield from few.together()
                yield piece
            else:
                few.add(piece)
                if few.count >= _PIECE_ROWS:
                    yield from few.together()
            if found == listed:
                break
        yield from few.together()
        if listed is not None and found != listed:
            raise DamagedFile(
                self._path,
                "its list of symbols",
                f"it says {listed} rows of these symbols, its table holds {found}",
            )


class FromSpool(DayRows):
    def __init__(self, spool: Path, day: dt.date, why: str) -> None:
        self._spool = spool
        self._day = day
        self.state = DayRead(state="live", source=str(spool), why=why)

    def pieces(self, wish: Wish) -> Iterator[Rows]:
        plan = self._plan(wish.event_type)
        self._refuse_retired(wish.event_type)
        given_until = day_bounds(self._day)[0]  # what happened before is given
        while True:
            self.state.gaps = len(plan.ledger.gaps)
            self.state.set_aside = plan.set_aside
            try:
                for until, settled in _settled(plan):
                    rows = _of_symbols(_from(settled, given_until), wish.symbols)
                    yield rows.as_they_appear()
                    given_until = max(given_until, until)
                return
            except SetAsideWhileReading as bad:
                # It was to be read next: no slice that was given holds or misses rows of it.
                if bad.batch.path.exists():
                    plan = without_damaged(plan)
                else:
                    plan = self._without_losing(plan)

    def _without_losing(self, plan: Plan) -> Plan:
        """A plan anew, after a micro-batch was found gone: compacted, or removed."""
        new = self._plan(plan.event_type)
        there = {b.path.name for b in new.batches} | {s.name for s in new.set_aside}
        there |= {name for b in new.batches for name in b.footer.replaces}
        if lost := [b.path.name for b in plan.batches if b.path.name not in there]:
            raise Moved(
                f"{len(lost)} micro-batches of {plan.event_type} of {plan.day} were removed from"
                f" {self._spool} while it was read ({lost[0]}): read it again"
            )
        return new

    def _refuse_retired(self, event_type: EventType) -> None:
        try:
            retired = gone(self._spool, event_type, self._day)
        except UnreadableBatch as damaged:
            raise NoSuchData(str(damaged)) from None
        if retired:
            raise Moved(
                f"{len(retired)} micro-batches of {event_type} of {self._day} were retired from"
                f" {self._spool} before it was read: read it again"
            )

    def _plan(self, event_type: EventType) -> Plan:
        try:
            return make_plan(self._spool, event_type, self._day)
        except CannotConsolidate as error:
            self._refuse_retired(event_type)
            raise NoSuchData(str(error)) from error


def _settled(plan: Plan) -> Iterator[tuple[int, Rows]]:
    """The day's rows as a consolidation keeps them, slice by slice, each with the instant before
    which all is given then."""
    rules = identity_rules()
    with tempfile.TemporaryDirectory(prefix="edc-read-") as scratch:
        found = slices(plan, rules, _SPOOL_SLICE_ROWS, Path(scratch), Reading(), lambda _rows: None)
        for slice_ in found:
            settled = settle(slice_.rows, rules, settled_from=slice_.settled_from)
            rows = slice_.rows.take(settled.order)
            rows.numbers["occurrence"] = settled.occurrence
            yield day_bounds(plan.day)[1] if slice_.until is None else slice_.until, rows


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
    text = rows.texts["symbol"]
    return rows.take(Asked(symbols).among(Said(text.words, text.codes), rows.count))


class _FewRecords:
    """Records of a few rows of each chunk, made columns of together."""

    def __init__(self, dtype: np.dtype[Any], wish: Wish) -> None:
        self._dtype = dtype
        self._wish = wish
        self._waiting: list[Array] = []
        self.count = 0

    def add(self, records: Array) -> None:
        self._waiting.append(records)
        self.count += len(records)

    def together(self) -> Iterator[Piece]:
        if self.count:
            records = OfRecords(np.concatenate(self._waiting).view(self._dtype))
            self._waiting, self.count = [], 0
            yield _piece(records, slice(None), records.rows, self._wish)


class _Part(NamedTuple):
    """Rows of some chunks that are asked for."""

    of_span: slice | Array
    rows: int
    to: int  # their first row among all that are


class _Runs:
    """Rows that are asked for and lie together, in their order."""

    def __init__(self, runs: list[tuple[int, int]]) -> None:
        found = np.array(runs, np.int64).reshape(-1, 2)
        self._first, self._end = found[:, 0], found[:, 0] + found[:, 1]
        self._before = np.cumsum(found[:, 1]) - found[:, 1]  # rows in those before each

    def chunks(self, table: StoredTable) -> list[Chunk]:
        """Those that hold any of the rows."""
        edges = np.zeros(len(table.chunks) + 1, np.int64)
        some = self._first < self._end
        np.add.at(edges, self._first[some] // CHUNK_ROWS, 1)
        np.add.at(edges, -(-self._end[some] // CHUNK_ROWS), -1)
        return [table.chunks[at] for at in np.flatnonzero(np.cumsum(edges)[:-1]).tolist()]

    def part(self, span: Span) -> _Part:
        """Those of them that some chunks hold: many short runs at once, since each column that is
        looked at costs some microseconds, however few rows are looked at."""
        low = np.searchsorted(self._end, span.first, side="right")
        high = np.searchsorted(self._first, span.first + span.rows)
        begin = np.maximum(self._first[low:high], span.first)
        rows = np.minimum(self._end[low:high], span.first + span.rows) - begin
        count = int(rows.sum())
        to = int(self._before[low] + begin[0] - self._first[low]) if count else 0
        at = int(begin[0] - span.first) if count else 0
        if not count or int(begin[-1] + rows[-1] - begin[0]) == count:
            return _Part(slice(at, at + count), count, to)
        here = np.cumsum(rows) - rows
        places = np.repeat(begin - span.first - here, rows) + np.arange(count)
        return _Part(places, count, to)


def _in_runs(
    table: StoredTable,
    runs: list[tuple[int, int]],
    wish: Wish,
    room: dict[str, Array] | None = None,
) -> Iterator[Piece]:
    """Rows that lie together. Where there is room for their numbers, those go into it."""
    wanted = _Runs(runs)

    def take(span: Span, columns: Columns) -> Piece:
        part = wanted.part(span)
        if room is not None:
            for name, values in room.items():
                here = values[part.to : part.to + part.rows]
                if part.rows == span.rows:
                    columns.fill(name, here)
                else:
                    here[...] = columns.values(name, part.of_span)
        return _piece(columns, part.of_span, part.rows, wish, numbers=room is None)

    yield from table.each_by_columns(take, wanted.chunks(table))


def _of(columns: Columns, symbols: Asked, wish: Wish) -> Piece | Array:
    """The rows of these symbols; as records where that is quicker."""
    places = columns.which("symbol", symbols)
    records = columns.records(places)
    if records is not None:
        return records
    one = {"symbol": Said(list(symbols), None)} if len(symbols) == 1 else {}
    return _piece(columns, places, len(places), wish, known=one)


def _piece(
    columns: Columns,
    at: slice | Array,
    rows: int,
    wish: Wish,
    *,
    numbers: bool = True,
    known: Mapping[str, Said] = _NOTHING,
) -> Piece:
    wanted = numbers_of(wish.event_type, wish.columns) if numbers else ()
    return Piece(
        rows,
        {name: columns.values(name, at) for name in wanted},
        {
            name: known[name] if name in known else columns.said(name, at)
            for name in texts_of(wish.event_type, wish.columns)
        },
    )
