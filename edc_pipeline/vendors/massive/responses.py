"""Massive's REST responses → events: snapshots, and pages of past trades and quotes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

from edc_pipeline.events import AnyEvent, Quote, RefPx, Trade
from edc_pipeline.vendors.contract import (
    Control,
    Reading,
    Subscription,
    control,
    quarantined,
)
from edc_pipeline.vendors.massive.rows import SIDES, Code, Codes, both_venues, code, codes, trade_id
from edc_pipeline.vendors.massive.symbols import SNAPSHOT
from edc_pipeline.vendors.reading import (
    UNREADABLE,
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


class _LastTrade(msgspec.Struct, frozen=True):
    p: float
    t: Stamp
    s: Number = None
    x: Code = None
    i: Code = None
    c: Codes = None


class _LastQuote(msgspec.Struct, frozen=True):
    """Stocks: `p` bid, `P` ask, `s`, `S`; currencies: `b`, `a`."""

    t: Stamp
    p: Number = None
    s: Number = None
    P: Number = None
    S: Number = None
    b: Number = None
    a: Number = None
    x: Code = None


class _Day(msgspec.Struct, frozen=True):
    o: Number = None
    h: Number = None
    l: Number = None  # noqa: E741 - the vendor's name
    c: Number = None
    v: Number = None


class _Ticker(msgspec.Struct, frozen=True):
    ticker: str
    updated: Stamp = 0
    lastTrade: _LastTrade | None = None  # noqa: N815 - the vendor's names
    lastQuote: _LastQuote | None = None  # noqa: N815
    day: _Day | None = None
    prevDay: _Day | None = None  # noqa: N815


class _Past(msgspec.Struct, frozen=True):
    """A past trade or quote of `/v3/trades` and `/v3/quotes`."""

    sip_timestamp: Stamp | None = None
    participant_timestamp: Stamp | None = None
    sequence_number: int = -1
    # A trade
    price: float | None = None
    size: Number = None
    id: Code = None
    exchange: Code = None
    trf_id: Code = None
    conditions: Codes = None
    correction: int | None = None
    # A quote
    bid_price: Number = None
    bid_size: Number = None
    bid_exchange: Code = None
    ask_price: Number = None
    ask_size: Number = None
    ask_exchange: Code = None


class _LastOf(msgspec.Struct, frozen=True):
    """`/v2/last/trade` and `/v2/last/nbbo`: a quote has an ask `P`, and `p` is its bid."""

    T: str
    t: Stamp
    p: Number = None
    s: Number = None
    x: Code = None
    i: Any = None  # an id of a trade, indicators of a quote
    c: Codes = None
    q: int = -1
    r: Code = None  # which trade reporting facility
    P: Number = None
    S: Number = None
    X: Code = None


class _Response(msgspec.Struct, frozen=True):
    status: str = ""
    error: Any = None
    message: Any = None
    ticker: msgspec.Raw = msgspec.Raw()
    tickers: list[msgspec.Raw] | None = None
    results: msgspec.Raw = msgspec.Raw()
    next_url: str = ""
    count: int | None = None
    resultsCount: int | None = None  # noqa: N815 - of bars


_RESPONSE: Final = msgspec.json.Decoder(_Response)
_TICKER: Final = msgspec.json.Decoder(_Ticker)
_PAST: Final = msgspec.json.Decoder(_Past)
_LAST_OF: Final = msgspec.json.Decoder(_LastOf)
_PARTS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_OF_URL: Final = re.compile(r"/v3/(?:trades|quotes)/([^/?]{1,40})")

_KINDS: Final = (("open", "o"), ("high", "h"), ("low", "l"), ("last", "c"))

_Market = Literal["stocks", "forex", "crypto"]
_InstrumentsOf = Callable[[str], Instruments]


def read_response(
    body: bytes, received_at: int, asked: Subscription, instruments: _InstrumentsOf
) -> Reading:
    try:
        found = _RESPONSE.decode(body)
    except UNREADABLE as error:
        return quarantined(f"not a Massive response: {error}")
    if found.error is not None or found.status in {"ERROR", "NOT_AUTHORIZED", "NOT_FOUND"}:
        return Reading(control=_error(found))
    if found.tickers is not None or bytes(found.ticker).startswith(b"{"):
        return _snapshot(found, received_at, instruments)
    results = bytes(found.results)
    try:
        if results.startswith(b"{"):
            row = _LAST_OF.decode(results)
            return Reading([_last_of(row, received_at, instruments)])
        if results.startswith(b"["):
            if found.resultsCount is not None:
                return control("not_wanted", "past bars")
            parts = _PARTS.decode(results)
            return _past(found, parts, received_at, asked, instruments)
    except UNREADABLE as error:
        return quarantined(f"results: {error}"[:300])
    if found.status in {"OK", "DELAYED"}:
        return control("notice", "a response without results")
    return quarantined("neither an event, nor a response that we know")


def _snapshot(found: _Response, received_at: int, instruments: _InstrumentsOf) -> Reading:
    """A ticker that is not known is left out without a word."""
    reading = Reading()
    parts = found.tickers if found.tickers is not None else [found.ticker]
    for part in parts:
        try:
            row = _TICKER.decode(part)
            reading.events += _of_ticker(row, received_at, instruments)
        except UNREADABLE as error:
            add_fault(reading.faults, f"ticker: {error}")
    if not reading.events and not reading.faults:
        return control("refused", "no such symbol, or nothing of it since midnight")
    return reading


def _of_ticker(row: _Ticker, received_at: int, instruments: _InstrumentsOf) -> list[AnyEvent]:
    market: _Market = (
        "forex"
        if row.ticker.startswith("C:")
        else "crypto"
        if row.ticker.startswith("X:")
        else "stocks"
    )
    feed = market + SNAPSHOT
    symbol, asset_class = instruments(feed)[row.ticker]
    common: dict[str, Any] = {
        "symbol": symbol,
        "asset_class": asset_class,
        "vendor": "massive",
        "feed": feed,
        "origin": "snapshot",
        "created_at": received_at,
    }
    events: list[AnyEvent] = []
    if (trade := row.lastTrade) is not None:
        conditions = codes(trade.c)
        events.append(
            Trade(
                ts_event=epoch_to_ns(trade.t),
                venue=code(trade.x),
                event_id=code(trade.i),
                price=trade.p,
                size=given(trade.s),
                side=SIDES.get(conditions, "") if market == "crypto" else "",
                conditions=conditions,
                **common,
            )
        )
    if (quote := row.lastQuote) is not None:
        bid_price, bid_size = side(quote.p if quote.p is not None else quote.b, quote.s)
        ask_price, ask_size = side(quote.P if quote.P is not None else quote.a, quote.S)
        events.append(
            Quote(
                ts_event=epoch_to_ns(quote.t),
                venue=code(quote.x),
                bid_price=bid_price,
                bid_size=bid_size,
                ask_price=ask_price,
                ask_size=ask_size,
                **common,
            )
        )
    if not row.updated:
        return events
    updated = epoch_to_ns(row.updated)
    # Zeros until the day's first trade; all is cleared at midnight in New York.
    day, before = row.day or _Day(), row.prevDay or _Day()
    prices = [(kind, getattr(day, name)) for kind, name in _KINDS] + [("prev_close", before.c)]
    events += [
        RefPx(ts_event=updated, price=price, kind=kind, **common) for kind, price in prices if price
    ]
    return events


def _last_of(row: _LastOf, received_at: int, instruments: _InstrumentsOf) -> AnyEvent:
    symbol, asset_class = instruments("stocks")[row.T]
    common: dict[str, Any] = {
        "ts_event": epoch_to_ns(row.t),
        "symbol": symbol,
        "asset_class": asset_class,
        "vendor": "massive",
        "feed": "stocks",
        "seq": row.q,
        "origin": "snapshot",
        "created_at": received_at,
    }
    if row.P is None:
        return Trade(
            price=required(row.p, "a trade"),
            size=given(row.s),
            venue=code(row.x),
            event_id=trade_id(row.i if isinstance(row.i, int | str) else None, row.r),
            conditions=codes(row.c),
            **common,
        )
    bid_price, bid_size = side(row.p, row.s)
    ask_price, ask_size = side(row.P, row.S)
    return Quote(
        bid_price=bid_price,
        bid_size=bid_size,
        ask_price=ask_price,
        ask_size=ask_size,
        venue=both_venues(row.x, row.X),
        event_id=str(row.q) if row.q >= 0 else "",
        **common,
    )


def _past(
    found: _Response,
    parts: list[msgspec.Raw],
    received_at: int,
    asked: Subscription,
    instruments: _InstrumentsOf,
) -> Reading:
    """Trades or quotes of one ticker, which only the request and the next page's address name."""
    named = _OF_URL.search(found.next_url)
    symbols = asked.symbols
    ticker = named[1] if named else symbols[0] if len(symbols) == 1 else ""
    if not parts:
        return control("notice", "no results")
    if not ticker:
        return quarantined("results do not say whose they are; their request did")
    symbol, asset_class = instruments("stocks")[ticker]
    reading = Reading()
    for part in parts:
        try:
            row = _PAST.decode(part)
            stamp = row.sip_timestamp or row.participant_timestamp or 0
            common: dict[str, Any] = {
                "ts_event": epoch_to_ns(stamp),
                "symbol": symbol,
                "asset_class": asset_class,
                "vendor": "massive",
                "feed": "stocks",
                "seq": row.sequence_number,
                "origin": "backfill",
                "created_at": received_at,
            }
            reading.events.append(_past_event(row, common))
        except UNREADABLE as error:
            add_fault(reading.faults, f"result: {error}")
    return reading


