"""Tiingo's `data` rows → events, one reader a service.

Every row is a JSON array read by position into a typed struct. Positions beyond the documented
last one are ignored and missing ones at the end are NaN/None: clients have been seen that cut an
IEX trade to its first 11 elements.

Each service has a reader of any row as bytes (`iex`, `fx` …). `one_pass` is the short way for the
row that a subscription brings nearly always: its type is known beforehand, so that envelope and row
are decoded in one go. What does not fit it is the other readers' business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec

from edc_pipeline.events import NAN, AnyEvent, AssetClass, Quote, RefPx, Trade
from edc_pipeline.vendors.contract import Subscription
from edc_pipeline.vendors.iso_time import iso_to_ns
from edc_pipeline.vendors.reading import Fault, Instruments
from edc_pipeline.vendors.tiingo.symbols import to_symbol, to_ticker

Number = float | None
Flag = int | bool | None
Mark = str | int | None

Change = Literal["new", "updated", "deleted"]


class Labels(msgspec.Struct, frozen=True, gc=False):
    """What a row's feed and receipt add to it."""

    feed: str
    received_at: int
    change: Change


class _Positional(msgspec.Struct, array_like=True, frozen=True, gc=False):
    pass


class IexQuote(_Positional, tag="Q", frozen=True):
    """BOATS sends its quotes in the same positions [doc]."""

    iso: str
    ns: int | None
    ticker: str
    bid_size: Number = None
    bid: Number = None
    mid: Number = None
    ask: Number = None
    ask_size: Number = None


class _IexPrint(_Positional, frozen=True):
    iso: str
    ns: int | None
    ticker: str
    bid_size: Number = None
    bid: Number = None
    mid: Number = None
    ask: Number = None
    ask_size: Number = None
    last: Number = None
    last_size: Number = None
    halted: Flag = None
    after_hours: Flag = None
    sweep: Flag = None
    odd_lot: Flag = None
    rule_611: Flag = None


class IexTrade(_IexPrint, tag="T", frozen=True):
    pass


class IexBreak(_IexPrint, tag="B", frozen=True):
    pass


class ReferencePrice(_Positional, frozen=True):
    """Level 6: three elements and no letter that says what it is."""

    iso: str
    ticker: str
    price: float


class EquityQuote(_Positional, frozen=True):
    """equity/intraday level 4 [doc]: liquidity around a reference price."""

    iso: str
    ticker: str
    spread: Number
    bid_size: Number
    bid: Number
    reference: Number
    ask: Number
    ask_size: Number


class FxQuote(_Positional, tag="Q", frozen=True):
    """The documentation's table swaps the last two; examples and live frames have them so."""

    ticker: str
    iso: str
    bid_size: Number
    bid: Number
    mid: Number
    ask_size: Number
    ask: Number


class CryptoTrade(_Positional, tag="T", frozen=True):
    """An aggregate per exchange and update, often at a volume-weighted price [rec]."""

    ticker: str
    iso: str
    exchange: str
    size: Number
    price: float


class CryptoQuote(_Positional, tag="Q", frozen=True):
    ticker: str
    iso: str
    exchange: str
    bid_size: Number
    bid: Number
    mid: Number
    ask_size: Number
    ask: Number


class _BoatsPrint(_Positional, frozen=True):
    iso: str
    ns: int | None
    ticker: str
    price: float
    size: Number = None
    c1: Mark = None
    c2: Mark = None
    c3: Mark = None
    c4: Mark = None


class BoatsTrade(_BoatsPrint, tag="T", frozen=True):
    pass


class BoatsBreak(_BoatsPrint, tag="B", frozen=True):
    pass


Row = TypeVar("Row")


class NewRow(msgspec.Struct, Generic[Row], gc=False):
    """A whole frame with a new row of a type known beforehand."""

    messageType: Literal["A"]  # noqa: N815 - the vendor's name
    service: str
    data: Row
    response: None = None  # never there; with one, the frame is not this simple


OnePass = tuple[msgspec.json.Decoder[Any], Callable[[Any, Labels], list[AnyEvent]]]

_IEX: Final = msgspec.json.Decoder(IexQuote | IexTrade | IexBreak)
_REFERENCE: Final = msgspec.json.Decoder(ReferencePrice)
_EQUITY_QUOTE: Final = msgspec.json.Decoder(EquityQuote)
_FX: Final = msgspec.json.Decoder(FxQuote)
_CRYPTO: Final = msgspec.json.Decoder(CryptoTrade | CryptoQuote)
_BOATS: Final = msgspec.json.Decoder(IexQuote | BoatsTrade | BoatsBreak)

