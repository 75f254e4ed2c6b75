"""One symbol's day out of a daily file: the rows that pandas reads, whatever lies around them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

import edc_pipeline
from edc_pipeline.consolidation import chunk_codec, h5_read
from edc_pipeline.consolidation.chunk_codec import BLOCK_ROWS
from edc_pipeline.consolidation.errors import NoSuchData
from edc_pipeline.consolidation.layout import CHUNK_ROWS
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.consolidation.names import Codec, Order
from edc_pipeline.consolidation.seal import hdf5_bytes, seal
from edc_pipeline_tests.consolidation.spools import DAY, OPEN, event, frames, write_batches

CHUNKS = 6
ROWS = (CHUNKS - 1) * CHUNK_ROWS + 900
OTHERS = ("SPY", "QQQ", "ZÜRN/USD")


def symbols() -> list[str]:
    """`ONCE` is one row of each chunk, `LATE` a few rows of the fourth. In order of symbols `A`
    ends one row before the first chunk does, and `BRK.B` fills that row and three chunks more."""
    found, of_a = [], 0
    for row in range(ROWS):
        chunk, at = divmod(row, CHUNK_ROWS)
        name = OTHERS[row % 3] if row % 5 == 4 else "BRK.B"
        if at == 77 * chunk:
            name = "ONCE"
        elif chunk == 3 and 100 <= at < 105:
            name = "LATE"
        elif row % 5 == 0 and of_a < CHUNK_ROWS - 1:
            name, of_a = "A", of_a + 1
        found.append(name)
    assert of_a == CHUNK_ROWS - 1
    assert found.count("BRK.B") > 3 * CHUNK_ROWS
    return found


@pytest.fixture(scope="module")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    said = [
        [event(ts_event=OPEN + i, created_at=OPEN + 2 * i, symbol=symbol, price=i / 8)]
        for i, symbol in enumerate(symbols())
    ]
    folder = tmp_path_factory.mktemp("data") / "spool"
    write_batches(folder, [frames(said)])
    return folder


def made(spool: Path, out: Path, codec: Codec = "blosc2-lz4", order: Order = "time") -> Path:
    (out / "spool").symlink_to(spool)
    return consolidate(spool, out / "daily", "trade", DAY, rules={}, codec=codec, order=order).path


@pytest.mark.parametrize(
    ("codec", "order", "blocks", "together"),
    [
        ("blosc2-lz4", "time", BLOCK_ROWS, CHUNKS),
        ("blosc2-lz4", "time", BLOCK_ROWS, 1),
        ("blosc2-lz4", "symbol", BLOCK_ROWS, CHUNKS),
        ("blosc2-lz4", "symbol", BLOCK_ROWS, 1),
        ("zstd", "symbol", BLOCK_ROWS, 2),
        ("zlib", "time", BLOCK_ROWS, CHUNKS),
        ("blosc2-lz4", "time", 0, CHUNKS),  # as Blosc chooses them, and files had them before
        ("blosc2-lz4", "symbol", 0, 1),
    ],
)
def test_as_pandas_reads_it(
    spool: Path,
    tmp_path: Path,
    codec: Codec,
    order: Order,
    blocks: int,
    together: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Chunks are looked at so many together, as far as both threads have some."""
    monkeypatch.setattr(chunk_codec, "BLOCK_ROWS", blocks)
    monkeypatch.setattr(h5_read, "_TOGETHER_BYTES", together * 2_000_000)
    by_pandas = pd.read_hdf(made(spool, tmp_path, codec, order))
    assert isinstance(by_pandas, pd.DataFrame)
    text = by_pandas.select_dtypes(["object", "string"]).columns
    by_pandas = by_pandas.astype(dict.fromkeys(text, object))
    for asked in ("ONCE", "LATE", "BRK.B", ["ONCE", "A", "no"], [*OTHERS, "A", "ONCE"], ["no"], []):
        ours = edc_pipeline.read("trade", DAY, symbols=asked, data=tmp_path)
        wanted = by_pandas[by_pandas["symbol"].isin([asked] if isinstance(asked, str) else asked)]
        pd.testing.assert_frame_equal(plain(ours), wanted.reset_index(drop=True))
        for name in ours.select_dtypes("category").columns:
            assert ours[name].cat.categories.tolist() == wanted[name].unique().tolist()
        pieces = list(edc_pipeline.read("trade", DAY, symbols=asked, blocks=10_000, data=tmp_path))
        assert max(map(len, pieces), default=0) <= 10_000
        if pieces:
            joined = pd.concat([plain(piece) for piece in pieces], ignore_index=True)
            pd.testing.assert_frame_equal(joined, plain(ours))


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    text = frame.select_dtypes("category").columns
    return frame.astype(dict.fromkeys(text, object))


@pytest.mark.parametrize("wrong", [1, -1])
def test_a_list_of_symbols_that_is_wrong_is_told(spool: Path, tmp_path: Path, wrong: int) -> None:
    """Whoever stops when as many rows are found as are listed has to notice a list that lies."""
    path = made(spool, tmp_path)
    with path.open("rb+") as file:
        file.truncate(hdf5_bytes(path))
    with h5py.File(path, "r+") as file:
        listed = file["symbols"][()]
        listed["rows"][listed["symbol"] == b"ONCE"] += wrong
        file["symbols"][...] = listed
    seal(path)
    with pytest.raises(NoSuchData, match=f"says {CHUNKS + wrong} rows of these symbols, its table"):
        edc_pipeline.read("trade", DAY, symbols="ONCE", data=tmp_path)


@pytest.mark.parametrize("order", ["time", "symbol"])
def test_what_was_read_is_the_callers_own(spool: Path, tmp_path: Path, order: Order) -> None:
    """It can be written to, and neither the next read nor another piece shows it."""
    made(spool, tmp_path, order=order)
    before = edc_pipeline.read("trade", DAY, symbols="BRK.B", data=tmp_path)
    frame = edc_pipeline.read("trade", DAY, symbols="BRK.B", data=tmp_path)
    frame.loc[:, "price"] = -1.0
    frame.loc[0, "ts_event"] = frame.loc[1, "ts_event"]
    assert (frame["price"] == -1.0).all()
    again = edc_pipeline.read("trade", DAY, symbols="BRK.B", data=tmp_path)
    assert again.equals(before)


def test_what_is_kept_of_a_chunk_outlives_it(spool: Path, tmp_path: Path) -> None:
    """Threads unpack into the same memory again and again."""
    made(spool, tmp_path)
    pieces = edc_pipeline.read("trade", DAY, symbols="ONCE", columns=["price"], data=tmp_path)
    at = np.arange(CHUNKS) * (CHUNK_ROWS + 77)
    assert pieces["price"].tolist() == (at / 8).tolist()
    blocks = list(edc_pipeline.read("trade", DAY, columns=["price"], blocks=1_000, data=tmp_path))
    prices = np.concatenate([b["price"].to_numpy() for b in blocks])
    assert np.array_equal(prices * 8, np.arange(len(prices)))
