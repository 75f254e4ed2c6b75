"""C4: a micro-batch is whole or not there, says what it holds, and any engine opens the folder."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edc_pipeline.coded import Coded, Words
from edc_pipeline.events import COLUMNS, EVENT_TYPES, AnyEvent, EventType
from edc_pipeline.spool.layout import batch_files, day_folder, days_in
from edc_pipeline.spool.micro_batch import (
    Footer,
    UnreadableBatch,
    read_footer,
    read_micro_batch,
    write_micro_batch,
)
from edc_pipeline.spool.tables import columns_to_table, rows_to_table, stack
from edc_pipeline_tests.market import NOON, events, quote, ref_px, trade

DAY = dt.date(2026, 1, 22)


def write(
    spool: Path, rows: list[AnyEvent], *, first: int = 0, collector: str = "c1"
) -> tuple[Path, Footer]:
    event_type = rows[0].event_type
    frames = range(first, first + len(rows))
    return write_micro_batch(
        spool,
        event_type=event_type,
        day=DAY,
        collector=collector,
        first_frame=first,
        last_frame=first + len(rows) - 1,
        table=rows_to_table(event_type, rows, ["c1/stocks/0.0"] * len(rows), list(frames)),
    )


@given(st.lists(events(), min_size=1, max_size=30), st.sampled_from(EVENT_TYPES))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_is_read_is_what_was_written(
    tmp_path: Path, mixed: list[AnyEvent], event_type: EventType
) -> None:
    rows = [e for e in mixed if e.event_type == event_type]
    if not rows:
        return
    path, footer = write(tmp_path, rows)
    assert read_footer(path) == footer
    assert footer.rows == len(rows)
    assert footer.min_ts_event == min(e.ts_event for e in rows)
    assert footer.max_ts_event == max(e.ts_event for e in rows)
    table = read_micro_batch(path, event_type)
    read = [tuple(row.values())[:-2] for row in table.to_pylist()]
    assert repr(read) == repr([msgspec.structs.astuple(e) for e in rows])
    assert table["frame"].to_pylist() == list(range(len(rows)))


def test_its_name_says_whose_it_is_and_which_frames(tmp_path: Path) -> None:
    path, _ = write(tmp_path, [trade(), trade()], first=7)
    assert path.relative_to(tmp_path) == Path(
        "event_type=trade/day=2026-01-22/c1-000000000007-000000000008.parquet"
    )
    assert batch_files(tmp_path, "trade", DAY) == [path]
    for other in ("day=", "day=copy of 2026-01-22", "day=9999-12-31"):
        (day_folder(tmp_path, "trade", DAY).parent / other).mkdir()
    assert list(days_in(tmp_path)) == [("trade", DAY)]


def test_text_has_a_dictionary_numbers_have_none_and_pages_have_checksums(tmp_path: Path) -> None:
    path, _ = write(tmp_path, [trade(price=float(i)) for i in range(50)])
    group = pq.read_metadata(path).row_group(0)
    for i, column in enumerate((*COLUMNS["trade"],)):
        chunk = group.column(i)
        assert chunk.compression == "ZSTD"
        repeats = column.stored == "text" and column.name != "event_id"
        assert chunk.has_dictionary_page == repeats, column.name


def test_other_engines_open_the_folder(tmp_path: Path) -> None:
    stamp = NOON + 123_456_789
    write(tmp_path, [trade(ts_event=stamp), trade(symbol="AAPL", ts_event=stamp)])
    write(tmp_path, [trade(ts_event=stamp + 1)], first=2)
    write(tmp_path, [quote()])
    write(tmp_path, [ref_px()])
    (tmp_path / "_quarantine").mkdir()
    folder = tmp_path / "event_type=trade"
    hidden = day_folder(tmp_path, "trade", DAY) / ".half.parquet.1.tmp"
    hidden.write_bytes(b"half")
    assert len(pd.read_parquet(folder)) == 3
    frame = pl.scan_parquet(str(folder / "**/*.parquet"), hive_partitioning=True).collect()
    assert sorted(frame["ts_event"].to_list()) == [stamp, stamp, stamp + 1]
    assert {str(d) for d in frame["day"].to_list()} == {"2026-01-22"}
    query = (
        f"select count(*), max(ts_event) from read_parquet('{folder}/*/*.parquet',"
        " hive_partitioning = true) where day = '2026-01-22'"
    )
    # In a process of its own: at its end DuckDB's binding fills the screen with what it leaked.
    code = f"import duckdb; print(duckdb.execute({query!r}).fetchall())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([(3, stamp + 1)])
    assert ds.dataset(folder, partitioning="hive").count_rows() == 3


def test_a_footer_is_found_without_parquets_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its key and its checksum; what is not vouched for, or longer, is looked up as parquet."""
    path, footer = write(tmp_path, [trade(symbol="Ü" * 40)])
    long, long_footer = write_micro_batch(
        tmp_path,
        event_type="trade",
        day=DAY,
        collector="c2",
        first_frame=0,
        last_frame=9,
        table=read_micro_batch(path, "trade"),
        replaces=[f"c1-{n:012d}-{n:012d}.parquet" for n in range(2_000)],
    )
    assert read_footer(long) == long_footer
    path.with_name("another").write_bytes(path.read_bytes().replace(b"edc_crc32", b"edc_crc33"))
    with pytest.raises(UnreadableBatch, match="does not agree with its checksum"):
        read_footer(path.with_name("another"))
    monkeypatch.setattr(pq, "read_metadata", lambda _: pytest.fail("asked parquet"))
    assert read_footer(path) == footer


