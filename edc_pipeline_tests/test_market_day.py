"""C2: every instant has one New York day, and days have 23, 24 or 25 hours."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edc_pipeline.events import NS_MAX, NS_MIN
from edc_pipeline.market_day import (
    FIRST_DAY,
    LAST_DAY,
    MARKET_ZONE,
    DayFinder,
    day_bounds,
    market_day,
    midnight_ns,
    parse_day,
)

HOUR = 3_600 * 10**9
instants = st.integers(NS_MIN, NS_MAX)
days = st.dates(dt.date(1678, 1, 1), dt.date(2262, 4, 1))


@given(instants)
@example(-1)
@example(0)
@example(NS_MIN)
@example(NS_MAX)
def test_an_instant_lies_inside_its_day(ts: int) -> None:
    first, end = day_bounds(market_day(ts))
    assert first <= ts < end


@given(days)
@example(dt.date(2026, 3, 8))
@example(dt.date(2026, 11, 1))
@example(dt.date(1999, 12, 31))
@example(dt.date(1883, 11, 18))
def test_a_day_holds_its_edges_and_not_one_nanosecond_more(day: dt.date) -> None:
    first, end = day_bounds(day)
    assert market_day(first) == day == market_day(end - 1)
    assert market_day(first - 1) == day - dt.timedelta(days=1)
    assert market_day(end) == day + dt.timedelta(days=1)


@given(days, days)
def test_days_are_ordered_as_their_instants(a: dt.date, b: dt.date) -> None:
    assert (a < b) == (midnight_ns(a) < midnight_ns(b))


@pytest.mark.parametrize(
    ("day", "hours"),
    [
        (dt.date(2026, 1, 22), 24),
        (dt.date(2026, 3, 8), 23),
        (dt.date(2026, 11, 1), 25),
        (dt.date(2007, 3, 11), 23),
        (dt.date(2006, 4, 2), 23),
        (dt.date(2100, 3, 14), 23),
        (dt.date(1969, 12, 31), 24),
    ],
)
def test_days_have_23_24_or_25_hours(day: dt.date, hours: int) -> None:
    first, end = day_bounds(day)
    assert end - first == hours * HOUR


def test_the_repeated_hour_of_autumn_is_in_one_day_twice() -> None:
    first_pass = dt.datetime(2026, 11, 1, 1, 30, fold=0, tzinfo=MARKET_ZONE)
    second_pass = first_pass.replace(fold=1)
    for moment in (first_pass, second_pass):
        assert market_day(int(moment.timestamp()) * 10**9) == dt.date(2026, 11, 1)
    assert second_pass.timestamp() - first_pass.timestamp() == 3600


@given(st.lists(instants, max_size=50))
def test_the_finder_remembers_without_forgetting_what_is_right(stamps: list[int]) -> None:
    find = DayFinder()
    assert [find(ts) for ts in stamps] == [market_day(ts) for ts in stamps]


@pytest.mark.parametrize(
    "text", ["2026-1-22", "20260122", "2026-02-30", "today", "", " 2026-01-22"]
)
def test_what_is_no_day_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="YYYY-MM-DD"):
        parse_day(text)


def test_a_day_is_read() -> None:
    assert parse_day("2026-01-22") == dt.date(2026, 1, 22)


@pytest.mark.parametrize("text", ["0001-01-01", "1677-09-21", "2262-04-10", "9999-12-31"])
def test_a_day_that_no_file_can_hold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"{text} is outside what files hold: 1677-09-22 to 2262"):
        parse_day(text)


def test_the_first_and_the_last_day_have_bounds() -> None:
    for day in (FIRST_DAY, LAST_DAY):
        first, end = day_bounds(parse_day(day.isoformat()))
        assert -(2**63) <= first < end < 2**63
