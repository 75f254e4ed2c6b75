"""Financial Modeling Prep over REST: /api/v3/quote/A,B and /stable/quote?symbol=A. Built from the
protocol's description alone."""

from __future__ import annotations

from typing import Any

from edc_pipeline.market_day import NS_PER_SECOND
from edc_pipeline.simulator.board import Board, Listing
from edc_pipeline.simulator.instruments import Instrument
from edc_pipeline.simulator.rest import Answer, Question, in_json
from edc_pipeline.simulator.session import Terms
from edc_pipeline.simulator.wanted import is_key, null

_WRONG_KEY = "Invalid API KEY. Feel free to create a Free API Key or visit the site for more."
_LIMIT = "Limit Reach . Please upgrade your plan or visit our documentation for more details"


class FmpRest:
    base = "/api/v3"

    def __init__(self, board: Board, *, terms: Terms | None = None, seed: int = 0) -> None:
        self._terms = terms or Terms()
        self._listed = {_ticker(one.instrument): one for one in board.listings}

    def example(self, of: Instrument) -> str:
        return f"/quote/{_ticker(of)}?apikey="

    def answer(self, question: Question, now_ns: int) -> Answer:
        if not is_key(self._terms, question.query.get("apikey")):
            return in_json({"Error Message": _WRONG_KEY}, 401)
        by_path = f"{self.base}/quote/"
        if question.path.startswith(by_path):
            asked = question.path.removeprefix(by_path)
        elif question.path == "/stable/quote":
            asked = question.query.get("symbol", "")
        else:
            return in_json({"Error Message": "Not found"}, 404)
        here = ((t, self._listed.get(t)) for t in asked.upper().split(","))
        return in_json([_quote(t, one) for t, one in here if one is not None and one.changed_ns])

    def too_many(self, wait_s: float) -> Answer:
        return in_json({"Error Message": _LIMIT}, 429)


def _ticker(instrument: Instrument) -> str:
    return instrument.symbol.replace("/", "").replace(".", "-")


def _quote(ticker: str, listing: Listing) -> dict[str, Any]:
    return {
        "symbol": ticker,
        "name": listing.instrument.symbol,
        "price": null(listing.price),
        "dayLow": null(listing.low),
        "dayHigh": null(listing.high),
        "open": null(listing.open),
        "previousClose": listing.previous_close,
        "volume": int(listing.volume),
        "exchange": "NASDAQ",
        "timestamp": listing.changed_ns // NS_PER_SECOND,
    }
