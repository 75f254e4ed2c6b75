"""TradingView: alerts, posted to a webhook. Unsigned: the secret stands in the path or the body.

The alert's message is the user's own; this reads JSON with these keys (others are left alone),
and TradingView fills the placeholders in as text, so all of them belong in quotes:

    {"secret": "…", "ticker": "{{ticker}}", "exchange": "{{exchange}}", "close": "{{close}}",
     "volume": "{{volume}}", "time": "{{time}}", "timenow": "{{timenow}}"}

is a reference price of kind `close`, at `timenow`, when the alert fired. `time` is the beginning of
its bar and is not when this price was: without `timenow` the time of receipt is taken. With a
strategy's order besides,

    "action": "{{strategy.order.action}}", "order_price": "{{strategy.order.price}}",
    "contracts": "{{strategy.order.contracts}}", "order_id": "{{strategy.order.id}}"

it is the fill of that order in TradingView's broker emulator: a trade with the condition
`strategy`, no print of an exchange. The order's name is no id, it comes again, and stands among the
conditions.

The address is `/<feed>/<secret>`, or `/<feed>` with `"secret"` in the message; the secret is in no
file, its place in the body is starred out before the frame is kept. A body that is no JSON comes as
text/plain: it is quarantined with its bytes, and if a placeholder outside quotes was filled with
NaN the reason says which. Two deliveries with the same body are one only where it tells `timenow`,
to the second: identical alerts without it are taken each.

Addresses: TradingView calls from four; the option `sources` sets others, `[]` allows any (an alert
that a proxy passes on shows the proxy's, see `webhook.proxy_header`).

Assumed where the documentation is unsure: `timenow` is ISO 8601 in UTC; which exchanges trade
currencies and coins, by their names; any other ticker is a stock unless `asset_classes` says so.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from edc_pipeline.events import NAN, AnyEvent, AssetClass, RefPx, Trade
from edc_pipeline.vendors.contract import (
    Decode,
    Delivery,
    FeedSpec,
    IdentityRule,
    Reading,
    Subscription,
    Vendor,
    Webhook,
    quarantined,
)
from edc_pipeline.vendors.iso_time import iso_to_ns
from edc_pipeline.vendors.pairs import split_pair
from edc_pipeline.vendors.proof import check_secret, digest_of
from edc_pipeline.vendors.read_only import opens
from edc_pipeline.vendors.reading import Fault

SOURCES: Final = ("52.89.214.238", "34.212.75.30", "54.218.53.128", "52.32.178.7")

_FX: Final = frozenset(
    [
        "FX",
        "FX_IDC",
        "OANDA",
        "FOREXCOM",
        "SAXO",
        "ICMARKETS",
        "PEPPERSTONE",
        "FXCM",
        "CAPITALCOM",
        "EIGHTCAP",
    ]
)
_CRYPTO: Final = frozenset(
    [
        "BINANCE",
        "BINANCEUS",
        "BITFINEX",
        "BITGET",
        "BITSTAMP",
        "BYBIT",
        "COINBASE",
        "CRYPTO",
        "CRYPTOCOM",
        "GEMINI",
        "HTX",
        "KRAKEN",
        "KUCOIN",
        "MEXC",
        "OKX",
        "UPBIT",
    ]
)
_CURRENCIES_LENGTH: Final = 6
_SYMBOL: Final = re.compile(r"[A-Z0-9._!&/-]{1,40}", re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d{1,3})?", re.ASCII)
# How a chart says that there is no value.
_NOT_GIVEN: Final = frozenset({"", "nan", "na", "n/a", "null", "none", "∅"})
_SIDES: Final = frozenset({"buy", "sell"})
# In the bytes, for a body that is no JSON still has to prove itself.
_SECRET: Final = re.compile(rb'"secret"\s*:\s*"([^"\\]{1,512})"')
_BARE: Final = re.compile(
    rb'"([^"\\]{1,60})"\s*:\s*(-?(?:NaN|nan|Infinity|n/a|na)|\{\{[^}]*\}\})\s*[,}]'
)
_FIRED: Final = re.compile(rb'"timenow"\s*:\s*"[^"{]{10}')
_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)

_Value = str | int | float | None


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    ticker: str
    exchange: str = ""
    close: _Value = None
    price: _Value = None  # another word for it
    volume: _Value = None
    time: str | None = None
    timenow: str | None = None
    interval: str | int | None = None
    action: str = ""
    order_price: _Value = None
    contracts: _Value = None
    order_id: str | int = ""


_ALERT: Final = msgspec.json.Decoder(Alert)


def decoder(subscription: Subscription) -> Decode:
    spelled = {_plain(symbol): symbol for symbol in subscription.symbols}

    def decode(frame: bytes, received_at: int) -> Reading:
        try:
            alert = _ALERT.decode(frame)
        except _UNREADABLE as error:
            return quarantined(_why_unreadable(frame, error))
        try:
            return Reading([_event(alert, received_at)])
        except _UNREADABLE as error:
            return quarantined(f"alert: {error}")

    def _event(alert: Alert, received_at: int) -> AnyEvent:
        exchange = alert.exchange.strip().upper()
        theirs = alert.ticker.strip().upper().rpartition(":")[2]
        symbol = spelled.get(_plain(theirs)) or _symbol(exchange, theirs)
        if spelled and symbol not in subscription.symbols:
            raise Fault(f"ticker {theirs!r:.60} is none of the feed's symbols")
        if not _SYMBOL.fullmatch(symbol):
            raise Fault(f"ticker {theirs!r:.60} is no symbol")
        common: dict[str, Any] = {
            "ts_event": iso_to_ns(alert.timenow) if alert.timenow else received_at,
            "ts_source": "vendor" if alert.timenow else "receive",
            "symbol": symbol,
            "asset_class": subscription.asset_classes.get(symbol) or _class(exchange, symbol),
            "vendor": "tradingview",
            "feed": "alerts",
            "venue": exchange,
            "created_at": received_at,
        }
        if alert.action:
            return _fill(alert, common)
        price = alert.price if alert.close is None else alert.close
        return RefPx(
            price=_price(price, "close"),
            kind="close",
            size=_number(alert.volume, "volume"),
            **common,
        )

    return decode


def _fill(alert: Alert, common: dict[str, Any]) -> Trade:
    side = alert.action.strip().lower()
    if side not in _SIDES:
        raise Fault(f"action {alert.action!r:.40} is not buy or sell")
    return Trade(
        price=_price(alert.order_price, "order_price"),
        size=_number(alert.contracts, "contracts"),
        side="buy" if side == "buy" else "sell",
        conditions=" ".join(["strategy", *str(alert.order_id).split()]),
        **common,
    )


def _price(value: _Value, name: str) -> float:
    price = _number(value, name)
    if price != price:  # noqa: PLR0124 - NaN
        raise Fault(f"{name}: no price was filled in")
    return price


def _number(value: _Value, name: str) -> float:
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in _NOT_GIVEN:
            return NAN
        if not _NUMBER.fullmatch(text):
            raise Fault(f"{name} = {value!r:.40} is no number")
        return float(text)
    try:
        return NAN if value is None else float(value)
    except OverflowError:
        raise Fault(f"{name}: more digits than any number has") from None


def _why_unreadable(frame: bytes, error: Exception) -> str:
    bare = _BARE.search(frame)
    if bare is None:
        return f"not an alert in JSON: {error}"
    name, filled = (part.decode("utf-8", "replace") for part in bare.groups())
    return f'the placeholder of "{name}" was filled with {filled} outside quotes: put it in quotes'


# Symbols


def _plain(symbol: str) -> str:
    return symbol.replace("/", "")


def _symbol(exchange: str, ticker: str) -> str:
    if exchange in _CRYPTO:
        return split_pair(ticker.removesuffix(".P"))  # a perpetual
    if exchange in _FX and len(ticker) == _CURRENCIES_LENGTH and ticker.isalpha():
        return f"{ticker[:3]}/{ticker[3:]}"
    return ticker


def _class(exchange: str, symbol: str) -> AssetClass:
    if exchange in _CRYPTO:
        return "crypto"
    if exchange in _FX:
        return "fx"
    return "future" if symbol.endswith("!") else "equity"


def _symbol_of(_: str, text: str) -> str:
    exchange, _, ticker = text.strip().upper().rpartition(":")
    return _symbol(exchange, ticker)


def _check_symbol(_: str, symbol: str) -> str | None:
    if _SYMBOL.fullmatch(symbol):
        return None
    return "is no symbol; write it in upper case, e.g. BRK.B, BTC/USD, ES1!"


# The caller


def _verify(call: Delivery, secret: str, _now_ns: int, _options: Mapping[str, Any]) -> str | None:
    if call.path:
        return check_secret(call.path, secret)
    told = _SECRET.search(call.body)
    return check_secret(told[1].decode("utf-8", "surrogateescape") if told else None, secret)


def _idempotency_keys(call: Delivery, _: Mapping[str, Any]) -> Sequence[str]:
    return [digest_of(call.body)] if _FIRED.search(call.body) else []


def _check_options(options: Mapping[str, Any]) -> list[str]:
    wrong = [f"no such option {name!r}; allowed: sources" for name in options if name != "sources"]
    sources = options.get("sources", [])
    if not isinstance(sources, list) or not all(isinstance(s, str) for s in sources):
        return [*wrong, "sources: a list of addresses is needed, or [] for any"]
    for source in sources:
        try:
            ipaddress.ip_address(source)
        except ValueError:
            wrong.append(f"sources: {source!r} is no address; write them as 52.89.214.238")
    return wrong


VENDOR: Final = Vendor(
    name="tradingview",
    title="TradingView",
    secret="EDC_TRADINGVIEW_SECRET",  # noqa: S106 - the variable's name, not its value
    feeds={
        "alerts": FeedSpec(
            name="alerts",
            title="alerts and strategies' orders",
            url="",
            asset_class="equity",
            event_types=("ref_px", "trade"),
            identity={
                "ref_px": IdentityRule("counted", "ticker, exchange, timenow, close, volume"),
                "trade": IdentityRule(
                    "counted", "ticker, exchange, timenow, action, order_price, contracts, order_id"
                ),
            },
            check_options=_check_options,
            options_help="sources: who may call (default: TradingView's four addresses)",
            webhook=Webhook(
                verify=_verify,
                idempotency_keys=_idempotency_keys,
                sources=SOURCES,
                answer_within_s=2.5,  # it hangs up after 3 s
            ),
        )
    },
    decoder=decoder,
    open_session=opens(decoder),
    check_symbol=_check_symbol,
    spell=lambda _, symbol: _plain(symbol),
    symbol_of=_symbol_of,
    limits="it calls ports 80 and 443, over IPv4, and waits 3 s",
    free_plan="none: webhooks need a paid plan",
)
