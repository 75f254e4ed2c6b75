"""Coinbase Exchange: matches are trades, tickers are quotes.

Every match comes a second time as a ticker with the same trade_id and the taker's side, so trades
are taken from matches alone, and of a ticker the best bid and offer. `last_match` and the first
ticker repeat, on subscribing, a trade that was.
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
from edc_pipeline.vendors.contract import Reading, control, quarantined
from edc_pipeline.vendors.iso_time import iso_to_ns
from edc_pipeline.vendors.reading import UNREADABLE, Instruments


class _MatchRow(msgspec.Struct, tag_field="type", gc=False):
    trade_id: Count
    product_id: str
    price: Amount
    size: Amount
    side: Literal["buy", "sell"]
    time: str
    sequence: Count = -1


class Match(_MatchRow, tag="match"):
    pass


class LastMatch(_MatchRow, tag="last_match"):
    pass


class Ticker(msgspec.Struct, tag="ticker", tag_field="type", gc=False):
    """A product that was never traded has neither trade_id nor time; recordings up to 2022 have no
    sizes."""

    product_id: str
    sequence: Count = -1
    best_bid: Amount | None = None
    best_bid_size: Amount | None = None
    best_ask: Amount | None = None
    best_ask_size: Amount | None = None
    time: str | None = None
    trade_id: Count | None = None


Row = Match | LastMatch | Ticker
TYPED: Final = msgspec.json.Decoder(Row, strict=False)
_EVENTS: Final = frozenset({"match", "last_match", "ticker"})

# Data of other channels: full, level2, level3, status, auctions, rfq_matches, one's own account.
_NOT_WANTED: Final = frozenset(
    {
        *("received", "open", "done", "change", "activate", "noop"),
        *("snapshot", "l2update", "level3", "status", "auction", "rfq_match", "rfq_matches"),
        *("balance", "position", "profile", "margin_profile_update", "subscriptions_v2"),
    }
)
_LEVEL3_ROWS: Final = frozenset({"open", "change", "done", "match", "noop"})
_DETAIL_LENGTH: Final = 200


class ExchangeReader:
    def __init__(self, instruments: Instruments) -> None:
        self._instruments = instruments

    def read(self, frame: bytes, received_at: int) -> Reading | None:
        """The short way: nearly every frame is a match or a ticker. None: it is something else."""
        try:
            event = self._event(TYPED.decode(frame), received_at)
        except UNREADABLE:
            return None
        return None if event is None else Reading([event])

    def read_any(self, message: Mapping[str, Any], received_at: int) -> Reading:
        """A message that is decoded already, whatever its type."""
        kind = message.get("type")
        if isinstance(kind, str) and kind in _EVENTS:
            try:
                row = msgspec.convert(message, Row, strict=False)
                event = self._event(row, received_at)
            except UNREADABLE as error:
                return quarantined(f"{kind}: {error}")
            return Reading([event]) if event is not None else control("notice", "an empty book")
        return _other(kind, message)

    def _event(self, row: Row, received_at: int) -> AnyEvent | None:
        symbol, asset_class = self._instruments[row.product_id]
        if isinstance(row, Ticker):
            return quote(
                (symbol, asset_class),
                "exchange",
                row.time,
                (row.best_bid, row.best_bid_size),
                (row.best_ask, row.best_ask_size),
                received_at,
                "" if row.trade_id is None else str(row.trade_id),
                row.sequence,
            )
        return Trade(
            ts_event=iso_to_ns(row.time),
            symbol=symbol,
            asset_class=asset_class,
            vendor="coinbase",
            feed="exchange",
            event_id=str(row.trade_id),
            seq=row.sequence,
            origin="live" if isinstance(row, Match) else "snapshot",
            created_at=received_at,
            price=row.price,
            size=row.size,
            side=AGGRESSOR_OF_MAKER[row.side],  # type: ignore[arg-type]
        )


def _other(kind: object, message: Mapping[str, Any]) -> Reading:
    match kind:
        case "heartbeat":
            return control("heartbeat")
        case "subscriptions":
            return control("acknowledged", "subscriptions")
        case "error":
            said = (message.get("message"), message.get("reason"))
            return control("refused", ": ".join(str(s) for s in said if s)[:_DETAIL_LENGTH])
        case str() if kind in _NOT_WANTED:
            return control("not_wanted", kind)
        case None if isinstance(message.get("bids"), list) and "asks" in message:
            return control("not_wanted", "order book")  # of the REST interface
    return quarantined(f"type = {kind!r:.40} is nothing that we know")


def read_list(content: list[Any]) -> Reading:
    """level3 writes its rows as arrays: `["open", "BTC-USD", …]`."""
    if content and isinstance(content[0], str) and content[0] in _LEVEL3_ROWS:
        return control("not_wanted", "level3")
    return quarantined("not a Coinbase message: no object")


def subscribed(message: Mapping[str, Any]) -> set[tuple[str, str]]:
    """(channel, product) of all that a `subscriptions` message lists."""
    found: set[tuple[str, str]] = set()
    channels = message.get("channels")
    for channel in channels if isinstance(channels, list) else []:
        if isinstance(channel, dict) and isinstance(channel.get("product_ids"), list):
            # ticker_batch is acknowledged as ticker_1000 [rec].
            name = str(channel.get("name"))
            name = "ticker_batch" if name == "ticker_1000" else name
            found |= {(name, str(product)) for product in channel["product_ids"]}
    return found
