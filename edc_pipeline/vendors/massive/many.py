"""The frames of one read at once, column by column: what `rows.py` reads, where all of it is plain.

Plain is: arrays of trades and quotes of the feed asked for, each with what tells its id.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edc_pipeline.vendors.contract import Columns, ReadMany
from edc_pipeline.vendors.massive.rows import (
    FRAME,
    SIDES,
    Code,
    CryptoQuote,
    CryptoTrade,
    ForexQuote,
    StockQuote,
    StockTrade,
    both_venues,
    code,
    codes,
    exact,
    trade_id,
)
from edc_pipeline.vendors.massive.symbols import CLASSES
from edc_pipeline.vendors.reading import UNREADABLE, Fault, Instruments
from edc_pipeline.vendors.together import (
    Numbers,
    Places,
    Spelling,
    Together,
    Ways,
    by_kind,
    epochs_to_ns,
    floats,
    quote_numbers,
    spread,
    whole,
)


def reader_of_many(feed: str, instruments: Instruments) -> ReadMany | None:
    if feed not in CLASSES:
        return None
    ways = _WAYS[feed](
        Together("massive", feed, CLASSES[feed], instruments.__getitem__, several=True)
    )
    decode = FRAME.decode

    def read_many(frames: Sequence[bytes], received_at: int) -> Sequence[Columns] | None:
        try:
            found = [decode(frame) for frame in frames]
            return by_kind(*spread(found, np.arange(len(found))), ways)
        except UNREADABLE:
            return None

    return read_many


def _ids(said: list[Code]) -> list[str]:
    """`code` of each; nearly all are text."""
    return said if set(map(type, said)) == {str} else list(map(code, said))  # type: ignore[return-value]


def _trade_ids(rows: list[StockTrade]) -> list[str]:
    facilities = [row.trfi for row in rows]
    if facilities.count(None) == len(rows):
        return _ids([row.i for row in rows])
    return [trade_id(row.i, row.trfi) for row in rows]


def _stocks(together: Together) -> Ways:
    venues, conditions = Spelling(code), Spelling(codes)
    two_venues = Spelling(lambda of_sides: both_venues(*of_sides))

    def trades(rows: list[StockTrade], places: Places) -> Columns:
        numbers: Numbers = {
            "ts_event": epochs_to_ns([row.t for row in rows]),
            "seq": whole([row.q for row in rows]),
            "price": floats([row.p for row in rows]),
            "size": floats([row.s if row.ds is None else exact(row.ds) for row in rows]),
        }
        coded = {
            "venue": venues([row.x for row in rows]),
            "conditions": conditions([row.c for row in rows]),
        }
        texts = {"event_id": _trade_ids(rows)}
        tickers = [row.sym for row in rows]
        return together.columns("trade", tickers, numbers, places, coded, texts)

    def quotes(rows: list[StockQuote], places: Places) -> Columns:
        ids = whole([row.q for row in rows])
        if ids.min() < 0:
            raise Fault("a quote without a number")
        numbers = quote_numbers(
            epochs_to_ns([row.t for row in rows]),
            ([row.bp for row in rows], [row.bs for row in rows]),
            ([row.ap for row in rows], [row.as_ for row in rows]),
            empty=True,
        )
        numbers["seq"] = numbers["event_id"] = ids
        coded = {"venue": two_venues([(row.bx, row.ax) for row in rows])}
        return together.columns("quote", [row.sym for row in rows], numbers, places, coded)

    return {StockTrade: trades, StockQuote: quotes}


def _forex(together: Together) -> Ways:
    venues = Spelling(code)

    def quotes(rows: list[ForexQuote], places: Places) -> Columns:
        none = [None] * len(rows)
        numbers = quote_numbers(
            epochs_to_ns([row.t for row in rows]),
            ([row.b for row in rows], none),
            ([row.a for row in rows], none),
            empty=True,
        )
        coded = {"venue": venues([row.x for row in rows])}
        return together.columns("quote", [row.p for row in rows], numbers, places, coded)

    return {ForexQuote: quotes}


def _crypto(together: Together) -> Ways:
    venues, conditions = Spelling(code), Spelling(codes)
    sides = Spelling(lambda said: SIDES.get(codes(said), ""))

    def trades(rows: list[CryptoTrade], places: Places) -> Columns:
        told = [row.c for row in rows]
        numbers: Numbers = {
            "ts_event": epochs_to_ns([row.t for row in rows]),
            "price": floats([row.p for row in rows]),
            "size": floats([row.s for row in rows]),
        }
        coded = {
            "venue": venues([row.x for row in rows]),
            "side": sides(told),
            "conditions": conditions(told),
        }
        texts = {"event_id": _ids([row.i for row in rows])}
        tickers = [row.pair for row in rows]
        return together.columns("trade", tickers, numbers, places, coded, texts)

    def quotes(rows: list[CryptoQuote], places: Places) -> Columns:
        numbers = quote_numbers(
            epochs_to_ns([row.t for row in rows]),
            ([row.bp for row in rows], [row.bs for row in rows]),
            ([row.ap for row in rows], [row.as_ for row in rows]),
            empty=True,
        )
        coded = {"venue": venues([row.x for row in rows])}
        return together.columns("quote", [row.pair for row in rows], numbers, places, coded)

    return {CryptoTrade: trades, CryptoQuote: quotes}


_WAYS = {"stocks": _stocks, "forex": _forex, "crypto": _crypto}
