"""Tiingo's spelling and ours: `brk-b` ↔ `BRK.B`, `eurusd` ↔ `EUR/USD`, `btcusd` ↔ `BTC/USD`."""

from __future__ import annotations

import re
from typing import Final

from edc_pipeline.vendors.pairs import split_pair

PAIR_FEEDS: Final = frozenset({"fx", "crypto", "fx_rest", "crypto_rest"})
_FX_FEEDS: Final = frozenset({"fx", "fx_rest"})
_CRYPTO_FEEDS: Final = frozenset({"crypto", "crypto_rest"})

_EQUITY: Final = re.compile(r"[A-Z0-9]{1,10}(\.[A-Z0-9]{1,6}){0,2}", re.ASCII)
_PAIR: Final = re.compile(r"[A-Z0-9]{1,20}/[A-Z0-9]{2,6}", re.ASCII)
_FX_CODE_LENGTH: Final = 3


def to_ticker(feed: str, symbol: str) -> str:
    """Our spelling → Tiingo's."""
    if feed in PAIR_FEEDS:
        return symbol.replace("/", "").lower()
    return symbol.replace(".", "-").lower()


def to_symbol(feed: str, ticker: str) -> str:
    """Tiingo's spelling → ours. For crypto a guess by what pairs are quoted in; a subscription's
    own spelling goes before it."""
    if feed in _FX_FEEDS and len(ticker) == 2 * _FX_CODE_LENGTH:
        return f"{ticker[:_FX_CODE_LENGTH]}/{ticker[_FX_CODE_LENGTH:]}".upper()
    if feed in _CRYPTO_FEEDS:
        return split_pair(ticker, dollars=True)
    return ticker.replace("-", ".").upper()


def check_symbol(feed: str, symbol: str) -> str | None:
    if feed in PAIR_FEEDS:
        if not _PAIR.fullmatch(symbol):
            return "is no pair; write it in upper case with a slash, e.g. EUR/USD or BTC/USD"
        return None
    if not _EQUITY.fullmatch(symbol):
        return "is no ticker; write it in upper case, share classes with a dot, e.g. BRK.B"
    return None
