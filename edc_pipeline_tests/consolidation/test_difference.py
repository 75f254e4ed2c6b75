"""What a re-run changed: by row, by symbol, by cause."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from edc_pipeline.cli.diff import diff
from edc_pipeline.consolidation import Order, consolidate, difference
from edc_pipeline.consolidation.difference import NotComparable
from edc_pipeline.consolidation.names import version_files
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


def made(spool: Path, out: Path) -> Path:
    return consolidate(spool, out, "trade", DAY, rules={}).path


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


@pytest.mark.parametrize("orders", [("time", "symbol"), ("symbol", "time"), ("symbol", "symbol")])
def test_in_whichever_order_rows_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, orders: tuple[Order, Order]
) -> None:
    """In several spans."""
    # By its full name: the package's `difference` is the function.
    module = sys.modules["edc_pipeline.consolidation.difference"]
    monkeypatch.setattr(module, "_STRETCH_CHUNKS", 1)
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
