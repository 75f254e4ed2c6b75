"""Coinbase: Exchange and Advanced Trade over websockets. No account, no key.

Both tell the same trades of the same exchange, by other envelopes: Exchange has the better quotes
(each with the trade it stands behind) and microseconds, Advanced the futures. Trades bear the
maker's side and are told here with the taker's.

Each product is subscribed by messages of its own, so that a refused one costs no other.

Assumed where the documentation is unsure: trade ids of a product have no gaps on either feed (the
heartbeat's last_trade_id is documented as a test for missed messages). What is not known:
whether the timestamp of an Advanced ticker, the only time it has, is the same on two connections;
if not, two connections tell such a quote twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from edc_pipeline.events import EventType
from edc_pipeline.vendors.coinbase import advanced, exchange
from edc_pipeline.vendors.coinbase.advanced import AdvancedReader
from edc_pipeline.vendors.coinbase.exchange import ExchangeReader
from edc_pipeline.vendors.coinbase.many import reader_of_advanced, reader_of_exchange
from edc_pipeline.vendors.coinbase.rows import instruments_of
from edc_pipeline.vendors.coinbase.symbols import check_symbol, to_product, to_symbol
from edc_pipeline.vendors.contract import (
    Decode,
    FeedSpec,
    IdentityRule,
    Reading,
    ReadMany,
    SequenceRule,
    Subscription,
    Vendor,
    Websocket,
    both,
    control,
    quarantined,
)
from edc_pipeline.vendors.reading import UNREADABLE


def decoder(subscription: Subscription) -> Decode:
    """A reader of frames for what was asked for; without a feed, of both."""
    feed, instruments = subscription.feed, instruments_of(subscription)
    of_exchange, of_advanced = ExchangeReader(instruments), AdvancedReader(instruments)
    short = of_advanced.read if feed == "advanced" else of_exchange.read

    def decode(frame: bytes, received_at: int) -> Reading:
        reading = short(frame, received_at)
        if reading is not None:
            return reading
        try:
            content = msgspec.json.decode(frame)
        except UNREADABLE as error:
            return quarantined(f"not a Coinbase message: {error}")
        if isinstance(content, list):
            return exchange.read_list(content)
        if not isinstance(content, dict):
            return quarantined("not a Coinbase message: no object")
        # An error is alike on both.
        if "channel" in content:
            return of_advanced.read_any(content, received_at)
        return of_exchange.read_any(content, received_at)

    return decode


def _reader_of_many(subscription: Subscription) -> ReadMany | None:
    ways = {"exchange": reader_of_exchange, "advanced": reader_of_advanced}
    way = ways.get(subscription.feed)
    return way(instruments_of(subscription)) if way else None


# -- what is asked for ------------------------------------------------------------------------

_CHANNELS: Final[dict[str, tuple[str, ...]]] = {
    "exchange": ("matches", "ticker", "ticker_batch"),
    "advanced": ("market_trades", "ticker"),
}
_DEFAULT_CHANNELS: Final[dict[str, tuple[str, ...]]] = {
    "exchange": ("matches", "ticker"),
    "advanced": ("market_trades", "ticker"),
}


class CoinbaseSession:
    """Subscribes once connected, and compares what is confirmed with what was asked for. Asks for
    other products in place."""

    def __init__(self, subscription: Subscription, _: str) -> None:
        self._feed = subscription.feed
        self._subscription = subscription
        self._channels = list(
            subscription.options.get("channels", _DEFAULT_CHANNELS[subscription.feed])
        )
        self._decode = decoder(subscription)
        self._wanted = self._asked(subscription)
        self._confirmed: set[tuple[str, str]] = set()

    def opening(self) -> Sequence[str]:
        messages = self._messages("subscribe", self._subscription.symbols)
        if self._feed == "advanced":
            # Without heartbeats the connection is closed after 60 to 90 s in which nothing happens.
            messages.insert(0, {"type": "subscribe", "channel": "heartbeats"})
        return [msgspec.json.encode(message).decode() for message in messages]

    def change(self, subscription: Subscription) -> Sequence[str] | None:
        was = self._subscription
        if not self.acknowledged or dict(was.options) != dict(subscription.options):
            return None
        self._subscription = subscription
        self._decode = decoder(both(was, subscription))
        self._wanted = self._asked(subscription)
        self._confirmed &= self._wanted
        more = [symbol for symbol in subscription.symbols if symbol not in was.symbols]
        less = [symbol for symbol in was.symbols if symbol not in subscription.symbols]
        messages = self._messages("subscribe", more) + self._messages("unsubscribe", less)
        return [msgspec.json.encode(message).decode() for message in messages]

    def _asked(self, subscription: Subscription) -> set[tuple[str, str]]:
        products = [to_product(self._feed, symbol) for symbol in subscription.symbols]
        return {(channel, product) for channel in self._channels for product in products}

    def _messages(self, kind: str, symbols: Sequence[str]) -> list[dict[str, Any]]:
        products = [to_product(self._feed, symbol) for symbol in symbols]
        if self._feed == "advanced":
            return [
                {"type": kind, "product_ids": [product], "channel": channel}
                for product in products
                for channel in self._channels
            ]
        channels = [*self._channels, "heartbeat"]
        return [
            {"type": kind, "product_ids": [product], "channels": channels} for product in products
        ]

    @property
    def acknowledged(self) -> bool:
        return self._confirmed >= self._wanted

    def read(self, frame: bytes, received_at: int) -> Reading:
        reading = self._decode(frame, received_at)
        if reading.control is not None and reading.control.kind == "acknowledged":
            message = msgspec.json.decode(frame)
            listed = advanced.subscribed if self._feed == "advanced" else exchange.subscribed
            # Each answer lists all that is subscribed by now [doc]; added up, should it not.
            self._confirmed |= listed(message)
            if not self.acknowledged:
                told = control("notice", reading.control.detail)
                told.seq = reading.seq
                return told
        return reading


def _check_options(feed: str) -> Callable[[Mapping[str, Any]], list[str]]:
    allowed = ", ".join(_CHANNELS[feed])

    def check(options: Mapping[str, Any]) -> list[str]:
        wrong = [f"no such option {name!r}; allowed: channels" for name in options]
        if "channels" not in options:
            return wrong
        wrong = [told for told in wrong if "'channels'" not in told]
        channels = options["channels"]
        if not isinstance(channels, list | tuple) or not channels:
            return [*wrong, f"channels = {channels!r}: a list of {allowed}"]
        unknown = [c for c in channels if c not in _CHANNELS[feed]]
        wrong += [f"channels: {c!r} is none that {feed} has; it has {allowed}" for c in unknown]
        if not unknown and len(set(channels)) < len(channels):
            wrong.append(f"channels = {list(channels)!r}: one is named twice")
        if "ticker" in channels and "ticker_batch" in channels:
            wrong.append("channels: ticker_batch is ticker every 5 s; name one of them")
        return wrong

    return check


_TRADE: Final = IdentityRule("id", "product_id, trade_id")
_TRADE_IDS: Final = SequenceRule("symbol", event_types=("trade",), borne_by="event_id")
_BOTH: Final[tuple[EventType, ...]] = ("trade", "quote")

# A heartbeat comes every second for each product, or for the connection on Advanced.
_HEARTBEAT_S: Final = 1.0
_STALE_AFTER_S: Final = 15.0
# A subscription is confirmed at once, after the last of its messages.
_ACKNOWLEDGES_WITHIN_S: Final = 15.0


def _help(feed: str) -> str:
    allowed, default = ", ".join(_CHANNELS[feed]), ", ".join(_DEFAULT_CHANNELS[feed])
    return f"channels: {allowed} (default {default})"


VENDOR: Final = Vendor(
    name="coinbase",
    title="Coinbase",
    feeds={
        "exchange": FeedSpec(
            name="exchange",
            title="Exchange: matches, and the best bid and offer with each",
            url="wss://ws-feed.exchange.coinbase.com",
            asset_class="crypto",
            event_types=_BOTH,
            identity={
                "trade": _TRADE,
                "quote": IdentityRule("id", "product_id, trade_id, sequence, best bid and ask"),
            },
            sequence=(_TRADE_IDS,),
            check_options=_check_options("exchange"),
            options_help=_help("exchange"),
            heartbeat_s=_HEARTBEAT_S,
            stale_after_s=_STALE_AFTER_S,
            acknowledges_within_s=_ACKNOWLEDGES_WITHIN_S,
            all_symbols=False,
            websocket=Websocket(messages_per_s=20),
        ),
        "advanced": FeedSpec(
            name="advanced",
            title="Advanced Trade: market trades and tickers",
            url="wss://advanced-trade-ws.coinbase.com",
            asset_class="crypto",
            event_types=_BOTH,
            identity={
                "trade": _TRADE,
                "quote": IdentityRule("counted", "product_id, timestamp, best bid and ask"),
            },
            sequence=(SequenceRule("connection", event_types=()), _TRADE_IDS),
            check_options=_check_options("advanced"),
            options_help=_help("advanced"),
            heartbeat_s=_HEARTBEAT_S,
            stale_after_s=_STALE_AFTER_S,
            acknowledges_within_s=_ACKNOWLEDGES_WITHIN_S,
            all_symbols=False,
            websocket=Websocket(messages_per_s=8),
        ),
    },
    decoder=decoder,
    reader_of_many=_reader_of_many,
    open_session=CoinbaseSession,
    check_symbol=check_symbol,
    spell=to_product,
    symbol_of=to_symbol,
    limits="8 messages a second on advanced, 100 on exchange; 750 connections a second an address",
    free_plan="everything, without an account",
)
