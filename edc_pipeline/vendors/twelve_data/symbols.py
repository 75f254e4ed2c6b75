"""Twelve Data's spelling is ours: `AAPL`, `BRK.B`, `EUR/USD`, `BTC/USD`. It may bear an exchange
behind a colon (`AAPL:NASDAQ`), which is not part of the symbol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from edc_pipeline.events import AssetClass
from edc_pipeline.vendors.pairs import is_currency_pair, pair_fault, ticker_fault

# What it calls the kinds of instruments it has.
_CLASSES: Final[Mapping[str, AssetClass]] = {
    "common stock": "equity",
    "preferred stock": "equity",
    "american depositary receipt": "equity",
    "depositary receipt": "equity",
    "etf": "etf",
    "exchange-traded note": "etf",
    "index": "index",
    "physical currency": "fx",
    "digital currency": "crypto",
}


def to_symbol(ticker: str) -> str:
    return ticker.partition(":")[0].upper()


def class_of(ticker: str, kind: str) -> AssetClass:
    """By what Twelve Data says, else by the symbol."""
    said = _CLASSES.get(kind.lower())
    if said is not None:
        return said
    symbol = to_symbol(ticker)
    if "/" not in symbol:
        return "equity"
    return "fx" if is_currency_pair(symbol) else "crypto"


def check_symbol(symbol: str) -> str | None:
    return pair_fault(symbol) if "/" in symbol else ticker_fault(symbol)
