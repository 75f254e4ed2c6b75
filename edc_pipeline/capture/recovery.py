"""After a crash: what the journals of dead collectors hold and the spool does not.

Exactly once. The ledger says up to which frame a collector's frames are in the spool; what comes
behind is read again from its journal, under its own name, connections and ordinals. A flush that
was interrupted between its files and its ledger entry is done again over the same frames, so its
files get the same names and replace themselves.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edc_pipeline.capture.admission import Admission
from edc_pipeline.capture.continuity import Continuity
from edc_pipeline.capture.flush import flush
from edc_pipeline.capture.journal.archive import retire_recovered
from edc_pipeline.capture.journal.blocks import Frames, Line
from edc_pipeline.capture.journal.reader import SegmentRead, read_collector
from edc_pipeline.capture.past_sessions import PastSessions
from edc_pipeline.capture.queues import Queues, Waiting
from edc_pipeline.durable_file import fsync_path
from edc_pipeline.settings import Capture
from edc_pipeline.spool.layout import (
    batch_files,
    batch_name,
    day_folder,
    days_in,
    frames_of,
    journal_collectors,
    journal_folder,
    quarantine_days,
    quarantine_files,
    quarantine_folder,
)
from edc_pipeline.spool.ledger import Gap, Ledger, Source
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import Reading, quarantined

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Recovered:
    """What one dead collector left."""

    collector: str
    frames: int = 0  # that only the journal had
    events: int = 0
    torn: list[str] = field(default_factory=list)
    last_heard: int | None = None


def recover(
    spool: Path,
    rules: Capture,
    clock: Callable[[], int],
    on_progress: Callable[[Recovered], None] = lambda _: None,
) -> list[Recovered]:
    """Bring every journal in the spool to its end. The caller owns the spool: no collector lives.

    Done again after being interrupted itself, it goes on where the ledger says.
    """
    return [
        _Recovery(spool, collector, rules, clock, on_progress).run()
        for collector in journal_collectors(spool)
    ]


class _Recovery:
    def __init__(
        self,
        spool: Path,
        collector: str,
        rules: Capture,
        clock: Callable[[], int],
        on_progress: Callable[[Recovered], None],
    ) -> None:
        self._spool = spool
        self._collector = collector
        self._rules = rules
        self._clock = clock
        self._on_progress = on_progress
        self._ledger = Ledger(spool)
        self._admission = Admission(rules.horizon_days)
        self._sessions = PastSessions()
        self._lines: dict[int, Line] = {}
        self._continuity: dict[Source, Continuity] = {}
        self._done = Recovered(collector)

    def run(self) -> Recovered:
        flushed = self._ledger.flushed_frame(self._collector)
        # All in the spool already: it lived until its last flush at least. Its death, not this
        # moment, begins the gap until the next collector.
        last_sign = self._ledger.last_sign_of(self._collector)
        self._interrupted_end = _interrupted_flush(self._spool, self._collector, flushed + 1)
        self._queues = Queues(first_frame=flushed + 1)
        self._ledger.collector_started(self._collector, self._clock())
        folder = journal_folder(self._spool, self._collector)
        for segment in read_collector(folder):
            self._take(segment)
        for continuity in self._continuity.values():
            self._queues.waiting.gaps += continuity.settle(None)
        self._flush()
        ended_at = self._done.last_heard or last_sign or self._clock()
        self._ledger.collector_stopped(self._collector, ended_at, "died; recovered")
        keep_days = self._rules.raw_archive_days
        for segment in read_collector(folder):
            retire_recovered(self._spool, self._collector, segment, keep_days=keep_days)
        if not any(folder.iterdir()):
            folder.rmdir()
        return self._done

    def _take(self, segment: SegmentRead) -> None:
        if segment.torn:
            self._done.torn.append(f"{segment.path.name}: {segment.torn}")
            log.warning("journal of %s, %s", self._collector, self._done.torn[-1])
        for block in segment.frames:
            self._take_block(block, segment.lines)
        self._on_progress(self._done)

    def _take_block(self, block: Frames, lines: dict[int, Line]) -> None:
        expected = self._queues.waiting.last_frame + 1
        if block.first_frame > expected:
            self._tell_hole(expected, block, lines)
        rows = zip(block.received_at, block.lines, block.payloads, strict=True)
        for frame, (received_at, number, payload) in enumerate(rows, block.first_frame):
            line = lines[number]
            source = Source(line.name, line.vendor, line.feed)
            continuity = self._continuity_of(source, line)
            if frame < self._queues.waiting.last_frame + 1:
                # In the spool already, or in an earlier segment that was given up. What it says
                # of numbers and staleness is needed all the same, to go on from there.
                if continuity.concerns(line):
                    continuity.hear(line, self._read(line, payload, received_at), received_at)
                continue
            reading = self._read(line, payload, received_at)
            if continuity.concerns(line):
                self._queues.waiting.gaps += continuity.hear(line, reading, received_at)
            self._queues.put(frame, source, line.connection, reading, payload, received_at)
            self._done.frames += 1
            self._done.events += len(reading.events)
            self._done.last_heard = received_at
            if self._flush_is_due(frame):
                self._flush()

    def _tell_hole(self, expected: int, block: Frames, lines: dict[int, Line]) -> None:
        """Frames were durable once and can't be read any more: a gap, and no silence about it."""
        missing = block.first_frame - expected
        self._flush()
        self._queues = Queues(first_frame=block.first_frame)
        until = block.received_at[0]
        reason = f"the journal is damaged: {missing} frames of all feeds can't be read"
        since = self._done.last_heard or until
        for source in {Source(line.name, line.vendor, line.feed) for line in lines.values()}:
            self._queues.waiting.gaps.append(
                Gap(source, "", since, until, None, "unfillable", reason)
            )

    def _read(self, line: Line, payload: bytes, received_at: int) -> Reading:
        self._lines[line.number] = line
        session = self._sessions.of(line)
        if session is None:
            return quarantined(f"no vendor {line.vendor!r} is known any more")
        return self._admission.read(session, payload, received_at)

    def _continuity_of(self, source: Source, line: Line) -> Continuity:
        found = self._continuity.get(source)
        if found is None:
            vendor = VENDORS.get(line.vendor)
            spec = vendor.feeds.get(line.feed) if vendor else None
            rules = spec.sequence if spec else ()
            # Of one that is shared out, this is a part.
            symbols = line.symbols if line.shard is None else ()
            found = self._continuity[source] = Continuity(source, rules, symbols)
        return found

    def _flush_is_due(self, frame: int) -> bool:
        if frame <= self._interrupted_end:
            return frame == self._interrupted_end
        return self._queues.waiting.row_count >= self._rules.flush_rows

    def _flush(self) -> None:
        waiting = self._queues.take()
        if not waiting.empty:
            if waiting.last_frame == self._interrupted_end:
                _drop_other_readings(self._spool, self._collector, waiting)
            lines = self._lines.values()
            flush(self._spool, self._collector, waiting, self._clock(), lines)


def _interrupted_flush(spool: Path, collector: str, first_frame: int) -> int:
    """The last frame of a flush that left files and no ledger entry; −1 where there was none."""
    paths = [p for kind, day in days_in(spool) for p in batch_files(spool, kind, day)]
    paths += [p for day in quarantine_days(spool) for p in quarantine_files(spool, day)]
    found = (frames_of(path) for path in paths)
    return max((f[2] for f in found if f and f[:2] == (collector, first_frame)), default=-1)


def _drop_other_readings(spool: Path, collector: str, redone: Waiting) -> None:
    """Files of the interrupted flush that the same frames no longer give.

    A parser mended in between reads otherwise: the frame that it now reads would stay in
    quarantine as well. The journal has the frames, so nothing is lost if we die here.
    """
    name = batch_name(collector, redone.first_frame, redone.last_frame)
    there = {day_folder(spool, kind, day) / name for kind, day in days_in(spool)}
    there |= {quarantine_folder(spool, day) / name for day in quarantine_days(spool)}
    there -= {day_folder(spool, kind, day) / name for kind, day in redone.rows}
    there -= {quarantine_folder(spool, day) / name for day in redone.quarantine}
    for path in filter(Path.exists, there):
        path.unlink()
        fsync_path(path.parent)
