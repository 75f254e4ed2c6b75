"""Frames that could not be read, kept with their bytes and the reason, by day of receipt."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from edc_pipeline import __version__
from edc_pipeline.events import SCHEMA_VERSION
from edc_pipeline.spool.layout import batch_name, quarantine_files, quarantine_folder
from edc_pipeline.spool.ledger import Source
from edc_pipeline.spool.micro_batch import FOOTER_KEY, UnreadableBatch, write_table_durably


class QuarantinedFrame(NamedTuple):
    source: Source
    connection: str
    frame: int
    received_at: int
    reason: str
    payload: bytes
    events: int = 0  # of it that could be read, and lie in micro-batches


class QuarantineFooter(msgspec.Struct, kw_only=True, frozen=True):
    schema_version: int
    day: str
    collector: str
    rows: int
    code_version: str
    lines: list[Any] = []  # the connections as their frames need them to be read again


_SCHEMA: Final = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("vendor", pa.string(), nullable=False),
        pa.field("feed", pa.string(), nullable=False),
        pa.field("connection", pa.string(), nullable=False),
        pa.field("frame", pa.int64(), nullable=False),
        pa.field("received_at", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("payload", pa.binary(), nullable=False),
        pa.field("events", pa.int32(), nullable=False),
    ]
)


def write_quarantine(
    spool: Path,
    *,
    day: dt.date,
    collector: str,
    first_frame: int,
    last_frame: int,
    frames: Sequence[QuarantinedFrame],
    lines: Sequence[msgspec.Struct] = (),
) -> Path:
    rows = [(f.source.name, f.source.vendor, f.source.feed, *f[1:]) for f in frames]
    columns = [
        pa.array(values, type=field.type)
        for values, field in zip(zip(*rows, strict=True), _SCHEMA, strict=True)
    ]
    path = quarantine_folder(spool, day) / batch_name(collector, first_frame, last_frame)
    footer = QuarantineFooter(
        schema_version=SCHEMA_VERSION,
        day=day.isoformat(),
        collector=collector,
        rows=len(frames),
        code_version=__version__,
        lines=[msgspec.to_builtins(line) for line in lines],
    )
    write_table_durably(path, pa.Table.from_arrays(columns, schema=_SCHEMA), footer)
    return path


class QuarantineFile(NamedTuple):
    frames: list[QuarantinedFrame]
    lines: list[Any]


def read_quarantine_file(path: Path) -> QuarantineFile:
    try:
        table = pq.read_table(path, page_checksum_verification=True, partitioning=None)
        said = (table.schema.metadata or {}).get(FOOTER_KEY, b"{}")
        lines = msgspec.json.decode(said, type=dict[str, Any]).get("lines", [])
        _check_columns(table.schema)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UnreadableBatch(f"{path.name}: {error}") from error
    frames = [
        QuarantinedFrame(
            Source(row["name"], row["vendor"], row["feed"]),
            row["connection"],
            row["frame"],
            row["received_at"],
            row["reason"],
            row["payload"],
            row.get("events", 0),
        )
        for row in table.to_pylist()
    ]
    return QuarantineFile(frames, lines)


def _check_columns(found: pa.Schema) -> None:
    """`ValueError` for a file that no flush of ours wrote. Older ones lack the last column."""
    known = {field.name: field.type for field in found}
    if any(known.get(f.name) != f.type for f in list(_SCHEMA)[:-1]):
        raise ValueError(f"its columns are {found.remove_metadata().to_string()[:300]}")


def read_quarantine(spool: Path, day: dt.date) -> list[QuarantinedFrame]:
    """The quarantined frames received on a day, in the order of their files and ordinals."""
    frames = []
    for path in quarantine_files(spool, day):
        with suppress(FileNotFoundError):  # a retry emptied it while we looked
            frames += read_quarantine_file(path).frames
    return frames
