"""Kraken's spelling and ours: alike, `BTC/USD`. Its first version said XBT and XDG, its REST
interface still does (`wsname`); version 2 refuses them, so they are refused here at the start."""

from __future__ import annotations

import re
from typing import Final

_PAIR: Final = re.compile(r"[A-Z0-9.]{1,20}/[A-Z0-9.]{2,8}", re.ASCII)
_FORMER: Final = {"XBT": "BTC", "XDG": "DOGE"}


def to_pair(feed: str, symbol: str) -> str:
    """Ours → Kraken's."""
    return symbol


def to_symbol(feed: str, pair: str) -> str:
    """Kraken's → ours."""
    return "/".join(_FORMER.get(part, part) for part in pair.upper().split("/"))


def check_symbol(feed: str, symbol: str) -> str | None:
    if not _PAIR.fullmatch(symbol):
        return "is no pair; write it in upper case with a slash, e.g. BTC/USD"
    ours = to_symbol(feed, symbol)
    return None if ours == symbol else f"is {ours} by its present name: write that"
