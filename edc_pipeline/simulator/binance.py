"""Binance's websocket protocol, server side: spot, USD-M on its two routes, COIN-M. No I/O.

Built from the protocol's description alone, never from the adapter that will read it. A symbol that
is not listed is accepted and stays silent, as clients report of the real one.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from http import HTTPStatus
from typing import Any, Final

from edc_pipeline.simulator.instruments import Instrument
from edc_pipeline.simulator.market import TRADE, Tick
from edc_pipeline.simulator.session import Asked, Reply, Terms
from edc_pipeline.simulator.tape import MessageLimit, Printed, Tape, decimal

# The first path of a service is where it is found; behind `/ws/` streams stand in the path.
PATHS: Final = {
    "/ws": "spot",
    "/stream": "spot",
    "/market/ws": "usdm",
    "/market/stream": "usdm",
    "/public/ws": "usdm_public",
    "/public/stream": "usdm_public",
    "/delivery/ws": "coinm",  # a host of its own, really
    "/delivery/stream": "coinm",
    "/ws/": "spot",
    "/market/ws/": "usdm",
    "/public/ws/": "usdm_public",
    "/delivery/ws/": "coinm",
}
_TOLD: Final = {  # what a route brings; the rest is accepted, and stays silent
    "spot": ("trade", "aggTrade", "bookTicker"),
    "usdm": ("aggTrade",),
    "usdm_public": ("trade", "bookTicker"),
    "coinm": ("trade", "aggTrade", "bookTicker"),
}
_MESSAGES_PER_S: Final = {"spot": 5}
_MESSAGES_PER_S_OF_FUTURES: Final = 10
MOST_STREAMS: Final = 1024
_VENUE: Final = 1  # of the market's venues, the one that Tiingo calls binance
_NS_PER_MS: Final = 1_000_000
_NS_PER_US: Final = 1_000


class Binance:
    def __init__(
        self, instruments: Sequence[Instrument], *, terms: Terms | None = None, seed: int = 0
    ) -> None:
        self.paths = PATHS
        self.tape = Tape(instruments, venue=_VENUE)
        self._listed = {
            number: i.symbol.replace("/", "").replace("-", "_").lower()
            for number, i in enumerate(instruments)
            if i.asset_class == "crypto"
        }

    def refusal(self, asked: Asked) -> HTTPStatus | None:
        return None  # no key is asked for

    def session(self, service: str, ordinal: int, asked: Asked) -> BinanceSession:
        return BinanceSession(service, self._listed, self.tape, asked)


class Refusal(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class BinanceSession:
    def __init__(self, service: str, listed: dict[int, str], tape: Tape, asked: Asked) -> None:
        self.service = service
        self.refused = False
        self._listed = listed
        self._tape = tape
        self._combined = "/stream" in asked.path
        micro = service == "spot" and asked.query.get("timeUnit", "").upper() == "MICROSECOND"
        self._ns_per_unit = _NS_PER_US if micro else _NS_PER_MS
        self._limit = MessageLimit(_MESSAGES_PER_S.get(service, _MESSAGES_PER_S_OF_FUTURES))
        behind = asked.path.partition("/ws/")[2]
        self._streams = dict.fromkeys(
            stream for stream in (behind or asked.query.get("streams", "")).split("/") if stream
        )

    # -- conversation -------------------------------------------------------------------------

    def greeting(self) -> list[Reply]:
        return []

    @property
    def subscription(self) -> Hashable | None:
        return (self.service, self._combined, frozenset(self._streams)) if self._streams else None

    def heartbeat(self) -> Reply | None:
        return None  # it sends ping frames, no messages

    def on_message(self, message: str | bytes) -> list[Reply]:
        if self._limit.exceeded():
            self.refused = True
            return []
        number: object = None
        try:
            request = _request(message)
            number = request.get("id")
            result = self._do(request.get("method"), request.get("params"))
        except Refusal as refusal:
            error = {"code": refusal.code, "msg": f"Invalid request: {refusal}"}
            said = error if number is None else {**error, "id": number}
            return [Reply("error", _json(said))]
        return [Reply("info", _json({"result": result, "id": number}))]

    def _do(self, method: object, params: object) -> object:
        match method:
            case "SUBSCRIBE" | "UNSUBSCRIBE":
                if not isinstance(params, list) or not params:
                    raise Refusal(2, "params must be a list of streams")
                if not all(isinstance(p, str) and ("@" in p or p[:1] == "!") for p in params):
                    raise Refusal(2, "invalid stream")
                self._change(params, more=method == "SUBSCRIBE")
                return None
            case "LIST_SUBSCRIPTIONS":
                return list(self._streams)
            case "SET_PROPERTY":
                match params:
                    case ["combined", bool(combined)]:
                        self._combined = combined
                        return None
                raise Refusal(0, "unknown property")
            case "GET_PROPERTY":
                return self._combined
        raise Refusal(2, f"unknown variant `{method}`")

    def _change(self, streams: list[str], *, more: bool) -> None:
        if not more:
            for stream in streams:
                self._streams.pop(stream, None)
            return
        if len(self._streams | dict.fromkeys(streams)) > MOST_STREAMS:
            raise Refusal(2, f"more than {MOST_STREAMS} streams")
        self._streams.update(dict.fromkeys(streams))

    # -- data ---------------------------------------------------------------------------------

    def on_tick(self, tick: Tick) -> list[str] | None:
        if not self._tape.hear(tick):
            return None
        name = self._listed[tick.instrument]
        kinds = ("trade", "aggTrade") if tick.kind == TRADE else ("bookTicker",)
        frames = []
        for kind in kinds:
            stream = f"{name}@{kind}"
            if stream in self._streams and kind in _TOLD[self.service]:
                told = self._told(kind, name.upper(), tick)
                frames.append(f'{{"stream":"{stream}","data":{told}}}' if self._combined else told)
        return frames or None

    def _told(self, kind: str, symbol: str, tick: Tick) -> str:
        if kind == "bookTicker":
            return self._book_ticker(symbol, tick)
        print_ = self._tape.trades(tick.instrument)[-1]
        return self._trade(symbol, print_) if kind == "trade" else self._aggregate(symbol, print_)

    def _trade(self, symbol: str, print_: Printed) -> str:
        time = print_.tick.ts_ns // self._ns_per_unit
        content = (
            f'"t":{print_.number},"p":"{decimal(print_.tick.price)}",'
            f'"q":"{decimal(print_.tick.size)}"'
        )
        maker = _bool(not print_.buyer_came)
        if self.service == "spot":
            return (
                f'{{"e":"trade","E":{time + 1},"s":"{symbol}",{content},'
                f'"T":{time},"m":{maker},"M":true}}'
            )
        return (
            f'{{"e":"trade","E":{time + 1},"T":{time},"s":"{symbol}",{content},'
            f'"X":"MARKET","m":{maker}}}'
        )

    def _aggregate(self, symbol: str, print_: Printed) -> str:
        """Of one trade each: of an order that met several makers there is none here."""
        time = print_.tick.ts_ns // self._ns_per_unit
        last = ',"M":true' if self.service == "spot" else ""
        return (
            f'{{"e":"aggTrade","E":{time + 1},"s":"{symbol}","a":{print_.number - 1_000_000},'
            f'"p":"{decimal(print_.tick.price)}","q":"{decimal(print_.tick.size)}",'
            f'"f":{print_.number},"l":{print_.number},"T":{time},'
            f'"m":{_bool(not print_.buyer_came)}{last}}}'
        )

    def _book_ticker(self, symbol: str, tick: Tick) -> str:
        change = self._tape.changes(tick.instrument)
        sides = (
            f'"b":"{decimal(tick.bid)}","B":"{decimal(tick.bid_size)}",'
            f'"a":"{decimal(tick.ask)}","A":"{decimal(tick.ask_size)}"'
        )
        if self.service == "spot":
            return f'{{"u":{change},"s":"{symbol}",{sides}}}'
        time = tick.ts_ns // self._ns_per_unit
        times = f'"T":{time},"E":{time + 1}'
        if self.service == "coinm":
            pair = symbol.partition("_")[0]
            return f'{{"u":{change},"e":"bookTicker","s":"{symbol}","ps":"{pair}",{sides},{times}}}'
        return f'{{"e":"bookTicker","u":{change},"s":"{symbol}",{sides},{times}}}'


def _request(message: str | bytes) -> dict[str, Any]:
    try:
        request = json.loads(message)
    except (ValueError, RecursionError) as error:
        raise Refusal(3, "invalid JSON") from error
    if not isinstance(request, dict):
        raise Refusal(2, "no object")
    return request


def _bool(value: object) -> str:
    return "true" if value else "false"


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