_NEW_IEX: Final = msgspec.json.Decoder(NewRow[IexQuote | IexTrade | IexBreak])
# Exactly three elements: a longer row may be an equity quote.
_NEW_REFERENCE: Final = msgspec.json.Decoder(NewRow[tuple[str, str, float]])
_NEW_EQUITY_QUOTE: Final = msgspec.json.Decoder(NewRow[EquityQuote])
_NEW_FX: Final = msgspec.json.Decoder(NewRow[FxQuote])
_NEW_CRYPTO: Final = msgspec.json.Decoder(NewRow[CryptoTrade | CryptoQuote])
_NEW_BOATS: Final = msgspec.json.Decoder(NewRow[IexQuote | BoatsTrade | BoatsBreak])

_REFERENCE_LENGTH: Final = 3
_REFERENCE_LEVEL: Final = 6


class RowReader:
    """Reads the rows of one connection: knows how its symbols are spelled and classed."""

    def __init__(self, subscription: Subscription) -> None:
        spelled = {to_ticker(subscription.feed, symbol): symbol for symbol in subscription.symbols}
        self.instruments = {
            feed: Instruments(
                subscription, spelled, partial(to_symbol, feed), partial(_class_of, feed)
            )
            for feed in ASSET_CLASSES
        }

    def one_pass(self, feed: str, level: object) -> OnePass | None:
        """A decoder of whole frames for what this subscription nearly always brings, and what
        makes events of its rows. All that it reads, the other readers read alike."""
        if feed in {"iex", "equity"} and level == _REFERENCE_LEVEL:
            return _NEW_REFERENCE, self._reference
        ways: dict[str, OnePass] = {
            "iex": (_NEW_IEX, self._iex),
            "equity": (_NEW_EQUITY_QUOTE, self._equity),
            "fx": (_NEW_FX, self._fx),
            "crypto": (_NEW_CRYPTO, self._crypto),
            "boats": (_NEW_BOATS, self._boats),
        }
        return ways.get(feed)

    # Any row, as bytes

    def iex(self, raw: bytes, labels: Labels) -> list[AnyEvent]:
        if not _has_letter(raw):
            return self._reference_row(raw, labels)
        return self._iex(_IEX.decode(raw), labels)

    def equity(self, raw: bytes, labels: Labels) -> list[AnyEvent]:
        length = len(msgspec.json.decode(raw, type=list[msgspec.Raw]))
        if length <= _REFERENCE_LENGTH:
            return self._reference_row(raw, labels)
        return self._equity(_EQUITY_QUOTE.decode(raw), labels)

    def fx(self, raw: bytes, labels: Labels) -> list[AnyEvent]:
        return self._fx(_FX.decode(raw), labels)

    def crypto(self, raw: bytes, labels: Labels) -> list[AnyEvent]:
        return self._crypto(_CRYPTO.decode(raw), labels)

    def boats(self, raw: bytes, labels: Labels) -> list[AnyEvent]:
        return self._boats(_BOATS.decode(raw), labels)

    def _reference_row(self, raw: bytes, labels: Labels) -> list[AnyEvent]:
        row = _REFERENCE.decode(raw)
        return self._reference((row.iso, row.ticker, row.price), labels)

    # A row that is decoded

    def _iex(self, row: IexQuote | IexTrade | IexBreak, labels: Labels) -> list[AnyEvent]:
        ts = row.ns if row.ns is not None else iso_to_ns(row.iso)
        if isinstance(row, IexQuote):
            return [self._quote(ts, row, labels)]
        conditions = _flags(row)
        if isinstance(row, IexBreak):
            conditions = f"break {conditions}".rstrip()
        return [self._trade(ts, row.ticker, row.last, row.last_size, conditions, labels)]

    def _equity(self, row: EquityQuote, labels: Labels) -> list[AnyEvent]:
        events: list[AnyEvent] = [self._quote(iso_to_ns(row.iso), row, labels)]
        if row.reference is not None:
            events += self._reference((row.iso, row.ticker, row.reference), labels)
        return events

    def _fx(self, row: FxQuote, labels: Labels) -> list[AnyEvent]:
        return [self._quote(iso_to_ns(row.iso), row, labels)]

    def _crypto(self, row: CryptoTrade | CryptoQuote, labels: Labels) -> list[AnyEvent]:
        ts, venue = iso_to_ns(row.iso), row.exchange.lower()
        if isinstance(row, CryptoQuote):
            return [self._quote(ts, row, labels, venue)]
        return [self._trade(ts, row.ticker, row.price, row.size, "", labels, venue)]

    def _boats(self, row: IexQuote | BoatsTrade | BoatsBreak, labels: Labels) -> list[AnyEvent]:
        ts = row.ns if row.ns is not None else iso_to_ns(row.iso)
        if isinstance(row, IexQuote):
            return [self._quote(ts, row, labels)]
        conditions = marked_by((row.c1, row.c2, row.c3, row.c4))
        if isinstance(row, BoatsBreak):
            conditions = f"break {conditions}".rstrip()
        return [self._trade(ts, row.ticker, row.price, row.size, conditions, labels)]

    # An event

    def _quote(
        self,
        ts: int,
        row: IexQuote | EquityQuote | FxQuote | CryptoQuote,
        labels: Labels,
        venue: str = "",
    ) -> Quote:
        if labels.change == "deleted":
            raise Fault("a deleted quote: a quote has no column that could say so")
        symbol, asset_class = self.instruments[labels.feed][row.ticker]
        bid, bid_size, ask, ask_size = row.bid, row.bid_size, row.ask, row.ask_size
        return Quote(
            ts_event=ts,
            symbol=symbol,
            asset_class=asset_class,
            vendor="tiingo",
            feed=labels.feed,
            venue=venue,
            created_at=labels.received_at,
            bid_price=NAN if bid is None else bid,
            bid_size=NAN if bid_size is None else bid_size,
            ask_price=NAN if ask is None else ask,
            ask_size=NAN if ask_size is None else ask_size,
        )

    def _trade(
        self,
        ts: int,
        ticker: str,
        price: Number,
        size: Number,
        conditions: str,
        labels: Labels,
        venue: str = "",
    ) -> Trade:
        if price is None:
            raise Fault("a trade without a price")
        if labels.change != "new":
            conditions = f"{labels.change} {conditions}".rstrip()
        symbol, asset_class = self.instruments[labels.feed][ticker]
        return Trade(
            ts_event=ts,
            symbol=symbol,
            asset_class=asset_class,
            vendor="tiingo",
            feed=labels.feed,
            venue=venue,
            created_at=labels.received_at,
            price=price,
            size=NAN if size is None else size,
            conditions=conditions,
        )

    def _reference(self, row: tuple[str, str, float], labels: Labels) -> list[AnyEvent]:
        if labels.change == "deleted":
            raise Fault("a deleted reference price: it has no column that could say so")
        iso, ticker, price = row
        symbol, asset_class = self.instruments[labels.feed][ticker]
        return [
            RefPx(
                ts_event=iso_to_ns(iso),
                symbol=symbol,
                asset_class=asset_class,
                vendor="tiingo",
                feed=labels.feed,
                created_at=labels.received_at,
                price=price,
                kind="reference",
            )
        ]


