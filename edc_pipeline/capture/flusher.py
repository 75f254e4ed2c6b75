"""When what waits is flushed, and when no more may come: back-pressure begins here.

What a flush itself does is in `capture.flush`; segments of the journal whose frames are in the
spool are archived or dropped here as well.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from edc_pipeline.capture.flush import FLUSH_BYTES, flush, is_enough
from edc_pipeline.capture.journal.archive import retire_old_days, retire_segment
from edc_pipeline.capture.journal.settled_day import SettledDay
from edc_pipeline.capture.journal.writer import Journal, Segment
from edc_pipeline.capture.queues import Queues, Waiting
from edc_pipeline.market_day import DayFinder
from edc_pipeline.settings import Capture
from edc_pipeline.spool.ledger import Gap, Ledger
from edc_pipeline.waiting import wait_at_most

T = TypeVar("T")

log = logging.getLogger(__name__)

# How often the queues are looked at; a flush is at most this late.
_LOOK_EVERY_S: Final = 0.25
# Between tries to write to a disk that refuses.
_RETRY_DISK_S: Final = 2.0
# Quarantined frames that may wait for the spool: those of a flush under way, and of one more.
_WAITING_BYTES: Final = 2 * FLUSH_BYTES
# Frames that may wait for the journal's disk before the sockets are no longer read.
_JOURNAL_BYTES: Final = 64 << 20


class Flusher:
    """One collector's. Belongs to its event loop."""

    def __init__(
        self,
        spool: Path,
        collector: str,
        queues: Queues,
        journal: Journal,
        rules: Capture,
        clock: Callable[[], int],
        on_flushed: Callable[[Waiting], Awaitable[None]],
    ) -> None:
        self.micro_batches = 0
        self.flushed_at: int | None = None
        self._flush_problem = self._archive_problem = ""  # of the disk
        self._spool = spool
        self._collector = collector
        self._queues = queues
        self._journal = journal
        self._rules = rules
        self._clock = clock
        self._on_flushed = on_flushed
        self._sealed: list[Segment] = []
        self._much_waits = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._writing: asyncio.Task[None] | None = None
        self._rows_written = self._bytes_written = 0  # by the flush under way
        self._flushed_s = time.monotonic()
        self._day_of = DayFinder()
        self._day = self._day_of(clock())
        self.settled = SettledDay()

    @property
    def problem(self) -> str:
        """What the disk refuses; empty while it does not."""
        return self._flush_problem or self._archive_problem

    # Room

    @property
    def waiting_rows(self) -> int:
        return self._queues.waiting.row_count + self._rows_written

    @property
    def waiting_bytes(self) -> int:
        """Of quarantined frames."""
        return self._queues.waiting.byte_count + self._bytes_written

    @property
    def is_full(self) -> bool:
        waiting = self._queues.waiting  # at every read: no properties here
        return (
            waiting.row_count + self._rows_written >= self._rules.waiting_rows
            or waiting.byte_count + self._bytes_written >= _WAITING_BYTES
            or self._journal.waiting_bytes >= _JOURNAL_BYTES
        )

    @property
    def reading(self) -> bool:
        """Whether the sockets are read."""
        return self._room.is_set()

    def has_room(self) -> bool:
        """Asked once a read, after its frames: here the limits are looked at."""
        if is_enough(self._queues.waiting, self._rules.flush_rows):
            self._much_waits.set()
        if self.is_full:
            self._room.clear()
        return self._room.is_set()

    async def room(self) -> None:
        await self._room.wait()

    def make_room(self) -> None:
        if not self.is_full:
            self._room.set()

    # Flushing

    def _is_due(self) -> bool:
        waiting, rules = self._queues.waiting, self._rules
        if waiting.empty:
            self._flushed_s = time.monotonic()
            return False
        today = self._day_of(self._clock())
        day_changed, self._day = today != self._day, today
        return (
            day_changed
            or is_enough(waiting, rules.flush_rows)
            or time.monotonic() - self._flushed_s >= rules.flush_seconds
        )

    async def flush_when_due(self) -> None:
        while True:
            await wait_at_most(self._much_waits, _LOOK_EVERY_S)
            self._much_waits.clear()
            self.make_room()
            if self._is_due():
                await self.flush()
            elif gaps := self._queues.waiting.take_silences():
                await self._tell(gaps)

    async def finish(self) -> None:
        """A flush that is under way."""
        if self._writing is not None:
            await self._writing

    async def flush(self) -> None:
        """Write what waits, again and again while the disk refuses: nothing is dropped, and when
        the limit is reached the sockets are no longer read."""
        taken = self._queues.take()
        if taken.empty:
            return
        self._rows_written, self._bytes_written = taken.row_count, taken.byte_count
        # Shielded: a cancelled flusher must not leave its rows between memory and disk.
        self._writing = asyncio.create_task(self._write(taken))
        await asyncio.shield(self._writing)

    async def _tell(self, gaps: list[Gap]) -> None:
        """Into the ledger without the rows that wait: a line that is cut again and again would
        leave a file for each time (145 for 183 rows were seen)."""
        self._writing = asyncio.create_task(self._write_gaps(gaps))
        await asyncio.shield(self._writing)

    async def _write_gaps(self, gaps: list[Gap]) -> None:
        ledger, at = Ledger(self._spool), self._clock()
        tell = partial(ledger.flushed, self._collector, through_frame=-1, at=at, gaps=gaps)
        await self._insist(lambda: asyncio.to_thread(tell))
        await self._on_flushed(Waiting(first_frame=0, last_frame=-1, gaps=gaps))

    async def sign_on(self, at: int) -> None:
        """The collector's first word in the ledger."""
        ledger = Ledger(self._spool)
        await self._insist(lambda: asyncio.to_thread(ledger.collector_started, self._collector, at))

    async def sign_off(self, ended: str) -> None:
        """The collector's last word in the ledger."""
        ledger, at = Ledger(self._spool), self._clock()
        await self._insist(
            lambda: asyncio.to_thread(ledger.collector_stopped, self._collector, at, ended)
        )

    async def _insist(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do it again and again while the disk refuses."""
        while True:
            try:
                done = await work()
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
                if problem != self._flush_problem:  # told once, not at every try
                    log.error("can't write to the spool, trying again: %s", problem)
                self._flush_problem = problem
                await asyncio.sleep(_RETRY_DISK_S)
            else:
                if self._flush_problem:
                    log.info("the disk takes the spool again")
                self._flush_problem = ""
                return done

    async def _write(self, taken: Waiting) -> None:
        paths = await self._insist(lambda: self._flush(taken))
        self._rows_written = self._bytes_written = 0
        self.micro_batches += len(paths)
        self.flushed_at, self._flushed_s = self._clock(), time.monotonic()
        self.make_room()
        await self._on_flushed(taken)
        await self.retire_segments(taken.last_frame)

    async def _flush(self, taken: Waiting) -> list[Path]:
        # A frame is in the journal before it is anywhere else.
        await self._journal.commit()
        return await asyncio.to_thread(
            flush, self._spool, self._collector, taken, self._clock(), self._journal.lines
        )

    async def retire_segments(self, through_frame: int) -> None:
        """Archive or drop the sealed segments all of whose frames are in the spool. What the disk
        refuses is tried again after the next flush: these frames are durable where they are."""
        self._sealed += self._journal.take_sealed()
        keep_days = self._rules.raw_archive_days
        try:
            for segment in [s for s in self._sealed if s.last_frame <= through_frame]:
                await asyncio.to_thread(
                    retire_segment, self._spool, self._collector, segment, keep_days=keep_days
                )
                self._sealed.remove(segment)
            today = self.settled.look(self._day_of(self._clock()), time.monotonic())
            if today is not None:
                await asyncio.to_thread(retire_old_days, self._spool, today, keep_days=keep_days)
        except Exception as error:
            problem = f"archive of the journal: {error}"
            if problem != self._archive_problem:
                log.error("can't archive the journal yet, trying again: %s", problem)
            self._archive_problem = problem
            return
        if self._archive_problem:
            log.info("the journal is archived again")
        self._archive_problem = ""
