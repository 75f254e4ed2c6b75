"""Finnhub: trades of stocks, currencies and coins over a websocket; quotes by REST.

The websocket has no quotes, no ids, no numbers and no answers to subscriptions; a symbol that
Finnhub does not know is silence. Trades come in batches, several symbols in one frame and not in
the order of time; three identical ones in one frame are three trades.

Assumed where the documentation is unsure: 50 symbols on the free plan; a wrong key is refused with
HTTP 401 at the handshake; a quote of zeros is an unknown symbol. With more than one socket for a
key, the same frame has come up to three times: one connection.
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
from edc_pipeline.vendors.finnhub.frames import decoder, refusal
from edc_pipeline.vendors.finnhub.many import reader_of_many
from edc_pipeline.vendors.finnhub.symbols import (
    CRYPTO_EXCHANGES,
    FX_BROKERS,
    check_symbol,
    to_symbol,
    to_ticker,
)
from edc_pipeline.vendors.finnhub.webhook import webhook_feed
from edc_pipeline.vendors.reading import Change

_OPTIONS: Final = {"crypto_exchange": tuple(CRYPTO_EXCHANGES), "fx_broker": FX_BROKERS}


class FinnhubSession:
    """Asks for each symbol in a message of its own; nothing is ever confirmed."""

    acknowledged = True

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._decode = decoder(subscription)

    def opening(self) -> Sequence[str]:
        return self._messages("subscribe", self._subscription.symbols)

    def change(self, subscription: Subscription) -> Sequence[str] | None:
        change = Change.between(self._subscription, subscription)
        if change is None:
            return None
        self._subscription, self._decode = subscription, decoder(change.both)
        # First what goes: the vendor's limit is on what is held.
        less, more = change.less, change.more
        return [*self._messages("unsubscribe", less), *self._messages("subscribe", more)]

    def _messages(self, action: str, symbols: Sequence[str]) -> list[str]:
        options = self._subscription.options
        asked = ({"type": action, "symbol": to_ticker(symbol, options)} for symbol in symbols)
        return [msgspec.json.encode(message).decode() for message in asked]

    def read(self, frame: bytes, received_at: int) -> Reading:
        return self._decode(frame, received_at)


def _open_session(subscription: Subscription, _: str) -> FinnhubSession:
    return FinnhubSession(subscription)


def _check_options(options: Mapping[str, Any]) -> list[str]:
    wrong = []
    for name, value in options.items():
        allowed = _OPTIONS.get(name)
        if allowed is None:
            wrong.append(f"no such option {name!r}; allowed: {', '.join(_OPTIONS)}")
        elif value not in allowed:
            wrong.append(f"{name} = {value!r}: one of {', '.join(allowed)}")
    return wrong


def _requests(subscription: Subscription) -> Sequence[Request]:
    return [
        Request("/quote", {"symbol": to_ticker(symbol, subscription.options)}, (symbol,))
        for symbol in subscription.symbols
    ]


def _spell(_: str, symbol: str) -> str:
    return to_ticker(symbol, {})


VENDOR: Final = Vendor(
    name="finnhub",
    title="Finnhub",
    secret="EDC_FINNHUB_TOKEN",  # noqa: S106 - the variable's name, not its value
    feeds={
        "trades": FeedSpec(
            name="trades",
            title="trades of stocks, currencies and coins",
            url="wss://ws.finnhub.io",
            asset_class="equity",
            event_types=("trade",),
            identity={"trade": IdentityRule("counted", "s, t, p, v, c")},
            check_options=_check_options,
            options_help="crypto_exchange, fx_broker: whose pairs",
            all_symbols=False,
            heartbeat_s=60.0,
            # A ping each minute or so: the second that is missing says that the line is dead.
            stale_after_s=150.0,
            websocket=Websocket(
                query=lambda _, token: {"token": token},
                symbols_per_connection=50,
                connections=1,
            ),
        ),
        "quote": FeedSpec(
            name="quote",
            title="last price and the day's open, high, low and previous close, by REST",
            url="https://finnhub.io/api/v1",
            asset_class="equity",
            event_types=("ref_px",),
            identity={"ref_px": IdentityRule("content", "symbol, t, c, o, h, l, pc")},
            check_options=_check_options,
            options_help="crypto_exchange, fx_broker: whose pairs",
            all_symbols=False,
            polling=Polling(
                requests=_requests,
                authorize=lambda token: Authorization(headers={"X-Finnhub-Token": token}),
                every_s=60.0,
                budgets=(Budget(60, "minute"), Budget(30, "second")),
                refusal=refusal,
            ),
        ),
        "webhook": webhook_feed(_check_options),
    },
    decoder=decoder,
    reader_of_many=reader_of_many,
    open_session=_open_session,
    check_symbol=lambda _, symbol: check_symbol(symbol),
    spell=_spell,
    symbol_of=lambda _, ticker: to_symbol(ticker),
    limits="free: 50 symbols and one connection; REST 60 a minute, 30 a second",
    free_plan="trades of US stocks (one venue, some 2 % of them), currencies and coins; quotes",
)
