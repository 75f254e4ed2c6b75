"""The frames of a spool as they were received: its raw archive, and what the journal still holds.

A collector's frames come in the order of their ordinals, each with the line that tells how to
read it; one commit's are in memory at a time.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from edc_pipeline.capture.journal.blocks import Frames, Line
from edc_pipeline.capture.journal.reader import read_segment
from edc_pipeline.events import EVENT_TYPES
from edc_pipeline.market_day import day_bounds, market_day
from edc_pipeline.spool.layout import (
    batch_files,
    frames_of,
    journal_collectors,
    journal_folder,
    raw_days,
    raw_segments,
    segment_files,
)


class Received(NamedTuple):
    frame: int
    received_at: int
    line: Line
    payload: bytes


class NoFrames(Exception):
    """The spool keeps no frames of that day; the message says what it keeps."""


@dataclass(frozen=True, slots=True)
class Span:
    """What of a collector belongs to a day: its frames `first … last`."""

    collector: str
    segments: tuple[Path, ...]
    first: int
    last: int

    def frames(self) -> Iterator[tuple[bool, Received]]:
        """`(belongs to the day, frame)`; what comes before is there to be heard, not kept: numbers
        and staleness go on from it."""
        told = -1
        for path in self.segments:
            read = read_segment(path)
            for block in read.frames:
                if block.first_frame > self.last:
                    return
                if block.first_frame <= told:
                    continue  # once more, where a refused commit's bytes could not be cut off
                told = block.first_frame + len(block) - 1
                yield from self._of_block(block, read.lines)

    def lines(self) -> Iterator[Line]:
        """The connections of its segments."""
        for path in self.segments:
            yield from read_segment(path).lines.values()

    def _of_block(self, block: Frames, lines: dict[int, Line]) -> Iterator[tuple[bool, Received]]:
        rows = zip(block.received_at, block.lines, block.payloads, strict=True)
        for frame, (received_at, number, payload) in enumerate(rows, block.first_frame):
            if frame > self.last:
                return
            yield frame >= self.first, Received(frame, received_at, lines[number], payload)


def spans_of(spool: Path, day: dt.date) -> list[Span]:
    """What to read again for a day, by collector: the frames received on it, and those received on
    another day that gave events of it, as its micro-batches say."""
    received = _received_on(spool, day)
    wanted: dict[str, list[int]] = {}
    for collector, first, last in [*received, *_gave_events_of(spool, day)]:
        at = wanted.setdefault(collector, [first, last])
        at[:] = [min(at[0], first), max(at[1], last)]
    segments = _segments(spool)
    spans = [
        Span(collector, tuple(segments[collector]), first, last)
        for collector, (first, last) in sorted(wanted.items())
        if collector in segments
    ]
    if not spans:
        raise NoFrames(_why_none(spool, day))
    return spans


def _received_on(spool: Path, day: dt.date) -> Iterator[tuple[str, int, int]]:
    for path in raw_segments(spool, day):
        collector, first, last = _named(path)
        yield collector, first, last
    begins, ends = day_bounds(day)
    for collector in journal_collectors(spool):
        for path in segment_files(journal_folder(spool, collector)):
            for place in read_segment(path).places:
                if begins <= place.received_at < ends:
                    yield collector, place.first_frame, place.last_frame


def _gave_events_of(spool: Path, day: dt.date) -> Iterator[tuple[str, int, int]]:
    for event_type in EVENT_TYPES:
        for path in batch_files(spool, event_type, day):
            found = frames_of(path)
            if found is not None and "-retried." not in found[0]:
                yield found


def _named(path: Path) -> tuple[str, int, int]:
    collector, first, last = path.stem.rsplit("-", 2)
    return collector, int(first), int(last)


def _segments(spool: Path) -> dict[str, list[Path]]:
    """Every segment that is left, by collector, in the order of their frames."""
    found: dict[str, dict[int, Path]] = {}
    for collector in journal_collectors(spool):
        for path in segment_files(journal_folder(spool, collector)):
            found.setdefault(collector, {})[int(path.stem)] = path
    for path in raw_segments(spool):
        collector, first, _ = _named(path)
        found.setdefault(collector, {})[first] = path
    return {name: [by[first] for first in sorted(by)] for name, by in found.items()}


def _why_none(spool: Path, day: dt.date) -> str:
    days = raw_days(spool)
    kept = f"it keeps those of {days[0]} to {days[-1]}" if days else "it keeps none at all"
    return (
        f"{spool} keeps no frames of {day}; {kept} (capture.raw_archive says for how long)."
        " To replay the daily files instead: --daily DIR"
    )


def days_recorded(spool: Path) -> list[dt.date]:
    """The days of receipt of which frames are left."""
    days = set(raw_days(spool))
    for collector in journal_collectors(spool):
        for path in segment_files(journal_folder(spool, collector)):
            days.update(market_day(place.received_at) for place in read_segment(path).places)
    return sorted(days)
