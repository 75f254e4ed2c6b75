"""A column of texts of which few differ, as numbers: symbols, venues, conditions, sides.

A text is looked at once, when it is first heard, and not in every row: whether it may be stored,
what it is in UTF-8, where it stands in a file's dictionary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

# The daily file stores text at the width of the day's longest, so one hostile value of a megabyte
# would cost a megabyte a row. The longest real ones are uuids and lists of condition codes.
MAX_TEXT_LENGTH: Final = 128

Codes = NDArray[np.int32]


class Words:
    """Texts with a number each. Grows, and never changes otherwise; all may be stored as they are.

    Equal only to itself: two columns share their numbers where they share their words.
    """

    __slots__ = ("__weakref__", "_numbers", "empty", "texts")

    def __init__(self, *texts: str) -> None:
        self.texts: list[str] = []
        self.empty = -1  # the number of the empty one; negative: there is none
        self._numbers: dict[str, int] = {}
        for text in texts:
            self.number(text)

    def number(self, text: str) -> int:
        """`ValueError` for a text that an event may not hold: too long, or not printable."""
        found = self._numbers.get(text)
        if found is None:
            if len(text) > MAX_TEXT_LENGTH or not text.isprintable():
                raise ValueError(f"{text!r:.60} is no word")
            found = self._numbers[text] = len(self.texts)
            self.texts.append(text)
            if not text:
                self.empty = found
        return found


@dataclass(frozen=True, slots=True)
class Coded:
    """One column: which word each row has."""

    words: Words
    codes: Codes

    def tolist(self) -> list[str]:
        texts = self.words.texts
        return [texts[code] for code in self.codes.tolist()]

    @classmethod
    def of(cls, texts: list[str], words: Words | None = None) -> Coded:
        words = words or Words()
        return cls(words, np.array([words.number(text) for text in texts], np.int32))
