"""`edc_pipeline.read`: files, the spool, or both; three kinds of frames; what each day is worth."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import edc_pipeline
from edc_pipeline.consolidation.errors import CannotConsolidate, NoSuchData, RowsMissing
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.consolidation.names import Order
from edc_pipeline.events import COLUMNS
from edc_pipeline_tests.consolidation.spools import DAY, OPEN, Row, event, frames, write_batches

NEXT = DAY + dt.timedelta(days=1)
A_DAY_NS = 86_400 * 10**9


def trades(n: int = 40_000, later: int = 0) -> list[Row]:
    return frames(
        [
            [
                event(
                    ts_event=OPEN + later + i * 10**6,
                    created_at=OPEN + later + i * 10**6 + 5,
                    symbol=("SPY", "BRK.B", "ZÜRN/USD")[i % 3],
                    price=i / 4,
                    conditions="@ I" if i % 5 else "",
                )
            ]
            for i in range(n)
        ]
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day with a file, and the next with micro-batches alone."""
    folder = tmp_path_factory.mktemp("made")
    write_batches(folder / "spool", [trades()])
    write_batches(
        folder / "spool", [trades(50, A_DAY_NS)], day=NEXT, collector="two", first_number=1000
    )
    consolidate(folder / "spool", folder / "daily", "trade", DAY, rules={})
    return folder


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    """Of its own, for some tests add to it or break it."""
    return shutil.copytree(made, tmp_path, dirs_exist_ok=True)


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """As `pd.read_hdf` gives it."""
    text = frame.select_dtypes("category").columns
    return frame.astype(dict.fromkeys(text, object))


def test_the_same_as_pandas_reads(data: Path) -> None:
    path = data / "daily" / "consol_feeds_trade_2026_01_22.h5"
    by_pandas = pd.read_hdf(path)
    assert isinstance(by_pandas, pd.DataFrame)
    ours = edc_pipeline.read("trade", DAY, data=data)
    assert isinstance(ours.index, pd.RangeIndex)
    text = by_pandas.select_dtypes(["object", "string"]).columns
    by_pandas = by_pandas.astype(dict.fromkeys(text, object))
    pd.testing.assert_frame_equal(plain(ours), by_pandas)
    spy = edc_pipeline.read("trade", "2026-01-22", symbols="SPY", data=data)
    wanted = by_pandas[by_pandas["symbol"] == "SPY"].reset_index(drop=True)
    pd.testing.assert_frame_equal(plain(spy), wanted)


def test_three_kinds_of_frames_say_the_same(data: Path) -> None:
    named: dict[str, Any] = {"columns": ["price", "symbol", "ts_event"], "symbols": ["SPY", "no"]}
    frame = edc_pipeline.read("trade", DAY, data=data, **named)
    table = edc_pipeline.read("trade", DAY, data=data, as_="arrow", **named)
    polars = edc_pipeline.read("trade", DAY, data=data, as_="polars", **named)
    assert isinstance(table, pa.Table)
    assert isinstance(polars, pl.DataFrame)
    assert list(frame.columns) == table.column_names == polars.columns == named["columns"]
    assert frame["price"].tolist() == table["price"].to_pylist() == polars["price"].to_list()
    assert set(frame["symbol"]) == set(table["symbol"].to_pylist()) == set(polars["symbol"])
    assert str(polars["ts_event"].dtype) == str(pl.Datetime("ns", "America/New_York"))
    assert json.loads(table.schema.metadata[b"edc"])["days"] == frame.attrs["days"]


def test_today_comes_from_the_spool_and_says_so(data: Path) -> None:
    frame = edc_pipeline.read("trade", NEXT, symbols="SPY", data=data)
    assert len(frame) == 17
    assert list(frame.columns) == [c.name for c in COLUMNS["trade"]]
    state = frame.attrs["days"]["2026-01-23"]
    assert (state["state"], state["why"]) == ("live", "no daily file yet")
    consolidate(data / "spool", data / "daily", "trade", NEXT, rules={})
    from_file = edc_pipeline.read("trade", NEXT, symbols="SPY", data=data)
    pd.testing.assert_frame_equal(plain(from_file), plain(frame))
    assert {n: list(c.cat.categories) for n, c in frame.items() if c.dtype == "category"} == {
        n: list(c.cat.categories) for n, c in from_file.items() if c.dtype == "category"
    }


