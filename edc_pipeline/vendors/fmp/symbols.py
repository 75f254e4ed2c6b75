"""FMP's spelling and ours: `brk-b` ↔ `BRK.B`, `eurusd` ↔ `EUR/USD`, `btcusd` ↔ `BTC/USD`.

A websocket is asked in lower case, REST in upper; both are read.
"""

from __future__ import annotations

from typing import Final

from edc_pipeline.events import AssetClass
from edc_pipeline.vendors.pairs import (
    is_currency_pair,
    pair_fault,
    split_currencies,
    split_pair,
    ticker_fault,
)

CLASSES: Final[dict[str, AssetClass]] = {"stocks": "equity", "forex": "fx", "crypto": "crypto"}


def to_ticker(symbol: str) -> str:
    """Our spelling → FMP's."""
    return symbol.replace("/", "").replace(".", "-").lower()


def to_symbol(feed: str, ticker: str) -> str:
    """FMP's spelling → ours. Without a feed that tells, a pair is known by its currencies."""
    if feed == "forex":
        return split_currencies(ticker)
    if feed == "crypto":
        return split_pair(ticker, dollars=True)
    pair = split_currencies(ticker)
    if feed != "stocks" and is_currency_pair(pair):
        return pair
    return ticker.replace("-", ".").upper()


def class_of(feed: str, ticker: str) -> AssetClass:
    if feed in CLASSES:
        return CLASSES[feed]
    return "fx" if is_currency_pair(to_symbol(feed, ticker)) else "equity"


def check_symbol(feed: str, symbol: str) -> str | None:
    is_pair = "/" in symbol if feed == "quote" else feed != "stocks"
    return pair_fault(symbol) if is_pair else ticker_fault(symbol)
