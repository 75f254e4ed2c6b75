"""Symbols both ways, by every vendor's own rules."""

from __future__ import annotations

import pytest

from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.lookup import readings, spellings

ALL = list(VENDORS.values())


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("btcusdt", ["BTC/USDT"]),
        ("BTC-USD", ["BTC/USD"]),
        ("BINANCE:BTCUSDT", ["BTC/USDT"]),
        ("OANDA:EUR_USD", ["EUR/USD"]),
        ("eurusd", ["EUR/USD"]),
        ("XBT/USD", ["BTC/USD"]),
        ("XBTUSD", ["BTC/USD"]),
        ("XDG/EUR", ["DOGE/EUR"]),
        ("brk-b", ["BRK.B"]),
        ("BRK.B", ["BRK.B"]),
        ("aapl", ["AAPL"]),
        ("EUR/USD", ["EUR/USD"]),
        ("ES1!", ["ES1!"]),
        ("408065", ["408065"]),
        ("§", []),
        ("", []),
        ("Ü", []),
    ],
)
def test_any_spelling_comes_back_to_ours(text: str, ours: list[str]) -> None:
    assert readings(text, ALL) == ours


@pytest.mark.parametrize("symbol", ["BRK.B", "AAPL", "EUR/USD", "BTC/USD", "BTC/USDT"])
def test_ours_goes_to_each_vendor_and_back(symbol: str) -> None:
    found = spellings(symbol, ALL)
    assert found
    for row in found:
        vendor = VENDORS[row.vendor]
        for feed in row.feeds:
            assert vendor.spell(feed, symbol) == row.spelling
        assert readings(row.spelling, ALL) == [symbol]


def test_a_vendors_number_is_the_symbol_that_feeds_yaml_gives_it() -> None:
    tokens = {"zerodha": {"NSE:INFY": 408065}}
    assert readings("408065", ALL, tokens) == ["NSE:INFY"]
    (row,) = [r for r in spellings("NSE:INFY", ALL, tokens) if r.vendor == "zerodha"]
    assert (row.spelling, row.feeds) == ("408065", ("ticker",))


def test_a_pair_is_at_feeds_of_its_kind_only() -> None:
    by_feed = {(r.vendor, feed): r for r in spellings("EUR/USD", ALL) for feed in r.feeds}
    assert ("tiingo", "fx") in by_feed
    assert ("tiingo", "crypto") not in by_feed
    assert by_feed["finnhub", "trades"].asset_class == "fx"
    assert by_feed["finnhub", "trades"].venue == "OANDA"
