"""A day that grows, made out of its former file and what is new, is the day made in full."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - h5py reads the default codec with it
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edc_pipeline.consolidation import attempt, growth, pipeline, slices
from edc_pipeline.consolidation.batch_rows import read_batch
from edc_pipeline.consolidation.certificate import Certificate
from edc_pipeline.consolidation.identity import Rules
from edc_pipeline.consolidation.make import Consolidated
from edc_pipeline.consolidation.make import consolidate as at_any_time
from edc_pipeline.consolidation.names import NEAR_DUPLICATES, SYMBOLS
from edc_pipeline.consolidation.verification import verify
from edc_pipeline.events import EVENT_TYPES, EventType
from edc_pipeline_tests.consolidation.spools import (
    DAY,
    OPEN,
    Row,
    event,
    frames,
    write_batches,
)
from edc_pipeline_tests.consolidation.test_bad_inputs import flip_in_a_page, rewritten
from edc_pipeline_tests.consolidation.test_slices import BY_ID, busy_day, delivered
from edc_pipeline_tests.dice import examples

consolidate = partial(at_any_time, now_ns=OPEN)  # during the day, while it is provisional

CHUNK = 8  # rows: small days have whole chunks, too


class Spy:
    """Which files were made as grown, and why others were not after all."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.refused: list[str] = []
        self.taken_over: list[int] = []
        patch.setattr(pipeline, "take_over", self._take_over)

    def _take_over(self, *given_: Any) -> growth.TakenOver:
        try:
            taken = growth.take_over(*given_)
        except growth.NotGrown as error:
            self.refused.append(str(error))
            raise
        self.taken_over.append(len(taken.digests))
        return taken


def from_the_first_row_on(patch: pytest.MonkeyPatch) -> Spy:
    """However small a day, and whatever part of it is new."""
    patch.setattr(growth, "GROWN_ROWS", 0)
    patch.setattr(growth, "_WORTH", 0.0)
    for name, module in list(sys.modules.items()):
        if name.startswith("edc_pipeline.consolidation") and hasattr(module, "CHUNK_ROWS"):
            patch.setattr(module, "CHUNK_ROWS", CHUNK)
    return Spy(patch)


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Spy:
    return from_the_first_row_on(monkeypatch)


FULL = "an instant holds too many rows to be counted with the others"


def content(made: Consolidated) -> list[Any]:
    event_type = made.certificate.event_type
    with h5py.File(made.path) as file:
        near = file[NEAR_DUPLICATES][:].tolist() if NEAR_DUPLICATES in file else []
        return [file[event_type]["table"][:].tobytes(), file[SYMBOLS][:].tolist(), near]


def assert_as_in_full(made: Consolidated, spool: Path, rules: Rules = BY_ID) -> None:
    errors = [f for f in verify(made.path, spool).findings if f.severity == "error"]
    assert [f for f in errors if f.check != "ledger" or made.certificate.balanced] == []
    with tempfile.TemporaryDirectory() as folder:
        full = consolidate(spool, Path(folder), made.certificate.event_type, DAY, rules=rules)
        assert made.certificate == full.certificate
        assert content(made) == content(full)


@pytest.mark.parametrize("event_type", EVENT_TYPES)
@given(data=st.data(), slice_rows=st.sampled_from([3, 10**6]))
@settings(max_examples=examples(20), deadline=None)
def test_any_growth_is_the_day_in_full(
    event_type: EventType, data: st.DataObject, slice_rows: int
) -> None:
    """Any rows, given in two or three instalments, of which the later ones overlap the former."""
    rows = data.draw(delivered(event_type, sources=("vendor",)).filter(lambda r: len(r) > 2))
    if data.draw(st.booleans()):
        rows.sort(key=lambda row: row.event.ts_event)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(rows) - 1), min_size=1, max_size=2)))
    spans = zip([0, *cuts], [*cuts, len(rows)], strict=True)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        spy = from_the_first_row_on(patch)
        patch.setattr(pipeline, "rows_of_a_slice", lambda *_: slice_rows)
        spool, out = Path(folder, "spool"), Path(folder, "daily")
        for at, (begin, end) in enumerate(spans):
            given_ = [rows[begin:end][i::2] for i in range(2)]
            write_batches(spool, given_, event_type=event_type, first_number=at * 2)
            made = consolidate(spool, out, event_type, DAY, rules=BY_ID)
            assert_as_in_full(made, spool)
        # Nothing but this was in the way.
        assert set(spy.refused) <= {
            "a text is longer than its column was",
            *([FULL] if slice_rows == 3 else []),
        }
        assert len(spy.refused) + len(spy.taken_over) == len(cuts)


