"""What a re-run changed: by row, by symbol, by cause."""

from __future__ import annotations

import json
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from edc_pipeline.cli.diff import diff
from edc_pipeline.consolidation import h5_read
from edc_pipeline.consolidation.difference import NotComparable, difference
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.consolidation.names import Order, version_files
from edc_pipeline.spool.micro_batch import write_micro_batch
from edc_pipeline.spool.tables import rows_to_table
from edc_pipeline_tests.consolidation.spools import DAY, OPEN, Row, event, frames, write_batches


def day(n: int = 40_000, first_frame: int = 0) -> list[Row]:
    return frames(
        [
            [
                event(
                    ts_event=OPEN + i * 10**6,
                    created_at=OPEN + i * 10**6 + 900,
                    symbol=f"S{i % 3}",
                    event_id=str(i),
                    price=float(i),
                )
            ]
            for i in range(n)
        ],
        "b",
        first_frame,
    )


def made(spool: Path, out: Path, order: Order = "time") -> Path:
    return consolidate(spool, out, "trade", DAY, rules={}, order=order).path


@pytest.fixture
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    # By its full name: the package's `difference` is the function.
    monkeypatch.setattr(sys.modules["edc_pipeline.consolidation.stretches"], "_STRETCH_CHUNKS", 1)


def write_columns(spool: Path, rows: int, number: int = 0, **columns: object) -> None:
    """Many rows, a microsecond apart and of as many prices, but for the columns that are given."""
    at = np.arange(rows)
    table = rows_to_table("trade", [event()], ["a"], [0]).take(np.zeros(rows, int))
    default = {"ts_event": OPEN + at * 1000, "price": at / 8, "frame": number * 10**7 + at}
    for name, values in {**default, **columns}.items():
        column = table.column_names.index(name)
        given = pa.array(np.broadcast_to(np.asarray(values), rows))
        table = table.set_column(column, name, given.cast(table.schema.field(name).type))
    write_micro_batch(
        spool,
        event_type="trade",
        day=DAY,
        collector="one",
        first_frame=number * 10**7,
        last_frame=number * 10**7 + rows,
        table=table,
    )


def test_added_removed_and_changed(tmp_path: Path) -> None:
    rows = day()
    write_batches(tmp_path / "a", [rows[:20_000], rows[20_000:]])
    former = made(tmp_path / "a", tmp_path / "former")
    late = [
        event(ts_event=OPEN + 5, symbol="LONGER/NAME", origin="backfill"),
        event(ts_event=OPEN + 10**11, symbol="S1"),
    ]
    other = event(ts_event=OPEN + 7 * 10**6, symbol="S1", event_id="7", price=99.0)
    sooner = event(ts_event=OPEN + 9 * 10**6, created_at=OPEN, symbol="S0", event_id="9", price=9.0)
    kept = [r for i, r in enumerate(rows) if i not in (7, 20, 30_000)]
    added = frames([[e] for e in (*late, other, sooner)], "a", 10**6)
    write_batches(tmp_path / "b", [kept, added])
    new = made(tmp_path / "b", tmp_path / "new")
    found = difference(former, new)
    assert (found.added, found.removed, found.changed) == (2, 2, 2)
    assert found.rows == (40_000, 40_000)
    assert found.added_by_origin == {"backfill": 1, "live": 1}
    assert found.changed_columns["price"] == 1
    assert found.changed_columns["created_at"] >= 1
    told = {s: (of.added, of.removed, of.changed) for s, of in found.by_symbol.items()}
    assert told == {"S0": (0, 1, 1), "S1": (1, 0, 1), "S2": (0, 1, 0), "LONGER/NAME": (1, 0, 0)}
    back = difference(new, former)
    assert (back.added, back.removed, back.changed) == (2, 2, 2)


def test_what_a_late_micro_batch_changed(spool: Path, out: Path) -> None:
    write_batches(spool, [day(100)])
    made(spool, out)
    late = frames([[event(symbol="LATE", ts_event=OPEN + 50)]], "z", 10**6)
    write_batches(spool, [late], first_number=9)
    new = made(spool, out)
    called = CliRunner().invoke(diff, [str(version_files(new)[0]), str(new), "--json"])
    assert called.exit_code == 1
    told = json.loads(called.stdout)
    assert (told["same"], told["added"], told["removed"]) == (False, 1, 0)
    assert told["causes"] == ["1 micro-batches more, of 1 rows"]
    assert told["examples"][0]["symbol"] == "LATE"
    shown = CliRunner().invoke(diff, [str(version_files(new)[0]), str(new)])
    assert "1 added, 0 removed, 0 changed" in shown.stdout
    assert "LATE" in shown.stdout


def test_the_same(spool: Path, out: Path) -> None:
    write_batches(spool, [day(100)])
    path = made(spool, out)
    assert difference(path, path).same
    called = CliRunner().invoke(diff, [str(path), str(path)])
    assert called.exit_code == 0
    assert "the same content" in called.stdout


def test_files_that_cannot_be_compared(spool: Path, out: Path, tmp_path: Path) -> None:
    write_batches(spool, [day(100)])
    path = made(spool, out)
    quotes = [frames([[event("quote")]])]
    write_batches(spool, quotes, event_type="quote", first_number=5)
    other = consolidate(spool, out, "quote", DAY, rules={}).path
    with pytest.raises(NotComparable, match="holds trade"):
        difference(path, other)
    assert CliRunner().invoke(diff, [str(path), str(other)]).exit_code == 2
    foreign = tmp_path / "x.h5"
    foreign.write_bytes(b"no")
    # As `diff` itself has it: 1 says that they differ, and nothing else does.
    called = CliRunner().invoke(diff, [str(path), str(foreign)])
    assert called.exit_code == 2
    assert "x.h5: no seal at its end" in called.output


