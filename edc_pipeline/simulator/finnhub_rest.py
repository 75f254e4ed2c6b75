"""Finnhub over REST: /api/v1/quote. Built from the protocol's description alone."""

from __future__ import annotations

from edc_pipeline.market_day import NS_PER_SECOND
from edc_pipeline.simulator.board import Board, Listing
from edc_pipeline.simulator.instruments import Instrument
from edc_pipeline.simulator.rest import Answer, Question, in_json
from edc_pipeline.simulator.session import Terms
from edc_pipeline.simulator.wanted import is_key, null

_LIMIT = "API limit reached. Please try again later. Remaining Limit: 0"


class FinnhubRest:
    base = "/api/v1"

    def __init__(self, board: Board, *, terms: Terms | None = None, seed: int = 0) -> None:
        self._board = board
        self._terms = terms or Terms()

    def example(self, of: Instrument) -> str:
        base, slash, money = of.symbol.partition("/")
        names = {"fx": f"OANDA:{base}_{money}", "crypto": f"COINBASE:{base}-{money}"}
        return f"/quote?symbol={names[of.asset_class] if slash else of.symbol}&token="

    def answer(self, question: Question, now_ns: int) -> Answer:
        key = question.headers.get("x-finnhub-token") or question.query.get("token")
        if not is_key(self._terms, key):
            return in_json({"error": "Invalid API key"}, 401)
        # The vendor's own client asks for /api/v1//quote, and is answered.
        if question.path.replace("//", "/") != f"{self.base}/quote":
            return in_json({"error": "Not found"}, 404)
        return in_json(_quote(self._listing(question.query.get("symbol", ""))))

    def too_many(self, wait_s: float) -> Answer:
        return in_json({"error": _LIMIT}, 429)

    def _listing(self, ticker: str) -> Listing | None:
        name = ticker.rpartition(":")[2].replace("_", "/").replace("-", "/")
        return self._board.of(name)


def _quote(listing: Listing | None) -> dict[str, float | None]:
    """Of a symbol that nobody lists zeros, and no changes."""
    if listing is None or not listing.changed_ns:
        return {**dict.fromkeys("chlo", 0.0), "pc": 0, "t": 0, "d": None, "dp": None}
    change = listing.price - listing.previous_close
    return {
        "c": null(listing.price),
        "d": null(change),
        "dp": null(100 * change / listing.previous_close),
        "h": null(listing.high) or 0,
        "l": null(listing.low) or 0,
        "o": null(listing.open) or 0,
        "pc": listing.previous_close,
        "t": listing.changed_ns // NS_PER_SECOND,
    }
