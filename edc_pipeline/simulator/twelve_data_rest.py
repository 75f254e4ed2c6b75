"""Twelve Data over REST: /quote. Built from the protocol's description alone.

Not documented, and chosen here: an unknown symbol is told under status 200, a wrong key and a limit
under their own.
"""

from __future__ import annotations

import datetime as dt
from math import isnan
from typing import Any

from edc_pipeline.market_day import MARKET_ZONE, NS_PER_SECOND
from edc_pipeline.simulator.board import Board, Listing
from edc_pipeline.simulator.instruments import Instrument
from edc_pipeline.simulator.rest import Answer, Question, in_json
from edc_pipeline.simulator.session import Terms
from edc_pipeline.simulator.wanted import is_key

_KINDS = {"equity": "NASDAQ", "etf": "NYSE", "fx": "Forex", "crypto": "Coinbase Pro"}


class TwelveDataRest:
    base = ""

    def __init__(self, board: Board, *, terms: Terms | None = None, seed: int = 0) -> None:
        self._board = board
        self._terms = terms or Terms()

    def example(self, of: Instrument) -> str:
        return f"/quote?symbol={of.symbol}&apikey="

    def answer(self, question: Question, now_ns: int) -> Answer:
        kind, _, key = question.headers.get("authorization", "").partition(" ")
        if not is_key(self._terms, key if kind == "apikey" else question.query.get("apikey")):
            message = "**apikey** parameter is incorrect or not specified."
            return in_json(_error(401, message), 401)
        if question.path != "/quote":
            return in_json(_error(404, "not found"), 404)
        symbols = [one for one in question.query.get("symbol", "").split(",") if one]
        quotes = {one: self._quote(one, now_ns) for one in symbols}
        return in_json(quotes[symbols[0]] if len(symbols) == 1 else quotes)

    def too_many(self, wait_s: float) -> Answer:
        message = "You have run out of API credits for the current minute."
        return in_json(_error(429, message), 429)

    def _quote(self, symbol: str, now_ns: int) -> dict[str, Any]:
        listing = self._board.of(symbol)
        if listing is None or not listing.changed_ns:
            return _error(404, "**symbol** or **figi** parameter is missing or invalid.")
        today = dt.datetime.fromtimestamp(now_ns // NS_PER_SECOND, MARKET_ZONE)
        opened = today.replace(hour=9, minute=30, second=0, microsecond=0)
        return {
            "symbol": symbol,
            "exchange": _KINDS[listing.instrument.asset_class],
            "datetime": today.date().isoformat(),
            "timestamp": int(opened.timestamp()),
            "last_quote_at": listing.changed_ns // NS_PER_SECOND,
            **{name: _text(value) for name, value in _prices(listing).items() if not isnan(value)},
            "is_market_open": True,
        }


def _prices(listing: Listing) -> dict[str, float]:
    return {
        "open": listing.open,
        "high": listing.high,
        "low": listing.low,
        "close": listing.price,
        "previous_close": listing.previous_close,
    }


def _text(value: float) -> str:
    """All numbers are text."""
    return repr(value)


def _error(code: int, message: str) -> dict[str, Any]:
    return {"code": code, "message": message, "status": "error"}
