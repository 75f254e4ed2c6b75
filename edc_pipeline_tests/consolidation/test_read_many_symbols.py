"""Many symbols out of a daily file: the rows that the whole day holds of them, and no look at the
file for each of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import edc_pipeline
from edc_pipeline.consolidation import day_rows, h5_read
from edc_pipeline.consolidation.layout import CHUNK_ROWS
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.consolidation.names import Order
from edc_pipeline_tests.consolidation.spools import DAY, OPEN, event, frames, write_batches

ROWS, SYMBOLS = 2 * CHUNK_ROWS + 700, 900
NAMES = [f"O:SPY260122C{n:08}" for n in range(SYMBOLS)]


@pytest.fixture(scope="module")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dice = np.random.default_rng(5).integers(0, SYMBOLS, ROWS).tolist()
    rows = [[event(ts_event=OPEN + at, symbol=NAMES[n], price=at / 8)] for at, n in enumerate(dice)]
    folder = tmp_path_factory.mktemp("many") / "spool"
    write_batches(folder, [frames(rows)])
    return folder


@pytest.fixture(scope="module", params=["time", "symbol", "spool"])
def data(spool: Path, tmp_path_factory: pytest.TempPathFactory, request: Any) -> Path:
    out = tmp_path_factory.mktemp(request.param)
    (out / "spool").symlink_to(spool)
    if request.param != "spool":
        order: Order = request.param
        consolidate(spool, out / "daily", "trade", DAY, rules={}, order=order)
    return out


ASKED = {
    "few": NAMES[:3],
    "every third": NAMES[::3],
    "those that lie together": NAMES[100:400],
    "all": NAMES,
    "with some that are not there": [*NAMES[5::7], "A", "ZZZ", f"{NAMES[0]}{NAMES[0]}"],
}


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("together", [1, 8])
def test_they_are_those_of_the_whole_day(
    data: Path, asked: list[str], together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(h5_read, "_TOGETHER_BYTES", together * CHUNK_ROWS * 200)
    whole = edc_pipeline.read("trade", DAY, data=data)
    expected = whole[whole["symbol"].isin(asked)].reset_index(drop=True)
    found = edc_pipeline.read("trade", DAY, data=data, symbols=asked)
    assert 0 < len(found) == len(expected)
    for name in expected:
        if isinstance(expected[name].dtype, pd.CategoricalDtype):
            assert found[name].tolist() == expected[name].tolist()
        else:
            pd.testing.assert_series_equal(found[name], expected[name])


def test_columns_are_put_together_once_for_all_of_them(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = []
    piece = day_rows._piece

    def counted(*given: Any, **more: Any) -> Any:
        pieces.append(given)
        return piece(*given, **more)

    monkeypatch.setattr(day_rows, "_piece", counted)
    edc_pipeline.read("trade", DAY, data=data, symbols=NAMES[::2])
    assert len(pieces) <= -(-ROWS // CHUNK_ROWS)
