"""Finnhub's frames and responses → events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from edc_pipeline.events import AnyEvent, RefPx, Trade
from edc_pipeline.vendors.contract import (
    Control,
    ControlKind,
    Decode,
    Reading,
    Subscription,
    control,
    quarantined,
)
from edc_pipeline.vendors.finnhub.symbols import class_of, to_symbol, to_ticker, venue_of
from edc_pipeline.vendors.reading import (
    UNREADABLE,
    Instruments,
    Number,
    Stamp,
    add_fault,
    epoch_to_ns,
    given,
    status_means,
)

_Conditions = tuple[str | int, ...] | None


class _Print(msgspec.Struct, frozen=True, gc=False):
    s: str
    p: float
    t: Stamp
    v: Number = None  # 0 or 1 on currencies [unsure]: kept as sent
    c: _Conditions = None


class _Trades(msgspec.Struct, frozen=True, gc=False):
    type: Literal["trade"]  # as a tag it might be missing, as it is from a webhook's body
    data: list[_Print]


class _Candles(msgspec.Struct, frozen=True):
    """REST `/stock/candle`: columns; without any, `s` alone says no_data."""

    s: str
    t: list[Stamp]
    c: list[Number]


class _AnyFrame(msgspec.Struct, frozen=True):
    """Whatever may stand in a frame or a response."""

    type: str = ""
    event: str = ""  # of a webhook's body; a frame has a type instead
    msg: Any = None
    error: Any = None
    data: msgspec.Raw = msgspec.Raw()
    # A quote; `t` in seconds
    c: Number = None
    h: Number = None
    l: Number = None  # noqa: E741 - the vendor's name
    o: Number = None
    pc: Number = None
    t: Stamp | None = None


TRADES: Final = msgspec.json.Decoder(_Trades)
_PRINT: Final = msgspec.json.Decoder(_Print)
_PARTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_CANDLES: Final = msgspec.json.Decoder(_Candles)
_ANY: Final = msgspec.json.Decoder(_AnyFrame)

# The other streams that Finnhub documents.
_NOT_WANTED: Final = frozenset({"news", "press-release", "pr"})
_QUOTE_KINDS: Final = (
    ("last", "c"),
    ("open", "o"),
    ("high", "h"),
    ("low", "l"),
    ("prev_close", "pc"),
)


def instruments_of(subscription: Subscription) -> Instruments:
    spelled = {to_ticker(s, subscription.options): s for s in subscription.symbols}
    return Instruments(subscription, spelled, to_symbol, class_of)


def decoder(subscription: Subscription) -> Decode:
    instruments = instruments_of(subscription)
    whose = subscription.symbols[0] if len(subscription.symbols) == 1 else ""

    def trade(row: _Print, received_at: int, feed: str = "trades") -> Trade:
        symbol, asset_class = instruments[row.s]
        return Trade(
            ts_event=epoch_to_ns(row.t),
            symbol=symbol,
            asset_class=asset_class,
            vendor="finnhub",
            feed=feed,
            venue=venue_of(row.s) if ":" in row.s else "",
            created_at=received_at,
            price=row.p,
            size=given(row.v),
            conditions=conditions_of(row.c),
        )

    def decode(frame: bytes, received_at: int) -> Reading:
        try:
            rows = TRADES.decode(frame).data
            if rows:
                return Reading([trade(row, received_at) for row in rows])
        except UNREADABLE:
            pass
        return any_frame(frame, received_at)

    def any_frame(frame: bytes, received_at: int) -> Reading:
        try:
            found = _ANY.decode(frame)
        except UNREADABLE as error:
            if _is_candles(frame):
                return control("not_wanted", "past bars")
            return quarantined(f"not a Finnhub message: {error}")
        if found.type == "trade":
            return _each_trade(found.data, received_at, "trades")
        if found.event and not found.type:
            if found.event == "trade":
                return _each_trade(found.data, received_at, "webhook")
            return control("not_wanted", found.event[:200])
        if not found.type and found.error is None and found.t is not None:
            return quote(found, received_at)
        return _said(found)

    def _each_trade(data: msgspec.Raw, received_at: int, feed: str) -> Reading:
        """One bad print must not cost the others of its frame."""
        if bytes(data) in {b"", b"null", b"[]"}:
            return control("notice", "a frame without trades")
        reading = Reading()
        try:
            parts = _PARTS.decode(data)
        except UNREADABLE as error:
            return quarantined(f"data: {error}")
        for part in parts:
            try:
                reading.events.append(trade(_PRINT.decode(part), received_at, feed))
            except UNREADABLE as error:
                add_fault(reading.faults, f"trade: {error}")
        return reading if parts else control("notice", "a frame without trades")

    def quote(found: _AnyFrame, received_at: int) -> Reading:
        """REST `/quote`: it does not say whose it is; whom it was asked for does."""
        if not found.t and not found.c:
            return control("refused", f"no such symbol {whose}".strip())
        if not whose:
            return quarantined("a quote does not say whose it is; its request did")
        ticker = to_ticker(whose, subscription.options)
        symbol, asset_class = instruments[ticker]
        try:
            ts = epoch_to_ns(found.t or 0)
        except UNREADABLE as error:
            return quarantined(f"quote: {error}")
        events: list[AnyEvent] = [
            RefPx(
                ts_event=ts,
                symbol=symbol,
                asset_class=asset_class,
                vendor="finnhub",
                feed="quote",
                venue=venue_of(ticker),
                created_at=received_at,
                price=price,
                kind=kind,
            )
            for kind, name in _QUOTE_KINDS
            if (price := getattr(found, name))  # 0 before the session's first trade
        ]
        return Reading(events) if events else quarantined("a quote without a price")

    return decode


def conditions_of(said: _Conditions) -> str:
    return " ".join(map(str, said)) if said else ""


def _is_candles(frame: bytes) -> bool:
    try:
        return bool(_CANDLES.decode(frame).s)
    except UNREADABLE:
        return False


def _said(found: _AnyFrame) -> Reading:
    if found.error is not None:
        return Reading(control=error_said(str(found.error)))
    match found.type:
        case "ping":
            return control("heartbeat")
        case "error":
            return Reading(control=error_said(str(found.msg)))
        case kind if kind in _NOT_WANTED:
            return control("not_wanted", kind)
        case "":
            return quarantined("neither a message with a type, nor a quote, nor an error")
    return quarantined(f"type {found.type!r:.40} is not one of trade, ping, error")


_REFUSALS: Final[Sequence[tuple[str, ControlKind]]] = (
    ("too many symbols", "refused"),
    ("invalid symbol", "refused"),
    ("don't have access", "refused"),
    ("invalid api key", "fatal"),
    ("invalid token", "fatal"),
    ("please use an api key", "fatal"),
)


def error_said(message: str) -> Control:
    """What an error means: a key that is no key is final, most others pass."""
    plain = message.lower()
    kind: ControlKind = next((kind for text, kind in _REFUSALS if text in plain), "transient")
    return Control(kind, message[:200])


def refusal(status: int, body: bytes) -> Control:
    """REST: 403 is a symbol that the plan does not have, not a wrong key."""
    try:
        error = str(_ANY.decode(body).error or "")
    except UNREADABLE:
        error = ""
    if status == 403:
        return Control("refused", error[:200] or "no access")
    return status_means(status, error)
