"""Market hours over holidays, short days and both changes of the clock."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edc_pipeline.events import ASSET_CLASSES, AssetClass
from edc_pipeline.market_day import FIRST_DAY, LAST_DAY, NS_PER_SECOND, day_bounds, market_day
from edc_pipeline.market_hours import HoursOf, any_open, hours, is_open, sessions_of

NEW_YORK = ZoneInfo("America/New_York")


def at(text: str) -> int:
    moment = dt.datetime.fromisoformat(text).replace(tzinfo=NEW_YORK)
    return int(moment.timestamp()) * NS_PER_SECOND


@pytest.mark.parametrize(
    ("day", "opens", "closes"),
    [
        ("2026-01-22", "09:30", "16:00"),
        ("2026-03-06", "09:30", "16:00"),  # the Friday before the clocks go forward
        ("2026-03-09", "09:30", "16:00"),  # and the Monday after
        ("2026-10-30", "09:30", "16:00"),
        ("2026-11-02", "09:30", "16:00"),
        ("2026-11-27", "09:30", "13:00"),  # the day after Thanksgiving
        ("2025-12-24", "09:30", "13:00"),
    ],
)
def test_a_session_is_by_new_yorks_clock(day: str, opens: str, closes: str) -> None:
    (session,) = sessions_of("equity", dt.date.fromisoformat(day))
    assert session == (at(f"{day}T{opens}"), at(f"{day}T{closes}"))
    assert is_open("etf", session[0])
    assert not is_open("etf", session[0] - 1)
    assert is_open("etf", session[1] - 1)
    assert not is_open("etf", session[1])


@pytest.mark.parametrize(
    "day",
    [
        "2026-01-01",
        "2026-01-19",  # Martin Luther King
        "2026-04-03",  # Good Friday
        "2026-06-19",
        "2026-07-03",  # Independence Day falls on a Saturday
        "2026-11-26",
        "2026-12-25",
        "2026-01-24",  # a Saturday
        "2012-10-29",  # a hurricane
        "2001-09-12",
    ],
)
def test_holidays_have_no_session(day: str) -> None:
    assert sessions_of("equity", dt.date.fromisoformat(day)) == ()
    assert sessions_of("equity", dt.date.fromisoformat(day), extended=True) == ()
    assert not is_open("equity", at(f"{day}T12:00"), extended=True)


def test_extended_hours_end_earlier_on_short_days() -> None:
    assert sessions_of("equity", dt.date(2026, 1, 22), extended=True) == (
        (at("2026-01-22T04:00"), at("2026-01-22T20:00")),
    )
    assert sessions_of("equity", dt.date(2026, 11, 27), extended=True) == (
        (at("2026-11-27T04:00"), at("2026-11-27T17:00")),
    )


def test_currencies_trade_from_sunday_to_friday_over_the_change_of_the_clock() -> None:
    # The clocks go forward on Sunday, 2026-03-08, at 2:00.
    assert not is_open("fx", at("2026-03-08T16:59:59"))
    assert is_open("fx", at("2026-03-08T17:00"))
    assert hours("fx", at("2026-03-08T12:00")).until_ns == at("2026-03-08T17:00")
    week = hours("fx", at("2026-03-08T17:00"))
    assert week == (True, at("2026-03-13T17:00"))
    assert hours("fx", at("2026-03-13T17:00")) == (False, at("2026-03-15T17:00"))
    assert hours("fx", at("2026-03-01T17:00")) == (True, at("2026-03-06T17:00"))


def test_hours_tell_the_next_opening_over_a_long_weekend() -> None:
    assert hours("equity", at("2026-01-16T16:00")) == (False, at("2026-01-20T09:30"))
    assert hours("equity", at("2026-01-16T12:00")) == (True, at("2026-01-16T16:00"))
    assert hours("equity", at("2026-01-16T03:00"), extended=True).until_ns == at("2026-01-16T04:00")


@pytest.mark.parametrize("asset_class", ["crypto", "future"])
def test_crypto_never_closes(asset_class: AssetClass) -> None:
    assert hours(asset_class, at("2026-12-25T03:00")) == (True, None)
    day = dt.date(2026, 12, 25)
    assert sessions_of(asset_class, day) == (day_bounds(day),)


@given(
    instant=st.integers(day_bounds(FIRST_DAY)[0], day_bounds(LAST_DAY)[1] - 1)
    | st.integers(at("2025-01-01T00:00"), at("2027-01-01T00:00")),
    asset_class=st.sampled_from(ASSET_CLASSES),
    extended=st.booleans(),
    hours_of=st.sampled_from(["us", "india"]),
)
def test_hours_sessions_and_is_open_agree(
    instant: int, asset_class: AssetClass, *, extended: bool, hours_of: HoursOf
) -> None:
    def opened(when: int) -> bool:
        return is_open(asset_class, when, extended=extended, hours_of=hours_of)

    now = hours(asset_class, instant, extended=extended, hours_of=hours_of)
    assert now.is_open == opened(instant)
    if now.until_ns is not None:
        assert now.until_ns > instant
        if market_day(now.until_ns) <= LAST_DAY:
            assert opened(now.until_ns) is not now.is_open
        assert opened(now.until_ns - 1) is now.is_open


# India, whose clock is never changed


def in_india(text: str) -> int:
    moment = dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Asia/Kolkata"))
    return int(moment.timestamp()) * NS_PER_SECOND


@pytest.mark.parametrize(
    ("day", "in_new_york"),
    [
        ("2026-03-06", ("2026-03-05T22:45", "2026-03-06T05:00")),  # the Friday before
        ("2026-03-09", ("2026-03-08T23:45", "2026-03-09T06:00")),  # New York's clock went forward
        ("2026-10-30", ("2026-10-29T23:45", "2026-10-30T06:00")),
        ("2026-11-02", ("2026-11-01T22:45", "2026-11-02T05:00")),  # and back
    ],
)
def test_indias_session_is_by_its_own_clock(day: str, in_new_york: tuple[str, str]) -> None:
    opens, closes = in_india(f"{day}T09:15"), in_india(f"{day}T15:30")
    assert (opens, closes) == tuple(map(at, in_new_york))
    for asset_class in ASSET_CLASSES:
        assert hours(asset_class, opens, hours_of="india") == (True, closes)
        assert hours(asset_class, opens - 1, hours_of="india") == (False, opens)
        assert not is_open(asset_class, closes, hours_of="india")
    # Its two parts, on either side of New York's midnight.
    midnight = day_bounds(dt.date.fromisoformat(day))[0]
    before = sessions_of("equity", market_day(opens), hours_of="india")
    after = sessions_of("equity", market_day(closes), hours_of="india")
    assert before[-1] == (opens, midnight)
    assert after[0] == (midnight, closes)


def test_indias_pre_open_counts_as_extended_hours() -> None:
    assert not any_open({"equity", "index"}, "india", in_india("2026-01-22T09:00"))
    assert any_open({"equity", "index"}, "india", in_india("2026-01-22T09:00"), extended=True)
    assert not is_open("equity", in_india("2026-01-22T08:59"), extended=True, hours_of="india")
    assert not is_open("equity", in_india("2026-01-22T15:30"), extended=True, hours_of="india")
    # New York is wide awake then.
    assert is_open("equity", at("2026-01-22T12:00"))
    assert not is_open("equity", at("2026-01-22T12:00"), hours_of="india")


def test_india_has_holidays_of_its_own() -> None:
    assert not is_open("equity", in_india("2026-01-26T12:00"), hours_of="india")  # Republic Day
    assert is_open("equity", in_india("2026-01-19T12:00"), hours_of="india")  # King, in New York
    thursday = in_india("2026-04-02T15:30")
    assert hours("equity", thursday, hours_of="india") == (False, in_india("2026-04-06T09:15"))
    # Of a year whose holidays are not known, the weekday tells.
    assert is_open("equity", in_india("2140-01-26T12:00"), hours_of="india")
    assert not is_open("equity", in_india("2140-01-24T12:00"), hours_of="india")  # a Sunday


def test_the_calendar_is_loaded_only_when_a_stock_is_asked_about() -> None:
    code = (
        "import sys, edc_pipeline.market_hours as m;"
        "m.is_open('crypto', 0), m.is_open('fx', 0);"
        "assert 'exchange_calendars' not in sys.modules;"
        "m.is_open('equity', 10**18);"
        "assert 'exchange_calendars' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
