"""Rows put together of pieces: each column of numbers as one array, each text with one vocabulary.

Categories come in the order of their appearance, however the rows were cut into pieces.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np

from edc_pipeline.consolidation.bit_planes import Said
from edc_pipeline.consolidation.rows import Array, Rows, Text
from edc_pipeline.events import COLUMNS, EventType

KINDS: Final = {"time": np.int64, "int64": np.int64, "int32": np.int32, "float64": np.float64}


def numbers_of(event_type: EventType, columns: Sequence[str]) -> dict[str, type]:
    """Which of the columns are numbers, and of which kind."""
    return {
        c.name: KINDS[c.stored]
        for c in COLUMNS[event_type]
        if c.stored != "text" and c.name in columns
    }


def texts_of(event_type: EventType, columns: Sequence[str]) -> list[str]:
    return [c.name for c in COLUMNS[event_type] if c.stored == "text" and c.name in columns]


class TextGathered:
    """A text column, piece after piece."""

    def __init__(self) -> None:
        self._codes: dict[bytes, int] = {}
        self._pieces: list[tuple[int, Array | int]] = []  # rows; their codes, or that of all
        self._rows = 0

    def add(self, said: Said, rows: int) -> None:
        if not rows:
            return
        known = self._codes
        here = [known.setdefault(word, len(known)) for word in said.words]
        if said.codes is None:
            self._pieces.append((rows, here[0]))
        else:
            if said.of is not None:
                by_code = [0] * (max(said.of) + 1)
                for code, word in zip(said.of, here, strict=True):
                    by_code[code] = word
                here = by_code
            self._pieces.append((rows, _looked_up(said.codes, here, _narrowest(len(known)))))
        self._rows += rows

    def text(self) -> Text:
        words = list(self._codes)
        if len(words) <= 1:
            return Text(words)
        found: Array = np.empty(self._rows, _narrowest(len(words)))
        at = 0
        for rows, codes in self._pieces:
            found[at : at + rows] = codes
            at += rows
        return Text(words, found)


def _looked_up(codes: Array, table: list[int], kind: type) -> Array:
    if table == list(range(len(table))):
        return codes
    # Each has its place: "clip" does without numpy's own check, which copies.
    return np.take(np.array(table, kind), codes, mode="clip")


class Piece(NamedTuple):
    """Some rows, as a chunk gives them."""

    rows: int
    numbers: dict[str, Array]
    said: dict[str, Said]


class Gathered:
    """Pieces in their order. Where it is known how many rows they have, their numbers go straight
    to where they stay; whoever has filled that room himself adds pieces without numbers."""

    def __init__(self, event_type: EventType, columns: Sequence[str], rows: int | None) -> None:
        self._event_type = event_type
        self._kinds = numbers_of(event_type, columns)
        self.room: dict[str, Array] | None = None
        if rows is not None:
            self.room = {name: np.empty(rows, kind) for name, kind in self._kinds.items()}
        self._pieces: list[dict[str, Array]] = []
        self._texts = {name: TextGathered() for name in texts_of(event_type, columns)}
        self.count = 0

    def add(self, piece: Piece) -> None:
        here = slice(self.count, self.count + piece.rows)
        if self.room is None:
            self._pieces.append(piece.numbers)
        else:
            for name, values in piece.numbers.items():
                self.room[name][here] = values
        for name, text in self._texts.items():
            text.add(piece.said[name], piece.rows)
        self.count = here.stop

    def rows(self) -> Rows:
        numbers = self.room
        if numbers is None:
            numbers = {name: self._joined(name, kind) for name, kind in self._kinds.items()}
        texts = {name: text.text() for name, text in self._texts.items()}
        return Rows(self._event_type, self.count, numbers, texts)

    def _joined(self, name: str, kind: type) -> Array:
        pieces = [piece[name] for piece in self._pieces]
        if len(pieces) == 1:
            return pieces[0]
        return np.concatenate([np.empty(0, kind), *pieces])


def joined(event_type: EventType, columns: Sequence[str], pieces: Iterable[Rows]) -> Rows:
    gathered = Gathered(event_type, columns, None)
    for piece in pieces:
        numbers = {name: piece.numbers[name] for name in numbers_of(event_type, columns)}
        said = {
            name: Said(piece.texts[name].words, piece.texts[name].codes)
            for name in texts_of(event_type, columns)
        }
        gathered.add(Piece(piece.count, numbers, said))
    return gathered.rows()


def _narrowest(words: int) -> type:
    """As pandas has the codes of so many categories."""
    return next(k for k in (np.int8, np.int16, np.int32) if words < np.iinfo(k).max)
