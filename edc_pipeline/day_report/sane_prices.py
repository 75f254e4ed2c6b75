"""Prices and sizes that cannot be meant. They stay in the file as the vendor sent them; this finds
and names them.

| fault | weighs | |
|---|---|---|
| non_positive | heavy | a price of zero or less |
| crossed | heavy | a bid above its ask |
| negative_size | heavy | a size below zero |
| jump | light | a trade's or mid's step from the symbol's former one, beyond 15 robust deviations |
| locked | light | a bid equal to its ask: happens, and lasts moments |

Heavy faults in more than one row of a hundred are no accidents of a vendor but a file that was read
wrongly, or a feed that must not be traded on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edc_pipeline.day_report.figures import Ints, price_and_spread
from edc_pipeline.events import EventType

HEAVY: Final = ("non_positive", "crossed", "negative_size")
TOO_MANY: Final = 0.01  # of all rows

JUMP_DEVIATIONS: Final = 15.0
# The deviation counted with at the least: a symbol that prints the same price all day has none,
# and one cent of a stock of 10 dollars is 10 basis points.
_LEAST_DEVIATION: Final = 0.0010
# Of a symbol with fewer steps in a block the deviation is not known: 15 × this is 30 %.
_UNKNOWN_DEVIATION: Final = 0.02
_KNOWN_FROM_STEPS: Final = 30
_TO_SIGMA: Final = 1.4826  # the median of |x| of a normal distribution, as its standard deviation

_PRICES: Final[dict[EventType, tuple[str, ...]]] = {
    "trade": ("price",),
    "quote": ("bid_price", "ask_price"),
    "ref_px": ("price",),
}
_SIZES: Final[dict[EventType, tuple[str, ...]]] = {
    "trade": ("size",),
    "quote": ("bid_size", "ask_size"),
    "ref_px": ("size",),
}
_FAULTS: Final[dict[EventType, tuple[str, ...]]] = {
    "trade": ("non_positive", "negative_size", "jump"),
    "quote": ("non_positive", "crossed", "locked", "negative_size", "jump"),
    "ref_px": ("non_positive", "negative_size"),
}


@dataclass(frozen=True, slots=True)
class InsaneRow:
    row: int
    what: str
    ts_event: int
    symbol: str
    vendor: str
    feed: str
    values: str


@dataclass(slots=True)
class Insane:
    """All are counted; of each fault the first are shown."""

    of_rows: int = 0
    rows: int = 0
    heavy_rows: int = 0
    by_fault: dict[str, int] = field(default_factory=dict)
    shown: list[InsaneRow] = field(default_factory=list)

    @property
    def in_words(self) -> str:
        faults = [f"{n:,} {what.replace('_', ' ')}" for what, n in self.by_fault.items() if n]
        return ", ".join(faults) or "every price is positive, no quote is crossed, nothing jumps"

    @property
    def untradable(self) -> bool:
        """A few faulty prices are a vendor's; this many are a file not to be traded on."""
        return self.heavy_rows > TOO_MANY * self.of_rows and self.heavy_rows > 10


class Looking:
    """Blocks in, `Insane` out."""

    def __init__(self, event_type: EventType, *, show: int) -> None:
        self.insane = Insane(by_fault=dict.fromkeys(_FAULTS[event_type], 0))
        self._event_type = event_type
        self._show_each = max(1, show // len(_FAULTS[event_type]))
        self._jumps = Jumps(event_type)

    def add(self, block: npt.NDArray[Any], symbols: Ints) -> None:
        insane = self.insane
        masks = faulty(self._event_type, block)
        if "jump" in insane.by_fault:
            masks["jump"] = self._jumps.of(block, symbols)
        for what, mask in masks.items():
            room = self._show_each - min(insane.by_fault[what], self._show_each)
            insane.by_fault[what] += int(mask.sum())
            for at in np.flatnonzero(mask)[:room].tolist():
                shown = _shown(insane.of_rows + at, what, block[at], self._event_type)
                insane.shown.append(shown)
        insane.rows += int(np.logical_or.reduce(list(masks.values())).sum())
        heavy = [mask for what, mask in masks.items() if what in HEAVY]
        insane.heavy_rows += int(np.logical_or.reduce(heavy).sum())
        insane.of_rows += len(block)


def faulty(event_type: EventType, block: npt.NDArray[Any]) -> dict[str, npt.NDArray[np.bool_]]:
    """A mask of rows for each fault. NaN means not given, and is no fault: it compares false."""
    prices = [block[name] for name in _PRICES[event_type]]
    masks = {"non_positive": np.logical_or.reduce([p <= 0 for p in prices])}
    if event_type == "quote":
        masks["crossed"] = block["bid_price"] > block["ask_price"]
        masks["locked"] = block["bid_price"] == block["ask_price"]
    masks["negative_size"] = np.logical_or.reduce([block[n] < 0 for n in _SIZES[event_type]])
    return masks


class Jumps:
    """Steps from a symbol's former price, measured in its own steps of the same block."""

    def __init__(self, event_type: EventType) -> None:
        self._event_type = event_type
        self._before = np.full(0, np.nan)  # by symbol: the logarithm of its last price

    def of(self, block: npt.NDArray[Any], symbols: Ints) -> npt.NDArray[np.bool_]:
        price, _, usable = price_and_spread(self._event_type, block)
        jumped = np.zeros(len(block), bool)
        rows = np.flatnonzero(usable)
        if not len(rows):
            return jumped
        # By symbol, and within one by time.
        rows = rows[np.argsort(symbols[rows], kind="stable")]
        symbol, log = symbols[rows], np.log(price[rows])
        self._grow(int(symbol[-1]) + 1)
        starts = np.flatnonzero(np.r_[True, symbol[1:] != symbol[:-1]])
        former = np.r_[np.nan, log[:-1]]
        former[starts] = self._before[symbol[starts]]
        self._before[symbol[np.r_[starts[1:] - 1, len(symbol) - 1]]] = log[
            np.r_[starts[1:] - 1, len(symbol) - 1]
        ]
        steps = np.abs(log - former)
        steps[np.isnan(steps)] = 0.0
        lengths = np.diff(np.r_[starts, len(symbol)])
        limits = JUMP_DEVIATIONS * np.repeat(_deviations(steps, starts, lengths), lengths)
        jumped[rows[steps > limits]] = True
        return jumped

    def _grow(self, symbols: int) -> None:
        if symbols > len(self._before):
            more = np.full(symbols - len(self._before), np.nan)
            self._before = np.concatenate([self._before, more])


def _deviations(steps: npt.NDArray[np.float64], starts: Ints, lengths: Ints) -> Any:
    """Of each symbol: the median of its steps as a standard deviation, within bounds."""
    group = np.repeat(np.arange(len(starts)), lengths)
    ordered = steps[np.lexsort((steps, group))]
    deviations = _TO_SIGMA * ordered[starts + lengths // 2]
    known = np.maximum(deviations, _LEAST_DEVIATION)
    return np.where(lengths >= _KNOWN_FROM_STEPS, known, np.maximum(known, _UNKNOWN_DEVIATION))


def _shown(row: int, what: str, record: Any, event_type: EventType) -> InsaneRow:
    names = (*_PRICES[event_type], *_SIZES[event_type])
    return InsaneRow(
        row=row,
        what=what.replace("_", " "),
        ts_event=int(record["ts_event"]),
        symbol=record["symbol"].decode("utf-8", "replace"),
        vendor=record["vendor"].decode("utf-8", "replace"),
        feed=record["feed"].decode("utf-8", "replace"),
        values=", ".join(f"{name} {record[name]:g}" for name in names),
    )
