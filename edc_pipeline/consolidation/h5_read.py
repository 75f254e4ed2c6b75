"""Reading a daily file: with h5py, another library than wrote it, or chunk by chunk on two threads,
which is three times as fast."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar

import h5py
import hdf5plugin  # noqa: F401 - importing it lets h5py read the default codec
import numpy as np
import numpy.typing as npt

from edc_pipeline.consolidation.bit_planes import Loom, OfPlanes, OfRecords, planes_in
from edc_pipeline.consolidation.checksums import hdf5_of, opened
from edc_pipeline.consolidation.chunk_codec import unpack
from edc_pipeline.consolidation.content_hash import content_hash, digest_of
from edc_pipeline.consolidation.errors import DamagedFile
from edc_pipeline.consolidation.layout import CHUNK_ROWS, canonical
from edc_pipeline.consolidation.names import SYMBOLS, Codec
from edc_pipeline.durable_file import Seen, seen
from edc_pipeline.events import EventType

BLOCK_ROWS: Final = 16 * CHUNK_ROWS  # 262,144: whole chunks, some 50 MB
THREADS: Final = 2
_AHEAD: Final = 6  # chunks unpacked and waiting
# Chunks whose columns are looked at together, unpacked. What Python takes for each step it takes
# once for all of them, and less often do the threads wait for its lock: of 99 chunks, two threads
# took 151 ms one by one, 82 by four, 56 by seventeen.
_TOGETHER_BYTES: Final = 28 << 20
_SPANS_AHEAD: Final = 2

_BLOSC2: Final = 32026  # as registered with the HDF Group
Columns = OfPlanes | OfRecords
Found = TypeVar("Found")
Given = TypeVar("Given")
Stored = TypeVar("Stored", bytes, memoryview)
Where = TypeVar("Where")


def table_in(file: h5py.File, event_type: EventType) -> h5py.Dataset:
    return file[event_type]["table"]


def blocks(table: h5py.Dataset, block_rows: int = BLOCK_ROWS) -> Iterator[npt.NDArray[Any]]:
    for start in range(0, len(table), block_rows):
        yield np.asarray(table[start : start + block_rows])


def open_daily(path: Path) -> h5py.File:
    return h5py.File(path, "r")


class Chunk(NamedTuple):
    first: int  # its first row
    rows: int
    at: int  # where it lies in the file
    bytes: int


class Span(NamedTuple):
    """Chunks that lie one after the other, looked at together."""

    first: int
    rows: int
    chunks: tuple[Chunk, ...]


class _Room(threading.local):
    """Where a thread unpacks one chunk after another. In new memory for each, the pages that the
    system has to give take longer than the unpacking (177 ms of 2M rows, against 72)."""

    def __init__(self) -> None:
        self.stored = bytearray()
        self.unpacked = np.empty(0, np.uint8)
        self.loom = Loom()

    def for_chunks(self, count: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Records of so many chunks."""
        size = count * CHUNK_ROWS * dtype.itemsize
        if len(self.unpacked) < size:
            self.unpacked = np.empty(size, np.uint8)
        return self.unpacked[:size].view(dtype)


