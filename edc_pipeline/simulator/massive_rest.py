"""Massive (Polygon.io) over REST: the snapshots of stocks, currencies and coins. Built from the
protocol's description alone; a ticker that nobody lists is left out."""

from __future__ import annotations

import re
from typing import Any, Final

from edc_pipeline.simulator.board import Board, Listing
from edc_pipeline.simulator.instruments import Instrument
from edc_pipeline.simulator.rest import Answer, Question, in_json
from edc_pipeline.simulator.session import Terms
from edc_pipeline.simulator.wanted import MS, is_key, null

_PATH: Final = re.compile(r"/v2/snapshot/locale/(us|global)/markets/(stocks|forex|crypto)/tickers")
_CLASSES: Final = {"stocks": ("equity", "etf"), "forex": ("fx",), "crypto": ("crypto",)}
_LETTERS: Final = {"stocks": "", "forex": "C:", "crypto": "X:"}
_LIMIT: Final = (
    "You've exceeded the maximum requests per minute, please wait or upgrade your subscription"
    " to continue."
)


class MassiveRest:
    base = ""

    def __init__(self, board: Board, *, terms: Terms | None = None, seed: int = 0) -> None:
        self._board = board
        self._terms = terms or Terms()

    def example(self, of: Instrument) -> str:
        market = next(m for m, classes in _CLASSES.items() if of.asset_class in classes)
        where = "us" if market == "stocks" else "global"
        path = f"/v2/snapshot/locale/{where}/markets/{market}/tickers"
        return f"{path}?tickers={_ticker(market, of)}&apiKey="

    def answer(self, question: Question, now_ns: int) -> Answer:
        kind, _, key = question.headers.get("authorization", "").partition(" ")
        if not is_key(self._terms, key if kind == "Bearer" else question.query.get("apiKey")):
            return in_json({"status": "ERROR", "error": "Unknown API Key"}, 401)
        found = _PATH.fullmatch(question.path)
        if found is None:
            return in_json({"status": "NOT_FOUND", "message": "Resource not found"}, 404)
        market = found[2]
        asked = [one for one in question.query.get("tickers", "").split(",") if one]
        here = {
            _ticker(market, one.instrument): one
            for one in self._board.listed(_CLASSES[market])
            if one.changed_ns
        }
        rows = [
            _row(market, ticker, here[ticker]) for ticker in asked or list(here) if ticker in here
        ]
        return in_json({"status": "OK", "count": len(rows), "tickers": rows})

    def too_many(self, wait_s: float) -> Answer:
        return in_json({"status": "ERROR", "error": _LIMIT}, 429)


def _ticker(market: str, instrument: Instrument) -> str:
    return _LETTERS[market] + instrument.symbol.replace("/", "")


def _row(market: str, ticker: str, listing: Listing) -> dict[str, Any]:
    top = listing.top
    day = {"o": listing.open, "h": listing.high, "l": listing.low, "c": listing.price}
    row: dict[str, Any] = {
        "ticker": ticker,
        "day": {name: null(value) or 0 for name, value in day.items()} | {"v": listing.volume},
        "prevDay": {"c": listing.previous_close},
        # Nanoseconds where trades and quotes of stocks are concerned, else milliseconds.
        "updated": listing.changed_ns if market == "stocks" else listing.changed_ns // MS,
    }
    if market != "forex" and top.trade_ns:
        in_ns = top.trade_ns if market == "stocks" else top.trade_ns // MS
        row["lastTrade"] = {
            "c": [12] if market == "stocks" else [1],
            "i": str(top.trade_ns),
            "p": top.last,
            "s": top.last_size,
            "t": in_ns,
            "x": 11,
        }
    if market == "stocks" and top.quote_ns:
        quote = {"p": top.bid, "s": top.bid_size, "P": top.ask, "S": top.ask_size}
        row["lastQuote"] = {name: null(value) or 0 for name, value in quote.items()}
        row["lastQuote"]["t"] = top.quote_ns
    elif market == "forex" and top.quote_ns:
        sides = {"a": null(top.ask) or 0, "b": null(top.bid) or 0}
        row["lastQuote"] = {**sides, "i": 0, "t": top.quote_ns // MS, "x": 48}
    return row
