"""Rows in memory: numbers as numpy arrays, text as small integers and the words they stand for.

A text column of a day says few things many times, so sorting, comparing and copying its codes is
several times cheaper than its text. Parquet has the codes already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from edc_pipeline.events import COLUMNS, LINEAGE_COLUMNS, EventType
from edc_pipeline.spool.tables import SCHEMAS

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Text:
    words: list[bytes]
    codes: Array | None = None  # whole numbers, one a row; None: every row says words[0]

    def take(self, at: Array) -> Text:
        return self if self.codes is None else Text(self.words, self.codes[at])

    def as_they_appear(self) -> Text:
        """With the words that a row says, in the order of their appearance."""
        if self.codes is None:
            return self
        told = pa.array(self.codes).dictionary_encode()
        words = [self.words[code] for code in told.dictionary.to_pylist()]
        return Text(words, told.indices.to_numpy() if len(words) > 1 else None)

    def ranks(self) -> Array:
        """Each word's place among the words in the order of their bytes (which is Unicode's)."""
        order = sorted(range(len(self.words)), key=self.words.__getitem__)
        ranks = np.empty(len(order), np.int32)
        ranks[order] = np.arange(len(order), dtype=np.int32)
        return ranks


@dataclass(frozen=True, slots=True)
class Rows:
    event_type: EventType
    count: int
    numbers: dict[str, Array]
    texts: dict[str, Text]

    def take(self, at: Array) -> Rows:
        return Rows(
            self.event_type,
            len(at),
            {name: values[at] for name, values in self.numbers.items()},
            {name: text.take(at) for name, text in self.texts.items()},
        )

    def as_they_appear(self) -> Rows:
        """The same rows, whose texts have no word that none of them says."""
        texts = {name: text.as_they_appear() for name, text in self.texts.items()}
        return Rows(self.event_type, self.count, self.numbers, texts)

    def codes(self, name: str) -> Array:
        text = self.texts[name]
        return np.zeros(self.count, np.int32) if text.codes is None else text.codes

    def says(self, name: str, word: bytes) -> Array:
        """Which rows say `word` in the text column `name`."""
        text = self.texts[name]
        if word not in text.words:
            return np.zeros(self.count, bool)
        if text.codes is None:
            return np.ones(self.count, bool)
        # A vocabulary put together from several files may hold a word twice.
        return np.isin(text.codes, [i for i, w in enumerate(text.words) if w == word])

    def to_arrow(self, names: Sequence[str] | None = None) -> pa.Table:
        """With text as dictionaries."""
        columns = {}
        for field_ in SCHEMAS[self.event_type]:
            if names is not None and field_.name not in names:
                continue
            if field_.name in self.numbers:
                columns[field_.name] = pa.array(self.numbers[field_.name])
            else:
                columns[field_.name] = pa.DictionaryArray.from_arrays(
                    pa.array(self.codes(field_.name)),
                    pa.array([w.decode() for w in self.texts[field_.name].words], pa.string()),
                )
        return pa.table(columns)


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one micro-batch, as they come from parquet: text as Arrow dictionaries."""

    rows: int
    arrays: Mapping[str, pa.Array]
    constants: Mapping[str, str] = field(default_factory=dict)  # columns of one value, not read
    settled: bool = False  # repeats are left out already

    def span(self) -> tuple[int, int]:
        found = pc.min_max(self.arrays["ts_event"])
        return found["min"].as_py(), found["max"].as_py()

    def where(self, mask: Array) -> Part:
        kept = pa.array(mask)
        arrays = {name: values.filter(kept) for name, values in self.arrays.items()}
        return Part(int(mask.sum()), arrays, self.constants, self.settled)

    def split(self, cut: int) -> tuple[Part, Part]:
        """The rows before the instant `cut`, and the others."""
        before = self.arrays["ts_event"].to_numpy() < cut
        return self.where(before).narrowed(), self.where(~before).narrowed()

    def narrowed(self) -> Part:
        """Without the words that none of these rows says: what is cut out of a micro-batch bears
        its whole vocabulary, which is as long as that where rows have ids."""
        arrays = {name: _narrowed(values) for name, values in self.arrays.items()}
        return Part(self.rows, arrays, self.constants, self.settled)


