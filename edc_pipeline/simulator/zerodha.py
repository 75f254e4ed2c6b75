"""Zerodha's Kite ticker, server side: binary snapshots of what was subscribed. No I/O.

Built from the protocol's description alone, never from the adapter that will read it. What is sent
is how things stand, once a second, the same to all who listen, and only of what changed; what
happened in between is not told.
How the real one answers a fourth connection is not known: here, as it answers a wrong token.
"""

from __future__ import annotations

import hmac
import json
import struct
import zlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from math import isnan
from typing import Any, Final

from edc_pipeline.market_day import NS_PER_SECOND
from edc_pipeline.simulator.instruments import Instrument
from edc_pipeline.simulator.market import QUOTE, TRADE, Tick
from edc_pipeline.simulator.session import Asked, Reply, Terms

PATHS: Final = {"/": "ticker"}
MOST_INSTRUMENTS: Final = 3000
MOST_CONNECTIONS: Final = 3
_MODES: Final = ("ltp", "quote", "full")
_FIRST_MODE: Final = "quote"
_EVERY_NS: Final = NS_PER_SECOND

# By asset class: what stands in the token's lowest byte, and how many parts a unit of price has.
_SEGMENTS: Final = {
    "equity": (1, 100, "NSE"),
    "etf": (4, 100, "BSE"),
    "fx": (3, 10_000_000, "CDS"),
    "crypto": (9, 100, "INDICES"),  # no coins are listed there; an index behaves like one
}
_LEVELS: Final = 5


def token_of(symbol: str, asset_class: str) -> int:
    segment, _, _ = _SEGMENTS[asset_class]
    return (zlib.crc32(symbol.encode()) & 0x7FFFFF) << 8 | segment


def dump_of_instruments(instruments: Sequence[Instrument]) -> str:
    """As `GET /instruments` has it."""
    lines = [
        "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,"
        "lot_size,instrument_type,segment,exchange"
    ]
    for one in instruments:
        token = token_of(one.symbol, one.asset_class)
        segment = _SEGMENTS[one.asset_class][2]
        exchange = "NSE" if segment == "INDICES" else segment
        kind = "FUT" if segment == "CDS" else "EQ"
        lines.append(
            f'{token},{token >> 8},{one.symbol},"{one.symbol}",0,,0,0.05,1,{kind},{segment},'
            f"{exchange}"
        )
    return "\n".join(lines) + "\n"


@dataclass(slots=True)
class Standing:
    """How one instrument stands."""

    last: float = 0.0
    last_size: float = 0.0
    last_ns: int = 0
    at_ns: int = 0
    volume: float = 0.0
    worth: float = 0.0
    open: float = 0.0
    high: float = 0.0
    low: float = 0.0
    close: float = 0.0
    bid: float = float("nan")
    bid_size: float = float("nan")
    ask: float = float("nan")
    ask_size: float = float("nan")

    def hear(self, tick: Tick) -> None:
        self.at_ns = tick.ts_ns
        if tick.kind in {QUOTE, TRADE}:
            self.bid, self.bid_size = tick.bid, tick.bid_size
            self.ask, self.ask_size = tick.ask, tick.ask_size
        if tick.kind == TRADE:
            self.last, self.last_size, self.last_ns = tick.price, tick.size, tick.ts_ns
            self.volume += tick.size
            self.worth += tick.size * tick.price
            self.open = self.open or tick.price
            self.high = max(self.high, tick.price)
            self.low = min(self.low or tick.price, tick.price)


class Zerodha:
    def __init__(
        self, instruments: Sequence[Instrument], *, terms: Terms | None = None, seed: int = 0
    ) -> None:
        self.paths = PATHS
        self.instruments = instruments
        # A book before the first tick of it: yesterday's close.
        self.standing = [Standing(close=i.start_price) for i in instruments]
        self._terms = terms or Terms()
        self._heard: Tick | None = None
        self._due_ns = 0
        self._is_due = False

    def hear(self, tick: Tick) -> bool:
        """Every session is given every tick, and it happened once; returns whether a snapshot is
        due with it."""
        if tick is not self._heard:
            self._heard = tick
            self.standing[tick.instrument].hear(tick)
            self._is_due = tick.at_ns >= self._due_ns
            if self._is_due:
                self._due_ns = tick.at_ns + _EVERY_NS
        return self._is_due

    def refusal(self, asked: Asked) -> HTTPStatus | None:
        token = asked.query.get("access_token", "")
        right = bool(token) and bool(asked.query.get("api_key"))
        if right and self._terms.token is not None:
            right = hmac.compare_digest(token.encode(), self._terms.token.encode())
        return None if right and len(asked.standing) < MOST_CONNECTIONS else HTTPStatus.FORBIDDEN

    def session(self, service: str, ordinal: int, asked: Asked) -> ZerodhaSession:
        return ZerodhaSession(service, self)


