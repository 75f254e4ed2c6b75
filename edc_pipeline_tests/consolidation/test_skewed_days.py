"""Days whose rows lie anything but evenly: slices stay as small as memory allows, and the rows are
the same as in one slice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edc_pipeline
from edc_pipeline.consolidation import day_rows, pipeline, slices
from edc_pipeline.consolidation.identity import Rules, Settled, settle
from edc_pipeline.consolidation.make import Consolidated, consolidate
from edc_pipeline.consolidation.plan import make_plan
from edc_pipeline.consolidation.rows import Rows
from edc_pipeline.consolidation.slices import Reading, Slice
from edc_pipeline.consolidation.time_cuts import cuts
from edc_pipeline.consolidation.verification import verify
from edc_pipeline.events import AnyEvent
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
from edc_pipeline_tests.consolidation.test_slices import BY_ID, as_plain, delivered, plain_rows
from edc_pipeline_tests.dice import examples

ROWS, BATCHES, SLICE_ROWS = 6_000, 12, 500
HOUR = 3600 * 10**9
Stamps = Callable[[np.random.Generator], np.ndarray]


def in_one_minute(dice: np.random.Generator) -> np.ndarray:
    """All but two rows of each micro-batch, which span the day."""
    stamps = OPEN + dice.integers(0, 60 * 10**9, ROWS)
    stamps[:BATCHES] = OPEN - 9 * HOUR
    stamps[-BATCHES:] = OPEN + 14 * HOUR
    return stamps


def at_one_instant(dice: np.random.Generator) -> np.ndarray:
    return np.full(ROWS, OPEN)


def mostly_at_two_instants(dice: np.random.Generator) -> np.ndarray:
    stamps = OPEN + dice.integers(0, HOUR, ROWS)
    which = dice.random(ROWS)
    stamps[which < 0.4] = OPEN + HOUR // 2
    stamps[which > 0.7] = OPEN + HOUR // 2 + 1
    return stamps


def in_the_first_and_last_minutes(dice: np.random.Generator) -> np.ndarray:
    stamps = OPEN + dice.integers(0, 6 * HOUR, ROWS)
    which = dice.random(ROWS)
    stamps[which < 0.25] = OPEN + dice.integers(0, 300 * 10**9, ROWS)[which < 0.25]
    stamps[which > 0.75] = OPEN + 6 * HOUR + dice.integers(0, 300 * 10**9, ROWS)[which > 0.75]
    return stamps


DAYS: list[Stamps] = [
    in_one_minute,
    at_one_instant,
    mostly_at_two_instants,
    in_the_first_and_last_minutes,
]


def spool_of(stamps: Stamps, spool: Path) -> list[Row]:
    """With rows that a second connection sends again, and some with ids."""
    dice = np.random.default_rng(9)
    at = stamps(dice)
    received = at + dice.integers(0, 10**6, ROWS)

    def heard(late: int) -> list[list[AnyEvent]]:
        return [
            [
                event(
                    ts_event=int(at[i]),
                    symbol=f"S{i % 23}",
                    vendor="byid" if i % 3 else "acme",
                    event_id=str(i // 4) if i % 6 == 1 else "",
                    price=float(i % 40),
                    seq=i % 5 - 1,
                    created_at=int(received[i]) + late,
                )
            ]
            for i in range(ROWS)
        ]

    rows = [*frames(heard(0), "a"), *frames(heard(70), "b", first_frame=ROWS)[: ROWS // 10]]
    write_batches(spool, [rows[n::BATCHES] for n in range(BATCHES)])
    return rows


@pytest.mark.parametrize("stamps", DAYS)
def test_no_slice_is_too_large_and_the_rows_are_the_same(
    tmp_path: Path, stamps: Stamps, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = tmp_path / "spool"
    rows = spool_of(stamps, spool)
    whole = consolidate(spool, tmp_path / "whole", "trade", DAY, rules=BY_ID)
    counts: list[int] = []

    def counted(rows: Rows, rules: Rules, *, settled_from: int | None = None) -> Settled:
        counts.append(rows.count)
        return settle(rows, rules, settled_from=settled_from)

    monkeypatch.setattr(pipeline, "settle", counted)
    monkeypatch.setattr(slices, "settle", counted)
    monkeypatch.setattr(pipeline, "rows_of_a_slice", lambda *_: SLICE_ROWS)
    sliced = consolidate(spool, tmp_path / "sliced", "trade", DAY, rules=BY_ID)
    assert sum(counts) >= whole.certificate.rows
    assert max(counts) < 1.5 * SLICE_ROWS
    assert whole.certificate.content_hash == sliced.certificate.content_hash
    assert whole.certificate.duplicates == sliced.certificate.duplicates
    assert whole.certificate.duplicates.total >= ROWS // 10
    assert whole.certificate.near_duplicates == sliced.certificate.near_duplicates
    assert whole.certificate.feeds == sliced.certificate.feeds
    assert whole.certificate.rows_in == len(rows)
    assert verify(sliced.path, spool).ok


@pytest.mark.parametrize("stamps", DAYS)
def test_read_from_the_spool(
    tmp_path: Path, stamps: Stamps, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool_of(stamps, tmp_path / "spool")
    whole = edc_pipeline.read("trade", DAY, data=tmp_path)
    monkeypatch.setattr(day_rows, "_SPOOL_SLICE_ROWS", SLICE_ROWS)
    sliced = edc_pipeline.read("trade", DAY, data=tmp_path)
    for name in whole:
        text = whole[name].dtype == "category"
        assert (whole[name].astype(str) if text else whole[name]).equals(
            sliced[name].astype(str) if text else sliced[name]
        ), name


@given(
    data=st.data(),
    parts=st.integers(1, 5),
    slice_rows=st.integers(1, 6),
    full=st.integers(0, 12),
)
@settings(max_examples=examples(30), deadline=None)
def test_any_day_of_one_busy_instant_is_the_reference(
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    parts: int,
    slice_rows: int,
    full: int,
) -> None:
    rows = data.draw(delivered("trade").filter(bool))
    for row in rows:
        row.event.ts_event = min(OPEN + full, row.event.ts_event)
    expected = consolidated([as_plain(r) for r in rows], "trade", {("byid", "tape"): True})
    folder = tmp_path_factory.mktemp("busy")
    write_batches(folder / "spool", split(data.draw(st.permutations(rows)), parts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "rows_of_a_slice", lambda *_: slice_rows)
        made: Consolidated = consolidate(
            folder / "spool", folder / "daily", "trade", DAY, rules=BY_ID
        )
    assert plain_rows(made) == [{k: number(v) for k, v in row.items()} for row in expected.rows]
    assert made.certificate.duplicates.redelivered == expected.redelivered
    assert made.certificate.duplicates.other_connection == expected.other_connection
    assert made.certificate.duplicates.same_id == expected.same_id
    assert made.certificate.balanced


def test_a_usual_day_is_cut_by_its_footers_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = frames([[event(ts_event=OPEN + i * 10**6)] for i in range(5_000)])
    paths = write_batches(tmp_path, [rows[i : i + 100] for i in range(0, 5_000, 100)])
    plan = make_plan(tmp_path, "trade", DAY)
    for path in paths:
        path.unlink()  # nothing is there to look at
    found = cuts(plan.batches, 1_000)
    held = np.diff([OPEN, *found.at, OPEN + 5_000 * 10**6]) // 10**6
    assert len(held) == 5
    assert held.max() < 1_050
    assert found.full == []


def test_what_cannot_be_read_is_cut_as_its_footer_says(tmp_path: Path) -> None:
    """It is found out, and set aside, when it is read in earnest."""
    spool = tmp_path / "spool"
    spool_of(in_one_minute, spool)
    plan = make_plan(spool, "trade", DAY)
    plan.batches[3].path.write_bytes(b"PAR1")
    assert len(cuts(plan.batches, SLICE_ROWS).at) > BATCHES / 2


def test_each_slice_says_until_when_all_is_given(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool_of(mostly_at_two_instants, spool)
    plan = make_plan(spool, "trade", DAY)
    given_: list[Slice] = list(
        slices.slices(plan, BY_ID, SLICE_ROWS, tmp_path / "scratch", Reading(), lambda _rows: None)
    )
    for number_, slice_ in enumerate(given_[:-1]):
        assert slice_.until is not None
        later = np.concatenate([s.rows.numbers["ts_event"] for s in given_[number_ + 1 :]])
        assert later.min() >= slice_.until
    assert given_[-1].until is None
