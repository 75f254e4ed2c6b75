"""The frames of one read at once, column by column: what `exchange.py` reads, where all of it is
plain.

Plain is: every frame a match, or a ticker with a trade and a time.
"""

from __future__ import annotations

from typing import Final

import msgspec

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
    floats,
    quote_numbers,
    reader_of_single_rows,
    whole,
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


_ROW: Final = msgspec.json.Decoder(Match | _Ticker, strict=False)


def reader_of_exchange(instruments: Instruments) -> ReadMany:
    ways = _ways(Together("coinbase", "exchange", "crypto", instruments.__getitem__))
    return reader_of_single_rows(_ROW.decode, ways)


def _ways(together: Together) -> Ways:
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
