"""Alpha Vantage's responses → events.

Every response has status 200. What it is, is told by the key of its data: a response without one is
an error, whatever it says; `{}` and an empty `Global Quote` are a symbol that is not known.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from edc_pipeline.events import NAN, AnyEvent, AssetClass, Quote, RefPx
from edc_pipeline.market_day import MARKET_ZONE, NS_PER_SECOND
from edc_pipeline.vendors.contract import Decode, Reading, Subscription, control, quarantined
from edc_pipeline.vendors.pairs import is_currency_pair
from edc_pipeline.vendors.reading import UNREADABLE, Fault

_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXTS: Final = msgspec.json.Decoder(dict[str, str | None])
_BARS: Final = msgspec.json.Decoder(dict[str, dict[str, str | None]])
_TEXT: Final = msgspec.json.Decoder(str)

_QUOTE: Final = "Global Quote"
_RATE: Final = "Realtime Currency Exchange Rate"
_SERIES: Final = re.compile(r"Time Series \((\d{1,3})min\)", re.ASCII)
_META: Final = "Meta Data"

_NUMBER: Final = re.compile(r"-?\d{1,30}(\.\d{1,30})?([eE][+-]?\d{1,3})?", re.ASCII)
_STAMP: Final = re.compile(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}", re.ASCII)
_ABSENT: Final = frozenset({"", "-", "None", "null"})
_ZONES: Final[Mapping[str, dt.tzinfo]] = {
    "US/Eastern": MARKET_ZONE,
    "America/New_York": MARKET_ZONE,
    "UTC": dt.UTC,
}
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

_QUOTE_KINDS: Final = (
    ("last", "05. price"),
    ("open", "02. open"),
    ("high", "03. high"),
    ("low", "04. low"),
    ("prev_close", "08. previous close"),
)
_BAR_KINDS: Final = (
    ("open", "1. open"),
    ("high", "2. high"),
    ("low", "3. low"),
    ("close", "4. close"),
)


def number(text: str | None) -> float:
    """NaN where none is given. Python's own `float` would take `nan`, `inf` and `1_0`."""
    if text is None or text.strip() in _ABSENT:
        return NAN
    if not _NUMBER.fullmatch(text.strip()):
        raise Fault(f"{text[:40]!r} is no number")
    return float(text)


def instant(text: str | None, zone_name: str | None) -> int:
    """A time without an offset, by the clock of a zone that the response names → ns."""
    zone = _ZONES.get(zone_name or "")
    if zone is None:
        raise Fault(f"time zone {zone_name!r:.40} is not one that we know")
    if text is None or not _STAMP.fullmatch(text):
        raise Fault(f"{text!r:.40} is no time")
    naive = dt.datetime.fromisoformat(text)
    moment = naive.replace(tzinfo=zone)  # of a repeated hour the first
    if isinstance(zone, ZoneInfo) and _again(moment, zone) != naive:
        raise Fault(f"{text} does not exist: the clocks went forward")
    since = moment.astimezone(dt.UTC) - _EPOCH
    return (since.days * 86_400 + since.seconds) * NS_PER_SECOND


