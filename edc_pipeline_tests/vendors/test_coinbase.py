"""What is Coinbase's own: two products, the maker's side, answers that add up."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import msgspec
import pytest

from edc_pipeline.events import Quote, Trade
from edc_pipeline.vendors.coinbase import VENDOR, CoinbaseSession, decoder
from edc_pipeline.vendors.coinbase.advanced import AdvancedReader
from edc_pipeline.vendors.coinbase.exchange import ExchangeReader
from edc_pipeline.vendors.coinbase.rows import instruments_of
from edc_pipeline.vendors.coinbase.symbols import check_symbol, to_product, to_symbol
from edc_pipeline.vendors.contract import Subscription
from edc_pipeline_tests.vendors.fixtures_of import RECEIVED_AT, Case, all_cases
from edc_pipeline_tests.vendors.numbers import gaps, heard
from edc_pipeline_tests.vendors.recordings import recorded
from edc_pipeline_tests.vendors.test_conformance import _is_json, _mutations
from edc_pipeline_tests.vendors.test_reading_many import agree

CASES = [case for case in all_cases() if case.vendor == "coinbase"]


# -- what is asked for ------------------------------------------------------------------------


def test_exchange_is_asked_product_by_product() -> None:
    first, second = CoinbaseSession(Subscription("exchange", ("BTC/USD", "ETH/BTC")), "").opening()
    assert json.loads(first) == {
        "type": "subscribe",
        "product_ids": ["BTC-USD"],
        "channels": ["matches", "ticker", "heartbeat"],
    }
    assert json.loads(second)["product_ids"] == ["ETH-BTC"]


def test_advanced_is_asked_channel_by_channel_and_for_heartbeats() -> None:
    messages = [
        json.loads(message)
        for message in CoinbaseSession(Subscription("advanced", ("BTC/USD",)), "").opening()
    ]
    assert messages == [
        {"type": "subscribe", "channel": "heartbeats"},
        {"type": "subscribe", "product_ids": ["BTC-USD"], "channel": "market_trades"},
        {"type": "subscribe", "product_ids": ["BTC-USD"], "channel": "ticker"},
    ]


def answer(feed: str, subscribed: dict[str, list[str]]) -> bytes:
    message: dict[str, Any] = {"channel": "subscriptions", "sequence_num": 3}
    message["events"] = [{"subscriptions": subscribed}]
    if feed == "exchange":
        channels = [{"name": name, "product_ids": ids} for name, ids in subscribed.items()]
        message = {"type": "subscriptions", "channels": channels}
    return json.dumps(message).encode()


@pytest.mark.parametrize("feed", VENDOR.feeds)
def test_only_when_all_is_confirmed_the_subscription_is(feed: str) -> None:
    trades, tickers = VENDOR.feeds[feed].options_help.split("default ")[1].rstrip(")").split(", ")
    session = CoinbaseSession(Subscription(feed, ("BTC/USD", "ETH/USD")), "")
    steps = [
        ({trades: ["BTC-USD"]}, False),
        ({trades: ["BTC-USD"], tickers: ["BTC-USD", "ETH-USD"]}, False),
        ({trades: ["BTC-USD", "ETH-USD"], tickers: ["BTC-USD", "ETH-USD"]}, True),
    ]
    for subscribed, whole in steps:
        reading = session.read(answer(feed, subscribed), 1)
        assert reading.control is not None
        assert reading.control.kind == ("acknowledged" if whole else "notice")
        assert session.acknowledged == whole
        assert reading.seq == (3 if feed == "advanced" else -1)


def test_ticker_batch_is_acknowledged_by_another_name() -> None:
    asked = Subscription("exchange", ("BTC/USD",), {"channels": ["ticker_batch"]})
    session = CoinbaseSession(asked, "")
    session.read(answer("exchange", {"ticker_1000": ["BTC-USD"], "heartbeat": ["BTC-USD"]}), 1)
    assert session.acknowledged


def test_a_refused_product_is_told_and_never_acknowledged() -> None:
    session = CoinbaseSession(Subscription("exchange", ("BTC/USD", "FOO/USD")), "")
    refusal = b'{"type":"error","message":"Failed to subscribe","reason":"FOO-USD is not valid"}'
    said = session.read(refusal, 1).control
    assert said is not None
    assert (said.kind, said.detail) == ("refused", "Failed to subscribe: FOO-USD is not valid")
    session.read(answer("exchange", {"matches": ["BTC-USD"], "ticker": ["BTC-USD"]}), 1)
    assert not session.acknowledged


def test_other_products_are_asked_for_in_place() -> None:
    asked = {"channels": ["matches"]}
    session = CoinbaseSession(Subscription("exchange", ("BTC/USD", "ETH/USD"), asked), "")
    changed = Subscription("exchange", ("ETH/USD", "SOL/USD"), asked)
    assert session.change(changed) is None  # before the first answer
    session.read(answer("exchange", {"matches": ["BTC-USD", "ETH-USD"]}), 1)
    messages = session.change(changed)
    assert messages is not None
    assert [json.loads(message) for message in messages] == [
        {"type": kind, "product_ids": [product], "channels": ["matches", "heartbeat"]}
        for kind, product in (("subscribe", "SOL-USD"), ("unsubscribe", "BTC-USD"))
    ]
    session.read(answer("exchange", {"matches": ["ETH-USD", "SOL-USD"]}), 1)
    assert session.acknowledged
    back = session.change(Subscription("exchange", ("BTC/USD",), asked))
    settled = session.acknowledged
    assert (back is not None, settled) == (
        True,
        False,
    )  # what was confirmed of BTC-USD long ago does not count


@pytest.mark.parametrize(
    ("feed", "options", "told"),
    [
        ("exchange", {"channels": ["level2"]}, "'level2' is none that exchange has"),
        ("exchange", {"channels": "matches"}, "a list of"),
        ("exchange", {"channels": ["ticker", "ticker_batch"]}, "name one of them"),
        ("exchange", {"channels": ["ticker", "ticker"]}, "named twice"),
        ("advanced", {"channels": ["ticker_batch"]}, "is none that advanced has"),
        ("advanced", {"chanels": ["ticker"]}, "no such option"),
    ],
)
def test_a_wrong_option_is_told(feed: str, options: dict[str, Any], told: str) -> None:
    (wrong,) = VENDOR.feeds[feed].check_options(options)
    assert told in wrong


@pytest.mark.parametrize(
    ("symbol", "product"),
    [("BTC/USD", "BTC-USD"), ("1INCH/EUR", "1INCH-EUR"), ("BTC-PERP-INTX", "BTC-PERP-INTX")],
)
def test_spelling_goes_there_and_back(symbol: str, product: str) -> None:
    assert check_symbol("advanced", symbol) is None
    assert to_product("advanced", symbol) == product
    assert to_symbol("advanced", product) == symbol


@pytest.mark.parametrize(
    ("feed", "symbol", "told"),
    [
        ("exchange", "BTC-USD", "BTC/USD"),
        ("exchange", "btc/usd", "BTC/USD"),
        ("exchange", "BTC-PERP-INTX", "is no pair"),
        ("advanced", "BTC/USDC", "comes as BTC/USD on advanced"),
    ],
)
def test_a_wrong_spelling_is_told_with_the_remedy(feed: str, symbol: str, told: str) -> None:
    assert told in (check_symbol(feed, symbol) or "")


# -- what it says -------------------------------------------------------------------------------


def test_a_match_bears_the_makers_side_and_its_ticker_the_takers() -> None:
    """The two of trade 881613 tell one trade: it is told once, with the aggressor's side."""
    case = next(c for c in CASES if c.name == "exchange-streams" and c.line == 1)
    twin = next(c for c in CASES if c.name == "exchange-streams" and c.line == 2)
    match, ticker = json.loads(case.frame), json.loads(twin.frame)
    assert (match["trade_id"], match["side"]) == (881613, "sell")
    assert (ticker["trade_id"], ticker["side"]) == (881613, "buy")
    decode = decoder(Subscription("exchange"))
    (trade,) = decode(case.frame, 1).events
    (quote,) = decode(twin.frame, 1).events
    assert isinstance(trade, Trade)
    assert trade.side == ticker["side"]
    assert isinstance(quote, Quote)


