"""Do the vendors say the same price for the same symbol in the same minute? A pure rule.

Compared are the last prices of each minute in which two vendors spoke of a symbol. A minute's last
prices differ because the last word was not spoken at the same moment; half a per cent covers that
for what is traded in a liquid market. A symbol whose vendors differ by more than five per cent in
the middle of its common minutes is not one market seen twice: another share class, a split that one
vendor has applied, a wrong currency.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from edc_pipeline.day_report.figures import Figures

TOLERANCE: Final = 0.005
ANOTHER_MARKET: Final = 0.05
_LEAST_MINUTES: Final = 3
_VENDORS: Final = 1 << 12


@dataclass(frozen=True, slots=True)
class Disagreement:
    symbol: str
    vendors: tuple[str, str]
    minutes: int  # in which both spoke
    apart: int  # of them, by more than the tolerance
    middle: float  # the median of the relative differences
    worst: float
    worst_minute: int  # of the day

    @property
    def another_market(self) -> bool:
        return self.middle > ANOTHER_MARKET and self.minutes >= _LEAST_MINUTES


@dataclass(slots=True)
class Agreement:
    compared: int = 0  # minutes of a symbol with two vendors
    apart: int = 0
    pairs: list[Disagreement] = field(default_factory=list)  # that differ, the widest first

    @property
    def another_market(self) -> list[Disagreement]:
        return [pair for pair in self.pairs if pair.another_market]

    @property
    def in_words(self) -> str:
        if not self.compared:
            return "no symbol was sent by two vendors in the same minute"
        return (
            f"{self.apart:,} of {self.compared:,} minutes differ by more than"
            f" {TOLERANCE:.1%}, in {len(self.pairs)} symbols"
        )


def agreement_of(figures: Figures) -> Agreement:
    agreement = Agreement()
    prices = figures.prices
    if prices is None or len(figures.vendors) < 2:
        return agreement
    # By symbol and minute; vendors of one minute then stand side by side.
    order = np.lexsort((prices.vendor, prices.minute, prices.symbol))
    symbol, minute, vendor = prices.symbol[order], prices.minute[order], prices.vendor[order]
    price = prices.price[order]
    keys, differs, minutes_of = [], [], []
    for step in range(1, len(figures.vendors)):
        same = (symbol[step:] == symbol[:-step]) & (minute[step:] == minute[:-step])
        at = np.flatnonzero(same)
        low, high = price[at], price[at + step]
        differs.append(np.abs(high - low) / np.minimum(high, low))
        keys.append((symbol[at] * _VENDORS + vendor[at]) * _VENDORS + vendor[at + step])
        minutes_of.append(minute[at])
    key, every_minute = np.concatenate(keys), np.concatenate(minutes_of)
    every_differ = np.concatenate(differs)
    by_pair = np.argsort(key, kind="stable")
    pairs, starts = np.unique(key[by_pair], return_index=True)
    for pair, mine in zip(pairs.tolist(), np.split(by_pair, starts[1:]), strict=True):
        number, first, second = pair // _VENDORS**2, pair // _VENDORS % _VENDORS, pair % _VENDORS
        differ, minutes = every_differ[mine], every_minute[mine]
        apart = int((differ > TOLERANCE).sum())
        agreement.compared += len(differ)
        agreement.apart += apart
        if apart:
            worst = int(np.argmax(differ))
            agreement.pairs.append(
                Disagreement(
                    symbol=figures.symbols[number],
                    vendors=(figures.vendors[first], figures.vendors[second]),
                    minutes=len(differ),
                    apart=apart,
                    middle=float(np.median(differ)),
                    worst=float(differ[worst]),
                    worst_minute=int(minutes[worst]),
                )
            )
    agreement.pairs.sort(key=lambda pair: -pair.middle)
    return agreement
