"""The frames of one read at once, column by column: what `rows.py` reads, where all of it is plain.

Plain is: every frame an update, every ticker one with a time and a side.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from edc_pipeline.vendors.contract import Columns, ReadMany
from edc_pipeline.vendors.iso_time import iso_to_ns_many
from edc_pipeline.vendors.kraken.rows import RowReader, TickerRow, TradeRow
from edc_pipeline.vendors.reading import Fault
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
)

# The time of an illiquid pair's ticker is the first of 1970, wherever that is.
_TOLD_NS: Final = 2 * 86_400 * 10**9


class _Ticker(TickerRow, kw_only=True, gc=False):
    timestamp: str


class _Trades(msgspec.Struct, tag="trade", tag_field="channel", gc=False):
    type: Literal["update"]
    data: list[TradeRow]


class _Tickers(msgspec.Struct, tag="ticker", tag_field="channel", gc=False):
    type: Literal["update"]
    data: list[_Ticker]


_FRAME: Final = msgspec.json.Decoder(_Trades | _Tickers)


def reader_of_many(rows: RowReader) -> ReadMany:
    together = Together("kraken", "spot", "crypto", rows.instruments.__getitem__, several=True)
    return reader_of_single_rows(_FRAME.decode, _ways(together))


def _ways(together: Together) -> Ways:
    sides, conditions = Spelling(str), Spelling(str)

    def trades(frames: list[_Trades], of_frames: Places) -> Columns:
        rows, places = spread([frame.data for frame in frames], of_frames)
        rows, ids = by_id(rows, whole([row.trade_id for row in rows]), places)
        numbers: Numbers = {
            "ts_event": iso_to_ns_many([row.timestamp for row in rows]),
            "seq": ids,
            "event_id": ids,
            "price": floats([row.price for row in rows]),
            "size": floats([row.qty for row in rows]),
        }
        coded = {
            "side": sides([row.side for row in rows]),
            "conditions": conditions([row.ord_type for row in rows]),
        }
        return together.columns("trade", [row.symbol for row in rows], numbers, places, coded)

    def tickers(frames: list[_Tickers], of_frames: Places) -> Columns:
        rows, places = spread([frame.data for frame in frames], of_frames)
        times = iso_to_ns_many([row.timestamp for row in rows])
        if times.min() < _TOLD_NS:
            raise Fault("a ticker without a time")
        bid = [row.bid for row in rows], [row.bid_qty for row in rows]
        ask = [row.ask for row in rows], [row.ask_qty for row in rows]
        numbers = quote_numbers(times, bid, ask)
        return together.columns("quote", [row.symbol for row in rows], numbers, places)

    return {_Trades: trades, _Tickers: tickers}
