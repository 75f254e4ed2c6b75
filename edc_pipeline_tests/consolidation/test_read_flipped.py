"""A daily file of which a bit has flipped: the rows that were written, or an error that says what
is damaged and what to do. Never other rows."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

import edc_pipeline
from edc_pipeline.consolidation.checksums import SEAL_BYTES, Checksums, checksum, pieces_of
from edc_pipeline.consolidation.errors import DamagedFile, NoSuchData
from edc_pipeline.consolidation.layout import CHUNK_ROWS
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.consolidation.names import CODECS, ORDERS, Codec, Order
from edc_pipeline.consolidation.seal import hdf5_bytes, seal
from edc_pipeline.consolidation.verification import verify
from edc_pipeline.replay.daily_file import DailyFile, NotADailyFile
from edc_pipeline_tests.consolidation.spools import DAY, OPEN, event, frames, write_batches

ROWS = CHUNK_ROWS + 500
FLIPS = 24  # of each codec and order
SYMBOL = "S3"


@pytest.fixture(scope="module")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dice = random.Random(3)
    rows = frames(
        [
            event(
                ts_event=OPEN + i * 1000,
                symbol=f"S{dice.randrange(9)}",
                price=dice.random(),
                conditions="@ I",
                created_at=OPEN + i * 1000 + dice.randrange(500),
            )
        ]
        for i in range(ROWS)
    )
    spool = tmp_path_factory.mktemp("flipped") / "spool"
    write_batches(spool, [rows])
    return spool


def made(spool: Path, folder: Path, codec: Codec = "blosc2-lz4", order: Order = "time") -> Path:
    return consolidate(spool, folder / "daily", "trade", DAY, codec=codec, order=order).path


def read(folder: Path, **asked: Any) -> pd.DataFrame:
    frame = edc_pipeline.read("trade", DAY, data=folder, **asked)
    assert isinstance(frame, pd.DataFrame)
    return frame


def flips(good: bytes, count: int) -> Iterator[bytes]:
    """All over the file, and its last bytes, in which the checksums stand, more often."""
    dice = random.Random(7)
    for n in range(count):
        at = dice.randrange(len(good) - 300, len(good)) if n % 8 == 7 else dice.randrange(len(good))
        flipped = bytearray(good)
        flipped[at] ^= 1 << dice.randrange(8)
        yield bytes(flipped)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("codec", CODECS)
def test_right_rows_or_a_clear_error(
    spool: Path, tmp_path: Path, codec: Codec, order: Order
) -> None:
    path = made(spool, tmp_path, codec, order)
    whole, of_one = read(tmp_path), read(tmp_path, symbols=SYMBOL)
    assert len(whole) == ROWS
    right, said = 0, list[str]()
    for flipped in flips(path.read_bytes(), FLIPS):
        path.write_bytes(flipped)
        for wanted, asked in ((whole, {}), (of_one, {"symbols": SYMBOL})):
            try:
                pd.testing.assert_frame_equal(read(tmp_path, **asked), wanted)
                right += 1
            except DamagedFile as error:
                said.append(str(error))
        assert not verify(path).ok
    assert right + len(said) == 2 * FLIPS
    assert len(said) > FLIPS / 2
    for told in said:
        assert told.startswith(f"{path} is damaged: ")
        assert f"`edc verify {path}`" in told
        assert "--day 2026-01-22 --type trade" in told


def test_the_place_is_named(spool: Path, tmp_path: Path) -> None:
    path = made(spool, tmp_path)
    with h5py.File(path) as file:
        chunk = file["trade/table"].id.get_chunk_info(1)
    good = path.read_bytes()
    for at, place in (
        (chunk.byte_offset + 99, rf"chunk 1 \(rows 16,384 to {ROWS - 1:,}\)"),
        (8, "bytes 0 to"),
    ):
        flipped = bytearray(good)
        flipped[at] ^= 1
        path.write_bytes(flipped)
        with pytest.raises(DamagedFile, match=place):
            read(tmp_path)
    # What is not asked for is not looked at.
    flipped = bytearray(good)
    flipped[chunk.byte_offset + 99] ^= 1
    path.write_bytes(flipped)
    pieces = edc_pipeline.read("trade", DAY, data=tmp_path, blocks=CHUNK_ROWS)
    assert len(next(iter(pieces))) == CHUNK_ROWS


def test_nothing_damaged_is_replayed(spool: Path, tmp_path: Path) -> None:
    path = made(spool, tmp_path)
    assert DailyFile(path).rows == ROWS
    good, size = path.read_bytes(), hdf5_bytes(path)
    for flipped in flips(good[:size], 8):
        path.write_bytes(flipped + good[size:])
        with pytest.raises(NotADailyFile, match="is damaged"):
            DailyFile(path)


def test_a_file_without_checksums_is_read_as_before(spool: Path, tmp_path: Path) -> None:
    path = made(spool, tmp_path)
    wanted = read(tmp_path)
    with path.open("rb+") as file:
        file.truncate(hdf5_bytes(path))
    seal(path)
    assert hdf5_bytes(path) == path.stat().st_size - SEAL_BYTES
    pd.testing.assert_frame_equal(read(tmp_path), wanted)
    assert verify(path).ok
    # Some flips make blosc2, h5py and Python raise four kinds of errors: each is told as one.
    with h5py.File(path) as h5:
        chunk = h5["trade/table"].id.get_chunk_info(0)
    broken = bytearray(path.read_bytes())
    broken[chunk.byte_offset + 40 : chunk.byte_offset + 4_000] = bytes(3_960)
    path.write_bytes(broken)
    with pytest.raises(NoSuchData, match="is damaged: it cannot be read"):
        read(tmp_path)


def test_checksums_that_are_not_of_the_bytes_are_found(spool: Path, tmp_path: Path) -> None:
    """Under a seal that is right: whoever wrote them wrote them wrong."""
    path = made(spool, tmp_path)
    with path.open("rb+") as file:
        checksums = Checksums.of(file.fileno(), path)
        assert checksums is not None
        file.truncate(path.stat().st_size - SEAL_BYTES)
        file.seek(1_000)
        byte = file.read(1)
        file.seek(1_000)
        file.write(bytes([byte[0] ^ 1]))
    seal(path)
    assert "its checksums are not those of its bytes" in verify(path).findings[0].message


def test_pieces_cover_every_byte() -> None:
    for size, chunks in (
        (0, []),
        (10, []),
        (300_000, [(70_000, 9), (70_009, 200_000)]),
        (9, [(0, 9)]),
    ):
        pieces = pieces_of(size, chunks)
        covered = np.concatenate(
            [np.arange(p.at, p.at + p.bytes) for p in pieces] or [np.empty(0, int)]
        )
        assert np.array_equal(covered, np.arange(size))
        assert [(p.at, p.bytes) for p in pieces if p.packed] == chunks
        assert all(p.packed or p.bytes <= 1 << 16 for p in pieces)


@pytest.mark.parametrize("size", [0, 7, 8_191, 8_192, 40_003])
def test_any_change_of_a_bit_changes_the_checksum(size: int) -> None:
    good = random.Random(size).randbytes(size)
    found = {checksum(good)}
    for at in range(0, size, max(1, size // 500)):
        flipped = bytearray(good)
        flipped[at] ^= 1 << at % 8
        assert checksum(bytes(flipped)) not in found
    for other in (good[1:], good[::-1], good + b"\0", good[8:] + good[:8]):
        assert other == good or checksum(other) not in found


def test_the_checksum_can_be_computed_from_its_description() -> None:
    content = random.Random(1).randbytes(3 * 8_192 + 5)
    words = [int.from_bytes(content[i : i + 8], "little") for i in range(0, 3 * 8_192, 8)]
    sums = [
        sum(words[768 * quarter + place : 768 * (quarter + 1) : 256]) % 2**64
        for quarter in range(4)
        for place in range(256)
    ]
    stored = b"".join(s.to_bytes(8, "little") for s in sums)
    assert checksum(content) == zlib.crc32(stored + content[-5:])