def test_what_landed_since_is_in(data: Path) -> None:
    late = frames([[event(symbol="LATE")]], "z", first_frame=10**6)
    write_batches(data / "spool", [late], first_number=900)
    frame = edc_pipeline.read("trade", DAY, data=data)
    assert len(frame) == 40_001
    state = frame.attrs["days"]["2026-01-22"]
    assert state["state"] == "live"
    assert state["why"] == "1 micro-batches have landed since its file was made"


def test_the_file_holds_more_than_the_spool(data: Path) -> None:
    """Retired micro-batches and a late one: the file is the day, and what is late is told."""
    for path in (data / "spool" / "event_type=trade" / "day=2026-01-22").iterdir():
        path.unlink()
    write_batches(data / "spool", [frames([[event(symbol="LATE")]], "z")], first_number=900)
    said = "1 micro-batches of trade of 2026-01-22 have landed since"
    with pytest.warns(RowsMissing, match=said):
        frame = edc_pipeline.read("trade", DAY, data=data)
    assert len(frame) == 40_000
    assert said in frame.attrs["days"]["2026-01-22"]["why"]


def test_a_range_of_days(data: Path) -> None:
    frame = edc_pipeline.read("trade", (DAY - dt.timedelta(3), NEXT), data=data, columns="symbol")
    assert len(frame) == 40_050
    assert {day: s["rows"] for day, s in frame.attrs["days"].items()} == {
        "2026-01-22": 40_000,
        "2026-01-23": 50,
    }
    assert len(edc_pipeline.read("trade", [DAY], data=data, columns="symbol")) == 40_000


def test_blocks(data: Path) -> None:
    pieces = list(edc_pipeline.read("trade", (DAY, NEXT), data=data, blocks=10_000))
    assert max(map(len, pieces)) <= 10_000
    whole = edc_pipeline.read("trade", (DAY, NEXT), data=data)
    joined = pd.concat([plain(p) for p in pieces], ignore_index=True)
    pd.testing.assert_frame_equal(joined, plain(whole))


@pytest.mark.parametrize("order", ["time", "symbol"])
def test_a_symbol_in_either_order(data: Path, order: Order) -> None:
    consolidate(data / "spool", data / "daily", "trade", DAY, rules={}, order=order)
    frame = edc_pipeline.read("trade", DAY, symbols=["ZÜRN/USD", "BRK.B", "no"], data=data)
    assert len(frame) == 26_666
    assert set(frame["symbol"]) == {"ZÜRN/USD", "BRK.B"}
    one = edc_pipeline.read("trade", DAY, symbols="BRK.B", data=data)
    assert one["ts_event"].is_monotonic_increasing
    assert len(edc_pipeline.read("trade", DAY, symbols=[], data=data)) == 0


