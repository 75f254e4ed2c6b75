"""What is FMP's and Finage's own: logins, greetings, stamps and numbers as they come."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edc_pipeline.settings import Settings
from edc_pipeline.vendors import VENDORS, finage, fmp
from edc_pipeline.vendors.contract import Subscription
from edc_pipeline.vendors.reading import epoch_to_ns
from edc_pipeline_tests.vendors.fixtures_of import RECEIVED_AT, all_cases

LOGGED_IN = b'{"event":"login","status":200,"message":"Authenticated"}'
NESTED = b'{"event":"login","data":{"status":200,"message":"Authenticated"}}'
SUBSCRIBED = b'{"event":"subscribe","status":200,"message":"Subscribed to aapl"}'
GREETED = b'{"status_code":200,"message":"connected to the adapter","id":"4f1c"}'


@pytest.mark.parametrize("answer", [LOGGED_IN, NESTED])
def test_fmp_logs_in_and_then_subscribes(answer: bytes) -> None:
    session: Any = fmp.VENDOR.open_session(Subscription("stocks", ("AAPL", "BRK.B")), "key")
    (login,) = session.opening()
    assert json.loads(login) == {"event": "login", "data": {"apiKey": "key"}}
    (asked,) = session.read(answer, 1).replies
    assert json.loads(asked) == {"event": "subscribe", "data": {"ticker": ["aapl", "brk-b"]}}
    assert session.read(answer, 1).replies == ()
    assert not session.acknowledged
    session.read(SUBSCRIBED, 1)
    assert session.acknowledged
    messages = session.change(Subscription("stocks", ("BRK.B", "IBM")))
    assert [json.loads(m)["data"]["ticker"] for m in messages] == [["aapl"], ["ibm"]]


def test_finage_asks_once_when_it_is_greeted() -> None:
    session: Any = finage.VENDOR.open_session(Subscription("forex", ("EUR/USD", "USD/JPY")), "k")
    assert session.opening() == []
    assert session.change(Subscription("forex", ("EUR/USD",))) is None
    authorizing = GREETED.replace(b"connected to the adapter", b"authorizing")
    assert session.read(authorizing, 1).replies == ()
    (asked,) = session.read(GREETED, 1).replies
    assert json.loads(asked) == {"action": "subscribe", "symbols": "EURUSD,USDJPY"}
    assert session.read(b"Connected to the server.", 1).replies == ()
    messages = session.change(Subscription("forex", ("EUR/USD", "GBP/USD")))
    assert [json.loads(m)["symbols"] for m in messages] == ["USDJPY", "GBPUSD"]


def test_finage_wants_the_accounts_own_address() -> None:
    feed = {"vendor": "finage", "feed": "stocks", "symbols": ["AAPL"]}
    with pytest.raises(ValueError, match="an address of its own"):
        Settings(feeds={"feed": feed})  # type: ignore[dict-item]


@pytest.mark.parametrize(("vendor", "feed"), [("finage", "stocks_last"), ("finnhub", "trades")])
def test_what_has_to_be_asked_symbol_by_symbol_is_told(vendor: str, feed: str) -> None:
    asked = {"vendor": vendor, "feed": feed, "all_symbols": True}
    with pytest.raises(ValueError, match=r"symbol by symbol|symbols"):
        Settings(feeds={"feed": asked})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("feed", "symbol", "ticker"),
    [
        ("stocks", "BRK.B", "BRK.B"),
        ("forex", "EUR/USD", "EURUSD"),
        ("crypto", "BTC/USD", "BTCUSD"),
        ("crypto_last", "SHIB/USD", "SHIBUSD"),
    ],
)
def test_finages_spelling_goes_there_and_back(feed: str, symbol: str, ticker: str) -> None:
    vendor = VENDORS["finage"]
    assert vendor.check_symbol(feed, symbol) is None
    assert vendor.spell(feed, symbol) == ticker
    assert vendor.symbol_of(feed, ticker) == symbol


@pytest.mark.parametrize(
    ("feed", "symbol", "ticker"),
    [
        ("stocks", "BRK.B", "brk-b"),
        ("forex", "EUR/USD", "eurusd"),
        ("crypto", "BTC/USD", "btcusd"),
        ("quote", "EUR/USD", "eurusd"),
        ("quote", "BRK.B", "brk-b"),
    ],
)
def test_fmps_spelling_goes_there_and_back(feed: str, symbol: str, ticker: str) -> None:
    vendor = VENDORS["fmp"]
    assert vendor.check_symbol(feed, symbol) is None
    assert vendor.spell(feed, symbol) == ticker
    assert vendor.symbol_of(feed, ticker.upper()) == symbol


@pytest.mark.parametrize(
    ("stamp", "ns"),
    [
        (1769092200, 1_769_092_200_000_000_000),
        (1769092200123, 1_769_092_200_123_000_000),
        (1769092200123456, 1_769_092_200_123_456_000),
        (1769092200123456789, 1_769_092_200_123_456_789),
        (1769092200.25, 1_769_092_200_250_000_000),
        (1.7690922001234568e18, 1_769_092_200_123_456_800),
    ],
)
def test_a_stamps_unit_is_told_by_its_size(stamp: float, ns: int) -> None:
    assert epoch_to_ns(stamp) == ns


@pytest.mark.parametrize(
    "stamp", [0, -1, 12345, 2**63, 16459843439999999999, float("nan"), float("inf")]
)
def test_what_has_no_units_size_is_no_stamp(stamp: float) -> None:
    with pytest.raises(ValueError, match="is no time"):
        epoch_to_ns(stamp)


@pytest.mark.parametrize(
    "case", [c for c in all_cases() if c.vendor in {"fmp", "finage", "twelve_data"}], ids=str
)
def test_a_frame_without_its_feed_is_no_less_readable(case: Any) -> None:
    decoder = VENDORS[case.vendor].decoder
    told = decoder(Subscription(case.feed))(case.frame, RECEIVED_AT)
    untold = decoder(Subscription(""))(case.frame, RECEIVED_AT)
    assert untold.outcome == told.outcome
    assert [e.event_type for e in untold.events] == [e.event_type for e in told.events]
    assert [e.ts_event for e in untold.events] == [e.ts_event for e in told.events]


@pytest.mark.parametrize("vendor", ["massive", "finnhub", "finage", "fmp", "twelve_data"])
@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (b"[", b"]"),
        (b'{"type":"trade","data":[', b"]}"),
        (b'{"status":"OK","tickers":[', b"]}"),
        (b'{"results":[', b'],"next_url":"/v3/trades/AAPL?"}'),
    ],
)
def test_a_frame_of_nothing_but_faults_does_not_tell_each(
    vendor: str, begin: bytes, end: bytes
) -> None:
    reading = VENDORS[vendor].decoder(Subscription(""))(begin + b"1," * 100_000 + b"1" + end, 1)
    assert reading.outcome == "quarantined"
    assert sum(map(len, reading.faults)) < 10_000
