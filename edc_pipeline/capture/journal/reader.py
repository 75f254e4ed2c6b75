"""Reads a collector's segments back: every whole block of each, also behind damage."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, NamedTuple

from edc_pipeline.capture.journal.blocks import Frames, Line, Torn, read_block
from edc_pipeline.capture.journal.damage import Damage, Unfinished, walk
from edc_pipeline.spool.layout import (
    collector_of_segment,
    segment_files,
    segments_of,
    spool_of_segment,
)

# Whose frames nobody knows: what said it is damaged in every segment.
UNKNOWN: Final = "unknown"


class Place(NamedTuple):
    """A whole block of frames in its segment."""

    first_byte: int
    end: int
    first_frame: int
    rows: int
    received_at: int  # its first frame

    @property
    def last_frame(self) -> int:
        return self.first_frame + self.rows - 1


@dataclass(frozen=True, slots=True)
class Outline:
    """What it takes to retire a segment."""

    path: Path
    frames: Place | None  # all of them as if they were one block; None: it holds none
    damaged: bool
    whole_bytes: int


class _Held:
    """A file that stays open while somebody may read on: a segment that is archived meanwhile is
    still there."""

    __slots__ = ("_descriptor",)

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        with suppress(AttributeError, OSError):
            os.close(self._descriptor)

    def read_all(self) -> bytes:
        return self.read(0, os.fstat(self._descriptor).st_size)

    def read(self, first: int, end: int) -> bytes:
        parts = []
        while first < end and (part := os.pread(self._descriptor, end - first, first)):
            parts.append(part)
            first += len(part)
        return b"".join(parts)


class Blocks(Sequence[Frames]):
    """A segment's blocks of frames, each read when it is looked at and kept by nobody: what a
    vendor sends may compress a thousandfold, and all of a segment at once took gigabytes."""

    __slots__ = ("_file", "_path", "_places")

    def __init__(self, path: Path, file: _Held, places: Sequence[Place]) -> None:
        self._path = path
        self._file = file
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self._read(place) for place in self._places[at]]
        return self._read(self._places[at])

    def _read(self, place: Place) -> Frames:
        try:
            _, found = read_block(memoryview(self._file.read(place.first_byte, place.end)), 0)
        except Torn as torn:
            raise self._changed(place) from torn
        if not isinstance(found, Frames) or (found.first_frame, len(found)) != place[2:4]:
            raise self._changed(place)
        return found

    def _changed(self, place: Place) -> OSError:
        said = f"the block at byte {place.first_byte} is another than a moment ago"
        return OSError(errno.EIO, said, str(self._path))


@dataclass(slots=True)
class SegmentRead:
    """What one segment holds, and what of it can't be read and why."""

    path: Path
    file: _Held
    places: list[Place] = field(default_factory=list)
    lines: dict[int, Line] = field(default_factory=dict)
    damages: list[Damage] = field(default_factory=list)
    whole_bytes: int = 0  # behind them: what was never acknowledged, or is in the next segment
    torn: str = ""  # why they are not all: a commit that was not finished

    @property
    def frames(self) -> Blocks:
        """Its blocks of frames, one in memory at a time."""
        return Blocks(self.path, self.file, self.places)

    @property
    def frame_count(self) -> int:
        return sum(place.rows for place in self.places)

    @property
    def first_frame(self) -> int | None:
        return self.places[0].first_frame if self.places else None

    @property
    def last_frame(self) -> int | None:
        return self.places[-1].last_frame if self.places else None

    @property
    def outline(self) -> Outline:
        frames = None
        if self.places:
            first, last = self.places[0], self.places[-1]
            rows = last.last_frame - first.first_frame + 1
            frames = first._replace(end=last.end, rows=rows)
        return Outline(self.path, frames, bool(self.damages), self.whole_bytes)

    @property
    def damages_behind(self) -> list[Damage]:
        """Those behind its last frames that may have been frames."""
        end = self.places[-1].end if self.places else 0
        found = (d for d in self.damages if d.first_byte >= end)
        return [d for d in found if d.frames is None or d.frames]

    def end_before(self, frame: int) -> None:
        """Leave out this frame and all behind it, with the bytes that hold them; but no damage."""
        while self.places and self.places[-1].first_frame >= frame:
            del self.places[-1]
            damaged = self.damages[-1].end_byte if self.damages else 0
            self.whole_bytes = max(self.places[-1].end if self.places else 0, damaged)


def read_segment(path: Path) -> SegmentRead:
    """Every block of a segment is looked at, and what is whole can then be read block by block. The
    segment's bytes are in memory meanwhile, as they are on the disk; no payloads are."""
    read = _read_alone(path)
    if read.damages:
        _complete_lines(read)
    return read


def _read_alone(path: Path) -> SegmentRead:
    file = _Held(path)
    read, at = SegmentRead(path, file), 0
    for end, found in walk(memoryview(file.read_all())):
        match found:
            case Line():
                read.lines[found.number] = found
            case Frames():
                if found:
                    first, rows = found.first_frame, len(found)
                    read.places.append(Place(at, end, first, rows, found.received_at[0]))
            case Damage():
                read.damages.append(found)
            case Unfinished():
                read.torn = found.said
                break
        read.whole_bytes = at = end
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
    """A collector's segments in the order of their frames, one looked at at a time, and each frame
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
