"""A day cut into slices of time that each fit into memory, read one ahead of whoever settles them.

Rows of equal content share their stamp, so slices of time are exact. Two kinds of rows do not fit
into slices as they are read, and take a way over the disk (in a folder beside the daily file, gone
when the work ends):

- micro-batches that span several slices (a backfill, a late connection) are read once and dealt
  out over the slices;
- rows without a vendor's time bear our own, which equal content does not share: they are dealt
  out by content, each heap is settled for itself, and then dealt out over the slices.
"""

from __future__ import annotations

import queue
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from edc_pipeline.consolidation.batch_rows import read_batch
from edc_pipeline.consolidation.certificate import Input
from edc_pipeline.consolidation.identity import Rules, Tally, settle
from edc_pipeline.consolidation.plan import Batch, Plan
from edc_pipeline.consolidation.rows import NUMBERS, Array, Part, Rows, assemble, part_of
from edc_pipeline.consolidation.small_batches import read_together, together
from edc_pipeline.spool.micro_batch import UnreadableBatch

# What the libraries take before a row is read, and what a row takes while it is settled: three
# slices are in memory at a time (read, waiting, in work). Measured with `make bench-consolidation`.
_LIBRARIES_BYTES: Final = 330 << 20
_ROW_BYTES: Final = 900
_FEWEST_ROWS: Final = 20_000
# Larger slices gain nothing: the stages overlap less.
_MOST_ROWS: Final = 500_000
_WIDE: Final = 3  # a micro-batch in more slices than this is dealt out


