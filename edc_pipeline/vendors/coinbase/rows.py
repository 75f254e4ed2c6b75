"""What both of Coinbase's products have in common: numbers as text, sides, instruments."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from edc_pipeline.events import NAN, AnyEvent, AssetClass, Quote
from edc_pipeline.vendors.coinbase.symbols import is_future, to_product, to_symbol
from edc_pipeline.vendors.contract import Subscription
from edc_pipeline.vendors.iso_time import iso_to_ns
from edc_pipeline.vendors.reading import Instruments

# Read from text and held to this by msgspec: neither NaN (no number is ≥ 0 of it) nor infinity.
Amount = Annotated[float, msgspec.Meta(ge=0, le=1.7976931348623157e308)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]

# Trades bear the side of the order that lay in the book; the other one came to it.
AGGRESSOR_OF_MAKER: Final = {"buy": "sell", "sell": "buy"}


def instruments_of(subscription: Subscription) -> Instruments:
    return Instruments(
        subscription,
        {to_product(subscription.feed, symbol): symbol for symbol in subscription.symbols},
        lambda product: to_symbol("", product),
        lambda product: "future" if is_future(to_symbol("", product)) else "crypto",
    )


def quote(
    instrument: tuple[str, AssetClass],
    feed: str,
    time: str | None,
    bid: tuple[float | None, float | None],
    ask: tuple[float | None, float | None],
    received_at: int,
    event_id: str = "",
    seq: int = -1,
) -> AnyEvent | None:
    """(price, size) of each side; a side without a price, or at 0, is empty. None: both are."""
    bid_price, bid_size = bid if bid[0] else (None, None)
    ask_price, ask_size = ask if ask[0] else (None, None)
    if bid_price is None and ask_price is None:
        return None
    return Quote(
        ts_event=iso_to_ns(time) if time else received_at,
        ts_source="vendor" if time else "receive",
        symbol=instrument[0],
        asset_class=instrument[1],
        vendor="coinbase",
        feed=feed,
        event_id=event_id,
        seq=seq,
        created_at=received_at,
        bid_price=NAN if bid_price is None else bid_price,
        bid_size=NAN if bid_size is None else bid_size,
        ask_price=NAN if ask_price is None else ask_price,
        ask_size=NAN if ask_size is None else ask_size,
    )