def test_every_frame_of_advanced_bears_the_connections_number() -> None:
    decode = decoder(Subscription("advanced"))
    for case in CASES:
        if case.feed == "advanced":
            told = json.loads(case.frame).get("sequence_num", -1)
            assert decode(case.frame, 1).seq == told


def match(number: int, kind: str = "match", sequence: int = 1) -> str:
    return (
        f'{{"type":"{kind}","trade_id":{number},"side":"sell","size":"1","price":"1",'
        f'"product_id":"BTC-USD","sequence":{sequence},"time":"2026-09-21T14:13:20.1Z"}}'
    )


def test_a_missing_match_is_a_gap_whatever_the_sequence_says() -> None:
    frames = [match(4, "last_match", 10), match(5, sequence=700), match(8, sequence=701)]
    assert gaps("coinbase", "exchange", frames) == [("BTC/USD", 6, 2)]


def test_a_missing_frame_of_advanced_is_a_gap_of_all() -> None:
    """247, 249 with a book's frame between them is none: the numbers count every channel."""
    frame = '{{"channel":"{}","timestamp":"2026-09-21T14:13:20Z","sequence_num":{},"events":[]}}'
    told = [frame.format(*f) for f in (("heartbeats", 247), ("l2_data", 248), ("heartbeats", 249))]
    assert gaps("coinbase", "advanced", told) == []
    del told[1]
    assert gaps("coinbase", "advanced", told) == [("", 248, 1)]


