"""What is Binance's own: streams, spelling, numbers, answers, the short way of its reader."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import msgspec
import pytest

from edc_pipeline.events import AnyEvent, Quote, Trade
from edc_pipeline.vendors.binance import VENDOR, BinanceSession, decoder, reader_of_any_frame
from edc_pipeline.vendors.binance.symbols import check_symbol, to_symbol, to_ticker
from edc_pipeline.vendors.contract import Reading, Subscription
from edc_pipeline_tests.vendors.fixtures_of import RECEIVED_AT, Case, all_cases
from edc_pipeline_tests.vendors.numbers import gaps
from edc_pipeline_tests.vendors.recordings import recorded
from edc_pipeline_tests.vendors.test_conformance import _is_json, _mutations

CASES = [case for case in all_cases() if case.vendor == "binance"]


# -- what is asked for ------------------------------------------------------------------------


def test_asks_for_every_stream_of_every_symbol() -> None:
    session = BinanceSession(Subscription("spot", ("BTC/USDT", "ETH/BTC")), "")
    (message,) = session.opening()
    assert json.loads(message) == {
        "method": "SUBSCRIBE",
        "params": ["btcusdt@trade", "btcusdt@bookTicker", "ethbtc@trade", "ethbtc@bookTicker"],
        "id": 1,
    }


def test_asks_for_the_streams_that_the_options_name() -> None:
    asked = Subscription("usdm", ("BTC/USDT-260925",), {"streams": ["trade"], "combined": True})
    first, second = map(json.loads, BinanceSession(asked, "").opening())
    assert first == {"method": "SET_PROPERTY", "params": ["combined", True], "id": 1}
    assert second["params"] == ["btcusdt_260925@trade"]


def test_many_streams_are_asked_for_in_several_messages_and_all_must_be_answered() -> None:
    most = VENDOR.feeds["spot"].websocket.symbols_per_connection
    assert most is not None
    session = BinanceSession(Subscription("spot", tuple(f"C{n}/USDT" for n in range(most))), "")
    messages = [json.loads(message) for message in session.opening()]
    streams = [stream for message in messages for stream in message["params"]]
    assert len(streams) == len(set(streams)) == 1024
    assert max(map(len, session.opening())) < 8192
    said = []
    for message in messages:
        assert not session.acknowledged
        answer = json.dumps({"result": None, "id": message["id"]}).encode()
        control = session.read(answer, 1).control
        assert control is not None
        said.append(control.kind)
    assert session.acknowledged
    # Only the last answer settles it: before, a refusal told earlier must stay told.
    assert said == ["notice"] * (len(messages) - 1) + ["acknowledged"]


def test_a_refusal_is_no_acknowledgement() -> None:
    session = BinanceSession(Subscription("spot", ("BTC/USDT",)), "")
    said = session.read(b'{"code":2,"msg":"Invalid request","id":1}', 1).control
    assert said is not None
    assert (said.kind, said.detail) == ("refused", "request 1: 2 Invalid request")
    assert not session.acknowledged


def test_microseconds_are_asked_for_in_the_address() -> None:
    query = VENDOR.feeds["spot"].websocket.query
    assert query is not None
    asked = Subscription("spot", ("BTC/USDT",), {"time_unit": "microsecond"})
    assert query(asked, "") == {"timeUnit": "MICROSECOND"}
    assert query(Subscription("spot", ("BTC/USDT",)), "") == {}


@pytest.mark.parametrize(
    ("feed", "options", "told"),
    [
        ("spot", {"streams": ["trade", "depth"]}, "'depth' is none that spot has"),
        ("spot", {"streams": "trade"}, "a list of"),
        ("spot", {"streams": []}, "a list of"),
        ("spot", {"streams": ["trade", "trade"]}, "named twice"),
        ("spot", {"streams": ["trade", "aggTrade"]}, "the same trades"),
        ("spot", {"streams": [["trade"]]}, "is none that spot has"),
        ("usdm", {"streams": ["bookTicker"]}, "'bookTicker' is none that usdm has"),
        ("spot", {"time_unit": "second"}, "millisecond or microsecond"),
        ("usdm", {"time_unit": "microsecond"}, "no such option"),
        ("coinm", {"combined": "yes"}, "true or false"),
    ],
)
def test_a_wrong_option_is_told(feed: str, options: dict[str, Any], told: str) -> None:
    (wrong,) = VENDOR.feeds[feed].check_options(options)
    assert told in wrong


def test_other_symbols_are_asked_for_in_place() -> None:
    session = BinanceSession(Subscription("usdm", ("BTC/USDT", "ETH/USDT")), "")
    changed = Subscription("usdm", ("ETH/USDT", "SOL/USDT"))
    session.opening()
    assert session.change(changed) is None  # before the first answer
    session.read(b'{"result":null,"id":1}', 1)
    assert session.change(Subscription("usdm", ("SOL/USDT",), {"streams": ["trade"]})) is None
    messages = session.change(changed)
    assert messages is not None
    assert [json.loads(message) for message in messages] == [
        {"method": "SUBSCRIBE", "params": ["solusdt@aggTrade"], "id": 2},
        {"method": "UNSUBSCRIBE", "params": ["btcusdt@aggTrade"], "id": 3},
    ]
    for number in (2, 3):
        assert not session.acknowledged
        session.read(f'{{"result":null,"id":{number}}}'.encode(), 1)
    assert session.acknowledged


# -- spelling ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("feed", "symbol", "ticker"),
    [
        ("spot", "BTC/USDT", "btcusdt"),
        ("spot", "ETH/BTC", "ethbtc"),
        ("spot", "USDT/TRY", "usdttry"),
        ("spot", "BTC/FDUSD", "btcfdusd"),
        ("spot", "币安人生/USDT", "币安人生usdt"),
        ("usdm", "BTC/USDT", "btcusdt"),
        ("usdm", "BTC/USDT-260925", "btcusdt_260925"),
        ("usdm_public", "1000SHIB/USDC", "1000shibusdc"),
        ("coinm", "BTC/USD-PERP", "btcusd_perp"),
        ("coinm", "DOT/USD-260925", "dotusd_260925"),
    ],
)
def test_spelling_goes_there_and_back(feed: str, symbol: str, ticker: str) -> None:
    assert check_symbol(feed, symbol) is None
    assert to_ticker(feed, symbol) == ticker
    assert to_symbol(feed, ticker) == symbol
    assert to_symbol(feed, ticker.upper()) == symbol


@pytest.mark.parametrize(
    ("feed", "symbol", "told"),
    [
        ("spot", "btcusdt", "BTC/USDT"),
        ("spot", "BTCUSDT", "BTC/USDT"),
        ("spot", "btc/usdt", "BTC/USDT"),
        ("spot", "BTC/USDT-260925", "is a future"),
        ("usdm", "BTC/USDT-PERP", "on usdm that is BTC/USDT"),
        ("coinm", "BTC/USD", "BTC/USD-PERP"),
        ("coinm", "BTC/USDT-PERP", "BTC/USD-PERP"),
    ],
)
def test_a_wrong_spelling_is_told_with_the_remedy(feed: str, symbol: str, told: str) -> None:
    assert told in (check_symbol(feed, symbol) or "")


def test_the_subscriptions_own_spelling_and_class_go_first() -> None:
    asked = Subscription("spot", ("ABCT/USD",), {}, {"ABCT/USD": "future"})
    frame = b'{"u":1,"s":"ABCTUSD","b":"1","B":"1","a":"2","A":"1"}'
    (event,) = decoder(asked)(frame, 1).events
    assert (event.symbol, event.asset_class) == ("ABCT/USD", "future")


# -- numbers ----------------------------------------------------------------------------------


def trade(number: int, symbol: str = "BTCUSDT", kind: str = "MARKET") -> str:
    return (
        f'{{"e":"trade","s":"{symbol}","t":{number},"p":"1","q":"1","T":1790000000117,'
        f'"X":"{kind}","m":true}}'
    )


def test_a_missing_trade_is_a_gap_of_its_symbol() -> None:
    frames = [trade(7), trade(90, "ETHUSDT"), trade(8), trade(11), trade(91, "ETHUSDT")]
    assert gaps("binance", "spot", frames) == [("BTC/USDT", 9, 2)]


def test_a_number_without_a_trade_is_no_gap() -> None:
    assert gaps("binance", "usdm", [trade(7), trade(8, kind="NA"), trade(9)]) == []


def test_book_updates_leave_numbers_out() -> None:
    book = '{{"u":{},"s":"BTCUSDT","b":"1","B":"1","a":"2","A":"1"}}'
    assert gaps("binance", "spot", [book.format(n) for n in (5, 9, 1000)]) == []


def test_ids_of_trades_and_of_aggregates_do_not_collide() -> None:
    decode = decoder(Subscription("spot"))
    aggregate = '{"e":"aggTrade","s":"BTCUSDT","a":7,"p":"1","q":"1","T":1790000000117,"m":true}'
    (one,), (other,) = (decode(f.encode(), 1).events for f in (trade(7), aggregate))
    assert one.event_id != other.event_id


# -- the short way says of every frame what the long way says -----------------------------------

READERS = [
    (decoder(Subscription(feed)), reader_of_any_frame(Subscription(feed)))
    for feed in ("", *VENDOR.feeds)
]


def agree(frame: bytes) -> None:
    for short, long in READERS:
        one, other = short(frame, RECEIVED_AT), long(frame, RECEIVED_AT)
        assert msgspec.json.encode(one) == msgspec.json.encode(other), frame


@pytest.mark.parametrize("case", CASES, ids=str)
def test_fixtures_and_their_mutations_are_read_alike(case: Case) -> None:
    agree(case.frame)
    for length in range(len(case.frame)):
        agree(case.frame[:length])
    if _is_json(case):
        for mutated in _mutations(json.loads(case.frame)):
            agree(json.dumps(mutated).encode())
            agree(json.dumps(mutated, separators=(",", ":")).encode())


def test_what_binance_sends_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else all would still be right, and slow."""

    def long_way(_: Subscription) -> Any:
        def decode(frame: bytes, _: int) -> Reading:
            raise AssertionError(f"the long way for {frame!r}")

        return decode

    monkeypatch.setattr("edc_pipeline.vendors.binance.reader_of_any_frame", long_way)
    taken = [
        decoder(Subscription(case.feed))(case.frame, RECEIVED_AT)
        for case in CASES
        if "events" in case.expected and not case.frame.startswith(b'{"data"')
    ]
    assert len(taken) > 15
    assert all(reading.events for reading in taken)


