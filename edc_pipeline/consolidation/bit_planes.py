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
from collections.abc import Iterable, Iterator
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
_ROWS: Final = 8 * _WORD  # a block has a whole number of, so that its truths are whole words too
_ONES: Final = np.uint64(2**64 - 1)
_FIRST: Final = 256
_FEW_ROWS: Final = 16  # of a block; 5 µs each, and to undo all its planes takes as long as 20
_FEW_WORDS: Final = 4  # up to so many it is quicker to compare than to look up
# The same of planes: a word takes 4 to 10 ms of 2M rows, to look up 0.1 s with 5,000 symbols in the
# day, and 1 s with 490,000.
_FEW_PASSES: Final = 16


class Said(NamedTuple):
    """What some rows say in a text column."""

    words: list[bytes]  # in the order of their appearance
    codes: Array | None  # one a row; None: every row says words[0]
    of: bytes | None = None  # the codes of the words; None: 0, 1, 2 …


class Asked:
    """Words that are looked for."""

    def __init__(self, words: Iterable[bytes]) -> None:
        self._words = tuple(words)
        self._all = frozenset(self._words)

    def __len__(self) -> int:
        return len(self._words)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._words)

    def among(self, said: Said, rows: int) -> Array:
        """Those of so many rows that say one of them."""
        asked = np.array([word in self._all for word in said.words], bool)
        if said.codes is None:
            return np.arange(rows if asked.all() else 0)
        if said.of is not None:
            by_code = np.zeros(256, bool)
            by_code[list(said.of)] = asked
            asked = by_code
        return np.flatnonzero(asked[said.codes])


