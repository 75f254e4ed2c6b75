"""What waits for the disk: rows by event type and day, frames for the quarantine, and the counts
that belong to them. All of it is taken at once, at a frame's edge, so that one flush holds exactly
the frames since the flush before."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from edc_pipeline.coded import Coded, Codes
from edc_pipeline.events import AnyEvent, EventType
from edc_pipeline.market_day import DayFinder, day_bounds
from edc_pipeline.spool.ledger import FrameCounts, Gap, Source
from edc_pipeline.spool.quarantine import QuarantinedFrame
from edc_pipeline.spool.tables import columns_to_table, rows_to_table, stack
from edc_pipeline.vendors.contract import Columns, Reading

# Rows wait as columns, made of so many at a time: some 0.5 ms of the event loop each. All at once,
# 100,000 rows held Python's lock, and so the loop, for 90 ms; and an event as an object takes 400
# bytes, as columns 100.
_TURN_ROWS: Final = 512
# Columns as the reader made them take 40 ns a row, and half as much again in smaller pieces.
_TURN_COLUMNS: Final = 16_384
# What a quarantined frame takes in memory beside its bytes and its reason, as measured. Of a flood
# of frames of ten bytes it is most.
_KEPT_BYTES: Final = 260


@dataclass(slots=True)
class Rows:
    """Rows of one event type and day: columns, and behind them the latest that came one by one, in
    three lists of one length."""

    event_type: EventType
    columns: list[pa.Table] = field(default_factory=list)
    events: list[AnyEvent] = field(default_factory=list)
    connections: list[str] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)

    def turn_early(self) -> None:
        """What can't be columns (a vendor's reader made an event of wrong types) stays as it is;
        the flush tries again, and tells."""
        with suppress(pa.ArrowException, TypeError, ValueError, OverflowError):
            self.turn()

    def turn(self) -> None:
        """Make columns of the latest rows."""
        if self.events:
            table = rows_to_table(self.event_type, self.events, self.connections, self.frames)
            self.columns.append(table)
            self.events, self.connections, self.frames = [], [], []

    def table(self) -> pa.Table:
        self.turn()
        return stack(self.columns)


@dataclass(slots=True)
class _Open:
    """Columns that grow read by read, until they become a table."""

    said_first: Columns
    row_count: int = 0
    reads: list[tuple[int, int]] = field(default_factory=list)  # time, rows
    frames: list[NDArray[np.int64]] = field(default_factory=list)  # of the rows of each read
    numbers: dict[str, list[NDArray[Any]]] = field(default_factory=lambda: defaultdict(list))
    codes: dict[str, list[Codes]] = field(default_factory=lambda: defaultdict(list))
    texts: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def goes_on_with(self, found: Columns) -> bool:
        first = self.said_first
        return (
            found.constants is first.constants
            and found.numbers.keys() == first.numbers.keys()
            and found.texts.keys() == first.texts.keys()
            and found.coded.keys() == first.coded.keys()
            and all(found.coded[name].words is said.words for name, said in first.coded.items())
        )

    def add(self, found: Columns, first_frame: int, received_at: int) -> None:
        for name, values in found.numbers.items():
            self.numbers[name].append(values)
        for name, column in found.coded.items():
            self.codes[name].append(column.codes)
        for name, said in found.texts.items():
            self.texts[name] += said
        rows = len(found.places)
        self.frames.append(found.places + first_frame)
        self.reads.append((received_at, rows))
        self.row_count += rows

    def table(self, connection: str) -> pa.Table:
        first = self.said_first
        constants = {**first.constants, "connection": connection}
        numbers = {name: np.concatenate(parts) for name, parts in self.numbers.items()}
        times, rows = zip(*self.reads, strict=True)
        numbers["frame"] = np.concatenate(self.frames)
        numbers["created_at"] = np.repeat(times, rows)
        coded = {
            name: Coded(first.coded[name].words, np.concatenate(parts))
            for name, parts in self.codes.items()
        }
        return columns_to_table(first.event_type, constants, numbers, coded, self.texts)


@dataclass(slots=True)
class _Tray:
    """Where a connection's events of one type go while their day stays the same."""

    rows: Rows
    day: dt.date
    first_ns: int
    end_ns: int
    source: Source
    events: int = 0  # of this connection
    open: _Open | None = None

    def put_many(self, found: Columns, connection: str, first_frame: int, received_at: int) -> None:
        """Behind the columns that are open, or in place of them."""
        self.events += len(found.places)
        if self.open is None or not self.open.goes_on_with(found):
            self.turn(connection)
            self.open = _Open(found)
        self.open.add(found, first_frame, received_at)
        if self.open.row_count >= _TURN_COLUMNS:
            self.turn(connection)

    def turn(self, connection: str) -> None:
        if self.open is not None:
            self.rows.columns.append(self.open.table(connection))
            self.open = None


