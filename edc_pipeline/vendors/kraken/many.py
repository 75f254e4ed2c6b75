"""The frames of one read at once, column by column: what `rows.py` reads, where all of it is plain.

Plain is: every frame an update, every ticker one with a time and a side.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from edc_pipeline.vendors.contract import Columns, ReadMany
from edc_pipeline.vendors.iso_time import iso_to_ns_many
from edc_pipeline.vendors.kraken.rows import (
    NEVER,
    TYPED,
    RowReader,
    TickerRow,
    TradeFrame,
    TradeRow,
)
from edc_pipeline.vendors.reading import UNREADABLE, Fault
from edc_pipeline.vendors.together import (
    Numbers,
    Places,
    Spelling,
    Together,
    Ways,
    by_kind,
    floats,
    quote_numbers,
    spread,
    whole,
)

_NUMBER: Any = attrgetter("trade_id")


def reader_of_many(rows: RowReader) -> ReadMany:
    decode = TYPED.decode
    ways = _ways(Together("kraken", "spot", "crypto", rows.instrument, several=True))

    def read_many(frames: Sequence[bytes], received_at: int) -> Sequence[Columns] | None:
        try:
            found = [decode(frame) for frame in frames]
            if [one.type for one in found].count("update") < len(found):
                return None
            for one in found:
                if len(one.data) > 1 and type(one) is TradeFrame:
                    one.data.sort(key=_NUMBER)  # as one by one
            return by_kind(*spread([one.data for one in found]), ways)
        except UNREADABLE:
            return None

    return read_many


def _ways(together: Together) -> Ways:
    sides, conditions = Spelling(str), Spelling(str)

    def trades(rows: list[TradeRow], places: Places) -> Columns:
        ids = whole([row.trade_id for row in rows])
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

    def tickers(rows: list[TickerRow], places: Places) -> Columns:
        stamps = [row.timestamp or NEVER for row in rows]
        if any(stamp.startswith(NEVER) for stamp in stamps):
            raise Fault("a ticker without a time")
        bid = [row.bid for row in rows], [row.bid_qty for row in rows]
        ask = [row.ask for row in rows], [row.ask_qty for row in rows]
        numbers = quote_numbers(iso_to_ns_many(stamps), bid, ask)
        return together.columns("quote", [row.symbol for row in rows], numbers, places)

    return {TradeRow: trades, TickerRow: tickers}
