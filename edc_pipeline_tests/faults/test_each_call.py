"""Whichever single call is refused: nothing half-made is left, and the next try does the work.

Flush, recovery and consolidation run in a process below which a shim says EIO, once: to the first
write, then to the second, and so on through the calls of every kind that reach a file of theirs.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from edc_pipeline_tests.faults.each_call import refuse_each
from edc_pipeline_tests.faults.shim import why_not


# All of recovery's 480 calls take half a minute of CPU: `make faults` refuses every one.
@pytest.mark.parametrize(
    ("work", "every", "at_least"),
    [
        ("flush", 1, 60),
        ("recover", 57, 5),
        ("consolidate", 29, 6),
        ("spend", 1, 20),
        ("deliver", 9, 4),
    ],
)
def test_a_refused_call_leaves_nothing_half_made(
    tmp_path: Path, work: str, every: int, at_least: int
) -> None:
    if why := why_not():
        pytest.skip(why)
    found = refuse_each(work, tmp_path, every)
    assert found["wrong"] == []
    assert found["refused"] >= at_least
