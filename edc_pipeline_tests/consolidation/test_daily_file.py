"""The file as others read it: pandas, PyTables and h5py, with nothing of ours."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - h5py reads the default codec with it
import numpy as np
import pandas as pd
import polars as pl
import pytest
import tables

from edc_pipeline.coded import Coded, Words
from edc_pipeline.consolidation.h5_write import symbols_table, write_whole
from edc_pipeline.consolidation.layout import CHUNK_ROWS, create_table
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.consolidation.names import CODECS, Codec, daily_file, parse_daily_file
from edc_pipeline.consolidation.records import Records, UnstorableText
from edc_pipeline.consolidation.rows import TEXTS, assemble, part_of
from edc_pipeline.events import COLUMNS, EVENT_TYPES, NAN, EventType
from edc_pipeline.spool.micro_batch import write_micro_batch
from edc_pipeline.spool.tables import columns_to_table, rows_to_table
from edc_pipeline_tests.consolidation.spools import (
    DAY,
    OPEN,
    Row,
    enter,
    event,
    frames,
    write_batches,
)

SECOND = 10**9


def market(event_type: EventType, n: int = 300) -> list[Row]:
    """Rows that use every column: empty text, text of many bytes, NaN, no stamp of the vendor."""
    numbers: dict[EventType, dict[str, Any]] = {
        "trade": {"price": NAN, "side": "buy", "conditions": "@ F I"},
        "quote": {"bid_price": NAN, "ask_size": 0.1 + 0.2},
        "ref_px": {"kind": "prev_close", "size": NAN},
    }
    return frames(
        [
            [
                event(
                    event_type,
                    ts_event=OPEN + i * SECOND,
                    ts_source="receive" if i % 5 == 0 else "vendor",
                    symbol=("SPY", "BRK.B", "ZÜRN/USD", "EUR/USD")[i % 4],
                    venue="" if i % 3 else "Q",
                    event_id="nan" if i == 7 else "",
                    seq=i,
                    created_at=OPEN + i * SECOND + 123_456_789,
                    **(numbers[event_type] if i % 2 else {}),
                )
            ]
            for i in range(n)
        ]
    )


@pytest.fixture(params=EVENT_TYPES)
def event_type(request: pytest.FixtureRequest) -> EventType:
    chosen: EventType = request.param
    return chosen


def made(spool: Path, out: Path, event_type: EventType, codec: Codec = "blosc2-lz4") -> Path:
    write_batches(spool, [market(event_type)], event_type=event_type)
    return consolidate(spool, out, event_type, DAY, rules={}, codec=codec).path


def test_names() -> None:
    for event_type in EVENT_TYPES:
        assert parse_daily_file(daily_file(Path("daily"), event_type, DAY)) == (event_type, DAY)
    for name in ("consol_feeds_bar_2026_01_22.h5", "consol_feeds_trade_2026_13_22.h5", "x.h5"):
        assert parse_daily_file(Path(name)) is None


def test_three_readers_agree_row_by_row(spool: Path, out: Path, event_type: EventType) -> None:
    path = made(spool, out, event_type)
    by_pandas = pd.read_hdf(path)
    assert isinstance(by_pandas, pd.DataFrame)
    with h5py.File(path) as file:
        by_h5py = file[event_type]["table"][:]
    with tables.open_file(path) as file:
        table = file.get_node(f"/{event_type}/table")
        by_tables = table.read()
        assert table.chunkshape == (CHUNK_ROWS,)
        assert table.filters.complib == "blosc2:lz4"
        assert table.filters.bitshuffle
        assert table.cols.ts_event.index.kind == "ultralight"
    assert by_h5py.dtype == by_tables.dtype
    assert by_h5py.tobytes() == by_tables.tobytes()
    assert list(by_pandas.columns) == [c.name for c in COLUMNS[event_type]]
    assert by_pandas.index.tolist() == list(range(300))
    assert "RangeIndex" not in by_h5py.dtype.names
    for column in COLUMNS[event_type]:
        seen, stored = by_pandas[column.name], by_h5py[column.name]
        if column.stored == "time":
            assert str(seen.dtype) == "datetime64[ns, America/New_York]"
            assert seen.astype("int64").tolist() == stored.tolist()
        elif column.stored == "text":
            assert seen.tolist() == [s.decode() for s in stored]
        else:
            assert seen.dtype == column.stored
            np.testing.assert_array_equal(seen.to_numpy(), stored)


def test_queries_of_pandas(spool: Path, out: Path, event_type: EventType) -> None:
    path = made(spool, out, event_type)

    def count(where: str) -> int:
        return len(pd.read_hdf(path, where=where))

    assert count("symbol == 'SPY'") == 75
    assert count("symbol == 'ZÜRN/USD'") == 75
    assert count("symbol == 'ABSENT'") == 0
    assert count("ts_event >= '2026-01-22 09:31:00-05:00'") == 240
    assert count("ts_event >= '2026-01-22 14:31:00'") == 240  # a naive literal means UTC
    assert count("ts_event < '2026-01-22 09:30:10-05:00' & symbol == 'BRK.B'") == 3
    assert count("seq > 297") == 2
    columns = pd.read_hdf(path, columns=["symbol", "created_at"])
    assert list(columns.columns) == ["symbol", "created_at"]
    with pd.HDFStore(path, "r") as store:
        assert store.keys() == [f"/{event_type}"]


def test_text_comes_back_as_it_was(spool: Path, out: Path) -> None:
    """Empty is empty and not NaN; even the text "nan", which pandas' default would make NaN."""
    shown = pd.read_hdf(made(spool, out, "trade"))
    assert isinstance(shown, pd.DataFrame)
    assert shown["venue"].isna().sum() == 0
    assert (shown["venue"] == "").sum() == 200
    assert shown["event_id"][7] == "nan"


