"""How busy the market is: the stock exchange's hours, and bursts that breed bursts."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edc_pipeline.market_day import MARKET_ZONE, NS_PER_SECOND

_OPEN_S: Final = 9 * 3600 + 30 * 60
_CLOSE_S: Final = 16 * 3600

# Activity over the session, as multiples of its lull: a sharp peak at the opening that fades in
# some 20 minutes, and one that builds over the last 15. Divided by its mean over the session.
_OPENING, _OPENING_FADES = 4.0, 0.05
_CLOSING, _CLOSING_BUILDS = 3.0, 0.04
_SESSION_MEAN: Final = (
    1.0
    + _OPENING * _OPENING_FADES * (1 - math.exp(-1 / _OPENING_FADES))
    + _CLOSING * _CLOSING_BUILDS * (1 - math.exp(-1 / _CLOSING_BUILDS))
)


def session_progress(ts_ns: int) -> float | None:
    """0 at the New York opening bell, 1 at the closing bell, None while stocks are closed."""
    local = dt.datetime.fromtimestamp(ts_ns // NS_PER_SECOND, MARKET_ZONE)
    if local.weekday() >= 5:
        return None
    second = local.hour * 3600 + local.minute * 60 + local.second
    if not _OPEN_S <= second < _CLOSE_S:
        return None
    return (second - _OPEN_S) / (_CLOSE_S - _OPEN_S)


def stock_activity(ts_ns: int, floor: float) -> float:
    """1 on average over a session, more near the bells, `floor` while the exchange is closed."""
    progress = session_progress(ts_ns)
    if progress is None:
        return floor
    shape = (
        1.0
        + _OPENING * math.exp(-progress / _OPENING_FADES)
        + _CLOSING * math.exp(-(1 - progress) / _CLOSING_BUILDS)
    )
    return max(floor, shape / _SESSION_MEAN)


@dataclass(frozen=True, slots=True)
class Burst:
    """A self-exciting process in time steps: each shock makes the next one likelier, then fades.

    The branching ratio, `excited_per_s * mean_jump * fades_s` = 0.675, is the share of shocks that
    other shocks caused; at 1 they would never end.
    """

    own_per_s: float = 0.05
    common_per_s: float = 0.02
    excited_per_s: float = 0.3
    mean_jump: float = 1.5
    fades_s: float = 1.5
    ceiling: float = 12.0

    @property
    def mean(self) -> float:
        branching = self.excited_per_s * self.mean_jump * self.fades_s
        return (
            (self.own_per_s + self.common_per_s) * self.mean_jump * self.fades_s / (1 - branching)
        )


class Bursts:
    """The excitement of each instrument; `activity` is about 1 on average."""

    def __init__(self, instruments: int, strength: float, shape: Burst | None = None) -> None:
        self._shape = shape or Burst()
        self._gain = 4.0 * strength
        self._excitement = np.full(instruments, self._shape.mean)

    def activity(self, dt_s: float, random: np.random.Generator) -> NDArray[np.float64]:
        shape = self._shape
        shocks = random.poisson((shape.own_per_s + shape.excited_per_s * self._excitement) * dt_s)
        shocks = shocks + random.poisson(shape.common_per_s * dt_s)
        # The sum of k exponential jumps is one gamma draw of shape k.
        jumps = random.standard_gamma(np.maximum(shocks, 1e-9)) * (shocks > 0) * shape.mean_jump
        kept = math.exp(-dt_s / shape.fades_s)
        # A jump counts as it is on average over its step; in full, steps of 0.5 s would raise the
        # branching ratio to 0.79 and the rate by a third.
        jumps *= (1 - kept) * shape.fades_s / dt_s
        faded = self._excitement * kept
        self._excitement = np.minimum(faded + jumps, shape.ceiling)
        activity: NDArray[np.float64] = (1 + self._gain * self._excitement) / (
            1 + self._gain * shape.mean
        )
        return activity
