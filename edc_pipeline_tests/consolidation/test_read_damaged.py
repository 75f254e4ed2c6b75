"""A damaged micro-batch of a day that is still in the spool: left out, told, nothing else lost."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

import edc_pipeline
from edc_pipeline.consolidation import day_rows
from edc_pipeline.consolidation.errors import NoSuchData, RowsMissing
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline_tests.consolidation.spools import DAY, OPEN, Row, event, frames, write_batches

BATCHES, ROWS = 8, 50
Spoil = Callable[[Path], None]


def said() -> list[list[Row]]:
    """Micro-batches that overlap: arrival is not in the order of time."""
    return [
        frames(
            [
                [event(ts_event=OPEN + 40 * b + i, symbol="SPY" if i % 3 else "QQQ", price=i / 7)]
                for i in range(ROWS)
            ],
            first_frame=b * 1000,
        )
        for b in range(BATCHES)
    ]


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flipped(path: Path) -> None:
    columns = pq.read_metadata(path).row_group(0)
    column = next(
        c
        for c in (columns.column(i) for i in range(columns.num_columns))
        if c.path_in_schema == "price"
    )
    data = bytearray(path.read_bytes())
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    path.write_bytes(data)


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    text = frame.select_dtypes("category").columns
    return frame.astype(dict.fromkeys(text, object))


@pytest.fixture(params=[500_000, 60], ids=["one slice", "many slices"])
def _slices(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(day_rows, "_SPOOL_SLICE_ROWS", request.param)


@pytest.mark.usefixtures("_slices")
@pytest.mark.parametrize("bad", [{0: truncated}, {5: flipped}, {1: flipped, 6: truncated}])
def test_left_out_and_told(tmp_path: Path, bad: dict[int, Spoil]) -> None:
    paths = write_batches(tmp_path / "spool", said())
    for at, spoil in bad.items():
        spoil(paths[at])
    with pytest.warns(RowsMissing, match=f"read without {len(bad)} of its micro-batches") as told:
        frame = edc_pipeline.read("trade", DAY, data=tmp_path)
    state = frame.attrs["days"]["2026-01-22"]
    assert told[0].filename == __file__
    assert [s["name"] for s in state["set_aside"]] == [paths[at].name for at in sorted(bad)]
    for aside, at in zip(state["set_aside"], sorted(bad), strict=True):
        # A torn file has no footer to tell its rows.
        assert aside["rows"] == (ROWS if bad[at] is flipped else None)
        assert aside["reason"] in str(told[0].message)
        assert paths[at].exists()
    pieces = edc_pipeline.read("trade", DAY, data=tmp_path, blocks=70)
    with pytest.warns(RowsMissing, match="read without"):
        joined = pd.concat([plain(p) for p in pieces], ignore_index=True)
    # What a consolidation keeps is what was read.
    consolidate(tmp_path / "spool", tmp_path / "daily", "trade", DAY)
    with pytest.warns(RowsMissing, match="read without"):
        from_file = edc_pipeline.read("trade", DAY, data=tmp_path)
    assert from_file.attrs["days"]["2026-01-22"]["set_aside"] == state["set_aside"]
    assert len(from_file) == (BATCHES - len(bad)) * ROWS
    pd.testing.assert_frame_equal(plain(frame), plain(from_file))
    pd.testing.assert_frame_equal(joined, plain(from_file))


@pytest.mark.usefixtures("_slices")
def test_sound_ones_are_read_without_a_word(tmp_path: Path) -> None:
    write_batches(tmp_path / "spool", said())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frame = edc_pipeline.read("trade", DAY, data=tmp_path, symbols="QQQ")
    assert len(frame) == BATCHES * 17
    assert frame.attrs["days"]["2026-01-22"]["set_aside"] == []


@pytest.mark.parametrize("spoil", [truncated, flipped])
def test_none_can_be_read(tmp_path: Path, spoil: Spoil) -> None:
    path = write_batches(tmp_path / "spool", said()[:1])[0]
    spoil(path)
    with pytest.raises(NoSuchData, match=f"none of the .*micro-batches of trade.*{path.name}"):
        edc_pipeline.read("trade", DAY, data=tmp_path)


def test_one_that_is_compacted_while_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is gone when its turn comes, and its rows are in another file by then."""
    monkeypatch.setattr(day_rows, "_SPOOL_SLICE_ROWS", 60)
    batches = said()
    paths = write_batches(tmp_path / "spool", batches)
    whole = edc_pipeline.read("trade", DAY, data=tmp_path)
    pieces = iter(edc_pipeline.read("trade", DAY, data=tmp_path, blocks=30))
    first = next(pieces)
    write_batches(
        tmp_path / "spool", [batches[-1]], first_number=900, collector="two", ledger=False
    )
    paths[-1].unlink()
    joined = pd.concat([plain(p) for p in (first, *pieces)], ignore_index=True)
    pd.testing.assert_frame_equal(joined, plain(whole))
