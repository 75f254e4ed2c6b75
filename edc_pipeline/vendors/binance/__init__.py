"""Binance: spot, USD-M and COIN-M futures over websockets. No account, no key.

Streams are subscribed by message, so the address is the same whatever is asked for; the answers to
`/ws` are bare, those to `/stream` (or with the option `combined`) wrapped in
`{"stream", "data"}`. Both are read.

USD-M has two addresses since April 2026, and the older one is gone: `/market` brings aggregate
trades, `/public` book tickers. So these are two feeds. Raw trades of futures are not documented;
clients find them on `/public`, so `usdm_public` offers them, and `usdm` for an address of one's
own that still carries all.

Decided here
- A perpetual is an instrument without a spot delivery: asset class `future`. Its symbol is the
  pair, as Binance has it; feed and asset class tell it from spot. COIN-M sizes are contracts (100
  dollars of BTC, 10 of others), as sent.
- Trades and aggregate trades are the same trades told twice, so a feed has one or the other.
  Their numbers are apart: `event_id` of an aggregate is `a` and its number.
- A trade with `X` other than MARKET (insurance fund, deleveraging) is kept with that condition; one
  of `NA` fills a number and is no trade: its number is heard, no event is made.
- A side of the book at price 0 is an empty one.

Assumed where the documentation is unsure: trades of futures are numbered without gaps, as spot's
are. A symbol that it does not list is accepted, and stays silent [issues]; only what is no stream
at all is refused, and with it all of its message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from edc_pipeline.events import AnyEvent, EventType
from edc_pipeline.vendors.binance.many import reader_of_many
from edc_pipeline.vendors.binance.messages import read_other
from edc_pipeline.vendors.binance.rows import (
    COMBINED_PLAIN_BOOK,
    COMBINED_TYPED,
    NO_TRADE,
    PLAIN_BOOK,
    TYPED,
    Row,
    RowReader,
    TradeRow,
    as_row,
)
from edc_pipeline.vendors.binance.symbols import check_symbol, is_option, to_symbol, to_ticker
from edc_pipeline.vendors.contract import (
    Control,
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

_EVENTS: Final = frozenset({"trade", "aggTrade", "bookTicker"})
_BOOK_KEYS: Final = frozenset({"u", "s", "b", "B", "a", "A"})


def decoder(subscription: Subscription) -> Decode:
    """A reader of frames for what was asked for; without a feed, of any of Binance's frames."""
    any_frame = reader_of_any_frame(subscription)
    to_event = RowReader(subscription).event
    typed, plain_book = TYPED.decode, PLAIN_BOOK.decode
    combined_typed, combined_plain_book = COMBINED_TYPED.decode, COMBINED_PLAIN_BOOK.decode

    book_is_plain = subscription.feed == "spot"

    def decode(frame: bytes, received_at: int) -> Reading:
        """Nearly every frame is one trade or book ticker, known by how it begins: 1.3 µs instead of
        3 to 6. Whatever does not fit is read again, with every question asked."""
        try:
            row: Row
            if frame.startswith(b'{"e"'):
                row = typed(frame)
            elif frame.startswith(b'{"u"'):
                row = plain_book(frame) if book_is_plain else typed(frame)
            elif book_is_plain and b'"data":{"u"' in frame:
                row = combined_plain_book(frame).data
            else:
                row = combined_typed(frame).data
            if not isinstance(row, TradeRow) or row.X != NO_TRADE:
                return Reading([to_event(row, received_at)])
        except UNREADABLE:
            pass
        return any_frame(frame, received_at)

    return decode


def _reader_of_many(subscription: Subscription) -> ReadMany | None:
    return reader_of_many(subscription.feed, RowReader(subscription))


def reader_of_any_frame(subscription: Subscription) -> Decode:
    """Reads whatever Binance sends; what can't be read is told."""
    to_event = RowReader(subscription).event

    def decode(frame: bytes, received_at: int) -> Reading:
        try:
            content = msgspec.json.decode(frame)
        except UNREADABLE as error:
            return quarantined(f"not a Binance message: {error}")
        events: list[AnyEvent] = []
        parts: list[Reading] = []
        for message in _messages(content):
            part = _read_one(message, to_event, received_at)
            events += part.events
            parts.append(part)
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return quarantined("an empty list")
        return Reading(
            events,
            next((part.control for part in parts if part.control is not None), None),
            [fault for part in parts for fault in part.faults],
            refused=tuple(event for part in parts for event in part.refused),
        )

    return decode


def _messages(content: Any) -> Iterator[Any]:
    """Without the wrappers: of combined streams, of one's own account, of `!…@arr` streams."""
    if isinstance(content, dict):
        if "stream" in content and "data" in content:
            content = content["data"]
        elif "subscriptionId" in content and "event" in content:
            content = content["event"]
    if isinstance(content, list):
        yield from content
    else:
        yield content


