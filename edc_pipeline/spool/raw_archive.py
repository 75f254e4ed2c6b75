"""Journal segments that are no longer needed to recover, kept for a while: what can be read again
when a parser is mended, and replayed as a fake vendor.

A segment is kept as it is: compressed and checksummed already, moved by a rename. To write its
frames anew as parquet cost 0.5 µs a frame, a sixth of all that capture costs.
"""

from __future__ import annotations

import datetime as dt
import os
from contextlib import suppress
from pathlib import Path

from edc_pipeline.durable_file import fsync_path, make_durable_folder
from edc_pipeline.spool.layout import (
    damaged_segment,
    raw_days,
    raw_folder,
    raw_segment_name,
    raw_segments,
)


def keep_segment(
    spool: Path, collector: str, segment: Path, *, day: dt.date, first_frame: int, last_frame: int
) -> Path:
    """Move a sealed segment, whose first frame was received on `day`, into the archive."""
    path = raw_folder(spool, day) / raw_segment_name(collector, first_frame, last_frame)
    return _move(segment, path)


def set_segment_aside(spool: Path, collector: str, segment: Path) -> Path:
    """Move a damaged segment to where no policy removes it."""
    return _move(segment, damaged_segment(spool, collector, segment))


def _move(segment: Path, path: Path) -> Path:
    make_durable_folder(path.parent)
    try:
        os.replace(segment, path)
    except FileNotFoundError:
        # A former try moved it, and the disk refused to make that durable: only this is left to do.
        if not path.exists():
            raise
    fsync_path(path.parent)
    fsync_path(segment.parent)
    return path


def retire_raw_segments(spool: Path, before: dt.date) -> list[dt.date]:
    """Remove the segments of the days of receipt before a day; returns the days that lost some.
    What else somebody put into their folders stays, and what can't be removed waits."""
    retired = set[dt.date]()
    for day in raw_days(spool):
        if day >= before:
            continue
        with suppress(OSError):
            for segment in raw_segments(spool, day):
                segment.unlink(missing_ok=True)
                retired.add(day)
            raw_folder(spool, day).rmdir()
    return sorted(retired)
