"""The Twelve Data websocket, server side. Built from the protocol's description alone.

Not documented, and chosen here: a wrong key is told in a first frame, and the connection closed.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from http import HTTPStatus
from math import isnan
from typing import Any, Final

from edc_pipeline.market_day import NS_PER_SECOND
from edc_pipeline.simulator.instruments import Instrument
from edc_pipeline.simulator.market import QUOTE, TRADE, Tick
from edc_pipeline.simulator.session import Asked, Reply, Terms
from edc_pipeline.simulator.wanted import Wanted, compact, is_key, request, said

_CONNECTIONS: Final = 3
_KINDS: Final = {
    "equity": "Common Stock",
    "etf": "ETF",
    "fx": "Physical Currency",
    "crypto": "Digital Currency",
}


class TwelveData:
    def __init__(
        self, instruments: Sequence[Instrument], *, terms: Terms | None = None, seed: int = 0
    ) -> None:
        self.paths = {"/v1/quotes/price": "price"}
        self._instruments = tuple(instruments)
        self._terms = terms or Terms()

    def refusal(self, asked: Asked) -> HTTPStatus | None:
        return None

    def session(self, service: str, ordinal: int, asked: Asked) -> TwelveDataSession:
        """One connection too many closes the oldest."""
        limit = self._terms.connections or _CONNECTIONS
        for one in asked.standing[: max(0, len(asked.standing) + 1 - limit)]:
            one.refused = True
        return TwelveDataSession(self._instruments, is_key(self._terms, asked.query.get("apikey")))


class TwelveDataSession:
    service = "price"

    def __init__(self, instruments: Sequence[Instrument], is_let_in: bool) -> None:
        self.refused = not is_let_in
        self._instruments = instruments
        self._wanted = Wanted({one.symbol: n for n, one in enumerate(instruments)})

    def greeting(self) -> list[Reply]:
        if not self.refused:
            return []
        message = "**apikey** parameter is incorrect or not specified."
        return [said("error", {"status": "error", "code": 401, "message": message})]

    @property
    def subscription(self) -> Hashable | None:
        return self._wanted.key

    def heartbeat(self) -> Reply | None:
        return None  # it answers the client's

    def on_message(self, message: str | bytes) -> list[Reply]:
        asked = request(message)
        params = asked.get("params")
        listed = params.get("symbols", "") if isinstance(params, dict) else ""
        symbols = [one.strip().upper() for one in str(listed).split(",") if one.strip()]
        match asked.get("action"):
            case "heartbeat":
                return [said("heartbeat", {"event": "heartbeat", "status": "ok"})]
            case "subscribe" if symbols:
                known, unknown = self._wanted.add(symbols)
                return [self._status("subscribe-status", known, unknown)]
            case "unsubscribe":
                self._wanted.remove(symbols)
                return [self._status("unsubscribe-status", symbols, [])]
            case "reset":
                self._wanted.remove(list(self._wanted.tickers))
                return [said("info", {"event": "reset-status", "status": "ok"})]
        return [said("error", {"status": "error", "code": 400, "message": "invalid action"})]

    def _status(self, event: str, known: list[str], unknown: list[str]) -> Reply:
        status: dict[str, Any] = {
            "event": event,
            "status": "ok" if known else "error",
            "success": [{"symbol": one} for one in known],
            "fails": [{"symbol": one} for one in unknown] or None,
        }
        return said("info", status)

    def on_tick(self, tick: Tick) -> str | None:
        symbol = self._wanted.ticker(tick.instrument)
        if symbol is None:
            return None
        asset_class = self._instruments[tick.instrument].asset_class
        if asset_class == "fx":
            price = (tick.bid + tick.ask) / 2
            if tick.kind != QUOTE or isnan(price):
                return None
        elif tick.kind == TRADE:
            price = tick.price
        else:
            return None
        event: dict[str, Any] = {"event": "price", "symbol": symbol, "currency": "USD"}
        if asset_class in {"equity", "etf"}:
            event |= {"exchange": "NASDAQ", "mic_code": "XNAS"}
        event |= {
            "type": _KINDS[asset_class],
            "timestamp": tick.ts_ns // NS_PER_SECOND,
            "price": price,
        }
        if asset_class == "fx":
            event |= {"bid": tick.bid, "ask": tick.ask}
        return compact(event)
