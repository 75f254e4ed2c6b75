"""Finage: quotes of stocks, ETFs and currencies and trades of coins over websockets; the last ones
by REST.

Each account has an address of its own for each market (`url` in feeds.yaml). Finage sends no ids,
no numbers and no heartbeat, and does not answer subscriptions: what it confirms is the connection.

Assumed where the documentation is unsure: after "connected to the adapter", or in older words
"Connected to the server.", it may be asked; asking a second time changes nothing, so it is asked
once. Stamps are read by their size, for ETFs have come in seconds where the others come in ms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from edc_pipeline.events import EventType
from edc_pipeline.vendors.contract import (
    Authorization,
    FeedSpec,
    IdentityRule,
    Polling,
    Reading,
    Request,
    Subscription,
    Vendor,
    Websocket,
)
from edc_pipeline.vendors.finage.frames import decoder, refusal
from edc_pipeline.vendors.finage.many import reader_of_many
from edc_pipeline.vendors.finage.symbols import (
    CLASSES,
    check_symbol,
    market_of,
    to_symbol,
    to_ticker,
)
from edc_pipeline.vendors.reading import Change

# No heartbeat is known of: a thin market may say nothing for minutes, and our own pings find a line
# that is cut.
_STALE_AFTER_S: Final = 300.0


class FinageSession:
    """Waits for the greeting, then asks."""

    def __init__(self, subscription: Subscription, _: str) -> None:
        self._subscription = subscription
        self._decode = decoder(subscription)
        self.acknowledged = False

    def opening(self) -> Sequence[str]:
        return []

    def read(self, frame: bytes, received_at: int) -> Reading:
        reading = self._decode(frame, received_at)
        if (
            reading.control is not None
            and reading.control.kind == "acknowledged"
            and not self.acknowledged
        ):
            self.acknowledged = True
            reading.replies = (self._message("subscribe", self._subscription.symbols),)
        return reading

    def change(self, subscription: Subscription) -> Sequence[str] | None:
        change = Change.between(self._subscription, subscription)
        if change is None or not self.acknowledged:
            return None
        self._subscription, self._decode = subscription, decoder(change.both)
        asked = (("unsubscribe", change.less), ("subscribe", change.more))
        return [self._message(action, symbols) for action, symbols in asked if symbols]

    def _message(self, action: str, symbols: Sequence[str]) -> str:
        feed = self._subscription.feed
        tickers = ",".join(to_ticker(feed, symbol) for symbol in symbols)
        return msgspec.json.encode({"action": action, "symbols": tickers}).decode()


def _check_options(options: Mapping[str, Any]) -> list[str]:
    return [f"no such option {name!r}; Finage has none" for name in options]


_TRADE: Final = IdentityRule("counted", "s, t, p, q")
_QUOTE: Final = IdentityRule("counted", "s, t, a, as, b, bs")
_RULES: Final[dict[EventType, IdentityRule]] = {"trade": _TRADE, "quote": _QUOTE}
# One path a market; ETFs are stocks to REST's path of their own.
_PATHS: Final = {"stocks": "stock", "etf": "etf", "forex": "forex", "crypto": "crypto"}


def _requests(subscription: Subscription) -> Sequence[Request]:
    feed = subscription.feed
    path = _PATHS[market_of(feed)]
    return [
        Request(f"/last/{path}/{to_ticker(feed, symbol)}", {}, (symbol,))
        for symbol in subscription.symbols
    ]


def _live(name: str, title: str, *event_types: EventType) -> FeedSpec:
    return FeedSpec(
        name=name,
        title=title,
        url="",
        asset_class=CLASSES[name],
        event_types=event_types,
        identity={event_type: _RULES[event_type] for event_type in event_types},
        check_options=_check_options,
        all_symbols=False,
        stale_after_s=_STALE_AFTER_S,
        acknowledges_within_s=15.0,
        websocket=Websocket(query=lambda _, key: {"token": key}),
    )


def _last(market: str, title: str, event_type: EventType) -> FeedSpec:
    return FeedSpec(
        name=f"{market}_last",
        title=title,
        url="https://api.finage.co.uk",
        asset_class=CLASSES[market],
        event_types=(event_type,),
        identity={event_type: IdentityRule("content", _RULES[event_type].columns)},
        check_options=_check_options,
        all_symbols=False,
        polling=Polling(
            requests=_requests,
            authorize=lambda key: Authorization(query={"apikey": key}),
            every_s=60.0,
            refusal=refusal,
        ),
    )


VENDOR: Final = Vendor(
    name="finage",
    title="Finage",
    secret="EDC_FINAGE_TOKEN",  # noqa: S106 - the variable's name, not its value
    feeds={
        "stocks": _live("stocks", "US stocks: top of book, and trades", "quote", "trade"),
        "etf": _live("etf", "US ETFs: top of book", "quote"),
        "forex": _live("forex", "currencies: bid and ask", "quote"),
        "crypto": _live("crypto", "coins: trades", "trade"),
        "stocks_last": _last("stocks", "a stock's last quote, by REST", "quote"),
        "etf_last": _last("etf", "an ETF's last quote, by REST", "quote"),
        "forex_last": _last("forex", "a pair's last bid and ask, by REST", "quote"),
        "crypto_last": _last("crypto", "a coin's last trade, by REST", "trade"),
    },
    decoder=decoder,
    reader_of_many=reader_of_many,
    open_session=FinageSession,
    check_symbol=check_symbol,
    spell=to_ticker,
    symbol_of=to_symbol,
    limits="an address and a socket key by account and market; REST by the month, by plan: state"
    " yours in the feed's settings",
)
