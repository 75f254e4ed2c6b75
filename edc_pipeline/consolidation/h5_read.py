"""Reading a daily file: with h5py, another library than wrote it, or chunk by chunk on two threads,
which is three times as fast."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeVar

import h5py
import hdf5plugin  # noqa: F401 - importing it lets h5py read the default codec
import numpy as np
import numpy.typing as npt

from edc_pipeline.consolidation.bit_planes import Loom, OfPlanes, OfRecords, planes_in
from edc_pipeline.consolidation.chunk_codec import unpack
from edc_pipeline.consolidation.content_hash import content_hash, digest_of
from edc_pipeline.consolidation.layout import CHUNK_ROWS, canonical
from edc_pipeline.consolidation.names import SYMBOLS, Codec
from edc_pipeline.events import EventType

BLOCK_ROWS: Final = 16 * CHUNK_ROWS  # 262,144: whole chunks, some 50 MB
THREADS: Final = 2
_AHEAD: Final = 6  # chunks unpacked and waiting

_BLOSC2: Final = 32026  # as registered with the HDF Group
Columns = OfPlanes | OfRecords
Found = TypeVar("Found")
Given = TypeVar("Given")


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


class _Room(threading.local):
    """Where a thread unpacks one chunk after another. In new memory for each, the pages that the
    system has to give take longer than the unpacking (177 ms of 2M rows, against 72)."""

    def __init__(self) -> None:
        self.stored = bytearray()
        self.records: npt.NDArray[Any] | None = None
        self.loom = Loom()


class StoredTable:
    """The table of a daily file, chunk by chunk. HDF5 says where they lie, and no more."""

    def __init__(self, path: Path, event_type: EventType) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with self._file() as file:
                table = table_in(file, event_type)
                self.dtype: np.dtype[Any] = table.dtype
                self.rows = len(table)
                self._codec = _codec_of(table)
                self.chunks = _chunks_of(table)
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def runs_of(self, symbols: Sequence[bytes]) -> list[tuple[int, int]]:
        """(first row, rows) of those of the symbols that the file lists, in the order of their
        bytes."""
        with self._file() as file:
            listed = file[SYMBOLS][()]
        wanted = sorted(set(symbols))
        at = np.searchsorted(listed["symbol"], np.array(wanted, listed["symbol"].dtype))
        return [
            (int(listed["first_row"][i]), int(listed["rows"][i]))
            for i, name in zip(at.tolist(), wanted, strict=True)
            if i < len(listed) and listed["symbol"][i] == name
        ]

    def _file(self) -> h5py.File:
        """Through the same descriptor: whoever replaces the path does not disturb us."""
        return h5py.File(f"/proc/self/fd/{self._descriptor}", "r", locking=False)

    def stored(self, chunk: Chunk) -> bytes:
        """A chunk as it lies in the file."""
        return os.pread(self._descriptor, chunk.bytes, chunk.at)

    def read(self, chunk: Chunk) -> npt.NDArray[Any]:
        return unpack(self.stored(chunk), self.dtype, self._codec)[: chunk.rows]

    def _stored_in(self, room: _Room, chunk: Chunk) -> tuple[memoryview, npt.NDArray[Any]]:
        if room.records is None:
            room.records = np.empty(CHUNK_ROWS, self.dtype)
        if len(room.stored) < chunk.bytes:
            room.stored = bytearray(chunk.bytes)
        stored = memoryview(room.stored)[: chunk.bytes]
        read = os.preadv(self._descriptor, [stored], chunk.at)
        return stored[:read], room.records

    def _records_in(self, room: _Room, chunk: Chunk) -> npt.NDArray[Any]:
        stored, records = self._stored_in(room, chunk)
        return unpack(stored, self.dtype, self._codec, records)[: chunk.rows]

    def _columns_in(self, room: _Room, chunk: Chunk) -> Columns:
        stored, records = self._stored_in(room, chunk)
        planes = planes_in(stored, self.dtype.itemsize, records.view(np.uint8))
        if planes is not None:
            return OfPlanes(planes, self.dtype, chunk.rows, room.loom)
        return OfRecords(unpack(stored, self.dtype, self._codec, records)[: chunk.rows])

    def each(
        self,
        take: Callable[[Chunk, npt.NDArray[Any]], Found],
        chunks: Sequence[Chunk] | None = None,
    ) -> Iterator[Found]:
        """What `take` makes of the records of each chunk, in order; it runs on two threads, ahead.

        The records that it is given are overwritten by the thread's next chunk: what it keeps of
        them it has to copy.
        """
        return self._each(self._records_in, take, chunks)

    def each_by_columns(
        self, take: Callable[[Chunk, Columns], Found], chunks: Sequence[Chunk] | None = None
    ) -> Iterator[Found]:
        """The same of its columns; the others are not put together."""
        return self._each(self._columns_in, take, chunks)

    def _each(
        self,
        read: Callable[[_Room, Chunk], Given],
        take: Callable[[Chunk, Given], Found],
        chunks: Sequence[Chunk] | None,
    ) -> Iterator[Found]:
        wanted = self.chunks if chunks is None else chunks
        room = _Room()
        if len(wanted) == 1:  # to start threads would take as long again
            yield take(wanted[0], read(room, wanted[0]))
            return
        with ThreadPoolExecutor(THREADS) as pool:
            waiting: deque[Future[Found]] = deque()
            try:
                for chunk in wanted:
                    waiting.append(pool.submit(lambda c: take(c, read(room, c)), chunk))
                    if len(waiting) > _AHEAD:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()


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