def test_corrected(tmp_path: Path) -> None:
    ours = partial(event, vendor="signed_json")
    said = [
        ours(price=1.0, ts_event=OPEN),
        ours(price=2.0, ts_event=OPEN + 1),
        ours(price=2.0, ts_event=OPEN + 2),
        ours(price=2.0, ts_event=OPEN + 3, conditions="break"),
        ours(price=7.0, ts_event=OPEN + 4, conditions="break"),  # of a print of another day
        ours(price=3.0, ts_event=OPEN + 5, event_id="x"),
        ours(price=4.0, ts_event=OPEN + 6, event_id="x", conditions="updated @"),
        ours(price=5.0, ts_event=OPEN + 7, event_id="y"),
        ours(price=9.0, ts_event=OPEN + 8, event_id="y", conditions="deleted"),
        ours(price=2.0, ts_event=OPEN + 9, symbol="QQQ"),
    ]
    write_batches(tmp_path / "spool", [frames([[e] for e in said])])
    kept = edc_pipeline.read("trade", DAY, data=tmp_path)
    assert len(kept) == len(said)
    shown = edc_pipeline.read(
        "trade", DAY, data=tmp_path, columns=["ts_event", "price"], corrected=True
    )
    assert [t.value - OPEN for t in shown["ts_event"]] == [0, 1, 6, 9]
    assert list(shown.columns) == ["ts_event", "price"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"event_type": "bar"}, "'bar' is no event type"),
        ({"days": "22.1.2026"}, "'22.1.2026' is not a day"),
        ({"days": "2026-02-01"}, "there is no trade of 2026-02-01"),
        ({"days": ("2026-02-01", "2026-02-03")}, "there is no trade from 2026-02-01 to"),
        ({"days": (NEXT, DAY)}, "before it begins"),
        ({"days": (DAY,)}, "give the first day and the last"),
        ({"days": []}, "no day was asked for"),
        ({"days": dt.datetime(2026, 1, 22, tzinfo=dt.UTC)}, "is an instant"),
        ({"columns": ["prize"]}, "trade has no column 'prize'; it has ts_event"),
        ({"as_": "csv"}, "give pandas, polars or arrow"),
        ({"days": None}, "None is no day"),
        ({"days": 20260122}, "20260122 is no day"),
        ({"days": (DAY, None)}, "None is no day"),
        ({"days": np.datetime64("2026-01-22")}, "is no day"),
        ({"symbols": 5}, "symbols=5: give a symbol as text"),
        ({"symbols": b"SPY"}, "give a symbol as text"),
        ({"symbols": [None]}, "give a symbol as text"),
        ({"symbols": "\ud800"}, "give a symbol as text"),
        ({"columns": []}, "no column was asked for"),
        ({"columns": 5}, "trade has no column 5"),
        ({"blocks": 0}, "blocks=0"),
        ({"blocks": "10"}, "blocks='10'"),
        ({"blocks": 10.0}, "a whole number from 1 on"),
        ({"blocks": 10, "corrected": True}, "corrected=True with blocks"),
        ({"data": __file__}, "give the folder that holds daily/ and spool/"),
        ({"event_type": "quote", "corrected": True}, "only trades are corrected"),
    ],
)
def test_a_wrong_call(data: Path, wrong: dict[str, Any], message: str) -> None:
    call: dict[str, Any] = {"event_type": "trade", "days": DAY, "data": data, **wrong}
    with pytest.raises(NoSuchData, match=message):
        edc_pipeline.read(**call)


def test_a_torn_file_is_not_read(data: Path) -> None:
    path = data / "daily" / "consol_feeds_trade_2026_01_22.h5"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(
        NoSuchData, match=r"no seal at its end.*edc consolidate .*--day 2026-01-22 --type trade"
    ):
        edc_pipeline.read("trade", DAY, data=data)


def test_the_package_is_cheap_until_it_reads() -> None:
    code = (
        "import sys, edc_pipeline\n"
        "print({'polars', 'pandas', 'tables', 'h5py', 'pyarrow'} & set(sys.modules))\n"
        "print(callable(edc_pipeline.read))"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert told.stdout.split("\n")[:2] == ["set()", "True"]
    with pytest.raises(AttributeError, match="no attribute 'raed'"):
        edc_pipeline.raed  # noqa: B018


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31", dt.date.min, dt.date.max])
def test_a_day_that_no_file_can_hold(spool: Path, out: Path, day: str | dt.date) -> None:
    spool.mkdir()
    for days in (day, [day], (str(DAY), day)):
        with pytest.raises(NoSuchData, match="is outside what files hold"):
            edc_pipeline.read("trade", days, data=out.parent)
    if isinstance(day, dt.date):
        with pytest.raises(CannotConsolidate, match="is outside what files hold"):
            consolidate(spool, out, "trade", day)
