"""The columns of a packed chunk, each for itself, without its records.

Blosc's bitshuffle lays first the first bit of all records of a block, then the second of all, and
so on: one plane a bit. To undo it takes six sevenths of a chunk's unpacking (0.44 of 0.51 ms;
unpacking the planes 0.07), and the records are only taken apart again. So it is undone column by
column, for the columns that are wanted, into where they shall stand. And of a text one sees in the
planes whether it is the same in all rows, which most are: then its planes are all 0 or all 1.

No library offers this, but a chunk's header says how it was filtered (README_CHUNK_FORMAT of
c-blosc2). A chunk whose header says "not at all" unpacks to its planes; and a chunk put together of
some planes, stored as they are under a header that says "bitshuffled", unpacks to their column.
"""

from __future__ import annotations

import struct
from typing import Any, Final, NamedTuple

import blosc2
import numpy as np
import pyarrow as pa

from edc_pipeline.consolidation.rows import Array
from edc_pipeline.consolidation.words import factorized

# Without it blosc2 keeps Python's lock while it unpacks, and nothing else goes on.
blosc2.set_releasegil(True)

_FRAME: Final = b"b2frame\0\xd2"  # from the third byte; at the 12th, where the first chunk begins
_HEAD: Final = struct.Struct("<BBBBiii6sBB6sBB")  # a chunk's first 32 bytes
_VERSION: Final = 5  # of the chunk format
_FILTERED: Final = 0x05  # its header names its filters
_AS_IT_IS: Final = 0x02  # stored without compression, and then without filters
_IN_ONE: Final = 0x10  # a block is one stream, not one for each byte of a record
_LZ4: Final = 1
_NO_FILTER: Final = bytes(6)
_BITSHUFFLE: Final = b"\2" + bytes(5)
_WORD: Final = 64  # rows whose bits of a plane are looked at together
_ONES: Final = np.uint64(2**64 - 1)
_SHORT: Final = 2  # bytes: such numbers are counted instead of hashed
_FIRST: Final = 256
_FEW_NUMBERS: Final = 12  # up to so many it is quicker to look for each than to hash them all
_FEW_ROWS: Final = 64  # 5 µs each; to undo all planes takes as long as 80
_FEW_WORDS: Final = 4  # up to so many it is quicker to compare than to look up


class Said(NamedTuple):
    """What some rows say in a text column."""

    words: list[bytes]  # in the order of their appearance
    keys: Array | None  # one a row: which of the words; None: every row says words[0]
    places: Array | None  # the keys of the words; None: 0, 1, 2 …


