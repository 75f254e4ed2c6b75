"""A day is made anew, retired, compacted or damaged between the call of `edc_pipeline.read`, its
first rows and its last: what is given is of one state of the day, or it is said that it is not."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import edc_pipeline
from edc_pipeline.consolidation import certificate, day_rows, h5_read, retention, verification
from edc_pipeline.consolidation.errors import CannotConsolidate, NoSuchData, RowsMissing
from edc_pipeline.consolidation.glance import summary
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.consolidation.names import Order
from edc_pipeline.consolidation.verification import verify
from edc_pipeline.durable_file import fsync_path
from edc_pipeline.market_day import midnight_ns
from edc_pipeline.spool.compaction import compact
from edc_pipeline.spool.layout import batch_files
from edc_pipeline.spool.ledger import Ledger
from edc_pipeline_tests.consolidation.spools import DAY, OPEN, event, frames, write_batches

LATER = midnight_ns(DAY) + 10 * 86_400 * 10**9
BATCHES, ROWS = 20, 100


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(day_rows, "_SPOOL_SLICE_ROWS", ROWS)
    Ledger(tmp_path / "spool").collector_started("one", OPEN)
    land(tmp_path, range(BATCHES))
    return tmp_path


def land(data: Path, numbers: range, day: dt.date = DAY) -> None:
    for k in numbers:
        at = [midnight_ns(day) + (OPEN - midnight_ns(DAY)) + k * ROWS + i for i in range(ROWS)]
        rows = [event(ts_event=t, created_at=t, symbol="SPY" if t % 2 else "QQQ") for t in at]
        batch = frames([[row] for row in rows], first_frame=k * ROWS)
        collector = "one" if day == DAY else f"{day}"
        write_batches(data / "spool", [batch], day=day, collector=collector, first_number=k)


def make(data: Path, order: Order = "time", day: dt.date = DAY) -> Path:
    out = data / "daily"
    return consolidate(data / "spool", out, "trade", day, rules={}, order=order, now_ns=LATER).path


def retire(data: Path, day: dt.date = DAY) -> None:
    assert retention.retire(data / "spool", data / "daily", "trade", day).removed


def in_blocks(data: Path, symbols: str | None = None) -> Iterator[pd.DataFrame]:
    found: Iterator[pd.DataFrame] = edc_pipeline.read(
        "trade", DAY, symbols=symbols, blocks=70, data=data
    )
    return found


@pytest.mark.parametrize(("first", "then"), [("symbol", "time"), ("time", "symbol")])
def test_made_in_another_order_before_the_first_block(
    data: Path, first: Order, then: Order
) -> None:
    make(data, first)
    blocks = in_blocks(data, "SPY")
    make(data, then)
    found = list(blocks)
    assert {s for block in found for s in block["symbol"]} == {"SPY"}
    assert sum(map(len, found)) == BATCHES * ROWS // 2
    state = found[-1].attrs["days"]["2026-01-22"]
    assert (state["state"], state["rows"]) == ("restated", BATCHES * ROWS // 2)
    assert found[0].attrs["days"]["2026-01-22"]["rows"] == 70


def test_made_in_another_order_after_the_first_block(data: Path) -> None:
    make(data, "symbol")
    blocks = in_blocks(data, "SPY")
    found = [next(blocks)]
    make(data, "time")
    found += blocks  # of the file that it began with
    assert {s for block in found for s in block["symbol"]} == {"SPY"}
    assert sum(map(len, found)) == BATCHES * ROWS // 2


def test_retired_before_the_first_block(data: Path) -> None:
    blocks = in_blocks(data)
    make(data)
    retire(data)
    found = list(blocks)
    assert sum(map(len, found)) == BATCHES * ROWS
    assert found[0].attrs["days"]["2026-01-22"]["state"] == "sealed"


def test_retired_before_the_first_block_and_more_landed(data: Path) -> None:
    blocks = in_blocks(data)
    make(data)
    retire(data)
    land(data, range(BATCHES, BATCHES + 1))
    with pytest.warns(RowsMissing, match="1 micro-batches of trade of 2026-01-22 have landed"):
        found = list(blocks)
    assert sum(map(len, found)) == BATCHES * ROWS
    assert found[0].attrs["days"]["2026-01-22"]["state"] == "provisional"


@pytest.mark.parametrize("late", [0, 1])
def test_retired_after_the_first_block(data: Path, late: int) -> None:
    blocks = in_blocks(data)
    next(blocks)
    make(data)
    retire(data)
    land(data, range(BATCHES, BATCHES + late))
    with pytest.raises(NoSuchData, match=r"20 micro-batches of trade.*read it again"):
        list(blocks)
    if not late:
        assert sum(map(len, in_blocks(data))) == BATCHES * ROWS


def test_removed_by_hand_after_the_first_block(data: Path) -> None:
    blocks = in_blocks(data)
    next(blocks)
    batch_files(data / "spool", "trade", DAY)[-1].unlink()
    with pytest.raises(NoSuchData, match=r"1 micro-batches of trade.*were removed from"):
        list(blocks)


def test_compacted_after_the_first_block(data: Path) -> None:
    blocks = in_blocks(data)
    found = len(next(blocks))
    Ledger(data / "spool").flushed("one", through_frame=10**6, at=OPEN, frames={}, events={})
    assert compact(data / "spool", "trade", DAY).written
    assert found + sum(map(len, blocks)) == BATCHES * ROWS


def grows_at(
    name: str, module: object, data: Path, monkeypatch: pytest.MonkeyPatch, **more: Any
) -> list[int]:
    """The day grows, and is made anew, at the first call of a function."""
    real, grown = getattr(module, name), list[int]()

    def called(*asked: Any, **named: Any) -> Any:
        if not grown:
            grown.append(1)
            land(data, range(BATCHES, BATCHES + 1))
            consolidate(data / "spool", data / "daily", "trade", DAY, rules={}, **more)
        return real(*asked, **named)

    monkeypatch.setattr(module, name, called)
    return grown


@pytest.mark.parametrize("versions", [0, 3])
def test_made_anew_between_the_opening_and_hdf5s(
    data: Path, monkeypatch: pytest.MonkeyPatch, versions: int
) -> None:
    """Of a file that lost its name HDF5 can't tell the real path."""
    make(data)
    grown = grows_at("hdf5_of", h5_read, data, monkeypatch, versions=versions)
    assert len(edc_pipeline.read("trade", DAY, data=data)) in (BATCHES * ROWS, 2_100)
    assert grown


