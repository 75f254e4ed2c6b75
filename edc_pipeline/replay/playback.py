"""How a replay moves through its day: speed, pause, step and seek. Pure; the clock is handed in.

Two clocks: that of the day, in nanoseconds, and the player's own, in seconds that only go on.
An anchor says which instant of the one is which of the other; whatever changes the speed sets a
new one, so that nothing jumps.
"""

from __future__ import annotations

import math
import re
from array import array
from typing import Final

from edc_pipeline.market_day import NS_PER_SECOND

NOW: Final = 0.0
LEAVE_OUT: Final = -1.0
_SAMPLES: Final = 1_000_000  # of how late events were let go
MOST: Final = 10_000.0


def parse_speed(text: str) -> float | None:
    """`1`, `10`, `0.5`, `10x`; None for `max`. Raises ValueError."""
    if text == "max":
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)x?", text)
    speed = float(match[1]) if match else 0.0
    if not 0 < speed <= MOST:
        raise ValueError(f"{text!r} is no speed; write 1, 10, 0.5 or max (as fast as it goes)")
    return speed


class Playback:
    """Says of each event how long it has to wait. Events come in the order of their time."""

    def __init__(self, speed: float | None = 1.0) -> None:
        self.speed = speed  # None: as fast as it goes
        self.paused = False
        self.position_ns: int | None = None  # of the event that was let go last
        self.played = 0
        self.left_out = 0
        self.behind_s = 0.0  # of the last event that had to be in time
        self.late_s = array("d")  # by how much each event was let go too late
        self._anchor: tuple[int, float] | None = None
        self._steps = 0
        self._skip_before = -(2**63)
        self._rewinding = False

    # -- what an event asks -------------------------------------------------------------------

    def wait_s(self, at_ns: int, now_s: float) -> float:
        """`NOW`: go; `LEAVE_OUT`: it is skipped; infinite: until somebody does something."""
        if self._rewinding:
            return LEAVE_OUT
        if at_ns < self._skip_before:
            self.left_out += 1
            return LEAVE_OUT
        if self.paused:
            if not self._steps:
                return math.inf
            self._steps -= 1
            self._anchor = None
            return self._let_go(at_ns)
        if self.speed is None:
            return self._let_go(at_ns)
        if self._anchor is None:
            self._anchor = (at_ns, now_s)
        wait = self._due_s(at_ns) - now_s
        if wait > 0:
            return wait
        self.behind_s = -wait
        if len(self.late_s) < _SAMPLES:
            self.late_s.append(-wait)
        return self._let_go(at_ns)

    def _due_s(self, at_ns: int) -> float:
        assert self._anchor is not None
        assert self.speed is not None
        anchor_ns, anchor_s = self._anchor
        return anchor_s + (at_ns - anchor_ns) / NS_PER_SECOND / self.speed

    def _let_go(self, at_ns: int) -> float:
        self.position_ns = at_ns
        self.played += 1
        return NOW

    # -- what somebody does -------------------------------------------------------------------

    def pause(self) -> None:
        self.paused = True
        self._steps = 0

    def resume(self) -> None:
        """Go on from where it stands."""
        self.paused = False
        self._anchor = None

    def step(self, events: int = 1) -> None:
        """Let so many events go, then stand still."""
        self.paused = True
        self._steps += events

    def set_speed(self, speed: float | None) -> None:
        self.speed = speed
        self._anchor = None

    def seek(self, ns: int) -> None:
        """Leave out what lies before an instant that was not reached yet."""
        self._skip_before = ns
        self._anchor = None
        if self.paused:
            self._steps = 1  # show where it stands now

    def rewind(self, ns: int) -> None:
        """Back to an instant: everything is left out until whoever holds the source has opened it
        there again (`rewound`)."""
        self.seek(ns)
        self._rewinding = True

    def rewound(self) -> None:
        self._rewinding = False

    def lateness_s(self, share: float) -> float:
        """How late events were let go, at most, but for the share that was later: 0.99 for p99."""
        if not self.late_s:
            return 0.0
        ordered = sorted(self.late_s)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
