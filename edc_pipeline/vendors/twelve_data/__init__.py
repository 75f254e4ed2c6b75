"""Twelve Data: prices over a websocket, quotes by REST. Both are reference prices: no sizes, no
ids, no numbers.

Assumed where the documentation is unsure: a price is neither said to be a trade nor a mid, so its
kind is `reference`; errors may come without `event`, and then their code is read as an HTTP status
(401 and 403 are final, 429 and 5xx pass). A fourth connection of one key closes an older one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from edc_pipeline.vendors.contract import (
    Authorization,
    Budget,
    FeedSpec,
    IdentityRule,
    Polling,
    Reading,
    Request,
    Subscription,
    Vendor,
    Websocket,
)
from edc_pipeline.vendors.reading import Change
from edc_pipeline.vendors.twelve_data.frames import decoder
from edc_pipeline.vendors.twelve_data.many import reader_of_many
from edc_pipeline.vendors.twelve_data.symbols import check_symbol, to_symbol


class TwelveDataSession:
    """Subscribes once connected; accepted when nothing of it has failed."""

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._decode = decoder(subscription)
        self._unanswered = 1

    @property
    def acknowledged(self) -> bool:
        return self._unanswered == 0

    def opening(self) -> Sequence[str]:
        return [_message("subscribe", self._subscription.symbols)]

    def change(self, subscription: Subscription) -> Sequence[str] | None:
        change = Change.between(self._subscription, subscription)
        if change is None:
            return None
        self._subscription, self._decode = subscription, decoder(change.both)
        asked = (("unsubscribe", change.less), ("subscribe", change.more))
        messages = [_message(action, symbols) for action, symbols in asked if symbols]
        self._unanswered += len(messages)
        return messages

    def read(self, frame: bytes, received_at: int) -> Reading:
        reading = self._decode(frame, received_at)
        # A refusal is an answer too, and an alarm of its own.
        if reading.control is not None and reading.control.kind in {"acknowledged", "refused"}:
            self._unanswered = max(0, self._unanswered - 1)
        return reading


def _message(action: str, symbols: Sequence[str]) -> str:
    asked = {"action": action, "params": {"symbols": ",".join(symbols)}}
    return msgspec.json.encode(asked).decode()


def _open_session(subscription: Subscription, _: str) -> TwelveDataSession:
    return TwelveDataSession(subscription)


def _check_options(options: Mapping[str, Any]) -> list[str]:
    return [f"no such option {name!r}; Twelve Data has none" for name in options]


def _requests(subscription: Subscription) -> Sequence[Request]:
    """One a symbol: in a batch each symbol would cost a credit all the same."""
    return [Request("/quote", {"symbol": s}, (s,)) for s in subscription.symbols]


VENDOR: Final = Vendor(
    name="twelve_data",
    title="Twelve Data",
    secret="EDC_TWELVE_DATA_TOKEN",  # noqa: S106 - the variable's name, not its value
    feeds={
        "price": FeedSpec(
            name="price",
            title="prices of stocks, currencies and coins as they change",
            url="wss://ws.twelvedata.com/v1/quotes/price",
            asset_class="equity",
            event_types=("ref_px",),
            identity={"ref_px": IdentityRule("counted", "symbol, timestamp, price, exchange")},
            check_options=_check_options,
            all_symbols=False,
            heartbeat_s=10.0,  # it answers ours
            stale_after_s=35.0,
            acknowledges_within_s=10.0,
            websocket=Websocket(
                query=lambda _, key: {"apikey": key},
                connections=3,
                keepalive=('{"action":"heartbeat"}', 10.0),
            ),
        ),
        "quote": FeedSpec(
            name="quote",
            title="last price and the day's open, high, low and previous close, by REST",
            url="https://api.twelvedata.com",
            asset_class="equity",
            event_types=("ref_px",),
            identity={
                "ref_px": IdentityRule(
                    "content", "symbol, last_quote_at or timestamp, close, open, high, low"
                )
            },
            check_options=_check_options,
            all_symbols=False,
            polling=Polling(
                requests=_requests,
                authorize=lambda key: Authorization(headers={"Authorization": f"apikey {key}"}),
                every_s=900.0,
                budgets=(Budget(8, "minute"), Budget(800, "day")),
            ),
        ),
    },
    decoder=decoder,
    reader_of_many=reader_of_many,
    open_session=_open_session,
    check_symbol=lambda _, symbol: check_symbol(symbol),
    spell=lambda _, symbol: symbol,
    symbol_of=lambda _, ticker: to_symbol(ticker),
    limits="3 connections (a 4th closes an older), 100 client events; REST by plan, one credit"
    " a symbol",
    free_plan="REST quotes, 8 a minute and 800 a day; the websocket for a few trial symbols",
)
