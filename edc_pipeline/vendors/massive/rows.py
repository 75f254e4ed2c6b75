"""Massive's events, as its websockets send them: one struct a type, and what each is to us.

Every frame is an array of events, mixed types and symbols. Positions do not matter, unknown fields
are ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from edc_pipeline.events import AnyEvent, Quote, RefPx, Trade
from edc_pipeline.vendors.reading import (
    Fault,
    Instruments,
    Number,
    Stamp,
    epoch_to_ns,
    given,
    side,
)

Code = int | str | None  # an exchange, by its number; text in one example of the documentation
Codes = tuple[int | str, ...] | int | str | None


class _Row(msgspec.Struct, frozen=True, gc=False, tag_field="ev"):
    pass


class StockTrade(_Row, tag="T", frozen=True):
    sym: str
    p: float
    t: Stamp
    s: Number = None
    ds: float | str | None = None  # the size with its fraction, newer
    i: Code = None  # text; a number in relays of 2019
    x: Code = None
    c: Codes = None
    q: int = -1
    trfi: Code = None


class StockQuote(_Row, tag="Q", frozen=True):
    sym: str
    t: Stamp
    bx: Code = None
    bp: Number = None
    bs: Number = None
    ax: Code = None
    ap: Number = None
    as_: Number = msgspec.field(default=None, name="as")
    q: int = -1


class _Bar(_Row, frozen=True):
    sym: str
    e: Stamp
    o: float
    h: float
    l: float  # noqa: E741 - the vendor's name
    c: float
    v: Number = None


class MinuteBar(_Bar, tag="AM", frozen=True):
    pass


class SecondBar(_Bar, tag="A", frozen=True):
    pass


class ForexQuote(_Row, tag="C", frozen=True):
    p: str
    t: Stamp
    x: Code = None
    a: Number = None
    b: Number = None


class CryptoTrade(_Row, tag="XT", frozen=True):
    pair: str
    p: float
    t: Stamp
    s: Number = None
    c: Codes = None
    i: Code = None  # a number by specification, a uuid seen
    x: Code = None


class CryptoQuote(_Row, tag="XQ", frozen=True):
    pair: str
    t: Stamp
    bp: Number = None
    bs: Number = None
    ap: Number = None
    as_: Number = msgspec.field(default=None, name="as")
    x: Code = None


class Status(_Row, tag="status", frozen=True):
    status: str = ""
    message: str | None = None


Row = (
    StockTrade
    | StockQuote
    | MinuteBar
    | SecondBar
    | ForexQuote
    | CryptoTrade
    | CryptoQuote
    | Status
)

FRAME: Final = msgspec.json.Decoder(list[Row])

# Documented, and no event type of ours: bars of currencies and coins, limits up and down, fair
# market values, imbalances, values of indices, books, net order imbalances.
NOT_WANTED: Final = frozenset(
    ("CA", "CAS", "XA", "XAS", "XL2", "LULD", "FMV", "NOI", "V", "I", "B", "BS", "ON", "FA", "FS")
)

SIDES: Final[dict[str, Any]] = {"1": "sell", "2": "buy"}
# The seconds' bars are told apart, or a minute's close could not be found among them.
_KINDS: Final[dict[type[_Bar], tuple[str, ...]]] = {
    MinuteBar: ("open", "high", "low", "close"),
    SecondBar: ("second_open", "second_high", "second_low", "second_close"),
}

Make = Callable[[Any, int], list[AnyEvent]]


def readers(instruments: Callable[[str], Instruments]) -> dict[type[_Row], Make]:
    """Each type's way to events. `instruments` is asked once a market."""
    stocks, forex, crypto = (instruments(feed) for feed in ("stocks", "forex", "crypto"))

    def stock_trade(row: StockTrade, received_at: int) -> list[AnyEvent]:
        symbol, asset_class = stocks[row.sym]
        return [
            Trade(
                ts_event=epoch_to_ns(row.t),
                symbol=symbol,
                asset_class=asset_class,
                vendor="massive",
                feed="stocks",
                venue=code(row.x),
                event_id=trade_id(row.i, row.trfi),
                seq=row.q,
                created_at=received_at,
                price=row.p,
                size=given(row.s) if row.ds is None else exact(row.ds),
                conditions=codes(row.c),
            )
        ]

    def stock_quote(row: StockQuote, received_at: int) -> list[AnyEvent]:
        symbol, asset_class = stocks[row.sym]
        bid_price, bid_size = side(row.bp, row.bs)
        ask_price, ask_size = side(row.ap, row.as_)
        return [
            Quote(
                ts_event=epoch_to_ns(row.t),
                symbol=symbol,
                asset_class=asset_class,
                vendor="massive",
                feed="stocks",
                venue=both_venues(row.bx, row.ax),
                event_id=str(row.q) if row.q >= 0 else "",
                seq=row.q,
                created_at=received_at,
                bid_price=bid_price,
                bid_size=bid_size,
                ask_price=ask_price,
                ask_size=ask_size,
            )
        ]

    def bar(row: _Bar, received_at: int) -> list[AnyEvent]:
        symbol, asset_class = stocks[row.sym]
        kinds = _KINDS[type(row)]
        return [
            RefPx(
                ts_event=epoch_to_ns(row.e),
                symbol=symbol,
                asset_class=asset_class,
                vendor="massive",
                feed="stocks",
                created_at=received_at,
                price=price,
                kind=kind,
                size=size,
            )
            for kind, price, size in (
                (kinds[0], row.o, given(None)),
                (kinds[1], row.h, given(None)),
                (kinds[2], row.l, given(None)),
                (kinds[3], row.c, given(row.v)),
            )
        ]

    def forex_quote(row: ForexQuote, received_at: int) -> list[AnyEvent]:
        symbol, asset_class = forex[row.p]
        return [
            Quote(
                ts_event=epoch_to_ns(row.t),
                symbol=symbol,
                asset_class=asset_class,
                vendor="massive",
                feed="forex",
                venue=code(row.x),
                created_at=received_at,
                bid_price=side(row.b, None)[0],
                bid_size=given(None),
                ask_price=side(row.a, None)[0],
                ask_size=given(None),
            )
        ]

    def crypto_trade(row: CryptoTrade, received_at: int) -> list[AnyEvent]:
        symbol, asset_class = crypto[row.pair]
        conditions = codes(row.c)
        return [
            Trade(
                ts_event=epoch_to_ns(row.t),
                symbol=symbol,
                asset_class=asset_class,
                vendor="massive",
                feed="crypto",
                venue=code(row.x),
                event_id=code(row.i),
                created_at=received_at,
                price=row.p,
                size=given(row.s),
                side=SIDES.get(conditions, ""),
                conditions=conditions,
            )
        ]

    def crypto_quote(row: CryptoQuote, received_at: int) -> list[AnyEvent]:
        symbol, asset_class = crypto[row.pair]
        bid_price, bid_size = side(row.bp, row.bs)
        ask_price, ask_size = side(row.ap, row.as_)
        return [
            Quote(
                ts_event=epoch_to_ns(row.t),
                symbol=symbol,
                asset_class=asset_class,
                vendor="massive",
                feed="crypto",
                venue=code(row.x),
                created_at=received_at,
                bid_price=bid_price,
                bid_size=bid_size,
                ask_price=ask_price,
                ask_size=ask_size,
            )
        ]

    return {
        StockTrade: stock_trade,
        StockQuote: stock_quote,
        MinuteBar: bar,
        SecondBar: bar,
        ForexQuote: forex_quote,
        CryptoTrade: crypto_trade,
        CryptoQuote: crypto_quote,
    }


def code(of: Code) -> str:
    return "" if of is None else str(of)


def codes(of: Codes) -> str:
    if isinstance(of, tuple):
        return " ".join(map(str, of))
    return code(of)


def both_venues(bid: Code, ask: Code) -> str:
    """The two sides of a national best bid and offer may stand on two exchanges: `11/12`."""
    one, other = code(bid), code(ask)
    return f"{one}/{other}" if one and other and one != other else one or other


def trade_id(of: Code, facility: Code) -> str:
    """A trade's id is unique for its symbol and exchange, and on a trade reporting facility (they
    share an exchange number) for that facility."""
    return code(of) if facility in {None, 0, "0", ""} else f"{code(of)}/{code(facility)}"


def exact(size: float | str) -> float:
    if isinstance(size, str):
        size = msgspec.convert(size, float, strict=False)
        if size != size:  # noqa: PLR0124 - NaN, which lax conversion lets through
            raise Fault("ds is NaN")
    return size
