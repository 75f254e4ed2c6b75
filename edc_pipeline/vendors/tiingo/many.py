"""The frames of one read at once, column by column: what `rows.py` reads, where all of it is plain.

Plain is: every frame a new row of the feed asked for, without a number or flag that needs a look.
Whatever is not is read one by one, so this may be as narrow as it likes, and must never differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from edc_pipeline.events import EventType
from edc_pipeline.vendors.contract import Columns, ReadMany
from edc_pipeline.vendors.iso_time import iso_to_ns_many
from edc_pipeline.vendors.tiingo.rows import (
    ASSET_CLASSES,
    CryptoQuote,
    CryptoTrade,
    FxQuote,
    IexQuote,
    IexTrade,
    RowReader,
    conditions_of,
)

_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)

_Places = Sequence[int]
_Times = NDArray[np.int64]
_Numbers = dict[str, NDArray[Any]]
_Texts = dict[str, list[str]]


def reader_of_many(feed: str, service: str, level: object, rows: RowReader) -> ReadMany | None:
    one_pass = rows.one_pass(feed, level)
    if one_pass is None or feed not in {"iex", "fx", "crypto"}:
        return None
    decode = one_pass[0].decode
    columns = _Reader(feed, rows)

    def read_many(frames: Sequence[bytes], received_at: int) -> Sequence[Columns] | None:
        try:
            found = [decode(frame) for frame in frames]
            if [one.service for one in found].count(service) < len(found):
                return None
            return columns.read([one.data for one in found])
        except _UNREADABLE:
            return None

    return read_many


class _Reader:
    def __init__(self, feed: str, rows: RowReader) -> None:
        self._feed = feed
        self._rows = rows
        self._constants: dict[EventType, dict[str, Any]] = {}
        self._ways: dict[type, Callable[[list[Any], _Places], Columns | None]] = {
            IexQuote: self._iex_quotes,
            IexTrade: self._iex_trades,
            FxQuote: self._fx_quotes,
            CryptoQuote: self._crypto_quotes,
            CryptoTrade: self._crypto_trades,
            tuple: self._references,
        }

    def read(self, rows: list[Any]) -> Sequence[Columns] | None:
        kinds = set(map(type, rows))
        if not kinds <= self._ways.keys():
            return None
        found = []
        for kind in kinds:
            places: _Places = range(len(rows))
            mine = rows
            if len(kinds) > 1:
                places = [place for place in places if type(rows[place]) is kind]
                mine = [rows[place] for place in places]
            columns = self._ways[kind](mine, places)
            if columns is None:
                return None
            found.append(columns)
        return found

    def _iex_quotes(self, rows: list[IexQuote], places: _Places) -> Columns | None:
        times = [row.ns for row in rows]
        if None in times:
            return None
        return self._quotes(np.array(times, np.int64), rows, {}, places)

    def _fx_quotes(self, rows: list[FxQuote], places: _Places) -> Columns:
        return self._quotes(iso_to_ns_many([row.iso for row in rows]), rows, {}, places)

    def _crypto_quotes(self, rows: list[CryptoQuote], places: _Places) -> Columns:
        times = iso_to_ns_many([row.iso for row in rows])
        return self._quotes(times, rows, {"venue": _venues(rows)}, places)

    def _quotes(self, times: _Times, rows: list[Any], texts: _Texts, places: _Places) -> Columns:
        numbers: _Numbers = {
            "ts_event": times,
            "bid_price": _floats([row.bid for row in rows]),
            "bid_size": _floats([row.bid_size for row in rows]),
            "ask_price": _floats([row.ask for row in rows]),
            "ask_size": _floats([row.ask_size for row in rows]),
        }
        return self._columns("quote", [row.ticker for row in rows], numbers, texts, places)

    def _iex_trades(self, rows: list[IexTrade], places: _Places) -> Columns | None:
        times, prices = [row.ns for row in rows], [row.last for row in rows]
        if None in times or None in prices:
            return None
        numbers: _Numbers = {
            "ts_event": np.array(times, np.int64),
            "price": _floats(prices),
            "size": _floats([row.last_size for row in rows]),
        }
        texts = {"conditions": conditions_of(rows)}
        return self._columns("trade", [row.ticker for row in rows], numbers, texts, places)

    def _crypto_trades(self, rows: list[CryptoTrade], places: _Places) -> Columns:
        numbers: _Numbers = {
            "ts_event": iso_to_ns_many([row.iso for row in rows]),
            "price": _floats([row.price for row in rows]),
            "size": _floats([row.size for row in rows]),
        }
        texts = {"venue": _venues(rows)}
        return self._columns("trade", [row.ticker for row in rows], numbers, texts, places)

    def _references(self, rows: list[tuple[str, str, float]], places: _Places) -> Columns:
        stamps, tickers, prices = zip(*rows, strict=True)
        numbers: _Numbers = {"ts_event": iso_to_ns_many(stamps), "price": _floats(list(prices))}
        return self._columns("ref_px", list(tickers), numbers, {}, places)

    def _columns(
        self,
        event_type: EventType,
        tickers: list[str],
        numbers: _Numbers,
        texts: _Texts,
        places: _Places,
    ) -> Columns:
        symbols = texts["symbol"] = self._rows.symbols_of(self._feed, tickers)
        if (classes := self._rows.classes_of(self._feed, symbols)) is not None:
            texts["asset_class"] = classes
        constants = self._constants.get(event_type)
        if constants is None:
            usual = ASSET_CLASSES[self._feed]
            constants = {"vendor": "tiingo", "feed": self._feed, "asset_class": usual}
            constants |= {"kind": "reference"} if event_type == "ref_px" else {}
            self._constants[event_type] = constants
        return Columns(event_type, constants, numbers, texts, places)


def _floats(values: Sequence[float | None]) -> NDArray[np.float64]:
    """None becomes NaN."""
    return np.array(values, np.float64)


def _venues(rows: Sequence[CryptoQuote | CryptoTrade]) -> list[str]:
    return [row.exchange.lower() for row in rows]
