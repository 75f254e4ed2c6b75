"""FMP's frames and responses → events."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from edc_pipeline.events import AnyEvent, Quote, RefPx, Trade
from edc_pipeline.vendors.contract import (
    Control,
    Decode,
    Reading,
    Subscription,
    control,
    quarantined,
)
from edc_pipeline.vendors.fmp.symbols import class_of, to_symbol, to_ticker
from edc_pipeline.vendors.reading import (
    UNREADABLE,
    Fault,
    Instruments,
    Number,
    Stamp,
    add_fault,
    epoch_to_ns,
    given,
    required,
    side,
    status_means,
)


class Row(msgspec.Struct, frozen=True, gc=False):
    """T: a trade, B: its break; Q: top of book, with `lp` and `ls` null [rec]."""

    s: str
    t: Stamp
    type: Literal["T", "Q", "B"]
    ap: Number = None
    as_: Number = msgspec.field(default=None, name="as")
    bp: Number = None
    bs: Number = None
    lp: Number = None
    ls: Number = None
    e: str | None = None  # crypto: the exchange


class _AnyMessage(msgspec.Struct, frozen=True):
    """Whatever else is said. The status stands here or in `data`."""

    event: str = ""
    type: str = ""
    status: Any = None
    message: Any = None
    data: Any = None
    historical: Any = None
    error: Any = msgspec.field(default=None, name="Error Message")


class _RestQuote(msgspec.Struct, frozen=True):
    symbol: str
    timestamp: Stamp
    price: Number = None
    open: Number = None
    dayHigh: Number = None  # noqa: N815 - the vendor's names
    dayLow: Number = None  # noqa: N815
    previousClose: Number = None  # noqa: N815
    exchange: str | None = None


ROW: Final = msgspec.json.Decoder(Row)
_ANY: Final = msgspec.json.Decoder(_AnyMessage)
_PARTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_REST_QUOTE: Final = msgspec.json.Decoder(_RestQuote)

_QUOTE_KINDS: Final = (
    ("last", "price"),
    ("open", "open"),
    ("high", "dayHigh"),
    ("low", "dayLow"),
    ("prev_close", "previousClose"),
)


def instruments_of(subscription: Subscription, feed: str) -> Instruments:
    return Instruments(
        subscription,
        {to_ticker(s): s for s in subscription.symbols},
        lambda ticker: to_symbol(feed, ticker),
        lambda ticker: class_of(feed, ticker),
    )


def decoder(subscription: Subscription) -> Decode:
    asked = subscription.feed
    feeds = ("stocks", "forex", "crypto", "quote")
    by_feed = {feed: instruments_of(subscription, feed) for feed in feeds}

    def event(row: Row, received_at: int) -> AnyEvent:
        ticker = row.s.lower()
        feed = asked if asked in by_feed else _feed_of(row)
        symbol, asset_class = by_feed[feed][ticker]
        common: dict[str, Any] = {
            "ts_event": epoch_to_ns(row.t),
            "symbol": symbol,
            "asset_class": asset_class,
            "vendor": "fmp",
            "feed": feed,
            "venue": (row.e or "").lower(),
            "created_at": received_at,
        }
        if row.type == "Q":
            bid_price, bid_size = side(row.bp, row.bs)
            ask_price, ask_size = side(row.ap, row.as_)
            return Quote(
                bid_price=bid_price,
                bid_size=bid_size,
                ask_price=ask_price,
                ask_size=ask_size,
                **common,
            )
        return Trade(
            price=required(row.lp, "a trade"),
            size=given(row.ls),
            conditions="break" if row.type == "B" else "",
            **common,
        )

    def rest_quote(raw: msgspec.Raw, received_at: int) -> list[AnyEvent]:
        row = _REST_QUOTE.decode(raw)
        symbol, asset_class = by_feed["quote"][row.symbol.lower()]
        events: list[AnyEvent] = [
            RefPx(
                ts_event=epoch_to_ns(row.timestamp),
                symbol=symbol,
                asset_class=asset_class,
                vendor="fmp",
                feed="quote",
                venue=row.exchange or "",
                created_at=received_at,
                price=price,
                kind=kind,
            )
            for kind, name in _QUOTE_KINDS
            if (price := getattr(row, name))  # 0 or null: there was none yet
        ]
        if not events:
            raise Fault("it has no price")
        return events

    def decode(frame: bytes, received_at: int) -> Reading:
        try:
            return Reading([event(ROW.decode(frame), received_at)])
        except UNREADABLE as error:
            if frame.lstrip()[:1] == b"[":
                return response(frame, received_at)
            return _said(frame, error)

    def response(frame: bytes, received_at: int) -> Reading:
        """REST: quotes in an array; also rows, should the websocket ever gather some."""
        try:
            parts = _PARTS.decode(frame)
        except UNREADABLE as error:
            return quarantined(f"not an FMP response: {error}")
        if not parts:
            return control("refused", f"no such symbol {' '.join(subscription.symbols)}".strip())
        reading = Reading()
        for part in parts:
            try:
                try:
                    reading.events.append(event(ROW.decode(part), received_at))
                except msgspec.ValidationError:
                    reading.events += rest_quote(part, received_at)
            except UNREADABLE as error:
                add_fault(reading.faults, f"quote: {error}")
        return reading

    return decode


def _feed_of(row: Row) -> str:
    """Where no feed was told: coins name their exchange, currencies are pairs of currencies."""
    if row.e is not None:
        return "crypto"
    return "forex" if class_of("", row.s) == "fx" else "stocks"


_OK: Final = frozenset({"200", "ok", "success"})


def _said(frame: bytes, error: Exception) -> Reading:
    try:
        found = _ANY.decode(frame)
    except UNREADABLE as wrong:
        return quarantined(f"not an FMP message: {wrong}")
    if found.error is not None:
        return Reading(control=_rest_error(str(found.error)))
    if found.historical is not None:
        return control("not_wanted", "past bars")
    what = (found.event or found.type).lower()
    if "heartbeat" in what or what in {"ping", "pong"}:
        return control("heartbeat")
    if what in {"login", "subscribe", "unsubscribe", "error"}:
        return Reading(control=_answer(found, what))
    if found.type in {"T", "Q", "B"}:
        return quarantined(f"row: {error}")
    return quarantined(f"event {what!r:.40} is not one of login, subscribe, heartbeat")


def _answer(found: _AnyMessage, what: str) -> Control:
    inner = found.data if isinstance(found.data, dict) else {}
    status = str(found.status if found.status is not None else inner.get("status", "")).lower()
    said = str(found.message if found.message is not None else inner.get("message") or "")
    detail = f"{what}: {said or status}"[:200]
    if status in _OK or (not status and what in {"subscribe", "unsubscribe"}):
        return Control("acknowledged", detail)
    if "another location" in said.lower():
        return Control("transient", detail)  # one connection a key, and it is somewhere else
    if what == "login":
        return Control("fatal", detail)
    return Control("transient" if what == "error" else "refused", detail)


def _rest_error(said: str) -> Control:
    plain = said.lower()
    if "limit" in plain:
        return Control("transient", said[:200])
    if "exclusive endpoint" in plain or "special endpoint" in plain or "subscription" in plain:
        return Control("refused", said[:200])
    return Control("fatal" if "api key" in plain else "transient", said[:200])


def refusal(status: int, body: bytes) -> Control:
    """REST: the words of an error say more than its status."""
    try:
        error = _ANY.decode(body).error
    except UNREADABLE:
        error = None
    return status_means(status, "") if error is None else _rest_error(str(error))
