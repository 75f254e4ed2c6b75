"""Twelve Data's frames and responses → reference prices.

Numbers are JSON numbers on the websocket and text in REST; both are read as either. Bid and ask of
a price event are not kept: they have no sizes, and not every plan and market has them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from edc_pipeline.events import AnyEvent, AssetClass, RefPx
from edc_pipeline.vendors.contract import (
    Control,
    Decode,
    Reading,
    Subscription,
    control,
    quarantined,
)
from edc_pipeline.vendors.reading import (
    UNREADABLE,
    Fault,
    Number,
    Stamp,
    add_fault,
    epoch_to_ns,
    required,
    status_means,
)
from edc_pipeline.vendors.twelve_data.symbols import class_of, to_symbol


class _Price(msgspec.Struct, frozen=True, gc=False, tag_field="event", tag="price"):
    symbol: str
    timestamp: Stamp
    price: float
    type: str | None = None
    exchange: str | None = None
    mic_code: str | None = None


class _AnyMessage(msgspec.Struct, frozen=True):
    """Whatever may stand in a frame, or in the response to one symbol."""

    event: str = ""
    status: str | None = None
    code: int | str | None = None
    message: Any = None
    messages: Any = None
    success: Any = None
    fails: Any = None
    # A quote, of REST
    symbol: str | None = None
    type: str | None = None
    exchange: str | None = None
    mic_code: str | None = None
    timestamp: Stamp | None = None
    last_quote_at: Stamp | None = None
    open: Number = None
    high: Number = None
    low: Number = None
    close: Number = None
    previous_close: Number = None
    price: Number = None


PRICE: Final = msgspec.json.Decoder(_Price, strict=False)
_ANY: Final = msgspec.json.Decoder(_AnyMessage, strict=False)
_BY_SYMBOL: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])

_HTTP_STATUS: Final = re.compile(r"[1-5]\d\d", re.ASCII)

_QUOTE_KINDS: Final = (
    ("last", "close"),
    ("open", "open"),
    ("high", "high"),
    ("low", "low"),
    ("prev_close", "previous_close"),
)


def decoder(subscription: Subscription) -> Decode:
    asset_classes = subscription.asset_classes
    whose = subscription.symbols[0] if len(subscription.symbols) == 1 else ""

    def price(row: _Price, received_at: int) -> RefPx:
        symbol = to_symbol(row.symbol)
        return RefPx(
            ts_event=epoch_to_ns(row.timestamp),
            symbol=symbol,
            asset_class=asset_classes.get(symbol) or class_of(row.symbol, row.type or ""),
            vendor="twelve_data",
            feed="price",
            venue=row.mic_code or row.exchange or "",
            created_at=received_at,
            price=required(row.price, "a price event"),
            kind="reference",
        )

    def decode(frame: bytes, received_at: int) -> Reading:
        try:
            return Reading([price(PRICE.decode(frame), received_at)])
        except UNREADABLE as error:
            return _other(frame, received_at, asset_classes, whose, error)

    return decode


def _other(
    frame: bytes,
    received_at: int,
    asset_classes: Mapping[str, AssetClass],
    whose: str,
    error: Exception,
) -> Reading:
    try:
        found = _ANY.decode(frame)
    except UNREADABLE as wrong:
        return quarantined(f"not a Twelve Data message: {wrong}")
    if found.event == "price":
        return quarantined(f"price: {error}")
    if found.event or found.status == "error" or (found.code and found.message):
        return _said(found)
    try:
        if found.symbol is not None:
            return Reading(_quote(found, found.symbol, received_at, asset_classes))
        if found.price is not None:
            return _bare_price(whose)
        return _of_several(frame, received_at, asset_classes)
    except UNREADABLE as wrong:
        return quarantined(f"quote: {wrong}")


def _bare_price(whose: str) -> Reading:
    """REST `/price` has neither symbol nor time; we ask for `/quote`, which has both."""
    return control("not_wanted", f"a price without a time {whose}".strip())


def _of_several(frame: bytes, received_at: int, asset_classes: Mapping[str, AssetClass]) -> Reading:
    """A batch: an object of quotes, or of errors, by symbol."""
    parts = _BY_SYMBOL.decode(frame)
    reading = Reading()
    for ticker, raw in parts.items():
        try:
            found = _ANY.decode(raw)
            if found.status == "error" or found.code:
                reading.control = _error(found, ticker)
            else:
                symbol = found.symbol or ticker
                reading.events += _quote(found, symbol, received_at, asset_classes)
        except UNREADABLE as error:
            add_fault(reading.faults, f"quote of {ticker!r:.40}: {error}")
    if not parts:
        return quarantined("neither a message nor a quote")
    if {"meta", "values"} <= parts.keys():
        return control("not_wanted", "past bars")
    return reading


def _quote(
    found: _AnyMessage, ticker: str, received_at: int, asset_classes: Mapping[str, AssetClass]
) -> list[AnyEvent]:
    symbol = to_symbol(ticker)
    # `timestamp` is the beginning of the day's bar; the newer field says when the price was made.
    ts = epoch_to_ns(found.last_quote_at or found.timestamp or 0)
    events: list[AnyEvent] = [
        RefPx(
            ts_event=ts,
            symbol=symbol,
            asset_class=asset_classes.get(symbol) or class_of(ticker, found.type or ""),
            vendor="twelve_data",
            feed="quote",
            venue=found.mic_code or found.exchange or "",
            created_at=received_at,
            price=number,
            kind=kind,
        )
        for kind, name in _QUOTE_KINDS
        if (number := getattr(found, name)) is not None and number == number  # noqa: PLR0124 - NaN
    ]
    if not events:
        raise Fault("it has no price")
    return events


def _said(found: _AnyMessage) -> Reading:
    match found.event:
        case "heartbeat":
            return control("heartbeat")
        case "subscribe-status" | "unsubscribe-status" | "reset-status":
            return _status(found)
        case "" | "message-processing":
            return Reading(control=_error(found))
    return quarantined(f"event {found.event!r:.40} is not one that we know")


def _status(found: _AnyMessage) -> Reading:
    fails = _names(found.fails)
    if fails or found.status == "error":
        words = _words(found)
        told = f"{', '.join(fails)}: {words}" if fails and words else ", ".join(fails) or words
        return control("refused", told[:200])
    return control("acknowledged", f"{found.event}: {', '.join(_names(found.success))}"[:200])


def _names(listed: Any) -> list[str]:
    """Symbols: bare, or as objects that tell more of each."""
    if not isinstance(listed, list):
        return []
    return [str(one.get("symbol", "?") if isinstance(one, dict) else one) for one in listed]


def _error(found: _AnyMessage, ticker: str = "") -> Control:
    code = str(found.code)
    said = f"{ticker} {_words(found)}".strip()
    if _HTTP_STATUS.fullmatch(code):
        return status_means(int(code), said)
    return Control("transient", said[:200])


def _words(found: _AnyMessage) -> str:
    said = found.message if found.message is not None else found.messages
    if isinstance(said, list):
        return "; ".join(map(str, said))[:200]
    return "" if said is None else str(said)[:200]
