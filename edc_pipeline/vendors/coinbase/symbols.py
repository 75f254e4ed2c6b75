"""Coinbase's spelling and ours: `BTC-USD` ↔ `BTC/USD`. A future, `BTC-PERP-INTX`, stays as it is.

`gdax`, its former name, is a venue of other vendors; here no venue is named.
"""

from __future__ import annotations

import re
from typing import Final

_PAIR: Final = re.compile(r"[A-Z0-9]{1,20}/[A-Z0-9]{2,6}", re.ASCII)
_FUTURE: Final = re.compile(r"[A-Z0-9]{1,20}-[A-Z0-9]{1,10}-(INTX|CDE)", re.ASCII)

# Advanced has quotes and trades in USDC for these only; of every other such product it sends those
# of the one in dollars [doc].
_IN_USDC: Final = frozenset({"USDT/USDC", "EURC/USDC"})


def to_product(feed: str, symbol: str) -> str:
    """Ours → Coinbase's."""
    return symbol.replace("/", "-")


def to_symbol(feed: str, product: str) -> str:
    """Coinbase's → ours."""
    base, _, money = product.upper().partition("-")
    return f"{base}/{money}" if money and "-" not in money else product.upper()


def is_future(symbol: str) -> bool:
    return "/" not in symbol


def check_symbol(feed: str, symbol: str) -> str | None:
    if feed == "advanced":
        if symbol.endswith("/USDC") and symbol not in _IN_USDC:
            dollars = symbol.removesuffix("C")
            return f"comes as {dollars} on advanced: ask for that, or for this on exchange"
        if _FUTURE.fullmatch(symbol):
            return None
    if not _PAIR.fullmatch(symbol):
        return "is no pair; write it in upper case with a slash, e.g. BTC/USD"
    return None
