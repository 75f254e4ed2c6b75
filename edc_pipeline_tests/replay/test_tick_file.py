"""Anybody's ticks: every form of file and mapping gives the events that the file says."""

from __future__ import annotations

import datetime as dt
import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edc_pipeline.market_day import midnight_ns
from edc_pipeline.replay.records import Labels, to_table
from edc_pipeline.replay.tick_file import Mapping, TickFile, TickFileMistake, checked, read_mapping

DAY = dt.date(2026, 1, 22)
MIDNIGHT = midnight_ns(DAY)
TRADES: dict[str, Any] = {
    "type": "trade",
    "time": {"column": 0, "unit": "ms", "since": "new_york_midnight"},
    "day": "2026-01-22",
    "symbol": "ibm",
    "price": {"column": 1, "divide_by": 10_000},
    "size": 2,
    "venue": 3,
    "conditions": [4, 5],
}
CSV = "34200000,1815200,283,P,20,0\n34200000,1815200,283,P,20,0\n34200472,1818001,500,,,1\n"


def mapping(said: dict[str, Any]) -> Mapping:
    return checked(msgspec.convert(said, Mapping))


def events(path: Path, said: dict[str, Any]) -> list[dict[str, Any]]:
    labels, file = Labels(), TickFile(path, mapping(said))
    return [
        row
        for block in file.blocks(labels, file.id_bytes)
        for row in to_table(block, file.mapping.type, labels.known).to_pylist()
    ]


def plain(path: Path) -> Path:
    path.write_text(CSV)
    return path


def gzipped(path: Path) -> Path:
    path = path.with_suffix(".csv.gz")
    path.write_bytes(gzip.compress(CSV.encode()))
    return path


def zipped(path: Path) -> Path:
    path = path.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("20260122_ibm.csv", CSV)
    return path


@pytest.mark.parametrize("form", [plain, gzipped, zipped])
def test_csv_without_a_header(tmp_path: Path, form: Callable[[Path], Path]) -> None:
    rows = events(form(tmp_path / "t.csv"), TRADES)
    assert [(r["ts_event"], r["price"], r["size"], r["venue"], r["conditions"]) for r in rows] == [
        (MIDNIGHT + 34_200_000 * 10**6, 181.52, 283.0, "P", "20 0"),
        (MIDNIGHT + 34_200_000 * 10**6, 181.52, 283.0, "P", "20 0"),
        (MIDNIGHT + 34_200_472 * 10**6, 181.8001, 500.0, "", " 1"),
    ]
    assert {(r["symbol"], r["origin"], r["ts_source"]) for r in rows} == {
        ("IBM", "backfill", "vendor")
    }
    assert all(r["created_at"] == r["ts_event"] for r in rows)


def test_many_symbols_ids_iso_times_and_a_header(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "when,sym,px,qty,id,side\n"
        "2026-01-22T09:30:00.123456789-05:00,btc/usd,89342.15,0.05,a-1,buy\n"
        "2026-01-22T14:30:01Z,ETH/USD,2951.4,,b-22,sell\n"
    )
    rows = events(
        path,
        {
            "type": "trade",
            "time": {"column": "when", "unit": "iso"},
            "symbol": {"column": "sym"},
            "asset_class": "crypto",
            "price": "px",
            "size": "qty",
            "event_id": "id",
            "side": "side",
        },
    )
    assert [r["ts_event"] for r in rows] == [1769092200123456789, 1769092201000000000]
    assert [(r["symbol"], r["event_id"], r["side"]) for r in rows] == [
        ("BTC/USD", "a-1", "buy"),
        ("ETH/USD", "b-22", "sell"),
    ]
    assert np.isnan(rows[1]["size"])
    file = TickFile(path, mapping({**_named(), "asset_class": "crypto"}))
    assert file.symbols() == {"BTC/USD": "crypto", "ETH/USD": "crypto"}


def _named() -> dict[str, Any]:
    return {
        "type": "trade",
        "time": {"column": "when", "unit": "iso"},
        "symbol": {"column": "sym"},
        "price": "px",
    }


def test_one_sided_quotes_in_parquet(tmp_path: Path) -> None:
    path = tmp_path / "q.parquet"
    stamps = pa.array([1, 2], pa.timestamp("us", "UTC"))
    columns = {"t": stamps, "b": [0.0, 1.5], "bs": [0, 7], "a": [2.5, 0.0], "as": [3, 0]}
    pq.write_table(pa.table(columns), path)
    said = {
        "type": "quote",
        "time": {"column": "t"},
        "symbol": "EUR/USD",
        "asset_class": "fx",
        "bid_price": "b",
        "bid_size": "bs",
        "ask_price": "a",
        "ask_size": "as",
        "absent": 0,
    }
    first, second = events(path, said)
    assert (first["ts_event"], second["ts_event"]) == (1_000, 2_000)
    assert np.isnan([first["bid_price"], first["bid_size"], second["ask_price"]]).all()
    assert (first["ask_price"], first["ask_size"], second["bid_price"]) == (2.5, 3.0, 1.5)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 10**10)), min_size=1))
def test_prices_are_the_decimals_that_were_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_text("".join(f"{ms},{units}\n" for ms, units in rows))
    said = {k: TRADES[k] for k in ("type", "time", "day", "symbol", "price")}
    got = [e["price"] for e in events(path, said)]
    assert got == [float(f"{units // 10_000}.{units % 10_000:04d}") for _, units in rows]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"day": None}, "say of which day"),
        ({"bid_price": 1}, "a trade has no bid_price"),
        ({"price": None, "size": None}, "map at least one of price, size"),
    ],
)
def test_a_mapping_that_makes_no_sense(change: dict[str, Any], told: str) -> None:
    with pytest.raises(TickFileMistake, match=told):
        mapping({**TRADES, **change})


def test_mistakes_name_the_file_and_the_entry(tmp_path: Path) -> None:
    said = tmp_path / "m.yaml"
    said.write_text("type: trade\ntime: {column: 0, unit: fortnight}\nsymbol: X\nprice: 1\n")
    with pytest.raises(TickFileMistake, match=r"m\.yaml: .*fortnight.*time\.unit"):
        read_mapping(said)
    said.write_text("type: trade\ntime: {column: 0}\nsymbol: X\nprise: 1\n")
    with pytest.raises(TickFileMistake, match="prise"):
        read_mapping(said)
    with pytest.raises(TickFileMistake, match="there is no file"):
        TickFile(tmp_path / "none.csv", mapping(TRADES))
    bad = tmp_path / "bad.csv"
    bad.write_text("34200000,not a number,1,P,0,0\n")
    with pytest.raises(TickFileMistake, match=r"bad\.csv.*not a number"):
        events(bad, TRADES)
    two = tmp_path / "two.zip"
    with zipfile.ZipFile(two, "w") as archive:
        archive.writestr("a", "1")
        archive.writestr("b", "1")
    with pytest.raises(TickFileMistake, match="holds 2 files"):
        events(two, TRADES)
    long = tmp_path / "long.csv"
    long.write_text(f"when,sym,px,id\n2026-01-22T14:30:01Z,X,1,{'i' * 41}\n")
    with pytest.raises(TickFileMistake, match="an id of 41 bytes"):
        events(long, {**_named(), "event_id": "id"})
