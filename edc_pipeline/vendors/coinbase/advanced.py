"""Coinbase Advanced Trade: market_trades are trades, ticker is quotes.

One envelope for all: `channel`, `timestamp`, `sequence_num` (it counts the connection's messages
over all channels, from 0) and a list of events with a list of rows. `side` is the maker's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from edc_pipeline.events import AnyEvent, Trade
from edc_pipeline.vendors.coinbase.rows import (
    AGGRESSOR_OF_MAKER,
    Amount,
    Count,
    quote,
)
from edc_pipeline.vendors.contract import Control, Reading, control, quarantined
from edc_pipeline.vendors.iso_time import iso_to_ns
from edc_pipeline.vendors.reading import UNREADABLE, Fault, Instruments

Change = Literal["snapshot", "update"]


class TradeRow(msgspec.Struct, gc=False):
    trade_id: str | Count  # the same numbers as Exchange has, there written as numbers
    product_id: str
    price: Amount
    size: Amount
    side: str
    time: str


class TickerRow(msgspec.Struct, gc=False):
    """Has no time of its own. `ticker_batch` leaves out the best bid and ask [doc]."""

    product_id: str
    best_bid: Amount | None = None
    best_bid_quantity: Amount | None = None
    best_ask: Amount | None = None
    best_ask_quantity: Amount | None = None


class TradesEvent(msgspec.Struct):
    type: Change
    trades: list[TradeRow]


class TickersEvent(msgspec.Struct):
    type: Change
    tickers: list[TickerRow]


class TradesFrame(msgspec.Struct, tag="market_trades", tag_field="channel"):
    timestamp: str
    sequence_num: Count
    events: list[TradesEvent]


class TickersFrame(msgspec.Struct, tag="ticker", tag_field="channel"):
    timestamp: str
    sequence_num: Count
    events: list[TickersEvent]


TYPED: Final = msgspec.json.Decoder(TradesFrame | TickersFrame, strict=False)

_ROWS: Final[dict[str, tuple[str, Any]]] = {
    "market_trades": ("trades", TradeRow),
    "ticker": ("tickers", TickerRow),
    "ticker_batch": ("tickers", TickerRow),
}
_NOT_WANTED: Final = frozenset(
    {"l2_data", "level2", "candles", "status", "user", "futures_balance_summary"}
)
_DETAIL_LENGTH: Final = 200


class AdvancedReader:
    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments

    def read(self, frame: bytes, received_at: int) -> Reading | None:
        """The short way. None: the frame is something else, or one of its rows is faulty."""
        try:
            found = TYPED.decode(frame)
            events: list[AnyEvent] = []
            for part in found.events:
                rows = part.trades if isinstance(part, TradesEvent) else part.tickers
                for row in rows:
                    self._add(events, row, part.type, found.timestamp, received_at)
        except UNREADABLE:
            return None
        return Reading(_in_order(events), seq=found.sequence_num) if events else None

    def read_any(self, message: Mapping[str, Any], received_at: int) -> Reading:
        """A message that is decoded already, whatever its channel. A faulty row costs itself."""
        channel = message.get("channel")
        if isinstance(channel, str) and channel in _ROWS:
            reading = self._rows(channel, message, received_at)
        else:
            reading = _other(channel, message)
        number = message.get("sequence_num")
        if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 1 << 63:
            reading.seq = number
        return reading

    def _rows(self, channel: str, message: Mapping[str, Any], received_at: int) -> Reading:
        key, of_type = _ROWS[channel]
        events: list[AnyEvent] = []
        faults: list[str] = []
        parts = message.get("events")
        if not isinstance(parts, list):
            return quarantined(f"{channel} without a list of events")
        for part in parts:
            rows = part.get(key) if isinstance(part, dict) else None
            change = part.get("type") if isinstance(part, dict) else None
            if not isinstance(rows, list) or change not in ("snapshot", "update"):
                faults.append(f"{channel}: an event without {key}, or of no type")
                continue
            for row in rows:
                try:
                    typed = msgspec.convert(row, of_type, strict=False)
                    stamp = message.get("timestamp")
                    self._add(events, typed, change, stamp, received_at)
                except UNREADABLE as error:
                    faults.append(f"{channel} row: {error}")
        if not events and not faults:
            return control("notice", f"{channel} without a row that says something")
        return Reading(_in_order(events), faults=faults)

    def _add(
        self,
        events: list[AnyEvent],
        row: TradeRow | TickerRow,
        change: str,
        timestamp: object,
        received_at: int,
    ) -> None:
        instrument = self._instruments[row.product_id]
        if isinstance(row, TradeRow):
            side = AGGRESSOR_OF_MAKER.get(row.side.lower())
            if side is None:
                raise Fault(f"side {row.side!r:.20} is neither BUY nor SELL")
            event: AnyEvent | None = Trade(
                ts_event=iso_to_ns(row.time),
                symbol=instrument[0],
                asset_class=instrument[1],
                vendor="coinbase",
                feed="advanced",
                event_id=str(row.trade_id),
                created_at=received_at,
                price=row.price,
                size=row.size,
                side=side,  # type: ignore[arg-type]
            )
        else:
            if not isinstance(timestamp, str):
                raise Fault("no timestamp")
            event = quote(
                instrument,
                "advanced",
                timestamp,
                (row.best_bid, row.best_bid_quantity),
                (row.best_ask, row.best_ask_quantity),
                received_at,
            )
        if event is not None:
            if change == "snapshot":
                event.origin = "snapshot"
            events.append(event)


def _in_order(events: list[AnyEvent]) -> list[AnyEvent]:
    """Trades come newest first; told in the order of their ids no number seems to be missing."""
    if len(events) > 1:
        events.sort(key=lambda e: (len(e.event_id), e.event_id))
    return events


def _other(channel: object, message: Mapping[str, Any]) -> Reading:
    match channel:
        case "heartbeats":
            return control("heartbeat")
        case "subscriptions":
            return control("acknowledged", "subscriptions")
        case str() if channel in _NOT_WANTED:
            return control("not_wanted", channel)
    if message.get("type") == "error" or "error" in message:
        said = str(message.get("message") or message.get("error"))
        return Reading(control=Control("refused", said[:_DETAIL_LENGTH]))
    return quarantined(f"channel = {channel!r:.40} is nothing that we know")


def subscribed(message: Mapping[str, Any]) -> set[tuple[str, str]]:
    """(channel, product) of all that a `subscriptions` message lists."""
    found: set[tuple[str, str]] = set()
    events = message.get("events")
    for event in events if isinstance(events, list) else []:
        channels = event.get("subscriptions") if isinstance(event, dict) else None
        for channel, products in channels.items() if isinstance(channels, dict) else []:
            if isinstance(products, list):
                found |= {(channel, str(product)) for product in products}
    return found