def planes_in(stored: memoryview, typesize: int, room: Array) -> Array | None:
    """The planes of a packed chunk, unpacked into `room` (bytes): a word of 64 rows by block, bit
    of the record, and place. None: it is not laid so, and has to be unpacked as records. Writes
    into `stored`. Any exception: the chunk is damaged."""
    if bytes(stored[2:11]) != _FRAME:
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
    if block <= 0 or block % (size * _ROWS) or nbytes % block or packed > len(chunk):
        return None
    chunk[16:22] = _NO_FILTER
    blosc2.decompress2(chunk[:packed], dst=room, nthreads=1)
    return room.view(np.uint64).reshape(nbytes // block, 8 * size, -1)


class Loom:
    """Puts planes together to columns, in memory that is used again and again. One a thread."""

    def __init__(self) -> None:
        self._chunks: dict[tuple[int, ...], tuple[Array, Array]] = {}
        self._rooms: dict[tuple[Any, tuple[int, ...]], Array] = {}
        # Of a text column: the planes of a block in which all rows say one text, and its bits.
        self.usual: dict[str, tuple[Array, Array]] = {}
        self.short: dict[str, Short] = {}

    def room(self, kind: Any, shape: tuple[int, ...]) -> Array:
        found = self._rooms.get((kind, shape))
        if found is None:
            found = self._rooms[kind, shape] = np.empty(shape, kind)
        return found

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
        found = self._loom.room(self._dtype[name], (self._whole,))
        self._loom.column(self._of(name), found)
        return found[: self.rows][at].copy() if isinstance(at, slice) else found[at]

    def said(self, name: str, at: slice | Array) -> Said:
        """What these rows say in a text column."""
        planes = self._of(name)
        usual, bits = self._usual(name, planes)
        unlike = self._loom.room(bool, planes.shape)
        np.not_equal(planes, usual, out=unlike)
        unlike = unlike.view(np.uint64)  # eight truths each
        if not unlike.any():
            return Said(_spelled(bits[None], self._dtype[name]), None)
        varying = np.flatnonzero(unlike.any(axis=(0, 2)))
        if len(varying) > _WORD:
            words, codes = factorized(self.values(name, at))
            return Said(words, codes if len(words) > 1 else None)
        if len(varying) > planes.shape[1] - 8:
            varying = np.arange(planes.shape[1])  # as they lie, nothing need be moved
        distinct, codes, of = self._told_apart(name, varying, self._numbers(planes, varying)[at])
        texts = np.repeat(bits[None], len(distinct), axis=0)
        places = np.arange(len(varying), dtype=np.uint64)
        texts[:, varying] = (distinct[:, None].astype(np.uint64) >> places) & np.uint64(1)
        if len(distinct) == 1:
            self._loom.usual.pop(name)  # the chunks that follow will rather say this one
            return Said(_spelled(texts, self._dtype[name]), None)
        return Said(_spelled(texts, self._dtype[name]), codes, of)

    def _usual(self, name: str, planes: Array) -> tuple[Array, Array]:
        """What the first row said of the first chunk that was looked at. Most texts are the same in
        all rows of many chunks, and then all that is to do is to see that they are."""
        found = self._loom.usual.get(name)
        if found is None:
            bits = (planes[0, :, 0] & np.uint64(1)).astype(np.uint8)
            usual = np.where(bits[:, None] != 0, _ONES, np.uint64(0))
            usual = np.broadcast_to(usual, planes.shape[1:]).copy()
            found = self._loom.usual[name] = usual, bits
        return found

    def records(self, at: Array) -> Array | None:
        """The records of these rows, as plain bytes, if they are so few that it is quicker to take
        their bits one by one than to undo all planes."""
        if len(at) > _FEW_ROWS * self._planes.shape[0]:
            return None
        rows = self._planes.shape[2] * _WORD
        words = self._planes[at // rows, :, at % rows // _WORD]
        bits = (words >> (at % _WORD).astype(np.uint64)[:, None]) & np.uint64(1)
        packed = np.packbits(bits.astype(np.uint8), axis=1, bitorder="little")
        found: Array = packed.view(np.dtype((np.void, self._dtype.itemsize))).ravel()
        return found

    def which(self, name: str, words: Asked) -> Array:
        """The rows that say one of these words."""
        if len(words) > _FEW_PASSES:
            return words.among(self.said(name, slice(self.rows)), self.rows)
        planes, width = self._of(name), self._dtype[name].itemsize
        found = np.zeros((planes.shape[0], planes.shape[2]), np.uint64)
        for word in words:
            if len(word) <= width:
                bits = np.unpackbits(
                    np.frombuffer(word.ljust(width, b"\0"), np.uint8), bitorder="little"
                )
                said = np.where(bits != 0, _ONES, np.uint64(0))
                unlike = self._loom.room(np.uint64, planes.shape)
                np.bitwise_xor(planes, said[:, None], out=unlike)
                found |= ~np.bitwise_or.reduce(unlike, axis=1)
        if not found.any():
            return np.empty(0, np.int64)
        rows = np.unpackbits(found.view(np.uint8).ravel(), bitorder="little")
        return np.flatnonzero(rows[: self.rows].view(bool))

    def _of(self, name: str) -> Array:
        fields: Any = self._dtype.fields
        kind, at = fields[name][:2]
        planes: Array = self._planes[:, 8 * at : 8 * (at + kind.itemsize)]
        return planes

    def _numbers(self, planes: Array, varying: Array) -> Array:
        """The bits in which the rows differ, as one number a row."""
        width = next(w for w in (1, 2, 4, 8) if len(varying) <= 8 * w)
        chosen = planes
        if len(varying) != planes.shape[1] or len(varying) != 8 * width:
            chosen = self._loom.room(np.uint64, (planes.shape[0], 8 * width, planes.shape[2]))
            chosen[:, len(varying) :] = 0
            for i, plane in enumerate(varying.tolist()):
                chosen[:, i] = planes[:, plane]
        found = np.empty(self._whole, f"u{width}")
        self._loom.column(chosen, found)
        return found[: self.rows]

    def _told_apart(
        self, name: str, varying: Array, numbers: Array
    ) -> tuple[Array, Array, bytes | None]:
        """(the distinct ones in the order of their appearance, codes, the codes of the distinct).
        Numbers of one byte are codes; those of two become one byte if they are few enough."""
        if numbers.itemsize == 1:
            distinct = _in_order(numbers.tobytes())
            return np.frombuffer(distinct, np.uint8), numbers, distinct
        if numbers.itemsize == 2:
            short = self._loom.short.get(name)
            if short is None or not np.array_equal(short.varying, varying):
                short = self._loom.short[name] = Short(varying)
            codes = short.codes(numbers)
            if codes is not None:
                distinct = _in_order(codes.tobytes())
                return short.numbers[list(distinct)], codes, distinct
        stored = pa.array(numbers).dictionary_encode()
        return stored.dictionary.to_numpy(), stored.indices.to_numpy(), None


class Short:
    """Of numbers of two bytes, of which few appear, each as one byte: to look one up takes a third
    of the time that hashing takes."""

    def __init__(self, varying: Array) -> None:
        self.varying = varying  # the planes of which the numbers are
        self.numbers = np.zeros(256, np.uint16)
        self._codes = np.zeros(1 << 16, np.uint8)  # 0: not seen yet
        self._count = 0

    def codes(self, numbers: Array) -> Array | None:
        found = self._codes.take(numbers)
        if b"\0" in found.tobytes():
            there = np.flatnonzero(np.bincount(numbers))
            new = there[self._codes[there] == 0]
            if self._count + len(new) > len(self.numbers) - 1:
                return None
            codes = np.arange(self._count + 1, self._count + 1 + len(new))
            self._codes[new] = codes
            self.numbers[codes] = new
            self._count += len(new)
            found = self._codes.take(numbers)
        return found


def _spelled(bits: Array, kind: np.dtype[Any]) -> list[bytes]:
    """Texts of their bits, one a row."""
    found: list[bytes] = np.packbits(bits, axis=1, bitorder="little").view(kind).ravel().tolist()
    return found


def _in_order(said: bytes) -> bytes:
    """The bytes that appear, in the order of their appearance."""
    found = bytes(dict.fromkeys(said[:_FIRST]))  # nearly all appear among the first
    while others := said.translate(None, found):
        found += others[:1]
    return found


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
        words, codes = factorized(self._records[name][at])
        return Said(words, codes if len(words) > 1 else None)

    def which(self, name: str, words: Asked) -> Array:
        if len(words) > _FEW_WORDS:
            return words.among(self.said(name, slice(self.rows)), self.rows)
        found = self._records[name]
        wanted = np.zeros(self.rows, bool)
        for word in words:
            wanted |= found == word
        return np.flatnonzero(wanted)
