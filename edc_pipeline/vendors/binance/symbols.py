"""Binance's spelling and ours.

| feed | Binance | ours |
|---|---|---|
| spot | `btcusdt`, `BTCUSDT` | `BTC/USDT` |
| usdm, usdm_public | `BTCUSDT` (perpetual) | `BTC/USDT` |
| | `BTCUSDT_260925` (delivery) | `BTC/USDT-260925` |
| coinm | `BTCUSD_PERP`, `BTCUSD_260925` | `BTC/USD-PERP`, `BTC/USD-260925` |

Stream names are in lower case, the `s` of a message in upper case.
"""

from __future__ import annotations

import re
from typing import Final

from edc_pipeline.vendors.pairs import split_pair

COIN_MARGINED: Final = "coinm"

# Names are mostly ASCII, not all: Binance lists coins by Chinese names.
_PAIR: Final = re.compile(r"[^\W_a-z]{1,20}/[A-Z0-9]{2,6}")
_CONTRACT: Final = re.compile(r"(.+?)(-(?:PERP|\d{6}))?")
_DOLLAR: Final = "USD"
_OPTION: Final = re.compile(r"[^-]{1,20}-\d{6}-[\d.]{1,20}-[CP]", re.ASCII)


def to_ticker(feed: str, symbol: str) -> str:
    """Ours → Binance's, as stream names have it."""
    return symbol.replace("/", "").replace("-", "_").lower()


def to_symbol(feed: str, ticker: str) -> str:
    """Binance's → ours: a guess by what pairs are quoted in; a subscription's own spelling goes
    before it. COIN-M is quoted in dollars only: DOTUSD is no DO/TUSD."""
    pair, _, contract = ticker.upper().partition("_")
    if feed == COIN_MARGINED and pair.endswith(_DOLLAR) and len(pair) > len(_DOLLAR):
        ours = f"{pair[: -len(_DOLLAR)]}/{_DOLLAR}"
    else:
        ours = split_pair(pair)
    return f"{ours}-{contract}" if contract else ours


def is_coin_margined(ticker: str) -> bool:
    """`BTCUSD_PERP`; `BTCUSDT_260925` is settled in dollars."""
    pair, _, contract = ticker.partition("_")
    return bool(contract) and pair.upper().endswith(_DOLLAR)


def is_option(ticker: str) -> bool:
    """`BTC-260925-100000-C`: a product of its own, and none of our feeds."""
    return _OPTION.fullmatch(ticker) is not None


def check_symbol(feed: str, symbol: str) -> str | None:
    found = _CONTRACT.fullmatch(symbol)
    pair, contract = found.groups() if found else (symbol, None)
    if not _PAIR.fullmatch(pair):
        return "is no pair; write it in upper case with a slash, e.g. BTC/USDT"
    if feed == "spot" and contract:
        return f"is a future; the feed spot has pairs, e.g. {pair}"
    if feed.startswith("usdm") and contract == "-PERP":
        return f"is a perpetual future: on {feed} that is {pair}"
    if feed == COIN_MARGINED and (not contract or not pair.endswith("/" + _DOLLAR)):
        return "is no coin-margined contract; write BTC/USD-PERP or BTC/USD-260925"
    return None
