"""The frames of one read at once, column by column: what `exchange.py` reads, where all of it is
plain.

Plain is: every frame a match, or a ticker with a trade and a time.
"""

from __future__ import annotations

from collections.abc import Sequence

from edc_pipeline.vendors.coinbase.exchange import TYPED, Match, Ticker
from edc_pipeline.vendors.coinbase.rows import AGGRESSOR_OF_MAKER, Instruments
from edc_pipeline.vendors.contract import Columns, ReadMany
from edc_pipeline.vendors.iso_time import iso_to_ns_many
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
    whole,
)


def reader_of_exchange(instruments: Instruments) -> ReadMany:
    decode = TYPED.decode
    ways = _ways(Together("coinbase", "exchange", "crypto", instruments.of))

    def read_many(frames: Sequence[bytes], received_at: int) -> Sequence[Columns] | None:
        try:
            return by_kind([decode(frame) for frame in frames], range(len(frames)), ways)
        except UNREADABLE:
            return None

    return read_many


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

    def tickers(rows: list[Ticker], places: Places) -> Columns:
        times = [row.time or "" for row in rows]  # an empty one is no stamp
        ids = [row.trade_id for row in rows if row.trade_id is not None]
        if len(ids) < len(rows):
            raise Fault("a product without a trade")
        bid = [row.best_bid for row in rows], [row.best_bid_size for row in rows]
        ask = [row.best_ask for row in rows], [row.best_ask_size for row in rows]
        numbers = quote_numbers(iso_to_ns_many(times), bid, ask)
        numbers["seq"] = whole([row.sequence for row in rows])
        numbers["event_id"] = whole(ids)
        return together.columns("quote", [r.product_id for r in rows], numbers, places)

    return {Match: matches, Ticker: tickers}
