"""The frames of one read at once, column by column: what `frames.py` reads, where all of it is
plain: every frame trades."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edc_pipeline.vendors.contract import Columns, ReadMany, Subscription
from edc_pipeline.vendors.finnhub.frames import TRADES, conditions_of, instruments_of
from edc_pipeline.vendors.finnhub.symbols import venue_of
from edc_pipeline.vendors.reading import UNREADABLE
from edc_pipeline.vendors.together import Numbers, Spelling, Together, epochs_to_ns, floats, spread


def reader_of_many(subscription: Subscription) -> ReadMany | None:
    if subscription.feed != "trades":
        return None
    together = Together(
        "finnhub", "trades", "equity", instruments_of(subscription).__getitem__, several=True
    )
    venues = Spelling(lambda ticker: venue_of(ticker) if ":" in ticker else "")
    conditions = Spelling(conditions_of)
    decode = TRADES.decode

    def read_many(frames: Sequence[bytes], received_at: int) -> Sequence[Columns] | None:
        try:
            rows, places = spread([decode(frame).data for frame in frames], np.arange(len(frames)))
            tickers = [row.s for row in rows]
            numbers: Numbers = {
                "ts_event": epochs_to_ns([row.t for row in rows]),
                "price": floats([row.p for row in rows]),
                "size": floats([row.v for row in rows]),
            }
            coded = {
                "venue": venues(tickers),
                "conditions": conditions([row.c for row in rows]),
            }
            return [together.columns("trade", tickers, numbers, places, coded)]
        except UNREADABLE:
            return None

    return read_many
