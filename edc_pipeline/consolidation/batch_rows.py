"""A micro-batch → its rows. A file that does not hold what it says is set aside with the reason."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from edc_pipeline.consolidation.certificate import Input
from edc_pipeline.consolidation.layout import FORBIDDEN_TEXT
from edc_pipeline.consolidation.plan import Batch, Plan, put_aside
from edc_pipeline.consolidation.rows import Array, Part
from edc_pipeline.events import EventType
from edc_pipeline.market_day import day_bounds
from edc_pipeline.spool.micro_batch import DAMAGE, Footer, UnreadableBatch, is_whole
from edc_pipeline.spool.tables import SCHEMAS

_FORBIDDEN: Final = tuple(character.encode() for character in FORBIDDEN_TEXT)


def read_batch(batch: Batch, event_type: EventType, day: dt.date) -> tuple[Part, Input]:
    """The rows of one micro-batch and what was read, hashed from the very bytes that were decoded.

    `UnreadableBatch` if they are not what the footer says; OSError if it is not there any more.
    """
    image = batch.path.read_bytes()
    name, footer = batch.path.name, batch.footer
    whole = is_whole(image)
    if whole is False:
        raise UnreadableBatch(f"{name}: its bytes do not agree with their checksum: it is damaged")
    try:
        # A whole file needs none of its pages checked, and its footer can be taken at its word.
        part = _decode(image, event_type, footer, check_pages=whole is None)
    except DAMAGE as error:
        raise UnreadableBatch(f"{name}: {error}") from error
    _check(part, name, footer, day)
    digest = hashlib.sha256(image).hexdigest()
    return part, Input(name=name, rows=footer.rows, bytes=len(image), sha256=digest)


def sound_ones(plan: Plan, advance: Callable[[int], None] = lambda _rows: None) -> Plan:
    """Each micro-batch is read for itself, so that all that are none are found, and set aside, at
    once. `CannotConsolidate` where the disk does not hand one out."""
    sound, set_aside = [], list(plan.set_aside)
    for batch in plan.batches:
        try:
            read_batch(batch, plan.event_type, plan.day)
            sound.append(batch)
        except (UnreadableBatch, OSError) as error:
            set_aside.append(put_aside(batch.path, error, batch.footer.rows))
        advance(batch.footer.rows)
    return replace(plan, batches=sound, set_aside=sorted(set_aside, key=lambda s: s.name))


def why_none(plan: Plan) -> str:
    """What to say of a plan whose micro-batches are all set aside."""
    first = plan.set_aside[0]
    return (
        f"none of the micro-batches of {plan.event_type} of {plan.day} in {plan.spool} can be"
        f" read; the first is {first.name}: {first.reason}"
    )


def _decode(image: bytes, event_type: EventType, footer: Footer, *, check_pages: bool) -> Part:
    schema, text = SCHEMAS[event_type], _text_columns(event_type)
    file = pq.ParquetFile(
        pa.BufferReader(image), read_dictionary=text, page_checksum_verification=check_pages
    )
    found = file.schema_arrow
    if found.names != schema.names or any(
        _stored(f.type) != schema.field(f.name).type for f in found
    ):
        raise ValueError(f"its columns are {found.remove_metadata().to_string()[:500]}")
    constants = {} if check_pages else footer.constants
    table = file.read([n for n in schema.names if n not in constants], use_threads=False)
    return Part(table.num_rows, {n: _one(table[n]) for n in table.column_names}, constants)


def _stored(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


@lru_cache
def _text_columns(event_type: EventType) -> list[str]:
    return [field.name for field in SCHEMAS[event_type] if pa.types.is_string(field.type)]


def _one(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    if pa.types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        return whole.chunk(0) if whole.num_chunks else pa.array([], column.type)
    return whole


def _check(part: Part, name: str, footer: Footer, day: dt.date) -> None:
    empty = [column for column, values in part.arrays.items() if values.null_count]
    if empty:
        raise UnreadableBatch(f"{name}: nulls in {', '.join(empty)}")
    if part.rows != footer.rows:
        raise UnreadableBatch(f"{name}: {part.rows} rows, its footer says {footer.rows}")
    if not part.rows:
        return
    stamps = part.arrays["ts_event"].to_numpy()
    low, high = int(stamps.min()), int(stamps.max())
    first, end = day_bounds(day)
    if not first <= low <= high < end:
        raise UnreadableBatch(f"{name}: events from {low} to {high} ns are not all of {day}")
    if (low, high) != (footer.min_ts_event, footer.max_ts_event):  # slices are cut by these
        said = f"{footer.min_ts_event} to {footer.max_ts_event}"
        raise UnreadableBatch(f"{name}: events from {low} to {high} ns, its footer says {said}")
    check_texts(part, name)
    by_feed = _rows_by_feed(part)
    if by_feed != footer.rows_by_feed:
        raise UnreadableBatch(f"{name}: rows {by_feed}, its footer says {footer.rows_by_feed}")


def check_texts(part: Part, name: str) -> None:
    """`UnreadableBatch` for text that is not UTF-8, or that a daily file cannot keep."""
    for column, word in part.constants.items():
        _check_words(name, column, [word])
    for column, values in part.arrays.items():
        if pa.types.is_dictionary(values.type):
            _check_dictionary(name, column, values)


def _check_dictionary(name: str, column: str, values: Any) -> None:
    try:
        values.dictionary.validate(full=True)  # among others, that text is UTF-8
    except pa.ArrowException as error:
        raise UnreadableBatch(f"{name}: {column}: {error}") from error
    content = values.dictionary.buffers()[2]
    if content is not None and any(c in memoryview(content).tobytes() for c in _FORBIDDEN):
        _check_words(name, column, values.dictionary.to_pylist())


def _check_words(name: str, column: str, words: Iterable[str]) -> None:
    for word in words:
        if any(character in word for character in FORBIDDEN_TEXT):
            raise UnreadableBatch(
                f"{name}: {column} {word!r} holds a control character that a daily file cannot keep"
            )


def _rows_by_feed(part: Part) -> dict[str, int]:
    names, product = product_of_rows(part)
    if len(names) == 1:
        return {names[0]: part.rows}
    counts = np.bincount(product, minlength=len(names)).tolist()
    return {name: n for name, n in zip(names, counts, strict=True) if n}


def product_of_rows(part: Part) -> tuple[list[str], Array]:
    """(names "vendor/feed", each once; for each row its place among them)."""
    vendors, vendor = _codes(part, "vendor")
    feeds, feed = _codes(part, "feed")
    names = [f"{v}/{f}" for v in vendors for f in feeds]
    product = vendor * np.int64(len(feeds)) + feed
    distinct = sorted(set(names))
    if len(distinct) < len(names):  # a vocabulary may hold a word twice
        product = np.array([distinct.index(name) for name in names])[product]
        names = distinct
    return names, product


def _codes(part: Part, name: str) -> tuple[list[str], Any]:
    if name in part.constants:
        return [part.constants[name]], np.int64(0)
    values = part.arrays[name]
    return values.dictionary.to_pylist(), values.indices.to_numpy()
