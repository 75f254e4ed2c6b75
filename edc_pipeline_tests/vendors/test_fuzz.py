"""100,000 mutated frames a vendor: nothing escapes, memory is bounded, the rate is printed."""

from __future__ import annotations

import tracemalloc

import pytest

from edc_pipeline.vendors import VENDORS
from edc_pipeline_tests import dice
from edc_pipeline_tests.vendors.fuzz import campaign

FRAMES = 100_000
# Under tracemalloc a frame costs several times as much; spellings that a hostile sender can fill
# show after some thousand frames as well.
WATCHED = 10_000
KEPT_BYTES = 8 << 20


@pytest.mark.parametrize("vendor", VENDORS)
def test_no_mutated_frame_escapes(vendor: str, capsys: pytest.CaptureFixture[str]) -> None:
    seed = dice.seed()
    with capsys.disabled():
        print(f"\n{vendor}: fuzzing with seed {seed} … ", end="", flush=True)
        made = campaign(vendor, FRAMES, seed)
        print(made)
    assert made.frames == FRAMES
    assert made.outcomes["quarantined"] > 0
    assert made.outcomes["events"] > 0


@pytest.mark.parametrize("vendor", VENDORS)
def test_mutated_frames_leave_little_behind(vendor: str) -> None:
    tracemalloc.start()
    try:
        made = campaign(vendor, WATCHED, seed=1)
    finally:
        tracemalloc.stop()
    assert made.kept_bytes is not None
    assert made.kept_bytes < KEPT_BYTES, made
