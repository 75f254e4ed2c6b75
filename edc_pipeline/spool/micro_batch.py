"""A micro-batch: one parquet file of rows of one event type and day, from one collector.

Written whole and durable or not at all. Its footer says what it holds, so that a plan over
thousands of them needs no row to be read.
"""

from __future__ import annotations

import datetime as dt
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from edc_pipeline import __version__
from edc_pipeline.durable_file import write_durably
from edc_pipeline.events import (
    SCHEMA_VERSION,
    EventType,
)
from edc_pipeline.spool.layout import batch_name, day_folder
from edc_pipeline.spool.tables import SCHEMAS, coded, is_coded, words_in

FOOTER_KEY: Final = b"edc"
# Parquet checks its pages, not its footer: a flipped digit in ours would pass unseen.
CHECKSUM_KEY: Final = b"edc_crc32"
# CRC-32 of the whole file, its own eight digits read as `_NOT_YET`: whoever reads the file anyway
# need not have every page checked (that and the pages' own checksums took a third of reading).
FILE_CHECKSUM_KEY: Final = b"edc_file_crc32"
_NOT_YET: Final = b"--------"

# How an entry of parquet's footer begins: Thrift's mark of a binary field, the length of the key,
# the key, and the mark of the value; of a value under 128 bytes the length is one byte.
_OUR_ENTRY: Final = b"\x18%c%s\x18" % (len(FOOTER_KEY), FOOTER_KEY)
_ITS_CHECKSUM: Final = b"\x18%c%s\x18\x08" % (len(CHECKSUM_KEY), CHECKSUM_KEY)
# Parquet's footer of a micro-batch is some 7 kB, and grows with the names that it replaces.
_TAIL_BYTES: Final = 16 << 10

# All that a damaged file has been seen to raise in pyarrow: a flipped bit in a column's name is a
# UnicodeDecodeError (a ValueError), in a length an OSError, in a type an ArrowException.
DAMAGE: Final = (OSError, ValueError, pa.ArrowException, msgspec.MsgspecError)


class Footer(msgspec.Struct, kw_only=True, frozen=True):
    """What a micro-batch says of itself. Frames are ordinals in the collector's journal."""

    schema_version: int
    event_type: EventType
    day: str
    collector: str
    rows: int
    rows_by_feed: dict[str, int]  # "tiingo/iex" → rows
    min_ts_event: int
    max_ts_event: int
    first_frame: int  # this file holds every row of its type and day that frames
    last_frame: int  # first_frame … last_frame of its collector gave, or left the quarantine with
    code_version: str
    # What spares a reader of thousands of files the columns that say nothing. Absent in older ones.
    text_bytes: dict[str, int] = {}  # column → UTF-8 bytes of its longest text
    constants: dict[str, str] = {}  # text columns that say the same in every row
    receive_rows: int | None = None  # rows without a vendor's time (ts_source is "receive")
    replaces: list[str] = []  # compaction: the micro-batches whose rows these are


class UnreadableBatch(Exception):
    """A file in the spool that is not a whole micro-batch; the message says which and why."""


def write_micro_batch(
    spool: Path,
    *,
    event_type: EventType,
    day: dt.date,
    collector: str,
    first_frame: int,
    last_frame: int,
    table: pa.Table,
    name: str = "",
    replaces: Sequence[str] = (),
) -> tuple[Path, Footer]:
    """Write one micro-batch durably and say where it lies. The table must not be empty.

    The name follows from the frames, unless these are not all that the frames gave.
    """
    table = coded(table)
    constants, text_bytes = _about_texts(table)
    span = pc.min_max(table["ts_event"]).as_py()
    footer = Footer(
        schema_version=SCHEMA_VERSION,
        event_type=event_type,
        day=day.isoformat(),
        collector=collector,
        rows=table.num_rows,
        rows_by_feed=_rows_by_feed(table, constants),
        min_ts_event=span["min"],
        max_ts_event=span["max"],
        first_frame=first_frame,
        last_frame=last_frame,
        code_version=__version__,
        text_bytes=text_bytes,
        constants=constants,
        receive_rows=_rows_without_time(table, constants),
        replaces=list(replaces),
    )
    name = name or batch_name(collector, first_frame, last_frame)
    path = day_folder(spool, event_type, day) / name
    write_table_durably(path, table, footer)
    return path, footer


def _about_texts(table: pa.Table) -> tuple[dict[str, str], dict[str, int]]:
    """The text columns of one value, and of each text column the longest in UTF-8 bytes."""
    constants, longest = {}, {}
    for field in table.schema:
        column, name = table[field.name], field.name
        if pa.types.is_dictionary(field.type):
            words = words_in(column)
            longest[name] = max(len(word.encode()) for word in words)
            if len(words) == 1:
                constants[name] = words[0]
        elif pa.types.is_string(field.type):
            longest[name] = pc.max(pc.binary_length(column)).as_py()
            first = column[0]
            if pc.all(pc.equal(column, first)).as_py():
                constants[name] = first.as_py()
    return constants, longest


def _rows_by_feed(table: pa.Table, constants: Mapping[str, str]) -> dict[str, int]:
    if constants.keys() >= {"vendor", "feed"}:
        return {f"{constants['vendor']}/{constants['feed']}": table.num_rows}
    feeds = table.group_by(["vendor", "feed"]).aggregate([([], "count_all")]).to_pylist()
    rows_by_feed = {f"{row['vendor']}/{row['feed']}": row["count_all"] for row in feeds}
    return dict(sorted(rows_by_feed.items()))


