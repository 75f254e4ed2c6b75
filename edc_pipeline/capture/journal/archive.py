"""Sealed segments whose events are in the spool → the raw archive, or nothing."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from pathlib import Path

from edc_pipeline.capture.journal.reader import SegmentRead, read_segment
from edc_pipeline.market_day import DayFinder
from edc_pipeline.spool.raw_archive import RawFrame, retire_raw_frames, write_raw_frames


def retire_segment(spool: Path, collector: str, path: Path, *, keep_days: int) -> None:
    """Archive a segment and remove it. Done again after a crash, it does the same."""
    if keep_days:
        archive_segment(spool, collector, read_segment(path))
    path.unlink(missing_ok=True)


def archive_segment(spool: Path, collector: str, segment: SegmentRead) -> None:
    by_day: dict[dt.date, list[RawFrame]] = defaultdict(list)
    day_of = DayFinder()
    for block in segment.frames:
        rows = zip(block.received_at, block.lines, block.payloads, strict=True)
        for frame, (received_at, number, payload) in enumerate(rows, block.first_frame):
            line = segment.lines[number]
            row = RawFrame(
                line.name, line.vendor, line.feed, line.connection, frame, received_at, payload
            )
            by_day[day_of(received_at)].append(row)
    lines = list(segment.lines.values())
    for day, frames in by_day.items():
        write_raw_frames(spool, day=day, collector=collector, frames=frames, lines=lines)


def retire_old_days(spool: Path, today: dt.date, *, keep_days: int) -> list[dt.date]:
    return retire_raw_frames(spool, today - dt.timedelta(days=keep_days))
