"""Financial Modeling Prep: trades and quotes over the legacy websockets, quotes by REST.

Stamps are integer ns that went through a float upstream, so their last two digits are noise; they
are kept as sent. A stamp whose size is that of no unit (the documentation's example has 20 digits)
is quarantined, not guessed at.

Assumed where the documentation is unsure: the login is answered before a subscription is read;
its status stands at the top or in `data`; a heartbeat is any message of an event or type called
so; `B` breaks a prior trade, as Tiingo's B does; of a login with another status than 200 no
reconnect helps, but for "Connected from another location".
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
from edc_pipeline.vendors.fmp.frames import decoder, refusal
from edc_pipeline.vendors.fmp.many import reader_of_many
from edc_pipeline.vendors.fmp.symbols import CLASSES, check_symbol, to_symbol, to_ticker
from edc_pipeline.vendors.reading import Change

_SYMBOLS_PER_REQUEST: Final = 50


class FmpSession:
    """Logs in, and subscribes when that is answered."""

    def __init__(self, subscription: Subscription, key: str) -> None:
        self._subscription = subscription
        self._key = key
        self._decode = decoder(subscription)
        self._logged_in = False
        self._unanswered = 1  # subscriptions; FMP may answer one for each ticker

    @property
    def acknowledged(self) -> bool:
        return self._unanswered == 0

    def opening(self) -> Sequence[str]:
        return [_message("login", apiKey=self._key)]

    def change(self, subscription: Subscription) -> Sequence[str] | None:
        change = Change.between(self._subscription, subscription)
        if change is None or not self._logged_in:
            return None
        self._subscription, self._decode = subscription, decoder(change.both)
        asked = (("unsubscribe", change.less), ("subscribe", change.more))
        messages = [
            _message(event, ticker=[to_ticker(symbol) for symbol in symbols])
            for event, symbols in asked
            if symbols
        ]
        self._unanswered += len(messages)
        return messages

    def read(self, frame: bytes, received_at: int) -> Reading:
        reading = self._decode(frame, received_at)
        said = reading.control
        if said is None:
            return reading
        if said.kind == "acknowledged" and said.detail.startswith("login"):
            if not self._logged_in:
                self._logged_in = True
                tickers = [to_ticker(symbol) for symbol in self._subscription.symbols] or ["*"]
                reading.replies = (_message("subscribe", ticker=tickers),)
        elif said.kind in {"acknowledged", "refused"}:
            self._unanswered = max(0, self._unanswered - 1)
        return reading


def _message(event: str, **data: Any) -> str:
    return msgspec.json.encode({"event": event, "data": data}).decode()


def _check_options(options: Mapping[str, Any]) -> list[str]:
    return [f"no such option {name!r}; FMP has none" for name in options]


def _requests(subscription: Subscription) -> Sequence[Request]:
    """Many symbols a request: the answer says whose each quote is."""
    symbols = subscription.symbols
    batches = [
        symbols[i : i + _SYMBOLS_PER_REQUEST] for i in range(0, len(symbols), _SYMBOLS_PER_REQUEST)
    ]
    return [
        Request(f"/quote/{','.join(to_ticker(s).upper() for s in batch)}", {}, batch)
        for batch in batches
    ]


_TRADE: Final = IdentityRule("counted", "s, e, t, lp, ls, type")
_QUOTE: Final = IdentityRule("counted", "s, e, t, bp, bs, ap, as")


def _feed(name: str, title: str, host: str) -> FeedSpec:
    return FeedSpec(
        name=name,
        title=title,
        url=f"wss://{host}.financialmodelingprep.com",
        asset_class=CLASSES[name],
        event_types=("trade", "quote"),
        identity={"trade": _TRADE, "quote": _QUOTE},
        check_options=_check_options,
        # Clients take 30 s of silence for the end, so a heartbeat comes more often than that.
        heartbeat_s=30.0,
        stale_after_s=90.0,
        acknowledges_within_s=15.0,
        websocket=Websocket(connections=1),
    )


VENDOR: Final = Vendor(
    name="fmp",
    title="Financial Modeling Prep",
    secret="EDC_FMP_TOKEN",  # noqa: S106 - the variable's name, not its value
    feeds={
        "stocks": _feed("stocks", "stocks: top of book, trades and breaks", "websockets"),
        "forex": _feed("forex", "currencies: top of book", "forex"),
        "crypto": _feed("crypto", "coins by exchange: top of book and trades", "crypto"),
        "quote": FeedSpec(
            name="quote",
            title="last price and the day's open, high, low and previous close, by REST",
            url="https://financialmodelingprep.com/api/v3",
            asset_class="equity",
            event_types=("ref_px",),
            identity={
                "ref_px": IdentityRule(
                    "content", "symbol, timestamp, price, open, dayHigh, dayLow, previousClose"
                )
            },
            check_options=_check_options,
            all_symbols=False,
            polling=Polling(
                requests=_requests,
                authorize=lambda key: Authorization(query={"apikey": key}),
                every_s=600.0,
                budgets=(Budget(250, "day"),),
                refusal=refusal,
            ),
        ),
    },
    decoder=decoder,
    reader_of_many=reader_of_many,
    open_session=FmpSession,
    check_symbol=check_symbol,
    spell=lambda _, symbol: to_ticker(symbol),
    symbol_of=lambda feed, ticker: to_symbol(feed, ticker.lower()),
    limits="one websocket connection a key; REST by plan",
    free_plan="REST quotes, 250 requests a day",
)
