"""Events at the front of a pipeline with a spool of its own, whole columns at a time.

What comes from daily files keeps the `origin` and receive time that it had, so the same daily files
come out. Events of a plain tick file or a made day were never received live: their `origin` is
`backfill`, and they count as received when they happened.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from edc_pipeline.events import EVENT_TYPES, EventType
from edc_pipeline.market_day import day_bounds, market_day
from edc_pipeline.replay.done import COLLECTOR, Done, Gate
from edc_pipeline.replay.records import KINDS, Block, Labels, to_table
from edc_pipeline.spool.ledger import FrameCounts, Ledger, Source
from edc_pipeline.spool.micro_batch import write_micro_batch
from edc_pipeline.spool.tables import SCHEMAS


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
