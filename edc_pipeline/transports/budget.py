"""How many requests a vendor allows, and how many were made. Pure: the instant is handed in.

Second, minute and hour are held in any window of that length, whichever way the vendor counts its
own: requests are counted in slices of a window, and a slice counts whole while any of it lies
within. The price is that the last slice's worth of time is given away (a budget of 60 a minute is
used within 61 s). A vendor counts a request when it arrives, some time between our sending it and
its answer: until the answer is there it counts at every instant.

Day and month are the vendor's calendar ones, UTC unless a vendor says otherwise.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

Period = Literal["second", "minute", "hour", "day", "month"]

NS_PER_S: Final = 1_000_000_000
PERIOD_S: Final[Mapping[Period, int]] = {
    "second": 1,
    "minute": 60,
    "hour": 3600,
    "day": 86_400,
    "month": 30 * 86_400,
}
# Slices a window. More would give less time away and make the file of what was spent longer.
_SLICES: Final[Mapping[Period, int]] = {"second": 10, "minute": 60, "hour": 60}
# What was under way when its process ended may have reached the vendor at any time until then, and
# nobody knows when that was. Longer ago than this it had ended: a request takes 20 s at the most.
_MAY_FLY_NS: Final = 600 * NS_PER_S
_FLYING: Final = "flying"
# A count that lies farther ahead of the clock than this was made by a clock that was wrong.
_AHEAD_SLICES: Final = 2
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Limit:
    requests: int
    per: Period


@dataclass(slots=True)
class Counter:
    """One limit, and what was spent of it: slice (or day, or month) → requests."""

    limit: Limit
    spent: dict[int, int] = field(default_factory=dict)

    def wait_ns(self, now_ns: int) -> int:
        """How long until one more request is allowed; 0: now."""
        self._forget(now_ns)
        over = sum(self.spent.values()) + 1 - self.limit.requests
        if over <= 0:
            return 0
        for number in sorted(self.spent):
            over -= self.spent[number]
            if over <= 0:
                return max(1, self._free_from(number) - now_ns)
        raise AssertionError("a limit of no requests")  # Limit is checked where it is read

    def spend(self, now_ns: int) -> None:
        number = self._slice(now_ns)
        self.spent[number] = self.spent.get(number, 0) + 1

    def restamp(self, then_ns: int, now_ns: int) -> None:
        """What counted then counts now instead."""
        was, now = self._slice(then_ns), self._slice(now_ns)
        if was == now:
            return
        if self.spent.get(was, 0) > 1:
            self.spent[was] -= 1
        else:
            self.spent.pop(was, None)  # gone already where the clock was set
        self.spent[now] = self.spent.get(now, 0) + 1

    def left(self, now_ns: int) -> int:
        self._forget(now_ns)
        return max(0, self.limit.requests - sum(self.spent.values()))

    @property
    def _slice_ns(self) -> int:
        per = self.limit.per
        return PERIOD_S[per] * NS_PER_S // _SLICES[per]

    def _slice(self, now_ns: int) -> int:
        match self.limit.per:
            case "day":
                return now_ns // (PERIOD_S["day"] * NS_PER_S)
            case "month":
                now = _EPOCH + dt.timedelta(seconds=now_ns // NS_PER_S)
                return 12 * now.year + now.month - 1
        return now_ns // self._slice_ns

    def _free_from(self, number: int) -> int:
        """The instant from which what was spent in a slice no longer counts."""
        match self.limit.per:
            case "day":
                return (number + 1) * PERIOD_S["day"] * NS_PER_S
            case "month":
                year, month = divmod(number + 1, 12)
                return int(dt.datetime(year, month + 1, 1, tzinfo=dt.UTC).timestamp()) * NS_PER_S
        return (number + 1 + _SLICES[self.limit.per]) * self._slice_ns

    def _forget(self, now_ns: int) -> None:
        latest = self._slice(now_ns) + _AHEAD_SLICES
        for number in [n for n in self.spent if self._free_from(n) <= now_ns or n > latest]:
            del self.spent[number]


class Meter:
    """All limits of one vendor key."""

    def __init__(
        self,
        limits: Sequence[Limit],
        spent: Mapping[str, Mapping[int, int]] | None = None,
        now_ns: int = 0,
    ) -> None:
        """`spent`: what `state` told before. It counts against another limit for the same period
        too: a plan that changed does not undo what was asked."""
        known = spent or {}
        self._counters = [Counter(limit, dict(known.get(limit.per, {}))) for limit in limits]
        self._flying: dict[int, int] = {}  # request → the instant at which it counts
        self._numbers = itertools.count()
        for then_ns, requests in known.get(_FLYING, {}).items():
            if 0 < now_ns - then_ns < _MAY_FLY_NS:
                for _ in range(requests):
                    self._restamp(then_ns, now_ns)

    def with_limits(self, limits: Sequence[Limit], now_ns: int) -> Meter:
        """What takes its place when the plan changes; what is under way ends there."""
        successor = Meter(limits, self.state(now_ns))
        successor._flying, successor._numbers = self._flying, self._numbers
        return successor

    @property
    def limits(self) -> tuple[Limit, ...]:
        return tuple(counter.limit for counter in self._counters)

    def wait_ns(self, now_ns: int) -> int:
        """How long until one more request is allowed by every limit; 0: now."""
        self._count_flying(now_ns)
        return max((counter.wait_ns(now_ns) for counter in self._counters), default=0)

    def begin(self, now_ns: int) -> int:
        """A request is about to be sent; returns its number, for `end`."""
        number = next(self._numbers)
        self._flying[number] = now_ns
        for counter in self._counters:
            counter.spend(now_ns)
        return number

    def end(self, number: int, now_ns: int) -> None:
        """Its answer came, or will not: by now at the latest the vendor has counted it."""
        self._count_at(number, now_ns)
        del self._flying[number]

    def _count_flying(self, now_ns: int) -> None:
        for number in self._flying:
            self._count_at(number, now_ns)

    def _count_at(self, number: int, now_ns: int) -> None:
        then_ns, self._flying[number] = self._flying[number], now_ns
        self._restamp(then_ns, now_ns)

    def _restamp(self, then_ns: int, now_ns: int) -> None:
        for counter in self._counters:
            counter.restamp(then_ns, now_ns)

    def left(self, now_ns: int) -> dict[Period, int]:
        return {counter.limit.per: counter.left(now_ns) for counter in self._counters}

    def state(self, now_ns: int) -> dict[str, dict[int, int]]:
        """What was spent by now, and what of it is under way."""
        self._count_flying(now_ns)
        spent = {str(c.limit.per): dict(c.spent) for c in self._counters}
        return {**spent, _FLYING: {now_ns: len(self._flying)}} if self._flying else spent
