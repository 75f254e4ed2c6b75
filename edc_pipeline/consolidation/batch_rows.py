"""A micro-batch → its rows. A file that does not hold what it says is set aside with the reason."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
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

_SHORT_BYTES: Final = 16
_FORBIDDEN: Final = tuple(character.encode() for character in FORBIDDEN_TEXT)


def read_batch(batch: Batch, event_type: EventType, day: dt.date) -> tuple[Part, Input]:
    """The rows of one micro-batch and what was read, hashed from the very bytes that were decoded.

    `UnreadableBatch` if they are not what the footer says; OSError if it is not there any more.
    """
    image, check_pages = _image_of(batch)
    name, footer = batch.path.name, batch.footer
    try:
        part = _decode(image, event_type, footer, check_pages=check_pages)
    except DAMAGE as error:
        raise UnreadableBatch(f"{name}: {error}") from error
    found = _Found(name, footer, day)
    found.look_at(part)
    found.check()
    return part, _input(batch, image)


def read_in_pieces(
    batch: Batch, event_type: EventType, day: dt.date, rows: int
) -> Iterator[tuple[Part, Input | None]]:
    """The same of a micro-batch that is too large to be read at once, so many rows at a time; what
    was read comes with the last. Errors may come after rows have: those are not to be used then."""
    image, check_pages = _image_of(batch)
    name, footer = batch.path.name, batch.footer
    found = _Found(name, footer, day)
    last: Part | None = None
    try:
        for part in _decode_in_pieces(image, event_type, footer, rows, check_pages=check_pages):
            found.look_at(part)
            if last is not None:
                yield last, None
            last = part.narrowed()
    except DAMAGE as error:
        raise UnreadableBatch(f"{name}: {error}") from error
    found.check()
    assert last is not None, f"{name} holds no rows, and was read in pieces"
    yield last, _input(batch, image)


def _image_of(batch: Batch) -> tuple[bytes, bool]:
    """(its bytes, whether its pages have to be checked). A whole file needs none of its pages
    checked, and its footer can be taken at its word."""
    image = batch.path.read_bytes()
    whole = is_whole(image)
    if whole is False:
        raise UnreadableBatch(
            f"{batch.path.name}: its bytes do not agree with their checksum: it is damaged"
        )
    return image, whole is None


def _input(batch: Batch, image: bytes) -> Input:
    digest = hashlib.sha256(image).hexdigest()
    return Input(name=batch.path.name, rows=batch.footer.rows, bytes=len(image), sha256=digest)


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
    file = _opened(image, event_type, _text_columns(event_type), check_pages=check_pages)
    constants = {} if check_pages else footer.constants
    table = file.read(_but(event_type, constants), use_threads=False)
    return Part(table.num_rows, {n: _one(table[n]) for n in table.column_names}, constants)


def _decode_in_pieces(
    image: bytes, event_type: EventType, footer: Footer, rows: int, *, check_pages: bool
) -> Iterator[Part]:
    # As dictionaries pyarrow would keep every word that it has met to the end of the file, in three
    # places: 420 MB for 300,000 rows of two texts of 128 bytes, against 150 (and half the time).
    short = [n for n in _text_columns(event_type) if footer.text_bytes.get(n, 0) <= _SHORT_BYTES]
    file = _opened(image, event_type, short, check_pages=check_pages)
    constants = {} if check_pages else footer.constants
    for piece in file.iter_batches(rows, columns=_but(event_type, constants), use_threads=False):
        arrays = {
            name: values.dictionary_encode() if pa.types.is_string(values.type) else values
            for name, values in zip(piece.schema.names, piece.columns, strict=True)
        }
        yield Part(piece.num_rows, arrays, constants)


def _opened(
    image: bytes, event_type: EventType, as_dictionary: list[str], *, check_pages: bool
) -> pq.ParquetFile:
    file = pq.ParquetFile(
        pa.BufferReader(image),
        read_dictionary=as_dictionary,
        page_checksum_verification=check_pages,
    )
    found, schema = file.schema_arrow, SCHEMAS[event_type]
    if found.names != schema.names or any(
        _stored(f.type) != schema.field(f.name).type for f in found
    ):
        raise ValueError(f"its columns are {found.remove_metadata().to_string()[:500]}")
    return file


def _but(event_type: EventType, constants: Mapping[str, str]) -> list[str]:
    return [name for name in SCHEMAS[event_type].names if name not in constants]


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


class _Found:
    """What the rows of a micro-batch come to, held against what its footer says."""

    def __init__(self, name: str, footer: Footer, day: dt.date) -> None:
        self._name = name
        self._footer = footer
        self._day = day
        self._rows = 0
        self._spans: list[int] = []
        self._by_feed = Counter[str]()

    def look_at(self, part: Part) -> None:
        empty = [column for column, values in part.arrays.items() if values.null_count]
        if empty:
            raise UnreadableBatch(f"{self._name}: nulls in {', '.join(empty)}")
        self._rows += part.rows
        if not part.rows:
            return
        stamps = part.arrays["ts_event"].to_numpy()
        self._spans += [int(stamps.min()), int(stamps.max())]
        check_texts(part, self._name)
        self._by_feed.update(_rows_by_feed(part))

    def check(self) -> None:
        name, footer = self._name, self._footer
        if self._rows != footer.rows:
            raise UnreadableBatch(f"{name}: {self._rows} rows, its footer says {footer.rows}")
        if not self._rows:
            return
        low, high = min(self._spans), max(self._spans)
        first, end = day_bounds(self._day)
        if not first <= low <= high < end:
            raise UnreadableBatch(
                f"{name}: events from {low} to {high} ns are not all of {self._day}"
            )
        if (low, high) != (footer.min_ts_event, footer.max_ts_event):  # slices are cut by these
            said = f"{footer.min_ts_event} to {footer.max_ts_event}"
            raise UnreadableBatch(f"{name}: events from {low} to {high} ns, its footer says {said}")
        if (by_feed := dict(self._by_feed)) != footer.rows_by_feed:
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