@dataclass(slots=True)
class _Desk:
    """What a connection's frames need, looked up once a day and not once a frame."""

    received_on: dt.date
    first_ns: int
    end_ns: int
    counts: FrameCounts
    trays: dict[EventType, _Tray] = field(default_factory=dict)


@dataclass(slots=True)
class Waiting:
    """All that the frames `first_frame … last_frame` came to."""

    first_frame: int
    last_frame: int
    rows: dict[tuple[EventType, dt.date], Rows] = field(default_factory=dict)
    quarantine: dict[dt.date, list[QuarantinedFrame]] = field(
        default_factory=lambda: defaultdict(list)
    )
    frame_counts: dict[tuple[Source, dt.date], FrameCounts] = field(
        default_factory=lambda: defaultdict(FrameCounts)
    )
    gaps: list[Gap] = field(default_factory=list)
    more_gaps: dict[Source, Gap] = field(default_factory=dict)  # those too many to be told, as one
    row_count: int = 0
    byte_count: int = 0  # of memory, for quarantined frames: they wait with their bytes
    desks: dict[str, _Desk] = field(default_factory=dict)  # by connection
    _trays: dict[tuple[str, EventType, dt.date], _Tray] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return self.last_frame < self.first_frame and not (self.gaps or self.more_gaps)

    def take_silences(self) -> list[Gap]:
        """The gaps that no frame tells, and so no journal. Those in numbers may be many, and wait
        with their frames."""
        taken = [gap for gap in self.gaps if gap.first_seq < 0]
        if taken:
            self.gaps = [gap for gap in self.gaps if gap.first_seq >= 0]
        return taken

    def tell_with_others(self, gap: Gap) -> None:
        """As one with its feed's others."""
        rest = self.more_gaps.get(gap.source)
        if rest is None:
            why = "more gaps than can be told one by one"
            self.more_gaps[gap.source] = replace(gap, symbol="", reason=why)
            return
        size = None if rest.size is None or gap.size is None else rest.size + gap.size
        ends = None if rest.to_ns is None or gap.to_ns is None else max(rest.to_ns, gap.to_ns)
        from_ns = min(rest.from_ns, gap.from_ns)
        self.more_gaps[gap.source] = replace(rest, from_ns=from_ns, to_ns=ends, size=size)

    def tables(self) -> dict[tuple[EventType, dt.date], pa.Table]:
        """All rows, as they go to disk."""
        for (connection, _, _), tray in self._trays.items():
            tray.turn(connection)
        return {key: rows.table() for key, rows in self.rows.items()}

    @property
    def event_counts(self) -> dict[tuple[Source, EventType, dt.date], int]:
        counts: dict[tuple[Source, EventType, dt.date], int] = defaultdict(int)
        for (_, event_type, day), tray in self._trays.items():
            counts[tray.source, event_type, day] += tray.events
        return counts

    def desk(self, source: Source, connection: str, received_on: dt.date) -> _Desk:
        counts = self.frame_counts[source, received_on]
        desk = _Desk(received_on, *day_bounds(received_on), counts)
        self.desks[connection] = desk
        return desk

    def tray(self, source: Source, connection: str, event_type: EventType, day: dt.date) -> _Tray:
        key = connection, event_type, day
        tray = self._trays.get(key)
        if tray is None:
            rows = self.rows.setdefault((event_type, day), Rows(event_type))
            tray = self._trays[key] = _Tray(rows, day, *day_bounds(day), source)
        self.desks[connection].trays[event_type] = tray
        return tray


