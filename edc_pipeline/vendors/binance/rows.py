"""Binance's messages → events.

Spot's book ticker bears neither a type nor a time; those of futures bear both, in any order. `a`
is the aggregate's id, the ask's price or (in older recordings) the seller's order, so each message
has a struct of its own, told apart by `e`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from edc_pipeline.events import NAN, NS_MAX, AnyEvent, AssetClass, Quote, Trade
from edc_pipeline.vendors.binance.symbols import is_coin_margined, is_option, to_symbol, to_ticker
from edc_pipeline.vendors.contract import Subscription
from edc_pipeline.vendors.reading import Instruments

# Read from text and held to this by msgspec: neither NaN (no number is ≥ 0 of it) nor infinity.
_Amount = Annotated[float, msgspec.Meta(ge=0, le=1.7976931348623157e308)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class TradeRow(msgspec.Struct, tag="trade", tag_field="e", gc=False):
    s: str
    t: _Count
    p: _Amount
    q: _Amount
    T: _Count
    m: bool
    M: bool | None = None  # spot only; says nothing
    X: str = ""  # futures only: how it came about


class AggregateRow(msgspec.Struct, tag="aggTrade", tag_field="e", gc=False):
    s: str
    a: _Count
    p: _Amount
    q: _Amount
    T: _Count
    m: bool
    M: bool | None = None


class BookRow(msgspec.Struct, tag="bookTicker", tag_field="e", gc=False):
    """Of futures."""

    u: _Count
    s: str
    b: _Amount
    B: _Amount
    a: _Amount
    A: _Amount
    T: _Count = 0
    ps: str = ""  # COIN-M only


class PlainBookRow(msgspec.Struct, gc=False):
    """Of spot: no type, no time."""

    u: _Count
    s: str
    b: _Amount
    B: _Amount
    a: _Amount
    A: _Amount
    e: None = None  # never there; with one it is a BookRow


Row = TradeRow | AggregateRow | BookRow | PlainBookRow
TypedRow = TradeRow | AggregateRow | BookRow

_Wrapped = TypeVar("_Wrapped")


class Combined(msgspec.Struct, Generic[_Wrapped], gc=False):
    stream: str
    data: _Wrapped


# `strict=False` reads the numbers that Binance writes as text: correctly rounded, in one go.
TYPED: Final = msgspec.json.Decoder(TypedRow, strict=False)
PLAIN_BOOK: Final = msgspec.json.Decoder(PlainBookRow, strict=False)
COMBINED_TYPED: Final = msgspec.json.Decoder(Combined[TypedRow], strict=False)
COMBINED_PLAIN_BOOK: Final = msgspec.json.Decoder(Combined[PlainBookRow], strict=False)


def as_row(message: Mapping[str, Any]) -> Row:
    """A message that is decoded already. msgspec.ValidationError where it lacks what it needs."""
    of_type: Any = PlainBookRow if message.get("e") is None else TypedRow
    row: Row = msgspec.convert(message, of_type, strict=False)
    return row


_NS_PER_MS: Final = 1_000_000
_NS_PER_US: Final = 1_000
# What is larger is no time in milliseconds (the year 5138) but one in microseconds.
_MOST_MS: Final = 100_000_000_000_000

# `X` of a number that stands for no trade.
NO_TRADE: Final = "NA"

ASSET_CLASSES: Final[dict[str, AssetClass]] = {
    "spot": "crypto",
    "usdm": "future",
    "usdm_public": "future",
    "coinm": "future",
}


class RowReader:
    """Makes events of the rows of one connection."""

    def __init__(self, subscription: Subscription) -> None:
        self._feed = subscription.feed  # empty: the row tells
        spelled = {to_ticker(self._feed, s).upper(): s for s in subscription.symbols}
        self.instruments = {
            feed: Instruments(
                subscription, spelled, partial(_symbol_of, feed), partial(_class_of, feed)
            )
            for feed in ASSET_CLASSES
        }

    def event(self, row: Row, received_at: int) -> AnyEvent:
        if isinstance(row, TradeRow):
            return self._trade(row, row.t, str(row.t), condition_of(row.X), received_at)
        if isinstance(row, AggregateRow):
            # Aggregates are numbered apart from trades: the letter keeps the two apart.
            return self._trade(row, row.a, f"a{row.a}", "", received_at)
        return self._quote(row, received_at)

    def _trade(
        self,
        row: TradeRow | AggregateRow,
        number: int,
        event_id: str,
        conditions: str,
        received_at: int,
    ) -> Trade:
        ticker = row.s
        feed = self._feed or _feed_of_trade(row)
        known = self.instruments[feed][ticker]
        time = row.T
        return Trade(
            ts_event=time * (_NS_PER_MS if time <= _MOST_MS else _NS_PER_US),
            symbol=known[0],
            asset_class=known[1],
            vendor="binance",
            feed=feed,
            event_id=event_id,
            seq=number,
            created_at=received_at,
            price=row.p,
            size=row.q,
            # m: the buyer's order lay in the book, so the seller came to it.
            side="sell" if row.m else "buy",
            conditions=conditions,
        )

    def _quote(self, row: BookRow | PlainBookRow, received_at: int) -> Quote:
        ticker = row.s
        feed = self._feed or _feed_of_book(row)
        known = self.instruments[feed][ticker]
        bid, bid_size, ask, ask_size = row.b, row.B, row.a, row.A
        if not (bid and ask):  # an empty side is written as zeros
            bid, bid_size = (bid, bid_size) if bid else (NAN, NAN)
            ask, ask_size = (ask, ask_size) if ask else (NAN, NAN)
        time = row.T if isinstance(row, BookRow) else 0
        return Quote(
            ts_event=time * (_NS_PER_MS if time <= _MOST_MS else _NS_PER_US)
            if time
            else received_at,
            ts_source="vendor" if time else "receive",
            symbol=known[0],
            asset_class=known[1],
            vendor="binance",
            feed=feed,
            event_id=str(row.u),
            seq=row.u,
            created_at=received_at,
            bid_price=bid,
            bid_size=bid_size,
            ask_price=ask,
            ask_size=ask_size,
        )


def _symbol_of(feed: str, ticker: str) -> str:
    if is_option(ticker):
        raise ValueError(f"{ticker} is an option")
    return to_symbol(feed, ticker)


def _class_of(feed: str, _: str) -> AssetClass:
    return ASSET_CLASSES[feed]


def condition_of(how: str) -> str:
    return how.lower() if how and how != "MARKET" else ""


def times_to_ns(times: list[int]) -> NDArray[np.int64]:
    """All in milliseconds, or all in microseconds."""
    found = np.fromiter(times, np.int64, len(times))
    first, last = int(found.min()), int(found.max())
    unit = _NS_PER_MS if last <= _MOST_MS else _NS_PER_US
    if unit == _NS_PER_US and first <= _MOST_MS:
        raise ValueError("times of two units in one read")
    if last * unit > NS_MAX:
        raise OverflowError
    return found * unit


def _feed_of_trade(row: TradeRow | AggregateRow) -> str:
    """Only spot's bear `M`; older recordings of USD-M do not bear `X` either."""
    if row.M is not None:
        return "spot"
    return "coinm" if is_coin_margined(row.s) else "usdm"


def _feed_of_book(row: BookRow | PlainBookRow) -> str:
    if isinstance(row, PlainBookRow):
        return "spot"
    return "coinm" if row.ps or is_coin_margined(row.s) else "usdm_public"
