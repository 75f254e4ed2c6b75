"""Micro-batches → the rows of a daily file, in bounded memory.

read ahead (a thread) ─slices─► settle, lay out (here) ─chunks─► pack and hash (two threads)
                                                      ─in order─► write (here)
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from edc_pipeline.consolidation.certificate import FeedCounts, Input
from edc_pipeline.consolidation.chunk_codec import pack
from edc_pipeline.consolidation.content_hash import digest_of
from edc_pipeline.consolidation.growth import Growth, Symbols, TakenOver, take_over
from edc_pipeline.consolidation.h5_read import StoredTable
from edc_pipeline.consolidation.h5_write import DailyFile, TimeIndex
from edc_pipeline.consolidation.identity import Rules, Tally, counts_of, settle
from edc_pipeline.consolidation.layout import CHUNK_ROWS, widths_of
from edc_pipeline.consolidation.names import Codec, Order
from edc_pipeline.consolidation.near_duplicates import NearDuplicates, near_duplicates
from edc_pipeline.consolidation.plan import Plan
from edc_pipeline.consolidation.records import Records
from edc_pipeline.consolidation.rows import Array, Rows, Text
from edc_pipeline.consolidation.slices import Reading, rows_of_a_slice, slices
from edc_pipeline.consolidation.sorting import stable_order

_PACKERS: Final = 2
_IN_FLIGHT: Final = 8  # chunks being packed, or packed and not yet written
_IN_FLIGHT_BYTES: Final = 32 << 20  # so many fewer, of records that long texts make wide


@dataclass(frozen=True)
class Written:
    """What the rows of a file are, once they are all in it."""

    rows_in: int
    rows: int
    dtype: np.dtype[np.void]
    digests: list[bytes]  # of the records, chunk by chunk
    feeds: dict[str, FeedCounts]
    symbols: Symbols
    near_duplicates: Array
    first_event: int | None
    last_event: int | None
    inputs: list[Input]
    index: bytes | None
    taken_over: int  # so many of the first chunks are the former file's, and were read back


def write_rows(
    plan: Plan,
    path: Path,
    scratch: Path,
    *,
    rules: Rules,
    widths: dict[str, int],
    codec: Codec,
    order: Order,
    memory: int,
    advance: Callable[[int], None],
    finish: Callable[[DailyFile, Written], None],
    grown: Growth | None = None,
) -> None:
    """Write the day's rows into `path`, then let `finish` put in what stands beside them. Where the
    day has `grown`, rows of the former file are taken over."""
    largest = max((b.footer.rows for b in plan.batches), default=0)
    reading, slice_rows = Reading(), rows_of_a_slice(memory, widths, largest)
    near = NearDuplicates(scratch / "ids", rules)
    tallies: dict[tuple[str, str], Tally] = {}
    span: list[int] = []
    with ExitStack() as stack:
        index = TimeIndex(plan.event_type, widths, codec=codec, rows=plan.rows)
        stack.callback(index.close)
        file = stack.enter_context(
            DailyFile(path, plan.event_type, widths, codec=codec, expected_rows=plan.rows)
        )
        packing = stack.enter_context(_Packing(file, codec, index if order == "time" else None))
        laid = _ByTime(plan, widths) if order == "time" else _BySymbol(plan, widths, scratch)
        to_read = plan if grown is None else grown.plan
        if grown is not None:
            former = take_over(grown, file, path, index, near, rules, slice_rows, scratch)
            advance(plan.rows - to_read.rows)
            assert isinstance(laid, _ByTime)
            laid.go_on(former)
            packing.digests += former.digests
            tallies |= former.tallies
            span += former.first_event
        taken_over = len(packing.digests)
        for slice_ in slices(to_read, rules, slice_rows, scratch, reading, advance):
            rows = slice_.rows if grown is None else grown.from_then_on(slice_)
            settled = settle(rows, rules, settled_from=slice_.settled_from)
            for product, tally in settled.feeds.items():
                tallies.setdefault(product, Tally()).add(tally)
            if len(settled.order):
                stamps = rows.numbers["ts_event"]
                span += [int(stamps[settled.order[0]]), int(stamps[settled.order[-1]])]
            for chunk in laid.add(rows, settled.order, settled.occurrence, near):
                packing.add(chunk)
        for chunk in laid.rest():
            packing.add(chunk)
        packing.finish()
        for product, tally in reading.tallies.items():
            tallies.setdefault(product, Tally()).add(tally)
        inputs = reading.inputs if grown is None else grown.all_inputs(reading.inputs, tallies)
        candidates = laid.places(near.candidates())
        listed, more = np.empty(0, np.int64), Counter[tuple[str, str]]()
        if len(candidates):
            file.flush()
            with StoredTable(path, plan.event_type) as table:
                listed, more = near_duplicates(table, candidates)
        finish(
            file,
            Written(
                rows_in=sum(i.rows for i in inputs),
                rows=file.rows,
                dtype=file.dtype,
                digests=packing.digests,
                feeds=counts_of(tallies, more, plan.event_type, rules),
                symbols=laid.symbols,
                near_duplicates=listed,
                first_event=min(span, default=None),
                last_event=max(span, default=None),
                inputs=sorted(inputs, key=lambda i: i.name),
                index=index.image() if order == "time" and file.rows else None,
                taken_over=taken_over,
            ),
        )


def widths_of_plan(plan: Plan, read_all: Callable[[], dict[str, int]]) -> dict[str, int]:
    """From the footers; where an older one does not say, `read_all` looks at the texts."""
    longest: dict[str, int] = {}
    for batch in plan.batches:
        if not batch.footer.text_bytes and batch.footer.rows:
            return widths_of(read_all())
        for name, length in batch.footer.text_bytes.items():
            longest[name] = max(length, longest.get(name, 0))
    return widths_of(longest)


class _Packing:
    """Packs and hashes chunks on threads, writes them in order."""

    def __init__(self, file: DailyFile, codec: Codec, index: TimeIndex | None) -> None:
        self._file = file
        self._codec = codec
        self._index = index
        self._pool = ThreadPoolExecutor(_PACKERS, thread_name_prefix="pack")
        self._waiting: deque[tuple[Future[tuple[bytes, bytes]], int]] = deque()
        self.digests: list[bytes] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def add(self, chunk: Array) -> None:
        if self._index is not None:
            self._index.add(chunk["ts_event"])
        self._waiting.append((self._pool.submit(self._pack, chunk), len(chunk)))
        most = max(_PACKERS, min(_IN_FLIGHT, _IN_FLIGHT_BYTES // chunk.nbytes))
        while len(self._waiting) > most or (self._waiting and self._waiting[0][0].done()):
            self._write()

    def finish(self) -> None:
        while self._waiting:
            self._write()

    def _pack(self, chunk: Array) -> tuple[bytes, bytes]:
        return pack(chunk, self._codec), digest_of(chunk)

    def _write(self) -> None:
        future, rows = self._waiting.popleft()
        packed, digest = future.result()
        self._file.add(packed, rows)
        self.digests.append(digest)


class _ByTime:
    """Rows go into the table as they come."""

    def __init__(self, plan: Plan, widths: dict[str, int]) -> None:
        self._records = Records(plan.event_type, widths)
        self._rows = 0
        self.symbols: Symbols = {}

    def go_on(self, former: TakenOver) -> None:
        """After the rows that were taken over."""
        self._records.go_on(former.rows, former.rest)
        self._rows = former.rows
        self.symbols = dict(former.symbols)

    def add(
        self, rows: Rows, order: Array, occurrence: Array, near: NearDuplicates
    ) -> Iterator[Array]:
        for name, n, first in symbols_in(rows, order):
            before = self.symbols.get(name)
            self.symbols[name] = (before[0] + n, before[1]) if before else (n, self._rows + first)
        self._rows += len(order)
        near.add(rows, order)
        yield from self._records.add(rows, order, occurrence)

    def rest(self) -> Iterator[Array]:
        return self._records.rest()

    def places(self, rows: Array) -> Array:
        return rows


class _BySymbol:
    """Rows wait on the disk, slice by slice in the order of their symbols, until all are there;
    then each symbol's rows are collected from all slices."""

    def __init__(self, plan: Plan, widths: dict[str, int], scratch: Path) -> None:
        self._event_type = plan.event_type
        self._widths = widths
        self._path = scratch / "by_symbol"
        self._path.touch()
        # The runs of rows of one symbol, in the order in which they lie there. As arrays: where
        # nearly each row has a symbol of its own, tuples of them took 300 MB of 2M rows.
        self._numbers: dict[bytes, int] = {}  # of the symbols, in the order of their appearance
        self._runs: list[tuple[Array, Array]] = []  # slice by slice: of which symbol, rows
        self._moved: tuple[Array, Array] | None = None  # runs: first row there, and in the file
        self.symbols: Symbols = {}

    def add(
        self, rows: Rows, order: Array, occurrence: Array, near: NearDuplicates
    ) -> Iterator[Array]:
        text = rows.texts["symbol"]
        if text.codes is not None:
            by_symbol = stable_order(text.ranks()[text.codes[order]])
            order, occurrence = order[by_symbol], occurrence[by_symbol]
        found = symbols_in(rows, order)
        found.sort(key=lambda run: run[2])
        known = self._numbers
        of = np.array([known.setdefault(name, len(known)) for name, _, _ in found], np.int32)
        self._runs.append((of, np.array([n for _, n, _ in found], np.int32)))
        near.add(rows, order)
        records = Records(self._event_type, self._widths)
        with self._path.open("ab") as file:
            for part in (records.add(rows, order, occurrence), records.rest()):
                for chunk in part:
                    file.write(chunk.view(np.uint8).data)
        return iter(())

    def rest(self) -> Iterator[Array]:
        dtype = Records(self._event_type, self._widths).dtype
        chunk, filled, done = np.zeros(CHUNK_ROWS, dtype), 0, 0
        descriptor = os.open(self._path, os.O_RDONLY)
        try:
            for first, n in self._by_symbol():
                read = 0
                while read < n:
                    more = min(n - read, CHUNK_ROWS - filled)
                    room: Any = chunk[filled : filled + more].view(np.uint8)
                    at = (first + read) * dtype.itemsize
                    if os.preadv(descriptor, [room], at) != room.nbytes:
                        raise OSError(f"{self._path} has become shorter")
                    read += more
                    filled += more
                    if filled == CHUNK_ROWS:
                        chunk["index"] = np.arange(done, done + filled)
                        yield chunk
                        done += filled
                        chunk, filled = np.zeros(CHUNK_ROWS, dtype), 0
            if filled:
                chunk["index"][:filled] = np.arange(done, done + filled)
                yield chunk[:filled]
        finally:
            os.close(descriptor)

    def _by_symbol(self) -> Iterator[tuple[int, int]]:
        """(first row there, rows) of the runs, as they come in the file."""
        names = list(self._numbers)
        ranks = Text(names).ranks()
        self._numbers = {}
        of = ranks[np.concatenate([np.empty(0, np.int32), *(of for of, _ in self._runs)])]
        rows = np.concatenate([np.empty(0, np.int32), *(n for _, n in self._runs)]).astype(np.int64)
        self._runs = []
        order = stable_order(of)
        there = np.cumsum(rows) - rows
        counts = np.bincount(of, weights=rows, minlength=len(names)).astype(np.int64)
        begin = np.cumsum(counts) - counts
        for name, rank in sorted(zip(names, ranks.tolist(), strict=True)):
            self.symbols[name] = (int(counts[rank]), int(begin[rank]))
        sizes = rows[order]
        here = np.empty(len(rows), np.int64)
        here[order] = np.cumsum(sizes) - sizes
        self._moved = there, here
        for at in range(0, len(order), CHUNK_ROWS):
            some = order[at : at + CHUNK_ROWS]
            yield from zip(there[some].tolist(), rows[some].tolist(), strict=True)

    def places(self, rows: Array) -> Array:
        if not len(rows):
            return rows
        assert self._moved is not None
        there, here = self._moved
        run = np.searchsorted(there, rows, side="right") - 1
        return np.sort(here[run] + rows - there[run])


def symbols_in(rows: Rows, order: Array) -> list[tuple[bytes, int, int]]:
    """(symbol, rows, place of its first row in `order`) of each symbol among these rows."""
    text = rows.texts["symbol"]
    if not len(order):
        return []
    if text.codes is None:
        return [(text.words[0], len(order), 0)]
    codes = text.codes[order]
    counts = np.bincount(codes, minlength=len(text.words))
    first = np.zeros(len(text.words), np.int64)
    first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)  # the last assignment is the first row
    return [(text.words[i], int(counts[i]), int(first[i])) for i in np.flatnonzero(counts).tolist()]
