"""A packed chunk read by its columns: what its records say, however the bits lie and wherever the
rows that are asked for begin and end."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import blosc2
import numpy as np
import pytest

from edc_pipeline.consolidation import chunk_codec
from edc_pipeline.consolidation.bit_planes import Asked, Loom, OfPlanes, OfRecords, Said, planes_in
from edc_pipeline.consolidation.chunk_codec import pack, unpack
from edc_pipeline.consolidation.layout import CHUNK_ROWS
from edc_pipeline.consolidation.names import Codec
from edc_pipeline.consolidation.rows import Array

DTYPE = np.dtype(
    [
        ("index", "<i8"),
        ("time", "<i8"),
        ("one", "S7"),  # says one thing
        ("word", "S5"),  # a few words, alike in most bits
        ("letter", "S1"),
        ("pair", "S2"),  # 300 of them: more than one byte counts
        ("symbol", "S6"),  # a thousand
        ("id", "S20"),  # another in each row
        ("later", "S3"),  # one thing in a chunk, another in the next
        ("copy", "<i4"),
        ("price", "<f8"),
    ]
)
TEXTS = [name for name in DTYPE.names or () if DTYPE[name].kind == "S"]
NUMBERS = [name for name in DTYPE.names or () if DTYPE[name].kind != "S"]
WORDS = np.array([b"", b"@", b"@ I", b"@ F", b"@ F I", b"@ T"])


def records(rows: int = CHUNK_ROWS, seed: int = 1) -> Array:
    dice = np.random.default_rng(seed)
    found = np.zeros(rows, DTYPE)
    found["index"] = np.arange(rows)
    found["time"] = dice.integers(-(2**62), 2**62, rows)
    found["one"] = b"vendor"
    found["word"] = WORDS[dice.integers(0, len(WORDS), rows)]
    found["letter"] = np.array([b"", b"A", b"Z", b"\xff"])[dice.integers(0, 4, rows)]
    pairs = np.array([bytes((65 + i % 20, 97 + i // 20)) for i in range(300)])
    found["pair"] = pairs[dice.integers(0, 300, rows)]
    found["symbol"] = np.array([f"S{i:X}" for i in range(1_000)], "S6")[
        np.minimum(dice.zipf(1.3, rows), 1_000) - 1
    ]
    found["id"] = dice.integers(0, 2**62, rows).astype("S20")
    found["later"] = (b"USD", b"EUR", b"USD")[seed % 3]
    found["copy"] = dice.integers(0, 3, rows)
    found["price"] = np.where(dice.random(rows) < 0.1, np.nan, dice.normal(size=rows))
    return found


def columns_of(chunks: list[Array], codec: Codec, loom: Loom) -> OfPlanes:
    """As a file's reader puts them together."""
    size = CHUNK_ROWS * DTYPE.itemsize
    room = np.empty(len(chunks) * size, np.uint8)
    for at, chunk in enumerate(chunks):
        here = room[at * size : (at + 1) * size]
        found = planes_in(memoryview(bytearray(pack(chunk, codec))), DTYPE.itemsize, here)
        assert found is not None
    planes = room.view(np.uint64).reshape(-1, 8 * DTYPE.itemsize, chunk_codec.BLOCK_ROWS // 64)
    return OfPlanes(planes, DTYPE, sum(map(len, chunks)), loom)


def texts(said: Said, rows: int) -> list[bytes]:
    if said.codes is None:
        return said.words * rows
    assert len(said.codes) == rows
    codes = range(len(said.words)) if said.of is None else said.of
    words = dict(zip(codes, said.words, strict=True))
    return [words[code] for code in said.codes.tolist()]


CHUNKS = {
    "one": [records()],
    "the last": [records(777)],
    "three": [records(), records(seed=2), records(5_000, seed=3)],
}
AT: dict[str, Any] = {
    "all": slice(None),
    "a few": slice(300, 311),
    "no whole words": slice(1, 770),
    "one": np.array([500]),
    "scattered": np.arange(3, 777, 5),
}


@pytest.mark.parametrize("codec", ["blosc2-lz4", "zstd"])
@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
def test_what_the_records_say(chunks: list[Array], codec: Codec) -> None:
    whole, loom = np.concatenate(chunks), Loom()
    for columns in (columns_of(chunks, codec, loom), OfRecords(whole)):
        assert columns.rows == len(whole)
        for name in NUMBERS:
            out = np.empty(len(whole), DTYPE[name])
            columns.fill(name, out)
            np.testing.assert_array_equal(out, whole[name])
            for at in AT.values():
                np.testing.assert_array_equal(columns.values(name, at), whole[name][at])
        for name in TEXTS:
            for at in AT.values():
                expected = whole[name][at].tolist()
                said = columns.said(name, at)
                assert texts(said, len(expected)) == expected
                if isinstance(at, np.ndarray) or at == slice(None):
                    assert said.words == list(dict.fromkeys(expected))


def test_a_thread_goes_from_chunk_to_chunk() -> None:
    """What it remembers of one must not be said of another: a text that was the same in all rows is
    another or differs, words of two bytes are new, and columns lie in memory used before."""
    loom = Loom()
    for seed in (1, 2, 3, 4, 1):
        chunk = records(seed=seed)
        if seed == 3:
            chunk["one"][CHUNK_ROWS // 2] = b"receive"
        if seed == 4:
            chunk["one"], chunk["word"] = b"receive", b"@ Z Z"
        if seed == 2:
            chunk["pair"][:] = b"zz"
        columns = columns_of([chunk], "blosc2-lz4", loom)
        for name in TEXTS:
            assert texts(columns.said(name, slice(None)), len(chunk)) == chunk[name].tolist()
        for name in NUMBERS:
            np.testing.assert_array_equal(columns.values(name, slice(None)), chunk[name])


@pytest.mark.parametrize("chunks", CHUNKS.values(), ids=CHUNKS)
@pytest.mark.parametrize(
    "words",
    [
        (b"S1",),
        (b"S1", b"S3E7", b"no"),
        (b"S3E7" * 9,),
        (b"",),
        tuple(b"S1 S2 S3".split()),
        (*(b"no%d" % n for n in range(40)), b"S1", b"S3"),
        tuple(b"no%d" % n for n in range(40)),
    ],
)
def test_which_rows_say_a_word(chunks: list[Array], words: tuple[bytes, ...]) -> None:
    """A chunk that is not full is filled with nothing, and nothing is no row that says ``."""
    whole = np.concatenate(chunks)
    expected = np.flatnonzero(np.isin(whole["symbol"].astype("S40"), np.array(words, "S40")))
    for columns in (columns_of(chunks, "blosc2-lz4", Loom()), OfRecords(whole)):
        assert columns.which("symbol", Asked(words)).tolist() == expected.tolist()


def test_the_records_of_a_few_rows() -> None:
    chunks = CHUNKS["three"]
    whole, columns = np.concatenate(chunks), columns_of(chunks, "blosc2-lz4", Loom())
    for at in ([], [0], [63, 64, 4_095, 4_096, CHUNK_ROWS - 1, CHUNK_ROWS, len(whole) - 1]):
        found = columns.records(np.array(at, np.int64))
        assert found is not None
        assert found.view(DTYPE).tobytes() == whole[at].tobytes()
    assert columns.records(np.arange(5_000)) is None
    everything = OfRecords(whole).records(np.arange(5_000))
    assert everything is not None
    assert everything.tobytes() == whole[:5_000].tobytes()


def wide() -> np.dtype[Any]:
    return np.dtype([("index", "<i8"), ("id", "S300")])


def test_what_has_no_planes_is_left_to_its_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """And is untouched, for it is unpacked next."""
    monkeypatch.setattr(chunk_codec, "BLOCK_ROWS", 0)  # as Blosc likes, and files had it before
    before = pack(records(), "blosc2-lz4")
    monkeypatch.undo()
    noise = np.frombuffer(np.random.default_rng(1).bytes(CHUNK_ROWS * 100), "S100")
    plain = blosc2.SChunk(chunksize=CHUNK_ROWS * DTYPE.itemsize, contiguous=True)
    plain.append_data(records().view(np.uint8))
    found = {
        "made before": (before, DTYPE.itemsize),
        "zlib": (pack(records(), "zlib"), DTYPE.itemsize),
        "wide": (pack(np.zeros(CHUNK_ROWS, wide()), "blosc2-lz4"), wide().itemsize),
        "noise": (pack(noise, "blosc2-lz4"), 100),
        "of another width": (pack(records(), "blosc2-lz4"), 50),
        "other filters": (plain.to_cframe(), DTYPE.itemsize),
        "nothing": (b"", DTYPE.itemsize),
    }
    for name, (packed, size) in found.items():
        stored = bytearray(packed)
        room = np.empty(CHUNK_ROWS * size, np.uint8)
        assert planes_in(memoryview(stored), size, room) is None, name
        assert stored == packed, name


@pytest.mark.parametrize("by", ["columns", "records"])
def test_a_damaged_chunk_harms_nobody(by: str) -> None:
    """Where a flip shows it is an exception, or no planes; where not, the room has what it has.
    None writes beside it."""
    packed, size = pack(records(), "blosc2-lz4"), CHUNK_ROWS * DTYPE.itemsize
    dice = np.random.default_rng(5)
    refused = 0
    for flip in [*range(8 * 160), *dice.integers(8 * 160, 8 * len(packed), 500).tolist()]:
        stored = bytearray(packed)
        stored[flip // 8] ^= 1 << flip % 8
        memory = np.full(size + 128, 7, np.uint8)
        room = memory[64:-64]
        refused += 1
        with suppress(ValueError, RuntimeError):
            if by == "records":
                unpack(bytes(stored), DTYPE, "blosc2-lz4", room.view(DTYPE))
                refused -= 1
            else:
                refused -= planes_in(memoryview(stored), DTYPE.itemsize, room) is not None
        assert (memory[:64] == 7).all()
        assert (memory[-64:] == 7).all()
    assert refused > 300


@pytest.mark.parametrize("codec", ["blosc2-lz4", "zstd"])
def test_blocks_are_those_that_can_be_read_by_columns(codec: Codec) -> None:
    packed = pack(records(), codec)
    assert blosc2.schunk_from_cframe(packed).blocksize == chunk_codec.BLOCK_ROWS * DTYPE.itemsize
    assert unpack(packed, DTYPE, codec).tobytes() == records().tobytes()


def test_to_look_for_many_words_is_no_look_for_each() -> None:
    """Compared plane by plane, each word took as long as a third of putting the column together."""
    chunk = records(seed=1)
    columns = columns_of([chunk], "blosc2-lz4", Loom())
    many = Asked([*(b"no%d" % n for n in range(3_000)), chunk["symbol"][0]])

    def took(work: Callable[[], object]) -> float:
        times = []
        for _ in range(5):
            begun = time.process_time()
            work()
            times.append(time.process_time() - begun)
        return min(times)

    alone = took(lambda: columns.said("symbol", slice(None)))
    assert took(lambda: columns.which("symbol", many)) < 20 * alone