def rows_of_a_slice(memory: int) -> int:
    """So many rows keep a consolidation within `memory` bytes."""
    return max(_FEWEST_ROWS, min(_MOST_ROWS, (memory - _LIBRARIES_BYTES) // _ROW_BYTES))


class SetAsideWhileReading(Exception):
    """A micro-batch turned out to be none; the work begins again without it."""

    def __init__(self, batch: Batch, error: Exception) -> None:
        super().__init__(str(error))
        self.batch = batch
        self.error = error


@dataclass(frozen=True)
class Slice:
    rows: Rows
    settled_from: int  # rows from here on were settled before
    rows_read: int  # of the plan, for progress


@dataclass
class Reading:
    """What reading found besides rows."""

    inputs: list[Input] = field(default_factory=list)
    # Rows that were settled by content: they are not counted again.
    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)


def cuts(batches: Sequence[Batch], slice_rows: int) -> list[int]:
    """The instants at which slices begin, but for the first: as if each micro-batch's rows lay
    evenly between its first and its last."""
    rows = sum(b.footer.rows for b in batches)
    if rows <= slice_rows:
        return []
    first = np.array([b.footer.min_ts_event for b in batches], np.int64)
    end = np.array([b.footer.max_ts_event for b in batches], np.int64) + 1
    count = np.array([b.footer.rows for b in batches], np.float64)
    edges = np.unique(np.concatenate([first, end]))
    # Rows a nanosecond, added where a micro-batch begins and taken off where it ends.
    rate = np.zeros(len(edges))
    np.add.at(rate, np.searchsorted(edges, first), count / (end - first))
    np.add.at(rate, np.searchsorted(edges, end), -count / (end - first))
    held = np.concatenate([[0.0], np.cumsum(np.cumsum(rate)[:-1] * np.diff(edges))])
    pieces = -(-rows // slice_rows)
    wanted = np.arange(1, pieces) * (rows / pieces)
    since = np.interp(wanted, held, (edges - edges[0]).astype(np.float64))
    found = edges[0] + since.astype(np.int64)
    return sorted({int(cut) for cut in found if cut > edges[0]})


def slices(
    plan: Plan,
    rules: Rules,
    slice_rows: int,
    scratch: Path,
    reading: Reading,
    advance: Callable[[int], None],
) -> Iterator[Slice]:
    """The slices in order of time. `scratch` is a folder of ours for what goes over the disk."""
    at = cuts(plan.batches, slice_rows)
    with ExitStack() as open_files:
        ahead = _Ahead(_Reader(plan, rules, at, scratch, reading, advance, open_files).slices())
        open_files.callback(ahead.stop)
        yield from ahead


class _Ahead:
    """Runs an iterator on a thread of its own, one item ahead."""

    def __init__(self, items: Iterator[Slice]) -> None:
        self._items = items
        self._queue: queue.Queue[Slice | BaseException | None] = queue.Queue(maxsize=1)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            for item in self._items:
                if not self._put(item):
                    return
            self._put(None)
        except BaseException as error:
            self._put(error)

    def _put(self, item: Slice | BaseException | None) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def __iter__(self) -> Iterator[Slice]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()


class _Reader:
    def __init__(
        self,
        plan: Plan,
        rules: Rules,
        at: list[int],
        scratch: Path,
        reading: Reading,
        advance: Callable[[int], None],
        open_files: ExitStack,
    ) -> None:
        self._plan = plan
        self._rules = rules
        self._cuts = at
        self._reading = reading
        self._advance = advance
        self._scratch = scratch
        self._open_files = open_files
        self._read_rows = 0

    def slices(self) -> Iterator[Slice]:
        narrow, dealt = self._sort_out()
        heaps = self._deal(dealt) if dealt else None
        carried: list[Part] = []
        waiting = sorted(narrow, key=lambda b: b.footer.min_ts_event, reverse=True)
        for number, end in enumerate([*self._cuts, None]):
            parts, carried, due = carried, [], list[Batch]()
            while waiting and (end is None or waiting[-1].footer.min_ts_event < end):
                due.append(waiting.pop())
            parts += self._read(due)
            if end is not None:
                parts, carried = _split(parts, end)
            if heaps is not None:
                parts += heaps.take(number)
            parts.sort(key=lambda part: part.settled)
            rows = assemble(parts, self._plan.event_type)
            fresh = sum(p.rows for p in parts if not p.settled)
            del parts
            yield Slice(rows, fresh, self._read_rows)

    def _sort_out(self) -> tuple[list[Batch], list[Batch]]:
        """(micro-batches to read as their time comes, those to be dealt out first)."""
        if not self._cuts:
            return self._plan.batches, []
        narrow: list[Batch] = []
        dealt: list[Batch] = []
        first, last = (
            np.searchsorted(
                self._cuts, [getattr(b.footer, end) for b in self._plan.batches], "right"
            )
            for end in ("min_ts_event", "max_ts_event")
        )
        for batch, slices_ in zip(self._plan.batches, (last - first).tolist(), strict=True):
            # Older footers do not say whether the vendor stamped all of their rows.
            wide = slices_ >= _WIDE or batch.footer.receive_rows != 0
            (dealt if wide else narrow).append(batch)
        return narrow, dealt

    def _read(self, batches: Sequence[Batch]) -> Iterator[Part]:
        for group in together(batches):
            doubtful = group
            if len(group) > 1:
                part, read, doubtful = read_together(group, self._plan.event_type, self._plan.day)
                if part is not None:
                    yield self._noted(part, read)
            for batch in doubtful:
                yield self._read_alone(batch)

    def _read_alone(self, batch: Batch) -> Part:
        try:
            part, read = read_batch(batch, self._plan.event_type, self._plan.day)
        except (UnreadableBatch, OSError) as error:
            raise SetAsideWhileReading(batch, error) from error
        return self._noted(part, [read])

    def _noted(self, part: Part, read: list[Input]) -> Part:
        self._reading.inputs += read
        self._read_rows += part.rows
        self._advance(part.rows)
        return part

    def _deal(self, batches: Sequence[Batch]) -> _Heaps:
        slices_ = _Heaps(self._scratch / "time", self._open_files)
        rows = sum(b.footer.rows for b in batches)
        pieces = max(1, -(-rows * (len(self._cuts) + 1) // max(self._plan.rows, 1)))
        by_content = _Heaps(self._scratch / "content", self._open_files)
        for part in self._read(batches):
            own = _own_clock(part)
            if own.any():
                received = part.where(own)
                heap = _scattered(assemble([received], self._plan.event_type)) % pieces
                by_content.deal(received, heap)
                part = part.where(~own)  # noqa: PLW2901 - what is left of it
            slices_.deal(part, self._slice_of(part))
        for number in by_content.numbers():
            rows_ = assemble(by_content.take(number), self._plan.event_type)
            settled = settle(rows_, self._rules)
            for product, tally in settled.feeds.items():
                self._reading.tallies.setdefault(product, Tally()).add(tally)
            kept = rows_.take(settled.order)
            kept.numbers["occurrence"] = settled.occurrence
            part = part_of(kept.to_arrow(), settled=True)
            slices_.deal(part, self._slice_of(part))
        return slices_

    def _slice_of(self, part: Part) -> Array:
        stamps: Array = part.arrays["ts_event"].to_numpy()
        return np.searchsorted(self._cuts, stamps, side="right")


def _split(parts: list[Part], end: int) -> tuple[list[Part], list[Part]]:
    before, after = [], []
    for part in parts:
        low, high = part.span()
        if high < end:
            before.append(part)
        elif low >= end:
            after.append(part)
        else:
            early, late = part.split(end)
            before.append(early)
            after.append(late)
    return before, after


def _own_clock(part: Part) -> Array:
    """Which rows bear our receive time."""
    if (constant := part.constants.get("ts_source")) is not None:
        return np.full(part.rows, constant == "receive")
    source = part.arrays["ts_source"]
    words = source.dictionary.to_pylist()
    return np.isin(source.indices.to_numpy(), [i for i, w in enumerate(words) if w == "receive"])


def _scattered(rows: Rows) -> Array:
    """A number that rows of equal content share, whichever file they are from."""
    symbols = np.array([zlib.crc32(word) for word in rows.texts["symbol"].words], np.uint64)
    found = symbols[rows.codes("symbol")]
    lineage = ("ts_event", "created_at", "frame", "occurrence")
    for name in NUMBERS[rows.event_type]:
        if name not in lineage:
            found ^= rows.numbers[name].view(np.uint64)
            found *= np.uint64(0xFF51AFD7ED558CCD)
            found ^= found >> np.uint64(33)
    return found


class _Heaps:
    """Rows dealt out over numbered files."""

    def __init__(self, folder: Path, open_files: ExitStack) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._open_files = open_files
        self._writers: dict[tuple[int, bool], Any] = {}

    def deal(self, part: Part, heap: Array) -> None:
        if not part.rows:
            return
        for number in np.unique(heap).tolist():
            self._write(number, part.where(heap == number))

    def _write(self, number: int, part: Part) -> None:
        columns = dict(part.arrays)
        for name, word in part.constants.items():
            columns[name] = pa.DictionaryArray.from_arrays(
                pa.array(np.zeros(part.rows, np.int32)), pa.array([word], pa.string())
            )
        batch = pa.record_batch({name: columns[name] for name in sorted(columns)})
        key = (number, part.settled)
        if key not in self._writers:
            sink = self._open_files.enter_context(pa.OSFile(str(self._path(key)), "wb"))
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._writers[key] = pa.ipc.new_stream(sink, batch.schema, options=options), sink
        self._writers[key][0].write_batch(batch)

    def numbers(self) -> list[int]:
        return sorted({number for number, _ in self._writers})

    def take(self, number: int) -> list[Part]:
        """What was dealt to a number; it is dealt to no more, and gone."""
        parts = []
        for settled in (False, True):
            if (number, settled) not in self._writers:
                continue
            writer, sink = self._writers.pop((number, settled))
            writer.close()
            sink.close()
            path = self._path((number, settled))
            with pa.OSFile(str(path), "rb") as source, pa.ipc.open_stream(source) as stream:
                parts += [
                    Part(
                        b.num_rows,
                        dict(zip(b.schema.names, b.columns, strict=True)),
                        settled=settled,
                    )
                    for b in stream
                ]
            path.unlink()
        return parts

    def _path(self, key: tuple[int, bool]) -> Path:
        number, settled = key
        return self._folder / f"{number}{'-settled' if settled else ''}.arrows"
