"""Coinbase's websocket protocols, server side: Exchange and Advanced Trade. No I/O.

Built from the protocols' descriptions alone, never from the adapter that will read them. Here both
tell the same trades of one exchange, with the same numbers.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Hashable, Sequence
from http import HTTPStatus
from typing import Any, Final

from edc_pipeline.market_day import NS_PER_SECOND
from edc_pipeline.simulator.instruments import Instrument
from edc_pipeline.simulator.market import TRADE, Tick
from edc_pipeline.simulator.session import Asked, Reply, Terms
from edc_pipeline.simulator.tape import MessageLimit, Printed, Tape, decimal

PATHS: Final = {"/exchange": "exchange", "/advanced": "advanced"}
_VENUE: Final = 0  # of the market's venues, the one that Tiingo still calls gdax
_CHANNELS: Final = ("matches", "ticker", "ticker_batch", "heartbeat", "status", "level2_batch")
_ADVANCED_CHANNELS: Final = ("market_trades", "ticker", "heartbeats", "status", "candles", "level2")
_MESSAGES_PER_S: Final = {"exchange": 100, "advanced": 8}


class Coinbase:
    heartbeat_s = 1.0  # once subscribed

    def __init__(
        self, instruments: Sequence[Instrument], *, terms: Terms | None = None, seed: int = 0
    ) -> None:
        self.paths = PATHS
        self.tape = Tape(instruments, venue=_VENUE)
        self._listed = {
            number: i.symbol.replace("/", "-")
            for number, i in enumerate(instruments)
            if i.asset_class == "crypto"
        }

    def refusal(self, asked: Asked) -> HTTPStatus | None:
        return None  # no key is asked for

    def session(
        self, service: str, ordinal: int, asked: Asked
    ) -> ExchangeSession | AdvancedSession:
        of_service = ExchangeSession if service == "exchange" else AdvancedSession
        return of_service(self._listed, self.tape)


class _Session:
    service = ""

    def __init__(self, listed: dict[int, str], tape: Tape) -> None:
        self.refused = False
        self._listed = listed
        self._number = {product: number for number, product in listed.items()}
        self._tape = tape
        self._subscribed: dict[str, dict[str, None]] = {}  # channel → products
        self._limit = MessageLimit(_MESSAGES_PER_S[self.service])
        self._beats = 0

    def greeting(self) -> list[Reply]:
        return []

    @property
    def subscription(self) -> Hashable | None:
        if not self._subscribed:
            return None
        return frozenset((c, frozenset(p)) for c, p in self._subscribed.items())

    def on_message(self, message: str | bytes) -> list[Reply]:
        if self._limit.exceeded():
            self.refused = True
            return [_error("rate limit exceeded")]
        try:
            request = json.loads(message)
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict):
            return [_error("Malformed JSON")]
        if request.get("type") not in ("subscribe", "unsubscribe"):
            return [_error("Unknown message type")]
        return self._answer(request)

    def _answer(self, request: dict[str, Any]) -> list[Reply]:
        raise NotImplementedError

    def _wants(self, channel: str, product: str) -> bool:
        return product in self._subscribed.get(channel, ())


class ExchangeSession(_Session):
    service = "exchange"

    def heartbeat(self) -> Reply | None:
        """Each product has its own, every second; one after the other here."""
        products = list(self._subscribed.get("heartbeat", ()))
        if not products:
            return None
        product = products[self._beats % len(products)]
        self._beats += 1
        number = self._number[product]
        trades = self._tape.trades(number)
        told = {
            "type": "heartbeat",
            "last_trade_id": trades[-1].number if trades else 0,
            "product_id": product,
            "sequence": self._tape.changes(number),
            "time": _iso(trades[-1].tick.ts_ns if trades else 0),
        }
        return Reply("heartbeat", _json(told))

    def _answer(self, request: dict[str, Any]) -> list[Reply]:
        asked: list[tuple[str, list[str]]] = []
        for channel in request.get("channels") or []:
            name = channel.get("name") if isinstance(channel, dict) else channel
            products = channel.get("product_ids") if isinstance(channel, dict) else None
            asked.append((str(name), products or request.get("product_ids") or []))
        for name, products in asked:
            if name not in _CHANNELS:
                return [_error("Failed to subscribe", f"{name} is not a valid channel")]
            for product in products:
                if product not in self._number:
                    return [_error("Failed to subscribe", f"{product} is not a valid product")]
        snapshots: list[Reply] = []
        for name, products in asked:
            known = self._subscribed.setdefault(name, {})
            for product in products:
                if request["type"] == "unsubscribe":
                    known.pop(product, None)
                elif product not in known:
                    known[product] = None
                    snapshots += self._snapshot(name, product)
        return [Reply("info", _json(self._subscriptions())), *snapshots]

    def _subscriptions(self) -> dict[str, Any]:
        """All that stands by now; ticker_batch under the name that recordings show."""
        channels = [
            {
                "name": "ticker_1000" if name == "ticker_batch" else name,
                "product_ids": list(products),
                "account_ids": None,
            }
            for name, products in self._subscribed.items()
        ]
        return {"type": "subscriptions", "channels": channels}

    def _snapshot(self, channel: str, product: str) -> list[Reply]:
        trades = self._tape.trades(self._number[product])
        if not trades:
            return []
        if channel == "matches":
            return [Reply("snapshot", self._match("last_match", product, trades[-1]))]
        if channel in ("ticker", "ticker_batch"):
            return [Reply("snapshot", self._ticker(product, trades[-1]))]
        return []

    def on_tick(self, tick: Tick) -> list[str] | None:
        if not self._tape.hear(tick) or tick.kind != TRADE:
            return None
        product = self._listed[tick.instrument]
        print_ = self._tape.trades(tick.instrument)[-1]
        frames = []
        if self._wants("matches", product):
            frames.append(self._match("match", product, print_))
        if self._wants("ticker", product):
            frames.append(self._ticker(product, print_))
        return frames or None

    def _match(self, kind: str, product: str, print_: Printed) -> str:
        tick = print_.tick
        told = {
            "type": kind,
            "trade_id": print_.number,
            "maker_order_id": f"00000000-0000-4000-8000-{print_.number:012d}",
            "taker_order_id": f"00000000-0000-4000-9000-{print_.number:012d}",
            "side": "sell" if print_.buyer_came else "buy",  # the maker's
            "size": decimal(tick.size),
            "price": decimal(tick.price),
            "product_id": product,
            "sequence": 10 * print_.number,
            "time": _iso(tick.ts_ns),
        }
        return _json(told)

    def _ticker(self, product: str, print_: Printed) -> str:
        tick = print_.tick
        told = {
            "type": "ticker",
            "sequence": 10 * print_.number,
            "product_id": product,
            "price": decimal(tick.price),
            "best_bid": decimal(tick.bid),
            "best_bid_size": decimal(tick.bid_size),
            "best_ask": decimal(tick.ask),
            "best_ask_size": decimal(tick.ask_size),
            "side": "buy" if print_.buyer_came else "sell",  # the taker's
            "time": _iso(tick.ts_ns),
            "trade_id": print_.number,
            "last_size": decimal(tick.size),
        }
        return _json(told)


class AdvancedSession(_Session):
    service = "advanced"

    def __init__(self, listed: dict[int, str], tape: Tape) -> None:
        super().__init__(listed, tape)
        self._sent = 0

    def heartbeat(self) -> Reply | None:
        if "heartbeats" not in self._subscribed:
            return None
        self._beats += 1
        event = {"current_time": "2026-01-22 17:00:00 +0000 UTC", "heartbeat_counter": self._beats}
        return Reply("heartbeat", self._frame("heartbeats", 0, event))

    def _frame(self, channel: str, at_ns: int, event: dict[str, Any]) -> str:
        """Every frame of the connection is numbered, whatever its channel."""
        number, self._sent = self._sent, self._sent + 1
        told = {
            "channel": channel,
            "client_id": "",
            "timestamp": _iso(at_ns, 9),
            "sequence_num": number,
            "events": [event],
        }
        return _json(told)

    def _answer(self, request: dict[str, Any]) -> list[Reply]:
        channel, products = request.get("channel"), request.get("product_ids") or []
        if channel not in _ADVANCED_CHANNELS:
            return [_error(f"channel {channel} is not valid")]
        if channel == "heartbeats":
            products = ["heartbeats"]
        elif not products or any(product not in self._number for product in products):
            return [_error(f"failed to subscribe to {channel}: a product is not valid")]
        known = self._subscribed.setdefault(channel, {})
        snapshots = []
        for product in products:
            if request["type"] == "unsubscribe":
                known.pop(product, None)
            else:
                known[product] = None
                snapshots.append(product)
        listed = {name: list(of) for name, of in self._subscribed.items()}
        replies = [Reply("info", self._frame("subscriptions", 0, {"subscriptions": listed}))]
        for product in snapshots:
            replies += self._snapshot(channel, product)
        return replies

    def _snapshot(self, channel: str, product: str) -> list[Reply]:
        trades = (
            self._tape.trades(self._number.get(product, -1))
            if channel
            in (
                "market_trades",
                "ticker",
            )
            else ()
        )
        if not trades:
            return []
        at_ns = trades[-1].tick.ts_ns
        if channel == "ticker":
            event = {"type": "snapshot", "tickers": [_advanced_ticker(product, trades[-1])]}
        else:
            newest_first = [_advanced_trade(product, print_) for print_ in reversed(trades)]
            event = {"type": "snapshot", "trades": newest_first}
        return [Reply("snapshot", self._frame(channel, at_ns, event))]

    def on_tick(self, tick: Tick) -> list[str] | None:
        if not self._tape.hear(tick) or tick.kind != TRADE:
            return None
        product = self._listed[tick.instrument]
        print_ = self._tape.trades(tick.instrument)[-1]
        frames = []
        if self._wants("market_trades", product):
            event = {"type": "update", "trades": [_advanced_trade(product, print_)]}
            frames.append(self._frame("market_trades", tick.ts_ns, event))
        if self._wants("ticker", product):
            event = {"type": "update", "tickers": [_advanced_ticker(product, print_)]}
            frames.append(self._frame("ticker", tick.ts_ns, event))
        return frames or None


def _advanced_trade(product: str, print_: Printed) -> dict[str, Any]:
    return {
        "trade_id": str(print_.number),
        "product_id": product,
        "price": decimal(print_.tick.price),
        "size": decimal(print_.tick.size),
        "side": "SELL" if print_.buyer_came else "BUY",  # the maker's
        "time": _iso(print_.tick.ts_ns),
    }


def _advanced_ticker(product: str, print_: Printed) -> dict[str, Any]:
    tick = print_.tick
    return {
        "type": "ticker",
        "product_id": product,
        "price": decimal(tick.price),
        "best_bid": decimal(tick.bid),
        "best_bid_quantity": decimal(tick.bid_size),
        "best_ask": decimal(tick.ask),
        "best_ask_quantity": decimal(tick.ask_size),
    }


def _iso(ts_ns: int, digits: int = 6) -> str:
    """Trailing zeros of the fraction are left out: `…59.4104Z`."""
    second, ns = divmod(ts_ns, NS_PER_SECOND)
    moment = dt.datetime.fromtimestamp(second, dt.UTC).isoformat()[:19]
    fraction = f"{ns:09d}"[:digits].rstrip("0")
    return f"{moment}.{fraction}Z" if fraction else f"{moment}Z"


def _error(message: str, reason: str = "") -> Reply:
    told = {"type": "error", "message": message}
    return Reply("error", _json(told | {"reason": reason} if reason else told))


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
