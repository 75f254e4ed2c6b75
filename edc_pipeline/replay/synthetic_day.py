"""A made day of any size: so many events of so many symbols, the same for the same seed. Pure.

It is for benchmarks, demos and tests that need rows in the million: whole columns at a time,
random walks on a grid of cents, no bursts, halts or correlations. `simulator.market` is the
believable market, and a hundred times slower.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edc_pipeline.market_day import NS_PER_SECOND, midnight_ns
from edc_pipeline.replay.records import KINDS, Block, Label, Labels, record_dtype, widened
from edc_pipeline.simulator.instruments import LISTED, Instrument, listing

BLOCK_ROWS: Final = 65_536
TRADE_SHARE: Final = 0.25
_OPEN_S: Final = 34_200  # 9:30 to 16:00 after midnight: an hour off on the two days of a change
_SESSION_S: Final = 23_400
_LATENCY_NS: Final = 4_000_000
# Activity over the session, by sixths: most at the bells.
_SHAPE: Final = np.array([3.0, 1.2, 0.8, 0.7, 0.9, 2.4])
VENDOR: Final = "synthetic"


@dataclass(frozen=True, slots=True)
class SyntheticDay:
    """`events` trades and quotes of these instruments over one New York session."""

    day: dt.date
    instruments: Sequence[Instrument]
    events: int
    seed: int = 0

    @property
    def name(self) -> str:
        return f"synthetic {self.day}"

    @property
    def id_bytes(self) -> int:
        return 0

    def symbols(self) -> dict[str, str]:
        return {i.symbol: i.asset_class for i in self.instruments}

    def blocks(
        self, labels: Labels, id_bytes: int = 0, from_ns: int | None = None
    ) -> Iterator[Block]:
        """In the order of time."""
        for block in self._blocks(labels):
            rows = block if from_ns is None else block[block["ts_event"] >= from_ns]
            if len(rows):
                yield widened(rows, id_bytes)

    def _blocks(self, labels: Labels, block_rows: int = BLOCK_ROWS) -> Iterator[Block]:
        random = np.random.default_rng(self.seed)
        cents = np.array([round(i.start_price * i.ticks_per_unit) for i in self.instruments])
        cents = cents.astype(np.int64)
        weights = np.cumsum([i.activity for i in self.instruments])
        codes = np.array([labels.code(label_of(i)) for i in self.instruments], np.int32)
        for start in range(0, self.events, block_rows):
            rows = min(block_rows, self.events - start)
            block = np.empty(rows, record_dtype())
            block["ts_event"] = self._times(start, rows, random)
            # Received some ms later, each at its own pace, never before the one before it.
            received = block["ts_event"] + _LATENCY_NS + random.integers(0, 10**6, rows)
            block["created_at"] = np.maximum.accumulate(received)
            block["seq"] = -1
            of = np.searchsorted(weights, random.random(rows) * weights[-1], side="right")
            of = of.astype(np.int16 if len(weights) < 2**15 else np.int64)
            block["label"] = codes[of]
            self._prices(block, of, cents, random)
            yield block

    def _times(self, start: int, rows: int, random: np.random.Generator) -> NDArray[Any]:
        """Row n of N lies in the n-th N-th of the day's activity: in order without sorting."""
        share = (start + np.arange(rows) + random.random(rows)) / self.events
        reached = np.concatenate(([0.0], np.cumsum(_SHAPE) / _SHAPE.sum()))
        into = np.interp(share, reached, np.linspace(0.0, float(_SESSION_S), len(reached)))
        bell = midnight_ns(self.day) + _OPEN_S * NS_PER_SECOND
        return bell + (into * NS_PER_SECOND).astype(np.int64)

    def _prices(
        self, block: Block, of: NDArray[Any], cents: NDArray[np.int64], random: np.random.Generator
    ) -> None:
        """A walk for each instrument, carried from block to block in `cents`."""
        rows = len(block)
        order = np.argsort(of, kind="stable")  # a radix sort, on 16 bits
        grouped = of[order]
        steps = random.integers(-1, 2, rows)
        walk = np.cumsum(steps)
        first = np.flatnonzero(np.concatenate(([True], grouped[1:] != grouped[:-1])))
        sizes = np.diff(np.append(first, rows))
        before = np.repeat(walk[first] - steps[first], sizes)
        price = np.maximum(cents[grouped] + walk - before, 2)
        last = first + sizes - 1
        cents[grouped[last]] = price[last]
        units = np.array([float(i.ticks_per_unit) for i in self.instruments])
        typical = np.array([i.typical_size for i in self.instruments])
        mid = np.empty(rows, np.int64)
        mid[order] = price
        unit, size = units[of], np.round(typical[of] * random.integers(1, 10, rows), 8)
        ask_size = np.round(typical[of] * random.integers(1, 10, rows), 8)
        is_trade = random.random(rows) < TRADE_SHARE
        block["type"] = np.where(is_trade, KINDS["trade"], KINDS["quote"])
        # Whole ticks divided once: the correctly rounded decimal.
        block["price"] = (mid - ~is_trade) / unit
        block["size"] = size
        block["ask_price"] = np.where(is_trade, np.nan, (mid + 1) / unit)
        block["ask_size"] = np.where(is_trade, np.nan, ask_size)


def label_of(instrument: Instrument) -> Label:
    symbol, asset_class = instrument.symbol, instrument.asset_class
    return Label(symbol, asset_class, VENDOR, feed=asset_class, origin="backfill")


def many_instruments(count: int) -> tuple[Instrument, ...]:
    """The usual ones first, then invented stocks SYM16, SYM17, …"""
    usual = list(LISTED)[:count]
    return listing([*usual, *(f"SYM{n}" for n in range(len(usual) + 1, count + 1))])
