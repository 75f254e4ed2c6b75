"""Symbols both ways, by every vendor's own rules."""

from __future__ import annotations

import pytest

from edc_pipeline.settings_of_feeds import Feed
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
        ("XXBTZUSD", ["BTC/USD"]),
        ("xethxxbt", ["ETH/BTC"]),
        ("XXDGXXBT", ["DOGE/BTC"]),
        ("ZEURZUSD", ["EUR/USD"]),
        ("USDTZUSD", ["USDT/USD"]),
        ("XTZUSD", ["XTZ/USD"]),  # Tezos, and no X and Z before TUSD
        ("AVAXETH", ["AVAX/ETH"]),
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
    assert ("binance", "spot") not in by_feed


def test_who_has_pairs_of_both_kinds_is_found_by_both() -> None:
    by_feed = {(pair, r.vendor): r for pair in ("EUR/USD", "BTC/USD") for r in spellings(pair, ALL)}
    assert by_feed["EUR/USD", "kraken"].spelling == "EUR/USD"
    assert by_feed["EUR/USD", "alpha_vantage"].asset_class == "fx"
    assert by_feed["BTC/USD", "alpha_vantage"].asset_class == "crypto"


@pytest.mark.parametrize(
    "symbol",
    ["EUR/USD", "XAU/USD", "KES/USD", "BTC/USD", "SHIB/USD", "DOT/EUR", "BTC/USDT", "ABC/USD"],
)
def test_what_is_found_is_what_a_capture_may_ask_for(symbol: str) -> None:
    found = {(row.vendor, feed) for row in spellings(symbol, ALL) for feed in row.feeds}
    for vendor in ALL:
        for name in vendor.feeds:
            assert ((vendor.name, name) in found) == (refused(vendor.name, name, symbol) == "")


def refused(vendor: str, feed: str, symbol: str, **more: object) -> str:
    """What the settings say of the symbol, and of nothing else."""
    try:
        Feed.model_validate({"vendor": vendor, "feed": feed, "symbols": [symbol], **more})
    except ValueError as error:
        return next((w for w in str(error).split("; ") if f"symbols: {symbol!r} " in w), "")
    return ""


@pytest.mark.parametrize(
    ("vendor", "feed", "symbol", "kind"),
    [("binance", "spot", "EUR/USD", "fx"), ("tiingo", "fx", "BTC/USD", "crypto")],
)
def test_a_pair_of_another_kind_is_refused_unless_its_kind_is_stated(
    vendor: str, feed: str, symbol: str, kind: str
) -> None:
    assert f"{symbol!r} is a pair of" in refused(vendor, feed, symbol)
    assert refused(vendor, feed, symbol, asset_classes={symbol: kind}) == ""