def planes_in(stored: memoryview, typesize: int, room: Array) -> Array | None:
    """The planes of a packed chunk, unpacked into `room` (bytes): a word of 64 rows by block, bit
    of the record, and place. None: it is not laid so, and has to be unpacked as records. Writes
    into `stored`. Any exception: the chunk is damaged."""
    if stored[2:11] != _FRAME:
        return None
    chunk = stored[int.from_bytes(stored[11:15], "big") :]
    if len(chunk) < _HEAD.size:
        return None
    head = _HEAD.unpack_from(chunk)
    version, _, flags, size, nbytes, block, packed, filters, _, _, _, _, more = head
    if version != _VERSION or flags & (_FILTERED | _AS_IT_IS) != _FILTERED or more:
        return None
    if sorted(filters) != sorted(_BITSHUFFLE) or size != typesize or nbytes != room.nbytes:
        return None
    if block <= 0 or block % (size * _WORD) or nbytes % block or packed > len(chunk):
        return None
    chunk[16:22] = _NO_FILTER
    blosc2.decompress2(chunk[:packed], dst=room, nthreads=1)
    return room.view(np.uint64).reshape(nbytes // block, 8 * size, -1)


class Loom:
    """Puts planes together to columns, in memory that is used again and again. One a thread."""

    def __init__(self) -> None:
        self._chunks: dict[tuple[int, int, int], tuple[Array, Array]] = {}
        self._rooms: dict[tuple[str, int], Array] = {}
        # Of a text column: the planes of a chunk in which all rows said the same, and what.
        self.same: dict[str, tuple[Array, bytes]] = {}

    def room(self, kind: Any, rows: int) -> Array:
        kind = np.dtype(kind)
        key = kind.str, rows
        if key not in self._rooms:
            self._rooms[key] = np.empty(rows, kind)
        return self._rooms[key]

    def column(self, planes: Array, out: Array) -> None:
        """Planes by block, bit and place → one value a row, of as many bytes as eight planes."""
        blocks, bits, words = planes.shape
        found = self._chunks.get(planes.shape)
        if found is None:
            found = self._chunks[planes.shape] = _chunk_of(blocks, bits // 8, words)
        chunk, inside = found
        inside[...] = planes.view(np.uint8)
        blosc2.decompress2(chunk, dst=out.view(np.uint8), nthreads=1)


def _chunk_of(blocks: int, width: int, words: int) -> tuple[Array, Array]:
    """A chunk that is not compressed, and where its planes go."""
    stream = width * words * _WORD
    start = _HEAD.size + 4 * blocks
    size = start + blocks * (4 + stream)
    flags = _LZ4 << 5 | _IN_ONE | _FILTERED
    chunk = np.zeros(size, np.uint8)
    head = (_VERSION, 1, flags, width, blocks * stream, stream, size)
    _HEAD.pack_into(chunk.data, 0, *head, _BITSHUFFLE, _LZ4, 0, _NO_FILTER, 0, 0)
    chunk[_HEAD.size : start].view("<i4")[:] = start + np.arange(blocks) * (4 + stream)
    streams = chunk[start:].reshape(blocks, 4 + stream)
    # A stream as long as what it unpacks to is not compressed.
    streams[:, :4] = np.frombuffer(struct.pack("<i", stream), np.uint8)
    inside = np.ndarray(
        (blocks, 8 * width, words * _WORD // 8),
        np.uint8,
        chunk,
        start + 4,
        (4 + stream, words * _WORD // 8, 1),
    )
    return chunk, inside


class OfPlanes:
    """The columns of a chunk out of its planes. Good until the thread unpacks its next chunk."""

    def __init__(self, planes: Array, dtype: np.dtype[Any], rows: int, loom: Loom) -> None:
        self._planes = planes
        self._dtype = dtype
        self._whole = planes.shape[0] * planes.shape[2] * _WORD
        self._loom = loom
        self.rows = rows

    def fill(self, name: str, out: Array) -> None:
        """The values of a column, into as many places as the chunk has rows."""
        if self.rows == self._whole:
            self._loom.column(self._of(name), out)
        else:
            out[...] = self.values(name, slice(self.rows))

    def values(self, name: str, at: slice | Array) -> Array:
        """Those of these rows."""
        found = self._loom.room(self._dtype[name], self._whole)
        self._loom.column(self._of(name), found)
        return found[: self.rows][at].copy() if isinstance(at, slice) else found[at]

    def said(self, name: str, at: slice | Array) -> Said:
        """What these rows say in a text column."""
        planes = self._of(name)
        if (word := self._said_by_all(name, planes)) is not None:
            return Said([word], None, None)
        if planes.shape[1] <= 8 * _SHORT:
            same, varying = np.zeros(planes.shape[1], bool), np.arange(planes.shape[1])
        else:
            same = planes[0, :, 0] != 0
            varying = np.flatnonzero(_differ(planes))
        if len(varying) > _WORD:
            words, keys = factorized(self.values(name, at))
            return Said(words, keys if len(words) > 1 else None, None)
        distinct, keys, places = _told_apart(self._numbers(planes, varying)[at])
        words = self._spelled(name, same, varying, distinct)
        return Said(words, keys, places) if len(words) > 1 else Said(words, None, None)

    def _said_by_all(self, name: str, planes: Array) -> bytes | None:
        """What all rows say, if they all say the same. To look whether it is what the chunk before
        said takes a third of the time."""
        before = self._loom.same.get(name)
        if before is not None and np.array_equal(planes, before[0]):
            return before[1]
        first = planes[0, :, 0]
        if not ((first == 0) | (first == _ONES)).all() or (planes != first[:, None]).any():
            return None
        word = self._spelled(name, first != 0, np.empty(0, np.int64), np.zeros(1, np.uint8))[0]
        self._loom.same[name] = planes.copy(), word
        return word

    def records(self, at: Array) -> Array | None:
        """The records of these rows, as plain bytes, if they are so few that it is quicker to take
        their bits one by one than to undo all planes."""
        if len(at) > _FEW_ROWS:
            return None
        rows = self._planes.shape[2] * _WORD
        words = self._planes[at // rows, :, at % rows // _WORD]
        bits = (words >> (at % _WORD).astype(np.uint64)[:, None]) & np.uint64(1)
        packed = np.packbits(bits.astype(np.uint8), axis=1, bitorder="little")
        found: Array = packed.view(np.dtype((np.void, self._dtype.itemsize))).ravel()
        return found

    def which(self, name: str, words: tuple[bytes, ...]) -> Array:
        """The rows that say one of these words."""
        planes, width = self._of(name), self._dtype[name].itemsize
        found = np.zeros((planes.shape[0], planes.shape[2]), np.uint64)
        for word in words:
            if len(word) <= width:
                bits = np.unpackbits(
                    np.frombuffer(word.ljust(width, b"\0"), np.uint8), bitorder="little"
                )
                said = np.where(bits != 0, _ONES, np.uint64(0))
                found |= ~np.bitwise_or.reduce(planes ^ said[:, None], axis=1)
        if not found.any():
            return np.empty(0, np.int64)
        rows = np.unpackbits(found.view(np.uint8).ravel(), bitorder="little")
        return np.flatnonzero(rows[: self.rows])

    def _of(self, name: str) -> Array:
        fields: Any = self._dtype.fields
        kind, at = fields[name][:2]
        planes: Array = self._planes[:, 8 * at : 8 * (at + kind.itemsize)]
        return planes

    def _numbers(self, planes: Array, varying: Array) -> Array:
        """The bits in which the rows differ, as one number a row."""
        width = next(w for w in (1, 2, 4, 8) if len(varying) <= 8 * w)
        chosen = np.zeros((planes.shape[0], 8 * width, planes.shape[2]), np.uint64)
        for i, plane in enumerate(varying.tolist()):
            chosen[:, i] = planes[:, plane]
        found = np.empty(self._whole, f"u{width}")
        self._loom.column(planes if len(varying) == planes.shape[1] == 8 * width else chosen, found)
        return found[: self.rows]

    def _spelled(self, name: str, same: Array, varying: Array, numbers: Array) -> list[bytes]:
        """The texts of which these are the bits that differ."""
        bits = np.repeat(same[None].astype(np.uint8), len(numbers), axis=0)
        places = np.arange(len(varying), dtype=np.uint64)
        bits[:, varying] = (numbers[:, None].astype(np.uint64) >> places) & np.uint64(1)
        texts = np.packbits(bits, axis=1, bitorder="little").view(self._dtype[name])
        found: list[bytes] = texts.ravel().tolist()
        return found


def _differ(planes: Array) -> Array:
    """The planes in which rows differ. In the others all rows say the same bit in each word, and
    all words the same."""
    first = planes[0, :, 0]
    found: Array = (planes != first[:, None]).any(axis=(0, 2)) | ((first != 0) & (first != _ONES))
    return found


def _told_apart(numbers: Array) -> tuple[Array, Array, Array | None]:
    """(the distinct ones in the order of their appearance, the keys, the keys of the distinct)."""
    if numbers.itemsize <= _SHORT:
        there = np.flatnonzero(np.bincount(numbers)).tolist()
        # Nearly all appear among the first.
        found = dict.fromkeys(numbers[:_FIRST].tolist())
        late = [number for number in there if number not in found]
        if len(late) <= _FEW_NUMBERS:
            kind = numbers.dtype.type
            late.sort(key=lambda number: int(np.argmax(numbers == kind(number))))
            distinct = np.array([*found, *late], numbers.dtype)
            return distinct, numbers, distinct
    stored = pa.array(numbers).dictionary_encode()
    return stored.dictionary.to_numpy(), stored.indices.to_numpy(), None


class OfRecords:
    """The columns of a chunk out of its records, where its planes can't be had: of zlib, of records
    of more than 255 bytes, and of files made before the blocks were whole words of rows."""

    def __init__(self, records: Array) -> None:
        self._records = records
        self.rows = len(records)

    def fill(self, name: str, out: Array) -> None:
        out[...] = self._records[name]

    def values(self, name: str, at: slice | Array) -> Array:
        # A copy in any case: of a single record the field would be a view.
        return self._records[name][at].copy()

    def records(self, at: Array) -> Array | None:
        """As plain bytes: records with fields numpy copies and joins field by field."""
        raw = self._records.view(np.dtype((np.void, self._records.dtype.itemsize)))
        found: Array = raw[at]
        return found

    def said(self, name: str, at: slice | Array) -> Said:
        words, keys = factorized(self._records[name][at])
        return Said(words, keys if len(words) > 1 else None, None)

    def which(self, name: str, words: tuple[bytes, ...]) -> Array:
        found = self._records[name]
        wanted = np.zeros(self.rows, bool)
        if len(words) <= _FEW_WORDS:
            for word in words:
                wanted |= found == word
        else:
            distinct, codes = factorized(found)
            asked = set(words)
            wanted = np.array([word in asked for word in distinct], bool)[codes]
        return np.flatnonzero(wanted)