def test_a_busy_day_grows_by_whole_chunks(
    spool: Path, out: Path, spy: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = sorted(
        (row for row in busy_day(3000) if row.event.ts_source == "vendor"),
        key=lambda row: row.event.created_at,
    )
    monkeypatch.setattr(pipeline, "rows_of_a_slice", lambda *_: 500)
    made = []
    for number, begin in enumerate(range(0, len(rows), 900)):
        write_batches(spool, [rows[begin : begin + 900]], first_number=number)
        made.append(consolidate(spool, out, "trade", DAY, rules=BY_ID))
        assert_as_in_full(made[-1], spool)
    assert spy.refused == ["a text is longer than its column was"]  # ids become one digit longer
    assert len(spy.taken_over) == len(made) - 2
    assert all(spy.taken_over)
    assert made[-1].certificate.near_duplicates > 0
    assert consolidate(spool, out, "trade", DAY, rules=BY_ID).unchanged


def in_order(begin: int, end: int) -> list[Row]:
    return frames(
        [
            [event(ts_event=OPEN + i * 1000, symbol=f"S{i % 3}", price=float(i))]
            for i in range(begin, end)
        ],
        first_frame=begin,
    )


def test_only_what_reaches_past_the_instant_is_opened(
    spool: Path, out: Path, spy: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_batches(spool, [in_order(i, i + 10) for i in range(0, 100, 10)])
    consolidate(spool, out, "trade", DAY, rules={})
    late = write_batches(spool, [in_order(95, 120)], first_number=10)
    opened: list[str] = []

    def noted(batch: Any, *more: Any) -> Any:
        opened.append(batch.path.name)
        return read_batch(batch, *more)

    monkeypatch.setattr(slices, "read_batch", noted)
    made = consolidate(spool, out, "trade", DAY, rules={})
    last = "one-000000009000-000000009999.parquet"
    # The last of the former ones twice: once for what its rows counted before.
    assert sorted(opened) == sorted([last, last, late[0].name])
    assert spy.taken_over == [95 // CHUNK]
    assert_as_in_full(made, spool, rules={})


def longer_symbol(spool: Path) -> None:
    rows = frames([[event(ts_event=OPEN + 10**9, symbol="LONGER")]], first_frame=900)
    write_batches(spool, [rows], first_number=9)


def our_own_clock(spool: Path) -> None:
    rows = frames([[event(ts_event=OPEN + 10**9, ts_source="receive")]], first_frame=900)
    write_batches(spool, [rows], first_number=9)


def one_vanishes(spool: Path) -> None:
    in_the_spool(spool)[0].unlink()


def one_changes(spool: Path) -> None:
    rewritten(in_the_spool(spool)[0], lambda t: t, code_version="x")


def one_that_is_read_changes(spool: Path) -> None:
    rewritten(in_the_spool(spool)[4], lambda t: t, code_version="x")


def a_footer_hides_a_row(spool: Path) -> None:
    """Its file is taken to begin later than it does."""
    hidden = frames([[event(ts_event=OPEN + 1, symbol="S0")]], first_frame=800)
    path = write_batches(spool, [hidden + in_order(60, 70)], first_number=8)[0]
    rewritten(path, lambda t: t, min_ts_event=OPEN + 60_000)


def nothing_else(_spool: Path) -> None:
    pass


def in_the_spool(spool: Path) -> list[Path]:
    return sorted(spool.glob("event_type=trade/*/*.parquet"))


@pytest.mark.parametrize(
    ("happens", "taken_over", "refused"),
    [
        (nothing_else, [45 // CHUNK], []),
        (longer_symbol, [], ["a text is longer than its column was"]),
        (our_own_clock, [], []),
        (one_vanishes, [], []),
        (one_changes, [], []),
        (one_that_is_read_changes, [], ["a micro-batch has changed"]),
        (a_footer_hides_a_row, [45 // CHUNK], []),  # which shows when all is counted
    ],
)
def test_in_full_where_in_doubt(
    spool: Path,
    out: Path,
    spy: Spy,
    happens: Callable[[Path], None],
    taken_over: list[int],
    refused: list[str],
) -> None:
    write_batches(spool, [in_order(i, i + 10) for i in range(0, 50, 10)])
    consolidate(spool, out, "trade", DAY, rules={})
    write_batches(spool, [in_order(45, 60)], first_number=5)
    happens(spool)
    made = consolidate(spool, out, "trade", DAY, rules={})
    assert_as_in_full(made, spool, rules={})
    assert (spy.taken_over, spy.refused) == (taken_over, refused)


def test_late_data_of_the_morning_makes_the_day_in_full(
    spool: Path, out: Path, spy: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "_WORTH", 0.5)
    write_batches(spool, [in_order(i, i + 10) for i in range(10, 50, 10)])
    consolidate(spool, out, "trade", DAY, rules={})
    write_batches(spool, [in_order(0, 10)], first_number=5)
    made = consolidate(spool, out, "trade", DAY, rules={})
    assert_as_in_full(made, spool, rules={})
    assert (spy.taken_over, spy.refused) == ([], [])


def test_small_days_are_made_in_full(
    spool: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "take_over", lambda *_: pytest.fail("taken over"))
    write_batches(spool, [in_order(0, 50)])
    consolidate(spool, out, "trade", DAY, rules={})
    write_batches(spool, [in_order(50, 60)], first_number=1)
    assert consolidate(spool, out, "trade", DAY, rules={}).certificate.rows == 60


def test_a_bad_one_among_the_new_is_set_aside(spool: Path, out: Path, spy: Spy) -> None:
    write_batches(spool, [in_order(i, i + 10) for i in range(0, 50, 10)])
    consolidate(spool, out, "trade", DAY, rules={})
    paths = write_batches(spool, [in_order(50, 150), in_order(150, 250)], first_number=5)
    flip_in_a_page(paths[0])
    made = consolidate(spool, out, "trade", DAY, rules={})
    assert [s.name for s in made.certificate.set_aside] == [paths[0].name]
    assert made.certificate.rows == 150
    assert not made.certificate.balanced
    assert_as_in_full(made, spool, rules={})


def test_a_former_file_that_does_not_hold_what_it_certifies_is_not_taken_over(
    spool: Path, out: Path, spy: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though its seal is sound, and its certificate agrees with itself."""
    write_batches(spool, [in_order(i, i + 10) for i in range(0, 50, 10)])
    certify = attempt.certify

    def lies(*given_: Any) -> Certificate:
        return msgspec.structs.replace(certify(*given_), content_hash="edc2:beef")

    with monkeypatch.context() as patch:
        patch.setattr(attempt, "certify", lies)
        consolidate(spool, out, "trade", DAY, rules={})
    write_batches(spool, [in_order(50, 60)], first_number=5)
    made = consolidate(spool, out, "trade", DAY, rules={})
    assert spy.refused == ["the former file does not hold what its certificate says"]
    assert_as_in_full(made, spool, rules={})


@pytest.mark.parametrize("step", ["_look_again", "_after", "_tallies_after", "_less"])
def test_an_interruption_leaves_the_former(
    spool: Path, out: Path, spy: Spy, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    write_batches(spool, [in_order(0, 50)])
    former = consolidate(spool, out, "trade", DAY, rules={})
    before = former.path.read_bytes()
    write_batches(spool, [in_order(50, 60)], first_number=1)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(growth, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            consolidate(spool, out, "trade", DAY, rules={})
    assert former.path.read_bytes() == before
    assert [p.name for p in out.iterdir() if p.suffix in (".tmp", ".scratch")] == []
    assert consolidate(spool, out, "trade", DAY, rules={}).certificate.rows == 60
    assert spy.taken_over == [50 // CHUNK]