# -- recordings -------------------------------------------------------------------------------


def facts(frame: bytes) -> tuple[Any, ...] | None:
    """What a trade or book ticker says, read without our reader."""
    message = json.loads(frame)
    message = message.get("data", message)
    if not isinstance(message, dict):
        return None
    if message.get("e") in ("trade", "aggTrade"):
        number = message["a" if message["e"] == "aggTrade" else "t"]
        side = "sell" if message["m"] else "buy"
        return ("trade", number, message["T"], message["p"], message["q"], side)
    if {"u", "b", "B", "a", "A"} <= set(message) and message.get("e") != "depthUpdate":
        return ("quote", message["u"], message.get("T"), *(message[k] for k in "bBaA"))
    return None


def said(event: AnyEvent) -> tuple[Any, ...]:
    time = event.ts_event // 1_000_000 if event.ts_source == "vendor" else None
    if isinstance(event, Trade):
        return ("trade", event.seq, time, event.price, event.size, event.side)
    assert isinstance(event, Quote)
    prices = (event.bid_price, event.bid_size, event.ask_price, event.ask_size)
    return ("quote", event.seq, time, *prices)


def numeric(row: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*row[:3], *(c if c in ("buy", "sell") else float(c) for c in row[3:]))


@pytest.mark.parametrize(
    ("name", "frames", "trades", "quotes"),
    [("binance_spot_20211012.jsonl", 265, 2, 84), ("binance_mixed.jsonl", 51, 5, 5)],
)
def test_a_recording_is_read_as_an_independent_script_reads_it(
    name: str, frames: int, trades: int, quotes: int
) -> None:
    lines = recorded(name)
    decode = decoder(Subscription(""))
    readings = [decode(line, RECEIVED_AT) for line in lines]
    events = [event for reading in readings for event in reading.events]
    assert Counter(reading.outcome for reading in readings) == {
        "events": trades + quotes,
        "control": frames - trades - quotes,
    }
    assert Counter(e.event_type for e in events) == {"trade": trades, "quote": quotes}
    expected = [numeric(fact) for line in lines if (fact := facts(line)) is not None]
    assert [said(event) for event in events] == expected
    assert all(r.control.kind == "not_wanted" for r in readings if r.control is not None)
