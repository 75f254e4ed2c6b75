"""Which symbols were heard since somebody looked last. Costs a mark a row, not a name."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edc_pipeline.coded import Coded, Words

# Of one feed, about 0.15 kB each. All US listings are some 12,000, all coin pairs of the largest
# exchanges some 3,000; options have more, and none lists a hundred thousand in a day.
MOST_HEARD: Final = 100_000


def remember(known: set[str], spoke: AbstractSet[str], asked_for: AbstractSet[str]) -> int:
    """Put what spoke among what is known, as far as there is room; what was asked for has room
    always. How many found none: a vendor may name a new one in every message."""
    new = spoke - known
    room = max(0, MOST_HEARD - len(known))
    if len(new) <= room:
        known |= new
        return 0
    wanted = new & asked_for
    others = sorted(new - wanted)
    known |= wanted
    known.update(others[:room])
    return max(0, len(others) - room)


class HeardSymbols:
    def __init__(self) -> None:
        self._names: set[str] = set()
        self._marks: dict[Words, NDArray[np.bool_]] = {}  # by a word's number

    def add(self, symbol: str) -> None:
        self._names.add(symbol)

    def add_many(self, symbols: Coded) -> None:
        known = len(symbols.words.texts)
        marks = self._marks.get(symbols.words)
        if marks is None or len(marks) < known:
            marks = self._grow(symbols.words, known)
        marks[symbols.codes] = True

    def _grow(self, words: Words, known: int) -> NDArray[np.bool_]:
        before = self._marks.get(words, np.zeros(0, np.bool_))
        marks = self._marks[words] = np.zeros(2 * known, np.bool_)
        marks[: len(before)] = before
        return marks

    def names(self) -> set[str]:
        names = set(self._names)
        for words, marks in self._marks.items():
            names.update(words.texts[number] for number in np.flatnonzero(marks))
        return names

    def take(self) -> set[str]:
        """They are not heard any more."""
        names, self._names, self._marks = self.names(), set(), {}
        return names
