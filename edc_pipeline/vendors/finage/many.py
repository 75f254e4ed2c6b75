"""The frames of one read at once, column by column: what `frames.py` reads, where all of it is
plain: every frame a trade or a quote, its numbers written as numbers or as text."""

from __future__ import annotations

from typing import Any

import msgspec

from edc_pipeline.vendors.contract import Columns, ReadMany, Subscription
from edc_pipeline.vendors.finage.frames import ROW, Row, Written, first, instruments_of, stamp_of
from edc_pipeline.vendors.finage.symbols import CLASSES
from edc_pipeline.vendors.together import (
    Numbers,
    Places,
    Times,
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
    ways = _ways(
        Together("finage", feed, CLASSES[feed], instruments_of(subscription, feed).__getitem__)
    )
    return reader_of_single_rows(ROW.decode, ways, _is_trade)


def _is_trade(row: Row) -> bool:
    return row.p is not None


def _ways(together: Together) -> Ways:
    def trades(rows: list[Row], places: Places) -> Columns:
        numbers: Numbers = {
            "ts_event": _times(rows),
            "price": required_floats(_numbers([row.p for row in rows])),
            "size": floats(_numbers([row.v if row.q is None else row.q for row in rows])),
        }
        return together.columns("trade", [row.s for row in rows], numbers, places)

    def quotes(rows: list[Row], places: Places) -> Columns:
        numbers = quote_numbers(
            _times(rows),
            (_numbers([first(r.b, r.bp) for r in rows]), _numbers([r.bs for r in rows])),
            (_numbers([first(r.a, r.ap) for r in rows]), _numbers([r.as_ for r in rows])),
        )
        return together.columns("quote", [row.s for row in rows], numbers, places)

    return {True: trades, False: quotes}


def _times(rows: list[Row]) -> Times:
    stamps: list[Any] = [row.t for row in rows]
    if str in set(map(type, stamps)):
        stamps = list(map(stamp_of, stamps))
    return epochs_to_ns(stamps)


def _numbers(written: list[Written]) -> list[float | None]:
    """Raises for text that is no number, also where one by one it says that there is none."""
    return msgspec.convert(written, list[float | None], strict=False)
