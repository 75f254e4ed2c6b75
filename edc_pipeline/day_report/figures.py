"""What came when, how late, and at what price: counted block by block over a daily file."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edc_pipeline.day_report.codes import Codes
from edc_pipeline.events import EventType
from edc_pipeline.market_day import NS_PER_SECOND, day_bounds

_MINUTE_NS: Final = 60 * NS_PER_SECOND
_HOUR_NS: Final = 60 * _MINUTE_NS

# Buckets of latency in seconds, ten to a decade; below the first lies what a vendor's clock that
# runs ahead of ours makes negative (C2: neither is clamped).
LATENCY_EDGES_S: Final = np.concatenate([[-1.0, -0.01, 0.0], np.logspace(-4, 3, 71)])

# A reference price of these kinds is a price of the moment; `prev_close` or `high` is not.
_MOMENTARY: Final = (b"reference", b"last", b"mid")
_VENDORS: Final = 1 << 12
_MINUTES: Final = 1 << 11

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LastPrices:
    """The last price of a minute, by vendor and symbol: parallel columns, ordered by all three.

    `price` is the mid for quotes; `spread` is ask − bid, NaN for other types.
    """

    symbol: Ints
    vendor: Ints
    minute: Ints
    price: Floats
    spread: Floats


@dataclass(slots=True)
class Figures:
    event_type: EventType
    day: dt.date
    vendors: list[str] = field(default_factory=list)
    symbols: list[str] = field(default_factory=list)
    rows_of_symbol: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    per_minute: dict[str, Ints] = field(default_factory=dict)  # vendor → events of each minute
    latency: dict[str, Ints] = field(default_factory=dict)  # vendor → [hour, bucket]
    prices: LastPrices | None = None

    @property
    def minutes(self) -> int:
        """1,440, but for the days of 23 and 25 hours."""
        first, end = day_bounds(self.day)
        return (end - first) // _MINUTE_NS

    def busiest(self, number: int) -> list[int]:
        """Symbols by number, the one with the most rows first."""
        return [int(n) for n in np.argsort(-self.rows_of_symbol, kind="stable")[:number]]


class Counting:
    """Blocks in, `Figures` out."""

    def __init__(self, event_type: EventType, day: dt.date) -> None:
        self.figures = Figures(event_type, day)
        self._first = day_bounds(day)[0]
        self._vendors = Codes()
        self._rows: Ints = np.zeros(0, np.int64)
        self._keys: list[Ints] = []
        self._prices: list[Floats] = []
        self._spreads: list[Floats] = []

    def add(self, block: npt.NDArray[Any], symbols: Ints) -> None:
        vendors = self._vendors.of(block["vendor"])
        since = block["ts_event"] - self._first
        minutes = np.clip(since // _MINUTE_NS, 0, self.figures.minutes - 1)
        self._count(vendors, minutes, symbols)
        self._time(block, vendors, since)
        self._price(block, vendors, minutes, symbols)

    def done(self, symbols: Codes) -> Figures:
        self.figures.vendors = self._vendors.texts
        self.figures.symbols = symbols.texts
        self.figures.rows_of_symbol = np.pad(
            self._rows, (0, len(self.figures.symbols) - len(self._rows))
        )
        self.figures.prices = self._last_prices()
        return self.figures

    def _count(self, vendors: Ints, minutes: Ints, symbols: Ints) -> None:
        length = self.figures.minutes
        for number, vendor in enumerate(self._vendors.texts):
            counts = np.bincount(minutes[vendors == number], minlength=length)
            before = self.figures.per_minute.get(vendor, 0)
            self.figures.per_minute[vendor] = before + counts
        rows = np.bincount(symbols, minlength=len(self._rows))
        rows[: len(self._rows)] += self._rows
        self._rows = rows

    def _time(self, block: npt.NDArray[Any], vendors: Ints, since: Ints) -> None:
        """Only what a vendor stamped and sent live says how long the way to us was."""
        timed = (block["ts_source"] == b"vendor") & (block["origin"] == b"live")
        if not timed.any():
            return
        seconds = (block["created_at"][timed] - block["ts_event"][timed]) / NS_PER_SECOND
        buckets = np.searchsorted(LATENCY_EDGES_S, seconds)
        hours = np.clip(since[timed] // _HOUR_NS, 0, 24)
        wide = len(LATENCY_EDGES_S) + 1
        for number, vendor in enumerate(self._vendors.texts):
            mine = vendors[timed] == number
            counts = np.bincount(hours[mine] * wide + buckets[mine], minlength=25 * wide)
            before = self.figures.latency.get(vendor, 0)
            self.figures.latency[vendor] = before + counts.reshape(25, wide)

    def _price(self, block: npt.NDArray[Any], vendors: Ints, minutes: Ints, symbols: Ints) -> None:
        price, spread, usable = price_and_spread(self.figures.event_type, block)
        if not usable.any():
            return
        keys = ((symbols * _VENDORS + vendors) * _MINUTES + minutes)[usable]
        # Rows go by time: the first of the reversed rows is the last of its minute.
        distinct, at = np.unique(keys[::-1], return_index=True)
        last = len(keys) - 1 - at
        self._keys.append(distinct)
        self._prices.append(price[usable][last])
        self._spreads.append(spread[usable][last])

    def _last_prices(self) -> LastPrices | None:
        if not self._keys:
            return None
        keys = np.concatenate(self._keys[::-1])
        # Later blocks stand first, and of equal keys the first is taken.
        keys, at = np.unique(keys, return_index=True)
        return LastPrices(
            symbol=keys // (_MINUTES * _VENDORS),
            vendor=keys // _MINUTES % _VENDORS,
            minute=keys % _MINUTES,
            price=np.concatenate(self._prices[::-1])[at],
            spread=np.concatenate(self._spreads[::-1])[at],
        )


def price_and_spread(
    event_type: EventType, block: npt.NDArray[Any]
) -> tuple[Floats, Floats, npt.NDArray[np.bool_]]:
    """Each row's price of the moment, its spread, and whether it has one that can be meant."""
    if event_type == "quote":
        bid, ask = block["bid_price"], block["ask_price"]
        return (bid + ask) / 2, ask - bid, (bid > 0) & (ask > 0)
    price = block["price"]
    usable = price > 0
    if event_type == "ref_px":
        momentary = np.isin(block["kind"], _MOMENTARY)
        usable &= momentary
    return price, np.full(len(price), np.nan), usable


def latency_quantile(counts: Ints, q: float) -> float | None:
    """Seconds below which the q-th part of the samples lies; None: no sample."""
    total = int(counts.sum())
    if not total:
        return None
    bucket = int(np.searchsorted(np.cumsum(counts), q * total))
    return float(LATENCY_EDGES_S[min(bucket, len(LATENCY_EDGES_S) - 1)])
