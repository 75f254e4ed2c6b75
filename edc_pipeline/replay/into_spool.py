"""Replay into a pipeline: frames and events at its front, in a spool of their own.

Recorded frames are read as recovery reads them: by today's parsers, under their own collector,
connections, ordinals and receive times, and keep the `origin` that they had. So the day's
micro-batches say what the live ones said, and the daily file made of them has the content hash of
the one made live. That they are a replay is said by the spool (`spool.replay_mark`), into which
no collector writes. Events of a plain tick file were never received live: their `origin` is
`backfill`.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from edc_pipeline.capture.admission import Admission
from edc_pipeline.capture.continuity import Continuity
from edc_pipeline.capture.flush import flush
from edc_pipeline.capture.journal.blocks import Line
from edc_pipeline.capture.past_sessions import PastSessions
from edc_pipeline.capture.queues import Queues
from edc_pipeline.events import EVENT_TYPES, EventType
from edc_pipeline.market_day import day_bounds, market_day
from edc_pipeline.replay.recorded_frames import Received, Span, spans_of
from edc_pipeline.replay.records import KINDS, Block, Labels, to_table
from edc_pipeline.settings import Capture
from edc_pipeline.spool.ledger import FrameCounts, Ledger, Source
from edc_pipeline.spool.micro_batch import SCHEMAS, write_micro_batch
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import Control, Reading, quarantined

COLLECTOR: Final = "replay"  # of events; frames keep the collector that received them

# Called before each frame or block is let in, with its time; False: it is left out.
Gate = Callable[[int], bool]


@dataclass(slots=True)
class Done:
    """What went in."""

    frames: int = 0
    events: Counter[EventType] = field(default_factory=Counter)
    other_days: int = 0  # events of the frames that are not of the day
    not_wanted: int = 0  # events of other symbols
    left_out: int = 0  # frames or events that the gate held back
    days: set[dt.date] = field(default_factory=set)
    first_at: int | None = None  # when the first frame and the last one were received
    last_at: int | None = None


# Frames


def replay_frames(
    spool: Path,
    into: Path,
    day: dt.date,
    *,
    rules: Capture,
    symbols: Iterable[str] | None = None,
    gate: Gate = lambda _: True,
    done: Done | None = None,
) -> Done:
    """Read the frames of a day again into another spool. Raises `NoFrames` where none are left.

    `done` is counted in as it goes.
    """
    done = Done() if done is None else done
    done.days.add(day)
    wanted = None if symbols is None else frozenset(symbols)
    for span in spans_of(spool, day):
        _FrameReplay(span, into, day, rules, wanted, done).run(gate)
    _copy_silences(spool, into, day, done)
    return done


def _copy_silences(spool: Path, into: Path, day: dt.date, done: Done) -> None:
    """What nobody heard on the day, nobody hears in its replay. Missing numbers are found anew."""
    spans = [day_bounds(day)]
    if done.first_at is not None and done.last_at is not None:
        spans.append((done.first_at, done.last_at + 1))
    gaps = {gap for span in spans for gap in Ledger(spool).gaps(*span) if gap.first_seq < 0}
    ledger = Ledger(into)
    collector = f"{COLLECTOR}-silences"
    ledger.collector_started(collector, day_bounds(day)[0])
    ledger.flushed(
        collector, through_frame=-1, at=day_bounds(day)[1], frames={}, events={}, gaps=gaps
    )
    ledger.collector_stopped(collector, day_bounds(day)[1], "replayed")


class _FrameReplay:
    """One collector's frames of a day."""

    def __init__(
        self,
        span: Span,
        into: Path,
        day: dt.date,
        rules: Capture,
        symbols: frozenset[str] | None,
        done: Done,
    ) -> None:
        self._span = span
        self._into = into
        self._first_ns, self._end_ns = day_bounds(day)
        self._rules = rules
        self._symbols = symbols
        self._done = done
        self._admission = Admission(rules.horizon_days)
        self._sessions = PastSessions()
        self._lines: dict[int, Line] = {}
        self._continuity: dict[Source, Continuity] = {}
        self._queues = Queues(first_frame=span.first)
        self._at = self._first_ns

    def run(self, gate: Gate) -> None:
        ledger = Ledger(self._into)
        began = False
        for belongs, received in self._span.frames():
            if not belongs:
                self._hear(received)
                continue
            if not began:
                ledger.collector_started(self._span.collector, received.received_at)
                began = True
            if not gate(received.received_at):
                self._done.left_out += 1
                self._hear(received)
                continue
            self._put(received)
        for continuity in self._continuity.values():
            self._queues.waiting.gaps += continuity.settle(None)
        self._flush()
        if began:
            ledger.collector_stopped(self._span.collector, self._at, "replayed")

    def _hear(self, received: Received) -> None:
        continuity = self._continuity_of(received.line)
        if continuity.concerns(received.line):
            continuity.hear(received.line, self._read(received), received.received_at)

    def _put(self, received: Received) -> None:
        frame, at, line, payload = received
        if frame != self._queues.waiting.last_frame + 1:  # a hole: a frame was left out or lost
            self._flush()
            self._queues = Queues(first_frame=frame)
        reading = self._read(received)
        source = Source(line.name, line.vendor, line.feed)
        continuity = self._continuity_of(line)
        if continuity.concerns(line):
            self._queues.waiting.gaps += continuity.hear(line, reading, at)
        reading = self._of_the_day(reading)
        self._queues.put(frame, source, line.connection, reading, payload, at)
        self._done.frames += 1
        for event in reading.events:
            self._done.events[event.event_type] += 1
        self._at = at
        self._done.first_at = min(at, self._done.first_at or at)
        self._done.last_at = max(at, self._done.last_at or at)
        if self._queues.waiting.row_count >= self._rules.flush_rows:
            self._flush()

    def _of_the_day(self, reading: Reading) -> Reading:
        """The frame with the events that were asked for. One without any left counts as known and
        not wanted."""
        kept = [e for e in reading.events if self._first_ns <= e.ts_event < self._end_ns]
        self._done.other_days += len(reading.events) - len(kept)
        if self._symbols is not None:
            asked = [e for e in kept if e.symbol in self._symbols]
            self._done.not_wanted += len(kept) - len(asked)
            kept = asked
        if len(kept) == len(reading.events):
            return reading
        said = reading.control
        if not kept and not reading.faults:
            said = said or Control("not_wanted", "not of what is replayed")
        return Reading(events=kept, control=said, faults=reading.faults, seq=reading.seq)

    def _read(self, received: Received) -> Reading:
        line = received.line
        self._lines[line.number] = line
        session = self._sessions.of(line)
        if session is None:
            return quarantined(f"no vendor {line.vendor!r} is known any more")
        return self._admission.read(session, received.payload, received.received_at)

    def _continuity_of(self, line: Line) -> Continuity:
        source = Source(line.name, line.vendor, line.feed)
        found = self._continuity.get(source)
        if found is None:
            vendor = VENDORS.get(line.vendor)
            spec = vendor.feeds.get(line.feed) if vendor else None
            rules = spec.sequence if spec else ()
            found = self._continuity[source] = Continuity(source, rules, line.symbols)
        return found

    def _flush(self) -> None:
        waiting = self._queues.take()
        if not waiting.empty:
            flush(self._into, self._span.collector, waiting, self._at, self._lines.values())


