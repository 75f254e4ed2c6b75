"""Tiingo: IEX, FX, crypto, equity/intraday (beta) and BOATS over websockets; the first three by
REST as well (`rest.py`).

Assumed where the documentation is unsure: a `B` row is a break of a prior print and carries its
price and size; `U` rows are read as `A` rows, a trade marked `updated`; a `D` trade is marked
`deleted`; an error before the first subscription answer is fatal for the connection (the text for
a bad token is not documented).

An IEX or BOATS row tells its time twice, as text and as a number of nanoseconds. The number is
taken and the text not read, even where they should disagree: the documentation has them as one
instant, and to read both would cost 0.7 µs beside the 1.2 µs of a whole event. A number that is out
of its day by more than the horizon is quarantined like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from edc_pipeline.events import AnyEvent
from edc_pipeline.vendors.contract import (
    Decode,
    FeedSpec,
    IdentityRule,
    Reading,
    ReadMany,
    Session,
    Subscription,
    Vendor,
    both,
    control,
    quarantined,
)
from edc_pipeline.vendors.read_only import ReadOnly
from edc_pipeline.vendors.reading import UNREADABLE
from edc_pipeline.vendors.tiingo.many import reader_of_many
from edc_pipeline.vendors.tiingo.rest import REST_FEEDS, rest_decoder
from edc_pipeline.vendors.tiingo.rows import Change, Labels, RowReader
from edc_pipeline.vendors.tiingo.symbols import check_symbol, to_symbol, to_ticker

_HEARTBEAT_S: Final = 30.0
# Two heartbeats may be late, the third says that the connection is dead (75–90 s are advised).
_STALE_AFTER_S: Final = 80.0
# The answer to a subscription comes at once; a second is long, ten leave room for a slow line.
_ACKNOWLEDGES_WITHIN_S: Final = 10.0

_LEVELS: Final[dict[str, tuple[int, ...]]] = {
    "iex": (0, 5, 6),
    "fx": (5, 7),
    "crypto": (2, 5),
    "equity": (4, 6),
    "boats": (0, 5, 6),
}
_DEFAULT_LEVEL: Final = {"iex": 6, "fx": 5, "crypto": 2, "equity": 6, "boats": 5}

_FEED_OF_SERVICE: Final = {
    "iex": "iex",
    "fx": "fx",
    "crypto_data": "crypto",
    "cons": "equity",
    "boats": "boats",
}
_CHANGES: Final[dict[str, Change]] = {"A": "new", "U": "updated", "D": "deleted"}
_OK: Final = 200


class _Response(msgspec.Struct, frozen=True):
    code: int | str = _OK
    message: str = ""

    @property
    def said(self) -> str:
        return f"{self.code} {self.message}".strip()[:200]


class _Envelope(msgspec.Struct, frozen=True):
    messageType: str  # noqa: N815 - the vendor's name
    service: str | None = None
    response: _Response | None = None
    data: msgspec.Raw = msgspec.Raw()


class _Subscribed(msgspec.Struct, frozen=True):
    subscriptionId: int | str | None = None  # noqa: N815 - the vendor's name


class _Answer(msgspec.Struct, frozen=True):
    data: _Subscribed = _Subscribed()


_ANSWER: Final = msgspec.json.Decoder(_Answer)
_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)

_Rows = Callable[[msgspec.Raw, Labels], list[AnyEvent]]


def decoder(subscription: Subscription) -> Decode:
    """A reader of frames for what was asked for."""
    feed = subscription.feed
    if feed in REST_FEEDS:
        return rest_decoder(subscription)
    any_frame = reader_of_any_frame(subscription)
    one_pass = RowReader(subscription).one_pass(feed, asked_level(subscription))
    if one_pass is None:
        return any_frame
    service = next(name for name, served in _FEED_OF_SERVICE.items() if served == feed)
    decode_frame, to_events = one_pass[0].decode, one_pass[1]

    def decode(frame: bytes, received_at: int) -> Reading:
        """Nearly every frame is a new row of the feed asked for: 1.5 µs instead of 3. Whatever is
        not is read again, with every question asked."""
        try:
            found = decode_frame(frame)
            if found.service == service:
                return Reading(to_events(found.data, Labels(feed, received_at, "new")))
        except UNREADABLE:
            pass
        return any_frame(frame, received_at)

    return decode


def _reader_of_many(subscription: Subscription) -> ReadMany | None:
    feed = subscription.feed
    service = next((name for name, served in _FEED_OF_SERVICE.items() if served == feed), "")
    return reader_of_many(feed, service, asked_level(subscription), RowReader(subscription))


def reader_of_any_frame(subscription: Subscription) -> Decode:
    """Reads whatever Tiingo sends; what can't be read is told."""
    feed = subscription.feed
    rows = RowReader(subscription)
    readers: dict[str, _Rows] = {
        "iex": rows.iex,
        "fx": rows.fx,
        "crypto": rows.crypto,
        "equity": rows.equity,
        "boats": rows.boats,
    }

    def decode(frame: bytes, received_at: int) -> Reading:
        try:
            envelope = _ENVELOPE.decode(frame)
        except UNREADABLE as error:
            return quarantined(f"not a Tiingo message: {error}")
        change = _CHANGES.get(envelope.messageType)
        if change is None:
            return _control(envelope)
        data = envelope.data
        if not bytes(data).lstrip().startswith(b"["):
            if change == "new":
                return quarantined("messageType A without a data array")
            return control("notice", f"messageType {envelope.messageType} without a row")
        served = _FEED_OF_SERVICE.get(envelope.service or "", "" if envelope.service else feed)
        if not served:
            return quarantined(f"service {envelope.service!r:.40} is not one that we know")
        try:
            return Reading(events=readers[served](data, Labels(served, received_at, change)))
        except UNREADABLE as error:
            return quarantined(f"{served} row: {error}")

    return decode


