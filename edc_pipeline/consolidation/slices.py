"""A day cut into slices of time that each fit into memory, read one ahead of whoever settles them.

Rows of equal content share their stamp, so slices of time are exact. Three kinds of rows do not fit
into slices as they are read, and take a way over the disk (in a folder beside the daily file, gone
when the work ends):

- micro-batches that span several slices (a backfill, a late connection) are read once and dealt
  out over the slices;
- rows without a vendor's time bear our own, which equal content does not share: they are dealt
  out by content, each heap is settled for itself, and then dealt out over the slices;
- so are those of an instant that alone holds more rows than a slice; what stays of them is dealt
  out once more by what orders the rows of an instant, so that they make several slices.

What has to be in memory at once is then no more than a slice, but for the copies of one content:
which of them stay is decided between all, and takes 900 bytes each.
"""

from __future__ import annotations

import queue
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from edc_pipeline.consolidation.batch_rows import read_batch, read_in_pieces
from edc_pipeline.consolidation.certificate import Input
from edc_pipeline.consolidation.heaps import Heaps
from edc_pipeline.consolidation.identity import Rules, Tally, settle
from edc_pipeline.consolidation.layout import CHUNK_ROWS
from edc_pipeline.consolidation.plan import Batch, Plan
from edc_pipeline.consolidation.rows import NUMBERS, Array, Part, Rows, assemble, part_of
from edc_pipeline.consolidation.small_batches import read_together, together
from edc_pipeline.consolidation.time_cuts import cuts
from edc_pipeline.spool.micro_batch import UnreadableBatch

# What the libraries take before a row is read, with the records of usual width on their way to the
# disk; and what a row takes while it is settled: three slices are in memory at a time (read,
# waiting, in work). Measured with `make bench-consolidation`.
_LIBRARIES_BYTES: Final = 330 << 20
_ROW_BYTES: Final = 900
# A long text that each row says for itself, as an id, is there up to eight times while it goes
# from Arrow's vocabulary to Python's and into records. Of a row with 256 bytes in two such columns
# 2,040 bytes were measured, with 640 bytes 4,500; with an id of 32 bytes 700.
_SHORT_TEXT_BYTES: Final = 32
_TIMES_A_LONG_TEXT: Final = 10
_FEWEST_ROWS: Final = 20_000
# Larger slices gain nothing: the stages overlap less.
_MOST_ROWS: Final = 500_000
_CHUNKS_ON_THE_WAY: Final = 5  # of wide records: filled, packed, written
_WIDE: Final = 3  # a micro-batch in more slices than this is dealt out
_PIECES: Final = 2  # of a slice, in which a micro-batch is read that is larger than one
_MOST_DUE: Final = 2  # slices' worth of rows that may be read for one of them
_EVERY_KEY: Final = 16  # of the rows of one instant, one in so many is looked at to cut them