# Events


@dataclass(slots=True)
class _Waiting:
    """Blocks of rows between two flushes; each row is a frame of its own."""

    first_frame: int = 0
    rows: int = 0
    blocks: list[Block] = field(default_factory=list)


class EventWriter:
    """Rows → micro-batches and a ledger that adds up, a million and more a second: one flush is
    written in a thread while the next one's rows are made.

    Every row counts as one frame received at its `created_at`; what comes on one feed comes on one
    connection, so copies that are equal in every column all stay.
    """

    def __init__(self, into: Path, labels: Labels, *, flush_rows: int, at_ns: int) -> None:
        self.done = Done()
        self._into = into
        self._labels = labels
        self._flush_rows = flush_rows
        self._at = at_ns
        self._ledger = Ledger(into)
        self._waiting = _Waiting()
        self._pool = ThreadPoolExecutor(1, "replay-writer")
        self._writing: Future[None] | None = None
        self._ledger.collector_started(COLLECTOR, at_ns)

    def put(self, block: Block) -> None:
        waiting = self._waiting
        waiting.blocks.append(block)
        waiting.rows += len(block)
        if waiting.rows >= self._flush_rows:
            self._hand_over()

    def close(self) -> Done:
        """Write the rest; raises what a flush failed of."""
        try:
            self._hand_over()
            if self._writing is not None:
                self._writing.result()
        finally:
            self._pool.shutdown()
        self._ledger.collector_stopped(COLLECTOR, self._at, "replayed")
        return self.done

    def _hand_over(self) -> None:
        waiting = self._waiting
        if not waiting.rows:
            return
        if self._writing is not None:
            self._writing.result()  # one at a time: memory holds two flushes at the most
        self._waiting = _Waiting(first_frame=waiting.first_frame + waiting.rows)
        self._writing = self._pool.submit(self._flush, waiting)

    def _flush(self, waiting: _Waiting) -> None:
        rows = np.concatenate(waiting.blocks) if len(waiting.blocks) > 1 else waiting.blocks[0]
        first, last = waiting.first_frame, waiting.first_frame + len(rows) - 1
        frames = np.arange(first, last + 1)
        self._at = int(rows["created_at"].max())
        frame_counts: dict[tuple[Source, dt.date], FrameCounts] = {}
        event_counts: dict[tuple[Source, EventType, dt.date], int] = {}
        for day, of_day in _by_day(rows["created_at"]):
            for source, n in self._sources(rows["label"][of_day]):
                frame_counts[source, day] = FrameCounts(received=n, with_events=n)
        for day, of_day in _by_day(rows["ts_event"]):
            self.done.days.add(day)
            for event_type in EVENT_TYPES:
                chosen = of_day & (rows["type"] == KINDS[event_type])
                if not chosen.any():
                    continue
                of_type = rows[chosen]
                table = self._table(of_type, frames[chosen], event_type)
                write_micro_batch(
                    self._into,
                    event_type=event_type,
                    day=day,
                    collector=COLLECTOR,
                    first_frame=first,
                    last_frame=last,
                    table=table,
                )
                self.done.events[event_type] += len(of_type)
                for source, n in self._sources(of_type["label"]):
                    event_counts[source, event_type, day] = n
        self._ledger.flushed(
            COLLECTOR, through_frame=last, at=self._at, frames=frame_counts, events=event_counts
        )
        self.done.frames += len(rows)

    def _table(self, rows: Block, frames: NDArray[np.int64], event_type: EventType) -> pa.Table:
        known = self._labels.known
        table = to_table(rows, event_type, known)
        names = pa.array([f"{COLLECTOR}/{label.vendor}.{label.feed}" for label in known])
        connections = names.take(pa.array(rows["label"]))
        columns = [*table.columns, connections, pa.array(frames)]
        return pa.Table.from_arrays(columns, schema=SCHEMAS[event_type])

    def _sources(self, codes: NDArray[np.int32]) -> Iterator[tuple[Source, int]]:
        counts: Counter[Source] = Counter()
        for code, n in enumerate(np.bincount(codes).tolist()):
            if n:
                label = self._labels.known[code]
                counts[Source(f"{label.vendor}_{label.feed}", label.vendor, label.feed)] += n
        yield from counts.items()


def _by_day(stamps: NDArray[np.int64]) -> Iterator[tuple[dt.date, NDArray[np.bool_]]]:
    left = np.ones(len(stamps), np.bool_)
    while left.any():
        day = market_day(int(stamps[left].min()))
        first, end = day_bounds(day)
        of_day = left & (stamps >= first) & (stamps < end)
        yield day, of_day
        left &= ~of_day


def replay_events(
    blocks: Iterable[Block],
    into: Path,
    labels: Labels,
    *,
    flush_rows: int,
    at_ns: int,
    gate: Gate = lambda _: True,
) -> Done:
    """Write events, which come in the order of their time."""
    writer = EventWriter(into, labels, flush_rows=flush_rows, at_ns=at_ns)
    for block in blocks:
        if gate(int(block["ts_event"][0])):
            writer.put(block)
        else:
            writer.done.left_out += len(block)
    return writer.close()
