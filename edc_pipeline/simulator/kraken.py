"""Kraken's websocket protocol, version 2, server side. No I/O.

Built from the protocol's description alone, never from the adapter that will read it.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Hashable, Sequence
from http import HTTPStatus
from math import isnan
from typing import Any, Final

from edc_pipeline.market_day import NS_PER_SECOND
from edc_pipeline.simulator.instruments import Instrument
from edc_pipeline.simulator.market import QUOTE, TRADE, Tick
from edc_pipeline.simulator.session import Asked, Reply, Terms
from edc_pipeline.simulator.tape import Printed, Tape

PATHS: Final = {"/v2": "spot"}
_VENUE: Final = 3  # of the market's venues, the one that Tiingo calls kraken
_CHANNELS: Final = ("trade", "ticker")
_TIMES: Final = '"time_in":"2026-01-22T17:00:00.000001Z","time_out":"2026-01-22T17:00:00.000101Z"'


class Kraken:
    heartbeat_s = 1.0  # once subscribed

    def __init__(
        self, instruments: Sequence[Instrument], *, terms: Terms | None = None, seed: int = 0
    ) -> None:
        self.paths = PATHS
        self.tape = Tape(instruments, venue=_VENUE)
        self._listed = {
            number: i.symbol for number, i in enumerate(instruments) if i.asset_class == "crypto"
        }

    def refusal(self, asked: Asked) -> HTTPStatus | None:
        return None  # no key is asked for

    def session(self, service: str, ordinal: int, asked: Asked) -> KrakenSession:
        # Connection ids go beyond 64 bits with a sign.
        return KrakenSession(self._listed, self.tape, 2**63 + ordinal)


class KrakenSession:
    service = "spot"

    def __init__(self, listed: dict[int, str], tape: Tape, connection_id: int) -> None:
        self.refused = False
        self._listed = listed
        self._number = {symbol: number for number, symbol in listed.items()}
        self._tape = tape
        self._id = connection_id
        self._wanted: dict[str, set[str]] = {channel: set() for channel in _CHANNELS}
        self._every_change = False  # the ticker's event_trigger is bbo, not trades

    # -- conversation -------------------------------------------------------------------------

    def greeting(self) -> list[Reply]:
        told = {
            "version": "2.0.10",
            "system": "online",
            "api_version": "v2",
            "connection_id": self._id,
        }
        return [Reply("info", _json({"channel": "status", "type": "update", "data": [told]}))]

    @property
    def subscription(self) -> Hashable | None:
        wanted = frozenset((c, s) for c, symbols in self._wanted.items() for s in symbols)
        return (self._every_change, wanted) if wanted else None

    def heartbeat(self) -> Reply | None:
        return Reply("heartbeat", '{"channel":"heartbeat"}') if self.subscription else None

    def on_message(self, message: str | bytes) -> list[Reply]:
        try:
            request = json.loads(message)
        except (ValueError, RecursionError):
            request = None
        method = request.get("method") if isinstance(request, dict) else None
        if method == "ping":
            return [Reply("info", f'{{"method":"pong",{_TIMES}}}')]
        if method not in ("subscribe", "unsubscribe"):
            return [Reply("error", f'{{"error":"Malformed request","success":false,{_TIMES}}}')]
        return self._answer(method, request)

    def _answer(self, method: str, request: dict[str, Any]) -> list[Reply]:
        params = request.get("params")
        params = params if isinstance(params, dict) else {}
        channel, symbols = params.get("channel"), params.get("symbol")
        if channel not in _CHANNELS or not isinstance(symbols, list) or not symbols:
            return [_failure(method, "Channel or symbol not valid", "", request)]
        replies: list[Reply] = []
        snapshots: list[Reply] = []
        for symbol in symbols:
            if symbol not in self._number:
                said = f"Currency pair not supported {symbol}"
                replies.append(_failure(method, said, str(symbol), request))
                continue
            replies.append(_success(method, channel, symbol, request))
            if method == "unsubscribe":
                self._wanted[channel].discard(symbol)
                continue
            self._wanted[channel].add(symbol)
            if channel == "ticker":
                self._every_change = params.get("event_trigger", "trades") == "bbo"
            if params.get("snapshot", True):
                snapshots.append(self._snapshot(channel, symbol))
        return [*replies, *snapshots]

    def _snapshot(self, channel: str, symbol: str) -> Reply:
        number = self._number[symbol]
        if channel == "trade":
            rows = [_trade(symbol, print_) for print_ in self._tape.trades(number)]
        else:
            quote = self._tape.quote(number)
            # Of a symbol that nobody ever traded: zeros, and the beginning of all times.
            rows = [_nothing(symbol) if quote is None else _ticker(symbol, quote)]
        return Reply("snapshot", _frame(channel, "snapshot", rows))

    # -- data ---------------------------------------------------------------------------------

    def on_tick(self, tick: Tick) -> str | None:
        if not self._tape.hear(tick):
            return None
        symbol = self._listed[tick.instrument]
        if tick.kind == TRADE and symbol in self._wanted["trade"]:
            row = _trade(symbol, self._tape.trades(tick.instrument)[-1])
            return _frame("trade", "update", [row])
        if tick.kind == QUOTE and self._every_change and symbol in self._wanted["ticker"]:
            return _frame("ticker", "update", [_ticker(symbol, tick)])
        return None


def _trade(symbol: str, print_: Printed) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "side": "buy" if print_.buyer_came else "sell",  # the taker's
        "price": print_.tick.price,
        "qty": print_.tick.size,
        "ord_type": "limit" if print_.number % 3 else "market",
        "trade_id": print_.number,
        "timestamp": _iso(print_.tick.ts_ns),
    }


def _ticker(symbol: str, tick: Tick) -> dict[str, Any]:
    sides = {"bid": tick.bid, "bid_qty": tick.bid_size, "ask": tick.ask, "ask_qty": tick.ask_size}
    told = {name: 0.0 if isnan(value) else value for name, value in sides.items()}
    return {"symbol": symbol, **told, "last": told["bid"], "timestamp": _iso(tick.ts_ns)}


def _nothing(symbol: str) -> dict[str, Any]:
    sides = dict.fromkeys(("bid", "bid_qty", "ask", "ask_qty", "last"), 0.0)
    return {"symbol": symbol, **sides, "timestamp": _iso(0)}


def _frame(channel: str, kind: str, rows: list[dict[str, Any]]) -> str:
    return _json({"channel": channel, "type": kind, "data": rows})


def _iso(ts_ns: int) -> str:
    second, ns = divmod(ts_ns, NS_PER_SECOND)
    moment = dt.datetime.fromtimestamp(second, dt.UTC).isoformat()[:19]
    return f"{moment}.{ns // 1000:06d}Z"


def _success(method: str, channel: str, symbol: str, request: dict[str, Any]) -> Reply:
    told = {"method": method, "result": {"channel": channel, "symbol": symbol}, "success": True}
    return Reply("info", _json(told | _numbered(request)))


def _failure(method: str, error: str, symbol: str, request: dict[str, Any]) -> Reply:
    told = {"error": error, "method": method, "success": False, "symbol": symbol}
    return Reply("error", _json(told | _numbered(request)))


def _numbered(request: dict[str, Any]) -> dict[str, Any]:
    times = json.loads(f"{{{_TIMES}}}")
    return {"req_id": request["req_id"], **times} if "req_id" in request else times


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
