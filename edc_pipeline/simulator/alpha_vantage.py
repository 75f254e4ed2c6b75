"""Alpha Vantage over REST, server side: errors under HTTP 200, all numbers as text, times without
an offset. Built from the protocol's description alone.

Not documented, and chosen here: the wording of a refused key and of a limit, as users report them.
"""

from __future__ import annotations

import datetime as dt
import hmac
from collections.abc import Iterable
from math import isnan
from typing import Any, Final

from edc_pipeline.market_day import MARKET_ZONE, NS_PER_SECOND, market_day
from edc_pipeline.simulator.board import Bar, Board, Listing
from edc_pipeline.simulator.instruments import Instrument
from edc_pipeline.simulator.rest import Answer, Question, in_json
from edc_pipeline.simulator.session import Terms

_MINUTES: Final = {"1min": 1, "5min": 5, "15min": 15, "30min": 30, "60min": 60}
_COMPACT: Final = 100
_NO_KEY: Final = "the parameter apikey is invalid or missing. Please claim your free API key."
_NO_CALL: Final = "Invalid API call. Please retry or visit the documentation for"


class AlphaVantage:
    base = ""

    def __init__(self, board: Board, *, terms: Terms | None = None, seed: int = 0) -> None:
        self._board = board
        self._terms = terms or Terms()

    def example(self, of: Instrument) -> str:
        base, slash, money = of.symbol.partition("/")
        if slash:
            asked = f"CURRENCY_EXCHANGE_RATE&from_currency={base}&to_currency={money}"
        else:
            asked = f"GLOBAL_QUOTE&symbol={of.symbol.replace('.', '-')}"
        return f"/query?function={asked}&apikey="

    def answer(self, question: Question, now_ns: int) -> Answer:
        asked = question.query
        if question.path != "/query":
            return in_json({"detail": "not found"}, 404)
        if not self._is_let_in(asked.get("apikey", "")):
            return in_json({"Error Message": _NO_KEY})
        match asked.get("function"):
            case "GLOBAL_QUOTE":
                return self._quote(asked.get("symbol", ""), now_ns)
            case "CURRENCY_EXCHANGE_RATE":
                return self._rate(asked.get("from_currency", ""), asked.get("to_currency", ""))
            case "TIME_SERIES_INTRADAY":
                return self._intraday(asked.get("symbol", ""), asked.get("interval", ""))
        return in_json({"Error Message": "This API function does not exist."})

    def too_many(self, wait_s: float) -> Answer:
        said = (
            "Thank you for using Alpha Vantage! Our standard API rate limit is 25 requests per day."
        )
        return in_json({"Information": said})

    def _is_let_in(self, key: str) -> bool:
        wanted = self._terms.token
        return key != "" and (wanted is None or hmac.compare_digest(key.encode(), wanted.encode()))

    def _stock(self, symbol: str) -> Listing | None:
        listing = self._board.of(symbol.upper().replace("-", "."))
        if listing is None or "/" in listing.instrument.symbol or not listing.changed_ns:
            return None
        return listing

    def _quote(self, symbol: str, now_ns: int) -> Answer:
        listing = self._stock(symbol)
        if listing is None:
            return in_json({"Global Quote": {}})
        change = listing.price - listing.previous_close
        return in_json(
            {
                "Global Quote": {
                    "01. symbol": symbol.upper(),
                    "02. open": _four(listing.open),
                    "03. high": _four(listing.high),
                    "04. low": _four(listing.low),
                    "05. price": _four(listing.price),
                    "06. volume": str(int(listing.volume)),
                    "07. latest trading day": market_day(now_ns).isoformat(),
                    "08. previous close": _four(listing.previous_close),
                    "09. change": _four(change),
                    "10. change percent": f"{100 * change / listing.previous_close:.4f}%",
                }
            }
        )

    def _rate(self, base: str, money: str) -> Answer:
        listing = self._board.of(f"{base}/{money}".upper())
        if listing is None or not listing.changed_ns:
            said = f"{_NO_CALL} CURRENCY_EXCHANGE_RATE."
            return in_json({"Error Message": said})
        top = listing.top
        seconds = dt.datetime.fromtimestamp(listing.changed_ns // NS_PER_SECOND, dt.UTC)
        return in_json(
            {
                "Realtime Currency Exchange Rate": {
                    "1. From_Currency Code": base.upper(),
                    "2. From_Currency Name": base.upper(),
                    "3. To_Currency Code": money.upper(),
                    "4. To_Currency Name": money.upper(),
                    "5. Exchange Rate": _eight(listing.price),
                    "6. Last Refreshed": f"{seconds:%Y-%m-%d %H:%M:%S}",
                    "7. Time Zone": "UTC",
                    "8. Bid Price": _eight(top.bid),
                    "9. Ask Price": _eight(top.ask),
                }
            }
        )

    def _intraday(self, symbol: str, interval: str) -> Answer:
        listing, minutes = self._stock(symbol), _MINUTES.get(interval)
        if listing is None or minutes is None:
            return in_json({"Error Message": f"{_NO_CALL} TIME_SERIES_INTRADAY."})
        bars = _longer(listing.bars, minutes)[-_COMPACT:]
        series = {
            _new_york(bar.start_ns): {
                "1. open": _four(bar.open),
                "2. high": _four(bar.high),
                "3. low": _four(bar.low),
                "4. close": _four(bar.close),
                "5. volume": str(int(bar.volume)),
            }
            for bar in reversed(bars)  # newest first; the newest is not over
        }
        meta = {
            "1. Information": f"Intraday ({interval}) open, high, low, close prices and volume",
            "2. Symbol": symbol.upper(),
            "3. Last Refreshed": next(iter(series), ""),
            "4. Interval": interval,
            "5. Output Size": "Compact",
            "6. Time Zone": "US/Eastern",
        }
        return in_json({"Meta Data": meta, f"Time Series ({interval})": series})


def _longer(bars: Iterable[Bar], minutes: int) -> list[Bar]:
    """Bars of one minute put together."""
    made: list[Bar] = []
    span = minutes * 60 * NS_PER_SECOND
    for bar in bars:
        start = bar.start_ns - bar.start_ns % span
        if not made or made[-1].start_ns < start:
            made.append(Bar(start, bar.open, bar.high, bar.low, bar.close, bar.volume))
            continue
        into = made[-1]
        into.high, into.low = max(into.high, bar.high), min(into.low, bar.low)
        into.close, into.volume = bar.close, into.volume + bar.volume
    return made


def _new_york(ns: int) -> str:
    return f"{dt.datetime.fromtimestamp(ns // NS_PER_SECOND, MARKET_ZONE):%Y-%m-%d %H:%M:%S}"


def _four(value: float) -> str:
    return "-" if isnan(value) else f"{value:.4f}"


def _eight(value: float) -> Any:
    return "-" if isnan(value) else f"{value:.8f}"
