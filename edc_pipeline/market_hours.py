"""When the markets are open, by asset class and by whose hours they keep. Pure: the instant is
handed in.

| hours of | asset class | open |
|---|---|---|
| us | equity, etf, option, index | New York Stock Exchange, holidays and short days included (XNYS of exchange_calendars): 9:30 to 16:00 or 13:00; `extended`: 4:00 to 20:00 or 17:00 |
| us | fx | Sunday 17:00 to Friday 17:00 in New York; holidays thin it, they do not close it |
| us | crypto, future | always: crypto never closes, and "future" does not say of which exchange |
| india | all | the stock exchanges of Mumbai, NSE and BSE, holidays included (XBOM): 9:15 to 15:30 in India; `extended`: from the pre-open at 9:00. Futures, commodities and currencies trade there longer, and in these hours too |

India's clock is never changed, so in New York its session lies at 22:45 to 5:00 in winter and at
23:45 to 6:00 in summer: around midnight, in parts of two days.

The first question about a stock costs 0.2 to 0.5 s (exchange_calendars, and pandas where it is not
loaded yet) and each further decade of days 0.15 s; after that a microsecond or two. `learn` it in a
thread where an event loop must not wait.
"""  # noqa: E501 - a table's row is one line

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, NamedTuple, Protocol
from zoneinfo import ZoneInfo

from edc_pipeline.events import AssetClass
from edc_pipeline.market_day import (
    FIRST_DAY,
    LAST_DAY,
    MARKET_ZONE,
    NS_PER_SECOND,
    day_bounds,
    market_day,
)

HoursOf = Literal["us", "india"]


class MarketIsOpen(Protocol):
    """Whether some market is open at an instant."""

    def __call__(self, instant_ns: int, *, extended: bool = False) -> bool: ...


Span = tuple[int, int]  # from, until, in ns


@dataclass(frozen=True, slots=True)
class _StockExchange:
    calendar: str  # of exchange_calendars
    zone: dt.tzinfo
    opens: dt.time
    closes: dt.time
    pre_open: dt.time
    after_hours: dt.timedelta
    years: range  # that the calendar is asked for
    years_at_once: int  # each asking costs as much for one year as for ten


_EXCHANGES: Final[Mapping[HoursOf, _StockExchange]] = {
    # Farther off it guesses no better than the weekday does.
    "us": _StockExchange(
        calendar="XNYS",
        zone=MARKET_ZONE,
        opens=dt.time(9, 30),
        closes=dt.time(16),
        pre_open=dt.time(4),
        after_hours=dt.timedelta(hours=4),  # 16:00 to 20:00, on short days 13:00 to 17:00
        years=range(1950, 2150),
        years_at_once=10,
    ),
    # Its holidays are known a year ahead at most, and a year that is not known is refused.
    "india": _StockExchange(
        calendar="XBOM",
        zone=ZoneInfo("Asia/Kolkata"),
        opens=dt.time(9, 15),
        closes=dt.time(15, 30),
        pre_open=dt.time(9),
        after_hours=dt.timedelta(),
        years=range(1997, 2150),
        years_at_once=1,
    ),
}

_STOCKS: Final = frozenset({"equity", "etf", "option", "index"})
_FX_TURNS: Final = dt.time(17)  # New York: the trading week begins on Sunday and ends on Friday
_FRIDAY, _SATURDAY, _SUNDAY = 4, 5, 6

# From one session to the next there never were more days (September 2001: six).
_LONGEST_BREAK_DAYS: Final = 14


class Hours(NamedTuple):
    """How a market is at an instant, and the first instant at which that changes."""

    is_open: bool
    until_ns: int | None  # None: never, as far as we know


def is_open(
    asset_class: AssetClass, instant_ns: int, *, extended: bool = False, hours_of: HoursOf = "us"
) -> bool:
    """`extended`: a stock's pre-market and after-hours count as open."""
    day = market_day(instant_ns)
    sessions = sessions_of(asset_class, day, extended=extended, hours_of=hours_of)
    return any(opens <= instant_ns < closes for opens, closes in sessions)


def any_open(
    asset_classes: Iterable[AssetClass],
    hours_of: HoursOf,
    instant_ns: int,
    *,
    extended: bool = False,
) -> bool:
    return any(is_open(c, instant_ns, extended=extended, hours_of=hours_of) for c in asset_classes)


