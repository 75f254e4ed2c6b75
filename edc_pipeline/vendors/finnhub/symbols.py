"""Finnhub's spelling and ours: `BRK.B`, `OANDA:EUR_USD` ↔ `EUR/USD`, `BINANCE:BTCUSDT` ↔
`BTC/USDT`.

A pair is always somebody's, so ours is spelled with a broker or an exchange: OANDA for currencies,
Binance for coins, and Coinbase for coins quoted in dollars, euros or pounds, which Binance does not
have. The options `fx_broker` and `crypto_exchange` name another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edc_pipeline.events import AssetClass
from edc_pipeline.vendors.pairs import is_currency_pair, pair_fault, split_pair, ticker_fault

# How each writes a pair; those of one word are split by what pairs are quoted in.
CRYPTO_EXCHANGES: Final[Mapping[str, str]] = {
    "BINANCE": "",
    "COINBASE": "-",
    "KUCOIN": "-",
    "OKEX": "-",
}
FX_BROKERS: Final = ("OANDA", "FXCM", "FXPRO", "ICM", "IC MARKETS", "PEPPERSTONE", "FOREX.COM")
_AT_COINBASE: Final = frozenset({"USD", "EUR", "GBP"})


def to_ticker(symbol: str, options: Mapping[str, Any]) -> str:
    """Our spelling → Finnhub's."""
    base, slash, quote = symbol.partition("/")
    if not slash:
        return symbol
    if is_currency_pair(symbol):
        return f"{options.get('fx_broker', FX_BROKERS[0])}:{base}_{quote}"
    exchange = options.get("crypto_exchange")
    if exchange is None:
        exchange = "COINBASE" if quote in _AT_COINBASE else "BINANCE"
    return f"{exchange}:{base}{CRYPTO_EXCHANGES.get(exchange, '')}{quote}"


def to_symbol(ticker: str) -> str:
    """Finnhub's spelling → ours."""
    _, colon, name = ticker.rpartition(":")
    if not colon:
        return name.upper()
    for mark in "_-/":
        if mark in name:
            return name.replace(mark, "/", 1).upper()
    return split_pair(name)


def venue_of(ticker: str) -> str:
    """Where: Finnhub names the exchange of a pair, and of a stock none."""
    return ticker.rpartition(":")[0].lower()


def class_of(ticker: str) -> AssetClass:
    where, colon, _ = ticker.rpartition(":")
    if not colon:
        return "equity"
    return "fx" if where in FX_BROKERS or is_currency_pair(to_symbol(ticker)) else "crypto"


def check_symbol(symbol: str) -> str | None:
    return pair_fault(symbol) if "/" in symbol else ticker_fault(symbol)
