"""A day in slices is the same day: any rows, any split over micro-batches and connections, any
order of files, however small the slices, give the reference's answer and one content hash."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - h5py reads the default codec with it
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edc_pipeline.consolidation import pipeline
from edc_pipeline.consolidation import slices as slices_
from edc_pipeline.consolidation.identity import Rules
from edc_pipeline.consolidation.make import Consolidated, consolidate
from edc_pipeline.consolidation.names import Order
from edc_pipeline.consolidation.plan import make_plan
from edc_pipeline.consolidation.slices import rows_of_a_slice
from edc_pipeline.consolidation.time_cuts import cuts
from edc_pipeline.consolidation.verification import verify
from edc_pipeline.events import COLUMNS, EVENT_TYPES, EventType
from edc_pipeline.vendors.contract import IdentityRule
from edc_pipeline_tests.consolidation.reference import consolidated, number
from edc_pipeline_tests.consolidation.spools import (
    DAY,
    OPEN,
    Row,
    event,
    frames,
    split,
    write_batches,
)
from edc_pipeline_tests.dice import examples

BY_ID: Rules = {("byid", "tape", t): IdentityRule("id", "id") for t in EVENT_TYPES}


@st.composite
def delivered(
    draw: st.DrawFn, event_type: EventType, sources: Sequence[str] = ("vendor", "vendor", "receive")
) -> list[Row]:
    """Events over a few stamps, of which many collide; frames delivered once, twice, thrice."""
    fields = st.fixed_dictionaries(
        {
            "ts_event": st.integers(OPEN, OPEN + 12),
            "ts_source": st.sampled_from(sources),
            "vendor": st.sampled_from(["acme", "byid"]),
            "symbol": st.sampled_from(["A", "B", "ZÜ"]),
            "event_id": st.sampled_from(["", "7", "8"]),
            "origin": st.sampled_from(["live", "backfill"]),
            "created_at": st.integers(OPEN, OPEN + 3),
        }
    )
    priced = "bid_price" if event_type == "quote" else "price"
    rows: list[Row] = []
    frame = 0
    for contents in draw(st.lists(st.lists(fields, min_size=1, max_size=3), max_size=14)):
        price = draw(st.sampled_from([0.0, -0.0, float("nan"), 1.5]))
        for connection in sorted(draw(st.sets(st.sampled_from("abc"), min_size=1))):
            again = [event(event_type, **{priced: price, **f}) for f in contents]
            rows += frames([again], connection, frame)
            frame += draw(st.integers(0, 1))
    return rows


def plain_rows(made: Consolidated) -> list[dict[str, Any]]:
    event_type = made.certificate.event_type
    with h5py.File(made.path) as file:
        records = file[event_type]["table"][:]
    return [
        {
            c.name: value.decode() if c.stored == "text" else number(value)
            for c, value in zip(COLUMNS[event_type], row[1:], strict=True)
        }
        for row in records.tolist()
    ]


def as_plain(row: Row) -> dict[str, Any]:
    fields = {name: getattr(row.event, name) for name in row.event.__struct_fields__}
    return {**fields, "connection": row.connection, "frame": row.frame}


@pytest.mark.parametrize("event_type", EVENT_TYPES)
@given(data=st.data(), parts=st.integers(1, 6), slice_rows=st.integers(2, 12))
@settings(max_examples=examples(25), deadline=None)
def test_any_split_in_any_slices_is_the_reference(
    event_type: EventType, data: st.DataObject, parts: int, slice_rows: int
) -> None:
    rows = data.draw(delivered(event_type).filter(bool))
    expected = consolidated([as_plain(r) for r in rows], event_type, {("byid", "tape"): True})
    shuffled = data.draw(st.permutations(rows))
    hashes = set()
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for at, (given_, size) in enumerate(((rows, 10**6), (shuffled, slice_rows))):
            patch.setattr(pipeline, "rows_of_a_slice", lambda *_, size=size: size)
            spool = Path(folder, f"spool{at}")
            write_batches(spool, split(given_, parts), event_type=event_type)
            made = consolidate(spool, Path(folder, f"daily{at}"), event_type, DAY, rules=BY_ID)
            c = made.certificate
            assert plain_rows(made) == [
                {k: number(v) for k, v in row.items()} for row in expected.rows
            ]
            assert c.duplicates.redelivered == expected.redelivered
            assert c.duplicates.other_connection == expected.other_connection
            assert c.duplicates.same_id == expected.same_id
            assert c.near_duplicates == expected.near_duplicates
            assert c.balanced
            found = verify(made.path, spool).findings
            assert [f for f in found if f.severity == "error"] == []
            hashes.add(c.content_hash)
    assert len(hashes) == 1


def busy_day(n: int = 4000) -> list[Row]:
    """Arrival out of order, stamps that repeat, a second connection, and some without a stamp."""
    dice = np.random.default_rng(5)
    stamps = OPEN + np.sort(dice.integers(0, n // 2, n)) * 1000 + dice.integers(-9, 9, n) * 100

    def once(late: int) -> list[list[Any]]:
        return [
            [
                event(
                    ts_event=int(t) if i % 10 else OPEN + i + late,
                    ts_source="vendor" if i % 10 else "receive",
                    symbol=f"S{i // 12 % 17}",
                    vendor="byid" if i % 3 else "acme",
                    event_id=str(i // 12) if i % 6 == 1 else "",
                    price=float(i % 40),
                    created_at=int(t) + late,
                )
            ]
            for i, t in enumerate(stamps)
        ]

    return [*frames(once(50), "a"), *frames(once(90), "b", first_frame=n)]


def test_slices_of_every_size_give_one_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = busy_day()
    spool = tmp_path / "spool"
    # Two files span the whole day, as a backfill does; the others follow each other.
    later = [rows[i : i + 400] for i in range(800, len(rows), 400)]
    write_batches(spool, [rows[:800:2], rows[1:800:2], *later])
    made = {}
    for size in (10**6, 2000, 300):
        monkeypatch.setattr(pipeline, "rows_of_a_slice", lambda *_, size=size: size)
        out = tmp_path / str(size)
        made[size] = consolidate(spool, out, "trade", DAY, rules=BY_ID)
        assert verify(made[size].path, spool).ok
        assert [p.name for p in out.iterdir() if p.name.endswith(".scratch")] == []
    assert len({m.certificate.content_hash for m in made.values()}) == 1
    assert len({m.certificate.near_duplicates for m in made.values()}) == 1


@pytest.mark.parametrize("size", [10**6, 700])
def test_order_by_symbol_holds_the_same_rows(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = tmp_path / "spool"
    write_batches(spool, [busy_day()[i::5] for i in range(5)])
    monkeypatch.setattr(pipeline, "rows_of_a_slice", lambda *_: size)
    by: dict[Order, Consolidated] = {
        order: consolidate(spool, tmp_path / order, "trade", DAY, rules=BY_ID, order=order)
        for order in ("time", "symbol")
    }
    assert verify(by["symbol"].path, spool).ok
    ordered = sorted(plain_rows(by["time"]), key=lambda row: row["symbol"].encode())
    assert plain_rows(by["symbol"]) == ordered
    with h5py.File(by["symbol"].path) as file:
        table, symbols = file["trade/table"][:], file["symbols"][:]
        near = file["near_duplicates"][:]
    for name, n, first in symbols.tolist():
        assert set(table["symbol"][first : first + n].tolist()) == {name}
    ids = [tuple(table[i][["vendor", "symbol", "event_id"]].item()) for i in near.tolist()]
    assert all(ids.count(one) > 1 for one in ids)
    assert by["time"].certificate.near_duplicates == by["symbol"].certificate.near_duplicates > 0
    again = consolidate(spool, tmp_path / "symbol", "trade", DAY, rules=BY_ID, order="symbol")
    assert again.unchanged


def test_cuts_hold_about_the_rows_wanted(tmp_path: Path) -> None:
    rows = frames([[event(ts_event=OPEN + i * 10**6)] for i in range(10_000)])
    write_batches(tmp_path, [rows[i : i + 500] for i in range(0, 10_000, 500)])
    plan = make_plan(tmp_path, "trade", DAY)
    at = cuts(plan.batches, 2_000).at
    edges = [OPEN, *at, OPEN + 10_000 * 10**6]
    held = np.diff(edges) // 10**6
    assert len(held) == 5
    assert held.max() < 2_100
    assert cuts(plan.batches, 10_000).at == []


def test_memory_decides_the_size_of_a_slice() -> None:
    sizes = [rows_of_a_slice(mib << 20, {}, 0) for mib in (512, 640, 1024, 8192)]
    assert sizes == sorted(sizes)
    assert sizes[0] >= slices_._FEWEST_ROWS
    assert sizes[-1] == slices_._MOST_ROWS