class StoredTable:
    """The table of a daily file, chunk by chunk. HDF5 says where they lie, and no more."""

    def __init__(self, path: Path, event_type: EventType) -> None:
        self._path = path
        self._open = ExitStack()
        self._descriptor, self._checksums = self._open.enter_context(opened(path))
        try:
            with hdf5_of(self._descriptor) as file:
                table = table_in(file, event_type)
                self.dtype: np.dtype[Any] = table.dtype
                self.rows = len(table)
                self._codec = _codec_of(table)
                self.chunks = _chunks_of(table)
        except BaseException:
            self._open.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._open.close()

    def is_file(self, was: Seen) -> bool:
        return seen(self._descriptor) == was

    def runs_of(self, symbols: Sequence[bytes]) -> list[tuple[int, int]]:
        """(first row, rows) of those of the symbols that the file lists, in the order of their
        bytes."""
        with hdf5_of(self._descriptor) as file:
            listed = file[SYMBOLS][()]
        wanted = sorted(set(symbols))
        at = np.searchsorted(listed["symbol"], np.array(wanted, listed["symbol"].dtype))
        return [
            (int(listed["first_row"][i]), int(listed["rows"][i]))
            for i, name in zip(at.tolist(), wanted, strict=True)
            if i < len(listed) and listed["symbol"][i] == name
        ]

    def stored(self, chunk: Chunk) -> bytes:
        """A chunk as it lies in the file."""
        return self._sound(os.pread(self._descriptor, chunk.bytes, chunk.at), chunk)

    def _sound(self, stored: Stored, chunk: Chunk) -> Stored:
        """`DamagedFile` if it is not the chunk that was written."""
        if self._checksums is not None and not self._checksums.is_chunk(stored, chunk.at):
            rows = f"rows {chunk.first:,} to {chunk.first + chunk.rows - 1:,}"
            raise DamagedFile(self._path, f"chunk {chunk.first // CHUNK_ROWS} ({rows})")
        return stored

    def read(self, chunk: Chunk) -> npt.NDArray[Any]:
        return unpack(self.stored(chunk), self.dtype, self._codec)[: chunk.rows]

    def _stored_in(self, room: _Room, chunk: Chunk) -> memoryview:
        if len(room.stored) < chunk.bytes:
            room.stored = bytearray(chunk.bytes)
        stored = memoryview(room.stored)[: chunk.bytes]
        return self._sound(stored[: os.preadv(self._descriptor, [stored], chunk.at)], chunk)

    def _records_in(self, room: _Room, chunk: Chunk) -> npt.NDArray[Any]:
        records = room.for_chunks(1, self.dtype)
        stored = self._stored_in(room, chunk)
        return unpack(stored, self.dtype, self._codec, records)[: chunk.rows]

    def _columns_in(self, room: _Room, span: Span) -> Columns:
        records = room.for_chunks(len(span.chunks), self.dtype)
        planes = self._planes_in(room, span, records.view(np.uint8))
        if planes is not None:
            return OfPlanes(planes, self.dtype, span.rows, room.loom)
        for at, chunk in enumerate(span.chunks):
            here = records[at * CHUNK_ROWS : (at + 1) * CHUNK_ROWS]
            found = unpack(self._stored_in(room, chunk), self.dtype, self._codec, here)
            if found is not here:
                here[...] = found
        return OfRecords(records[: span.rows])

    def _planes_in(
        self, room: _Room, span: Span, unpacked: npt.NDArray[Any]
    ) -> npt.NDArray[Any] | None:
        size = len(unpacked) // len(span.chunks)
        shapes = set()
        for at, chunk in enumerate(span.chunks):
            here = unpacked[at * size : (at + 1) * size]
            planes = planes_in(self._stored_in(room, chunk), self.dtype.itemsize, here)
            if planes is None:
                return None
            shapes.add(planes.shape[1:])
        if len(shapes) > 1:
            return None
        return unpacked.view(np.uint64).reshape(-1, *shapes.pop())

    def each(
        self,
        take: Callable[[Chunk, npt.NDArray[Any]], Found],
        chunks: Sequence[Chunk] | None = None,
    ) -> Iterator[Found]:
        """What `take` makes of the records of each chunk, in order; it runs on two threads, ahead.

        The records that it is given are overwritten by the thread's next chunk: what it keeps of
        them it has to copy.
        """
        wanted = self.chunks if chunks is None else chunks
        return self._each(self._records_in, take, wanted, _AHEAD)

    def each_by_columns(
        self, take: Callable[[Span, Columns], Found], chunks: Sequence[Chunk] | None = None
    ) -> Iterator[Found]:
        """The same of the columns of some chunks at a time; those that `take` does not ask for are
        not put together."""
        wanted = self.chunks if chunks is None else chunks
        most = max(1, _TOGETHER_BYTES // (CHUNK_ROWS * self.dtype.itemsize))
        return self._each(self._columns_in, take, _spans(wanted, most), _SPANS_AHEAD)

    def _each(
        self,
        read: Callable[[_Room, Where], Given],
        take: Callable[[Where, Given], Found],
        wanted: Sequence[Where],
        ahead: int,
    ) -> Iterator[Found]:
        room = _Room()
        if len(wanted) == 1:  # to start threads would take as long again
            yield take(wanted[0], read(room, wanted[0]))
            return
        with ThreadPoolExecutor(THREADS) as pool:
            waiting: deque[Future[Found]] = deque()
            try:
                for where in wanted:
                    waiting.append(pool.submit(lambda w: take(w, read(room, w)), where))
                    if len(waiting) > ahead:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()


def _spans(chunks: Sequence[Chunk], most: int) -> list[Span]:
    """Of equal size, and as many for each thread."""
    rounds = max(1, -(-len(chunks) // (THREADS * most)))
    most = -(-len(chunks) // (THREADS * rounds))
    found: list[list[Chunk]] = []
    for chunk in chunks:
        if found and len(found[-1]) < most and chunk.first == found[-1][-1].first + CHUNK_ROWS:
            found[-1].append(chunk)
        else:
            found.append([chunk])
    return [Span(some[0].first, sum(c.rows for c in some), tuple(some)) for some in found]


def _codec_of(table: h5py.Dataset) -> Codec:
    """Both Blosc codecs lie in frames that say which they are."""
    plist = table.id.get_create_plist()
    filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    if filters == [_BLOSC2]:
        return "blosc2-lz4"
    if filters == [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE]:
        return "zlib"
    raise ValueError(f"its chunks are packed by filters {filters}, which no daily file has")


def _chunks_of(table: h5py.Dataset) -> list[Chunk]:
    found: list[Chunk] = []
    rows = len(table)
    if table.chunks != (CHUNK_ROWS,):
        raise ValueError(f"its chunks are of {table.chunks} rows, not of {CHUNK_ROWS}")

    def take(stored: Any) -> None:
        first = int(stored.chunk_offset[0])
        found.append(Chunk(first, min(CHUNK_ROWS, rows - first), stored.byte_offset, stored.size))

    if rows:
        table.id.chunk_iter(take)
    found.sort()
    if [chunk.first for chunk in found] != list(range(0, rows, CHUNK_ROWS)):
        raise ValueError(f"{len(found)} chunks do not hold {rows} rows")
    return found


def chunks_in(path: Path) -> list[tuple[int, int]]:
    """Of each packed chunk in a file, of whichever data set, where it lies, and its bytes."""
    found: list[tuple[int, int]] = []

    def visit(_name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.chunks is not None and node.size:
            node.id.chunk_iter(lambda stored: found.append((stored.byte_offset, stored.size)))

    with open_daily(path) as file:
        file.visititems(visit)
    return found


def hash_as_now(path: Path, event_type: EventType) -> str | None:
    """The content hash that a file of certificate version 1 would have today."""
    try:
        with StoredTable(path, event_type) as table:
            widths: dict[str, int] = {}
            for found in table.each(lambda _chunk, block: _longest(block)):
                widths = {n: max(found[n], widths.get(n, 1)) for n in found}
            dtype = canonical(event_type, widths)
            digests = list(table.each(lambda _chunk, block: digest_of(block.astype(dtype))))
            return content_hash(event_type, "time", dtype, table.rows, digests)
    except Exception:
        return None


def _longest(block: npt.NDArray[Any]) -> dict[str, int]:
    return {
        name: int(np.strings.str_len(block[name]).max(initial=0))
        for name in block.dtype.names or ()
        if block.dtype[name].kind == "S"
    }
