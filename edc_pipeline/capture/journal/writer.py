"""Appends frames to the journal and commits them in groups, off the event loop.

`append` only queues; a commit writes and fdatasyncs what was queued, in a thread. What a commit
could not write stays queued and is tried again: nothing that was received is dropped for want of
a disk, and `waiting_bytes` tells the intake when to stop reading.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edc_pipeline.capture.journal.blocks import Line, Read, Reads, encode_line
from edc_pipeline.durable_file import fsync_path, make_durable_folder
from edc_pipeline.market_day import day_bounds, market_day
from edc_pipeline.spool.layout import journal_folder, segment_name

log = logging.getLogger(__name__)

# Between tries to write to a disk that refuses.
_RETRY_S: Final = 0.5
# A commit may take this much longer than the slowest of late, and is still in time. The slowest is
# forgotten by half in some 14 commits.
_MARGIN: Final = 1.5
_FORGET: Final = 0.95
# A block's frames at the most: 20,000 a second give 1,000 in 50 ms; a flood is cut into several.
_BLOCK_FRAMES: Final = 65_536
_BLOCK_BYTES: Final = 32 << 20
# A segment is sealed at so many times its size too, counted before compression. Ordinary frames
# compress some 14-fold (`blocks`), so theirs seldom are; padded heartbeats do three-thousandfold,
# and 64 MB of those would be 200 GB to read again.
_PLAIN_TIMES: Final = 16
# Of a line in a segment, each in another commit: without it the frames behind it say nothing.
_LINE_COPIES: Final = 2


@dataclass(slots=True)
class _Queued:
    """Frames that no commit holds yet."""

    first_frame: int
    began_s: float = 0.0  # monotonic, of the first frame
    reads: Reads = field(default_factory=Reads)
    begins_day: bool = False

    @property
    def end(self) -> int:
        """The ordinal behind the last."""
        return self.first_frame + len(self.reads)


@dataclass(frozen=True, slots=True)
class Segment:
    """A sealed segment: no frame will be added."""

    path: Path
    first_frame: int
    last_frame: int
    first_received_at: int
    whole_bytes: int  # behind them: what was never durable, where it could not be cut off


@dataclass(slots=True)
class CommitFigures:
    """How long frames waited for durability. Seconds."""

    commits: int = 0
    longest_write_s: float = 0.0
    longest_wait_s: float = 0.0  # from a frame's receipt to its fdatasync
    bytes_written: int = 0


class Journal:
    """One collector's journal. `append` and `new_line` belong to the event loop."""

    def __init__(
        self,
        spool: Path,
        collector: str,
        *,
        commit_within_s: float = 0.05,
        segment_bytes: int = 64 << 20,
        segment_s: float = 600.0,
    ) -> None:
        self.folder = journal_folder(spool, collector)
        self.figures = CommitFigures()
        self.committed_frame = -1
        self.problem = ""
        # Told of the reads whose frames became durable, in order.
        self.on_durable: Callable[[Sequence[Read]], None] | None = None
        self._awaited: deque[tuple[int, asyncio.Future[None]]] = deque()  # by frame
        self._commit_within_s = commit_within_s
        self._segment_bytes = segment_bytes
        self._segment_s = segment_s
        self._queued = _Queued(0)
        self._unwritten: list[_Queued] = []  # taken by a commit that has not succeeded
        self._unwritten_bytes = 0
        self._day_end = 0  # of the latest frame's day
        self._lines: list[Line] = []
        self._lines_written: Counter[int] = Counter()  # in the open segment
        self._file: _OpenSegment | None = None
        self._sealed: list[Segment] = []
        self._committing = asyncio.Lock()
        self._write_s = 0.0  # what a commit's write took of late

    # On the event loop

    def new_line(self, line: Line) -> int:
        """A connection begins; returns the number that its frames bear."""
        assert line.number == len(self._lines)
        self._lines.append(line)
        return line.number

    @property
    def line_count(self) -> int:
        return len(self._lines)

    @property
    def next_frame(self) -> int:
        """The ordinal of the frame that is appended next."""
        return self._queued.end

    @property
    def lines(self) -> Sequence[Line]:
        """The connections so far; grows, and never changes otherwise."""
        return self._lines

    def append(self, line: int, received_at: int, payload: bytes) -> int:
        """Queue one frame; returns its ordinal. Durable once `committed_frame` reaches it."""
        return self.append_many(line, received_at, (payload,), len(payload))

    def durable(self) -> asyncio.Future[None]:
        """Done once all that was appended so far is durable."""
        last = self.next_frame - 1
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if last <= self.committed_frame:
            done.set_result(None)
        else:
            self._awaited.append((last, done))
        return done

    def append_many(self, line: int, received_at: int, payloads: Sequence[bytes], size: int) -> int:
        """Queue the frames of one read, so many bytes; returns the ordinal of the first."""
        if received_at >= self._day_end:
            self._begin_day(received_at)
        queued = self._queued
        reads, frame = queued.reads, queued.end
        if not reads:
            queued.began_s = time.monotonic()
        reads.add(line, received_at, payloads, size)
        if reads.byte_count >= _BLOCK_BYTES or len(reads) >= _BLOCK_FRAMES:
            self._take()
        return frame

    def _begin_day(self, received_at: int) -> None:
        """A segment holds the frames of one day of receipt: so it can be found, and retired."""
        self._take()
        self._queued.begins_day = bool(self._day_end)
        self._day_end = day_bounds(market_day(received_at))[1]

    @property
    def waiting_bytes(self) -> int:
        """Of the frames that are not durable yet."""
        return self._queued.reads.byte_count + self._unwritten_bytes

    def wait_counts_from_now(self) -> None:
        """Frames that were kept until the spool was ours were durable with its former owner."""
        for queued in (*self._unwritten, self._queued):
            queued.began_s = time.monotonic()

    async def commit_forever(self) -> None:
        """Commit so that no frame waits longer than the interval, until cancelled.

        The pause is half the interval at the most, so that the disk has the other half; what it
        needed of late is taken off. A disk slower than the interval is committed to without pause.
        A cancel waits for the commit under way.
        """
        while True:
            within_s = self._commit_within_s
            pause_s = min(within_s / 2, within_s - _MARGIN * self._write_s)
            await asyncio.sleep(max(pause_s, within_s / 10))
            await self.commit()

    async def commit(self) -> None:
        """Make durable what was appended so far; returns when it is, however often it takes."""
        async with self._committing:
            self._take()
            while self._unwritten:
                await self._commit_once()

    async def close(self) -> None:
        """Commit the rest and seal the last segment."""
        await self.commit()
        if self._file is not None:
            self._seal()

    def take_sealed(self) -> list[Segment]:
        """The segments that were sealed since the last call."""
        sealed, self._sealed = self._sealed, []
        return sealed

    def _take(self) -> None:
        queued = self._queued
        if queued.reads:
            self._unwritten.append(queued)
            self._unwritten_bytes += queued.reads.byte_count
            self._queued = _Queued(queued.end)

    async def _commit_once(self) -> None:
        if self._unwritten[0].begins_day and self._file is not None:
            self._seal()
        begun = (n for n, queued in enumerate(self._unwritten) if n and queued.begins_day)
        taken = self._unwritten[: next(begun, None)]
        writing = asyncio.create_task(asyncio.to_thread(self._write, taken))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            # The thread can't be stopped; what it wrote must not be written again.
            await asyncio.gather(writing, return_exceptions=True)
            if writing.exception() is None:
                self._done(taken)
            raise
        except OSError as error:
            problem = f"journal: {error.strerror or error}"
            if problem != self.problem:  # told once, not at every try
                log.error("can't write to the journal, trying again: %s", problem)
            self.problem = problem
            await asyncio.sleep(_RETRY_S)
        else:
            self._done(taken)

    def _done(self, taken: list[_Queued]) -> None:
        if self.problem:
            log.info("the disk takes the journal again")
            self.problem = ""
        del self._unwritten[: len(taken)]
        self._unwritten_bytes -= sum(queued.reads.byte_count for queued in taken)
        self.committed_frame = taken[-1].end - 1
        while self._awaited and self._awaited[0][0] <= self.committed_frame:
            _, done = self._awaited.popleft()
            if not done.done():
                done.set_result(None)
        figures = self.figures
        figures.commits += 1
        waited_s = time.monotonic() - taken[0].began_s
        figures.longest_wait_s = max(figures.longest_wait_s, waited_s)
        if self.on_durable is not None:
            for queued in taken:
                self.on_durable(queued.reads.told)
        file = self._file
        if file is None:
            return
        file.plain_bytes += sum(queued.reads.byte_count for queued in taken)
        old = time.monotonic() - file.opened_s >= self._segment_s
        large = file.durable_bytes >= self._segment_bytes
        if old or large or file.plain_bytes >= _PLAIN_TIMES * self._segment_bytes:
            self._seal()

    def _seal(self) -> None:
        assert self._file is not None
        file, self._file = self._file, None
        file.close()
        self._sealed.append(file.segment(self.committed_frame))

    # In the commit's thread; never two at once

    def _write(self, taken: list[_Queued]) -> None:
        began = time.monotonic()
        if self._file is None:
            self._open_segment(taken[0])
        file = self._file
        assert file is not None
        lines = {line for queued in taken for _, line, _ in queued.reads.told}
        lines = {line for line in lines if self._lines_written[line] < _LINE_COPIES}
        blocks = [encode_line(self._lines[n]) for n in sorted(lines)]
        blocks += [queued.reads.encode(queued.first_frame) for queued in taken]
        try:
            file.append(b"".join(blocks))
        except OSError:
            # After a failed fdatasync nobody knows which pages reached the disk: the segment ends
            # at its last durable byte, and the frames go into a new one.
            self._abandon(file)
            raise
        self._lines_written.update(lines)
        self.figures.bytes_written += sum(map(len, blocks))
        took_s = time.monotonic() - began
        self._write_s = max(took_s, self._write_s * _FORGET)
        self.figures.longest_write_s = max(self.figures.longest_write_s, took_s)

    def _open_segment(self, first: _Queued) -> None:
        make_durable_folder(self.folder)
        path = self.folder / segment_name(first.first_frame)
        # Truncated: a try that failed before it was durable may have left the name.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o644)
        try:
            fsync_path(self.folder)
        except OSError:
            os.close(descriptor)
            raise
        opened_s, received_at = time.monotonic(), first.reads.told[0][0]
        self._file = _OpenSegment(path, descriptor, first.first_frame, received_at, opened_s)
        self._lines_written.clear()

    def _abandon(self, file: _OpenSegment) -> None:
        self._file = None
        with suppress(OSError):  # its checksums tell what is torn; it is cut when it is archived
            os.ftruncate(file.descriptor, file.durable_bytes)
        file.close()
        if file.durable_bytes:
            self._sealed.append(file.segment(self.committed_frame))


@dataclass(slots=True)
class _OpenSegment:
    path: Path
    descriptor: int
    first_frame: int
    first_received_at: int
    opened_s: float
    durable_bytes: int = 0
    plain_bytes: int = 0  # of its frames

    def segment(self, last_frame: int) -> Segment:
        return Segment(
            self.path, self.first_frame, last_frame, self.first_received_at, self.durable_bytes
        )

    def close(self) -> None:
        # Synced already, or given up: an error of a close says nothing about what is durable, and
        # has closed the file.
        with suppress(OSError):
            os.close(self.descriptor)

    def append(self, data: bytes) -> None:
        view, at = memoryview(data), self.durable_bytes
        while view:
            written = os.pwrite(self.descriptor, view, at)
            view, at = view[written:], at + written
        os.fdatasync(self.descriptor)
        self.durable_bytes = at