def asked_level(subscription: Subscription) -> object:
    return subscription.options.get("threshold_level", _DEFAULT_LEVEL.get(subscription.feed))


def _control(envelope: _Envelope) -> Reading:
    response = envelope.response or _Response()
    match envelope.messageType:
        case "H":
            return control("heartbeat")
        case "I" if response.code in (_OK, str(_OK)):
            return control("acknowledged", response.said)
        case "I":
            return control("refused", response.said)
        case "E":
            return control("transient", response.said)
    return quarantined(f"messageType {envelope.messageType!r:.40} is not one of A U D I E H")


class TiingoSession:
    """Subscribes once connected; takes every error before the first answer for final."""

    def __init__(self, subscription: Subscription, token: str) -> None:
        self._subscription = subscription
        self._token = token
        self._decode = decoder(subscription)
        self._id: int | str | None = None  # the vendor's, of the subscription
        self._unanswered = 1  # requests

    @property
    def acknowledged(self) -> bool:
        return self._unanswered == 0

    def opening(self) -> Sequence[str]:
        asked = self._subscription
        tickers = _tickers(asked.feed, asked.symbols) or ["*"]
        return [self._request("subscribe", thresholdLevel=asked_level(asked), tickers=tickers)]

    def change(self, subscription: Subscription) -> Sequence[str] | None:
        was = self._subscription
        if self._id is None or not (was.symbols and subscription.symbols):
            return None  # not answered yet, or all tickers are wanted, or were until now
        if subscription.options != was.options:
            return None
        self._subscription = subscription
        self._decode = decoder(both(was, subscription))
        feed, level = subscription.feed, asked_level(subscription)
        more = _tickers(feed, [s for s in subscription.symbols if s not in was.symbols])
        less = _tickers(feed, [s for s in was.symbols if s not in subscription.symbols])
        of = {"subscriptionId": self._id, "thresholdLevel": level}
        requests = [
            self._request(event, **of, tickers=tickers)
            for event, tickers in (("subscribe", more), ("unsubscribe", less))
            if tickers
        ]
        self._unanswered += len(requests)
        return requests

    def _request(self, event: str, **data: Any) -> str:
        message = {"eventName": event, "authorization": self._token, "eventData": data}
        return msgspec.json.encode(message).decode()

    def read(self, frame: bytes, received_at: int) -> Reading:
        reading = self._decode(frame, received_at)
        if reading.control is None:
            return reading
        if reading.control.kind == "acknowledged":
            self._unanswered = max(0, self._unanswered - 1)
            self._id = _subscription_id(frame) or self._id
        elif reading.control.kind == "transient" and self._unanswered:
            if self._id is None:
                return control("fatal", reading.control.detail)
            self._unanswered -= 1  # a change; the subscription itself goes on
            return control("refused", reading.control.detail)
        return reading


