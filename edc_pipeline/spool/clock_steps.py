"""The wall clock was set. What that does to times that were taken by it before. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

NS_PER_S: Final = 1_000_000_000
_LONG_REASON: Final = 300  # a clock that is set again and again fills no ledger with words


@dataclass(frozen=True, slots=True)
class ClockStep:
    before: int  # what the clock would say now, had it not been set (ns)
    after: int  # what it says

    @property
    def is_back(self) -> bool:
        return self.after < self.before

    def __str__(self) -> str:
        seconds = f"{abs(self.after - self.before) / NS_PER_S:,.1f} s"
        # By the steady clock, which stands still while a machine sleeps.
        return (
            f"the clock was set back by {seconds}"
            if self.is_back
            else f"the clock went forward by {seconds} at once"
        )


def with_step(reason: str, step: ClockStep) -> str:
    return reason if len(reason) > _LONG_REASON else f"{reason}; {step}"


def as_of_now(at: int, now: int, steps: Sequence[ClockStep]) -> int | None:
    """A time that was taken after these steps, as the clock tells it that says `now`: where it is
    ahead of that, without the latest steps. None: they do not explain it."""
    for step in reversed(steps):
        if at <= now:
            break
        at += step.before - step.after
    return at if at <= now else None
