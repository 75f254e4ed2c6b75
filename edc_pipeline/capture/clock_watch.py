"""Notices that the wall clock was set: it went another way than the steady clock. The event loop
asks; both clocks are handed in."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from edc_pipeline.spool.clock_steps import ClockStep

# A clock is slewed by half a thousandth at the most, looked at every second. What a step below
# this does to a gap is less than what a network does.
_TOLERANCE_NS: Final = 250_000_000
_MOST_STEPS: Final = 16


class ClockWatch:
    def __init__(
        self, clock: Callable[[], int], steady: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.steps: deque[ClockStep] = deque(maxlen=_MOST_STEPS)  # the latest
        self._clock = clock
        self._steady = steady
        self._wall_ns, self._steady_ns = clock(), steady()

    def look(self) -> ClockStep | None:
        """A step since the look before."""
        wall_ns, steady_ns, again_ns = self._clock(), self._steady(), self._clock()
        if abs(again_ns - wall_ns) > _TOLERANCE_NS // 2:
            return None  # set, or we were held up, between two lines of ours: the next look tells
        expected_ns = self._wall_ns + steady_ns - self._steady_ns
        self._wall_ns, self._steady_ns = wall_ns, steady_ns
        if abs(wall_ns - expected_ns) < _TOLERANCE_NS:
            return None
        step = ClockStep(expected_ns, wall_ns)
        self.steps.append(step)
        return step
