"""Finage's websockets, server side: one path a market. Built from the protocol's description alone.

There is no heartbeat and no answer to a subscription; a symbol that nobody lists stays silent.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from http import HTTPStatus
from math import isnan
from typing import Any, Final

from edc_pipeline.market_day import NS_PER_SECOND
from edc_pipeline.simulator.instruments import Instrument
from edc_pipeline.simulator.market import QUOTE, TRADE, Tick
from edc_pipeline.simulator.session import Asked, Reply, Terms
from edc_pipeline.simulator.wanted import MS, Wanted, compact, is_key, request, said

_LISTED_ON: Final = {"equity": "stocks", "etf": "etf", "fx": "forex", "crypto": "crypto"}


class Finage:
    def __init__(
        self, instruments: Sequence[Instrument], *, terms: Terms | None = None, seed: int = 0
    ) -> None:
        self.paths = {f"/{service}": service for service in _LISTED_ON.values()}
        self._instruments = tuple(instruments)
        self._terms = terms or Terms()
        self._seed = seed

    def refusal(self, asked: Asked) -> HTTPStatus | None:
        return None

    def session(self, service: str, ordinal: int, asked: Asked) -> FinageSession:
        choice = random.Random(f"{self._seed}/{service}/{ordinal}")
        is_let_in = is_key(self._terms, asked.query.get("token"))
        return FinageSession(service, self._instruments, choice, is_let_in)


class FinageSession:
    def __init__(
        self,
        service: str,
        instruments: Sequence[Instrument],
        choice: random.Random,
        is_let_in: bool,
    ) -> None:
        self.service = service
        self.refused = not is_let_in
        self._choice = choice
        self._wanted = Wanted(
            {
                one.symbol.replace("/", ""): n
                for n, one in enumerate(instruments)
                if _LISTED_ON[one.asset_class] == service
            }
        )

    def greeting(self) -> list[Reply]:
        if self.refused:
            return [said("error", {"status_code": 401, "message": "invalid socket key"})]
        told = {"status_code": 200, "id": f"{self._choice.getrandbits(32):08x}"}
        return [
            said("info", {**told, "message": "authorizing"}),
            said("info", {**told, "message": "connected to the adapter"}),
        ]

    @property
    def subscription(self) -> Hashable | None:
        return self._wanted.key and (self.service, self._wanted.key)

    def heartbeat(self) -> Reply | None:
        return None

    def on_message(self, message: str | bytes) -> list[Reply]:
        asked = request(message)
        tickers = [one for one in str(asked.get("symbols", "")).upper().split(",") if one]
        if asked.get("action") == "subscribe":
            self._wanted.add(one.replace("/", "") for one in tickers)
        elif asked.get("action") == "unsubscribe":
            self._wanted.remove(tickers)
        return []

    def on_tick(self, tick: Tick) -> str | None:
        ticker = self._wanted.ticker(tick.instrument)
        if ticker is None:
            return None
        if self.service == "crypto":
            return self._coin(tick, ticker)
        if tick.kind != QUOTE or (isnan(tick.bid) and isnan(tick.ask)):
            return None
        return self._pair(tick, ticker) if self.service == "forex" else self._stock(tick, ticker)

    def _coin(self, tick: Tick, ticker: str) -> str | None:
        """All numbers as text."""
        if tick.kind != TRADE:
            return None
        text = {"s": ticker, "p": f"{tick.price:.8f}", "q": f"{tick.size:.8f}"}
        return compact({**text, "dc": "-0.4100", "dd": "-370.10", "t": tick.ts_ns // MS})

    def _pair(self, tick: Tick, ticker: str) -> str:
        """Subscribed as EURUSD, told as EUR/USD; a side that is missing is left out."""
        row: dict[str, Any] = {"s": f"{ticker[:3]}/{ticker[3:]}"}
        row |= {k: v for k, v in (("a", tick.ask), ("b", tick.bid)) if not isnan(v)}
        row |= {"dc": "0.0210", "dd": "0.0002", "ppms": False, "t": tick.ts_ns // MS}
        return compact(row)

    def _stock(self, tick: Tick, ticker: str) -> str:
        """Short or long names of the prices; a missing side is left out, or is a bare NaN."""
        ask, bid = ("a", "b") if self._choice.random() < 0.5 else ("ap", "bp")
        sides = {ask: tick.ask, "as": tick.ask_size, bid: tick.bid, "bs": tick.bid_size}
        if self._choice.random() < 0.5:
            sides = {name: value for name, value in sides.items() if not isnan(value)}
        numbers = ",".join(
            f'"{name}":{"NaN" if isnan(value) else repr(value)}' for name, value in sides.items()
        )
        unit = NS_PER_SECOND if self.service == "etf" else MS
        return f'{{"s":"{ticker}",{numbers},"t":{tick.ts_ns // unit}}}'
