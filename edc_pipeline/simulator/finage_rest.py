"""Finage over REST: /last/{stock,etf,forex,crypto}/SYMBOL. Built from the protocol's description
alone."""

from __future__ import annotations

from typing import Any, Final

from edc_pipeline.simulator.board import Board, Listing
from edc_pipeline.simulator.instruments import Instrument
from edc_pipeline.simulator.rest import Answer, Question, in_json
from edc_pipeline.simulator.session import Terms
from edc_pipeline.simulator.wanted import MS, is_key, null

_CLASSES: Final = {"stock": "equity", "etf": "etf", "forex": "fx", "crypto": "crypto"}


class FinageRest:
    base = ""

    def __init__(self, board: Board, *, terms: Terms | None = None, seed: int = 0) -> None:
        self._board = board
        self._terms = terms or Terms()

    def example(self, of: Instrument) -> str:
        market = next(m for m, asset_class in _CLASSES.items() if of.asset_class == asset_class)
        return f"/last/{market}/{of.symbol.replace('/', '')}?apikey="

    def answer(self, question: Question, now_ns: int) -> Answer:
        if not is_key(self._terms, question.query.get("apikey")):
            return in_json({"error": "Invalid API key"}, 401)
        parts = question.path.strip("/").split("/")
        if len(parts) != 3 or parts[0] != "last" or parts[1] not in _CLASSES:
            return in_json({"error": "Not found"}, 404)
        _, market, ticker = parts
        listed = self._board.listed((_CLASSES[market],))
        found = [one for one in listed if one.instrument.symbol.replace("/", "") == ticker]
        if not found or not found[0].changed_ns:
            return in_json({"error": "Symbol not found"}, 400)
        return in_json(_last(found[0], market, ticker))

    def too_many(self, wait_s: float) -> Answer:
        return in_json({"error": "You have reached your limit"}, 429)


def _last(listing: Listing, market: str, ticker: str) -> dict[str, Any]:
    top = listing.top
    if market == "crypto":
        row: dict[str, Any] = {"symbol": ticker, "price": null(top.last)}
        return {**row, "timestamp": top.trade_ns // MS}
    row = {"symbol": ticker, "ask": null(top.ask), "bid": null(top.bid)}
    if market != "forex":
        row |= {"asize": null(top.ask_size), "bsize": null(top.bid_size)}
    return {**row, "timestamp": top.quote_ns // MS}
