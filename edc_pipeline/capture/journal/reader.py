"""Reads a collector's segments back, up to the last whole block of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edc_pipeline.capture.journal.blocks import Frames, Line, Torn, decode
from edc_pipeline.spool.layout import segment_files


@dataclass(slots=True)
class SegmentRead:
    """What one segment held, and where and why it ended before its end."""

    path: Path
    frames: list[Frames] = field(default_factory=list)
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
            read.whole_bytes = end
    except Torn as torn:
        read.torn = str(torn)
    return read


def read_collector(folder: Path) -> Iterator[SegmentRead]:
    """A collector's segments in the order of their frames, one in memory at a time."""
    for path in segment_files(folder):
        yield read_segment(path)
