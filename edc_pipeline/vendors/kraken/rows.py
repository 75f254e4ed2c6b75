"""Kraken's channels → events. All of `data` is read: it holds every trade of a moment, and on
subscribing the last 50."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

from edc_pipeline.events import NAN, AnyEvent, Quote, Trade
from edc_pipeline.vendors.contract import Reading, Subscription, control, quarantined
from edc_pipeline.vendors.iso_time import iso_to_ns
from edc_pipeline.vendors.kraken.symbols import to_pair, to_symbol
from edc_pipeline.vendors.reading import UNREADABLE, Instruments

# msgspec rounds a JSON number correctly, and holds it to this.
_Amount = Annotated[float, msgspec.Meta(ge=0, le=1.7976931348623157e308)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]

_Change = Literal["snapshot", "update"]


class TradeRow(msgspec.Struct, gc=False):
    symbol: str
    side: Literal["buy", "sell"]  # the taker's
    price: _Amount
    qty: _Amount
    trade_id: _Count
    timestamp: str
    ord_type: str = ""


class TickerRow(msgspec.Struct, gc=False):
    symbol: str
    bid: _Amount | None = None
    bid_qty: _Amount | None = None
    ask: _Amount | None = None
    ask_qty: _Amount | None = None
    timestamp: str | None = None


class TradeFrame(msgspec.Struct, tag="trade", tag_field="channel"):
    type: _Change
    data: list[TradeRow]


class TickerFrame(msgspec.Struct, tag="ticker", tag_field="channel"):
    type: _Change
    data: list[TickerRow]


TYPED: Final = msgspec.json.Decoder(TradeFrame | TickerFrame)

_ROWS: Final[dict[str, Any]] = {"trade": TradeRow, "ticker": TickerRow}
_NOT_WANTED: Final = frozenset(
    {"book", "level3", "ohlc", "instrument", "executions", "balances", "orders", "positions"}
)
# The time of an illiquid pair's ticker: none.
NEVER: Final = "1970-01-01"

_DETAIL_LENGTH: Final = 200


class RowReader:
    """Makes events of the frames of one connection."""

    def __init__(self, subscription: Subscription) -> None:
        self.instruments = Instruments(
            subscription,
            {to_pair("spot", symbol): symbol for symbol in subscription.symbols},
            lambda pair: to_symbol("spot", pair),
            lambda _: "crypto",
        )

    def read(self, frame: bytes, received_at: int) -> Reading | None:
        """The short way: trades or tickers without a fault. None: it is something else."""
        try:
            found = TYPED.decode(frame)
            events: list[AnyEvent] = []
            for row in found.data:
                self._add(events, row, found.type, received_at)
        except UNREADABLE:
            return None
        return Reading(_in_order(events)) if events else None

    def read_any(self, message: Mapping[str, Any], received_at: int) -> Reading:
        """A message that is decoded already, whatever its channel. A faulty row costs itself."""
        channel = message.get("channel")
        if not isinstance(channel, str) or channel not in _ROWS:
            return _other(channel, message)
        change, rows = message.get("type"), message.get("data")
        if change not in ("snapshot", "update") or not isinstance(rows, list):
            return quarantined(f"{channel}: without data, or of no type")
        events: list[AnyEvent] = []
        faults: list[str] = []
        for row in rows:
            try:
                self._add(events, msgspec.convert(row, _ROWS[channel]), change, received_at)
            except UNREADABLE as error:
                faults.append(f"{channel} row: {error}")
        if not events and not faults:
            return control("notice", f"{channel}: an empty {'book' if rows else change}")
        return Reading(_in_order(events), faults=faults)

    def _add(
        self, events: list[AnyEvent], row: TradeRow | TickerRow, change: str, received_at: int
    ) -> None:
        known = self.instruments[row.symbol]
        if isinstance(row, TradeRow):
            event: AnyEvent = Trade(
                ts_event=iso_to_ns(row.timestamp),
                symbol=known[0],
                asset_class=known[1],
                vendor="kraken",
                feed="spot",
                event_id=str(row.trade_id),
                seq=row.trade_id,
                created_at=received_at,
                price=row.price,
                size=row.qty,
                side=row.side,
                conditions=row.ord_type,
            )
        elif row.bid or row.ask:
            stamp = row.timestamp
            told = stamp is not None and not stamp.startswith(NEVER)
            event = Quote(
                ts_event=iso_to_ns(stamp) if stamp is not None and told else received_at,
                ts_source="vendor" if told else "receive",
                symbol=known[0],
                asset_class=known[1],
                vendor="kraken",
                feed="spot",
                created_at=received_at,
                # An empty side is written as zeros.
                bid_price=row.bid or NAN,
                bid_size=row.bid_qty if row.bid and row.bid_qty is not None else NAN,
                ask_price=row.ask or NAN,
                ask_size=row.ask_qty if row.ask and row.ask_qty is not None else NAN,
            )
        else:
            return
        if change == "snapshot":
            event.origin = "snapshot"
        events.append(event)


def _in_order(events: list[AnyEvent]) -> list[AnyEvent]:
    """Told in the order of their numbers, none seems to be missing."""
    if len(events) > 1:
        events.sort(key=lambda event: event.seq)
    return events


def _other(channel: object, message: Mapping[str, Any]) -> Reading:
    match channel:
        case "heartbeat":
            return control("heartbeat")
        case "status":
            return control("notice", _status(message))
        case str() if channel in _NOT_WANTED:
            return control("not_wanted", channel)
        case None:
            return _answer(message)
    return quarantined(f"channel = {channel!r:.40} is nothing that we know")


def _status(message: Mapping[str, Any]) -> str:
    data = message.get("data")
    first = data[0] if isinstance(data, list) and data else None
    system = first.get("system") if isinstance(first, Mapping) else None
    return f"status: {system}"[:_DETAIL_LENGTH]


def _answer(message: Mapping[str, Any]) -> Reading:
    """To something that was asked; one for each symbol of a subscription."""
    method, error = message.get("method"), message.get("error")
    if message.get("success") is False or isinstance(error, str):
        about = message.get("symbol")
        said = f"{method or 'request'}: {error}" + (f" ({about})" if about else "")
        return control("refused", said[:_DETAIL_LENGTH])
    if method == "pong":
        return control("heartbeat")
    if message.get("success") is True:
        return control("acknowledged" if method == "subscribe" else "notice", f"{method}"[:40])
    return quarantined("neither a channel nor an answer")
