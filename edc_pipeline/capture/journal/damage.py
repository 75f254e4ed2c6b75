"""What a segment holds that is not whole from end to end. Pure, as `blocks`.

A kill in a commit leaves the beginning of what it wrote, and nothing behind it: that was never
acknowledged. Every other byte that is no whole block is damage, and may have been frames that were
durable. A block is passed over by the length in its head, or, where that can't be trusted, up to
the next whole block; what is behind it is read.

After a power cut a file system may leave zeros, or a later page without an earlier one, in a commit
that nobody acknowledged. That can't be told from damage and is called damage: it claims a loss
where perhaps there is none, never the other way round.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from edc_pipeline.capture.journal.blocks import (
    FRAMES,
    HEAD_BYTES,
    LINE,
    MAGIC,
    Frames,
    Head,
    Line,
    Torn,
    read_block,
    read_head,
)

_MAGIC: Final = re.compile(re.escape(MAGIC))
# While the next whole block is sought, so many times the segment's bytes may be summed: a frame
# could be made of thousands of heads, each of which claims all that follows.
_SUMMED_AT_MOST: Final = 32


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that were one block or several, and are none now."""

    first_byte: int
    end_byte: int
    said: str
    frames: range | None = None  # where the head of the one block is whole; None: not known

    def __str__(self) -> str:
        lost = "" if self.frames is None else f", {len(self.frames):,} frames"
        return f"damaged from byte {self.first_byte} to {self.end_byte}{lost} ({self.said})"


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The beginning of a commit, at the end of a segment."""

    first_byte: int
    said: str


def walk(segment: memoryview) -> Iterator[tuple[int, Frames | Line | Damage | Unfinished]]:
    """`(where it ends, what it is)`, from the first byte to the last."""
    at = 0
    while at < len(segment):
        try:
            end, found = read_block(segment, at)
        except Torn as torn:
            other = _no_block(segment, at, str(torn))
            end = other.end_byte if isinstance(other, Damage) else len(segment)
            yield end, other
        else:
            yield end, found
        at = end


def _no_block(segment: memoryview, at: int, said: str) -> Damage | Unfinished:
    size = len(segment)
    if size - at < HEAD_BYTES:
        return Unfinished(at, said)  # no block is that short
    head = _head_at(segment, at)
    if head is not None and head.end(at) > size and head.checked:
        return Unfinished(at, said)
    if head is not None and (head.end(at) == size or _begins_block(segment, head.end(at))):
        return Damage(at, head.end(at), said, _frames_of(head))
    behind = _next_whole(segment, at + 1)
    if behind is None and head is not None and head.end(at) > size:
        return Unfinished(at, said)
    return Damage(at, size if behind is None else behind, said)


def _head_at(segment: memoryview, at: int) -> Head | None:
    try:
        return read_head(segment, at)
    except Torn:
        return None


def _begins_block(segment: memoryview, at: int) -> bool:
    head = _head_at(segment, at)
    return head is not None and (head.checked or _is_whole(segment, at))


def _is_whole(segment: memoryview, at: int) -> bool:
    try:
        read_block(segment, at)
    except Torn:
        return False
    return True


def _next_whole(segment: memoryview, start: int) -> int | None:
    left = _SUMMED_AT_MOST * len(segment)
    for found in _MAGIC.finditer(segment, start):
        at = found.start()
        head = _head_at(segment, at)
        if head is None or head.end(at) > len(segment):
            continue
        left -= head.body_bytes
        if left < 0:
            return None
        if _is_whole(segment, at):
            return at
    return None


def _frames_of(head: Head) -> range | None:
    if not head.checked:
        return None
    rows = head.rows if head.kind == FRAMES else 0
    return range(head.first, head.first + rows) if head.kind in (FRAMES, LINE) else None
