"""Rows and columns → the tables that micro-batches are written from, and their schemas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final
from weakref import WeakKeyDictionary

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from edc_pipeline.coded import Coded, Words
from edc_pipeline.events import (
    COLUMNS,
    DEFAULTS,
    EVENT_TYPES,
    LINEAGE_COLUMNS,
    AnyEvent,
    EventType,
    Stored,
)

# Times are plain int64 ns: Spark refuses nanosecond timestamps and DuckDB cuts those with a zone
# to microseconds, while every engine reads an int64 exactly.
_ARROW: Final[dict[Stored, pa.DataType]] = {
    "time": pa.int64(),
    "int64": pa.int64(),
    "int32": pa.int32(),
    "float64": pa.float64(),
    "text": pa.string(),
}

SCHEMAS: Final[dict[EventType, pa.Schema]] = {
    event_type: pa.schema(
        [
            pa.field(c.name, _ARROW[c.stored], nullable=False)
            for c in (*COLUMNS[event_type], *LINEAGE_COLUMNS)
        ]
    )
    for event_type in EVENT_TYPES
}

# Texts of which few differ, as they wait for the disk.
_CODED: Final = pa.dictionary(pa.int32(), pa.string())

# A column of one value is kept for the next chunk up to this length: 64 kB at the most.
_CACHED_ROWS: Final = 1024


def rows_to_table(
    event_type: EventType,
    events: Sequence[AnyEvent],
    connections: Sequence[str],
    frames: Sequence[int],
) -> pa.Table:
    """Columns out of rows; every event is of this type."""
    schema = SCHEMAS[event_type]
    # A struct's fields stand in the columns' order.
    columns = [*zip(*map(msgspec.structs.astuple, events), strict=True), connections, frames]
    arrays = [_array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def columns_to_table(
    event_type: EventType,
    constants: Mapping[str, Any],
    numbers: Mapping[str, NDArray[Any]],
    said: Mapping[str, Coded],
    texts: Mapping[str, list[str]],
) -> pa.Table:
    """Columns out of columns; what is nowhere among them has its default. Whole numbers are written
    out where text is wanted."""
    schema = _coded_schema(event_type)
    rows, values = len(numbers["ts_event"]), {**DEFAULTS[event_type], **constants}
    arrays = []
    for field in schema:
        name = field.name
        if name in numbers:
            arrays.append(pa.array(numbers[name]).cast(field.type))
        elif name in said:
            arrays.append(_numbered(said[name]))
        elif name in texts:
            written = pa.array(texts[name], pa.string())
            arrays.append(written.dictionary_encode() if is_coded(field) else written)
        else:
            value = values[name]
            arrays.append(_cached_repeat(value, _repeated(rows), field.type).slice(0, rows))
    return pa.Table.from_arrays(arrays, schema=schema)


def _numbered(column: Coded) -> pa.DictionaryArray:
    words = column.words
    known = _dictionary(words)
    return pa.DictionaryArray.from_arrays(pa.array(column.codes), known)


# Goes with its words: a list of the latest 64 kept the words of connections long closed, and, where
# a vendor names ever new symbols, 64 lists of up to 65,536.
_dictionaries: Final[WeakKeyDictionary[Words, pa.Array]] = WeakKeyDictionary()


def _dictionary(words: Words) -> pa.Array:
    known = _dictionaries.get(words)
    if known is None or len(known) < len(words.texts):
        known = _dictionaries[words] = pa.array(list(words.texts), pa.string())
    return known


def _repeated(rows: int) -> int:
    """A power of two that is enough: few lengths are worth keeping."""
    return 1 << (rows - 1).bit_length()


def _array(values: Sequence[Any], stored: pa.DataType) -> pa.Array:
    """Half of the columns say the same in every row of a chunk (vendor, feed, origin, status …):
    to see that costs next to nothing, to make them one by one 0.4 µs a row."""
    first, rows = values[0], len(values)
    # Numbers are left alone: −0.0 equals 0.0, and is stored as it came.
    if stored == pa.float64() or values.count(first) < rows:
        return pa.array(values, type=stored)
    if rows <= _CACHED_ROWS:
        return _cached_repeat(first, rows, stored)
    return _repeat(first, rows, stored)


def _repeat(value: Any, rows: int, stored: pa.DataType) -> pa.Array:
    if stored == _CODED:
        zeros = pa.array(np.zeros(rows, np.int32))
        return pa.DictionaryArray.from_arrays(zeros, pa.array([value], pa.string()))
    return pa.repeat(pa.scalar(value, type=stored), rows)


_cached_repeat = lru_cache(maxsize=512, typed=True)(_repeat)


def stack(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables of one type of event, of rows or of columns, one behind the other."""
    if any(table.schema != tables[0].schema for table in tables):
        tables = [coded(table) for table in tables]
    return pa.concat_tables(tables)


def coded(table: pa.Table) -> pa.Table:
    """The same, its texts but the ids as numbers of words; in one piece, with one list of words for
    each column. Parquet writes them so anyway, and need not find the words itself."""
    arrays = [
        column.dictionary_encode() if is_coded(field) and column.type == pa.string() else column
        for field, column in zip(table.schema, table.columns, strict=True)
    ]
    schema = pa.schema(map(_coded_field, table.schema))
    return pa.Table.from_arrays(arrays, schema=schema).unify_dictionaries().combine_chunks()


def is_coded(field: pa.Field) -> bool:
    """Ids seldom repeat: a dictionary of them costs 0.1 µs a row, and is given up in the end."""
    return field.name != "event_id" and (field.type in (pa.string(), _CODED))


def _coded_field(field: pa.Field) -> pa.Field:
    return field.with_type(_CODED) if is_coded(field) else field


@lru_cache
def _coded_schema(event_type: EventType) -> pa.Schema:
    return pa.schema(map(_coded_field, SCHEMAS[event_type]))


def words_in(column: pa.ChunkedArray) -> list[str]:
    """The words that a column of such a table holds, each once."""
    said: set[str] = set()
    for chunk in column.chunks:
        words = chunk.dictionary.to_pylist()
        if len(words) == 1 and len(chunk):
            said.update(words)
        else:
            held = np.bincount(chunk.indices.to_numpy(), minlength=len(words))
            said.update(words[number] for number in np.flatnonzero(held))
    return sorted(said)
