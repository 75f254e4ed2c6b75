"""Finage's frames and responses → events.

Numbers come as JSON numbers, as text, as NaN, or not at all, by market and by day. A price or size
that is missing, empty or NaN is not given; the price of a trade has to be.
"""

from __future__ import annotations

import re
from math import isnan
from typing import Any, Final

import msgspec

from edc_pipeline.events import NAN, Quote, Trade
from edc_pipeline.vendors.contract import (
    Control,
    Decode,
    Reading,
    Subscription,
    control,
    quarantined,
)
from edc_pipeline.vendors.finage.symbols import CLASSES, market_of, to_symbol, to_ticker
from edc_pipeline.vendors.reading import (
    UNREADABLE,
    Fault,
    Instruments,
    Stamp,
    add_fault,
    epoch_to_ns,
    side,
    status_means,
)

Written = float | str | None  # a number, however it is written


class Row(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    s: str
    t: Stamp | str
    # A quote
    a: Written = None
    ap: Written = None
    as_: Written = msgspec.field(default=None, name="as")
    b: Written = None
    bp: Written = None
    bs: Written = None
    # A trade
    p: Written = None
    q: Written = None
    v: Written = None
    # Changes of the day: what tells currencies from stocks where no feed is told
    dc: Any = None
    ppms: Any = None


class _Last(msgspec.Struct, frozen=True):
    """REST: the last quote, or the last trade."""

    symbol: str
    timestamp: Stamp | str
    ask: Written = None
    bid: Written = None
    asize: Written = None
    bsize: Written = None
    price: Written = None
    size: Written = None


class _AnyMessage(msgspec.Struct, frozen=True):
    status_code: Any = None
    message: Any = None
    error: Any = None
    s: Any = None
    symbol: Any = None


ROW: Final = msgspec.json.Decoder(Row)
_LAST: Final = msgspec.json.Decoder(_Last)
_ANY: Final = msgspec.json.Decoder(_AnyMessage)
_PARTS: Final = msgspec.json.Decoder(list[msgspec.Raw])

# A bare NaN is no JSON, and Finage's servers write it all the same. Only where a value may stand.
_BARE_NAN: Final = re.compile(rb'("\s*:\s*)-?NaN(?=\s*[,}])')
_NOT_GIVEN: Final = frozenset({"", "nan", "null", "none", "undefined", "-"})


def instruments_of(subscription: Subscription, feed: str) -> Instruments:
    return Instruments(
        subscription,
        {to_ticker(feed, s): s for s in subscription.symbols},
        lambda ticker: to_symbol(feed, ticker),
        lambda _: CLASSES[market_of(feed)],
    )


def decoder(subscription: Subscription) -> Decode:
    by_feed: dict[str, Instruments] = {}
    told = subscription.feed
    rest = f"{told}_last" if told in CLASSES else told

    def instruments(feed: str, ticker: str) -> tuple[str, Any]:
        known = by_feed.get(feed)
        if known is None:
            known = by_feed[feed] = instruments_of(subscription, feed)
        return known[ticker]

    def common(feed: str, ticker: str, stamp: Stamp | str, received_at: int) -> dict[str, Any]:
        symbol, asset_class = instruments(feed, ticker)
        return {
            "ts_event": epoch_to_ns(stamp_of(stamp)),
            "symbol": symbol,
            "asset_class": asset_class,
            "vendor": "finage",
            "feed": feed,
            "created_at": received_at,
        }

    def of_row(row: Row, received_at: int) -> Reading:
        of = common(told or _feed_of(row), row.s, row.t, received_at)
        if row.p is not None:
            return Reading([_trade(row.p, first(row.q, row.v), of)])
        bid = first(row.b, row.bp), row.bs
        ask = first(row.a, row.ap), row.as_
        return _quote(bid, ask, of)

    def of_last(row: _Last, received_at: int) -> Reading:
        feed = rest or _rest_feed_of(row)
        of = common(feed, row.symbol, row.timestamp, received_at)
        if row.price is not None:
            return Reading([_trade(row.price, row.size, of)])
        return _quote((row.bid, row.bsize), (row.ask, row.asize), of)

    def decode(frame: bytes, received_at: int) -> Reading:
        try:
            return of_row(ROW.decode(frame), received_at)
        except UNREADABLE as error:
            mended = _BARE_NAN.sub(rb'\1"NaN"', frame) if b"NaN" in frame else frame
            if mended != frame:
                return decode(mended, received_at)
            return other(frame, received_at, error)

    def other(frame: bytes, received_at: int, error: Exception) -> Reading:
        if frame.lstrip()[:1] == b"[":
            return several(frame, received_at)
        try:
            found = _ANY.decode(frame)
        except UNREADABLE as wrong:
            return _plain_text(frame, wrong)
        if found.s is not None:
            return quarantined(f"row: {error}")
        if found.symbol is None:
            return _said(found)
        try:
            return of_last(_LAST.decode(frame), received_at)
        except UNREADABLE as wrong:
            return quarantined(f"last: {wrong}")

    def several(frame: bytes, received_at: int) -> Reading:
        """REST `/last/…s/?symbols=`: an array, without those that are not known."""
        try:
            parts = _PARTS.decode(frame)
        except UNREADABLE as error:
            return quarantined(f"not a Finage response: {error}")
        reading = Reading()
        for part in parts:
            try:
                one = of_last(_LAST.decode(part), received_at)
                reading.events += one.events
                reading.control = one.control or reading.control
            except UNREADABLE as error:
                add_fault(reading.faults, f"last: {error}")
        return reading if parts else control("refused", "no such symbol")

    return decode


def stamp_of(stamp: Stamp | str) -> Stamp:
    if not isinstance(stamp, str):
        return stamp
    if not (stamp.isdecimal() and stamp.isascii()):
        raise Fault(f"{stamp[:40]!r} is no time")
    return int(stamp)


def first(one: Written, other: Written) -> Written:
    return other if one is None else one


def _number(written: Written) -> float:
    """NaN where it is not given, however that is written."""
    if isinstance(written, str):
        if written.strip().lower() in _NOT_GIVEN:
            return NAN
        return msgspec.convert(written, float, strict=False)
    return NAN if written is None else written


def _trade(price: Written, size: Written, of: dict[str, Any]) -> Trade:
    number = _number(price)
    if isnan(number):
        raise Fault("a trade without a price")
    return Trade(price=number, size=_number(size), **of)


def _quote(
    bid: tuple[Written, Written], ask: tuple[Written, Written], of: dict[str, Any]
) -> Reading:
    bid_price, bid_size = side(_number(bid[0]), _number(bid[1]))
    ask_price, ask_size = side(_number(ask[0]), _number(ask[1]))
    if isnan(bid_price) and isnan(ask_price):
        return control("notice", "a quote without prices")
    quote = Quote(
        bid_price=bid_price, bid_size=bid_size, ask_price=ask_price, ask_size=ask_size, **of
    )
    return Reading([quote])


def _feed_of(row: Row) -> str:
    """Where no feed was told: a coin's trade has its numbers as text, or
    the day's change; a currency's quote has no
    sizes, and the day's change or a slash."""
    if row.p is not None:
        return "crypto" if isinstance(row.p, str) or row.dc is not None else "stocks"
    if (
        row.as_ is None
        and row.bs is None
        and (row.dc is not None or row.ppms is not None or "/" in row.s)
    ):
        return "forex"
    return "stocks"


def _rest_feed_of(row: _Last) -> str:
    if row.price is not None:
        return "crypto_last" if row.size is None else "stocks_last"
    return "stocks_last" if row.asize is not None or row.bsize is not None else "forex_last"


_CONNECTED: Final = ("connected to the adapter", "connected to the server")


def _plain_text(frame: bytes, error: Exception) -> Reading:
    """Older servers greet in bare words."""
    if frame.strip(b' ".\r\n').lower() == b"connected to the server":
        return control("acknowledged", "Connected to the server")
    return quarantined(f"not a Finage message: {error}")


def _said(found: _AnyMessage) -> Reading:
    if found.error is not None:
        return Reading(control=_error(str(found.error)))
    if found.message is None:
        return quarantined("neither a message, nor a price, nor an error")
    said, status = str(found.message)[:200], str(found.status_code or "")
    if any(text in said.lower() for text in _CONNECTED):
        return control("acknowledged", said)
    if status in {"", "200"}:
        return control("notice", said)
    if status in {"401", "403"}:
        return control("fatal", said)
    return control("transient" if status == "429" or status >= "500" else "refused", said)


def _error(said: str) -> Control:
    plain = said.lower()
    if "limit" in plain or "too many" in plain:
        return Control("transient", said[:200])
    if "api key" in plain or "apikey" in plain or "unauthorized" in plain:
        return Control("fatal", said[:200])
    return Control("refused", said[:200])


def refusal(status: int, body: bytes) -> Control:
    """REST: an unknown symbol is a 400 with an error."""
    try:
        error = _ANY.decode(body).error
    except UNREADABLE:
        error = None
    return status_means(status, "" if error is None else str(error))