ASSET_CLASSES: Final[dict[str, AssetClass]] = {
    "iex": "equity",
    "equity": "equity",
    "boats": "equity",
    "fx": "fx",
    "crypto": "crypto",
}


def _class_of(feed: str, _: str) -> AssetClass:
    return ASSET_CLASSES[feed]


def _flags(row: IexTrade | IexBreak) -> str:
    return said_by((row.after_hours, row.halted, row.sweep, row.odd_lot, row.rule_611))


@lru_cache(maxsize=1024)
def said_by(flags: tuple[Flag, ...]) -> str:
    return " ".join(name for name, flag in zip(_FLAGS, flags, strict=True) if flag)


def marked_by(marks: Iterable[Mark]) -> str:
    """BOATS' four conditions, of which most are empty."""
    told = (str(mark).strip() for mark in marks if mark is not None)
    return " ".join(mark for mark in told if mark)


_FLAGS: Final = ("after_hours", "halted", "intermarket_sweep", "odd_lot", "rule_611_exempt")


def _has_letter(raw: bytes) -> bool:
    """Whether the row begins with `"Q"`, `"T"` or `"B"`; a level 6 row begins with its time."""
    first = bytes(raw).lstrip()[1:8].lstrip()
    return first[:3] in {b'"Q"', b'"T"', b'"B"'}
