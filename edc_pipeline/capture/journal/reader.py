"""Reads a collector's segments back, up to the last whole block of each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

from edc_pipeline.capture.journal.blocks import Frames, Line, Torn, decode
from edc_pipeline.spool.layout import segment_files


@dataclass(slots=True)
class SegmentRead:
    """What one segment held, and where and why it ended before its end."""

    path: Path
    frames: list[Frames] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)  # of each of these, in bytes
    lines: dict[int, Line] = field(default_factory=dict)
    whole_bytes: int = 0
    torn: str = ""

    @property
    def frame_count(self) -> int:
        return sum(map(len, self.frames))

    @property
    def first_frame(self) -> int | None:
        return self.frames[0].first_frame if self.frames else None

    @property
    def last_frame(self) -> int | None:
        return self.frames[-1].first_frame + len(self.frames[-1]) - 1 if self.frames else None

    def end_before(self, frame: int) -> None:
        """Leave out this frame and all behind it, with the bytes that hold them."""
        while self.frames and self.frames[-1].first_frame >= frame:
            del self.frames[-1], self.ends[-1]
            self.whole_bytes = self.ends[-1] if self.ends else 0


def read_segment(path: Path) -> SegmentRead:
    """All whole blocks of a segment (at most 64 MB, so it is read at once). A torn tail is what a
    crash leaves; torn anywhere else, what follows is lost and the message says where."""
    read = SegmentRead(path)
    try:
        for end, block in decode(memoryview(path.read_bytes())):
            if isinstance(block, Line):
                read.lines[block.number] = block
            else:
                read.frames.append(block)
                read.ends.append(end)
            read.whole_bytes = end
    except Torn as torn:
        read.torn = str(torn)
    return read


def read_collector(folder: Path) -> Iterator[SegmentRead]:
    """A collector's segments in the order of their frames, one in memory at a time, and each frame
    in one of them.

    A commit that was refused may have left all its bytes, and no more than they could be cut off
    again: its frames then went into the next segment, and those are the ones that became durable.
    """
    paths = segment_files(folder)
    for path, behind in zip_longest(paths, paths[1:]):
        read = read_segment(path)
        if behind is not None and (first := _first_frame(behind)) is not None:
            read.end_before(first)
        yield read


def _first_frame(segment: Path) -> int | None:
    """None: it holds no whole block of frames."""
    with suppress(Torn):
        for _, block in decode(memoryview(segment.read_bytes())):
            if isinstance(block, Frames):
                return block.first_frame
    return None