def rows_of_a_slice(memory: int, widths: Mapping[str, int], largest: int) -> int:
    """So many rows keep a consolidation within `memory` bytes, where texts have up to so many, and
    the largest micro-batch so many rows: each of its vocabularies is unpacked whole."""
    long = sum(max(0, width - _SHORT_TEXT_BYTES) for width in widths.values())
    of_a_row = _ROW_BYTES + _TIMES_A_LONG_TEXT * long
    left = memory - _LIBRARIES_BYTES - (_CHUNKS_ON_THE_WAY * CHUNK_ROWS + largest) * long
    return max(_FEWEST_ROWS, min(_MOST_ROWS, left // of_a_row))


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
    until: int | None  # an instant: all rows before it are in this slice and those before it


@dataclass
class Reading:
    """What reading found besides rows."""

    inputs: list[Input] = field(default_factory=list)
    # Rows that were settled by content: they are not counted again.
    tallies: dict[tuple[str, str], Tally] = field(default_factory=dict)


def slices(
    plan: Plan,
    rules: Rules,
    slice_rows: int,
    scratch: Path,
    reading: Reading,
    advance: Callable[[int], None],
) -> Iterator[Slice]:
    """The slices in order of time. `scratch` is a folder of ours for what goes over the disk."""
    with ExitStack() as open_files:
        reader = _Reader(plan, rules, slice_rows, scratch, reading, advance, open_files)
        ahead = _Ahead(reader.slices())
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
        slice_rows: int,
        scratch: Path,
        reading: Reading,
        advance: Callable[[int], None],
        open_files: ExitStack,
    ) -> None:
        self._plan = plan
        self._rules = rules
        self._slice_rows = slice_rows
        self._cuts = cuts(plan.batches, slice_rows)
        self._full = set(self._cuts.slice_of(np.array(self._cuts.full, np.int64)).tolist())
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
        for number, end in enumerate([*self._cuts.at, None]):
            parts, carried, due = carried, [], list[Batch]()
            while waiting and (end is None or waiting[-1].footer.min_ts_event < end):
                due.append(waiting.pop())
            parts += self._read(due)
            if end is not None:
                parts, carried = _split(parts, end)
            if heaps is not None and number in self._full:
                assert end is not None
                # Each micro-batch that reaches into it was dealt out: footers are held to.
                assert not parts, f"{sum(p.rows for p in parts)} rows of {end - 1} were not dealt"
                yield from self._of_instant(heaps, number, end - 1)
                continue
            if heaps is not None:
                parts += heaps.take(number)
            parts.sort(key=lambda part: part.settled)
            rows = assemble(parts, self._plan.event_type)
            fresh = sum(p.rows for p in parts if not p.settled)
            del parts
            yield Slice(rows, fresh, self._read_rows, end)

    def _of_instant(self, heaps: Heaps, number: int, instant: int) -> Iterator[Slice]:
        """The rows of an instant that has too many for a slice, which are settled."""
        finer = Heaps(self._scratch / f"instant{number}", self._open_files)
        ends = _ends_by_order(heaps.parts(number), self._slice_rows)
        for part in heaps.parts(number):
            finer.deal(part, _place_by_order(part, ends))
        heaps.drop(number)
        for heap in (numbers := finer.numbers()):
            rows = assemble(finer.take(heap), self._plan.event_type)
            until = instant + 1 if heap == numbers[-1] else instant
            yield Slice(rows, 0, self._read_rows, until)

    def _sort_out(self) -> tuple[list[Batch], list[Batch]]:
        """(micro-batches to read as their time comes, those to be dealt out first)."""
        if not self._cuts.at:
            return self._plan.batches, []
        narrow: list[Batch] = []
        dealt: list[Batch] = []
        footers = [b.footer for b in self._plan.batches]
        first, last = (
            self._cuts.slice_of(np.array([getattr(f, end) for f in footers], np.int64))
            for end in ("min_ts_event", "max_ts_event")
        )
        # Older footers do not say whether the vendor stamped all of their rows.
        own = np.array([f.receive_rows != 0 for f in footers])
        wide = own | (last - first >= _WIDE)
        due = _over(first, last, np.where(wide, 0, [f.rows for f in footers]), len(self._cuts.at))
        # What lies across a cut is read with the slice before it, and waits.
        wide |= (last > first) & _meets(first, last, due > _MOST_DUE * self._slice_rows)
        full = np.isin(np.arange(len(due)), sorted(self._full))
        wide |= _meets(first, last, full)
        for batch, is_wide in zip(self._plan.batches, wide.tolist(), strict=True):
            (dealt if is_wide else narrow).append(batch)
        return narrow, dealt

    def _read(self, batches: Sequence[Batch]) -> Iterator[Part]:
        for group in together(batches):
            doubtful = group
            if len(group) > 1:
                part, read, doubtful = read_together(group, self._plan.event_type, self._plan.day)
                if part is not None:
                    yield self._noted(part, read)
            for batch in doubtful:
                yield from self._read_alone(batch)

    def _read_alone(self, batch: Batch) -> Iterator[Part]:
        event_type, day = self._plan.event_type, self._plan.day
        try:
            if batch.footer.rows <= self._slice_rows:
                part, read = read_batch(batch, event_type, day)
                yield self._noted(part, [read])
                return
            rows = -(-self._slice_rows // _PIECES)
            for part, whole in read_in_pieces(batch, event_type, day, rows):
                yield self._noted(part, [] if whole is None else [whole])
                del part
                # What Arrow's allocator keeps for later was 90 of 620 MB where texts are long.
                pa.default_memory_pool().release_unused()
        except (UnreadableBatch, OSError) as error:
            raise SetAsideWhileReading(batch, error) from error

    def _noted(self, part: Part, read: list[Input]) -> Part:
        self._reading.inputs += read
        self._read_rows += part.rows
        self._advance(part.rows)
        return part

    def _deal(self, batches: Sequence[Batch]) -> Heaps:
        slices_ = Heaps(self._scratch / "time", self._open_files)
        rows = sum(b.footer.rows for b in batches)
        pieces = max(1, -(-rows // self._slice_rows))
        by_content = Heaps(self._scratch / "content", self._open_files)
        for part in self._read(batches):
            heap = self._slice_of(part)
            apart = _own_clock(part) | np.isin(heap, sorted(self._full))
            if apart.any():
                these = part.where(apart)
                scattered = _scattered(assemble([these], self._plan.event_type))
                by_content.deal(these, scattered % pieces)
                part, heap = part.where(~apart), heap[~apart]  # noqa: PLW2901 - what is left
            slices_.deal(part, heap)
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
        return self._cuts.slice_of(part.arrays["ts_event"].to_numpy())


def _over(first: Array, last: Array, rows: Array, cuts_: int) -> Array:
    """The rows that are due in each slice, of micro-batches from a first to a last slice."""
    found = np.zeros(cuts_ + 2, np.int64)
    np.add.at(found, first, rows)
    np.add.at(found, last + 1, -rows)
    return np.cumsum(found)[:-1]


def _meets(first: Array, last: Array, slices_: Array) -> Array:
    """Which micro-batches have rows in one of these slices."""
    before = np.concatenate([[0], np.cumsum(slices_)])
    found: Array = before[last + 1] > before[first]
    return found


# What orders the rows of an instant, as `identity` does.
_WITHIN_INSTANT: Final = ("seq", "created_at", "frame")


def _ends_by_order(parts: Iterable[Part], slice_rows: int) -> list[tuple[int, ...]]:
    """Cuts between rows of one instant, such that about as many lie between any two."""
    rows, kept = 0, list[Array]()
    for part in parts:
        rows += part.rows
        keys = np.stack([part.arrays[name].to_numpy() for name in _WITHIN_INSTANT])
        kept.append(keys[:, ::_EVERY_KEY].copy())
    keys = np.concatenate(kept, axis=1) if kept else np.empty((len(_WITHIN_INSTANT), 0))
    keys = keys[:, np.lexsort(keys[::-1])]
    pieces = -(-rows // slice_rows)
    at = np.arange(1, pieces) * keys.shape[1] // pieces
    return sorted({tuple(key) for key in keys[:, at].T.tolist()})


def _place_by_order(part: Part, ends: Sequence[tuple[int, ...]]) -> Array:
    seq, created, frame = (part.arrays[name].to_numpy() for name in _WITHIN_INSTANT)
    found = np.zeros(part.rows, np.int64)
    for s, c, f in ends:
        later = (created > c) | ((created == c) & (frame >= f))
        found += (seq > s) | ((seq == s) & later)
    return found


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
