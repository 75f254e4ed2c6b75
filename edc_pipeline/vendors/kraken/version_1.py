"""Frames of Kraken's first version, as recordings have them: read, never asked for.

`[channel id, data, channel name, pair]`, numbers as text, seconds with a fraction, XBT and XDG. It
numbers no trades, so these are counted. `spread` is the better quote, it has a time; `ticker` has
none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

from edc_pipeline.events import NAN, AnyEvent, AssetClass, Quote, Trade
from edc_pipeline.market_day import NS_PER_SECOND
from edc_pipeline.vendors.contract import Reading, control, quarantined
from edc_pipeline.vendors.reading import Instruments

_Amount = Annotated[float, msgspec.Meta(ge=0, le=1.7976931348623157e308)]
_SIDES: Final[dict[str, Literal["buy", "sell"]]] = {"b": "buy", "s": "sell"}
_ORDERS: Final = {"l": "limit", "m": "market"}
_SECONDS: Final = re.compile(r"(\d{1,10})(?:\.(\d{1,9}))?", re.ASCII)


class _TradeRow(msgspec.Struct, array_like=True):
    price: _Amount
    volume: _Amount
    time: str
    side: Literal["b", "s"]
    order: str = ""


class _SpreadRow(msgspec.Struct, array_like=True):
    bid: _Amount
    ask: _Amount
    time: str
    bid_volume: _Amount = NAN  # older recordings end with the time
    ask_volume: _Amount = NAN


class _TickerSide(msgspec.Struct, array_like=True):
    price: _Amount
    whole_lots: _Amount
    volume: _Amount


class _TickerRow(msgspec.Struct):
    a: _TickerSide
    b: _TickerSide


def read_list(content: list[Any], instruments: Instruments, received_at: int) -> Reading:
    """Raises what msgspec raises, or ValueError, for what is not as documented."""
    if len(content) > 1 and content[1] in ("ownTrades", "openOrders"):
        return control("not_wanted", content[1])
    channel, pair = (content[-2], content[-1]) if len(content) >= 4 else (None, None)
    if not isinstance(channel, str) or not isinstance(pair, str):
        return quarantined("a list, and none of version 1 of Kraken's protocol")
    if channel.startswith(("book", "ohlc")):
        return control("not_wanted", channel[:40])
    if channel == "trade":
        rows = msgspec.convert(content[1], list[_TradeRow], strict=False)
        trades: list[AnyEvent] = [_trade(row, instruments[pair], received_at) for row in rows]
        return Reading(trades) if trades else control("notice", "no trades")
    if channel == "spread":
        spread = msgspec.convert(content[1], _SpreadRow, strict=False)
        bid, ask = (spread.bid, spread.bid_volume), (spread.ask, spread.ask_volume)
        return _quote(_ns(spread.time), bid, ask, instruments[pair], received_at)
    if channel == "ticker":
        row = msgspec.convert(content[1], _TickerRow, strict=False)
        bid, ask = (row.b.price, row.b.volume), (row.a.price, row.a.volume)
        return _quote(0, bid, ask, instruments[pair], received_at)
    return quarantined(f"channel {channel!r:.40} is nothing that we know")


def read_event(message: Mapping[str, Any]) -> Reading:
    match message.get("event"):
        case "heartbeat" | "pong":
            return control("heartbeat")
        case "systemStatus":
            return control("notice", f"status: {message.get('status')}"[:200])
        case "subscriptionStatus" if message.get("status") == "error":
            said = f"{message.get('errorMessage')} ({message.get('pair')})"
            return control("refused", said[:200])
        case "subscriptionStatus":
            return control("notice", f"{message.get('status')}"[:200])
        case "error":
            return control("refused", f"{message.get('errorMessage')}"[:200])
    return quarantined(f"event {message.get('event')!r:.40} is nothing that we know")


def _ns(seconds: str) -> int:
    found = _SECONDS.fullmatch(seconds)
    if found is None:
        raise ValueError(f"{seconds[:40]!r} is no time in seconds")
    whole, fraction = found.groups()
    return int(whole) * NS_PER_SECOND + int((fraction or "").ljust(9, "0"))


def _trade(row: _TradeRow, instrument: tuple[str, AssetClass], received_at: int) -> Trade:
    return Trade(
        ts_event=_ns(row.time),
        symbol=instrument[0],
        asset_class=instrument[1],
        vendor="kraken",
        feed="spot",
        created_at=received_at,
        price=row.price,
        size=row.volume,
        side=_SIDES[row.side],
        conditions=_ORDERS.get(row.order, row.order),
    )


def _quote(
    ns: int,
    bid: tuple[float, float],
    ask: tuple[float, float],
    instrument: tuple[str, AssetClass],
    received_at: int,
) -> Reading:
    if not bid[0] and not ask[0]:
        return control("notice", "an empty book")
    quote = Quote(
        ts_event=ns or received_at,
        ts_source="vendor" if ns else "receive",
        symbol=instrument[0],
        asset_class=instrument[1],
        vendor="kraken",
        feed="spot",
        created_at=received_at,
        bid_price=bid[0] or NAN,
        bid_size=bid[1] if bid[0] else NAN,
        ask_price=ask[0] or NAN,
        ask_size=ask[1] if ask[0] else NAN,
    )
    return Reading([quote])
