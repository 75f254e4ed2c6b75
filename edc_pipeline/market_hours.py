"""When the markets are open, by asset class. Pure: the instant is handed in.

| asset class | open |
|---|---|
| equity, etf, option, index | New York Stock Exchange, holidays and short days included (XNYS of exchange_calendars): 9:30 to 16:00 or 13:00; `extended`: 4:00 to 20:00 or 17:00 |
| fx | Sunday 17:00 to Friday 17:00 in New York; holidays thin it, they do not close it |
| crypto, future | always: crypto never closes, and "future" does not say of which exchange |

The first question about a stock costs 0.2 to 0.5 s (exchange_calendars, and pandas where it is not
loaded yet) and each further decade of days 0.15 s; after that a microsecond or two. Ask in a thread
where an event loop must not wait.
"""  # noqa: E501 - a table's row is one line

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from edc_pipeline.events import AssetClass
from edc_pipeline.market_day import (
    FIRST_DAY,
    LAST_DAY,
    MARKET_ZONE,
    NS_PER_SECOND,
    day_bounds,
    market_day,
)

_STOCKS: Final = frozenset({"equity", "etf", "option", "index"})
_FX_TURNS: Final = dt.time(17)  # New York: the trading week begins on Sunday and ends on Friday
_FRIDAY, _SATURDAY, _SUNDAY = 4, 5, 6

_EARLIEST: Final = dt.time(4)  # pre-market
_AFTER_HOURS_NS: Final = 4 * 3600 * NS_PER_SECOND  # 16:00 to 20:00, on short days 13:00 to 17:00

# The years that the calendar is asked for; farther off it guesses no better than the weekday does.
_FIRST_YEAR: Final = 1950
_END_YEAR: Final = 2150
_DECADE: Final = 10
# From one session to the next there never were more days (September 2001: six).
_LONGEST_BREAK_DAYS: Final = 14


class Hours(NamedTuple):
    """How a market is at an instant, and the first instant at which that changes."""

    is_open: bool
    until_ns: int | None  # None: never, as far as we know


def is_open(asset_class: AssetClass, instant_ns: int, *, extended: bool = False) -> bool:
    """`extended`: a stock's pre-market and after-hours count as open."""
    session = session_of(asset_class, market_day(instant_ns), extended=extended)
    return session is not None and session[0] <= instant_ns < session[1]


def session_of(
    asset_class: AssetClass, day: dt.date, *, extended: bool = False
) -> tuple[int, int] | None:
    """`(open, close)` in ns: the part of a New York day in which the market is open, None: it is
    not. A market that is open around midnight has the part of its session that lies in the day."""
    if asset_class == "fx":
        return _fx(day)
    if asset_class not in _STOCKS:
        return day_bounds(day)
    session = _stocks(day)
    if session is None or not extended:
        return session
    return _instant(day, _EARLIEST), session[1] + _AFTER_HOURS_NS


def hours(asset_class: AssetClass, instant_ns: int, *, extended: bool = False) -> Hours:
    """Whether it is open, and until when it stays so: for a reader who asks often."""
    if asset_class != "fx" and asset_class not in _STOCKS:
        return Hours(is_open=True, until_ns=None)
    first = market_day(instant_ns)
    open_until: int | None = None
    for days in range(_LONGEST_BREAK_DAYS + 1):
        day = first + dt.timedelta(days=days)
        if not FIRST_DAY <= day <= LAST_DAY:
            break
        session = session_of(asset_class, day, extended=extended)
        if open_until is not None:
            # Open at midnight: the next day's part goes on where this one ended.
            if session is None or session[0] > open_until:
                break
            open_until = session[1]
        elif session is None or session[1] <= instant_ns:
            continue
        elif session[0] > instant_ns:
            return Hours(is_open=False, until_ns=session[0])
        else:
            open_until = session[1]
        if open_until != day_bounds(day)[1]:
            break
    return Hours(is_open=open_until is not None, until_ns=open_until)


def _fx(day: dt.date) -> tuple[int, int] | None:
    begins, ends = day_bounds(day)
    weekday = day.weekday()
    if weekday == _SATURDAY:
        return None
    if weekday == _SUNDAY:
        return _instant(day, _FX_TURNS), ends
    return begins, _instant(day, _FX_TURNS) if weekday == _FRIDAY else ends


def _stocks(day: dt.date) -> tuple[int, int] | None:
    if _FIRST_YEAR <= day.year < _END_YEAR:
        return _sessions(day.year - day.year % _DECADE).get(day)
    if day.weekday() >= _SATURDAY:
        return None
    return _instant(day, dt.time(9, 30)), _instant(day, dt.time(16))


@lru_cache(maxsize=4)
def _sessions(first_year: int) -> Mapping[dt.date, tuple[int, int]]:
    """The stock exchange's sessions of ten years."""
    import exchange_calendars  # noqa: PLC0415 - 0.1 s beside pandas' 0.3; only who asks pays it

    calendar = exchange_calendars.get_calendar(
        "XNYS",
        start=dt.date(first_year, 1, 1).isoformat(),
        end=dt.date(first_year + _DECADE - 1, 12, 31).isoformat(),
    )
    days = calendar.sessions.date
    opens, closes = (
        map(int, column.dt.tz_convert(None).to_numpy().astype("datetime64[ns]").astype("int64"))
        for column in (calendar.opens, calendar.closes)
    )
    return dict(zip(days, zip(opens, closes, strict=True), strict=True))


def _instant(day: dt.date, time: dt.time) -> int:
    moment = dt.datetime.combine(day, time, tzinfo=MARKET_ZONE)
    return int(moment.timestamp()) * NS_PER_SECOND
