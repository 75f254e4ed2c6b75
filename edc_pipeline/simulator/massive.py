"""Massive's (Polygon.io's) websockets, server side: /stocks, /forex and /crypto. Built from the
protocol's description alone.

Not documented, and chosen here: a channel of a symbol that nobody lists is refused with `error`;
of two connections the newcomer is sent away, after a full handshake.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from http import HTTPStatus
from math import isnan
from typing import Any, Final

from edc_pipeline.simulator.instruments import Instrument
from edc_pipeline.simulator.market import QUOTE, TRADE, Tick
from edc_pipeline.simulator.session import Asked, Reply, ReplyKind, Terms
from edc_pipeline.simulator.wanted import MS, Wanted, compact, is_key, request, said

_LISTED_ON: Final = {"equity": "stocks", "etf": "stocks", "fx": "forex", "crypto": "crypto"}
_CHANNELS: Final = {"stocks": ("T", "Q", "A", "AM"), "forex": ("C",), "crypto": ("XT", "XQ")}
_MOST_IN_A_FRAME: Final = 5
_STOCK_EXCHANGES: Final = (10, 11, 12, 15, 4)
_FACILITY: Final = 4  # trades reported there name which of the facilities
_ROUND_LOT: Final = 100
_BARS: Final = {"A": 1_000, "AM": 60_000}  # ms
_CHANNEL_OF: Final = {
    ("stocks", TRADE): "T",
    ("stocks", QUOTE): "Q",
    ("forex", QUOTE): "C",
    ("crypto", TRADE): "XT",
    ("crypto", QUOTE): "XQ",
}


class Massive:
    def __init__(
        self, instruments: Sequence[Instrument], *, terms: Terms | None = None, seed: int = 0
    ) -> None:
        self.paths = {f"/{service}": service for service in _CHANNELS}
        self._instruments = tuple(instruments)
        self._terms = terms or Terms()
        self._seed = seed

    def refusal(self, asked: Asked) -> HTTPStatus | None:
        return None

    def session(self, service: str, ordinal: int, asked: Asked) -> MassiveSession:
        others = sum(one.service == service for one in asked.standing)
        too_many = others >= (self._terms.connections or 1)
        choice = random.Random(f"{self._seed}/{service}/{ordinal}")
        return MassiveSession(service, self._instruments, self._terms, choice, too_many=too_many)


class MassiveSession:
    def __init__(
        self,
        service: str,
        instruments: Sequence[Instrument],
        terms: Terms,
        choice: random.Random,
        *,
        too_many: bool,
    ) -> None:
        self.service = service
        self.refused = False
        self._terms = terms
        self._choice = choice
        self._too_many = too_many
        self._is_let_in = False
        here = {
            n: one for n, one in enumerate(instruments) if _LISTED_ON[one.asset_class] == service
        }
        self._ticker = {
            n: one.symbol.replace("/", "-") if service == "crypto" else one.symbol
            for n, one in here.items()
        }
        self._wanted = Wanted(
            {
                f"{channel}.{ticker}": n * len(_CHANNELS[service]) + c
                for n, ticker in self._ticker.items()
                for c, channel in enumerate(_CHANNELS[service])
            }
        )
        self._numbers = dict.fromkeys(here, 0)  # q, of each symbol
        self._trades = 0
        self._waiting: list[dict[str, Any]] = []
        self._bars: dict[tuple[str, int], dict[str, Any]] = {}

    def greeting(self) -> list[Reply]:
        return [_status("info", "connected", "Connected Successfully")]

    @property
    def subscription(self) -> Hashable | None:
        return self._wanted.key and (self.service, self._wanted.key)

    def heartbeat(self) -> Reply | None:
        return None

    # -- conversation -------------------------------------------------------------------------

    def on_message(self, message: str | bytes) -> list[Reply]:
        asked = request(message)
        params = str(asked.get("params", ""))
        match asked.get("action"):
            case "auth":
                return [self._auth(params)]
            case _ if not self._is_let_in:
                self.refused = True
                return [_status("error", "auth_failed", "authentication failed")]
            case "subscribe":
                return self._subscribe(params)
            case "unsubscribe":
                channels = [one.strip() for one in params.split(",")]
                self._wanted.remove(channels)
                return [_status("info", "success", f"unsubscribed to: {one}") for one in channels]
        return [_status("error", "error", "unknown action")]

    def _auth(self, key: str) -> Reply:
        self._is_let_in = is_key(self._terms, key)
        if self._is_let_in:
            return _status("info", "auth_success", "authenticated")
        self.refused = True
        return _status("error", "auth_failed", "authentication failed")

    def _subscribe(self, params: str) -> list[Reply]:
        channels = [one.strip() for one in params.split(",") if one.strip()]
        if self._too_many:
            self.refused = True
            told = "Maximum number of websocket connections exceeded."
            return [
                *(_status("info", "success", f"subscribed to: {one}") for one in channels),
                _status("error", "max_connections", told),
            ]
        replies = []
        for channel in channels:
            kind, _, ticker = channel.partition(".")
            # Firehose: every ticker of that channel.
            names = (
                [f"{kind}.{one}" for one in self._ticker.values()] if ticker == "*" else [channel]
            )
            had = set(self._wanted.tickers)
            known, _ = self._wanted.add(names)
            if not known:
                replies.append(_status("error", "error", f"not authorized: {channel}"))
            elif not had.issuperset(known):  # a second time it is not confirmed
                replies.append(_status("info", "success", f"subscribed to: {channel}"))
        return replies

    # -- data ---------------------------------------------------------------------------------

    def on_tick(self, tick: Tick) -> str | None:
        ticker = self._ticker.get(tick.instrument)
        if ticker is None:
            return None
        had = len(self._waiting)
        channel = _CHANNEL_OF.get((self.service, tick.kind))
        if channel is not None and self._wants(tick.instrument, channel):
            make = {
                "T": self._trade,
                "Q": self._quote,
                "C": _pair,
                "XT": self._coin,
                "XQ": _coin_quote,
            }[channel]
            self._waiting.append({"ev": channel, **make(tick, ticker)})
        if channel == "T":
            for bar in _BARS:
                if self._wants(tick.instrument, bar):
                    self._into_bar(bar, tick, ticker)
        if len(self._waiting) == had or len(self._waiting) < self._choice.randrange(
            1, _MOST_IN_A_FRAME + 1
        ):
            return None
        frame, self._waiting = compact(self._waiting), []
        return frame

    def _wants(self, instrument: int, channel: str) -> bool:
        channels = _CHANNELS[self.service]
        number = instrument * len(channels) + channels.index(channel)
        return self._wanted.ticker(number) is not None

    def _into_bar(self, kind: str, tick: Tick, ticker: str) -> None:
        """A bar is told when the first trade of a later one comes."""
        ms = tick.ts_ns // MS
        start = ms - ms % _BARS[kind]
        bar = self._bars.get((kind, tick.instrument))
        if bar is not None and start > bar["s"]:
            self._waiting.append(bar)
            bar = None
        if bar is None:
            price = dict.fromkeys("ohlc", tick.price)
            bar = {"ev": kind, "sym": ticker, "v": 0, **price, "s": start, "e": start + _BARS[kind]}
            self._bars[kind, tick.instrument] = bar
        bar["h"], bar["l"] = max(bar["h"], tick.price), min(bar["l"], tick.price)
        bar["c"] = tick.price
        bar["v"] += int(tick.size)

    def _number(self, instrument: int) -> int:
        """Increasing, with numbers left out; now and then two share one."""
        self._numbers[instrument] += self._choice.choice((0, 1, 1, 1, 5))
        return 3_135_000 + self._numbers[instrument]

    def _trade(self, tick: Tick, ticker: str) -> dict[str, Any]:
        self._trades += 1
        exchange = self._choice.choice(_STOCK_EXCHANGES)
        row = {
            "sym": ticker,
            "x": exchange,
            "i": str(52_983_525_000_000 + self._trades),
            "z": 3,
            "p": tick.price,
            "s": int(tick.size),
            "c": [12, 37] if tick.odd_lot else [12],
            "t": tick.ts_ns // MS,
            "q": self._number(tick.instrument),
        }
        if self._choice.random() < 0.3:
            del row["c"]
        if exchange == _FACILITY:
            row |= {"trfi": self._choice.choice((201, 202)), "trft": tick.ts_ns // MS - 1}
        return row

    def _quote(self, tick: Tick, ticker: str) -> dict[str, Any]:
        """Sizes in round lots; a side that is missing is left out, or is 0."""
        row: dict[str, Any] = {"sym": ticker}
        for name, price, size in (("b", tick.bid, tick.bid_size), ("a", tick.ask, tick.ask_size)):
            if not isnan(price):
                row |= {f"{name}x": 11, f"{name}p": price, f"{name}s": int(size) // _ROUND_LOT}
            elif self._choice.random() < 0.5:
                row |= {f"{name}p": 0, f"{name}s": 0}
        # Two quotes never share a number, as two trades may.
        self._numbers[tick.instrument] += 1
        number = self._number(tick.instrument)
        return {**row, "c": 1, "i": [604], "t": tick.ts_ns // MS, "q": number, "z": 3}

    def _coin(self, tick: Tick, ticker: str) -> dict[str, Any]:
        self._trades += 1
        return {
            "pair": ticker,
            "p": tick.price,
            "t": tick.ts_ns // MS,
            "s": tick.size,
            "c": [2 if tick.price >= tick.ask else 1],
            "i": self._trades if tick.venue % 2 else f"0b6c1fbd-6a0b-4b2b-9a54-{self._trades:012x}",
            "x": (1, 2, 6, 23)[tick.venue],
            "r": tick.at_ns // MS,
        }


def _coin_quote(tick: Tick, ticker: str) -> dict[str, Any]:
    row: dict[str, Any] = {"pair": ticker, "lp": 0, "ls": 0}
    for name, price, size in (("b", tick.bid, tick.bid_size), ("a", tick.ask, tick.ask_size)):
        if not isnan(price):
            row |= {f"{name}p": price, f"{name}s": size}
    received = tick.at_ns // MS
    return {**row, "t": tick.ts_ns // MS, "x": (1, 2, 6, 23)[tick.venue], "r": received}


def _pair(tick: Tick, ticker: str) -> dict[str, Any]:
    row: dict[str, Any] = {"p": ticker, "x": "44" if tick.ts_ns % 2 else 44, "t": tick.ts_ns // MS}
    return row | {k: v for k, v in (("a", tick.ask), ("b", tick.bid)) if not isnan(v)}


def _status(kind: ReplyKind, status: str, message: str) -> Reply:
    return said(kind, [{"ev": "status", "status": status, "message": message}])
