"""Segments whose events are in the spool → the raw archive, or nothing."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from edc_pipeline.capture.journal.reader import Outline, SegmentRead, read_segment
from edc_pipeline.capture.journal.writer import Segment
from edc_pipeline.durable_file import fsync_path
from edc_pipeline.market_day import market_day
from edc_pipeline.spool.layout import damaged_segments, raw_segments
from edc_pipeline.spool.raw_archive import keep_segment, retire_raw_segments, set_segment_aside


def retire_segment(spool: Path, collector: str, segment: Segment, *, keep_days: int) -> None:
    """Archive a segment, or remove it."""
    if not keep_days:
        segment.path.unlink(missing_ok=True)
        return
    _settle(segment.path, segment.whole_bytes)
    day = market_day(segment.first_received_at)
    frames = {"first_frame": segment.first_frame, "last_frame": segment.last_frame}
    keep_segment(spool, collector, segment.path, day=day, **frames)


def retire_recovered(spool: Path, collector: str, left: Outline, *, keep_days: int) -> None:
    """The same for a dead collector's. Damaged bytes are never removed here: they go into the
    archive as they are or, where that takes none or no frame of the segment is whole, are set
    aside."""
    frames = left.frames
    if frames is None:
        if left.damaged:
            fsync_path(left.path)
            set_segment_aside(spool, collector, left.path)
        else:
            left.path.unlink(missing_ok=True)
        return
    if left.damaged and not keep_days:
        _settle(left.path, left.whole_bytes)
        set_segment_aside(spool, collector, left.path)
        return
    first, last, at = frames.first_frame, frames.last_frame, frames.received_at
    segment = Segment(left.path, first, last, at, left.whole_bytes)
    retire_segment(spool, collector, segment, keep_days=keep_days)


def _settle(segment: Path, whole_bytes: int) -> None:
    """Off with what was never acknowledged, and all of it to the disk: the archive holds no torn
    file. What a killed commit wrote may be in memory alone, and so may a former try's cut."""
    with suppress(FileNotFoundError):  # moved already, by a try that got no further
        if segment.stat().st_size > whole_bytes:
            os.truncate(segment, whole_bytes)
        fsync_path(segment)


def retire_old_days(spool: Path, today: dt.date, *, keep_days: int) -> list[dt.date]:
    return retire_raw_segments(spool, today - dt.timedelta(days=keep_days))


def read_archive(spool: Path, day: dt.date | None = None) -> Iterator[SegmentRead]:
    """The archived segments, of one day of receipt or of all, one looked at at a time.

    A collector begins a new segment with every day, so a day's frames are in its own segments.
    """
    for path in raw_segments(spool, day):
        yield read_segment(path)


def read_set_aside(spool: Path) -> Iterator[SegmentRead]:
    """Damaged segments that are not in the archive."""
    return map(read_segment, damaged_segments(spool))