@pytest.mark.parametrize("codec", CODECS)
def test_codecs(spool: Path, out: Path, codec: Codec) -> None:
    path = made(spool, out, "trade", codec)
    assert len(pd.read_hdf(path, where="symbol == 'SPY'")) == 75
    # A fresh process that has never heard of hdf5plugin.
    code = f"import h5py; print(len(h5py.File({str(path)!r})['trade/table'][:]))"
    plain = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert (plain.stdout.strip() == "300") == (codec == "zlib")


@pytest.mark.skipif(
    "EDC_TEST_OTHER_PYTHON" not in os.environ,
    reason="EDC_TEST_OTHER_PYTHON names no interpreter, e.g. one with pandas 2.2",
)
def test_another_pandas_reads_the_same(spool: Path, out: Path, event_type: EventType) -> None:
    path = made(spool, out, event_type)
    code = (
        "import sys, json, pandas as pd; p = sys.argv[1]; d = pd.read_hdf(p);"
        "print(json.dumps([d.to_csv(), str(d.dtypes['ts_event']), pd.__version__,"
        " len(pd.read_hdf(p, where=\"symbol == 'SPY'\", columns=['symbol'])),"
        " len(pd.read_hdf(p, where=\"ts_event >= '2026-01-22 09:31:00-05:00'\"))]))"
    )
    other = subprocess.run(
        [os.environ["EDC_TEST_OTHER_PYTHON"], "-c", code, str(path)],
        check=True,
        capture_output=True,
        text=True,
        env={},
    )
    csv, zone, version, spy, late = json.loads(other.stdout)
    ours = pd.read_hdf(path)
    assert isinstance(ours, pd.DataFrame)
    assert csv == ours.to_csv(), version
    assert (zone, spy, late) == ("datetime64[ns, America/New_York]", 75, 240)


_BY_R = """
suppressMessages(library(rhdf5))
d <- h5read(commandArgs(TRUE)[1], "trade/table", bit64conversion = "bit64")
cat(nrow(d), format(sum(d$size), digits = 15), d$symbol[2], as.character(d$ts_event[300]))
"""


def _r_has_rhdf5() -> bool:
    call = ["Rscript", "-e", "library(rhdf5)"]
    return (
        bool(shutil.which("Rscript"))
        and not subprocess.run(call, check=False, capture_output=True).returncode
    )


def test_r_reads_the_same(spool: Path, out: Path, tmp_path: Path) -> None:
    """Another language: R with Debian's r-bioc-rhdf5, which needs `codec: zlib`."""
    if not _r_has_rhdf5():
        pytest.skip("no R with rhdf5 here (Debian: apt-get install r-bioc-rhdf5)")
    path = made(spool, out, "trade", "zlib")
    script = tmp_path / "read.R"
    script.write_text(_BY_R)
    call = ["Rscript", str(script), str(path)]
    told = subprocess.run(call, check=True, capture_output=True, text=True).stdout.split()
    with h5py.File(path) as file:
        rows = file["trade/table"][:]
    assert told == [
        "300",
        f"{rows['size'].sum():.15g}",
        rows["symbol"][1].decode(),
        str(rows["ts_event"][299]),
    ]


def test_a_reader_with_the_old_file_open_reads_on(spool: Path, out: Path) -> None:
    path = made(spool, out, "trade")
    with tables.open_file(path) as reader, h5py.File(path) as other:
        write_batches(
            spool, [frames([[event(ts_event=OPEN + 1, symbol="NEW")]], "z")], first_number=5
        )
        assert consolidate(spool, out, "trade", DAY, rules={}).certificate.rows == 301
        assert reader.get_node("/trade/table").read()["seq"].tolist() == list(range(300))
        assert len(other["trade/table"][:]) == 300
    assert len(pd.read_hdf(path)) == 301


