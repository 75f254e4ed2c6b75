"""The frames of one read at once, column by column: what `frames.py` reads, where all of it is
plain: every frame a price."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edc_pipeline.events import AssetClass
from edc_pipeline.vendors.contract import Columns, ReadMany, Subscription
from edc_pipeline.vendors.reading import UNREADABLE
from edc_pipeline.vendors.together import Numbers, Spelling, Together, epochs_to_ns, required_floats
from edc_pipeline.vendors.twelve_data.frames import PRICE
from edc_pipeline.vendors.twelve_data.symbols import class_of, to_symbol


def reader_of_many(subscription: Subscription) -> ReadMany | None:
    if subscription.feed != "price":
        return None

    def instrument(ticker_and_type: str) -> tuple[str, AssetClass]:
        ticker, _, kind = ticker_and_type.partition("\n")
        symbol = to_symbol(ticker)
        return symbol, subscription.asset_classes.get(symbol) or class_of(ticker, kind)

    together = Together("twelve_data", "price", "equity", instrument)
    venues, decode = Spelling(str), PRICE.decode

    def read_many(frames: Sequence[bytes], received_at: int) -> Sequence[Columns] | None:
        try:
            rows = [decode(frame) for frame in frames]
            numbers: Numbers = {
                "ts_event": epochs_to_ns([row.timestamp for row in rows]),
                "price": required_floats([row.price for row in rows]),
            }
            coded = {"venue": venues([row.mic_code or row.exchange or "" for row in rows])}
            told = [f"{row.symbol}\n{row.type or ''}" for row in rows]
            places = np.arange(len(rows))
            return [together.columns("ref_px", told, numbers, places, coded, kind="reference")]
        except UNREADABLE:
            return None

    return read_many
