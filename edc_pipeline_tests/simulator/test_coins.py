"""Binance, Coinbase and Kraken as their documentation has them, server side."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from edc_pipeline.simulator.binance import MOST_STREAMS, Binance, BinanceSession
from edc_pipeline.simulator.coinbase import AdvancedSession, Coinbase, ExchangeSession
from edc_pipeline.simulator.instruments import listing
from edc_pipeline.simulator.kraken import Kraken, KrakenSession
from edc_pipeline.simulator.market import QUOTE, TRADE, Market, Pace, Tick, rows
from edc_pipeline.simulator.session import Asked, Session
from edc_pipeline.simulator.tape import MessageLimit, Tape

START = 1_769_094_000_000_000_000
INSTRUMENTS = listing(["BTC/USDT", "ETH/USD", "SPY"])
TICKS = rows(
    Market(INSTRUMENTS, start_ns=START, seed=1, pace=Pace(rate=5_000, one_sided_share=0.05)).take(
        4_000
    )
)


def of_venue(venue: int, kind: int, instrument: int = 0) -> list[Tick]:
    return [t for t in TICKS if (t.venue, t.kind, t.instrument) == (venue, kind, instrument)]


def told(session: Session, tick: Tick) -> list[dict[str, Any]]:
    made = session.on_tick(tick)
    if made is None:
        return []
    frames = [made] if isinstance(made, str | bytes) else made
    return [json.loads(frame) for frame in frames]


def answers(session: Session, **message: Any) -> list[dict[str, Any]]:
    return [json.loads(reply.body) for reply in session.on_message(json.dumps(message))]


# -- the tape ---------------------------------------------------------------------------------


def test_trades_are_numbered_without_gaps_for_every_coin() -> None:
    tape = Tape(INSTRUMENTS, venue=1)
    heard: dict[int, list[int]] = {0: [], 1: []}
    for tick in TICKS:
        here = tape.hear(tick)
        assert tape.hear(tick) == here  # whoever asks again changes nothing
        assert here == (tick.venue == 1 and tick.instrument != 2)
        if here and tick.kind == TRADE:
            heard[tick.instrument].append(tape.trades(tick.instrument)[-1].number)
    for numbers in heard.values():
        assert len(numbers) > 20
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert heard[0][0] != heard[1][0]


def test_book_changes_only_increase() -> None:
    tape = Tape(INSTRUMENTS, venue=1)
    changes = [tape.changes(0) for tick in TICKS if tape.hear(tick) and tick.instrument == 0]
    assert all(later > sooner for sooner, later in pairwise(changes))
    assert changes[-1] - changes[0] > len(changes)


def test_the_limit_counts_any_second() -> None:
    now = 0.0
    limit = MessageLimit(3, clock=lambda: now)
    assert [limit.exceeded() for _ in range(3)] == [False] * 3
    now = 0.99
    assert limit.exceeded()
    now = 5.0
    assert not limit.exceeded()


# -- Binance ----------------------------------------------------------------------------------


def binance(path: str = "/ws", service: str = "spot", **query: str) -> BinanceSession:
    return Binance(INSTRUMENTS).session(service, 1, Asked(path, query))


def test_a_subscription_is_answered_by_its_id_and_brings_only_its_streams() -> None:
    mine = binance()
    assert mine.subscription is None
    assert told(mine, of_venue(1, TRADE)[0]) == []
    assert answers(mine, method="SUBSCRIBE", params=["btcusdt@trade"], id=7) == [
        {"result": None, "id": 7}
    ]
    (frame,) = told(mine, of_venue(1, TRADE)[1])
    assert frame.keys() == set("eEstpqTmM")
    assert told(mine, of_venue(1, QUOTE)[0]) == []
    assert told(mine, of_venue(0, TRADE)[0]) == []
    answers(mine, method="UNSUBSCRIBE", params=["btcusdt@trade"], id=8)
    assert told(mine, of_venue(1, TRADE)[2]) == []


def test_a_buyer_who_was_the_maker_means_that_the_seller_came() -> None:
    mine = binance()
    answers(mine, method="SUBSCRIBE", params=["btcusdt@trade"], id=1)
    for tick in of_venue(1, TRADE)[:50]:
        (frame,) = told(mine, tick)
        assert frame["m"] == (tick.price < tick.ask or tick.ask != tick.ask)
        assert float(frame["p"]) == tick.price
        assert frame["T"] == tick.ts_ns // 1_000_000


def test_spots_book_ticker_has_no_time_and_the_futures_has() -> None:
    quote = of_venue(1, QUOTE)[0]
    spot, usdm = binance(), binance("/public/ws", "usdm_public")
    for mine in (spot, usdm):
        answers(mine, method="SUBSCRIBE", params=["btcusdt@bookTicker"], id=1)
    (of_spot,), (of_usdm,) = told(spot, quote), told(usdm, quote)
    assert of_spot.keys() == set("usbBaA")
    assert of_usdm.keys() == set("eusbBaATE")


def test_streams_in_the_address_microseconds_and_the_wrapper() -> None:
    query = {"streams": "btcusdt@trade/btcusdt@bookTicker", "timeUnit": "MICROSECOND"}
    mine = binance("/stream", **query)
    tick = of_venue(1, TRADE)[0]
    (frame,) = told(mine, tick)
    assert frame["stream"] == "btcusdt@trade"
    assert frame["data"]["T"] == tick.ts_ns // 1_000
    raw = binance("/ws/btcusdt@trade")
    assert told(raw, tick)[0]["e"] == "trade"


def test_a_route_of_futures_brings_only_its_own() -> None:
    mine = binance("/market/ws", "usdm")
    answers(mine, method="SUBSCRIBE", params=["btcusdt@aggTrade", "btcusdt@bookTicker"], id=1)
    assert told(mine, of_venue(1, QUOTE)[0]) == []
    assert told(mine, of_venue(1, TRADE)[0])[0]["e"] == "aggTrade"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"method": "SUBSCRIBE", "params": ["not asdfads"], "id": 1}, 2),
        ({"method": "SUBSCRIBE", "params": [], "id": 1}, 2),
        ({"method": "SUBSCRIBE", "id": 1}, 2),
        ({"method": "SHOUT", "params": ["a@trade"], "id": 1}, 2),
        ({"method": "SET_PROPERTY", "params": ["colour", True], "id": 1}, 0),
        (
            {
                "method": "SUBSCRIBE",
                "params": [f"c{n}@trade" for n in range(MOST_STREAMS + 1)],
                "id": 1,
            },
            2,
        ),
    ],
)
def test_a_request_that_is_none_is_refused_and_the_connection_stays(
    message: dict[str, Any], code: int
) -> None:
    mine = binance()
    (answer,) = answers(mine, **message)
    assert (answer["code"], answer["id"]) == (code, 1)
    assert answer["msg"]
    assert not mine.refused


def test_what_is_no_json_is_refused_without_an_id() -> None:
    (reply,) = binance().on_message("{")
    assert json.loads(reply.body).keys() == {"code", "msg"}


def test_too_many_messages_end_the_connection() -> None:
    mine = binance()
    for number in range(5):
        answers(mine, method="LIST_SUBSCRIPTIONS", id=number)
    assert not mine.refused
    answers(mine, method="LIST_SUBSCRIPTIONS", id=6)
    assert mine.refused


# -- Coinbase ---------------------------------------------------------------------------------


def exchange() -> ExchangeSession:
    session = Coinbase(INSTRUMENTS).session("exchange", 1, Asked("/exchange"))
    assert isinstance(session, ExchangeSession)
    return session


def advanced() -> AdvancedSession:
    session = Coinbase(INSTRUMENTS).session("advanced", 1, Asked("/advanced"))
    assert isinstance(session, AdvancedSession)
    return session


def subscribe(session: Session, product: str, *channels: str) -> list[dict[str, Any]]:
    return answers(session, type="subscribe", product_ids=[product], channels=list(channels))


def test_answers_list_all_that_stands_and_ticker_batch_by_another_name() -> None:
    mine = exchange()
    subscribe(mine, "BTC-USDT", "matches")
    (answer,) = subscribe(mine, "ETH-USD", "matches", "ticker_batch")
    listed = {c["name"]: c["product_ids"] for c in answer["channels"]}
    assert listed == {"matches": ["BTC-USDT", "ETH-USD"], "ticker_1000": ["ETH-USD"]}


def test_every_match_comes_again_as_a_ticker_with_the_other_side() -> None:
    mine = exchange()
    subscribe(mine, "BTC-USDT", "matches", "ticker")
    for tick in of_venue(0, TRADE)[:30]:
        match, ticker = told(mine, tick)
        assert match["trade_id"] == ticker["trade_id"]
        assert {match["side"], ticker["side"]} == {"buy", "sell"}
        assert ticker["side"] == ("buy" if tick.price >= tick.ask else "sell")
    assert told(mine, of_venue(0, QUOTE)[0]) == []


def test_who_subscribes_gets_the_last_match_and_its_ticker() -> None:
    server = Coinbase(INSTRUMENTS)
    tick = of_venue(0, TRADE)[0]
    server.tape.hear(tick)
    mine = server.session("exchange", 1, Asked("/exchange"))
    _, last, ticker = subscribe(mine, "BTC-USDT", "matches", "ticker")
    assert (last["type"], float(last["price"])) == ("last_match", tick.price)
    assert last["trade_id"] == ticker["trade_id"]


def test_heartbeats_go_round_the_products() -> None:
    mine = exchange()
    assert mine.heartbeat() is None
    for product in ("BTC-USDT", "ETH-USD"):
        subscribe(mine, product, "heartbeat")
    beats = [mine.heartbeat() for _ in range(4)]
    products = [json.loads(beat.body)["product_id"] for beat in beats if beat is not None]
    assert products == ["BTC-USDT", "ETH-USD"] * 2


@pytest.mark.parametrize(
    ("product", "channel"), [("FOO-USD", "matches"), ("BTC-USDT", "gossip"), ("SPY", "matches")]
)
def test_what_is_not_listed_is_refused(product: str, channel: str) -> None:
    mine = exchange()
    (answer,) = subscribe(mine, product, channel)
    assert answer["type"] == "error"
    assert "is not a valid" in answer["reason"]
    assert mine.subscription is None


def test_advanced_numbers_every_frame_of_a_connection_from_0() -> None:
    mine = advanced()
    frames = answers(mine, type="subscribe", channel="heartbeats")
    for channel in ("market_trades", "ticker"):
        frames += answers(mine, type="subscribe", channel=channel, product_ids=["BTC-USDT"])
    frames += told(mine, of_venue(0, TRADE)[0])
    beat = mine.heartbeat()
    assert beat is not None
    frames.append(json.loads(beat.body))
    assert [frame["sequence_num"] for frame in frames] == list(range(6))
    assert [frame["channel"] for frame in frames[3:]] == ["market_trades", "ticker", "heartbeats"]
    (trade,) = frames[3]["events"][0]["trades"]
    assert isinstance(trade["trade_id"], str)
    assert trade["side"] in ("BUY", "SELL")


def test_advanceds_snapshot_is_newest_first() -> None:
    server = Coinbase(INSTRUMENTS)
    for tick in of_venue(0, TRADE)[:5]:
        server.tape.hear(tick)
    mine = server.session("advanced", 1, Asked("/advanced"))
    channel = {"type": "subscribe", "channel": "market_trades", "product_ids": ["BTC-USDT"]}
    _, snapshot = answers(mine, **channel)
    numbers = [int(trade["trade_id"]) for trade in snapshot["events"][0]["trades"]]
    assert numbers == list(range(numbers[0], numbers[0] - 5, -1))


# -- Kraken -----------------------------------------------------------------------------------


def kraken(server: Kraken | None = None) -> KrakenSession:
    return (server or Kraken(INSTRUMENTS)).session("spot", 1, Asked("/v2"))


def ask(session: Session, channel: str, *symbols: str, **params: Any) -> list[dict[str, Any]]:
    of = {"channel": channel, "symbol": list(symbols), **params}
    return answers(session, method="subscribe", params=of, req_id=1)


def test_kraken_greets_with_its_status_and_a_large_number() -> None:
    (greeting,) = kraken().greeting()
    status = json.loads(greeting.body)
    assert status["channel"] == "status"
    assert status["data"][0]["connection_id"] > 2**63


def test_each_symbol_is_answered_and_a_refused_one_leaves_the_socket() -> None:
    mine = kraken()
    assert mine.heartbeat() is None
    good, bad, snapshot = ask(mine, "trade", "BTC/USDT", "XBT/USD")
    assert (good["success"], good["result"]["symbol"]) == (True, "BTC/USDT")
    assert (bad["success"], bad["error"]) == (False, "Currency pair not supported XBT/USD")
    assert (snapshot["type"], snapshot["data"]) == ("snapshot", [])
    assert not mine.refused
    assert mine.heartbeat() is not None


def test_every_subscription_brings_the_last_50_trades_unless_told_not_to() -> None:
    server = Kraken(INSTRUMENTS)
    ticks = of_venue(3, TRADE)[:60]
    for tick in ticks:
        server.tape.hear(tick)
    mine = kraken(server)
    for _ in range(2):
        _, snapshot = ask(mine, "trade", "BTC/USDT")
        assert [row["price"] for row in snapshot["data"]] == [t.price for t in ticks[-50:]]
    assert len(ask(mine, "trade", "BTC/USDT", snapshot=False)) == 1


def test_quotes_come_only_with_the_trigger_bbo() -> None:
    stale, fresh = kraken(), kraken()
    ask(stale, "ticker", "BTC/USDT")
    ask(fresh, "ticker", "BTC/USDT", event_trigger="bbo")
    quote = of_venue(3, QUOTE)[0]
    assert told(stale, quote) == []
    (frame,) = told(fresh, quote)
    assert frame["data"][0]["ask"] == quote.ask


def test_a_symbol_without_a_book_has_zeros_and_the_time_of_1970() -> None:
    _, snapshot = ask(kraken(), "ticker", "BTC/USDT", event_trigger="bbo")
    (row,) = snapshot["data"]
    assert (row["bid"], row["ask_qty"]) == (0, 0)
    assert row["timestamp"].startswith("1970-01-01")


def test_ping_and_what_is_none_of_its_requests() -> None:
    mine = kraken()
    (pong,) = answers(mine, method="ping")
    assert pong["method"] == "pong"
    (error,) = answers(mine, method="shout")
    assert error["success"] is False
    (error,) = (json.loads(reply.body) for reply in mine.on_message(b"\xff"))
    assert error["success"] is False
