"""Massive's spelling and ours: `BRK.B`, `EUR/USD`, `BTC-USD` ↔ `BTC/USD`.

REST puts a letter for the market before a ticker: `C:EURUSD`, `X:BTCUSD`, `O:` options, `I:`
indices.
"""

from __future__ import annotations

from typing import Final

from edc_pipeline.events import AssetClass
from edc_pipeline.vendors.pairs import pair_fault, split_currencies, split_pair, ticker_fault

CLASSES: Final[dict[str, AssetClass]] = {"stocks": "equity", "forex": "fx", "crypto": "crypto"}
_BY_LETTER: Final[dict[str, AssetClass]] = {
    "O": "option",
    "I": "index",
    "C": "fx",
    "X": "crypto",
}
SNAPSHOT: Final = "_snapshot"


def market_of(feed: str) -> str:
    """`forex` of the feeds `forex` and `forex_snapshot`."""
    return feed.removesuffix(SNAPSHOT)


def to_ticker(feed: str, symbol: str) -> str:
    """Our spelling → Massive's."""
    market = market_of(feed)
    if feed.endswith(SNAPSHOT) and market != "stocks":
        return f"{'C' if market == 'forex' else 'X'}:{symbol.replace('/', '')}"
    return symbol.replace("/", "-") if market == "crypto" else symbol


def to_symbol(feed: str, ticker: str) -> str:
    """Massive's spelling → ours."""
    letter, colon, name = ticker.rpartition(":")
    market = market_of(feed)
    if "/" in name:
        return name.upper()
    if letter == "C" or (not colon and market == "forex"):
        return (name.replace("-", "/") if "-" in name else split_currencies(name)).upper()
    if letter == "X" or (not colon and market == "crypto"):
        return name.replace("-", "/").upper() if "-" in name else split_pair(name, dollars=True)
    # Preferred shares bear small letters, and case tells them apart: `BACpB`. Ours is upper case.
    return name.upper()


def class_of(feed: str, ticker: str) -> AssetClass:
    letter, _, _ = ticker.rpartition(":")
    return _BY_LETTER.get(letter) or CLASSES[market_of(feed)]


def check_symbol(feed: str, symbol: str) -> str | None:
    return ticker_fault(symbol) if market_of(feed) == "stocks" else pair_fault(symbol)
