"""One symbol's day out of a daily file: the rows that pandas reads, whatever lies around them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

import edc_pipeline
from edc_pipeline.consolidation import Codec, Order, consolidate
from edc_pipeline.consolidation.errors import NoSuchData
from edc_pipeline.consolidation.layout import CHUNK_ROWS
from edc_pipeline.consolidation.seal import SEAL_BYTES, seal
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
    ("codec", "order"), [("blosc2-lz4", "time"), ("zlib", "time"), ("blosc2-lz4", "symbol")]
)
def test_as_pandas_reads_it(spool: Path, tmp_path: Path, codec: Codec, order: Order) -> None:
    by_pandas = pd.read_hdf(made(spool, tmp_path, codec, order))
    assert isinstance(by_pandas, pd.DataFrame)
    text = by_pandas.select_dtypes(["object", "string"]).columns
    by_pandas = by_pandas.astype(dict.fromkeys(text, object))
    for asked in ("ONCE", "LATE", "BRK.B", ["ONCE", "A", "no"], [*OTHERS, "A", "ONCE"], ["no"], []):
        ours = edc_pipeline.read("trade", DAY, symbols=asked, data=tmp_path)
        wanted = by_pandas[by_pandas["symbol"].isin([asked] if isinstance(asked, str) else asked)]
        categories = ours.select_dtypes("category").columns
        pd.testing.assert_frame_equal(
            ours.astype(dict.fromkeys(categories, object)), wanted.reset_index(drop=True)
        )


def test_a_list_of_symbols_that_is_wrong_is_told(spool: Path, tmp_path: Path) -> None:
    """Whoever stops when as many rows are found as are listed has to notice a list that lies."""
    path = made(spool, tmp_path)
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size - SEAL_BYTES)
    with h5py.File(path, "r+") as file:
        listed = file["symbols"][()]
        listed["rows"][listed["symbol"] == b"ONCE"] += 1
        file["symbols"][...] = listed
    seal(path)
    with pytest.raises(NoSuchData, match=f"says {CHUNKS + 1} rows of these symbols, its table"):
        edc_pipeline.read("trade", DAY, symbols="ONCE", data=tmp_path)


def test_what_is_kept_of_a_chunk_outlives_it(spool: Path, tmp_path: Path) -> None:
    """Threads unpack into the same memory again and again."""
    made(spool, tmp_path)
    pieces = edc_pipeline.read("trade", DAY, symbols="ONCE", columns=["price"], data=tmp_path)
    at = np.arange(CHUNKS) * (CHUNK_ROWS + 77)
    assert pieces["price"].tolist() == (at / 8).tolist()
    blocks = list(edc_pipeline.read("trade", DAY, columns=["price"], blocks=1_000, data=tmp_path))
    prices = np.concatenate([b["price"].to_numpy() for b in blocks])
    assert np.array_equal(prices * 8, np.arange(len(prices)))
