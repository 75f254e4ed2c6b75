"""The frames of one read at once, column by column: what `rows.py` reads, where all of it is plain.

Plain is: every frame a trade or a book ticker of the feed asked for. Whatever is not is read one by
one, so this may be as narrow as it likes, and must never differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from edc_pipeline.events import EventType
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
    conditions_of,
    times_to_ns,
)
from edc_pipeline.vendors.contract import Columns, ReadMany

_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)

_Places = Sequence[int]
_Numbers = dict[str, NDArray[Any]]
_Texts = dict[str, list[str]]


def reader_of_many(feed: str, reader: RowReader) -> ReadMany | None:
    if not feed:
        return None
    columns = _Reader(feed, reader)
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
            with suppress(*_UNREADABLE):  # nearly always trades and nothing else
                return [typed(frame) for frame in frames]
        return [row_of(frame) for frame in frames]

    def read_many(frames: Sequence[bytes], received_at: int) -> Sequence[Columns] | None:
        try:
            return columns.read(rows_of(frames), received_at)
        except _UNREADABLE:
            return None

    return read_many


class _Reader:
    def __init__(self, feed: str, rows: RowReader) -> None:
        self._rows = rows
        self._constants: dict[type, dict[str, Any]] = {
            kind: {
                "vendor": "binance",
                "feed": feed,
                "asset_class": ASSET_CLASSES[feed],
                "ts_source": "receive" if kind is PlainBookRow else "vendor",
            }
            for kind in (TradeRow, AggregateRow, BookRow, PlainBookRow)
        }
        self._ways: dict[type, Callable[[list[Any], _Places, int], Columns | None]] = {
            TradeRow: self._trades,
            AggregateRow: self._aggregates,
            BookRow: self._books,
            PlainBookRow: self._plain_books,
        }

    def read(self, rows: list[Any], received_at: int) -> Sequence[Columns] | None:
        kinds = set(map(type, rows))
        found = []
        for kind in kinds:
            places: _Places = range(len(rows))
            mine = rows
            if len(kinds) > 1:
                places = [place for place in places if type(rows[place]) is kind]
                mine = [rows[place] for place in places]
            columns = self._ways[kind](mine, places, received_at)
            if columns is None:
                return None
            found.append(columns)
        return found

    def _trades(self, rows: list[TradeRow], places: _Places, _: int) -> Columns | None:
        kinds = {row.X for row in rows}
        if NO_TRADE in kinds:
            return None
        numbers = [row.t for row in rows]
        texts: _Texts = {"event_id": list(map(str, numbers))}
        if kinds != {""}:
            texts["conditions"] = conditions_of(rows)
        return self._executions(rows, numbers, texts, places)

    def _aggregates(self, rows: list[AggregateRow], places: _Places, _: int) -> Columns:
        numbers = [row.a for row in rows]
        texts = {"event_id": [f"a{number}" for number in numbers]}
        return self._executions(rows, numbers, texts, places)

    def _executions(
        self, rows: Sequence[Any], numbers: list[int], texts: _Texts, places: _Places
    ) -> Columns:
        texts["side"] = ["sell" if row.m else "buy" for row in rows]
        values: _Numbers = {
            "ts_event": times_to_ns([row.T for row in rows]),
            "seq": np.array(numbers, np.int64),
            "price": np.array([row.p for row in rows], np.float64),
            "size": np.array([row.q for row in rows], np.float64),
        }
        return self._columns("trade", rows, values, texts, places)

    def _books(self, rows: list[BookRow], places: _Places, _: int) -> Columns | None:
        times = [row.T for row in rows]
        return self._quotes(rows, times_to_ns(times), places) if all(times) else None

    def _plain_books(self, rows: list[PlainBookRow], places: _Places, at: int) -> Columns:
        return self._quotes(rows, np.full(len(rows), at), places)

    def _quotes(self, rows: Sequence[Any], times: NDArray[np.int64], places: _Places) -> Columns:
        numbers = [row.u for row in rows]
        bids, bid_sizes = _side([row.b for row in rows], [row.B for row in rows])
        asks, ask_sizes = _side([row.a for row in rows], [row.A for row in rows])
        values: _Numbers = {
            "ts_event": times,
            "seq": np.array(numbers, np.int64),
            "bid_price": bids,
            "bid_size": bid_sizes,
            "ask_price": asks,
            "ask_size": ask_sizes,
        }
        return self._columns("quote", rows, values, {"event_id": list(map(str, numbers))}, places)

    def _columns(
        self,
        event_type: EventType,
        rows: Sequence[Any],
        numbers: _Numbers,
        texts: _Texts,
        places: _Places,
    ) -> Columns:
        symbols = texts["symbol"] = self._rows.symbols_of([row.s for row in rows])
        if (classes := self._rows.classes_of(symbols)) is not None:
            texts["asset_class"] = classes
        return Columns(event_type, self._constants[type(rows[0])], numbers, texts, places)


def _side(
    prices: list[float], sizes: list[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One side of the book: an empty one is written as zeros."""
    price, size = np.array(prices, np.float64), np.array(sizes, np.float64)
    if not price.all():
        empty = price == 0
        price[empty] = size[empty] = np.nan
    return price, size
