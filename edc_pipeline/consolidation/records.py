"""Rows → records of the table, a chunk at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from edc_pipeline.consolidation.layout import CHUNK_ROWS, table_dtype
from edc_pipeline.consolidation.rows import Array, Rows, Text
from edc_pipeline.events import COLUMNS, EventType


class UnstorableText(Exception):
    """A text that fixed-width HDF5 text would cut or change; the message says which."""


class Records:
    """Collects the rows kept, slice after slice, into records of whole chunks."""

    def __init__(self, event_type: EventType, widths: Mapping[str, int]) -> None:
        self._columns = COLUMNS[event_type]
        self._widths = widths
        self.dtype = table_dtype(event_type, widths)
        self.rows = 0  # given out
        self._chunk = np.zeros(CHUNK_ROWS, self.dtype)
        self._filled = 0

    def go_on(self, rows: int, last: Array) -> None:
        """After so many rows, of which the last stand here: they fill no chunk."""
        self.rows = rows - len(last)
        self._chunk[: len(last)] = last
        self._filled = len(last)

    def add(self, rows: Rows, order: Array, occurrence: Array) -> Iterator[Array]:
        """The chunks that these rows, in this order, fill."""
        words = {name: _fixed(rows.texts[name], name, self._widths[name]) for name in self._widths}
        done = 0
        while done < len(order):
            part = slice(done, done + CHUNK_ROWS - self._filled)
            self._fill(rows, order[part], occurrence[part], words)
            done = part.stop
            if self._filled == CHUNK_ROWS:
                yield self._give()

    def rest(self) -> Iterator[Array]:
        """The last chunk, which is not full."""
        if self._filled:
            yield self._give()

    def _fill(self, rows: Rows, at: Array, occurrence: Array, words: Mapping[str, Array]) -> None:
        here = slice(self._filled, self._filled + len(at))
        block = self._chunk[here]
        for column in self._columns:
            name = column.name
            if name == "occurrence":
                block[name] = occurrence
            elif name in rows.numbers:
                block[name] = rows.numbers[name][at]
            else:
                codes = rows.texts[name].codes
                block[name] = words[name][0] if codes is None else words[name][codes[at]]
        self._filled = here.stop

    def _give(self) -> Array:
        block = self._chunk[: self._filled]
        block["index"] = np.arange(self.rows, self.rows + self._filled)
        self.rows += self._filled
        self._chunk, self._filled = np.zeros(CHUNK_ROWS, self.dtype), 0
        return block


def _fixed(text: Text, name: str, width: int) -> Array:
    """Text of UTF-8 bytes, padded with NUL to `width`. Refuses what would not come back."""
    words = text.words
    longest = max(words, key=len, default=b"")
    if len(longest) > width and text.codes is not None:
        # A connection's words go on from day to day, and stand in every micro-batch of it: one that
        # no row says is no text of this day.
        said = np.bincount(text.codes, minlength=len(words)).tolist()
        words = [word if rows else b"" for word, rows in zip(words, said, strict=True)]
        longest = max(words, key=len)
    if len(longest) > width:
        raise UnstorableText(
            f"{name}: {longest!r} is {len(longest)} bytes, the column holds {width}"
        )
    return np.array(words, dtype=f"S{width}")
