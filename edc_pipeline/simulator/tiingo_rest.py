"""Tiingo over REST: /iex/, /tiingo/fx/top and /tiingo/crypto/top. Built from the protocol's
description alone.

Not documented, and chosen here: 401 for a wrong token, Retry-After with 429.
"""

from __future__ import annotations

import datetime as dt
import hmac
import random
from collections.abc import Callable
from math import ceil, isnan
from typing import Any, Final

from edc_pipeline.market_day import MARKET_ZONE, NS_PER_SECOND
from edc_pipeline.simulator.board import Board, Listing
from edc_pipeline.simulator.instruments import Instrument
from edc_pipeline.simulator.rest import Answer, Question, in_json
from edc_pipeline.simulator.session import Terms
from edc_pipeline.simulator.tiingo import VENUES

# Null without the IEX agreement, and outside the market's hours.
_WITH_AGREEMENT: Final = (
    *("lastSaleTimestamp", "quoteTimestamp", "mid", "last", "lastSize"),
    *("bidSize", "bidPrice", "askPrice", "askSize"),
)


class TiingoRest:
    base = ""

    def __init__(self, board: Board, *, terms: Terms | None = None, seed: int = 0) -> None:
        self._board = board
        self._terms = terms or Terms()
        self._random = random.Random(seed)

    def example(self, of: Instrument) -> str:
        path = {"fx": "/tiingo/fx/top", "crypto": "/tiingo/crypto/top"}.get(of.asset_class, "/iex/")
        return f"{path}?tickers={_ticker(of)}&token="

    def answer(self, question: Question, now_ns: int) -> Answer:
        if not self._is_let_in(question):
            return in_json({"detail": "Invalid token."}, 401)
        match question.path:
            case "/iex":
                return Answer(301, b"", {"Location": "/iex/"})
            case "/iex/":
                return self._rows(question, ("equity", "etf"), self._iex)
            case "/tiingo/fx/top":
                return self._rows(question, ("fx",), _fx)
            case "/tiingo/crypto/top":
                return self._rows(question, ("crypto",), _crypto)
        return in_json({"detail": "Not found."}, 404)

    def too_many(self, wait_s: float) -> Answer:
        said = {"detail": "Error: You have run over your hourly request allocation."}
        return in_json(said, 429, retry_after=str(ceil(wait_s)))

    def _is_let_in(self, question: Question) -> bool:
        kind, _, token = question.headers.get("authorization", "").partition(" ")
        token = token if kind == "Token" else question.query.get("token", "")
        wanted = self._terms.token
        return token != "" and (
            wanted is None or hmac.compare_digest(token.encode(), wanted.encode())
        )

    def _rows(
        self,
        question: Question,
        asset_classes: tuple[str, ...],
        row: Callable[[Listing, str], dict[str, Any]],
    ) -> Answer:
        """One row a ticker: in no order, and none for a ticker that nobody lists."""
        asked = [t.lower() for t in question.query.get("tickers", "").split(",") if t]
        here = {
            _ticker(li.instrument): li for li in self._board.listed(asset_classes) if li.changed_ns
        }
        rows = [row(li, t) for t, li in here.items() if not asked or t in asked]
        self._random.shuffle(rows)
        return in_json(rows)

    def _iex(self, listing: Listing, ticker: str) -> dict[str, Any]:
        top = listing.top
        row = {
            "ticker": ticker.upper(),
            "timestamp": _stamp(listing.changed_ns, 9, MARKET_ZONE),
            "lastSaleTimestamp": _stamp(top.trade_ns, 9, MARKET_ZONE),
            "quoteTimestamp": _stamp(top.quote_ns, 9, MARKET_ZONE),
            "open": _null(listing.open),
            "high": _null(listing.high),
            "low": _null(listing.low),
            "mid": _null(listing.mid),
            "tngoLast": _null(listing.price),
            "last": _null(top.last),
            "lastSize": _null(top.last_size),
            "bidSize": _null(top.bid_size),
            "bidPrice": _null(top.bid),
            "askPrice": _null(top.ask),
            "askSize": _null(top.ask_size),
            "volume": int(listing.volume),
            "prevClose": listing.previous_close,
        }
        if not self._terms.iex_agreement:
            row.update(dict.fromkeys(_WITH_AGREEMENT))
        return row


def _ticker(instrument: Instrument) -> str:
    return instrument.symbol.lower().replace(".", "-").replace("/", "")


def _fx(listing: Listing, ticker: str) -> dict[str, Any]:
    top = listing.top
    return {
        "ticker": ticker,
        "quoteTimestamp": _stamp(top.quote_ns, 6, dt.UTC),
        "bidPrice": _null(top.bid),
        "bidSize": _null(top.bid_size),
        "askPrice": _null(top.ask),
        "askSize": _null(top.ask_size),
        "midPrice": _null(listing.mid),
    }


def _crypto(listing: Listing, ticker: str) -> dict[str, Any]:
    """The best of all venues together: each side from wherever it stands best, so it may cross."""
    venues = {VENUES[n % len(VENUES)][0].upper(): book for n, book in listing.venues.items()}
    bids = {v: b for v, b in venues.items() if not isnan(b.bid)}
    asks = {v: b for v, b in venues.items() if not isnan(b.ask)}
    lasts = {v: b for v, b in venues.items() if not isnan(b.last)}
    base, _, quote = listing.instrument.symbol.lower().partition("/")
    book: dict[str, Any] = {"quoteTimestamp": _stamp(listing.top.quote_ns, 6, dt.UTC)}
    bid = max(bids, key=lambda v: bids[v].bid, default=None)
    ask = min(asks, key=lambda v: asks[v].ask, default=None)
    last = max(lasts, key=lambda v: lasts[v].trade_ns, default=None)
    book |= {
        "lastSaleTimestamp": _stamp(lasts[last].trade_ns, 6, dt.UTC) if last else None,
        "bidSize": bids[bid].bid_size if bid else None,
        "bidPrice": bids[bid].bid if bid else None,
        "bidExchange": bid,
        "askSize": asks[ask].ask_size if ask else None,
        "askPrice": asks[ask].ask if ask else None,
        "askExchange": ask,
        "lastSize": lasts[last].last_size if last else None,
        "lastSizeNotional": lasts[last].last_size * lasts[last].last if last else None,
        "lastPrice": lasts[last].last if last else None,
        "lastExchange": last,
    }
    return {"ticker": ticker, "baseCurrency": base, "quoteCurrency": quote, "topOfBookData": [book]}


def _null(value: float) -> float | None:
    return None if isnan(value) else value


def _stamp(ns: int, digits: int, zone: dt.tzinfo) -> str | None:
    if not ns:
        return None
    second, rest = divmod(ns, NS_PER_SECOND)
    moment = dt.datetime.fromtimestamp(second, zone).isoformat()
    return f"{moment[:-6]}.{f'{rest:09d}'[:digits]}{moment[-6:]}"
