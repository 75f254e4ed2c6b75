"""Pairs: `btcusdt` → `BTC/USDT`, and which are of currencies."""

from __future__ import annotations

import re
from collections.abc import Set
from typing import Final

from edc_pipeline.events import AssetClass

# What crypto pairs are quoted in, longest first: `fldcusdt` is FLDC/USDT, not FLDCU/SDT.
_QUOTED_IN: Final = (
    *("fdusd", "tusd", "usdt", "usdc", "busd", "usdp", "gusd", "pyusd"),
    *("usd", "eur", "gbp", "jpy", "krw", "aud", "cad", "chf", "brl", "try"),
    *("btc", "eth", "bnb", "dai"),
)
_LONGEST_FIRST: Final = tuple(sorted(_QUOTED_IN, key=len, reverse=True))


# Where pairs are quoted in dollars, `shibusd` is SHIB/USD and `dotusd` DOT/USD: a stablecoin whose
# name ends in USD is meant only behind a coin that was much traded against it.
_STABLE_DOLLARS: Final = frozenset({"fdusd", "tusd", "busd", "gusd", "pyusd"})
_BIG: Final = frozenset(
    ("btc", "eth", "bnb", "xrp", "ada", "doge", "sol", "ltc", "bch", "link", "usdc", "usdt")
)


def split_pair(text: str, *, dollars: bool = False) -> str:
    """Ours for a pair written in one word. A guess by what pairs are quoted in: a subscription's
    own spelling goes before it. What ends in no known money stays as it is, in upper case.

    `dollars`: this vendor quotes in US dollars, and so not in Binance's way.
    """
    lower = text.lower()
    for money in _LONGEST_FIRST:
        base = lower.removesuffix(money)
        if base == lower or not base:
            continue
        if dollars and money in _STABLE_DOLLARS and base not in _BIG:
            continue
        return f"{base}/{money}".upper()
    return text.upper()


# Moneys of states, and the metals that are quoted among them.
# fmt: off
_CURRENCIES: Final = frozenset((
    "AED", "ARS", "AUD", "BGN", "BHD", "BRL", "CAD", "CHF", "CLP", "CNH", "CNY", "COP",
    "CZK", "DKK", "EGP", "EUR", "GBP", "HKD", "HUF", "IDR", "ILS", "INR", "ISK", "JPY",
    "KRW", "KWD", "MAD", "MXN", "MYR", "NGN", "NOK", "NZD", "PEN", "PHP", "PKR", "PLN",
    "QAR", "RON", "RUB", "SAR", "SEK", "SGD", "THB", "TRY", "TWD", "UAH", "USD", "VND",
    "XAG", "XAU", "XPD", "XPT", "ZAR",
))
# fmt: on
_CODE_LENGTH: Final = 3
_PAIR: Final = re.compile(r"[A-Z0-9]{1,20}/[A-Z0-9]{2,6}", re.ASCII)
_EQUITY: Final = re.compile(r"[A-Z0-9]{1,10}(\.[A-Z0-9]{1,6}){0,2}", re.ASCII)


def is_currency_pair(symbol: str) -> bool:
    """Whether both sides of `EUR/USD` are moneys of states; a coin is none."""
    base, _, quote = symbol.partition("/")
    return base in _CURRENCIES and quote in _CURRENCIES


def class_of_pair(symbol: str, usual: AssetClass, only: Set[str]) -> AssetClass:
    """By its moneys. `usual` of what is no pair, and where it is one that `only` has its like."""
    if "/" not in symbol or usual in only:
        return usual
    return "fx" if is_currency_pair(symbol) else "crypto"


# Coins of three letters, as the codes of currencies have; any of another length is known by that.
# fmt: off
_COINS: Final = frozenset((
    "ADA", "APE", "APT", "ARB", "AXS", "BAT", "BCH", "BNB", "BTC", "CRV", "DAI", "DOT",
    "ENJ", "EOS", "ETC", "ETH", "FIL", "GRT", "ICP", "IMX", "INJ", "KSM", "LDO", "LTC",
    "MKR", "NEO", "SEI", "SNX", "SOL", "STX", "SUI", "TIA", "TON", "TRX", "UNI", "WIF",
    "XBT", "XDG", "XLM", "XMR", "XNO", "XRP", "XTZ", "ZEC", "ZRX",
))
# fmt: on


def kind_fault(symbol: str, asset_class: AssetClass) -> str | None:
    """What is wrong with asking a feed of currencies, or one of coins, for this pair.

    Only what is certain: a code of three letters that we do not know may be either.
    """
    if asset_class == "crypto" and is_currency_pair(symbol):
        what, has, states = "currencies", "coins", "fx"
    elif asset_class == "fx" and any(
        len(side) != _CODE_LENGTH or side in _COINS for side in symbol.split("/")
    ):
        what, has, states = "coins", "currencies", "crypto"
    else:
        return None
    return (
        f"is a pair of {what}, and this feed has pairs of {has}; if it has this one too, say what"
        f" it is: asset_classes: {{{symbol}: {states}}}"
    )


def split_currencies(text: str) -> str:
    """`EURUSD` → `EUR/USD`: two codes of three letters. Anything else stays, in upper case."""
    if len(text) == 2 * _CODE_LENGTH:
        return f"{text[:_CODE_LENGTH]}/{text[_CODE_LENGTH:]}".upper()
    return text.upper()


def pair_fault(symbol: str) -> str | None:
    """What is wrong with our spelling of a pair."""
    if _PAIR.fullmatch(symbol):
        return None
    return "is no pair; write it in upper case with a slash, e.g. EUR/USD or BTC/USD"


def ticker_fault(symbol: str) -> str | None:
    """What is wrong with our spelling of a stock."""
    if _EQUITY.fullmatch(symbol):
        return None
    return "is no ticker; write it in upper case, share classes with a dot, e.g. BRK.B"