def test_the_hash_can_be_recomputed_from_its_definition(
    spool: Path, out: Path, event_type: EventType
) -> None:
    """By its docstring, with h5py and hashlib alone."""
    write_batches(spool, [market(event_type, 40_000)], event_type=event_type)
    c = consolidate(spool, out, event_type, DAY, rules={})
    with h5py.File(c.path) as file:
        records = file[event_type]["table"][:]
    lines = f"edc content 2\n{event_type}\n{len(records)}\norder time\n"
    for name in records.dtype.names:
        field, offset = records.dtype.fields[name]
        lines += f"{name} {field.str} {offset}\n"
    for start in range(0, len(records), 16_384):
        piece = records[start : start + 16_384].tobytes()
        lines += f"{hashlib.sha256(piece).hexdigest()}\n"
    assert c.certificate.content_hash == f"edc2:{hashlib.sha256(lines.encode()).hexdigest()}"


def test_an_empty_day_is_read(tmp_path: Path, event_type: EventType) -> None:
    path = tmp_path / "empty.h5"
    widths = {c.name: 1 for c in COLUMNS[event_type] if c.stored == "text"}
    with tables.open_file(path, "w") as file:
        create_table(file, event_type, widths, codec="blosc2-lz4", rows=0)
    shown = pd.read_hdf(path)
    assert isinstance(shown, pd.DataFrame)
    assert shown.shape == (0, len(COLUMNS[event_type]))
    assert str(shown["ts_event"].dtype) == "datetime64[ns, America/New_York]"


def test_text_that_would_be_cut_is_refused() -> None:
    rows = assemble([part_of(rows_to_table("trade", [event(symbol="ZÜRN")], ["a"], [0]))], "trade")
    widths = {n: 4 if n == "symbol" else 9 for n in TEXTS["trade"] if n != "connection"}
    with pytest.raises(UnstorableText, match=r"symbol: b'Z.*RN' is 5 bytes, the column holds 4"):
        list(Records("trade", widths).add(rows, np.array([0]), np.array([0])))


def test_a_word_of_the_day_before_that_no_row_says_is_no_text(spool: Path, out: Path) -> None:
    """As a connection leaves it that stands over midnight: its list of words goes on."""
    symbols = Words("THE.LONGEST", "SPY", "BRK.B")
    said = {"vendor": "acme", "feed": "tape", "asset_class": "etf", "connection": "a"}
    rows = [Row(event(symbol=symbol), "a", n) for n, symbol in enumerate(("SPY", "BRK.B"))]
    numbers = {
        "ts_event": np.full(2, OPEN),
        "created_at": np.full(2, OPEN),
        "frame": np.arange(2),
        "price": np.array([1.0, 2.0]),
        "size": np.array([1.0, 1.0]),
    }
    coded = {"symbol": Coded.of(["SPY", "BRK.B"], symbols)}
    write_micro_batch(
        spool,
        event_type="trade",
        day=DAY,
        collector="one",
        first_frame=0,
        last_frame=1,
        table=columns_to_table("trade", said, numbers, coded, {}),
    )
    enter(spool, rows)
    made = consolidate(spool, out, "trade", DAY, rules={})
    assert made.certificate.balanced
    assert sorted(made.preview(2)["symbol"]) == ["BRK.B", "SPY"]


def test_a_block_of_other_fields_is_refused(spool: Path, out: Path, tmp_path: Path) -> None:
    """HDF5 itself would store it, field by field in the wrong place."""
    write_batches(spool, [market("trade")])
    c = consolidate(spool, out, "trade", DAY, rules={}).certificate
    widths = {column.name: 8 for column in COLUMNS["trade"] if column.stored == "text"}
    block = np.zeros(1, dtype=[("index", "<i8"), ("price", "<f8")])
    with pytest.raises(TypeError, match="a block of"):
        write_whole(tmp_path / "x.h5", [block], widths, c, symbols_table({}, 8))


def test_polars_and_numpy_agree_on_nan(spool: Path, out: Path) -> None:
    """One bit pattern for NaN and none for −0.0, whatever the vendor's adapter made of them."""
    rows = frames([[event(price=-0.0, size=-NAN)]])
    write_batches(spool, [rows])
    path = consolidate(spool, out, "trade", DAY, rules={}).path
    with h5py.File(path) as file:
        row = file["trade/table"][0]
    assert pl.Series([float(row["price"])]).to_numpy().tobytes() == bytes(8)
    assert row["size"].tobytes().hex() == "000000000000f87f"
