"""Pairs that a vendor writes without a separator: `btcusdt` → `BTC/USDT`."""

from __future__ import annotations

from typing import Final

# What crypto pairs are quoted in, longest first: `fldcusdt` is FLDC/USDT, not FLDCU/SDT.
_QUOTED_IN: Final = (
    *("fdusd", "tusd", "usdt", "usdc", "busd", "usdp", "gusd", "pyusd"),
    *("usd", "eur", "gbp", "jpy", "krw", "aud", "cad", "chf", "brl", "try"),
    *("btc", "eth", "bnb", "dai"),
)
_LONGEST_FIRST: Final = tuple(sorted(_QUOTED_IN, key=len, reverse=True))


def split_pair(text: str) -> str:
    """Ours for a pair written in one word. A guess by what pairs are quoted in: a subscription's
    own spelling goes before it. What ends in no known money stays as it is, in upper case."""
    lower = text.lower()
    for money in _LONGEST_FIRST:
        if lower.endswith(money) and len(lower) > len(money):
            return f"{text[: -len(money)]}/{money}".upper()
    return text.upper()
