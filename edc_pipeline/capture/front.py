"""Where the numberings of many symbols stand, in one array: whether the numbers of a whole read
follow their last is asked of all rows at once. Pure."""

from __future__ import annotations

from typing import Final
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from edc_pipeline.coded import Coded, Words

Rows = NDArray[np.int64]  # a numbering's row
Given = NDArray[np.int64]  # numbers as the vendor gave them

# Of symbols beyond the most that are followed: nothing is ever awaited there.
_NOT_FOLLOWED: Final = 0
_NOTHING: Final = -1
_NO_ROWS: Final = np.empty(0, np.int64)
_LAST_NUMBER: Final = (1 << 63) - 1


class Front:
    """Which number each symbol awaits, as long as nothing about it is open."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._row_of: dict[str, int] = {}
        # A connection's words go with it.
        self._rows_of: WeakKeyDictionary[Words, Rows] = WeakKeyDictionary()
        self._awaits = np.full(64, _NOTHING, np.int64)
        self._heard_at = np.zeros(64, np.int64)

    def row(self, symbol: str) -> int:
        found = self._row_of.get(symbol)
        if found is None:
            if len(self._row_of) >= self._most:
                return _NOT_FOLLOWED
            found = self._row_of[symbol] = len(self._row_of) + 1
            if found == len(self._awaits):
                fresh = np.full(found, _NOTHING, np.int64)
                self._awaits = np.concatenate((self._awaits, fresh))
                self._heard_at = np.concatenate((self._heard_at, fresh))
        return found

    def rows(self, symbols: Coded) -> Rows:
        words = symbols.words
        known = self._rows_of.get(words, _NO_ROWS)
        if new := words.texts[len(known) :]:
            known = np.concatenate((known, np.array([self.row(text) for text in new], np.int64)))
            self._rows_of[words] = known
        return known[symbols.codes]

    def where(self, row: int) -> tuple[int, int] | None:
        """The number that is awaited and when the one before came; None: it is open."""
        awaited = int(self._awaits[row])
        return None if awaited < 0 else (awaited, int(self._heard_at[row]))

    def put(self, row: int, awaited: int, heard_at: int) -> None:
        """`awaited` is negative where something is open."""
        if row != _NOT_FOLLOWED:
            self._awaits[row], self._heard_at[row] = awaited, heard_at

    def awaits_all(self, rows: Rows, numbers: Given, *, contiguous: bool) -> bool:
        """Whether each number is the one that its symbol awaits behind those before it; where
        numbers may be left out, that one or a later one."""
        order = rows.argsort(kind="stable")
        sorted_rows, given = rows[order], numbers[order]
        begins = np.empty(len(order), np.bool_)
        begins[0] = True
        np.not_equal(sorted_rows[1:], sorted_rows[:-1], out=begins[1:])
        first = self._awaits[sorted_rows[begins]]
        if first.min() < 0 or given.max() == _LAST_NUMBER:
            return False
        awaited = np.empty_like(given)
        np.add(given[:-1], 1, out=awaited[1:])
        awaited[begins] = first
        follows = given == awaited if contiguous else given >= awaited
        return bool(follows.all())

    def advance(self, rows: Rows, numbers: Given, at: int) -> None:
        """They were heard, in this order: of a symbol with several the last stands."""
        self._awaits[rows] = numbers + 1
        self._heard_at[rows] = at
