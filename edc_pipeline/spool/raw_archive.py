"""Frames as they were sent, kept for a while: what can be read again when a parser is mended, and
replayed as a fake vendor. Parquet by day of receipt, so that any engine opens it."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pyarrow as pa

from edc_pipeline import __version__
from edc_pipeline.events import SCHEMA_VERSION
from edc_pipeline.spool.layout import batch_name, raw_days, raw_folder
from edc_pipeline.spool.micro_batch import write_table_durably

SCHEMA: Final = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("vendor", pa.string(), nullable=False),
        pa.field("feed", pa.string(), nullable=False),
        pa.field("connection", pa.string(), nullable=False),
        pa.field("frame", pa.int64(), nullable=False),
        pa.field("received_at", pa.int64(), nullable=False),
        pa.field("payload", pa.binary(), nullable=False),
    ]
)


class RawFooter(msgspec.Struct, kw_only=True, frozen=True):
    schema_version: int
    day: str
    collector: str
    rows: int
    lines: list[Any]  # the connections as their frames need them to be read again
    code_version: str


def write_raw_frames(
    spool: Path,
    *,
    day: dt.date,
    collector: str,
    frames: pa.Table,
    lines: Sequence[msgspec.Struct],
) -> Path:
    """Frames received on one day, by `SCHEMA`, in the order of their ordinals. Not empty."""
    footer = RawFooter(
        schema_version=SCHEMA_VERSION,
        day=day.isoformat(),
        collector=collector,
        rows=frames.num_rows,
        lines=[msgspec.to_builtins(line) for line in lines],
        code_version=__version__,
    )
    ordinals = frames["frame"]
    name = batch_name(collector, ordinals[0].as_py(), ordinals[-1].as_py())
    path = raw_folder(spool, day) / name
    write_table_durably(path, frames, footer)
    return path


def retire_raw_frames(spool: Path, before: dt.date) -> list[dt.date]:
    """Remove the days of receipt before a day; returns them."""
    retired = [day for day in raw_days(spool) if day < before]
    for day in retired:
        shutil.rmtree(raw_folder(spool, day), ignore_errors=True)
    return retired