class Queues:
    """Filled by the event loop, emptied by the flush. Not for two threads at once."""

    def __init__(self, first_frame: int = 0) -> None:
        self._day_of = DayFinder()
        self.waiting = Waiting(first_frame=first_frame, last_frame=first_frame - 1)

    def put(
        self,
        frame: int,
        source: Source,
        connection: str,
        reading: Reading,
        payload: bytes,
        received_at: int,
    ) -> None:
        """Enter one frame under its ordinal in the journal; ordinals come one after the other."""
        waiting = self.waiting
        assert frame == waiting.last_frame + 1
        waiting.last_frame = frame
        desk = self._desk(source, connection, received_at)
        counts = desk.counts
        counts.received += 1
        counts.bytes += len(payload)
        events = reading.events
        if events:
            counts.with_events += 1
        elif reading.outcome == "control":
            counts.control += 1
        else:
            counts.quarantined += 1
        if reading.faults or not (events or reading.control):
            why = "; ".join(reading.faults) or "the vendor's reader found nothing in it"
            reason = why[:1000]
            waiting.quarantine[desk.received_on].append(
                QuarantinedFrame(
                    source,
                    connection,
                    frame,
                    received_at,
                    reason,
                    payload,
                    len(reading.events),
                )
            )
            waiting.byte_count += len(payload) + len(reason) + _KEPT_BYTES
        waiting.row_count += len(events)
        for event in events:
            tray = desk.trays.get(event.event_type)
            if tray is None or not tray.first_ns <= event.ts_event < tray.end_ns:
                day = self._day_of(event.ts_event)
                tray = waiting.tray(source, connection, event.event_type, day)
            tray.events += 1
            rows = tray.rows
            rows.events.append(event)
            rows.connections.append(connection)
            rows.frames.append(frame)
            if not len(rows.events) % _TURN_ROWS:
                rows.turn_early()

    def put_many(
        self,
        first_frame: int,
        source: Source,
        connection: str,
        found: Sequence[Columns],
        frames: int,
        size: int,
        received_at: int,
    ) -> None:
        """The same for the frames of one read, each with one event at least; what stands in one
        `Columns` is of one day. `size` is their bytes."""
        waiting = self.waiting
        assert first_frame == waiting.last_frame + 1
        waiting.last_frame += frames
        desk = self._desk(source, connection, received_at)
        counts = desk.counts
        counts.received += frames
        counts.bytes += size
        counts.with_events += frames
        for columns in found:
            waiting.row_count += len(columns.places)
            at = int(columns.numbers["ts_event"][0])
            tray = desk.trays.get(columns.event_type)
            if tray is None or not tray.first_ns <= at < tray.end_ns:
                day = self._day_of(at)
                tray = waiting.tray(source, connection, columns.event_type, day)
            tray.put_many(columns, connection, first_frame, received_at)

    def _desk(self, source: Source, connection: str, received_at: int) -> _Desk:
        desk = self.waiting.desks.get(connection)
        if desk is None or not desk.first_ns <= received_at < desk.end_ns:
            desk = self.waiting.desk(source, connection, self._day_of(received_at))
        return desk

    def take(self) -> Waiting:
        """All that waits; what comes next starts anew behind it."""
        taken = self.waiting
        taken.gaps += taken.more_gaps.values()
        self.waiting = Waiting(first_frame=taken.last_frame + 1, last_frame=taken.last_frame)
        return taken
