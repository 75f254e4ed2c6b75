"""The gate looks at an event in one go and at its day by bounds; both must say what the plain
questions say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edc_pipeline.capture.admission import Admission
from edc_pipeline.coded import MAX_TEXT_LENGTH, Coded
from edc_pipeline.events import (
    NS_MAX,
    NS_MIN,
    AnyEvent,
    Trade,
    _fault,
    first_fault,
)
from edc_pipeline.market_day import day_bounds, market_day
from edc_pipeline.vendors.contract import Columns, Reading
from edc_pipeline_tests.market import NOON, quote, ref_px, trade

DAY_NS = 86_400 * 10**9
INFINITE = float("inf")

numbers = st.floats() | st.sampled_from([0.0, -0.0, INFINITE, -INFINITE, 1e308])
texts = st.sampled_from(["", "SPY", "Ω", "\x00", "a\u2028b", "x" * 64, "x" * 128, "x" * 129])
stamps = st.integers(NS_MIN - 2, NS_MAX + 2) | st.sampled_from([NS_MIN, NS_MAX])
numbered = st.sampled_from([-2, -1, 0, 7, NS_MAX, NS_MAX + 1])
shared: dict[str, Any] = {
    "symbol": texts,
    "venue": texts,
    "event_id": texts,
    "ts_event": stamps,
    "seq": numbered,
}
any_event = st.one_of(
    st.builds(trade, **shared, price=numbers, size=numbers, conditions=texts),
    st.builds(
        quote, **shared, bid_price=numbers, bid_size=numbers, ask_price=numbers, ask_size=numbers
    ),
    st.builds(ref_px, **shared, price=numbers, size=numbers, kind=texts),
)


@given(event=any_event)
def test_a_fault_is_found_in_one_go_as_it_is_piece_by_piece(event: AnyEvent) -> None:
    assert first_fault(event) == _fault(event)


@given(
    st.lists(
        st.builds(
            trade,
            symbol=texts,
            event_id=texts,
            venue=texts,
            conditions=texts,
            price=numbers,
            seq=st.sampled_from([-2, -1, 0, NS_MAX]),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_columns_with_a_fault_are_not_admitted_together(events: list[Trade]) -> None:
    names = ("event_id", "venue", "conditions")
    try:
        coded = {"symbol": Coded.of([event.symbol for event in events])}
    except ValueError:
        assert any(map(first_fault, events))
        return
    columns = Columns(
        "trade",
        {"vendor": "tiingo", "feed": "iex", "asset_class": "etf"},
        {
            "ts_event": np.array([event.ts_event for event in events]),
            "seq": np.array([event.seq for event in events]),
            "price": np.array([event.price for event in events]),
            "size": np.array([event.size for event in events]),
        },
        coded,
        {name: [getattr(event, name) for event in events] for name in names},
        np.arange(len(events)),
    )
    admitted = Admission(None).admit_many([columns], NOON)
    if admitted is not None:
        assert not any(map(first_fault, events))
    else:
        assert any(map(first_fault, events))


def test_texts_that_are_long_only_together_are_no_fault() -> None:
    half = "x" * (MAX_TEXT_LENGTH - 1)
    assert first_fault(trade(symbol=half, venue=half, conditions=half)) is None


@given(
    received_at=st.integers(0, NS_MAX),
    away=st.integers(-40 * DAY_NS, 40 * DAY_NS),
    days=st.sampled_from([1, 7, 30, 36_500]),
)
def test_the_horizon_is_counted_in_market_days(received_at: int, away: int, days: int) -> None:
    ts_event = received_at + away
    if not NS_MIN <= ts_event <= NS_MAX:
        return
    gate = Admission(days)
    gate.admit(Reading([trade(ts_event=NOON)]), NOON)  # another day's bounds come first
    reading = gate.admit(Reading([trade(ts_event=ts_event)]), received_at)
    inside = abs((market_day(ts_event) - market_day(received_at)).days) <= days
    assert reading.outcome == ("events" if inside else "quarantined")
    assert bool(reading.faults) is not inside


@pytest.mark.parametrize("offset", [-1, 0])
@pytest.mark.parametrize("days", [1, 7])
def test_the_horizon_ends_at_a_midnight(offset: int, days: int) -> None:
    day = market_day(NOON)
    end = day_bounds(day.fromordinal(day.toordinal() + days))[1]
    reading = Admission(days).admit(Reading([trade(ts_event=end + offset)]), NOON)
    assert bool(reading.events) is (offset < 0)


def test_one_faulty_event_does_not_cost_the_others_of_its_frame() -> None:
    events: list[AnyEvent] = [trade(), trade(price=INFINITE), trade(ts_event=NOON + 9 * DAY_NS)]
    reading = Admission(7).admit(Reading([*events, trade()]), NOON)
    assert [event.occurrence for event in reading.events] == [0, 1]
    assert [fault.split(":")[0] for fault in reading.faults] == ["price", "ts_event"]


def test_a_frame_of_faulty_events_tells_some_and_keeps_every_number() -> None:
    events: list[AnyEvent] = [trade(seq=n, price=INFINITE) for n in range(20_000)]
    reading = Admission(7).admit(Reading(events), NOON)
    assert reading.events == []
    assert len(reading.faults) == 21
    assert [event.seq for event in reading.refused] == list(range(20_000))
