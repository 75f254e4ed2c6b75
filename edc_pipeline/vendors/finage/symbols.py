"""Finage's spelling and ours: `BRK.B`, `EURUSD` (in data also `EUR/USD`) ↔ `EUR/USD`, `BTCUSD` ↔
`BTC/USD`."""

from __future__ import annotations

from typing import Final

from edc_pipeline.events import AssetClass
from edc_pipeline.vendors.pairs import (
    pair_fault,
    split_currencies,
    split_pair,
    ticker_fault,
)

CLASSES: Final[dict[str, AssetClass]] = {
    "stocks": "equity",
    "etf": "etf",
    "forex": "fx",
    "crypto": "crypto",
}


def market_of(feed: str) -> str:
    """`forex` of the feeds `forex` and `forex_last`."""
    return feed.removesuffix("_last")


def to_ticker(feed: str, symbol: str) -> str:
    """Our spelling → Finage's."""
    return symbol.replace("/", "") if CLASSES[market_of(feed)] in {"fx", "crypto"} else symbol


def to_symbol(feed: str, ticker: str) -> str:
    """Finage's spelling → ours."""
    if "/" in ticker:
        return ticker.upper()
    match market_of(feed):
        case "forex":
            return split_currencies(ticker)
        case "crypto":
            return split_pair(ticker, dollars=True)
    return ticker.replace("-", ".").upper()


def check_symbol(feed: str, symbol: str) -> str | None:
    is_pair = CLASSES[market_of(feed)] in {"fx", "crypto"}
    return pair_fault(symbol) if is_pair else ticker_fault(symbol)
