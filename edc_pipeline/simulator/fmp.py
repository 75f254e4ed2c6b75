"""The websockets of Financial Modeling Prep, server side. Built from the protocol's description
alone. The three hosts are three paths here.

Not documented, and chosen here: the words of refusals, that a subscription is answered, and the
form of the heartbeat.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from http import HTTPStatus
from typing import Any, Final

from edc_pipeline.simulator.instruments import Instrument
from edc_pipeline.simulator.market import BREAK, QUOTE, Tick
from edc_pipeline.simulator.session import Asked, Reply, ReplyKind, Terms
from edc_pipeline.simulator.wanted import Wanted, compact, is_key, null, request, said

_LISTED_ON: Final = {"equity": "stocks", "etf": "stocks", "fx": "forex", "crypto": "crypto"}
_EXCHANGES: Final = ("gdax", "binance", "bitfinex", "kraken")


class Fmp:
    def __init__(
        self, instruments: Sequence[Instrument], *, terms: Terms | None = None, seed: int = 0
    ) -> None:
        self.paths = {"/stocks": "stocks", "/forex": "forex", "/crypto": "crypto"}
        self._instruments = tuple(instruments)
        self._terms = terms or Terms()

    def refusal(self, asked: Asked) -> HTTPStatus | None:
        return None

    def session(self, service: str, ordinal: int, asked: Asked) -> FmpSession:
        return FmpSession(service, self._instruments, self._terms, nested=ordinal % 2 == 0)


class FmpSession:
    def __init__(
        self, service: str, instruments: Sequence[Instrument], terms: Terms, *, nested: bool
    ) -> None:
        self.service = service
        self.refused = False
        self._terms = terms
        self._nested = nested  # whether the status stands in `data`: both have been seen
        self._is_let_in = False
        self._wanted = Wanted(
            {
                one.symbol.lower().replace("/", "").replace(".", "-"): n
                for n, one in enumerate(instruments)
                if _LISTED_ON[one.asset_class] == service
            }
        )

    def greeting(self) -> list[Reply]:
        return []

    @property
    def subscription(self) -> Hashable | None:
        return self._wanted.key and (self.service, self._wanted.key)

    def heartbeat(self) -> Reply | None:
        return said("heartbeat", {"event": "heartbeat"}) if self._is_let_in else None

    def on_message(self, message: str | bytes) -> list[Reply]:
        asked = request(message)
        event, data = str(asked.get("event")), asked.get("data")
        data = data if isinstance(data, dict) else {}
        if event == "login":
            self._is_let_in = is_key(self._terms, data.get("apiKey"))
            self.refused = not self._is_let_in
            if self.refused:
                return [self._answer("login", 401, "Invalid API key")]
            return [self._answer("login", 200, "Authenticated")]
        if not self._is_let_in:
            return [self._answer(event, 401, "Not authenticated")]
        tickers = data.get("ticker", [])
        tickers = [tickers] if isinstance(tickers, str) else [str(one) for one in tickers]
        match event:
            case "subscribe":
                known, unknown = self._wanted.add(tickers)
                answers = [self._answer(event, 404, f"Unknown ticker {one}") for one in unknown]
                if known:
                    answers.append(self._answer(event, 200, f"Subscribed to {','.join(known)}"))
                return answers
            case "unsubscribe":
                self._wanted.remove(tickers)
                return [self._answer(event, 200, "Unsubscribed")]
        return [self._answer(event, 400, "Unknown event")]

    def _answer(self, event: str, status: int, message: str) -> Reply:
        told = {"status": status, "message": message}
        kind: ReplyKind = "info" if status == 200 else "error"
        if self._nested and event == "login":
            return said(kind, {"event": event, "data": told})
        return said(kind, {"event": event, **told})

    def on_tick(self, tick: Tick) -> str | None:
        ticker = self._wanted.ticker(tick.instrument)
        if ticker is None:
            return None
        # Upstream the nanoseconds went through a float.
        row: dict[str, Any] = {"s": ticker, "t": int(float(tick.ts_ns))}
        if self.service == "crypto":
            row["e"] = _EXCHANGES[tick.venue]
        if tick.kind == QUOTE:
            row |= {
                "type": "Q",
                "ap": null(tick.ask),
                "as": null(tick.ask_size),
                "bp": null(tick.bid),
                "bs": null(tick.bid_size),
                "lp": None,
                "ls": None,
            }
        else:
            row |= {"type": "B" if tick.kind == BREAK else "T", "lp": tick.price, "ls": tick.size}
        return compact(row)