def _tickers(feed: str, symbols: Sequence[str]) -> list[str]:
    return [to_ticker(feed, symbol) for symbol in symbols]


def _subscription_id(frame: bytes) -> int | str | None:
    """Only the first answer bears it; the answer to a change tells the tickers."""
    try:
        return _ANSWER.decode(frame).data.subscriptionId
    except UNREADABLE:
        return None


def _open_session(subscription: Subscription, token: str) -> Session:
    if subscription.feed in REST_FEEDS:
        return ReadOnly(decoder(subscription))
    return TiingoSession(subscription, token)


def _check_options(feed: str) -> Callable[[Mapping[str, Any]], list[str]]:
    def check(options: Mapping[str, Any]) -> list[str]:
        wrong = [f"no such option {k!r}; allowed: threshold_level" for k in options]
        if "threshold_level" in options:
            level, allowed = options["threshold_level"], _LEVELS[feed]
            wrong = [w for w in wrong if "'threshold_level'" not in w]
            if level not in allowed or isinstance(level, bool):
                shown = ", ".join(map(str, allowed))
                wrong.append(f"threshold_level = {level!r}: {feed} has the levels {shown}")
        return wrong

    return check


_TRADE: Final = IdentityRule("counted", "ticker, ns, price, size, flags")
_QUOTE: Final = IdentityRule("counted", "ticker, ns, bid, bidSize, ask, askSize")
_REFERENCE: Final = IdentityRule("counted", "ticker, date, price")
_PAIR_QUOTE: Final = IdentityRule("counted", "ticker, exchange, date, bid, bidSize, ask, askSize")
_AGGREGATE: Final = IdentityRule("counted", "ticker, exchange, date, lastSize, lastPrice")


def _feed(name: str, title: str, path: str, **facts: Any) -> FeedSpec:
    levels = ", ".join(map(str, _LEVELS[name]))
    return FeedSpec(
        name=name,
        title=title,
        url=f"wss://api.tiingo.com/{path}",
        check_options=_check_options(name),
        options_help=f"threshold_level: {levels} (default {_DEFAULT_LEVEL[name]})",
        heartbeat_s=_HEARTBEAT_S,
        stale_after_s=_STALE_AFTER_S,
        acknowledges_within_s=_ACKNOWLEDGES_WITHIN_S,
        event_types=tuple(facts["identity"]),
        **facts,
    )


VENDOR: Final = Vendor(
    name="tiingo",
    title="Tiingo",
    secret="EDC_TIINGO_TOKEN",  # noqa: S106 - the variable's name, not its value
    feeds={
        "iex": _feed(
            "iex",
            "IEX top of book, last trades and reference prices",
            "iex",
            asset_class="equity",
            identity={"trade": _TRADE, "quote": _QUOTE, "ref_px": _REFERENCE},
        ),
        "fx": _feed(
            "fx", "FX top of book", "fx", asset_class="fx", identity={"quote": _PAIR_QUOTE}
        ),
        "crypto": _feed(
            "crypto",
            "crypto top of book and trades by exchange",
            "crypto",
            asset_class="crypto",
            identity={"trade": _AGGREGATE, "quote": _PAIR_QUOTE},
        ),
        "equity": _feed(
            "equity",
            "equity reference prices and liquidity (beta)",
            "equity/intraday",
            asset_class="equity",
            identity={"quote": _QUOTE, "ref_px": _REFERENCE},
        ),
        "boats": _feed(
            "boats",
            "Blue Ocean overnight trades and quotes (beta, add-on)",
            "boats",
            asset_class="equity",
            identity={"trade": _TRADE, "quote": _QUOTE},
        ),
        **REST_FEEDS,
    },
    decoder=decoder,
    open_session=_open_session,
    reader_of_many=_reader_of_many,
    check_symbol=check_symbol,
    spell=to_ticker,
    symbol_of=to_symbol,
    limits="one token; websocket connections per token undocumented; bandwidth by plan; REST by"
    " hour and day",
    free_plan="reference prices of IEX, FX, crypto; REST: some 50 requests an hour, 1,000 a day",
)
