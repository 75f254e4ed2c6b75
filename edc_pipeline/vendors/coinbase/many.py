"""The frames of one read at once, column by column: what `exchange.py` and `advanced.py` read,
where all of it is plain.

Plain is: every frame a match, or a ticker with a trade and a time; of Advanced Trade, one update of
trades or of tickers with both sides.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal

import msgspec
import numpy as np

from edc_pipeline.vendors.coinbase.exchange import Match
from edc_pipeline.vendors.coinbase.rows import AGGRESSOR_OF_MAKER, Amount, Count
from edc_pipeline.vendors.contract import Columns, ReadMany
from edc_pipeline.vendors.iso_time import iso_to_ns_many
from edc_pipeline.vendors.reading import Instruments
from edc_pipeline.vendors.together import (
    Numbers,
    Places,
    Spelling,
    Together,
    Ways,
    by_id,
    floats,
    quote_numbers,
    reader_of_single_rows,
    spread,
    whole,
    whole_ids,
)


class _Ticker(msgspec.Struct, tag="ticker", tag_field="type", kw_only=True, gc=False):
    """One with both sides, as nearly all are. What may be missing takes longer to read."""

    sequence: Count = -1
    product_id: str
    best_bid: Amount
    best_bid_size: Amount
    best_ask: Amount
    best_ask_size: Amount
    time: str
    trade_id: Count


class _AdvancedTrade(msgspec.Struct, gc=False):
    trade_id: str
    product_id: str
    price: Amount
    size: Amount
    side: Literal["BUY", "SELL"]
    time: str


class _Trades(msgspec.Struct, gc=False):
    type: Literal["update"]
    trades: list[_AdvancedTrade]


class _AdvancedTicker(msgspec.Struct, gc=False):
    product_id: str
    best_bid: Amount
    best_bid_quantity: Amount
    best_ask: Amount
    best_ask_quantity: Amount


class _Tickers(msgspec.Struct, gc=False):
    type: Literal["update"]
    tickers: list[_AdvancedTicker]


class _TradesFrame(msgspec.Struct, tag="market_trades", tag_field="channel", gc=False):
    timestamp: str  # not used, but looked at one by one
    sequence_num: Count
    events: tuple[_Trades]


class _TickersFrame(msgspec.Struct, tag="ticker", tag_field="channel", gc=False):
    timestamp: str
    sequence_num: Count
    events: tuple[_Tickers]


_ROW: Final = msgspec.json.Decoder(Match | _Ticker, strict=False)
_FRAME: Final = msgspec.json.Decoder(_TradesFrame | _TickersFrame, strict=False)


def reader_of_exchange(instruments: Instruments) -> ReadMany:
    ways = _exchange(Together("coinbase", "exchange", "crypto", instruments.__getitem__))
    return reader_of_single_rows(_ROW.decode, ways)


def reader_of_advanced(instruments: Instruments) -> ReadMany:
    instrument = instruments.__getitem__
    ways = _advanced(Together("coinbase", "advanced", "crypto", instrument, several=True))
    return reader_of_single_rows(_FRAME.decode, ways)


def _exchange(together: Together) -> Ways:
    sides = Spelling(AGGRESSOR_OF_MAKER.__getitem__)

    def matches(rows: list[Match], places: Places) -> Columns:
        numbers: Numbers = {
            "ts_event": iso_to_ns_many([row.time for row in rows]),
            "seq": whole([row.sequence for row in rows]),
            "event_id": whole([row.trade_id for row in rows]),
            "price": floats([row.price for row in rows]),
            "size": floats([row.size for row in rows]),
        }
        coded = {"side": sides([row.side for row in rows])}
        return together.columns("trade", [r.product_id for r in rows], numbers, places, coded)

    def tickers(rows: list[_Ticker], places: Places) -> Columns:
        bid = [row.best_bid for row in rows], [row.best_bid_size for row in rows]
        ask = [row.best_ask for row in rows], [row.best_ask_size for row in rows]
        numbers = quote_numbers(iso_to_ns_many([row.time for row in rows]), bid, ask)
        numbers["seq"] = whole([row.sequence for row in rows])
        numbers["event_id"] = whole([row.trade_id for row in rows])
        return together.columns("quote", [r.product_id for r in rows], numbers, places)

    return {Match: matches, _Ticker: tickers}


def _advanced(together: Together) -> Ways:
    sides = Spelling(lambda maker: AGGRESSOR_OF_MAKER[maker.lower()])

    def trades(frames: list[_TradesFrame], of_frames: Places) -> Columns:
        rows, places = spread([frame.events[0].trades for frame in frames], of_frames)
        rows, ids = by_id(rows, whole_ids([row.trade_id for row in rows]), places)
        numbers: Numbers = {
            "ts_event": iso_to_ns_many([row.time for row in rows]),
            "event_id": ids,
            "price": floats([row.price for row in rows]),
            "size": floats([row.size for row in rows]),
        }
        coded = {"side": sides([row.side for row in rows])}
        found = together.columns("trade", [r.product_id for r in rows], numbers, places, coded)
        return _numbered(found, frames, of_frames)

    def tickers(frames: list[_TickersFrame], of_frames: Places) -> Columns:
        rows, places = spread([frame.events[0].tickers for frame in frames], of_frames)
        times = iso_to_ns_many([frame.timestamp for frame in frames])
        if len(rows) > len(frames):
            times = times[np.searchsorted(of_frames, places)]
        bid = [row.best_bid for row in rows], [row.best_bid_quantity for row in rows]
        ask = [row.best_ask for row in rows], [row.best_ask_quantity for row in rows]
        numbers = quote_numbers(times, bid, ask)
        found = together.columns("quote", [r.product_id for r in rows], numbers, places)
        return _numbered(found, frames, of_frames)

    return {_TradesFrame: trades, _TickersFrame: tickers}


def _numbered(
    found: Columns, frames: list[_TradesFrame] | list[_TickersFrame], of_frames: Places
) -> Columns:
    numbers = whole([frame.sequence_num for frame in frames])
    return replace(found, frame_numbers=(of_frames, numbers))