def _past_event(row: _Past, common: dict[str, Any]) -> AnyEvent:
    if row.price is not None:
        conditions = codes(row.conditions)
        if row.correction:  # its indicator: 0 is a trade as it was
            conditions = f"{conditions} correction:{row.correction}".strip()
        return Trade(
            price=row.price,
            size=given(row.size),
            venue=code(row.exchange),
            event_id=trade_id(row.id, row.trf_id),
            conditions=conditions,
            **common,
        )
    bid_price, bid_size = side(row.bid_price, row.bid_size)
    ask_price, ask_size = side(row.ask_price, row.ask_size)
    return Quote(
        bid_price=bid_price,
        bid_size=bid_size,
        ask_price=ask_price,
        ask_size=ask_size,
        venue=both_venues(row.bid_exchange, row.ask_exchange),
        event_id=str(row.sequence_number) if row.sequence_number >= 0 else "",
        **common,
    )


def _error(found: _Response) -> Control:
    said = str(found.error if found.error is not None else found.message or found.status)[:200]
    plain = said.lower()
    if found.status == "NOT_AUTHORIZED":
        return Control("refused", said)  # the plan does not have it; the key is right
    if "api key" in plain:
        return Control("fatal", said)
    if "maximum requests" in plain or "limit" in plain:
        return Control("transient", said)
    return Control("refused" if found.status == "NOT_FOUND" else "transient", said)


def refusal(status: int, body: bytes) -> Control:
    try:
        found = _RESPONSE.decode(body)
    except UNREADABLE:
        return status_means(status, "")
    if found.error is None and found.message is None and not found.status:
        return status_means(status, "")
    said = _error(found)
    return status_means(status, said.detail) if said.kind == "transient" else said