def _read_one(message: Any, to_event: Callable[[Row, int], AnyEvent], received_at: int) -> Reading:
    if not isinstance(message, dict):
        return quarantined("not a Binance message: no object")
    kind = message.get("e")
    if kind in _EVENTS if isinstance(kind, str) else kind is None and message.keys() >= _BOOK_KEYS:
        ticker = message.get("s")
        if isinstance(ticker, str) and is_option(ticker):
            return control("not_wanted", "an option")
        try:
            row = as_row(message)
        except UNREADABLE as error:
            return quarantined(f"{kind or 'bookTicker'}: {error}")
        event = to_event(row, received_at)
        if isinstance(row, TradeRow) and row.X == NO_TRADE:
            return Reading(control=Control("notice", "a number without a trade"), refused=(event,))
        return Reading([event])
    return read_other(message) or quarantined(f"e = {kind!r:.40} is nothing that we know")


# -- what is asked for ------------------------------------------------------------------------

_STREAMS: Final[dict[str, tuple[str, ...]]] = {
    "spot": ("trade", "aggTrade", "bookTicker"),
    "usdm": ("aggTrade", "trade"),
    "usdm_public": ("bookTicker", "trade"),
    "coinm": ("aggTrade", "trade", "bookTicker"),
}
_DEFAULT_STREAMS: Final[dict[str, tuple[str, ...]]] = {
    "spot": ("trade", "bookTicker"),
    "usdm": ("aggTrade",),
    "usdm_public": ("bookTicker",),
    "coinm": ("aggTrade", "bookTicker"),
}
_TIME_UNITS: Final = ("millisecond", "microsecond")

# A message names so many streams: 1,024 in one would be 20 kB, and frames are limited.
_STREAMS_PER_MESSAGE: Final = 200
# 1,024 streams a connection, and at most two streams a symbol.
_SYMBOLS_PER_CONNECTION: Final = 512
_LASTS_S: Final = 24 * 3600.0
# Binance speaks by ping frames, every 20 s (3 minutes on futures), and not to be heard as frames.
# A busy pair speaks every second; of a quiet one ten minutes may bring nothing.
_STALE_AFTER_S: Final = 600.0
# The answer to a message comes at once; a second is long, ten leave room for a slow line.
_ACKNOWLEDGES_WITHIN_S: Final = 10.0


def asked_streams(subscription: Subscription) -> list[str]:
    feed = subscription.feed
    kinds = subscription.options.get("streams", _DEFAULT_STREAMS[feed])
    return [f"{to_ticker(feed, s)}@{kind}" for s in subscription.symbols for kind in kinds]


class BinanceSession:
    """Subscribes once connected, and counts the answers. Asks for other symbols in place."""

    def __init__(self, subscription: Subscription, _: str) -> None:
        self._subscription = subscription
        self._decode = decoder(subscription)
        self._sent = 0
        self._unanswered = len(self._opening(asked_streams(subscription)))

    def opening(self) -> Sequence[str]:
        return self._numbered(self._opening(asked_streams(self._subscription)))

    def _opening(self, streams: list[str]) -> list[tuple[str, list[Any]]]:
        requests = _in_parts("SUBSCRIBE", streams)
        if self._subscription.options.get("combined"):
            requests.insert(0, ("SET_PROPERTY", ["combined", True]))
        return requests

    def change(self, subscription: Subscription) -> Sequence[str] | None:
        was = self._subscription
        if self._unanswered or dict(was.options) != dict(subscription.options):
            return None
        self._subscription = subscription
        # What is under way is still of the former symbols.
        self._decode = decoder(both(was, subscription))
        before, wanted = asked_streams(was), asked_streams(subscription)
        requests = _in_parts("SUBSCRIBE", [s for s in wanted if s not in set(before)])
        requests += _in_parts("UNSUBSCRIBE", [s for s in before if s not in set(wanted)])
        self._unanswered = len(requests)
        return self._numbered(requests)

    def _numbered(self, requests: list[tuple[str, list[Any]]]) -> list[str]:
        first = self._sent + 1
        self._sent += len(requests)
        return [
            msgspec.json.encode({"method": method, "params": params, "id": number}).decode()
            for number, (method, params) in enumerate(requests, first)
        ]

    @property
    def acknowledged(self) -> bool:
        return self._unanswered == 0

    def read(self, frame: bytes, received_at: int) -> Reading:
        reading = self._decode(frame, received_at)
        said = reading.control
        if said is not None and said.kind == "acknowledged" and self._unanswered:
            self._unanswered -= 1
            if self._unanswered:
                return control("notice", said.detail)
        return reading


def _in_parts(method: str, streams: list[str]) -> list[tuple[str, list[Any]]]:
    return [
        (method, list(streams[first : first + _STREAMS_PER_MESSAGE]))
        for first in range(0, len(streams), _STREAMS_PER_MESSAGE)
    ]


