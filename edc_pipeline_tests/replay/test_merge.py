"""The merge of many sources: what comes out is what sorting everything would give."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edc_pipeline.replay.merge import Block, WentBack, merge

ROW = np.dtype([("ts_event", "<i8"), ("source", "<i4"), ("place", "<i4")])


def rows_of(source: int, times: list[int]) -> Block:
    rows = np.zeros(len(times), ROW)
    rows["ts_event"], rows["source"], rows["place"] = sorted(times), source, range(len(times))
    return rows


def cut_up(rows: Block, ends: list[int]) -> list[Block]:
    """Blocks of any size, empty ones among them."""
    places = sorted({min(e, len(rows)) for e in ends})
    return [b for b in np.split(rows, places)]  # noqa: C416 - a list of its own


days = st.lists(
    st.tuples(
        # Few distinct times, so that ties over sources and block edges are common.
        st.lists(st.one_of(st.integers(0, 6), st.integers(-(2**62), 2**62)), max_size=40),
        st.lists(st.integers(0, 40), max_size=6),
    ),
    max_size=7,
)


@settings(deadline=None, max_examples=300)
@given(days)
def test_it_is_what_sorting_all_would_give(sources: list[tuple[list[int], list[int]]]) -> None:
    whole = [rows_of(n, times) for n, (times, _) in enumerate(sources)]
    blocks = [cut_up(rows, ends) for rows, (_, ends) in zip(whole, sources, strict=True)]
    merged = [tuple(row) for block in merge(blocks) for row in block.tolist()]
    reference = sorted(tuple(row) for rows in whole for row in rows.tolist())
    assert merged == reference


def test_a_source_that_goes_back_is_told_and_not_mixed_up() -> None:
    rows = rows_of(0, [1, 2, 3])
    with pytest.raises(WentBack, match="source 1: after 3 ns comes 1 ns") as told:
        list(merge([[rows_of(0, [5])], [rows, rows]]))
    assert (told.value.source, told.value.before, told.value.after) == (1, 3, 1)


def test_memory_does_not_grow_with_the_day() -> None:
    def source(number: int, blocks: int) -> Iterator[Block]:
        for n in range(blocks):
            rows = np.zeros(500, ROW)
            rows["ts_event"] = np.arange(500) * 50 + number + n * 25_000
            yield rows

    peaks = []
    for blocks in (4, 80):
        tracemalloc.start()
        count = sum(len(b) for b in merge([source(n, blocks) for n in range(50)]))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert count == 50 * 500 * blocks
    assert peaks[1] < 1.5 * peaks[0]


def test_nothing_comes_of_nothing() -> None:
    assert list(merge([])) == []
    assert list(merge([[], [rows_of(0, [])]])) == []
