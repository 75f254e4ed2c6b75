"""Subscribers: each event once, first come; the slow lose the oldest; nobody slows capture."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edc_pipeline.capture.live import Live, Once
from edc_pipeline.coded import Coded
from edc_pipeline.events import EVENT_TYPES, AnyEvent, EventType, Quote, Trade, content_key
from edc_pipeline.vendors.contract import Columns

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


@given(
    reads=st.lists(
        st.tuples(st.sampled_from("abc"), st.lists(st.integers(0, 30), max_size=12)), max_size=30
    ),
    by_id=st.booleans(),
)
def test_a_read_is_told_apart_as_one_by_one(
    reads: list[tuple[str, list[int]]], by_id: bool
) -> None:
    together, one_by_one = Once(lambda _: by_id), Once(lambda _: by_id)
    for at, (connection, prices) in enumerate(reads):
        events = [trade(price) for price in prices]
        new = together.new_ones(connection, events, list(map(content_key, events)), at)
        assert list(new) == [e for e in events if one_by_one.is_new(connection, e, at)]


@given(st.lists(st.integers(0, 30), max_size=40), st.integers(2, 40))
def test_of_reads_the_latest_are_remembered_and_no_more(sizes: list[int], most: int) -> None:
    once, keys = Once(remember_events=most), list[tuple[object, ...]]()
    for size in sizes:
        events = [trade(len(keys) + n) for n in range(size)]
        of_read = list(map(content_key, events))
        once.new_ones("a", events, of_read, 1)
        keys += of_read
        remembered = {**once._older, **once._recent}
        assert len(remembered) <= most
        assert set(keys[-(most // 2) :]) <= remembered.keys()


def columns(event_type: EventType, symbols: list[str], places: list[int]) -> Columns:
    kinds = ("price", "size") if event_type == "trade" else ("bid_price", "bid_size")
    numbers = {kind: np.array(places, np.float64) for kind in kinds}
    if event_type == "quote":
        numbers |= {"ask_price": np.full(len(places), np.nan), "ask_size": np.zeros(len(places))}
    constants = {"vendor": "v", "feed": "f", "asset_class": "equity"}
    times = {"ts_event": np.arange(len(places))}
    return Columns(
        event_type, constants, times | numbers, {"symbol": Coded.of(symbols)}, {}, np.array(places)
    )


READ = [
    columns("trade", ["SPY", "QQQ", "SPY"], [0, 2, 5]),
    columns("quote", ["QQQ", "SPY"], [1, 4]),
]


@pytest.mark.parametrize(
    ("types", "symbols", "told"),
    [
        (("trade", "quote"), None, [0, 1, 2, 4, 5]),
        (("trade",), None, [0, 2, 5]),
        (("trade", "quote"), ("QQQ",), [1, 2]),
        (("ref_px",), None, []),
        (("quote",), ("IBM",), []),
    ],
)
def test_a_read_is_given_in_the_order_of_its_frames(
    types: tuple[EventType, ...], symbols: tuple[str, ...] | None, told: list[int]
) -> None:
    live = Live()
    other = live.subscribe(("trade",), ("SPY",), 99)
    subscriber = live.subscribe(types, symbols, 99)
    live.publish_many("stocks", "a", READ, 7)
    given = [e.price if isinstance(e, Trade) else e.bid_price for e in subscriber._waiting]  # type: ignore[union-attr]
    assert given == told
    assert {event.created_at for event in subscriber._waiting} <= {7}
    live.publish_many("stocks", "b", READ, 8)
    assert subscriber.waiting == len(told)
    assert (other.waiting, live.late_copies["stocks"]) == (2, len({*told, 0, 5}))


def test_rows_of_one_frame_are_given_in_the_order_in_which_they_stand_there() -> None:
    """Quote, trade, trade; then trade, quote: two frames, and two columns."""
    ranked = [
        replace(columns("trade", ["SPY", "QQQ", "SPY"], [0, 0, 1]), ranks=np.array([1, 2, 3])),
        replace(columns("quote", ["QQQ", "SPY"], [0, 1]), ranks=np.array([0, 4])),
    ]
    live = Live()
    all_of_it, some = live.subscribe(EVENT_TYPES, None, 9), live.subscribe(EVENT_TYPES, ["SPY"], 9)
    live.publish_many("stocks", "a", ranked, 7)
    kinds = [(event.event_type, event.symbol) for event in all_of_it._waiting]
    trades, quotes = ("trade", "SPY"), ("quote", "SPY")
    assert kinds == [("quote", "QQQ"), trades, ("trade", "QQQ"), trades, quotes]
    assert [(e.event_type, e.symbol) for e in some._waiting] == [trades, trades, quotes]


def test_who_subscribes_between_an_event_and_its_copy_hears_the_copy_once() -> None:
    live = Live(lambda event: bool(event.event_id))
    live.subscribe(("trade",), ["SPY"], 9)
    came: list[AnyEvent] = [trade(1, "QQQ", "t1")]
    live.publish("stocks", "a", came, 1)  # nobody asks for QQQ
    late = live.subscribe(("trade",), ["QQQ"], 9)
    for connection in "bcb":
        live.publish("stocks", connection, came, 2)
    assert list(late._waiting) == came


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
