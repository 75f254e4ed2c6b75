"""The frames of one read at once, column by column: what `rows.py` reads, where all of it is plain.

Plain is: every frame a trade or a book ticker of the feed asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from edc_pipeline.coded import Coded, Words
from edc_pipeline.vendors.binance.rows import (
    ASSET_CLASSES,
    COMBINED_PLAIN_BOOK,
    COMBINED_TYPED,
    NO_TRADE,
    PLAIN_BOOK,
    TYPED,
    AggregateRow,
    BookRow,
    PlainBookRow,
    RowReader,
    TradeRow,
    condition_of,
    times_to_ns,
)
from edc_pipeline.vendors.contract import Columns, ReadMany
from edc_pipeline.vendors.reading import UNREADABLE, Fault
from edc_pipeline.vendors.together import (
    CodedTexts,
    Numbers,
    Places,
    Spelling,
    Texts,
    Times,
    Together,
    Ways,
    by_kind,
    floats,
    quote_numbers,
    whole,
)


def reader_of_many(feed: str, reader: RowReader) -> ReadMany | None:
    if not feed:
        return None
    together = Together("binance", feed, ASSET_CLASSES[feed], reader.instruments[feed].__getitem__)
    ways = _ways(together)
    typed, plain_book = TYPED.decode, PLAIN_BOOK.decode
    combined_typed, combined_plain_book = COMBINED_TYPED.decode, COMBINED_PLAIN_BOOK.decode

    def row_of(frame: bytes) -> Any:
        if frame.startswith(b'{"u"'):
            return plain_book(frame) if feed == "spot" else typed(frame)
        if not frame.startswith(b'{"stream"'):
            return typed(frame)
        if feed == "spot" and b'"data":{"u"' in frame:
            return combined_plain_book(frame).data
        return combined_typed(frame).data

    def rows_of(frames: Sequence[bytes]) -> list[Any]:
        first = frames[0]
        if first.startswith(b'{"e"'):
            with suppress(*UNREADABLE):  # nearly always trades and nothing else
                return [typed(frame) for frame in frames]
        return [row_of(frame) for frame in frames]

    def read_many(frames: Sequence[bytes], received_at: int) -> Sequence[Columns] | None:
        try:
            return by_kind(rows_of(frames), np.arange(len(frames)), ways(received_at))
        except UNREADABLE:
            return None

    return read_many


def _ways(together: Together) -> Callable[[int], Ways]:
    """By the time of receipt: spot's book ticker has none of its own."""
    # By `m`, 0 or 1: the buyer's order lay in the book, so the seller came to it.
    sides, conditions = Words("buy", "sell"), Spelling(condition_of)

    def trades(rows: list[TradeRow], places: Places) -> Columns:
        kinds = {row.X for row in rows}
        if NO_TRADE in kinds:
            raise Fault("a number that stands for no trade")
        ids = whole([row.t for row in rows])
        coded = {} if kinds == {""} else {"conditions": conditions([row.X for row in rows])}
        numbers: Numbers = {"seq": ids, "event_id": ids}
        return executions(rows, numbers, places, coded)

    def aggregates(rows: list[AggregateRow], places: Places) -> Columns:
        ids = [row.a for row in rows]
        texts = {"event_id": [f"a{number}" for number in ids]}
        return executions(rows, {"seq": whole(ids)}, places, {}, texts)

    def executions(
        rows: Sequence[TradeRow | AggregateRow],
        numbers: Numbers,
        places: Places,
        coded: CodedTexts,
        texts: Texts | None = None,
    ) -> Columns:
        numbers["ts_event"] = times_to_ns([row.T for row in rows])
        numbers["price"] = floats([row.p for row in rows])
        numbers["size"] = floats([row.q for row in rows])
        coded["side"] = Coded(sides, np.fromiter([row.m for row in rows], np.int32, len(rows)))
        return together.columns("trade", [row.s for row in rows], numbers, places, coded, texts)

    def books(rows: list[BookRow], places: Places) -> Columns:
        times = [row.T for row in rows]
        if not all(times):
            raise Fault("a book ticker without a time")
        return quotes(rows, times_to_ns(times), places)

    def plain_books(received_at: int, rows: list[PlainBookRow], places: Places) -> Columns:
        return quotes(rows, np.full(len(rows), received_at), places, ts_source="receive")

    def quotes(
        rows: Sequence[BookRow | PlainBookRow],
        times: Times,
        places: Places,
        ts_source: str = "vendor",
    ) -> Columns:
        bid = [row.b for row in rows], [row.B for row in rows]
        ask = [row.a for row in rows], [row.A for row in rows]
        numbers = quote_numbers(times, bid, ask, empty=True)
        numbers["seq"] = numbers["event_id"] = whole([row.u for row in rows])
        return together.columns(
            "quote", [row.s for row in rows], numbers, places, ts_source=ts_source
        )

    ways: dict[type, Any] = {TradeRow: trades, AggregateRow: aggregates, BookRow: books}
    return lambda received_at: ways | {PlainBookRow: partial(plain_books, received_at)}