@pytest.mark.parametrize("keep", [0, 3, 200, -1])
def test_a_cut_file_is_told(tmp_path: Path, keep: int) -> None:
    path, _ = write(tmp_path, [trade()])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(UnreadableBatch, match=path.name):
        read_footer(path)


def test_no_flipped_bit_gives_other_rows(tmp_path: Path) -> None:
    """Each bit, one after the other: told, or harmless. Never another value."""
    path, footer = write(tmp_path, [trade(price=float(i), ts_event=NOON + i) for i in range(20)])
    sound = path.read_bytes()
    expected = read_micro_batch(path, "trade")
    told = 0
    for at in range(0, len(sound), 7):
        damaged = bytearray(sound)
        damaged[at] ^= 1 << (at % 8)
        path.write_bytes(damaged)
        try:
            assert read_footer(path) == footer
            assert read_micro_batch(path, "trade").equals(expected)
        except UnreadableBatch:
            told += 1
    assert told > 0


def test_a_foreign_parquet_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pd.DataFrame({"a": [1]}).to_parquet(path)
    with pytest.raises(UnreadableBatch, match="edc"):
        read_footer(path)
    with pytest.raises(UnreadableBatch, match="columns"):
        read_micro_batch(path, "trade")


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    day_folder(tmp_path, "trade", DAY).mkdir(parents=True)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path, [trade()])
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


@given(
    st.lists(st.sampled_from(["SPY", "QQQ", "ZÜRN", "IWM"]), min_size=1, max_size=40),
    st.integers(0, 40),
)
def test_columns_are_written_as_the_rows_that_they_are(symbols: list[str], split: int) -> None:
    """By whichever way rows came, and mixed: one file, and one footer."""
    rows = [
        trade(symbol=symbol, event_id=str(7 + n), seq=7 + n, ts_event=NOON + n)
        for n, symbol in enumerate(symbols)
    ]
    words, frames, split = Words("never heard", "IWM"), np.arange(len(rows)), min(split, len(rows))
    first = rows[0]
    parts = []
    for part in (slice(0, split), slice(split, None)):
        mine = rows[part]
        numbers = {
            name: np.array([getattr(row, name) for row in mine])
            for name in ("ts_event", "created_at", "price", "size")
        }
        ids = np.array([row.seq for row in mine], np.int64)
        numbers |= {"seq": ids, "event_id": ids, "frame": frames[part]}
        constants = {"vendor": first.vendor, "feed": first.feed, "asset_class": first.asset_class}
        constants |= {"connection": "one", "venue": first.venue, "ts_source": first.ts_source}
        coded = {"symbol": Coded.of([row.symbol for row in mine], words)}
        texts: dict[str, list[str]] = {
            "side": [row.side for row in mine],
            "conditions": [r.conditions for r in mine],
        }
        if mine:
            parts.append(columns_to_table("trade", constants, numbers, coded, texts))
    connections = ["one"] * len(rows)
    as_rows = rows_to_table("trade", rows, connections, frames.tolist())
    tables = [as_rows, stack(parts)]
    if 0 < split < len(rows):
        after = rows_to_table("trade", rows[split:], connections[split:], frames[split:].tolist())
        tables.append(stack([parts[0], after]))
    found = []
    for table in tables:
        with tempfile.TemporaryDirectory() as folder:
            path, footer = write_micro_batch(
                Path(folder),
                event_type="trade",
                day=DAY,
                collector="c",
                first_frame=0,
                last_frame=len(rows),
                table=table,
            )
            found.append((read_micro_batch(path, "trade"), footer))
            assert read_footer(path) == footer
    for table, footer in found[1:]:
        assert table.equals(found[0][0])
        assert footer == found[0][1]
