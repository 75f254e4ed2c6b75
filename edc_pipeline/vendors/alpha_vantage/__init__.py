"""Alpha Vantage: quotes of stocks, exchange rates and intraday bars, by REST alone.

Assumed where the documentation is unsure: a bar is labelled by its beginning, so the newest is left
out until its interval is over by our clock (where the label is the end, that is one interval late);
New York writes share classes with a dash (`BRK-B`); a bid or ask of `-` is none; of the hour that
comes twice in autumn the first is meant. A rate is neither a trade nor a mid: its kind is
`reference`. `GLOBAL_QUOTE` has a trading day and no time: its events bear the time of receipt.

A key that a response echoes ("We have detected your API key as …") never reaches the disk: the
transport takes it out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from edc_pipeline.events import AssetClass
from edc_pipeline.vendors.alpha_vantage import responses
from edc_pipeline.vendors.contract import (
    Authorization,
    Budget,
    Decode,
    FeedSpec,
    IdentityRule,
    Polling,
    Request,
    Subscription,
    Vendor,
)
from edc_pipeline.vendors.pairs import pair_fault, ticker_fault
from edc_pipeline.vendors.read_only import opens

_INTERVALS: Final = ("1min", "5min", "15min", "30min", "60min")
_DEFAULT_INTERVAL: Final = "5min"
_BARS_A_RESPONSE: Final = 100  # `compact`
_PAIRS: Final = "exchange_rate"


def to_ticker(symbol: str) -> str:
    return symbol.replace(".", "-")


def to_symbol(ticker: str) -> str:
    return ticker.replace("-", ".").upper()


def _decoder(subscription: Subscription) -> Decode:
    spelled = {to_ticker(symbol): symbol for symbol in subscription.symbols}
    return responses.decoder(subscription, to_symbol, spelled)


def _quotes(subscription: Subscription) -> Sequence[Request]:
    return [
        Request("/query", {"function": "GLOBAL_QUOTE", "symbol": to_ticker(symbol)}, (symbol,))
        for symbol in subscription.symbols
    ]


def _rates(subscription: Subscription) -> Sequence[Request]:
    found = []
    for symbol in subscription.symbols:
        base, _, money = symbol.partition("/")
        asked = {"from_currency": base, "to_currency": money}
        found.append(Request("/query", {"function": "CURRENCY_EXCHANGE_RATE", **asked}, (symbol,)))
    return found


def _bars(subscription: Subscription) -> Sequence[Request]:
    options = subscription.options
    extended = "true" if options.get("extended_hours", True) else "false"
    asked = {
        "function": "TIME_SERIES_INTRADAY",
        "interval": options.get("interval", _DEFAULT_INTERVAL),
        "extended_hours": extended,
        "outputsize": "compact",
    }
    return [
        Request("/query", {**asked, "symbol": to_ticker(symbol)}, (symbol,))
        for symbol in subscription.symbols
    ]


def _no_options(options: Mapping[str, Any]) -> list[str]:
    return [f"no such option {name!r}; there are none" for name in options]


def _bar_options(options: Mapping[str, Any]) -> list[str]:
    wrong = []
    for name, value in options.items():
        if name == "interval":
            if value not in _INTERVALS:
                wrong.append(f"interval = {value!r}: one of {', '.join(_INTERVALS)}")
        elif name != "extended_hours":
            wrong.append(f"no such option {name!r}; allowed: interval, extended_hours")
        elif not isinstance(value, bool):
            wrong.append(f"extended_hours = {value!r}: true or false")
    return wrong


_POLLING: Final = Polling(
    requests=_quotes,
    authorize=lambda key: Authorization(query={"apikey": key}),
    every_s=3600.0,
    budgets=(Budget(25, "day"), Budget(1, "second")),
)


def _feed(
    name: str,
    title: str,
    asset_class: AssetClass,
    identity: Mapping[Any, IdentityRule],
    polling: Polling,
    check_options: Callable[[Mapping[str, Any]], list[str]] = _no_options,
    options_help: str = "",
) -> FeedSpec:
    return FeedSpec(
        name=name,
        title=title,
        url="https://www.alphavantage.co",
        asset_class=asset_class,
        event_types=tuple(identity),
        identity=identity,
        check_options=check_options,
        options_help=options_help,
        all_symbols=False,
        any_pairs=name == _PAIRS,
        polling=polling,
    )


VENDOR: Final = Vendor(
    name="alpha_vantage",
    title="Alpha Vantage",
    secret="EDC_ALPHA_VANTAGE_TOKEN",  # noqa: S106 - the variable's name, not its value
    feeds={
        "global_quote": _feed(
            "global_quote",
            "last price of a stock and its day's open, high, low and previous close",
            "equity",
            {"ref_px": IdentityRule("counted", "symbol, kind, price")},
            _POLLING,
        ),
        _PAIRS: _feed(
            _PAIRS,
            "exchange rate, bid and ask of currencies and coins",
            "fx",
            {
                "ref_px": IdentityRule("content", "pair, last refreshed, rate"),
                "quote": IdentityRule("content", "pair, last refreshed, bid, ask"),
            },
            replace(_POLLING, requests=_rates),
        ),
        "intraday": _feed(
            "intraday",
            "open, high, low and close of intraday bars that are over",
            "equity",
            {"ref_px": IdentityRule("content", "symbol, bar, open, high, low, close, volume")},
            replace(
                _POLLING,
                requests=_bars,
                restated=frozenset(),  # each bar's prices are its own
                remembers=_BARS_A_RESPONSE + 28,
            ),
            _bar_options,
            f"interval: {', '.join(_INTERVALS)} (default {_DEFAULT_INTERVAL});"
            " extended_hours: true or false (default true)",
        ),
    },
    decoder=_decoder,
    open_session=opens(_decoder),
    check_symbol=lambda feed, s: pair_fault(s) if feed == _PAIRS else ticker_fault(s),
    spell=lambda _, symbol: to_ticker(symbol),
    symbol_of=lambda _, ticker: to_symbol(ticker),
    limits="a request a symbol; errors come under HTTP 200",
    free_plan="25 requests a day, one a second",
)