def _again(moment: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    return moment.astimezone(dt.UTC).astimezone(zone).replace(tzinfo=None)


def decoder(
    subscription: Subscription, to_symbol: Callable[[str], str], spelled: Mapping[str, str]
) -> Decode:
    """`spelled`: Alpha Vantage's spelling of what was asked for → ours."""

    def labels(feed: str, ticker: str, received_at: int) -> dict[str, Any]:
        symbol = spelled.get(ticker) or to_symbol(ticker)
        return {
            "symbol": symbol,
            "asset_class": subscription.asset_classes.get(symbol) or _class_of(symbol),
            "vendor": "alpha_vantage",
            "feed": feed,
            "created_at": received_at,
        }

    def quote(raw: msgspec.Raw, received_at: int) -> Reading:
        told = _TEXTS.decode(raw)
        if not told:
            return control("refused", "an empty quote: the symbol is not known")
        common = labels("global_quote", _named(told, "01. symbol"), received_at)
        # It tells the trading day and no time: how things stood when we asked.
        stamp: dict[str, Any] = {"ts_event": received_at, "ts_source": "receive"}
        return _read(
            [
                RefPx(**common, **stamp, kind=kind, price=price)
                for kind, name in _QUOTE_KINDS
                if (price := number(told.get(name))) == price
            ]
        )

    def rate(raw: msgspec.Raw, received_at: int) -> Reading:
        told = _TEXTS.decode(raw)
        base, money = (_named(told, f"{n}_Currency Code") for n in ("1. From", "3. To"))
        common = labels("exchange_rate", f"{base}/{money}", received_at)
        stamp: dict[str, Any] = {
            "ts_event": instant(told.get("6. Last Refreshed"), told.get("7. Time Zone"))
        }
        events: list[AnyEvent] = []
        price = number(told.get("5. Exchange Rate"))
        if price == price:  # noqa: PLR0124 - not NaN
            events.append(RefPx(**common, **stamp, kind="reference", price=price))
        bid, ask = number(told.get("8. Bid Price")), number(told.get("9. Ask Price"))
        if bid == bid or ask == ask:  # noqa: PLR0124 - not NaN
            sizes: dict[str, Any] = {"bid_size": NAN, "ask_size": NAN}
            events.append(Quote(**common, **stamp, bid_price=bid, ask_price=ask, **sizes))
        return _read(events)

    def bars(raw: msgspec.Raw, meta: msgspec.Raw, minutes: int, received_at: int) -> Reading:
        """Oldest first, and without a bar that is not over yet: its prices are not its own."""
        about = _TEXTS.decode(meta)
        common = labels("intraday", _named(about, "2. Symbol"), received_at)
        zone = about.get("6. Time Zone")
        events: list[AnyEvent] = []
        faults: list[str] = []
        for label, bar in sorted(_BARS.decode(raw).items()):
            try:
                began = instant(label, zone)
                if began + minutes * 60 * NS_PER_SECOND > received_at:
                    continue
                size = number(bar.get("5. volume"))
                events += [
                    RefPx(
                        **common,
                        ts_event=began,
                        kind=kind,
                        price=price,
                        size=size if kind == "close" else NAN,
                    )
                    for kind, name in _BAR_KINDS
                    if (price := number(bar.get(name))) == price
                ]
            except UNREADABLE as error:  # the others are none the worse for it
                faults.append(f"bar {label[:40]!r}: {error}")
        return _read(events, faults)

    def read(found: dict[str, msgspec.Raw], received_at: int) -> Reading:
        if _QUOTE in found:
            return quote(found[_QUOTE], received_at)
        if _RATE in found:
            return rate(found[_RATE], received_at)
        for key, raw in found.items():
            if series := _SERIES.fullmatch(key):
                meta = found.get(_META, msgspec.Raw(b"{}"))
                return bars(raw, meta, int(series[1]), received_at)
        return _without_data(found)

    def decode(frame: bytes, received_at: int) -> Reading:
        try:
            return read(_OBJECT.decode(frame), received_at)
        except UNREADABLE as error:
            return quarantined(f"not a response of Alpha Vantage: {error}")

    return decode


def _named(told: Mapping[str, str | None], key: str) -> str:
    name = told.get(key)
    if not name:
        raise Fault(f"no {key!r}")
    return name


def _class_of(symbol: str) -> AssetClass:
    if "/" not in symbol:
        return "equity"
    return "fx" if is_currency_pair(symbol) else "crypto"


def _read(events: list[AnyEvent], faults: list[str] | None = None) -> Reading:
    if not events and not faults:
        return control("notice", "no prices")
    return Reading(events, faults=faults or [])


def _without_data(found: Mapping[str, msgspec.Raw]) -> Reading:
    """The wording of errors changes; what they are about does not."""
    if not found:
        return control("refused", "an empty response: the symbol is not known")
    for key in ("Error Message", "Note", "Information"):
        if key in found:
            said = _TEXT.decode(found[key])
            break
    else:
        return quarantined(f"no data in it, but {', '.join(found)!r:.100}")
    words, said = said.lower(), said[:200]
    if key == "Error Message":
        about_key = "apikey" in words or "api key" in words
        return control("fatal" if about_key else "refused", said)
    if "demo" in words:
        return control("fatal", said)
    limited = any(w in words for w in ("rate limit", "requests per", "call frequency", "sparingly"))
    if "premium" in words and not limited:
        return control("refused", said)  # the plan does not have this function
    return control("transient", said)