@pytest.mark.parametrize("step", ["broken_seal", "wrong_checksums", "certificate_in"])
def test_made_anew_while_it_is_verified(
    data: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = make(data)
    grown = grows_at(step, verification, data, monkeypatch)
    found = verify(path)
    assert grown
    assert found.ok, found.findings
    assert (found.rows, found.certificate and found.certificate.rows) == (2_100, 2_100)


@pytest.mark.parametrize("step", ["broken_seal", "certificate_in"])
def test_made_anew_while_it_is_shown(
    data: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = make(data)
    grown = grows_at(step, certificate, data, monkeypatch)
    shown = summary(path)
    assert grown
    assert (shown.rows, shown.certificate.rows) == (2_100, 2_100)


def test_a_range_does_not_pass_over_a_day_whose_file_is_lost(data: Path) -> None:
    days = [DAY + dt.timedelta(n) for n in range(-2, 1)]
    for day in days[:2]:
        land(data, range(2), day)
    files = [make(data, day=day) for day in days]
    retire(data, days[1])
    files[1].unlink()
    with pytest.raises(NoSuchData, match="micro-batches of trade of 2026-01-21 were retired"):
        edc_pipeline.read("trade", (days[0], days[2]), data=data)


def test_retired_while_a_consolidation_waits_for_its_turn(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that is late lands in between: the file that holds the retired ones stays."""
    path = make(data)
    said: list[Exception] = []

    def make_again() -> None:
        try:
            make(data)
        except CannotConsolidate as error:
            said.append(error)

    again = threading.Thread(target=make_again)

    def long_verify(file: Path) -> object:
        again.start()
        time.sleep(0.5)
        return verify(file)

    def landing(folder: Path) -> None:
        land(data, range(BATCHES, BATCHES + 1))
        fsync_path(folder)

    with monkeypatch.context() as held_up:
        held_up.setattr(retention, "verify", long_verify)
        held_up.setattr(retention, "fsync_path", landing)
        retire(data)
        again.join()
    assert "landed after those of its daily file were retired" in str(said[0])
    assert len(pd.read_hdf(path)) == BATCHES * ROWS


def test_what_a_damaged_compaction_replaced_counts_while_it_is_there(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A death between its writing and its removing, and then damage."""
    spool = data / "spool"
    Ledger(spool).flushed("one", through_frame=10**6, at=OPEN, frames={}, events={})
    with monkeypatch.context() as dying:
        dying.setattr("edc_pipeline.spool.compaction._remove", lambda *_a, **_k: None)
        (written,) = compact(spool, "trade", DAY).written
    path = next(p for p in batch_files(spool, "trade", DAY) if p.name == written)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 4
    path.write_bytes(content)
    with pytest.warns(RowsMissing, match=r"\(0 rows\).*all that it was put together of is read"):
        assert len(edc_pipeline.read("trade", DAY, data=data)) == BATCHES * ROWS
    make(data)
    land(data, range(BATCHES, BATCHES + 1))
    made = consolidate(spool, data / "daily", "trade", DAY, rules={}).certificate
    assert (made.rows, [s.name for s in made.set_aside]) == ((BATCHES + 1) * ROWS, [written])
    compact(spool, "trade", DAY)
    assert len(batch_files(spool, "trade", DAY)) == 1
    made = consolidate(spool, data / "daily", "trade", DAY, rules={}).certificate
    assert (made.rows, made.set_aside) == ((BATCHES + 1) * ROWS, [])
