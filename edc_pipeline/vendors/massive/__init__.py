"""Massive (Polygon.io): stocks, currencies and coins over websockets, snapshots by REST.

Decided here
- Quote sizes of stocks are kept as sent. By every document they are round lots; since the SEC's
  change of round lots in November 2025 the unit is doubtful, and an example shows 100 and 160. So
  they are no share counts: `QUOTE_SIZE_UNIT` says it, and so do the feed's title and its options.
- `seq` is `q`. It is no gap signal (two trades have been seen to share one, and numbers are left
  out), so no rule of sequence rests on it.
- A trade's `event_id` is `i`, with `/` and `trfi` behind it where it came through a trade reporting
  facility; its exchange `x` is the venue. A quote's is `q`.
- Of a bar (A, AM) four reference prices are kept, stamped with the bar's end, when they are known;
  the volume stands with the close. Those of seconds are kinds of their own (`second_close`).
- `ds`, the size with its fraction, goes before `s`.

Assumed where the documentation is unsure: one connection a key and cluster, and either side of two
may be closed; so the back-off begins anew with data, not with the login. An `error` after the login
refuses a channel, and the connection lives on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from edc_pipeline.events import EventType
from edc_pipeline.vendors.contract import (
    Authorization,
    Budget,
    FeedSpec,
    IdentityRule,
    Polling,
    Reading,
    ReadMany,
    Request,
    Subscription,
    Vendor,
    Websocket,
)
from edc_pipeline.vendors.massive.frames import decoder, instruments_of
from edc_pipeline.vendors.massive.many import reader_of_many
from edc_pipeline.vendors.massive.responses import refusal
from edc_pipeline.vendors.massive.symbols import (
    CLASSES,
    SNAPSHOT,
    check_symbol,
    market_of,
    to_symbol,
    to_ticker,
)
from edc_pipeline.vendors.reading import Change

QUOTE_SIZE_UNIT: Final = "round lots as sent"

_CHANNELS: Final[dict[str, tuple[str, ...]]] = {
    "stocks": ("T", "Q", "AM", "A"),
    "forex": ("C",),
    "crypto": ("XT", "XQ"),
}
_DEFAULT_CHANNELS: Final[dict[str, tuple[str, ...]]] = {**_CHANNELS, "stocks": ("T", "Q")}
_SUBSCRIBED: Final = re.compile(r"(?<!un)subscribed to: ?([^\s;,]+)")

# No heartbeat is known of, and outside hours nothing is said; our own pings find a dead line.
_STALE_AFTER_S: Final = 300.0
# A frame is what has gathered while the server waited for its turn.
_MAX_FRAME_BYTES: Final = 2 << 20
_SYMBOLS_PER_REQUEST: Final = 100


def _reader_of_many(subscription: Subscription) -> ReadMany | None:
    return reader_of_many(subscription.feed, instruments_of(subscription, subscription.feed))


class MassiveSession:
    """Greeted, logs in; logged in, subscribes; each channel is confirmed by itself."""

    def __init__(self, subscription: Subscription, key: str) -> None:
        self._key = key
        self._subscription = subscription
        self._decode = decoder(subscription)
        self._channels = _channels(subscription)
        self._waited_for = set(self._channels)
        self._asked = False

    @property
    def acknowledged(self) -> bool:
        return self._asked and not self._waited_for

    def opening(self) -> Sequence[str]:
        return []

    def read(self, frame: bytes, received_at: int) -> Reading:
        reading = self._decode(frame, received_at)
        said = reading.control
        if said is None:
            return reading
        if said.kind == "notice" and said.detail.startswith("connected:"):
            reading.replies = (_message("auth", self._key),)
        elif said.kind == "acknowledged":
            if "auth_success" in said.detail and not self._asked:
                self._asked = True
                reading.replies = (_message("subscribe", ",".join(self._channels)),)
            self._waited_for.difference_update(_SUBSCRIBED.findall(said.detail))
        return reading

    def change(self, subscription: Subscription) -> Sequence[str] | None:
        change = Change.between(self._subscription, subscription)
        if change is None or not self._asked:
            return None
        self._subscription, self._decode = subscription, decoder(change.both)
        was, self._channels = self._channels, _channels(subscription)
        more = [channel for channel in self._channels if channel not in was]
        less = [channel for channel in was if channel not in self._channels]
        self._waited_for.difference_update(less)
        self._waited_for.update(more)
        asked = (("unsubscribe", less), ("subscribe", more))
        return [_message(action, ",".join(channels)) for action, channels in asked if channels]


def _message(action: str, params: str) -> str:
    return msgspec.json.encode({"action": action, "params": params}).decode()


def _channels(subscription: Subscription) -> tuple[str, ...]:
    feed = subscription.feed
    kinds = subscription.options.get("channels", _DEFAULT_CHANNELS.get(feed, ()))
    tickers = [to_ticker(feed, symbol) for symbol in subscription.symbols] or ["*"]
    return tuple(f"{kind}.{ticker}" for kind in kinds for ticker in tickers)


def _check_options(feed: str) -> Callable[[Mapping[str, Any]], list[str]]:
    allowed = _CHANNELS.get(feed, ())

    def check(options: Mapping[str, Any]) -> list[str]:
        known = "channels" if allowed else "none"
        wrong = [
            f"no such option {name!r}; allowed: {known}"
            for name in options
            if not allowed or name != "channels"
        ]
        if allowed and "channels" in options:
            channels = options["channels"]
            if not isinstance(channels, list | tuple) or not channels:
                wrong.append(f"channels = {channels!r}: a list of {', '.join(allowed)}")
            else:
                wrong += [
                    f"channels: {feed} has no {one!r}; it has: {', '.join(allowed)}"
                    for one in channels
                    if one not in allowed
                ]
        return wrong

    return check


def _requests(subscription: Subscription) -> Sequence[Request]:
    feed, symbols = subscription.feed, subscription.symbols
    market = {"stocks": "stocks", "forex": "forex", "crypto": "crypto"}[market_of(feed)]
    locale = "us" if market == "stocks" else "global"
    path = f"/v2/snapshot/locale/{locale}/markets/{market}/tickers"
    batches = [
        symbols[i : i + _SYMBOLS_PER_REQUEST] for i in range(0, len(symbols), _SYMBOLS_PER_REQUEST)
    ]
    return [
        Request(path, {"tickers": ",".join(to_ticker(feed, s) for s in batch)}, batch)
        for batch in batches
    ]


def _live(name: str, title: str, rules: Mapping[EventType, IdentityRule]) -> FeedSpec:
    channels = ", ".join(_CHANNELS[name])
    return FeedSpec(
        name=name,
        title=title,
        url=f"wss://socket.massive.com/{name}",
        asset_class=CLASSES[name],
        event_types=tuple(rules),
        identity=rules,
        check_options=_check_options(name),
        options_help=f"channels: of {channels} (default {', '.join(_DEFAULT_CHANNELS[name])})",
        stale_after_s=_STALE_AFTER_S,
        acknowledges_within_s=15.0,
        max_frame_bytes=_MAX_FRAME_BYTES,
        websocket=Websocket(connections=1),
    )


def _snapshot(market: str, title: str, *event_types: EventType) -> FeedSpec:
    rules: dict[EventType, IdentityRule] = {
        "trade": IdentityRule("id", "ticker, lastTrade.i"),
        "quote": IdentityRule("content", "ticker, lastQuote: t, p, s, P, S"),
        "ref_px": IdentityRule("content", "ticker, updated, day, prevDay"),
    }
    return FeedSpec(
        name=market + SNAPSHOT,
        title=title,
        url="https://api.massive.com",
        asset_class=CLASSES[market],
        event_types=event_types,
        identity={event_type: rules[event_type] for event_type in event_types},
        check_options=_check_options(market + SNAPSHOT),
        all_symbols=False,
        polling=Polling(
            requests=_requests,
            authorize=lambda key: Authorization(headers={"Authorization": f"Bearer {key}"}),
            every_s=60.0,
            budgets=(Budget(5, "minute"),),
            refusal=refusal,
        ),
    )


VENDOR: Final = Vendor(
    name="massive",
    title="Massive",
    secret="EDC_MASSIVE_TOKEN",  # noqa: S106 - the variable's name, not its value
    feeds={
        "stocks": _live(
            "stocks",
            f"US stocks: trades, best bids and offers (sizes: {QUOTE_SIZE_UNIT}), bars",
            {
                "trade": IdentityRule("id", "sym, x, i, trfi"),
                "quote": IdentityRule("id", "sym, q, t"),
                "ref_px": IdentityRule("counted", "sym, e, o, h, l, c, v"),
            },
        ),
        "forex": _live(
            "forex",
            "currencies: bid and ask, without sizes",
            {"quote": IdentityRule("counted", "p, x, t, a, b")},
        ),
        "crypto": _live(
            "crypto",
            "coins by exchange: trades and top of book",
            {
                "trade": IdentityRule("id", "pair, x, i"),
                "quote": IdentityRule("counted", "pair, x, t, bp, bs, ap, as"),
            },
        ),
        "stocks_snapshot": _snapshot(
            "stocks",
            "US stocks: last trade, last quote, the day's prices",
            "trade",
            "quote",
            "ref_px",
        ),
        "forex_snapshot": _snapshot(
            "forex", "currencies: last quote and the day's prices", "quote", "ref_px"
        ),
        "crypto_snapshot": _snapshot(
            "crypto", "coins: last trade and the day's prices", "trade", "ref_px"
        ),
    },
    decoder=decoder,
    reader_of_many=_reader_of_many,
    open_session=MassiveSession,
    check_symbol=check_symbol,
    spell=to_ticker,
    symbol_of=to_symbol,
    limits="one websocket connection a key and market; REST 5 a minute on the free plan",
    free_plan="REST of the day before, 5 a minute; no websocket, no snapshots",
)
