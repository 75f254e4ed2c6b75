"""Tiingo's `data` rows → events, one reader a service.

Every row is a JSON array read by position into a typed struct. Positions beyond the documented
last one are ignored and missing ones at the end are NaN/None: clients have been seen that cut an
IEX trade to its first 11 elements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal

import msgspec

from edc_pipeline.events import NAN, AnyEvent, AssetClass, Quote, RefPx, Trade
from edc_pipeline.vendors.iso_time import iso_to_ns

Number = float | None
Flag = int | bool | None

Change = Literal["new", "updated", "deleted"]


class Fault(ValueError):
    """This row can't be an event; the message says why."""


class Labels(msgspec.Struct, frozen=True):
    """What a row's feed and receipt add to it."""

    feed: str
    received_at: int
    change: Change


class _Positional(msgspec.Struct, array_like=True, frozen=True):
    pass


class IexQuote(_Positional, tag="Q", frozen=True):
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


class BoatsQuote(_Positional, tag="Q", frozen=True):
    iso: str
    ns: int | None
    ticker: str
    bid_size: Number = None
    bid: Number = None
    mid: Number = None
    ask: Number = None
    ask_size: Number = None


class _BoatsPrint(_Positional, frozen=True):
    iso: str
    ns: int | None
    ticker: str
    price: float
    size: Number = None
    c1: str | int | None = None
    c2: str | int | None = None
    c3: str | int | None = None
    c4: str | int | None = None


class BoatsTrade(_BoatsPrint, tag="T", frozen=True):
    pass


class BoatsBreak(_BoatsPrint, tag="B", frozen=True):
    pass


_IEX: Final = msgspec.json.Decoder(IexQuote | IexTrade | IexBreak)
_REFERENCE: Final = msgspec.json.Decoder(ReferencePrice)
_EQUITY_QUOTE: Final = msgspec.json.Decoder(EquityQuote)
_FX: Final = msgspec.json.Decoder(FxQuote)
_CRYPTO: Final = msgspec.json.Decoder(CryptoTrade | CryptoQuote)
_BOATS: Final = msgspec.json.Decoder(BoatsQuote | BoatsTrade | BoatsBreak)

_REFERENCE_LENGTH: Final = 3