def _rows_without_time(table: pa.Table, constants: Mapping[str, str]) -> int:
    if (said := constants.get("ts_source")) is not None:
        return table.num_rows if said == "receive" else 0
    rows: int = pc.sum(pc.equal(table["ts_source"], "receive")).as_py()
    return rows


def write_table_durably(path: Path, table: pa.Table, footer: msgspec.Struct) -> None:
    """A parquet file as this spool writes them: zstd 1, checksummed pages, our footer."""
    said = msgspec.json.encode(footer)
    metadata = {
        FOOTER_KEY: said,
        CHECKSUM_KEY: b"%08x" % zlib.crc32(said),
        FILE_CHECKSUM_KEY: _NOT_YET,
    }
    names, whole = table.schema.names, {pa.int64(), pa.int32()}
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=[field.name for field in table.schema if is_coded(field)],
        # Times, numbers and ordinals differ little from row to row: a third less to compress.
        column_encoding={
            field.name: "DELTA_BINARY_PACKED" for field in table.schema if field.type in whole
        },
        # What an engine prunes by. Those of all columns took a third of the writing.
        write_statistics=[name for name in ("ts_event", "symbol") if name in names],
        # A flipped byte inside a page passes unseen unless pages carry checksums (measured).
        write_page_checksum=True,
        # To a reader texts are texts, however they were held here.
        store_schema=False,
    ) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(metadata)
    image = bytearray(sink.getvalue())
    at = _place_of_checksum(image)
    image[at : at + len(_NOT_YET)] = b"%08x" % zlib.crc32(image)
    write_durably(path, lambda temporary: _fill(temporary, image))


def _fill(path: Path, image: bytearray) -> None:
    path.write_bytes(image)


def _place_of_checksum(image: bytes | bytearray) -> int:
    """Where the eight digits stand: behind their key, two bytes of Thrift apart; −1: nowhere."""
    key = image.rfind(FILE_CHECKSUM_KEY)
    return -1 if key < 0 else key + len(FILE_CHECKSUM_KEY) + 2


def is_whole(image: bytes) -> bool | None:
    """Whether a file's bytes are those that were written; None where it bears no checksum."""
    at = _place_of_checksum(image)
    if at < 0:
        return None
    view = memoryview(image)
    digits = bytes(view[at : at + len(_NOT_YET)])
    checksum = zlib.crc32(view[at + len(_NOT_YET) :], zlib.crc32(_NOT_YET, zlib.crc32(view[:at])))
    return digits == b"%08x" % checksum


def read_footer(path: Path) -> Footer:
    """What a micro-batch says of itself; `UnreadableBatch` for a torn or foreign file.

    Whether the rows are so many, and sound, is for whoever reads them to find out.
    """
    try:
        raw = _said_at_the_end(path)
        if raw is None:
            raw = _said_as_parquet(path)
        footer = msgspec.json.decode(raw, type=Footer)
    except DAMAGE as error:
        raise UnreadableBatch(f"{path.name}: {error}") from error
    if footer.schema_version != SCHEMA_VERSION:
        raise UnreadableBatch(
            f"{path.name}: schema version {footer.schema_version}, this code reads {SCHEMA_VERSION}"
        )
    return footer


def _said_at_the_end(path: Path) -> bytes | None:
    """Our entry, found by its key among the last bytes and vouched for by its checksum; None where
    it is not found so. pyarrow takes four times as long, most of it for the other entries."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        tail = os.pread(descriptor, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
    finally:
        os.close(descriptor)
    begins = len(tail) - 8 - int.from_bytes(tail[-8:-4], "little")
    if tail[-4:] != b"PAR1" or begins < 0:
        return None
    at, checksum = tail.find(_OUR_ENTRY, begins), tail.find(_ITS_CHECKSUM, begins)
    if at < 0 or checksum < 0:
        return None
    at += len(_OUR_ENTRY)
    length = shift = 0
    while tail[at] & 0x80:  # Thrift's varint: seven bits a byte, the lowest first
        length |= (tail[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
    length |= tail[at] << shift
    raw = tail[at + 1 : at + 1 + length]
    checksum += len(_ITS_CHECKSUM)
    return raw if tail[checksum : checksum + 8] == b"%08x" % zlib.crc32(raw) else None


def _said_as_parquet(path: Path) -> bytes:
    metadata = pq.read_metadata(path)
    said = metadata.metadata or {}
    raw: bytes | None = said.get(FOOTER_KEY)
    if raw is None:
        raise UnreadableBatch(f"{path.name}: no {FOOTER_KEY.decode()!r} entry in its footer")
    if said.get(CHECKSUM_KEY) != b"%08x" % zlib.crc32(raw):
        raise UnreadableBatch(f"{path.name}: its footer does not agree with its checksum")
    return raw


def read_micro_batch(path: Path, event_type: EventType) -> pa.Table:
    """The rows of a micro-batch, every page's checksum tested."""
    try:
        # partitioning=None: the folder names are not columns of ours.
        table = pq.read_table(path, page_checksum_verification=True, partitioning=None)
    except DAMAGE as error:
        raise UnreadableBatch(f"{path.name}: {error}") from error
    if not table.schema.equals(SCHEMAS[event_type], check_metadata=False):
        raise UnreadableBatch(f"{path.name}: its columns are {table.schema.to_string()[:500]}")
    return table.replace_schema_metadata(None)
