"""Massive's frames → readings: arrays of events, and what it says of a connection."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from edc_pipeline.events import AnyEvent
from edc_pipeline.vendors.contract import (
    Control,
    Decode,
    Reading,
    Subscription,
    control,
    quarantined,
)
from edc_pipeline.vendors.massive.responses import read_response
from edc_pipeline.vendors.massive.rows import FRAME, NOT_WANTED, Row, Status, readers
from edc_pipeline.vendors.massive.symbols import class_of, to_symbol, to_ticker
from edc_pipeline.vendors.reading import UNREADABLE, Instruments, add_fault

_ONE: Final = msgspec.json.Decoder(Row)
_PARTS: Final = msgspec.json.Decoder(list[msgspec.Raw])


class _Tagged(msgspec.Struct, frozen=True):
    ev: str


_TAGGED: Final = msgspec.json.Decoder(_Tagged)


def instruments_of(subscription: Subscription, feed: str) -> Instruments:
    return Instruments(
        subscription,
        {to_ticker(feed, symbol): symbol for symbol in subscription.symbols},
        lambda ticker: to_symbol(feed, ticker),
        lambda ticker: class_of(feed, ticker),
    )


def decoder(subscription: Subscription) -> Decode:
    instruments = partial(instruments_of, subscription)
    make = readers(instruments)

    def decode(frame: bytes, received_at: int) -> Reading:
        """Nearly every frame is an array of nothing but known events: one pass."""
        try:
            events: list[AnyEvent] = []
            for row in FRAME.decode(frame):
                events += make[type(row)](row, received_at)
            if events:
                return Reading(events)
        except (*UNREADABLE, KeyError):
            pass
        return any_frame(frame, received_at)

    def any_frame(frame: bytes, received_at: int) -> Reading:
        """Each element by itself: a bad one must not cost the others, and a frame may hold both
        data and what is said of the connection."""
        if frame.lstrip()[:1] == b"{":
            return object_frame(frame, received_at)
        try:
            parts = _PARTS.decode(frame)
        except UNREADABLE as error:
            return quarantined(f"not a Massive message: {error}")
        return elements(parts, received_at) if parts else control("notice", "an empty array")

    def elements(parts: Sequence[bytes | msgspec.Raw], received_at: int) -> Reading:
        reading = Reading()
        said: list[Control] = []
        for part in parts:
            try:
                row = _ONE.decode(part)
                if isinstance(row, Status):
                    said.append(_said(row))
                else:
                    reading.events += make[type(row)](row, received_at)
            except UNREADABLE as error:
                kind = _kind(part)
                if kind in NOT_WANTED:
                    said.append(Control("not_wanted", kind))
                else:
                    add_fault(reading.faults, f"{kind or 'event'}: {error}")
        reading.control = _gravest(said)
        return reading

    def object_frame(frame: bytes, received_at: int) -> Reading:
        """One event that is not in an array, as relays send it; else a response of REST."""
        if _kind(frame):
            return elements((frame,), received_at)
        return read_response(frame, received_at, subscription, instruments)

    return decode


def _kind(raw: bytes | msgspec.Raw) -> str:
    try:
        return _TAGGED.decode(raw).ev[:20]
    except UNREADABLE:
        return ""


_GRAVITY: Final = ("fatal", "refused", "transient", "acknowledged", "notice", "not_wanted")


def _gravest(said: list[Control]) -> Control | None:
    """Of several in one frame the gravest counts; acknowledgements are all kept in its words."""
    if not said:
        return None
    kind = min((one.kind for one in said), key=_GRAVITY.index)
    told = dict.fromkeys(one.detail for one in said if one.kind == kind)
    return Control(kind, "; ".join(told))


def _said(row: Status) -> Control:
    message = (row.message or "")[:200]
    match row.status:
        case "connected":
            return Control("notice", f"connected: {message}")
        case "auth_success" | "success":
            return Control("acknowledged", f"{row.status}: {message}")
        case "auth_failed":
            return Control("fatal", f"auth_failed: {message}")
        case "error":
            return Control("refused", message)
        case "auth_timeout" | "max_connections" | "force_disconnect" | "disconnected":
            return Control("transient", f"{row.status}: {message}")
    return Control("notice", f"{row.status}: {message}"[:200])
