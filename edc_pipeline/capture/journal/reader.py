"""Reads a collector's segments back: every whole block of each, also behind damage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Final

from edc_pipeline.capture.journal.blocks import Frames, Line
from edc_pipeline.capture.journal.damage import Damage, Unfinished, walk
from edc_pipeline.spool.layout import (
    collector_of_segment,
    segment_files,
    segments_of,
    spool_of_segment,
)

# Whose frames nobody knows: what said it is damaged in every segment.
UNKNOWN: Final = "unknown"


@dataclass(slots=True)
class SegmentRead:
    """What one segment held, and what of it can't be read and why."""

    path: Path
    frames: list[Frames] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)  # of each of these, in bytes
    lines: dict[int, Line] = field(default_factory=dict)
    damages: list[Damage] = field(default_factory=list)
    whole_bytes: int = 0  # behind them: what was never acknowledged, or is in the next segment
    torn: str = ""  # why they are not all: a commit that was not finished

    @property
    def frame_count(self) -> int:
        return sum(map(len, self.frames))

    @property
    def first_frame(self) -> int | None:
        return self.frames[0].first_frame if self.frames else None

    @property
    def last_frame(self) -> int | None:
        return self.frames[-1].first_frame + len(self.frames[-1]) - 1 if self.frames else None

    @property
    def damages_behind(self) -> list[Damage]:
        """Those behind its last frames that may have been frames."""
        end = self.ends[-1] if self.ends else 0
        found = (d for d in self.damages if d.first_byte >= end)
        return [d for d in found if d.frames is None or d.frames]

    def end_before(self, frame: int) -> None:
        """Leave out this frame and all behind it, with the bytes that hold them; but no damage."""
        while self.frames and self.frames[-1].first_frame >= frame:
            del self.frames[-1], self.ends[-1]
            damaged = self.damages[-1].end_byte if self.damages else 0
            self.whole_bytes = max(self.ends[-1] if self.ends else 0, damaged)


def read_segment(path: Path) -> SegmentRead:
    """All whole blocks of a segment (at most 64 MB, so it is read at once)."""
    read = _read_alone(path)
    if read.damages:
        _complete_lines(read)
    return read


def _read_alone(path: Path) -> SegmentRead:
    read = SegmentRead(path)
    for end, found in walk(memoryview(path.read_bytes())):
        match found:
            case Line():
                read.lines[found.number] = found
            case Frames():
                read.frames.append(found)
                read.ends.append(end)
            case Damage():
                read.damages.append(found)
            case Unfinished():
                read.torn = found.said
                break
        read.whole_bytes = end
    return read


def _complete_lines(read: SegmentRead) -> None:
    """Where a line is damaged, the collector's other segments may have it: each names its own. Of a
    line that none has, the frames are whole, and nobody knows how to read them."""
    missing = {number for block in read.frames for number in block.lines} - read.lines.keys()
    if not missing:
        return
    spool, collector = spool_of_segment(read.path), collector_of_segment(read.path)
    known = lines_of_collector(spool, collector) if spool is not None else {}
    for number in missing:
        read.lines[number] = known.get(number) or _unknown_line(collector, number)


def _unknown_line(collector: str, number: int) -> Line:
    connection = f"{collector}/{UNKNOWN}/{number}"
    return Line(number=number, name=UNKNOWN, vendor=UNKNOWN, feed=UNKNOWN, connection=connection)


def lines_of_collector(spool: Path, collector: str) -> dict[int, Line]:
    """Its connections, as far as a segment in the journal or in the archive names them."""
    found: dict[int, Line] = {}
    for path in segments_of(spool, collector):
        found.update(_read_alone(path).lines)
    return found


def read_collector(folder: Path, *, of_another: bool = False) -> Iterator[SegmentRead]:
    """A collector's segments in the order of their frames, one in memory at a time, and each frame
    in one of them.

    A commit that was refused may have left all its bytes, and no more than they could be cut off
    again: its frames then went into the next segment, and those are the ones that became durable.

    `of_another`: who looks at the journal of a collector that runs may find a segment gone into the
    archive since it was listed, and leaves it out. Who owns the spool must not.
    """
    paths = segment_files(folder)
    for path, behind in zip_longest(paths, paths[1:]):
        try:
            read = read_segment(path)
            if behind is not None and (first := _first_frame(behind)) is not None:
                read.end_before(first)
        except FileNotFoundError:
            if of_another:
                continue
            raise
        yield read


def _first_frame(segment: Path) -> int | None:
    """None: it holds no whole block of frames."""
    for _, found in walk(memoryview(segment.read_bytes())):
        if isinstance(found, Frames):
            return found.first_frame
    return None
