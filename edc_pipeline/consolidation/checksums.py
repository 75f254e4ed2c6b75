"""A checksum of each piece of a daily file, so that whoever reads a part knows that it is sound.

The seal tells of all bytes at once: to hold them against it takes as long as to read a symbol. So
before the seal, after the end of the HDF5 file proper, stands the checksum of every piece: each
packed chunk is one; what lies between them (headers, lists, certificate) is cut into pieces of at
most 64 kB. `edc_pipeline.read` holds the latter against theirs before HDF5 looks at them, and each
chunk before it is unpacked: some 1.5 ms of CPU for a million rows.

HDF5's own Fletcher32 would serve every reader, but it tells of chunks alone. It is the headers
(which bytes are a chunk, where a column begins) and the list of symbols that turn into other rows
in silence, and HDF5 may crash on what is damaged in them. Nor can chunks that we pack and unpack
ourselves have it without computing it by ourselves.

The checksum of a piece: as many whole quarters of 256 little-endian words of 64 bits as there are,
each quarter's words added up by their place modulo 256; the CRC-32 of these 1,024 sums, going on
over the bytes that are left. Any change within one word shows, and of others all but one in some
100,000. CRC-32 of all bytes goes at 4.2 GB/s where this goes at 24, and was a tenth of what it
takes to read a symbol.

    records of 16 bytes: the end of a piece (uint64), its checksum (uint32), 1 for a packed chunk
        (uint32), all little-endian
    a line: `\\nedc sums <records, 8 hex digits> <CRC-32 of the records, 8>\\n`
    the seal
"""

from __future__ import annotations

import os
import re
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from edc_pipeline.consolidation.errors import DamagedFile

if TYPE_CHECKING:
    import h5py

SEAL_BYTES: Final = 88  # what follows on the line
_LINE: Final = re.compile(rb"\nedc sums ([0-9a-f]{8}) ([0-9a-f]{8})\n")
_LINE_BYTES: Final = 28
_RECORD: Final = np.dtype([("end", "<u8"), ("sum", "<u4"), ("packed", "<u4")])
_PIECE_BYTES: Final = 1 << 16
_QUARTERS: Final = 4
_PLACES: Final = 256


def checksum(content: bytes | memoryview) -> int:
    words = len(content) // (8 * _QUARTERS * _PLACES) * (_QUARTERS * _PLACES)
    summed = np.frombuffer(content, "<u8", words).reshape(_QUARTERS, -1, _PLACES)
    begun = zlib.crc32(np.add.reduce(summed, axis=1))
    return zlib.crc32(memoryview(content)[8 * words :], begun)


class Piece(NamedTuple):
    """Some bytes of a file."""

    at: int
    bytes: int
    packed: bool  # they are a chunk


def pieces_of(size: int, chunks: Iterable[tuple[int, int]]) -> list[Piece]:
    """All bytes of a file of that size; of each chunk where it lies, and its bytes."""
    found: list[Piece] = []
    done = 0
    for at, length in [*sorted(chunks), (size, 0)]:
        found += [
            Piece(begin, min(_PIECE_BYTES, at - begin), packed=False)
            for begin in range(done, at, _PIECE_BYTES)
        ]
        if length:
            found.append(Piece(at, length, packed=True))
        done = at + length
    return found


def as_stored(sums: dict[Piece, int]) -> bytes:
    """The checksums of all pieces of a file, as they stand after them."""
    found = np.empty(len(sums), _RECORD)
    found["end"] = [piece.at + piece.bytes for piece in sums]
    found["sum"] = list(sums.values())
    found["packed"] = [piece.packed for piece in sums]
    raw = found.tobytes()
    return raw + f"\nedc sums {len(found):08x} {zlib.crc32(raw):08x}\n".encode("ascii")


class Checksums:
    """Those of a file that is open."""

    def __init__(self, descriptor: int, path: Path, stored: npt.NDArray[Any], bytes_: int) -> None:
        self._descriptor = descriptor
        self._path = path
        self.bytes = bytes_  # that they take in the file
        self._ends: list[int] = stored["end"].tolist()
        self._sums: list[int] = stored["sum"].tolist()
        self._packed = stored["packed"] != 0

    @classmethod
    def of(cls, descriptor: int, path: Path) -> Self | None:
        """None: the file has none, as before there were any. `DamagedFile` if they are damaged."""
        after = os.fstat(descriptor).st_size - SEAL_BYTES
        line = _LINE.fullmatch(os.pread(descriptor, _LINE_BYTES, max(0, after - _LINE_BYTES)))
        if line is None:
            return None
        size = int(line[1], 16) * _RECORD.itemsize
        begin = after - _LINE_BYTES - size
        raw = os.pread(descriptor, size, begin) if begin >= 0 and size else b""
        if zlib.crc32(raw) != int(line[2], 16) or len(raw) != size:
            raise DamagedFile(path, "the list of checksums at its end")
        stored = np.frombuffer(raw, _RECORD)
        if (int(stored["end"][-1]) if size else 0) != begin:
            raise DamagedFile(path, "its length")
        return cls(descriptor, path, stored, size + _LINE_BYTES)

    def is_chunk(self, stored: bytes | memoryview, at: int) -> bool:
        """Whether these bytes are the chunk that was written there."""
        piece = bisect_right(self._ends, at)
        return (
            piece < len(self._ends)
            and bool(self._packed[piece])
            and self._span(piece) == (at, at + len(stored))
            and self._sums[piece] == checksum(stored)
        )

    def check(self, *, chunks: bool) -> None:
        """`DamagedFile` if a piece is not what was written: any, or any that is no chunk."""
        for piece in np.flatnonzero(~self._packed | chunks).tolist():
            begin, end = self._span(piece)
            if checksum(os.pread(self._descriptor, end - begin, begin)) != self._sums[piece]:
                raise DamagedFile(self._path, f"bytes {begin:,} to {end - 1:,}")

    def _span(self, piece: int) -> tuple[int, int]:
        return (self._ends[piece - 1] if piece else 0), self._ends[piece]


@contextmanager
def opened(path: Path) -> Iterator[tuple[int, Checksums | None]]:
    """A descriptor, and the checksums, of a file of which all that is no chunk is sound, as far as
    it has checksums. Through the descriptor's name HDF5 opens the very same file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        checksums = Checksums.of(descriptor, path)
        if checksums is not None:
            checksums.check(chunks=False)
        yield descriptor, checksums
    finally:
        os.close(descriptor)


@contextmanager
def hdf5_of(descriptor: int) -> Iterator[h5py.File]:
    """Whoever replaces the path does not disturb us."""
    import h5py  # noqa: PLC0415

    try:
        file = h5py.File(f"/proc/self/fd/{descriptor}", "r", locking=False)
    except OSError:
        # HDF5 asks for the real path of what it opens, and of a file that was replaced there is
        # none. Through Python it reads it all the same, and says again what else is wrong with it.
        with os.fdopen(os.dup(descriptor), "rb") as stream, h5py.File(stream, "r") as file:
            yield file
        return
    with file:
        yield file
