"""Instant → market day. The day of an event is the New York date of its `ts_event`, whatever the
asset class. Days last 23, 24 or 25 hours; this module is the only one that knows."""

from __future__ import annotations

import datetime as dt
from typing import Final
from zoneinfo import ZoneInfo

MARKET_ZONE_NAME: Final = "America/New_York"
MARKET_ZONE: Final = ZoneInfo(MARKET_ZONE_NAME)

NS_PER_SECOND: Final = 1_000_000_000
# The days that lie wholly within int64 nanoseconds.
FIRST_DAY: Final = dt.date(1677, 9, 22)
LAST_DAY: Final = dt.date(2262, 4, 9)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def market_day(ts_ns: int) -> dt.date:
    """The New York date of an instant, exact to the nanosecond, before 1970 too."""
    # Floor division: −1 ns is the last nanosecond of 1969, not the first second of 1970.
    seconds = ts_ns // NS_PER_SECOND
    return (_EPOCH + dt.timedelta(seconds=seconds)).astimezone(MARKET_ZONE).date()


def midnight_ns(day: dt.date) -> int:
    """The instant at which a market day begins. New York never skips or repeats midnight."""
    midnight = dt.datetime(day.year, day.month, day.day, tzinfo=MARKET_ZONE)
    since_epoch = midnight.astimezone(dt.UTC) - _EPOCH
    return (since_epoch.days * 86_400 + since_epoch.seconds) * NS_PER_SECOND


def day_bounds(day: dt.date) -> tuple[int, int]:
    """`(first, end)` in ns: the day holds every instant with `first <= ts < end`."""
    return midnight_ns(day), midnight_ns(day + dt.timedelta(days=1))


def parse_day(text: str) -> dt.date:
    """`2026-01-22` → date; anything else is a ValueError that says what was wanted, and so is a day
    whose bounds int64 nanoseconds can't tell."""
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:
        raise ValueError(f"{text!r} is not a day; write it as YYYY-MM-DD, e.g. 2026-01-22")
    return storable_day(day)


def storable_day(day: dt.date) -> dt.date:
    """The same of a date: ValueError where files can't hold its instants."""
    if not FIRST_DAY <= day <= LAST_DAY:
        raise ValueError(f"{day} is outside what files hold: {FIRST_DAY} to {LAST_DAY}")
    return day


class DayFinder:
    """`market_day` for a stream: remembers recent days' bounds, since neighbours share a day."""

    def __init__(self) -> None:
        self._recent: list[tuple[int, int, dt.date]] = []

    def __call__(self, ts_ns: int) -> dt.date:
        for first, end, day in self._recent:
            if first <= ts_ns < end:
                return day
        day = market_day(ts_ns)
        self._recent = [(*day_bounds(day), day), *self._recent[:3]]
        return day
