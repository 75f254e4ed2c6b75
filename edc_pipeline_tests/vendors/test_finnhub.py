"""What is Finnhub's own: one message a symbol, pairs that are somebody's, a limit of symbols."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from edc_pipeline.capture.collector import Collector
from edc_pipeline.simulator.session import Terms
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import Subscription
from edc_pipeline.vendors.finnhub import VENDOR
from edc_pipeline.vendors.finnhub.symbols import class_of, to_symbol, to_ticker, venue_of
from edc_pipeline_tests.capture.test_collector import run, until
from edc_pipeline_tests.vendors.ways import WAYS
from edc_pipeline_tests.vendors.whole_way import Market, settings_for


def test_each_symbol_is_asked_for_by_itself() -> None:
    session = VENDOR.open_session(Subscription("trades", ("AAPL", "EUR/USD", "BTC/USDT")), "key")
    assert [json.loads(message) for message in session.opening()] == [
        {"type": "subscribe", "symbol": "AAPL"},
        {"type": "subscribe", "symbol": "OANDA:EUR_USD"},
        {"type": "subscribe", "symbol": "BINANCE:BTCUSDT"},
    ]


def test_other_symbols_are_asked_for_in_place() -> None:
    session: Any = VENDOR.open_session(Subscription("trades", ("AAPL", "IBM")), "key")
    messages = session.change(Subscription("trades", ("IBM", "SPY")))
    assert [json.loads(message) for message in messages] == [
        {"type": "unsubscribe", "symbol": "AAPL"},
        {"type": "subscribe", "symbol": "SPY"},
    ]


@pytest.mark.parametrize(
    ("symbol", "options", "ticker", "asset_class", "venue"),
    [
        ("BRK.B", {}, "BRK.B", "equity", ""),
        ("EUR/USD", {}, "OANDA:EUR_USD", "fx", "oanda"),
        ("EUR/USD", {"fx_broker": "IC MARKETS"}, "IC MARKETS:EUR_USD", "fx", "ic markets"),
        ("BTC/USDT", {}, "BINANCE:BTCUSDT", "crypto", "binance"),
        ("BTC/USD", {}, "COINBASE:BTC-USD", "crypto", "coinbase"),
        ("BTC/USD", {"crypto_exchange": "KUCOIN"}, "KUCOIN:BTC-USD", "crypto", "kucoin"),
        ("XAU/USD", {}, "OANDA:XAU_USD", "fx", "oanda"),
    ],
)
def test_spelling_goes_there_and_back(
    symbol: str, options: dict[str, Any], ticker: str, asset_class: str, venue: str
) -> None:
    assert VENDOR.check_symbol("trades", symbol) is None
    assert to_ticker(symbol, options) == ticker
    assert to_symbol(ticker) == symbol
    assert class_of(ticker) == asset_class
    assert venue_of(ticker) == venue


def test_a_wrong_option_is_told() -> None:
    check = VENDOR.feeds["trades"].check_options
    assert "one of BINANCE" in check({"crypto_exchange": "MTGOX"})[0]
    assert "no such option" in check({"exchange": "BINANCE"})[0]
    assert check({"crypto_exchange": "OKEX", "fx_broker": "FXCM"}) == []


def test_a_bad_print_costs_only_itself() -> None:
    frame = (
        b'{"type":"trade","data":[{"p":1,"s":"AAPL","t":1769092200100},{"s":"AAPL"},'
        b'{"p":2,"s":"AAPL","t":1769092200100}]}'
    )
    reading = VENDORS["finnhub"].decoder(Subscription("trades"))(frame, 1)
    assert len(reading.events) == 2
    assert len(reading.faults) == 1


def test_too_many_symbols_are_told_and_the_others_come(tmp_path: Path) -> None:
    way = next(w for w in WAYS if str(w) == "finnhub-trades")

    async def scenario() -> None:
        market = Market(way)
        async with market.exchange(terms=Terms(symbols=5), events=100) as exchange:
            collector, stop = (
                Collector(settings_for(way, exchange, tmp_path), "c1"),
                asyncio.Event(),
            )
            capturing = asyncio.create_task(collector.run(stop))
            await until(lambda: collector.report().feeds[0].with_events >= 100)
            (feed,) = collector.report().feeds
            assert feed.subscription == "subscription refused: Subscribing to too many symbols"
            stop.set()
            await capturing

    run(scenario)
