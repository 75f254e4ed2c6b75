"""Kraken's spelling and ours: alike, `BTC/USD`. Its first version said XBT and XDG, its REST
interface still does (`wsname`), and names its oldest pairs with an X before a coin and a Z before a
currency: `XXBTZUSD`. Version 2 refuses them, so they are refused here at the start."""

from __future__ import annotations

import re
from typing import Final

from edc_pipeline.vendors.pairs import split_pair

_PAIR: Final = re.compile(r"[A-Z0-9.]{1,20}/[A-Z0-9.]{2,8}", re.ASCII)
_FORMER: Final = {"XBT": "BTC", "XDG": "DOGE"}

# Only these have the letter; what was listed later is named as everywhere: SOLUSD, XTZUSD.
_COINS: Final = "ETC|ETH|LTC|MLN|REP|XBT|XDG|XLM|XMR|XRP|ZEC"
_CURRENCIES: Final = "AUD|CAD|EUR|GBP|JPY|USD"
_LETTERED: Final = rf"X(?:{_COINS})|Z(?:{_CURRENCIES})"
# Both sides or neither, or AVAXETH would be a pair of AVA; but for one.
_OF_REST: Final = re.compile(rf"({_LETTERED}|USDT(?=ZUSD))({_LETTERED})", re.ASCII)


def to_pair(feed: str, symbol: str) -> str:
    """Ours → Kraken's."""
    return symbol


def to_symbol(feed: str, pair: str) -> str:
    """Kraken's → ours."""
    return present_name(pair) or pair.upper()


def present_name(pair: str) -> str | None:
    """Ours for a spelling that only Kraken's older interfaces have; None: it is none of these."""
    pair = pair.upper()
    if "/" in pair:
        ours = "/".join(_FORMER.get(part, part) for part in pair.split("/"))
        return None if ours == pair else ours
    if found := _OF_REST.fullmatch(pair):
        base, money = (re.sub("^[XZ]", "", part) for part in found.groups())
        return f"{_FORMER.get(base, base)}/{_FORMER.get(money, money)}"
    for former, ours in _FORMER.items():
        if pair.startswith(former) and "/" in (split := split_pair(ours + pair[len(former) :])):
            return split
    return None


def check_symbol(feed: str, symbol: str) -> str | None:
    if (ours := present_name(symbol)) is not None:
        return f"is {ours} by its present name: write that"
    if not _PAIR.fullmatch(symbol):
        return "is no pair; write it in upper case with a slash, e.g. BTC/USD"
    return None
