"""Zerodha's Kite ticker: last prices, quotes and depth of Indian exchanges, in binary snapshots.

Assumed where the documentation is unsure: any frame of one byte is a heartbeat, whatever the byte;
an `error` among the text frames is a refusal that leaves the connection alive; a last price, or a
day's price, of 0 says that there is none yet.

The key is two: `EDC_ZERODHA_KEY=<api key>:<access token>`. The access token ends every morning, and
the vendor then answers 403 to the handshake; start capture with the new one (`edc capture
--take-over` leaves no hole).

Modes `ltp` and `quote` bring no time, so their events bear ours, and two connections' are told
apart; `full` bears the exchange's, and the same snapshot is the same whoever heard it: a backup
feed of the same mode adds nothing but what the primary missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from edc_pipeline.vendors.contract import (
    Decode,
    FeedSpec,
    IdentityRule,
    Reading,
    Subscription,
    Vendor,
    Websocket,
    both,
)
from edc_pipeline.vendors.zerodha.many import reader_of_many
from edc_pipeline.vendors.zerodha.packets import FEED, decoder
from edc_pipeline.vendors.zerodha.tokens import (
    check_symbol,
    check_tokens,
    missing,
    read_dump,
    tokens_of,
)

MODES: Final = ("ltp", "quote", "full")
_OPTIONS: Final = ("mode", "tokens", "instruments")


class KiteSession:
    """Subscribes once connected; nothing is acknowledged."""

    acknowledged = True

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._decode: Decode = decoder(subscription)

    def opening(self) -> Sequence[str]:
        return self._ask(self._tokens(self._subscription.symbols))

    def _tokens(self, symbols: Iterable[str]) -> list[int]:
        known = tokens_of(self._subscription.options)
        return [known[symbol] for symbol in symbols if symbol in known]

    def _ask(self, tokens: list[int]) -> list[str]:
        mode = self._subscription.options.get("mode", "full")
        return [_message("subscribe", tokens), _message("mode", [mode, tokens])] if tokens else []

    def change(self, subscription: Subscription) -> Sequence[str] | None:
        was = self._subscription
        if subscription.options.get("mode", "full") != was.options.get("mode", "full"):
            return None
        gone = self._tokens(s for s in was.symbols if s not in subscription.symbols)
        self._subscription = subscription
        asked = self._ask(self._tokens(s for s in subscription.symbols if s not in was.symbols))
        self._decode = decoder(both(was, subscription))
        return [*asked, *([_message("unsubscribe", gone)] if gone else [])]

    def read(self, frame: bytes, received_at: int) -> Reading:
        return self._decode(frame, received_at)


def _message(what: str, value: list[Any]) -> str:
    return msgspec.json.encode({"a": what, "v": value}).decode()


_KEY_FORM: Final = "<api key>:<access token>"


def _query(_: Subscription, secret: str) -> Mapping[str, str]:
    api_key, _colon, access_token = secret.partition(":")
    return {"api_key": api_key, "access_token": access_token or api_key}


def _check_secret(secret: str) -> str | None:
    api_key, _, access_token = secret.partition(":")
    if not (api_key and access_token):
        return f"is not {_KEY_FORM}: both, with a colon between"
    return None


def _check_options(options: Mapping[str, Any]) -> list[str]:
    wrong = [f"no such option {k!r}; allowed: mode, tokens, instruments" for k in options
             if k not in _OPTIONS]  # fmt: skip
    if options.get("mode", "full") not in MODES:
        wrong.append(f"mode = {options['mode']!r}: the modes are {', '.join(MODES)}")
    if "tokens" in options and (told := check_tokens(options["tokens"])):
        wrong.append(told)
    return wrong


_STATED: Final = "token, exchange time, "

VENDOR: Final = Vendor(
    name="zerodha",
    title="Zerodha Kite",
    secret="EDC_ZERODHA_KEY",  # noqa: S106 - the variable's name, not its value
    key_form=_KEY_FORM,
    check_secret=_check_secret,
    feeds={
        FEED: FeedSpec(
            name=FEED,
            title="snapshots of price, day and depth: NSE, BSE, NFO, CDS, MCX, indices",
            url="wss://ws.kite.trade/",
            asset_class="equity",
            event_types=("quote", "ref_px"),
            # A snapshot is sent again while nothing changes, and by every connection alike.
            identity={
                "quote": IdentityRule("content", _STATED + "best bid and ask"),
                "ref_px": IdentityRule("content", _STATED + "kind, price, last quantity"),
            },
            check_options=_check_options,
            check_subscription=lambda asked: missing(asked.symbols, asked.options),
            option_files={"instruments": read_dump},
            options_help="mode: ltp, quote, full (default full); tokens: {INFY: 408065};"
            " instruments: Kite's dump of instruments, a CSV file",
            hours_of="india",
            all_symbols=False,
            stale_after_s=30.0,  # it beats about every second
            websocket=Websocket(query=_query, symbols_per_connection=3000, connections=3),
        )
    },
    decoder=decoder,
    open_session=lambda asked, _secret: KiteSession(asked),
    check_symbol=lambda _, symbol: check_symbol(symbol),
    spell=lambda _, symbol: symbol,
    symbol_of=lambda _, spelled: spelled,
    reader_of_many=reader_of_many,
    limits="3,000 instruments a connection, 3 connections a key; the access token ends daily",
)
