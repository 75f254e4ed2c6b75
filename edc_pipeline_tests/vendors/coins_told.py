"""What the keyless exchanges tell of a tick: each is one of a coin's venues, with its own clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from edc_pipeline.simulator.market import QUOTE, TRADE, Tick

Key = tuple[Any, ...]
Tells = Callable[[Tick, str], Iterator[Key]]

COINBASE: Final = 0
BINANCE: Final = 1
KRAKEN: Final = 3
MS: Final = 1_000_000
US: Final = 1_000


def trades(venue: int, clock_ns: int) -> Tells:
    def tells(tick: Tick, symbol: str) -> Iterator[Key]:
        if tick.venue == venue and tick.kind == TRADE:
            yield ("trade", tick.ts_ns // clock_ns * clock_ns, symbol, tick.price, tick.size)

    return tells


def quotes(venue: int, clock_ns: int | None, kind: int = QUOTE) -> Tells:
    """With `kind=TRADE`: the book that a trade met. Without a clock: the vendor tells no time."""

    def tells(tick: Tick, symbol: str) -> Iterator[Key]:
        if tick.venue == venue and tick.kind == kind:
            stamp = None if clock_ns is None else tick.ts_ns // clock_ns * clock_ns
            yield ("quote", stamp, symbol, tick.bid, tick.bid_size, tick.ask, tick.ask_size)

    return tells
