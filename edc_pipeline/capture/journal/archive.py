"""Sealed segments whose events are in the spool → the raw archive, or nothing."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from edc_pipeline.capture.journal.blocks import Frames, Line, Packed
from edc_pipeline.capture.journal.reader import SegmentRead, read_segment
from edc_pipeline.market_day import day_bounds, market_day
from edc_pipeline.spool.raw_archive import SCHEMA, retire_raw_frames, write_raw_frames


def retire_segment(spool: Path, collector: str, path: Path, *, keep_days: int) -> None:
    """Archive a segment and remove it. Done again after a crash, it does the same."""
    if keep_days:
        archive_segment(spool, collector, read_segment(path))
    path.unlink(missing_ok=True)


def archive_segment(spool: Path, collector: str, segment: SegmentRead) -> None:
    by_day: dict[dt.date, list[pa.Table]] = defaultdict(list)
    for block in segment.frames:
        for day, table in _by_day(_table(block, segment.lines)):
            by_day[day].append(table)
    lines = list(segment.lines.values())
    for day, tables in by_day.items():
        frames = pa.concat_tables(tables)
        write_raw_frames(spool, day=day, collector=collector, frames=frames, lines=lines)


def _table(block: Frames, lines: Mapping[int, Line]) -> pa.Table:
    """A block as rows of the archive, without Python code a frame: it shares the event loop's
    lock, and 100,000 rows made one by one held the loop for 160 ms."""
    numbers = pa.array(np.asarray(block.lines, np.uint32))
    used = pc.unique(numbers)
    which = pc.index_in(numbers, used)
    named = [lines[number] for number in used.to_pylist()]
    first, payloads = block.first_frame, block.payloads
    columns = [
        *(
            pa.array([getattr(line, text) for line in named], pa.string()).take(which)
            for text in ("name", "vendor", "feed", "connection")
        ),
        pa.array(np.arange(first, first + len(block), dtype=np.int64)),
        pa.array(np.asarray(block.received_at, np.int64)),
        payloads.arrow if isinstance(payloads, Packed) else pa.array(payloads, pa.binary()),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def _by_day(table: pa.Table) -> Iterator[tuple[dt.date, pa.Table]]:
    """A block's rows by their day of receipt: nearly always one."""
    received_at = table["received_at"]
    while table.num_rows:
        day = market_day(received_at[0].as_py())
        first, end = day_bounds(day)
        inside = pc.and_(pc.greater_equal(received_at, first), pc.less(received_at, end))
        if pc.all(inside).as_py():
            yield day, table
            return
        yield day, table.filter(inside)
        table = table.filter(pc.invert(inside))
        received_at = table["received_at"]


def retire_old_days(spool: Path, today: dt.date, *, keep_days: int) -> list[dt.date]:
    return retire_raw_frames(spool, today - dt.timedelta(days=keep_days))
