"""Kite's binary frames: a count, then each packet behind its length. Big-endian, whole numbers.

| bytes | packet | what is read of it |
|---|---|---|
| 8 | ltp | last price |
| 28, 32 | index | last, high, low, open, close; from 32 the exchange's time |
| 44 | quote | last price and size; open, high, low, close |
| 184 | full | the same, the exchange's time, best bid and ask of five |
| 164 | full, as it was once | the same without any time |

A packet states how things stand, about once a second: last price and size are no print (the next
one may be missing or may be the same), so they become a reference price and never a trade. Volume,
open interest, the average price, the total of all orders and the lower levels of the book are left
to the raw archive. `close` is the vendor's word: in the session, the close of the day before.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from edc_pipeline.events import NAN, AnyEvent, AssetClass, Quote, RefPx
from edc_pipeline.market_day import NS_PER_SECOND
from edc_pipeline.vendors.contract import Decode, Reading, Subscription, control, quarantined
from edc_pipeline.vendors.reading import UNREADABLE, side
from edc_pipeline.vendors.zerodha.tokens import tokens_of

FEED: Final = "ticker"
DAY_PRICES: Final = ("open", "high", "low", "close")


class _Segment(NamedTuple):
    """The lowest byte of a token."""

    venue: str
    asset_class: AssetClass
    divisor: int = 100


# Of derivatives the token does not tell futures from options, nor what lies under them; the dump of
# instruments does (`tokens.read_dump`).
SEGMENTS: Final[dict[int, _Segment]] = {
    1: _Segment("NSE", "equity"),
    2: _Segment("NFO", "future"),
    3: _Segment("CDS", "future", 10_000_000),
    4: _Segment("BSE", "equity"),
    5: _Segment("BFO", "future"),
    6: _Segment("BCD", "future", 10_000),
    7: _Segment("MCX", "future"),
    8: _Segment("MCXSX", "future"),
    9: _Segment("", "index"),  # of which exchange is not told
}

_COUNT: Final = struct.Struct(">H")
_TOKEN: Final = struct.Struct(">I")
# Prices are signed by the documentation (a spread may be worth less than nothing); sizes and times
# are not.
_LTP: Final = struct.Struct(">4xi")
_INDEX: Final = struct.Struct(">4x5i")  # last, high, low, open, close
_QUOTE: Final = struct.Struct(">4xiI16x4i")  # last, its size; open, high, low, close
_TIME: Final = struct.Struct(">I")
_LEVEL: Final = struct.Struct(">Ii")  # quantity, price
# Where a packet has, by its length, the exchange's time and the first of five bids.
TIME_AT: Final = {32: 28, 184: 60}
BIDS_AT: Final = {164: 44, 184: 64}
LEVELS_BYTES: Final = 60  # from the first bid to the first ask

# Of a token: its symbol, and the asset class where it was told.
Names = Callable[[int], tuple[str, AssetClass | None]]


class _Text(msgspec.Struct, frozen=True):
    type: str
    data: msgspec.Raw = msgspec.Raw()


_TEXT: Final = msgspec.json.Decoder(_Text)


def names_of(subscription: Subscription) -> Names:
    symbols = {
        token: symbol
        for symbol, token in tokens_of(subscription.options).items()
        if not subscription.symbols or symbol in subscription.symbols
    }
    classes = subscription.asset_classes

    def name(token: int) -> tuple[str, AssetClass | None]:
        symbol = symbols.get(token)
        return (str(token), None) if symbol is None else (symbol, classes.get(symbol))

    return name


def decoder(subscription: Subscription) -> Decode:
    name = names_of(subscription)

    def decode(frame: bytes, received_at: int) -> Reading:
        if len(frame) == 1:
            return control("heartbeat")
        # A binary frame begins with its number of packets: so many as would begin alike are not
        # sent on one connection.
        if frame[:1] == b"{":
            return _text(frame)
        return _packets(frame, received_at, name)

    return decode


def _text(frame: bytes) -> Reading:
    try:
        said = _TEXT.decode(frame)
    except UNREADABLE as error:
        return quarantined(f"not a Kite message: {error}")
    detail = bytes(said.data)[:200].decode("utf-8", "replace").strip('"')
    match said.type:
        case "error":
            return control("refused", detail)
        case "order":
            return control("not_wanted", "order")
        case "message":
            return control("notice", detail)
    return quarantined(f"type {said.type!r:.40} is not one of order, error, message")


def _packets(frame: bytes, received_at: int, name: Names) -> Reading:
    if len(frame) < _COUNT.size:
        return quarantined("an empty frame")
    (count,) = _COUNT.unpack_from(frame)
    reading, at = Reading(), _COUNT.size
    for number in range(count):
        if at + _COUNT.size > len(frame):
            reading.faults.append(f"ends before packet {number + 1} of {count}")
            return reading
        (length,) = _COUNT.unpack_from(frame, at)
        at += _COUNT.size
        packet = frame[at : at + length]
        if len(packet) < length:
            reading.faults.append(f"ends inside packet {number + 1} of {count}")
            return reading
        at += length
        if fault := _read(packet, received_at, name, reading.events):
            reading.faults.append(f"packet {number + 1} of {count}: {fault}")
    if at < len(frame):
        reading.faults.append(f"{len(frame) - at} bytes behind its last packet")
    if not (reading.events or reading.faults):
        return control("not_wanted", "no prices yet" if count else "no packets")
    return reading


def _read(packet: bytes, received_at: int, name: Names, events: list[AnyEvent]) -> str:
    """Add what the packet says to `events`; returns what is wrong with it."""
    length = len(packet)
    if length not in {8, 28, 32, 44, 164, 184}:
        return f"{length} bytes are none of the packets that are known"
    (token,) = _TOKEN.unpack_from(packet)
    segment = SEGMENTS.get(token & 0xFF)
    if segment is None:
        return f"token {token} is of segment {token & 0xFF}, whose prices nobody can read"
    symbol, asset_class = name(token)
    time = 0
    size: float = NAN
    day: tuple[int, ...] = ()
    if length == 8:
        (last,) = _LTP.unpack(packet)
    elif length in {28, 32}:
        last, high, low, opened, close = _INDEX.unpack_from(packet)
        day = opened, high, low, close
    else:
        last, size, *rest = _QUOTE.unpack_from(packet)
        day = tuple(rest)
    if length in TIME_AT:
        (time,) = _TIME.unpack_from(packet, TIME_AT[length])
    about = _About(
        time * NS_PER_SECOND or received_at,
        symbol,
        asset_class or segment.asset_class,
        segment.venue,
        received_at,
        is_vendors=bool(time),
    )
    divisor = segment.divisor
    if length in BIDS_AT:
        bid_size, bid = _LEVEL.unpack_from(packet, BIDS_AT[length])
        ask_size, ask = _LEVEL.unpack_from(packet, BIDS_AT[length] + LEVELS_BYTES)
        if bid or ask:
            events.append(about.quote(bid / divisor, bid_size, ask / divisor, ask_size))
    if last:
        events.append(about.price("last", last / divisor, size))
    for kind, price in zip(DAY_PRICES, day, strict=False):
        if price:  # 0: there is none yet
            events.append(about.price(kind, price / divisor))
    return ""


class _About(NamedTuple):
    """What all events of a packet have in common."""

    ts_event: int
    symbol: str
    asset_class: AssetClass
    venue: str
    received_at: int
    is_vendors: bool  # the time

    def quote(self, bid: float, bid_size: float, ask: float, ask_size: float) -> Quote:
        bid, bid_size = side(bid, float(bid_size))
        ask, ask_size = side(ask, float(ask_size))
        return Quote(
            ts_event=self.ts_event,
            ts_source="vendor" if self.is_vendors else "receive",
            symbol=self.symbol,
            asset_class=self.asset_class,
            vendor="zerodha",
            feed=FEED,
            venue=self.venue,
            created_at=self.received_at,
            bid_price=bid,
            bid_size=bid_size,
            ask_price=ask,
            ask_size=ask_size,
        )

    def price(self, kind: str, price: float, size: float = NAN) -> RefPx:
        return RefPx(
            ts_event=self.ts_event,
            ts_source="vendor" if self.is_vendors else "receive",
            symbol=self.symbol,
            asset_class=self.asset_class,
            vendor="zerodha",
            feed=FEED,
            venue=self.venue,
            created_at=self.received_at,
            price=price,
            kind=kind,
            size=float(size),
        )