class ZerodhaSession:
    def __init__(self, service: str, exchange: Zerodha) -> None:
        self.service = service
        self.refused = False
        self._exchange = exchange
        instruments = exchange.instruments
        self._listed = {token_of(i.symbol, i.asset_class): n for n, i in enumerate(instruments)}
        self._token = {n: token for token, n in self._listed.items()}
        self._parts = {n: _SEGMENTS[i.asset_class][1] for n, i in enumerate(instruments)}
        self._modes: dict[int, str] = {}  # by token, in the order of subscription
        self._changed: set[int] = set()  # instruments

    # -- conversation -------------------------------------------------------------------------

    def greeting(self) -> list[Reply]:
        return []

    @property
    def subscription(self) -> Hashable | None:
        return frozenset(self._modes.items()) or None

    def heartbeat(self) -> Reply | None:
        return Reply("heartbeat", b"\x00")

    def on_message(self, message: str | bytes) -> list[Reply]:
        try:
            said = json.loads(message)
            what, value = said["a"], said["v"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return [_error("Invalid message")]
        match what, value:
            case "subscribe", [*tokens] if _are_tokens(tokens):
                if len({*self._modes, *tokens}) > MOST_INSTRUMENTS:
                    return [_error(f"Too many instruments: at most {MOST_INSTRUMENTS}")]
                for token in tokens:
                    self._modes.setdefault(token, _FIRST_MODE)
            case "unsubscribe", [*tokens] if _are_tokens(tokens):
                for token in tokens:
                    self._modes.pop(token, None)
            case "mode", [str(mode), [*tokens]] if mode in _MODES and _are_tokens(tokens):
                self._modes.update((token, mode) for token in tokens if token in self._modes)
            case _:
                return [_error(f"Invalid request: {what!r:.40}")]
        return []

    # -- data ---------------------------------------------------------------------------------

    def on_tick(self, tick: Tick) -> bytes | None:
        is_due = self._exchange.hear(tick)
        if self._token[tick.instrument] in self._modes:
            self._changed.add(tick.instrument)
        if not is_due or not self._changed:
            return None
        changed, self._changed = sorted(self._changed), set()
        packets = [
            self._packet(n, self._modes[token])
            for n in changed
            if (token := self._token[n]) in self._modes
        ]
        if not packets:
            return None
        head = struct.pack(">H", len(packets))
        return head + b"".join(struct.pack(">H", len(p)) + p for p in packets)

    def _packet(self, instrument: int, mode: str) -> bytes:
        token, stands, parts = (
            self._token[instrument],
            self._exchange.standing[instrument],
            self._parts[instrument],
        )

        def money(*prices: float) -> bytes:
            return b"".join(struct.pack(">i", round(price * parts)) for price in prices)

        def units(*counts: float) -> bytes:
            return b"".join(struct.pack(">I", int(count) & 0xFFFFFFFF) for count in counts)

        head = struct.pack(">I", token) + money(stands.last)
        if mode == "ltp":
            return head
        if token & 0xFF == 9:
            day = money(stands.high, stands.low, stands.open, stands.close)
            change = money(stands.last - stands.close if stands.last else 0.0)
            at = units(stands.at_ns // NS_PER_SECOND) if mode == "full" else b""
            return head + day + change + at
        average = stands.worth / stands.volume if stands.volume else 0.0
        quote = b"".join(
            (
                head,
                units(stands.last_size),
                money(average),
                units(stands.volume),
                units(_count(stands.bid_size) * 3, _count(stands.ask_size) * 3),
                money(stands.open, stands.high, stands.low, stands.close),
            )
        )
        if mode == "quote":
            return quote
        times = (
            units(stands.last_ns // NS_PER_SECOND)
            + units(0, 0, 0)  # open interest: none of a share
            + units(stands.at_ns // NS_PER_SECOND)
        )
        bids = _side(stands.bid, stands.bid_size, -1, parts)
        return quote + times + bids + _side(stands.ask, stands.ask_size, 1, parts)


def _side(best: float, size: float, step: int, parts: int) -> bytes:
    """Five levels: quantity, price, orders, and two bytes of nothing. An empty one is all zero."""
    if isnan(best):
        return bytes(12 * _LEVELS)
    price = round(best * parts)
    return b"".join(
        struct.pack(">IiHH", int(size) + 10 * depth, price + step * depth, 1 + depth, 0)
        for depth in range(_LEVELS)
    )


def _count(size: float) -> int:
    return 0 if isnan(size) else int(size)


def _are_tokens(values: list[Any]) -> bool:
    return all(isinstance(v, int) and not isinstance(v, bool) for v in values)


def _error(text: str) -> Reply:
    return Reply("error", json.dumps({"type": "error", "data": text}))