class RowReader:
    """Reads the rows of one connection: knows how its symbols are spelled and classed."""

    def __init__(
        self,
        spelling: Mapping[str, str],
        asset_classes: Mapping[str, AssetClass],
        fallback: Callable[[str, str], str],
    ) -> None:
        self._spelling = spelling
        self._asset_classes = asset_classes
        self._fallback = fallback

    def iex(self, raw: bytes, labels: Labels) -> list[AnyEvent]:
        if not _has_letter(raw):
            return [self._reference(_REFERENCE.decode(raw), labels)]
        row = _IEX.decode(raw)
        ts = _instant(row.ns, row.iso)
        if isinstance(row, IexQuote):
            return [self._quote(ts, row, labels)]
        flags = (
            ("after_hours", row.after_hours),
            ("halted", row.halted),
            ("intermarket_sweep", row.sweep),
            ("odd_lot", row.odd_lot),
            ("rule_611_exempt", row.rule_611),
        )
        conditions = [name for name, flag in flags if flag]
        if isinstance(row, IexBreak):
            conditions.insert(0, "break")
        return [self._trade(ts, row.ticker, row.last, row.last_size, conditions, labels)]

    def equity(self, raw: bytes, labels: Labels) -> list[AnyEvent]:
        length = len(msgspec.json.decode(raw, type=list[msgspec.Raw]))
        if length <= _REFERENCE_LENGTH:
            return [self._reference(_REFERENCE.decode(raw), labels)]
        row = _EQUITY_QUOTE.decode(raw)
        events: list[AnyEvent] = [self._quote(iso_to_ns(row.iso), row, labels)]
        if row.reference is not None:
            price = ReferencePrice(row.iso, row.ticker, row.reference)
            events.append(self._reference(price, labels))
        return events

    def fx(self, raw: bytes, labels: Labels) -> list[AnyEvent]:
        row = _FX.decode(raw)
        return [self._quote(iso_to_ns(row.iso), row, labels)]

    def crypto(self, raw: bytes, labels: Labels) -> list[AnyEvent]:
        row = _CRYPTO.decode(raw)
        ts, venue = iso_to_ns(row.iso), row.exchange.lower()
        if isinstance(row, CryptoQuote):
            return [self._quote(ts, row, labels, venue)]
        return [self._trade(ts, row.ticker, row.price, row.size, [], labels, venue)]

    def boats(self, raw: bytes, labels: Labels) -> list[AnyEvent]:
        row = _BOATS.decode(raw)
        ts = _instant(row.ns, row.iso)
        if isinstance(row, BoatsQuote):
            return [self._quote(ts, row, labels)]
        marks = (str(c).strip() for c in (row.c1, row.c2, row.c3, row.c4) if c is not None)
        conditions = [mark for mark in marks if mark]
        if isinstance(row, BoatsBreak):
            conditions.insert(0, "break")
        return [self._trade(ts, row.ticker, row.price, row.size, conditions, labels)]

    def _symbol(self, feed: str, ticker: str) -> str:
        return self._spelling.get(ticker) or self._fallback(feed, ticker)

    def _asset_class(self, feed: str, symbol: str) -> AssetClass:
        return self._asset_classes.get(symbol) or _ASSET_CLASSES[feed]

    def _quote(
        self,
        ts: int,
        row: IexQuote | EquityQuote | FxQuote | CryptoQuote | BoatsQuote,
        labels: Labels,
        venue: str = "",
    ) -> Quote:
        if labels.change == "deleted":
            raise Fault("a deleted quote: a quote has no column that could say so")
        symbol = self._symbol(labels.feed, row.ticker)
        return Quote(
            ts_event=ts,
            symbol=symbol,
            asset_class=self._asset_class(labels.feed, symbol),
            vendor="tiingo",
            feed=labels.feed,
            venue=venue,
            created_at=labels.received_at,
            bid_price=_number(row.bid),
            bid_size=_number(row.bid_size),
            ask_price=_number(row.ask),
            ask_size=_number(row.ask_size),
        )

    def _trade(
        self,
        ts: int,
        ticker: str,
        price: Number,
        size: Number,
        conditions: list[str],
        labels: Labels,
        venue: str = "",
    ) -> Trade:
        if price is None:
            raise Fault("a trade without a price")
        if labels.change != "new":
            conditions = [labels.change, *conditions]
        symbol = self._symbol(labels.feed, ticker)
        return Trade(
            ts_event=ts,
            symbol=symbol,
            asset_class=self._asset_class(labels.feed, symbol),
            vendor="tiingo",
            feed=labels.feed,
            venue=venue,
            created_at=labels.received_at,
            price=price,
            size=_number(size),
            conditions=" ".join(conditions),
        )

    def _reference(self, row: ReferencePrice, labels: Labels) -> RefPx:
        if labels.change == "deleted":
            raise Fault("a deleted reference price: it has no column that could say so")
        symbol = self._symbol(labels.feed, row.ticker)
        return RefPx(
            ts_event=iso_to_ns(row.iso),
            symbol=symbol,
            asset_class=self._asset_class(labels.feed, symbol),
            vendor="tiingo",
            feed=labels.feed,
            created_at=labels.received_at,
            price=row.price,
            kind="reference",
        )


_ASSET_CLASSES: Final[dict[str, AssetClass]] = {
    "iex": "equity",
    "equity": "equity",
    "boats": "equity",
    "fx": "fx",
    "crypto": "crypto",
}


def _number(value: Number) -> float:
    return NAN if value is None else value


def _instant(ns: int | None, iso: str) -> int:
    """The integer and the text are the same instant [doc]; the integer needs no parsing."""
    return iso_to_ns(iso) if ns is None else ns


def _has_letter(raw: bytes) -> bool:
    """Whether the row begins with `"Q"`, `"T"` or `"B"`; a level 6 row begins with its time."""
    first = bytes(raw).lstrip()[1:8].lstrip()
    return first[:3] in {b'"Q"', b'"T"', b'"B"'}
