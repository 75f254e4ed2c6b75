"""Senders of webhooks: what each posts for a tick of the market, and how it signs. Pure: a tick, a
secret and the clock in, a request out; `posting` is what posts them.

Built from the senders' documents, not from our readers.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from edc_pipeline.market_day import NS_PER_SECOND
from edc_pipeline.simulator.instruments import Instrument
from edc_pipeline.simulator.market import TRADE, Tick

_NS_PER_MS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Post:
    """One request, to be sent behind the receiver's address."""

    path: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes


class Sender(Protocol):
    @property
    def patience_s(self) -> float:
        """How long it waits for an answer."""
        ...

    def post(self, tick: Tick, instrument: Instrument, now_ns: int) -> Post | None:
        """None: this tick is nothing that it would tell."""
        ...


def _utc(ns: int) -> str:
    return f"{dt.datetime.fromtimestamp(ns // NS_PER_SECOND, dt.UTC):%Y-%m-%dT%H:%M:%SZ}"


def _is_trade(tick: Tick) -> bool:
    return tick.kind == TRADE and math.isfinite(tick.price)


@dataclass(frozen=True, slots=True)
class TradingView:
    """An alert on each trade: the message is the user's template, filled in as text.

    JSON goes as application/json, anything else (`bare`: a template without quotes, where a value
    is missing) as text/plain. It waits 3 s.
    """

    secret: str = field(repr=False)
    proven_in: str = "path"  # or body
    bare: bool = False
    patience_s: float = 3.0

    def post(self, tick: Tick, instrument: Instrument, now_ns: int) -> Post | None:
        if not _is_trade(tick):
            return None
        filled = {
            "ticker": instrument.symbol.replace("/", ""),
            "exchange": {"crypto": "COINBASE", "fx": "FX"}.get(instrument.asset_class, "NASDAQ"),
            "close": repr(tick.price),
            "volume": repr(tick.size),
            "time": _utc(tick.ts_ns // (60 * NS_PER_SECOND) * 60 * NS_PER_SECOND),
            "timenow": _utc(tick.ts_ns),
            "interval": "1",
        }
        lines = [f'"{name}": "{value}"' for name, value in filled.items()]
        if self.bare:
            lines[3] = '"volume": NaN'
        if self.proven_in == "body":
            lines.insert(0, f'"secret": "{self.secret}"')
        kind = "text/plain; charset=utf-8" if self.bare else "application/json; charset=utf-8"
        path = f"/{self.secret}" if self.proven_in == "path" else ""
        return Post(path, {"Content-Type": kind}, ("{" + ", ".join(lines) + "}").encode())


@dataclass(frozen=True, slots=True)
class Finnhub:
    """Trades, with the shared secret in X-Finnhub-Secret; any 2xx is wanted at once."""

    secret: str = field(repr=False)
    patience_s: float = 5.0

    def post(self, tick: Tick, instrument: Instrument, now_ns: int) -> Post | None:
        if not _is_trade(tick):
            return None
        symbol = instrument.symbol
        if instrument.asset_class == "crypto":
            symbol = "BINANCE:" + symbol.replace("/", "")
        told = {"s": symbol, "p": tick.price, "t": tick.ts_ns // _NS_PER_MS, "v": tick.size}
        body = json.dumps({"event": "trade", "data": [told]}).encode()
        headers = {"Content-Type": "application/json", "X-Finnhub-Secret": self.secret}
        return Post("", headers, body)


@dataclass(slots=True)
class Signed:
    """HMAC-SHA256 over `<stamp>.<body>`, or the body alone, and an id of each message."""

    secret: str = field(repr=False)
    stamped: bool = True
    header: str = "X-Signature"
    prefix: str = "sha256="
    stamp_header: str = "X-Timestamp"
    patience_s: float = 5.0
    _sent: int = 0

    def post(self, tick: Tick, instrument: Instrument, now_ns: int) -> Post | None:
        if not _is_trade(tick):
            return None
        self._sent += 1
        trade = {
            "s": instrument.symbol.replace("/", ""),
            "p": repr(tick.price),
            "q": tick.size,
            "t": tick.ts_ns // _NS_PER_MS,
        }
        return self.sign({"id": f"evt_{self._sent}", "kind": "fill", "items": [trade]}, now_ns)

    def sign(self, message: Any, now_ns: int) -> Post:
        body = json.dumps(message).encode()
        stamp = str(now_ns // NS_PER_SECOND)
        text = stamp.encode() + b"." + body if self.stamped else body
        digest = hmac.new(self.secret.encode(), text, hashlib.sha256).hexdigest()
        headers = {"Content-Type": "application/json", self.header: self.prefix + digest}
        if self.stamped:
            headers[self.stamp_header] = stamp
        return Post("", headers, body)


SENDERS: Final[Mapping[str, Callable[[str], Sender]]] = {
    "finnhub": Finnhub,
    "signed_json": Signed,
    "tradingview": TradingView,
}


def posts_of(
    sender: Sender, ticks: Sequence[Tick], instruments: Sequence[Instrument], now_ns: int
) -> list[Post]:
    made = (sender.post(tick, instruments[tick.instrument], now_ns) for tick in ticks)
    return [post for post in made if post is not None]