@pytest.mark.usefixtures("short_stretches")
@pytest.mark.parametrize("orders", [("time", "symbol"), ("symbol", "time"), ("symbol", "symbol")])
def test_in_whichever_order_rows_lie(tmp_path: Path, orders: tuple[Order, Order]) -> None:
    """In several spans."""
    rows = day(60_000)
    out = tmp_path / "daily"
    write_batches(tmp_path / "a", [rows])
    write_batches(tmp_path / "b", [[r for i, r in enumerate(rows) if i not in (3, 59_999)]])
    files = {
        (spool, order): consolidate(
            tmp_path / spool, out / spool / order, "trade", DAY, rules={}, order=order
        ).path
        for spool in "ab"
        for order in orders
    }
    found = difference(files["a", orders[0]], files["b", orders[1]])
    assert (found.added, found.removed, found.changed) == (0, 2, 0)
    assert sorted(e.ts_event for e in found.examples) == [OPEN + 3 * 10**6, OPEN + 59_999 * 10**6]
    same = difference(files["a", orders[0]], files["a", orders[1]])
    assert same.same
    told = f"in the order of {orders[0]} before, of {orders[1]} now"
    assert (told in same.causes) == (orders[0] != orders[1])


@pytest.mark.usefixtures("short_stretches")
@pytest.mark.parametrize("rows", [100, 60_000])
@pytest.mark.parametrize("what", [{"ts_source": "receive"}, {"event_id": "7"}])
def test_a_row_heard_at_another_hour_is_changed_in_a_file_of_any_size(
    tmp_path: Path, rows: int, what: dict[str, str]
) -> None:
    files = []
    for side, heard in (("a", OPEN - 10**9), ("b", OPEN + 3600 * 10**9)):
        write_columns(tmp_path / side, rows)
        write_columns(tmp_path / side, 1, 1, ts_event=heard, symbol="QQQ", **what)
        files.append(made(tmp_path / side, tmp_path / "daily" / side))
    for former, new in (files, files[::-1]):
        found = difference(former, new)
        assert (found.added, found.removed, found.changed) == (0, 0, 1)
        assert found.changed_columns == {"ts_event": 1}
        assert [(e.symbol, e.columns) for e in found.examples] == [("QQQ", ["ts_event"])]


@pytest.mark.usefixtures("short_stretches")
def test_all_heard_at_another_hour(tmp_path: Path) -> None:
    """More than are kept in memory: by their ids, where one is without an equal, and by content,
    where each of several prints has its own."""
    n = 60_000
    at = np.arange(n)
    for side, hours, ids in (("a", 0, at), ("b", 1, at[::-1] + 5)):
        stamps = OPEN + hours * 3600 * 10**9 + at * 1000
        write_columns(tmp_path / side, n, ts_event=stamps, event_id=ids.astype(str))
        write_columns(
            tmp_path / side, n, 1, ts_event=stamps, ts_source="receive", price=at // 3, symbol="OWN"
        )
    former, new = (made(tmp_path / side, tmp_path / "daily" / side) for side in "ab")
    for one, other in ((former, new), (new, former)):
        found = difference(one, other)
        assert (found.added, found.removed, found.changed) == (5, 5, 2 * n - 5)
        assert found.by_symbol["OWN"].changed == n
        assert found.changed_columns["ts_event"] == 2 * n - 5


@pytest.mark.usefixtures("short_stretches")
@pytest.mark.parametrize("orders", [("time", "time"), ("time", "symbol"), ("symbol", "symbol")])
def test_an_instant_longer_than_a_stretch(tmp_path: Path, orders: tuple[Order, Order]) -> None:
    n = 60_000
    stamps = OPEN + np.maximum(0, np.arange(n) - 50_000) * 1000
    for side, first in (("a", 0), ("b", 7)):
        price = (np.arange(n) + (np.arange(n) < 50_000) * first) / 8
        symbol = np.array(["SPY", "QQQ"])[(price * 8).astype(int) % 2]
        write_columns(tmp_path / side, n, ts_event=stamps, price=price, symbol=symbol)
    former, new = (
        made(tmp_path / side, tmp_path / "daily" / side, order)
        for side, order in zip("ab", orders, strict=True)
    )
    for one, other in ((former, new), (new, former)):
        found = difference(one, other)
        assert (found.added, found.removed, found.changed) == (7, 7, 0)
        assert found.by_symbol["SPY"].added + found.by_symbol["QQQ"].added == 7


@pytest.mark.usefixtures("short_stretches")
@pytest.mark.parametrize(("order", "apart"), [("time", 1000), ("time", 0), ("symbol", 0)])
def test_what_memory_it_takes_is_not_that_of_the_longer_file(
    tmp_path: Path, order: Order, apart: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an early file and the day, whichever comes first."""
    # How far the threads that unpack get ahead is chance, and is bounded elsewhere.
    monkeypatch.setattr(h5_read, "_AHEAD", 1)
    write_columns(tmp_path / "early", 100, ts_event=OPEN)
    early = made(tmp_path / "early", tmp_path / "daily" / "early")
    peaks: dict[str, list[int]] = {"longer second": [], "longer first": []}
    for n in (100_000, 300_000):
        spool = tmp_path / f"{n}"
        write_columns(spool, n, ts_event=OPEN + np.arange(n) * apart, created_at=OPEN)
        day = made(spool, tmp_path / "daily" / f"{n}", order)
        for name, files in (("longer second", (early, day)), ("longer first", (day, early))):
            tracemalloc.start()
            found = difference(*files)
            peaks[name].append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            assert abs(found.added - found.removed) == n - 100
    for name, (short, long) in peaks.items():
        assert long < 1.5 * short, name
