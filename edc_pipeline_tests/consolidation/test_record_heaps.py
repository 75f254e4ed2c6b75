"""Records dealt out over heaps, in memory and on the disk."""

from __future__ import annotations

import resource
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from edc_pipeline.consolidation.record_heaps import RecordHeaps
from edc_pipeline.consolidation.rows import Array

KIND = np.dtype([("row", "<i8"), ("text", "S5")])


def records(first: int, count: int) -> Array:
    made = np.zeros(count, KIND)
    made["row"] = np.arange(first, first + count)
    made["text"] = made["row"].astype("S5")
    return made


@contextmanager
def no_file_longer_than(size: int) -> Iterator[None]:
    """The system refuses what goes beyond, in the middle of a write. (Python ignores SIGXFSZ.)"""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("held_rows", [0, 70, 999, 10**6])
@pytest.mark.parametrize("longest_file", [10**9, 3_001])
def test_all_is_given_back_in_the_order_of_dealing(held_rows: int, longest_file: int) -> None:
    with RecordHeaps(KIND, held_rows) as heaps:
        with no_file_longer_than(longest_file):
            for first in range(0, 1000, 50):
                here = records(first, 50)
                heaps.deal(here, here["row"] % 7)
        assert heaps.on_disk == (held_rows < 1000 and (longest_file > 3_001 or held_rows < 200))
        if not heaps.on_disk:
            assert heaps.everything()["row"].tolist() == list(range(1000))
        for heap in range(8):
            found = heaps.take(heap)
            assert found["row"].tolist() == list(range(heap, 1000, 7))[: 0 if heap == 7 else None]
            assert found["text"].astype(np.int64).tolist() == found["row"].tolist()
            assert np.concatenate([*heaps.pieces(heap), found[:0]]).tolist() == found.tolist()


def test_memory_does_not_grow_with_what_lies_there() -> None:
    peaks = []
    for blocks in (20, 200):
        tracemalloc.start()
        with RecordHeaps(KIND, 10_000) as heaps:
            for first in range(0, blocks * 1000, 1000):
                here = records(first, 1000)
                heaps.deal(here, here["row"] // 1000)
            assert sum(len(heaps.take(heap)) for heap in range(blocks)) == blocks * 1000
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