def _check_options(feed: str) -> Callable[[Mapping[str, Any]], list[str]]:
    allowed = ("streams", "combined", *(("time_unit",) if feed == "spot" else ()))

    def check(options: Mapping[str, Any]) -> list[str]:
        wrong = [
            f"no such option {name!r}; allowed: {', '.join(allowed)}"
            for name in options
            if name not in allowed
        ]
        if "streams" in options:
            wrong += _wrong_streams(feed, options["streams"])
        if not isinstance(options.get("combined", False), bool):
            wrong.append(f"combined = {options['combined']!r}: true or false")
        if feed == "spot" and options.get("time_unit", _TIME_UNITS[0]) not in _TIME_UNITS:
            wrong.append(f"time_unit = {options['time_unit']!r}: {' or '.join(_TIME_UNITS)}")
        return wrong

    return check


def _wrong_streams(feed: str, streams: Any) -> list[str]:
    shown = ", ".join(_STREAMS[feed])
    if not isinstance(streams, list | tuple) or not streams:
        return [f"streams = {streams!r}: a list of {shown}"]
    wrong = [
        f"streams: {stream!r} is none that {feed} has; it has {shown}"
        for stream in streams
        if stream not in _STREAMS[feed]
    ]
    if "trade" in streams and "aggTrade" in streams:
        wrong.append("streams: trade and aggTrade tell the same trades; name one of them")
    if not wrong and len(set(streams)) < len(streams):
        wrong.append(f"streams = {list(streams)!r}: one is named twice")
    return wrong


def _query(subscription: Subscription, _: str) -> Mapping[str, str]:
    microseconds = subscription.options.get("time_unit") == "microsecond"
    return {"timeUnit": "MICROSECOND"} if microseconds else {}


_IDENTITY: Final[dict[EventType, IdentityRule]] = {
    "trade": IdentityRule("id", "s, t (trade) or a (aggTrade)"),
    "quote": IdentityRule("id", "s, u"),
}
# Trades and aggregates are each numbered without gaps, book updates only upwards.
_SEQUENCE: Final[dict[EventType, SequenceRule]] = {
    "trade": SequenceRule("symbol", contiguous=True, event_types=("trade",)),
    "quote": SequenceRule("symbol", contiguous=False, event_types=("quote",)),
}


def _feed(
    name: str, title: str, url: str, event_types: tuple[EventType, ...], messages_per_s: float
) -> FeedSpec:
    return FeedSpec(
        name=name,
        title=title,
        url=url,
        asset_class="crypto" if name == "spot" else "future",
        event_types=event_types,
        identity={event_type: _IDENTITY[event_type] for event_type in event_types},
        sequence=tuple(_SEQUENCE[event_type] for event_type in event_types),
        check_options=_check_options(name),
        options_help=(
            f"streams: {', '.join(_STREAMS[name])}"
            f" (default {', '.join(_DEFAULT_STREAMS[name])}); combined: true or false"
            + ("; time_unit: millisecond or microsecond" if name == "spot" else "")
        ),
        stale_after_s=_STALE_AFTER_S,
        acknowledges_within_s=_ACKNOWLEDGES_WITHIN_S,
        all_symbols=False,
        websocket=Websocket(
            query=_query if name == "spot" else None,
            symbols_per_connection=_SYMBOLS_PER_CONNECTION,
            messages_per_s=messages_per_s,
            lasts_s=_LASTS_S,
        ),
    )


VENDOR: Final = Vendor(
    name="binance",
    title="Binance",
    feeds={
        feed.name: feed
        for feed in (
            # 5 messages a second may come in on spot, 10 on futures, pongs among them.
            _feed(
                "spot",
                "spot trades and best bid and offer",
                "wss://stream.binance.com:9443/ws",
                ("trade", "quote"),
                4,
            ),
            _feed(
                "usdm",
                "USD-M futures: aggregate trades",
                "wss://fstream.binance.com/market/ws",
                ("trade",),
                8,
            ),
            _feed(
                "usdm_public",
                "USD-M futures: best bid and offer",
                "wss://fstream.binance.com/public/ws",
                ("trade", "quote"),
                8,
            ),
            _feed(
                "coinm",
                "COIN-M futures: trades and best bid and offer, sizes in contracts",
                "wss://dstream.binance.com/ws",
                ("trade", "quote"),
                8,
            ),
        )
    },
    decoder=decoder,
    open_session=BinanceSession,
    reader_of_many=_reader_of_many,
    check_symbol=check_symbol,
    spell=to_ticker,
    symbol_of=to_symbol,
    limits="1,024 streams a connection, 300 connections per 5 minutes and address, 24 h each",
    free_plan="everything, without an account",
)
