"""Subscribers: each event once, first come; the slow lose the oldest; nobody slows capture."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edc_pipeline.capture.live import Live, Once
from edc_pipeline.events import AnyEvent, EventType, Quote, Trade

S = 10**9


def trade(price: float, symbol: str = "SPY", event_id: str = "") -> Trade:
    return Trade(
        ts_event=7, symbol=symbol, asset_class="equity", vendor="v", feed="f", created_at=1,
        price=price, size=1.0, event_id=event_id,
    )  # fmt: skip


def quote(symbol: str = "SPY") -> Quote:
    return Quote(
        ts_event=7, symbol=symbol, asset_class="equity", vendor="v", feed="f", created_at=1,
        bid_price=1.0, bid_size=1.0, ask_price=2.0, ask_size=1.0,
    )  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4)), max_size=120))
def test_copies_delivered_are_the_most_of_any_connection(came: list[tuple[str, int]]) -> None:
    """The rule of the daily file, whatever the order in which connections bring them."""
    once = Once()
    delivered = Counter(p for c, p in came if once.is_new(c, trade(p), 1))
    by_connection = Counter(came)
    assert delivered == Counter(
        {p: max(by_connection[c, p] for c in "abc") for p in {p for _, p in came}}
    )


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4)), max_size=60))
def test_with_an_id_an_event_comes_once(came: list[tuple[str, int]]) -> None:
    once = Once(lambda event: bool(event.event_id))
    delivered = [p for c, p in came if once.is_new(c, trade(p, event_id=f"{p}"), 1)]
    assert sorted(delivered) == sorted({p for _, p in came})


@given(st.lists(st.integers(0, 10**6), max_size=300), st.integers(2, 40))
def test_what_is_remembered_is_bounded(prices: list[int], most: int) -> None:
    once = Once(remember_events=most)
    for price in prices:
        once.is_new("a", trade(price), 1)
        assert len(once._recent) + len(once._older) <= most


def test_it_forgets_after_a_time_and_not_before() -> None:
    once = Once(remember_ns=10 * S)
    assert once.is_new("a", trade(1), 0)
    assert once.is_new("a", trade(2), 9 * S)
    assert not once.is_new("b", trade(1), 10 * S)
    assert once.is_new("a", trade(3), 31 * S)
    assert once.is_new("b", trade(2), 32 * S)


def taken(live: Live, events: list[AnyEvent], **asked: object) -> list[AnyEvent]:
    async def scenario() -> list[AnyEvent]:
        types: tuple[EventType, ...] = asked.get("types", ("trade", "quote"))  # type: ignore[assignment]
        subscriber = live.subscribe(types, asked.get("symbols"), 100)  # type: ignore[arg-type]
        live.publish("stocks", "c/0.0", events, 1)
        live.close()
        return [event async for event in subscriber]

    return asyncio.run(scenario())


def test_a_subscriber_gets_what_it_asked_for() -> None:
    events: list[AnyEvent] = [trade(1), quote(), trade(2, "QQQ"), quote("QQQ")]
    assert taken(Live(), events, types=("trade",)) == [events[0], events[2]]
    assert taken(Live(), events, symbols=["QQQ"]) == events[2:]
    assert taken(Live(), events) == events


def test_a_slow_subscriber_loses_the_oldest_and_others_lose_nothing() -> None:
    async def scenario() -> None:
        live = Live()
        slow, quick = live.subscribe(("trade",), None, 3), live.subscribe(("trade",), None, 99)
        live.publish("stocks", "a", [trade(n) for n in range(10)], 1)
        assert (slow.lost, slow.waiting, quick.lost, quick.waiting) == (7, 3, 0, 10)
        live.close()
        assert [e.price async for e in slow if isinstance(e, Trade)] == [7.0, 8.0, 9.0]
        assert live.lost == 7

    asyncio.run(scenario())


def test_nobody_listens_after_the_last_has_left() -> None:
    live = Live()
    assert live.subscribers == 0
    one, two = live.subscribe(("trade",), None, 1), live.subscribe(("trade",), None, 1)
    one.close()
    assert (live.subscribers, live.listening) == (1, True)
    two.close()
    two.close()
    assert (live.subscribers, live.listening) == (0, False)


def test_a_waiting_subscriber_wakes_for_an_event_and_for_the_end() -> None:
    async def scenario() -> None:
        live = Live()
        subscriber = live.subscribe(("trade",), None, 5)
        waiting = asyncio.ensure_future(anext(subscriber))
        await asyncio.sleep(0)
        live.publish("stocks", "a", [trade(1)], 1)
        assert (await waiting).symbol == "SPY"
        ended = asyncio.ensure_future(anext(subscriber, None))
        await asyncio.sleep(0)
        live.close()
        assert await ended is None

    asyncio.run(scenario())


def test_a_wrong_call_is_told() -> None:
    with pytest.raises(ValueError, match="limit: 0"):
        Live().subscribe(("trade",), None, 0)
    with pytest.raises(ValueError, match="there are trade, quote, ref_px"):
        Live().subscribe(("bar",), None, 1)  # type: ignore[arg-type]