def learn(instant_ns: int) -> None:
    """Ask all that takes long about this time."""
    for hours_of in _EXCHANGES:
        is_open("equity", instant_ns, hours_of=hours_of)


def sessions_of(
    asset_class: AssetClass,
    day: dt.date,
    *,
    extended: bool = False,
    hours_of: HoursOf = "us",
) -> tuple[Span, ...]:
    """The parts of a New York day in which the market is open, in their order. A session around
    midnight is in the parts of two days."""
    exchange = _EXCHANGES[hours_of]
    if hours_of == "us":
        if asset_class == "fx":
            return _fx(day)
        if asset_class not in _STOCKS:
            return (day_bounds(day),)
        session = _session(exchange, day, extended=extended)
        return () if session is None else (session,)
    begins, ends = day_bounds(day)
    beside = (day + dt.timedelta(days=n) for n in (-1, 0, 1))
    there = (_session(exchange, theirs, extended=extended) for theirs in beside)
    parts = ((max(s[0], begins), min(s[1], ends)) for s in there if s is not None)
    return tuple(part for part in parts if part[0] < part[1])


def hours(
    asset_class: AssetClass, instant_ns: int, *, extended: bool = False, hours_of: HoursOf = "us"
) -> Hours:
    """Whether it is open, and until when it stays so: for a reader who asks often."""
    if hours_of == "us" and asset_class != "fx" and asset_class not in _STOCKS:
        return Hours(is_open=True, until_ns=None)
    first = market_day(instant_ns)
    open_until: int | None = None
    for days in range(_LONGEST_BREAK_DAYS + 1):
        day = first + dt.timedelta(days=days)
        if not FIRST_DAY <= day <= LAST_DAY:
            break
        for opens, closes in sessions_of(asset_class, day, extended=extended, hours_of=hours_of):
            if open_until is None and opens > instant_ns:
                return Hours(is_open=False, until_ns=opens)
            # Open at midnight: the next day's part goes on where this one ended.
            if closes > instant_ns and open_until in {None, opens}:
                open_until = closes
        if open_until is not None and open_until != day_bounds(day)[1]:
            break
    return Hours(is_open=open_until is not None, until_ns=open_until)


def _fx(day: dt.date) -> tuple[Span, ...]:
    begins, ends = day_bounds(day)
    weekday = day.weekday()
    if weekday == _SATURDAY:
        return ()
    turns = _instant(day, _FX_TURNS, MARKET_ZONE)
    return ((turns if weekday == _SUNDAY else begins, turns if weekday == _FRIDAY else ends),)


def _session(exchange: _StockExchange, day: dt.date, *, extended: bool) -> Span | None:
    """Of a day there."""
    session = _regular(exchange, day)
    if session is None or not extended:
        return session
    later_ns = int(exchange.after_hours.total_seconds()) * NS_PER_SECOND
    return _instant(day, exchange.pre_open, exchange.zone), session[1] + later_ns


def _regular(exchange: _StockExchange, day: dt.date) -> Span | None:
    if day.year in exchange.years:
        known = _sessions(exchange, day.year - day.year % exchange.years_at_once)
        if known is not None:
            return known.get(day)
    if day.weekday() >= _SATURDAY:
        return None
    zone = exchange.zone
    return _instant(day, exchange.opens, zone), _instant(day, exchange.closes, zone)


@lru_cache(maxsize=16)
def _sessions(exchange: _StockExchange, first_year: int) -> Mapping[dt.date, Span] | None:
    """The stock exchange's sessions of some years; None: their holidays are not known."""
    import exchange_calendars  # noqa: PLC0415 - 0.1 s beside pandas' 0.3; only who asks pays it

    try:
        calendar = exchange_calendars.get_calendar(
            exchange.calendar,
            start=dt.date(first_year, 1, 1).isoformat(),
            end=dt.date(first_year + exchange.years_at_once - 1, 12, 31).isoformat(),
        )
    except ValueError:  # "The XBOM holidays are only recorded to the year 2026 …"
        return None
    days = calendar.sessions.date
    opens, closes = (
        map(int, column.dt.tz_convert(None).to_numpy().astype("datetime64[ns]").astype("int64"))
        for column in (calendar.opens, calendar.closes)
    )
    return dict(zip(days, zip(opens, closes, strict=True), strict=True))


def _instant(day: dt.date, time: dt.time, zone: dt.tzinfo) -> int:
    moment = dt.datetime.combine(day, time, tzinfo=zone)
    return int(moment.timestamp()) * NS_PER_SECOND
