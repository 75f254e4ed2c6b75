"""The frames of one read at once, column by column: what `frames.py` reads, where all of it is
plain: every frame a trade or a quote of the feed asked for."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from edc_pipeline.vendors.contract import Columns, ReadMany, Subscription
from edc_pipeline.vendors.fmp.frames import ROW, Row, instruments_of
from edc_pipeline.vendors.fmp.symbols import CLASSES
from edc_pipeline.vendors.together import (
    CodedTexts,
    Numbers,
    Places,
    Spelling,
    Together,
    Ways,
    epochs_to_ns,
    floats,
    quote_numbers,
    reader_of_single_rows,
    required_floats,
)


def reader_of_many(subscription: Subscription) -> ReadMany | None:
    feed = subscription.feed
    if feed not in CLASSES:
        return None
    instruments = instruments_of(subscription, feed)
    ways = _ways(Together("fmp", feed, CLASSES[feed], lambda told: instruments[told.lower()]))
    return reader_of_single_rows(ROW.decode, ways, attrgetter("type"))


def _ways(together: Together) -> Ways:
    spelled = Spelling(lambda exchange: (exchange or "").lower())

    def venues(rows: list[Row]) -> CodedTexts:
        return {"venue": spelled([row.e for row in rows])}

    def trades(rows: list[Row], places: Places) -> Columns:
        numbers: Numbers = {
            "ts_event": epochs_to_ns([row.t for row in rows]),
            "price": required_floats([row.lp for row in rows]),
            "size": floats([row.ls for row in rows]),
        }
        return together.columns("trade", _tickers(rows), numbers, places, venues(rows))

    def quotes(rows: list[Row], places: Places) -> Columns:
        numbers = quote_numbers(
            epochs_to_ns([row.t for row in rows]),
            ([row.bp for row in rows], [row.bs for row in rows]),
            ([row.ap for row in rows], [row.as_ for row in rows]),
            empty=True,
        )
        return together.columns("quote", _tickers(rows), numbers, places, venues(rows))

    return {"T": trades, "Q": quotes}


def _tickers(rows: Sequence[Row]) -> list[str]:
    return [row.s for row in rows]
