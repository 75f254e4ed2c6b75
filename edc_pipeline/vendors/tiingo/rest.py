"""Tiingo by REST: `/iex/`, `/tiingo/fx/top`, `/tiingo/crypto/top`.

A row states how a ticker stands: quote, last trade, reference price and the day's prices, each with
a time of its own where Tiingo gives one. Rows come in no order, and a ticker that Tiingo does not
know has none. Without the IEX agreement, and outside market hours, nine fields of a stock are null.

Assumed: 100 tickers in a request (documented for another endpoint); 50 requests an hour and 1,000 a
day on the free plan (third-party figures). The best bid and the best ask of a coin stand at
different venues, and may cross: such a quote has no venue.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from edc_pipeline.events import NAN, AnyEvent, AssetClass, Quote, RefPx
from edc_pipeline.vendors.contract import (
    Authorization,
    Budget,
    Decode,
    FeedSpec,
    IdentityRule,
    Polling,
    Reading,
    Request,
    Subscription,
    control,
    quarantined,
)
from edc_pipeline.vendors.iso_time import iso_to_ns
from edc_pipeline.vendors.reading import UNREADABLE, Instruments, Number, side
from edc_pipeline.vendors.tiingo.symbols import to_symbol, to_ticker

_A_REQUEST: Final = 100  # tickers
_PATHS: Final = {
    "iex_rest": "/iex/",  # without the last slash it is a redirect
    "fx_rest": "/tiingo/fx/top",
    "crypto_rest": "/tiingo/crypto/top",
}
_CLASSES: Final[dict[str, AssetClass]] = {
    "iex_rest": "equity",
    "fx_rest": "fx",
    "crypto_rest": "crypto",
}
_MAX_BODY_BYTES: Final = 4 << 20  # 100 rows are 50 kB


class _IexRow(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    ticker: str
    timestamp: str | None = None
    last_sale_timestamp: str | None = None
    quote_timestamp: str | None = None
    open: Number = None
    high: Number = None
    low: Number = None
    tngo_last: Number = None
    last: Number = None
    last_size: Number = None
    bid_size: Number = None
    bid_price: Number = None
    ask_price: Number = None
    ask_size: Number = None
    prev_close: Number = None


class _FxRow(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    ticker: str
    quote_timestamp: str | None = None
    bid_price: Number = None
    bid_size: Number = None
    ask_price: Number = None
    ask_size: Number = None


class _CoinBook(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    quote_timestamp: str | None = None
    last_sale_timestamp: str | None = None
    bid_size: Number = None
    bid_price: Number = None
    bid_exchange: str | None = None
    ask_size: Number = None
    ask_price: Number = None
    ask_exchange: str | None = None
    last_size: Number = None
    last_price: Number = None
    last_exchange: str | None = None


class _CoinRow(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    ticker: str
    top_of_book_data: list[_CoinBook] = []


class _Detail(msgspec.Struct, frozen=True):
    detail: str


_ROWS: Final = msgspec.json.Decoder(list[msgspec.Raw])
_DETAIL: Final = msgspec.json.Decoder(_Detail)
_DAY_PRICES: Final = (
    ("open", "open"),
    ("high", "high"),
    ("low", "low"),
    ("prev_close", "prev_close"),
)


class _Labels:
    """What every event of a row shares."""

    def __init__(self, feed: str, instruments: Instruments, ticker: str, received_at: int) -> None:
        self.symbol, self.asset_class = instruments[ticker.lower()]
        self._feed = feed
        self._received_at = received_at

    def __call__(self, *stamps: str | None, venue: str = "") -> dict[str, Any]:
        """With the first stamp that is given; the time of receipt where none is."""
        stamp = next(filter(None, stamps), None)
        return {
            "ts_event": self._received_at if stamp is None else iso_to_ns(stamp),
            "ts_source": "receive" if stamp is None else "vendor",
            "symbol": self.symbol,
            "asset_class": self.asset_class,
            "vendor": "tiingo",
            "feed": self._feed,
            "venue": venue,
            "created_at": self._received_at,
        }


def _is_given(price: Number) -> bool:
    return price is not None and price == price  # noqa: PLR0124 - NaN


def _iex(row: _IexRow, labels: _Labels) -> list[AnyEvent]:
    events: list[AnyEvent] = []
    bid, ask = side(row.bid_price, row.bid_size), side(row.ask_price, row.ask_size)
    if bid[0] == bid[0] or ask[0] == ask[0]:
        events.append(_quote(labels(row.quote_timestamp, row.timestamp), bid, ask))
    if _is_given(row.last):
        size = NAN if row.last_size is None else row.last_size
        events.append(
            _price(labels(row.last_sale_timestamp, row.timestamp), "last", row.last, size)
        )
    if _is_given(row.tngo_last):
        events.append(_price(labels(row.timestamp), "reference", row.tngo_last))
    for kind, name in _DAY_PRICES:
        if _is_given(price := getattr(row, name)):
            events.append(_price(labels(row.timestamp), kind, price))
    return events


def _fx(row: _FxRow, labels: _Labels) -> list[AnyEvent]:
    bid, ask = side(row.bid_price, row.bid_size), side(row.ask_price, row.ask_size)
    return [_quote(labels(row.quote_timestamp), bid, ask)]


def _coin(row: _CoinRow, labels: _Labels) -> list[AnyEvent]:
    events: list[AnyEvent] = []
    for book in row.top_of_book_data:
        bid, ask = side(book.bid_price, book.bid_size), side(book.ask_price, book.ask_size)
        if bid[0] == bid[0] or ask[0] == ask[0]:
            venue = book.bid_exchange if book.bid_exchange == book.ask_exchange else ""
            events.append(_quote(labels(book.quote_timestamp, venue=_venue(venue)), bid, ask))
        if _is_given(book.last_price):
            venue, size = book.last_exchange, book.last_size
            told = labels(book.last_sale_timestamp, venue=_venue(venue))
            events.append(_price(told, "last", book.last_price, NAN if size is None else size))
    return events


def _venue(name: str | None) -> str:
    """As the websocket writes it: `gdax`."""
    return (name or "").lower()


def _quote(told: dict[str, Any], bid: tuple[float, float], ask: tuple[float, float]) -> Quote:
    return Quote(**told, bid_price=bid[0], bid_size=bid[1], ask_price=ask[0], ask_size=ask[1])


def _price(told: dict[str, Any], kind: str, price: Number, size: float = NAN) -> RefPx:
    assert price is not None
    return RefPx(**told, kind=kind, price=price, size=size)


_READERS: Final[dict[str, tuple[Any, Callable[[Any, _Labels], list[AnyEvent]]]]] = {
    "iex_rest": (msgspec.json.Decoder(_IexRow), _iex),
    "fx_rest": (msgspec.json.Decoder(_FxRow), _fx),
    "crypto_rest": (msgspec.json.Decoder(_CoinRow), _coin),
}


def rest_decoder(subscription: Subscription) -> Decode:
    feed = subscription.feed
    row_decoder, to_events = _READERS[feed]
    spelled = {to_ticker(feed, symbol): symbol for symbol in subscription.symbols}
    instruments = Instruments(
        subscription, spelled, lambda ticker: to_symbol(feed, ticker), lambda _: _CLASSES[feed]
    )

    def decode(frame: bytes, received_at: int) -> Reading:
        try:
            rows = _ROWS.decode(frame)
        except UNREADABLE as error:
            return _said(frame, error)
        reading = Reading()
        for raw in rows:
            try:
                row = row_decoder.decode(raw)
                reading.events += to_events(
                    row, _Labels(feed, instruments, row.ticker, received_at)
                )
            except UNREADABLE as error:
                reading.faults.append(f"{feed} row: {error}")
        if not reading.events and not reading.faults:
            return control("notice", "no prices" if rows else "no rows: no such ticker")
        return reading

    return decode


def _said(frame: bytes, error: Exception) -> Reading:
    try:
        detail = _DETAIL.decode(frame).detail[:200]
    except UNREADABLE:
        return quarantined(f"not a list of Tiingo's rows: {error}")
    return control("transient" if "run over" in detail else "refused", detail)


def _requests(subscription: Subscription) -> Sequence[Request]:
    feed, symbols = subscription.feed, subscription.symbols
    parts = [symbols[at : at + _A_REQUEST] for at in range(0, len(symbols), _A_REQUEST)]
    return [
        Request(_PATHS[feed], {"tickers": ",".join(to_ticker(feed, s) for s in part)}, part)
        for part in parts
    ]


_POLLING: Final = Polling(
    requests=_requests,
    authorize=lambda token: Authorization(headers={"Authorization": f"Token {token}"}),
    every_s=300.0,
    budgets=(Budget(50, "hour"), Budget(1000, "day")),
)


def _feed(name: str, title: str, **identity: str) -> FeedSpec:
    return FeedSpec(
        name=name,
        title=title,
        url="https://api.tiingo.com",
        asset_class=_CLASSES[name],
        event_types=tuple(identity),  # type: ignore[arg-type]
        identity={t: IdentityRule("content", columns) for t, columns in identity.items()},  # type: ignore[misc]
        check_options=lambda options: [
            f"no such option {name!r}; there are none" for name in options
        ],
        all_symbols=False,
        max_frame_bytes=_MAX_BODY_BYTES,
        polling=_POLLING,
    )


REST_FEEDS: Final = {
    "iex_rest": _feed(
        "iex_rest",
        "IEX top of book, last trade, reference price and the day's prices, by REST",
        quote="ticker, quoteTimestamp, bid, bidSize, ask, askSize",
        ref_px="ticker, timestamp, kind, price",
    ),
    "fx_rest": _feed(
        "fx_rest",
        "FX top of book, by REST",
        quote="ticker, quoteTimestamp, bid, bidSize, ask, askSize",
    ),
    "crypto_rest": _feed(
        "crypto_rest",
        "crypto best bid and ask over all venues, and last trade, by REST",
        quote="ticker, quoteTimestamp, bid, bidSize, ask, askSize",
        ref_px="ticker, lastSaleTimestamp, exchange, lastPrice, lastSize",
    ),
}
