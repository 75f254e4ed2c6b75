"""The Finnhub websocket, server side. Built from the protocol's description alone.

A symbol that nobody lists is not refused: it stays silent. Of coins there are two exchanges,
`COINBASE:BTC-USD` and `BINANCE:BTCUSD`; the pairs of OANDA are prices without a volume.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from http import HTTPStatus
from math import isnan
from typing import Any, Final

from edc_pipeline.simulator.instruments import Instrument
from edc_pipeline.simulator.market import QUOTE, TRADE, Tick
from edc_pipeline.simulator.session import Asked, Reply, Terms
from edc_pipeline.simulator.wanted import MS, Wanted, compact, is_key, request, said

_SYMBOLS: Final = 50  # of the free plan
_MOST_IN_A_FRAME: Final = 4


class Finnhub:
    def __init__(
        self, instruments: Sequence[Instrument], *, terms: Terms | None = None, seed: int = 0
    ) -> None:
        self.paths = {"/": "trades"}
        self._instruments = tuple(instruments)
        self._terms = terms or Terms()
        self._seed = seed

    def refusal(self, asked: Asked) -> HTTPStatus | None:
        right = is_key(self._terms, asked.query.get("token"))
        return None if right else HTTPStatus.UNAUTHORIZED

    def session(self, service: str, ordinal: int, asked: Asked) -> FinnhubSession:
        choice = random.Random(f"{self._seed}/finnhub/{ordinal}")
        return FinnhubSession(self._instruments, self._terms, choice)


class FinnhubSession:
    service = "trades"

    def __init__(
        self, instruments: Sequence[Instrument], terms: Terms, choice: random.Random
    ) -> None:
        self.refused = False
        self._limit = terms.symbols or _SYMBOLS
        self._choice = choice
        self._class = [instrument.asset_class for instrument in instruments]
        listed: dict[str, int] = {}
        self._venue: dict[str, int] = {}  # of a coin's ticker: which of the market's books
        for number, instrument in enumerate(instruments):
            base, _, quote = instrument.symbol.partition("/")
            if instrument.asset_class == "crypto":
                for venue, ticker in enumerate(
                    (f"COINBASE:{base}-{quote}", f"BINANCE:{base}{quote}")
                ):
                    listed[ticker], self._venue[ticker] = number, venue
            elif instrument.asset_class == "fx":
                listed[f"OANDA:{base}_{quote}"] = number
            else:
                listed[instrument.symbol] = number
        self._wanted = Wanted(listed)
        self._waiting: list[dict[str, Any]] = []

    def greeting(self) -> list[Reply]:
        return []

    @property
    def subscription(self) -> Hashable | None:
        return self._wanted.key

    def heartbeat(self) -> Reply | None:
        return said("heartbeat", {"type": "ping"})

    def on_message(self, message: str | bytes) -> list[Reply]:
        asked = request(message)
        ticker = asked.get("symbol")
        if not isinstance(ticker, str):
            return [said("error", {"type": "error", "msg": "Invalid message"})]
        match asked.get("type"):
            case "subscribe" if len({*self._wanted.tickers, ticker}) > self._limit:
                msg = "Subscribing to too many symbols"
                return [said("error", {"type": "error", "msg": msg})]
            case "subscribe":
                self._wanted.add([ticker])
            case "unsubscribe":
                self._wanted.remove([ticker])
        return []

    def on_tick(self, tick: Tick) -> str | None:
        ticker = self._wanted.ticker(tick.instrument)
        if ticker is None or self._venue.get(ticker, tick.venue) != tick.venue:
            return None
        asset_class = self._class[tick.instrument]
        if asset_class == "fx":
            price = (tick.bid + tick.ask) / 2
            if tick.kind != QUOTE or isnan(price):
                return None
            row: dict[str, Any] = {"p": price, "s": ticker, "t": tick.ts_ns // MS, "v": 0}
        elif tick.kind == TRADE:
            size: float = tick.size if asset_class == "crypto" else int(tick.size)
            row = {"p": tick.price, "s": ticker, "t": tick.ts_ns // MS, "v": size}
            if asset_class != "crypto":
                row = {"c": ["1", "12"] if tick.odd_lot else None, **row}
        else:
            return None
        self._waiting.append(row)
        if len(self._waiting) < self._choice.randrange(1, _MOST_IN_A_FRAME + 1):
            return None
        # Not in the order of time, as recorded frames are not.
        self._choice.shuffle(self._waiting)
        frame = compact({"data": self._waiting, "type": "trade"})
        self._waiting = []
        return frame
