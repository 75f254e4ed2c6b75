"""No window of a vendor's ever holds more requests than it allows, over restarts too."""

from __future__ import annotations

import datetime as dt
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edc_pipeline.transports.budget import NS_PER_S, PERIOD_S, Limit, Meter, Period

NOON = 1_769_101_200 * NS_PER_S
_WINDOWS: tuple[Period, ...] = ("second", "minute", "hour")


def day_of(ns: int) -> dt.date:
    return dt.datetime.fromtimestamp(ns // NS_PER_S, dt.UTC).date()


def spend(meter: Meter, at: int) -> None:
    meter.end(meter.begin(at), at)


def test_what_is_under_way_counts_until_it_is_over() -> None:
    meter = Meter([Limit(2, "second")])
    first, second = meter.begin(NOON), meter.begin(NOON)
    later = NOON + 60 * NS_PER_S
    assert meter.wait_ns(later) > 0
    meter.end(first, later)
    meter.end(second, later)
    assert 0 < meter.wait_ns(later + NS_PER_S // 2) <= NS_PER_S
    assert meter.wait_ns(later + 2 * NS_PER_S) == 0


def restarted(meter: Meter, kept_at: int, now: int) -> Meter:
    """As a new process reads now what was kept then: the state goes through JSON."""
    kept = json.loads(json.dumps(meter.state(kept_at)))
    spent = {per: {int(n): count for n, count in counts.items()} for per, counts in kept.items()}
    return Meter(meter.limits, spent, now)


@given(
    limits=st.lists(
        st.builds(Limit, st.integers(1, 12), st.sampled_from([*_WINDOWS, "day", "month"])),
        min_size=1,
        max_size=4,
        unique_by=lambda limit: limit.per,
    ),
    steps=st.lists(
        st.tuples(
            st.one_of(
                st.integers(0, 3 * NS_PER_S),
                st.integers(0, 5 * 60 * NS_PER_S),
                st.integers(0, 40 * 86_400 * NS_PER_S),
            ),
            st.booleans(),
            st.sampled_from([0, 0, 1, 10**8, 3 * 10**9]),
            st.booleans(),
        ),
        min_size=1,
        max_size=120,
    ),
)
def test_no_window_ever_holds_more_than_its_limit(
    limits: list[Limit], steps: list[tuple[int, bool, int, bool]]
) -> None:
    """By the vendor's count, which sees a request some time after we sent it; some of them are
    under way when their process is killed."""
    meter, now, made = Meter(limits), NOON, []
    for passes_ns, restarts, stalls_ns, killed in steps:
        now += passes_ns
        if restarts:
            meter = restarted(meter, now, now)
        if meter.wait_ns(now) == 0:
            number, began = meter.begin(now), now
            made.append(now + stalls_ns // 2)
            now += stalls_ns
            if killed:
                meter = restarted(meter, began, now)
            else:
                meter.end(number, now)
    for limit in limits:
        if limit.per in _WINDOWS:
            window = PERIOD_S[limit.per] * NS_PER_S
            for first in made:
                assert sum(first <= at < first + window for at in made) <= limit.requests
            continue
        days = [day_of(at) for at in made]
        periods = [(d.year, d.month, d.day if limit.per == "day" else 0) for d in days]
        assert all(periods.count(period) <= limit.requests for period in periods)


@given(
    limit=st.builds(Limit, st.integers(1, 5), st.sampled_from(sorted(PERIOD_S))),
    start=st.integers(NOON, NOON + 400 * 86_400 * NS_PER_S),
)
def test_after_the_wait_one_more_is_allowed_and_not_before(limit: Limit, start: int) -> None:
    meter = Meter([limit])
    for _ in range(limit.requests):
        assert meter.wait_ns(start) == 0
        spend(meter, start)
    wait = meter.wait_ns(start)
    assert wait > 0
    assert meter.wait_ns(start + wait - 1) == 1
    assert meter.wait_ns(start + wait) == 0
    # What the slices give away: a tenth of a second, a second, a minute, no more.
    slack = {"second": 0.1, "minute": 1.0, "hour": 60.0}.get(limit.per, 0.0)
    longest = 31 * 86_400 if limit.per == "month" else PERIOD_S[limit.per]
    assert wait <= (longest + slack) * NS_PER_S


def test_the_vendors_day_ends_at_midnight_utc() -> None:
    midnight = NOON - NOON % (86_400 * NS_PER_S) + 86_400 * NS_PER_S
    meter = Meter([Limit(2, "day")])
    spend(meter, midnight - 2)
    spend(meter, midnight - 1)
    assert meter.wait_ns(midnight - 1) == 1
    assert meter.wait_ns(midnight) == 0
    assert meter.left(midnight) == {"day": 2}


def test_a_month_ends_with_the_year() -> None:
    new_year = int(dt.datetime(2027, 1, 1, tzinfo=dt.UTC).timestamp()) * NS_PER_S
    meter = Meter([Limit(1, "month")])
    spend(meter, new_year - NS_PER_S)
    assert meter.wait_ns(new_year - NS_PER_S) == NS_PER_S


def test_what_waits_for_the_disk_is_kept_as_of_when_it_is_written() -> None:
    """It is sent right afterwards, and the process may be killed then."""
    meter, written = Meter([Limit(1, "minute")]), NOON + 300 * NS_PER_S
    meter.begin(NOON)
    then = restarted(meter, written, written + 20 * NS_PER_S)
    assert then.wait_ns(written + 79 * NS_PER_S) > 0
    assert then.wait_ns(written + 82 * NS_PER_S) == 0


def test_what_was_under_way_long_ago_counts_then() -> None:
    meter = Meter([Limit(1, "day")])
    meter.begin(NOON)
    tomorrow = NOON + 86_400 * NS_PER_S
    assert restarted(meter, NOON, tomorrow).wait_ns(tomorrow) == 0


def test_what_is_under_way_while_the_plan_changes_counts_until_it_is_over() -> None:
    meter = Meter([Limit(1, "minute")])
    number = meter.begin(NOON)
    better = meter.with_limits([Limit(2, "minute"), Limit(5, "second")], NOON + NS_PER_S)
    late = NOON + 50 * NS_PER_S
    better.end(number, late)
    spend(better, late)
    assert better.wait_ns(NOON + 70 * NS_PER_S) > 0
    assert better.wait_ns(late + 62 * NS_PER_S) == 0


def test_what_a_wrong_clock_spent_does_not_block_for_ever() -> None:
    meter = Meter([Limit(1, "minute"), Limit(1, "day")])
    spend(meter, NOON + 3650 * 86_400 * NS_PER_S)
    assert meter.wait_ns(NOON) == 0


@pytest.mark.parametrize("per", ["minute", "day"])
def test_a_better_plan_counts_what_was_asked_before(per: Period) -> None:
    meter = Meter([Limit(3, per)])
    for _ in range(3):
        spend(meter, NOON)
    better = Meter([Limit(4, per)], meter.state(NOON), NOON)
    assert better.wait_ns(NOON) == 0
    spend(better, NOON)
    assert better.wait_ns(NOON) > 0
    worse = Meter([Limit(1, per)], better.state(NOON), NOON)
    assert worse.wait_ns(NOON) > 0