def advanced(number: int) -> str:
    """Trades and a ticker by turns, each trade with the next id."""
    row = {"product_id": "BTC-USD", "trade_id": str(900 + number // 2), "price": "1", "size": "1"}
    row |= {"side": "SELL", "time": "2026-09-21T14:13:20Z", "best_bid": "1", "best_ask": "2"}
    row |= {"best_bid_quantity": "1", "best_ask_quantity": "1"}
    channel, rows = ("ticker", "tickers") if number % 2 else ("market_trades", "trades")
    frame = {"channel": channel, "timestamp": "2026-09-21T14:13:20Z", "sequence_num": number}
    return json.dumps({**frame, "events": [{"type": "update", rows: [row]}]})


@pytest.mark.parametrize(
    ("written", "other"),
    [
        (b'"timestamp": "2026-09-21T14:13:20Z", ', b'"x": 1e999, '),
        (b"2026-09-21T14:13:20Z", b"2026-09-21T14:13:20Z\xff"),
        (b'"trade_id": "900"', b'"trade_id": "0900"'),
        (b'"trade_id": "900"', b'"trade_id": 900'),
        (b'"SELL"', b'"sell"'),
        (b'"update"', b'"snapshot"'),
        (b'"sequence_num": 0', b'"sequence_num": "0"'),
    ],
)
def test_what_is_odd_in_advanced_is_read_as_one_by_one(written: bytes, other: bytes) -> None:
    frame = advanced(0).encode()
    assert agree("coinbase", Subscription("advanced"), [frame])
    assert written in frame
    agree("coinbase", Subscription("advanced"), [frame.replace(written, other)])


def test_frames_of_advanced_are_heard_together_until_one_is_missing() -> None:
    frames = [advanced(number).encode() for number in range(40)]
    assert heard("coinbase", "advanced", frames, 10) == ([], [False, True, True, True])
    del frames[22], frames[22]  # a trade, and the ticker behind it
    assert gaps("coinbase", "advanced", [frame.decode() for frame in frames]) == [
        ("", 22, 2),
        ("BTC/USD", 911, 1),
    ]
    assert heard("coinbase", "advanced", frames, 10)[1] == [False, True, False, False]


def test_a_snapshot_newest_first_is_no_gap() -> None:
    rows = [
        {
            "trade_id": str(number),
            "product_id": "BTC-USD",
            "price": "1",
            "size": "1",
            "side": "SELL",
            "time": "2026-09-21T14:13:20Z",
        }
        for number in (1002, 1001, 1000, 999)
    ]
    frame = {"channel": "market_trades", "timestamp": "2026-09-21T14:13:20Z", "sequence_num": 0}
    snapshot = json.dumps({**frame, "events": [{"type": "snapshot", "trades": rows}]})
    events = decoder(Subscription("advanced"))(snapshot.encode(), 1).events
    assert [event.event_id for event in events] == ["999", "1000", "1001", "1002"]
    assert {event.origin for event in events} == {"snapshot"}
    assert gaps("coinbase", "advanced", [snapshot]) == []


def test_a_faulty_row_costs_only_itself() -> None:
    row = (
        '{"trade_id":"1","product_id":"BTC-USD","price":"%s","size":"1","side":"SELL",'
        '"time":"2026-09-21T14:13:20Z"}'
    )
    frame = (
        '{"channel":"market_trades","sequence_num":0,"events":[{"type":"update","trades":[%s]}]}'
    )
    reading = decoder(Subscription("advanced"))((frame % f"{row % 1},{row % 'x'}").encode(), 1)
    assert len(reading.events) == len(reading.faults) == 1


# -- the short way says of every frame what the long way says -----------------------------------


@pytest.mark.parametrize("case", CASES, ids=str)
def test_fixtures_and_their_mutations_are_read_alike(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [case.frame, *(case.frame[:length] for length in range(len(case.frame)))]
    if _is_json(case):
        frames += [json.dumps(m).encode() for m in _mutations(json.loads(case.frame))]
    feeds = ("", "exchange", "advanced")
    short = [
        msgspec.json.encode(decoder(Subscription(feed))(frame, RECEIVED_AT))
        for feed in feeds
        for frame in frames
    ]
    for reader in (ExchangeReader, AdvancedReader):
        monkeypatch.setattr(reader, "read", lambda *_: None)
    long = [
        msgspec.json.encode(decoder(Subscription(feed))(frame, RECEIVED_AT))
        for feed in feeds
        for frame in frames
    ]
    assert short == long


def test_what_coinbase_sends_takes_the_short_way() -> None:
    """Else all would still be right, and slow."""
    of_exchange, of_advanced = (
        ExchangeReader(instruments_of(Subscription(""))),
        AdvancedReader(instruments_of(Subscription(""))),
    )
    for case in CASES:
        if "events" in case.expected:
            read = of_exchange.read if case.feed == "exchange" else of_advanced.read
            assert read(case.frame, 1) is not None, case


# -- a recording --------------------------------------------------------------------------------


def test_a_recording_is_read_as_an_independent_script_reads_it() -> None:
    lines = recorded("coinbase_exchange_mixed.jsonl")
    decode = decoder(Subscription(""))
    readings = [decode(line, RECEIVED_AT) for line in lines]
    assert Counter(reading.outcome for reading in readings) == {"events": 2, "control": 4}
    assert all(r.control.kind == "not_wanted" for r in readings if r.control is not None)
    trade, quote = (event for reading in readings for event in reading.events)
    messages = {m.get("type"): m for m in map(json.loads, lines)}
    match, ticker = messages["last_match"], messages["ticker"]
    assert isinstance(trade, Trade)
    assert trade.event_id == str(match["trade_id"])
    assert (trade.price, trade.size) == (float(match["price"]), float(match["size"]))
    assert {trade.side, match["side"]} == {"buy", "sell"}
    assert trade.origin == "snapshot"
    assert isinstance(quote, Quote)
    prices = float(ticker["best_bid"]), float(ticker["best_ask"])
    assert (quote.bid_price, quote.ask_price) == prices