def _narrowed(values: pa.Array) -> pa.Array:
    if not pa.types.is_dictionary(values.type) or len(values.dictionary) <= len(values):
        return values
    codes = values.indices.to_numpy()
    said = np.zeros(len(values.dictionary), bool)
    said[codes] = True
    places = np.cumsum(said, dtype=np.int32) - np.int32(1)
    words = values.dictionary.filter(pa.array(said))
    return pa.DictionaryArray.from_arrays(pa.array(places[codes]), words)


NUMBERS: Final[dict[EventType, tuple[str, ...]]] = {
    event_type: tuple(c.name for c in (*columns, *LINEAGE_COLUMNS) if c.stored != "text")
    for event_type, columns in COLUMNS.items()
}
TEXTS: Final[dict[EventType, tuple[str, ...]]] = {
    event_type: tuple(c.name for c in (*columns, *LINEAGE_COLUMNS) if c.stored == "text")
    for event_type, columns in COLUMNS.items()
}


def assemble(parts: Sequence[Part], event_type: EventType) -> Rows:
    """One set of rows out of many: −0.0 becomes 0.0, and every NaN the same bits."""
    parts = [p for p in parts if p.rows]
    count = sum(p.rows for p in parts)
    numbers = {name: _numbers(parts, name, event_type) for name in NUMBERS[event_type]}
    texts = {name: _text(parts, name) for name in TEXTS[event_type]}
    return Rows(event_type, count, numbers, texts)


def _numbers(parts: Sequence[Part], name: str, event_type: EventType) -> Array:
    kind = SCHEMAS[event_type].field(name).type.to_pandas_dtype()
    pieces = [part.arrays[name].to_numpy(zero_copy_only=False) for part in parts]
    if kind is not np.float64:
        return np.concatenate(pieces) if pieces else np.empty(0, kind)
    values = np.concatenate(pieces) if pieces else np.empty(0, kind)
    values += 0.0  # the rule of IEEE 754: −0.0 + 0.0 is 0.0
    values[np.isnan(values)] = np.nan
    return values


def _text(parts: Sequence[Part], name: str) -> Text:
    constants = {part.constants.get(name) for part in parts}
    if len(constants) == 1 and (word := next(iter(constants))) is not None:
        return Text([word.encode()])
    pieces = [
        part.arrays[name] if name in part.arrays else _repeated(part.constants[name], part.rows)
        for part in parts
    ]
    if not pieces:
        return Text([b""])
    unified = pa.chunked_array(pieces).unify_dictionaries().combine_chunks()
    if isinstance(unified, pa.ChunkedArray):
        unified = unified.chunk(0)
    # Straight to bytes: text by way of Python's own is there twice, in a day's highest moment.
    words = unified.dictionary.cast(pa.binary()).to_pylist()
    codes = unified.indices.to_numpy()
    if len(words) == 1:
        return Text(words)
    return Text(words, codes.astype(np.int32, copy=False))


def _repeated(word: str, rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(rows, np.int32)), pa.array([word], pa.string())
    )


def part_of(table: pa.Table, *, settled: bool = False) -> Part:
    """A table of the spool's columns, in memory, as a part."""
    arrays = {}
    for name in table.column_names:
        values = table[name].combine_chunks()
        if isinstance(values, pa.ChunkedArray):
            values = values.chunk(0) if values.num_chunks else pa.array([], values.type)
        if pa.types.is_string(values.type):
            values = values.dictionary_encode()
        arrays[name] = values
    return Part(table.num_rows, arrays, settled=settled)
