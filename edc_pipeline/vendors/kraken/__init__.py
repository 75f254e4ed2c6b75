"""Kraken, version 2 of its websocket: spot trades and best bids and offers. No account, no key.

Tickers are asked for with `event_trigger: bbo`: by default they follow trades only, and quotes are
stale. A ticker of an illiquid pair may be zeros, with a time of 1970: an empty side is NaN, a time
that is none is ours, and without either side there is no quote.

The last 50 trades come again with every subscription (origin `snapshot`), which fills short gaps:
they are the same events by their ids. `conditions` is the taker's order type.

Tokenised stocks (`AAPLx/USD`) are read, in upper case, but can't be asked for: their spelling mixes
cases. Frames of version 1 are read where a recording has them (`version_1.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

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
from edc_pipeline.vendors.kraken import version_1
from edc_pipeline.vendors.kraken.many import reader_of_many
from edc_pipeline.vendors.kraken.rows import RowReader
from edc_pipeline.vendors.kraken.symbols import check_symbol, to_pair, to_symbol
from edc_pipeline.vendors.reading import UNREADABLE

_CHANNELS: Final = ("trade", "ticker")

# A heartbeat comes every second once something is subscribed. Kraken advises to reconnect after 5 s
# without any frame; twice that leaves room for a slow line.
_HEARTBEAT_S: Final = 1.0
_STALE_AFTER_S: Final = 10.0
_ACKNOWLEDGES_WITHIN_S: Final = 15.0
# A message names so many pairs: an answer comes for each, and frames are limited.
_PAIRS_PER_MESSAGE: Final = 100


def decoder(subscription: Subscription) -> Decode:
    rows = RowReader(subscription)

    def decode(frame: bytes, received_at: int) -> Reading:
        reading = rows.read(frame, received_at)
        if reading is not None:
            return reading
        try:
            message = msgspec.json.decode(frame)
        except UNREADABLE as error:
            return quarantined(f"not a Kraken message: {error}")
        if isinstance(message, list):
            try:
                return version_1.read_list(message, rows.instruments, received_at)
            except UNREADABLE as error:
                return quarantined(f"version 1: {error}")
        if not isinstance(message, dict):
            return quarantined("not a Kraken message: no object")
        if "event" in message and "channel" not in message:
            return version_1.read_event(message)
        return rows.read_any(message, received_at)

    return decode


def _reader_of_many(subscription: Subscription) -> ReadMany | None:
    return reader_of_many(RowReader(subscription)) if subscription.feed == "spot" else None


class KrakenSession:
    """Subscribes once connected, and waits for an answer about each symbol. Asks for other symbols
    in place."""

    def __init__(self, subscription: Subscription, _: str) -> None:
        self._subscription = subscription
        self._channels = tuple(subscription.options.get("channels", _CHANNELS))
        self._decode = decoder(subscription)
        self._sent = 0
        self._unanswered = self._asked(subscription.symbols)

    def opening(self) -> Sequence[str]:
        return self._messages("subscribe", self._subscription.symbols)

    def change(self, subscription: Subscription) -> Sequence[str] | None:
        was = self._subscription
        if self._unanswered or dict(was.options) != dict(subscription.options):
            return None
        self._subscription = subscription
        self._decode = decoder(both(was, subscription))
        more = [symbol for symbol in subscription.symbols if symbol not in was.symbols]
        less = [symbol for symbol in was.symbols if symbol not in subscription.symbols]
        self._unanswered = self._asked(more)
        return self._messages("subscribe", more) + self._messages("unsubscribe", less)

    def _asked(self, symbols: Sequence[str]) -> set[tuple[str, str]]:
        return {(channel, to_pair("spot", s)) for channel in self._channels for s in symbols}

    def _messages(self, method: str, symbols: Sequence[str]) -> list[str]:
        pairs = [to_pair("spot", symbol) for symbol in symbols]
        messages: list[str] = []
        for channel in self._channels:
            params: dict[str, Any] = {"channel": channel}
            if channel == "ticker":
                params["event_trigger"] = "bbo"
            if method == "subscribe":
                params["snapshot"] = bool(self._subscription.options.get("snapshot", True))
            for first in range(0, len(pairs), _PAIRS_PER_MESSAGE):
                self._sent += 1
                part = params | {"symbol": pairs[first : first + _PAIRS_PER_MESSAGE]}
                asked = {"method": method, "params": part, "req_id": self._sent}
                messages.append(msgspec.json.encode(asked).decode())
        return messages

    @property
    def acknowledged(self) -> bool:
        return not self._unanswered

    def read(self, frame: bytes, received_at: int) -> Reading:
        reading = self._decode(frame, received_at)
        if reading.control is not None and reading.control.kind == "acknowledged":
            result = msgspec.json.decode(frame).get("result")
            if isinstance(result, Mapping):
                self._unanswered.discard((str(result.get("channel")), str(result.get("symbol"))))
            if self._unanswered:
                return control("notice", reading.control.detail)
        return reading


def _check_options(options: Mapping[str, Any]) -> list[str]:
    wrong = [
        f"no such option {name!r}; allowed: channels, snapshot"
        for name in options
        if name not in ("channels", "snapshot")
    ]
    if not isinstance(options.get("snapshot", True), bool):
        wrong.append(f"snapshot = {options['snapshot']!r}: true or false")
    if "channels" not in options:
        return wrong
    channels, allowed = options["channels"], ", ".join(_CHANNELS)
    if not isinstance(channels, list | tuple) or not channels:
        return [*wrong, f"channels = {channels!r}: a list of {allowed}"]
    unknown = [c for c in channels if c not in _CHANNELS]
    wrong += [f"channels: {c!r} is none that spot has; it has {allowed}" for c in unknown]
    if not unknown and len(set(channels)) < len(channels):
        wrong.append(f"channels = {list(channels)!r}: one is named twice")
    return wrong


VENDOR: Final = Vendor(
    name="kraken",
    title="Kraken",
    feeds={
        "spot": FeedSpec(
            name="spot",
            title="spot trades and best bids and offers",
            url="wss://ws.kraken.com/v2",
            asset_class="crypto",
            event_types=("trade", "quote"),
            identity={
                "trade": IdentityRule("id", "symbol, trade_id"),
                "quote": IdentityRule("counted", "symbol, timestamp, bid, ask and quantities"),
            },
            sequence=(SequenceRule("symbol", event_types=("trade",)),),
            check_options=_check_options,
            options_help=(
                "channels: trade, ticker (default both); snapshot: true (the last 50 trades on"
                " each subscription) or false"
            ),
            heartbeat_s=_HEARTBEAT_S,
            stale_after_s=_STALE_AFTER_S,
            acknowledges_within_s=_ACKNOWLEDGES_WITHIN_S,
            all_symbols=False,
            any_pairs=True,
            websocket=Websocket(messages_per_s=5),
        )
    },
    decoder=decoder,
    reader_of_many=_reader_of_many,
    open_session=KrakenSession,
    check_symbol=check_symbol,
    spell=to_pair,
    symbol_of=to_symbol,
    limits="some 150 connections per 10 minutes and address (not documented)",
    free_plan="everything, without an account",
)
