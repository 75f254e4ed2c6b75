"""After a crash: what the journals of dead collectors hold and the spool does not.

Exactly once. The ledger says up to which frame a collector's frames are in the spool; what comes
behind is read again from its journal, under its own name, connections and ordinals. A flush that
was interrupted between its files and its ledger entry is done again over the same frames, so its
files get the same names and replace themselves.

A ledger may be lost. Of a collector that it does not know, all that the journal still has is read
again, flush by flush as the files say: they replace themselves, and are counted.

A journal may be damaged. What of it is whole is recovered; the frames that can't be read any more
are a gap of every feed that may have sent them, by their ordinals and their neighbours' times.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edc_pipeline.capture.admission import Admission
from edc_pipeline.capture.continuity import Continuity
from edc_pipeline.capture.flush import flush, is_enough
from edc_pipeline.capture.journal.archive import retire_recovered
from edc_pipeline.capture.journal.blocks import Frames, Line
from edc_pipeline.capture.journal.damage import Damage
from edc_pipeline.capture.journal.reader import (
    UNKNOWN,
    Outline,
    SegmentRead,
    lines_of_collector,
    read_collector,
)
from edc_pipeline.capture.past_sessions import PastSessions
from edc_pipeline.capture.queues import Queues, Waiting
from edc_pipeline.durable_file import fsync_path
from edc_pipeline.settings import Capture
from edc_pipeline.spool.clock_steps import ClockStep
from edc_pipeline.spool.layout import (
    batch_files,
    batch_name,
    day_folder,
    days_in,
    first_frame_of_segment,
    frames_of,
    journal_collectors,
    journal_folder,
    others_in_journal,
    quarantine_days,
    quarantine_files,
    quarantine_folder,
    segment_files,
)
from edc_pipeline.spool.ledger import Gap, Ledger, Source
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import Reading, quarantined

log = logging.getLogger(__name__)

Span = tuple[int, int]  # of frames: the first and the last


@dataclass(slots=True)
class Recovered:
    """What one dead collector left."""

    collector: str
    frames: int = 0  # that only the journal had
    events: int = 0
    torn: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    lost: int = 0  # frames that were durable and can't be read, as far as their number is known
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
        if _has_left_something(spool, collector)
    ]


def _has_left_something(spool: Path, collector: str) -> bool:
    """Where somebody put files of their own into its folder, that stays when all is recovered."""
    folder = journal_folder(spool, collector)
    others = others_in_journal(folder)
    if not others:
        return True
    told = f"{', '.join(others[:3])}{', …' if len(others) > 3 else ''}"
    log.warning("no segments of ours, left where they are: %s in %s", told, folder)
    return bool(segment_files(folder)) or not Ledger(spool).has_stopped(collector)


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
        self._known: dict[int, Line] = {}  # of all its connections that the journal names
        self._last_read: tuple[int, int] | None = None  # the latest whole frame, and its time
        self._damaged_behind: list[Damage] = []  # it
        self._uncounted: list[Span] = []  # what flushes left that the ledger does not know
        self._written_at: int | None = None  # the latest segment
        self._heard_before_now: int | None = None
        self._left: list[Outline] = []  # the segments, to be retired
        self._done = Recovered(collector)

    def run(self) -> Recovered:
        folder = journal_folder(self._spool, self._collector)
        self._began_at = self._clock()
        flushed = self._ledger.flushed_frame(self._collector)
        known = self._ledger.knows(self._collector)
        # Nor does a ledger that was brought back from a backup know the latest. What the journal
        # no longer has is in files, and these stay.
        before = _last_before(self._spool, self._collector, segment_files(folder), known=known)
        flushed = max(flushed, before)
        # All in the spool already: it lived until its last flush at least. Its death, not this
        # moment, begins the gap until the next collector.
        self._last_sign = self._ledger.last_sign_of(self._collector)
        self._uncounted = _uncounted_flushes(self._spool, self._collector, flushed + 1)
        self._flushed_last = max((last for _, last in self._uncounted), default=-1)
        self._queues = Queues(first_frame=flushed + 1)
        self._ledger.collector_started(self._collector, self._clock())
        if not known:
            told = self._last_sign or self._clock()
            self._ledger.flushed(self._collector, through_frame=flushed, at=told)
        for segment in read_collector(folder):
            self._left.append(segment.outline)
            self._take(segment)
        for continuity in self._continuity.values():
            self._queues.waiting.gaps += continuity.settle(None)
        ended_at = self._tell_lost_end() or self._done.last_heard or self._last_sign
        self._flush()
        now = self._clock()
        ended_at = ended_at or now
        until = self._ledger.as_of_now(self._collector, ended_at, now)
        if until is None and self._heard_before_now is not None:
            # Its clock was ahead when it died, and nobody noted since when: this is the latest time
            # of it of which ours can know.
            until = self._heard_before_now
            self._ledger.clock_stepped(self._collector, [ClockStep(until, ended_at)])
        self._ledger.collector_stopped(
            self._collector, ended_at, "died; recovered", gaps_until=until
        )
        keep_days = self._rules.raw_archive_days
        for left in self._left:
            retire_recovered(self._spool, self._collector, left, keep_days=keep_days)
        if not any(folder.iterdir()):
            folder.rmdir()
        return self._done

    def _take(self, segment: SegmentRead) -> None:
        torn = [f"{segment.path.name}: {segment.torn}"] if segment.torn else []
        damaged = [f"{segment.path.name}: {damage}" for damage in segment.damages]
        for said in (*damaged, *torn):
            log.warning("journal of %s, %s", self._collector, said)
        self._done.torn += torn
        self._done.damaged += damaged
        self._known.update((n, line) for n, line in segment.lines.items() if line.name != UNKNOWN)
        if segment.frames:
            self._damaged_behind = []
        self._damaged_behind += segment.damages_behind
        self._written_at = segment.path.stat().st_mtime_ns
        for block in segment.frames:
            self._take_block(block, segment.lines)
        self._on_progress(self._done)

    def _take_block(self, block: Frames, lines: dict[int, Line]) -> None:
        expected = self._queues.waiting.last_frame + 1
        if block.first_frame > expected:
            self._tell_hole(expected, block)
        elif self._last_read is not None and block.first_frame > self._last_read[0] + 1:
            # What can't be read is in the spool, and the gaps of its numbers are told. Where they
            # stood behind it is not known: they begin anew.
            self._continuity.clear()
        rows = zip(block.received_at, block.lines, block.payloads, strict=True)
        self._last_read = block.first_frame + len(block) - 1, block.received_at[-1]
        if sane := [at for at in block.received_at if at <= self._began_at]:
            self._heard_before_now = max(sane[-1], self._heard_before_now or 0)
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

    def _tell_hole(self, expected: int, block: Frames) -> None:
        """Frames were durable once and can't be read any more: a gap, and no silence about it."""
        since = self._since()
        self._flush()
        self._queues = Queues(first_frame=block.first_frame)
        self._tell_lost(expected, block.first_frame - 1, since, block.received_at[0])

    def _tell_lost_end(self) -> int | None:
        """The same for the journal's end, where no whole frame follows. Returns until when the
        collector may have received what is lost: no later than a segment was written."""
        if self._ledger.has_stopped(self._collector):
            return None  # all was in the spool: it drained, or we did, and did not archive it
        expected = self._queues.waiting.last_frame + 1
        last = max(expected - 1, self._flushed_last)  # of a flush the journal had all
        counted = True
        for damage in self._damaged_behind:
            counted = counted and damage.frames is not None
            last = max(last, damage.frames[-1] if damage.frames else -1)
        if last < expected and counted:
            return None  # all in the spool
        since, now = self._since(), self._clock()
        until = max(since or 0, min(now, self._written_at or now))
        self._tell_lost(expected, last if counted else None, since, until)
        return until

    def _since(self) -> int | None:
        """When the frames that are missing from here on may have begun."""
        return self._last_read[1] if self._last_read else self._last_sign

    def _tell_lost(self, first: int, last: int | None, since: int | None, until: int) -> None:
        known = self._known or lines_of_collector(self._spool, self._collector)
        sources = {Source(line.name, line.vendor, line.feed) for line in known.values()}
        missing = None if last is None else last - first + 1
        self._done.lost += missing or 0
        lost = (
            f"frames from {first} on" if last is None else f"{missing} frames ({first} to {last})"
        )
        whose = " of all feeds" if len(sources) != 1 else ""
        reason = f"the journal is damaged: {lost}{whose} can't be read"
        log.error("collector %s: %s", self._collector, reason)
        since = until if since is None else min(since, until)
        size = missing if len(sources) == 1 else None
        for source in sources or {Source(UNKNOWN, UNKNOWN, UNKNOWN)}:
            gap = Gap(source, "", since, until, size, "unfillable", reason)
            self._queues.waiting.gaps.append(gap)

    def _read(self, line: Line, payload: bytes, received_at: int) -> Reading:
        self._lines[line.number] = line
        if line.name == UNKNOWN:
            return quarantined("the journal is damaged where it said whose frame this is")
        session = self._sessions.of(line)
        if session is None:
            return quarantined(f"no vendor {line.vendor!r} is known any more")
        return self._admission.read(session, payload, received_at, line)

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
        if self._uncounted:
            first, last = self._uncounted[0]
            if frame + 1 == first or frame >= last:
                return True
            if frame >= first:  # as one, as it was: what waited then was bounded
                return False
        return is_enough(self._queues.waiting, self._rules.flush_rows)

    def _flush(self) -> None:
        waiting = self._queues.take()
        if not waiting.empty:
            # A flush of gaps alone has read no frame again, and drops no file.
            while self._uncounted and self._uncounted[0][0] <= waiting.last_frame:
                span = self._uncounted.pop(0)
                _drop_other_readings(self._spool, self._collector, span, waiting)
            lines = self._lines.values()
            flush(self._spool, self._collector, waiting, self._clock(), lines)


def _uncounted_flushes(spool: Path, collector: str, from_frame: int) -> list[Span]:
    """The frames of which flushes left files and no ledger entry, one span where files overlap: of
    the flush that was interrupted or, if the ledger was lost, of all."""
    spans: list[Span] = []
    for first, last, _ in sorted(_files_of(spool, collector, from_frame)):
        if spans and first <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(last, spans[-1][1])
        else:
            spans.append((first, last))
    return spans


def _last_before(spool: Path, collector: str, segments: Sequence[Path], *, known: bool) -> int:
    """The last frame that need not be read: it is in a file with one that is before the journal.
    Of a collector that the ledger does not know, all before the journal need not either."""
    first = min(map(first_frame_of_segment, segments), default=0)
    files = _files_of(spool, collector, 0)
    in_files = max((last for begins, last, _ in files if begins < first), default=-1)
    return in_files if known else max(in_files, first - 1)


def _files_of(spool: Path, collector: str, from_frame: int) -> Iterator[tuple[int, int, Path]]:
    paths = [p for kind, day in days_in(spool) for p in batch_files(spool, kind, day)]
    paths += [p for day in quarantine_days(spool) for p in quarantine_files(spool, day)]
    for path in paths:
        found = frames_of(path)
        if found and found[0] == collector and found[1] >= from_frame:
            yield found[1], found[2], path


def _drop_other_readings(spool: Path, collector: str, span: Span, redone: Waiting) -> None:
    """Files of an uncounted flush that its frames no longer give.

    A parser mended in between reads otherwise: the frame that it now reads would stay in
    quarantine as well. So would all of them, under two names, where the journal is damaged since
    and its frames come in parts. The journal has the frames, so nothing is lost if we die here.
    """
    name = batch_name(collector, redone.first_frame, redone.last_frame)
    written = {day_folder(spool, kind, day) / name for kind, day in redone.rows}
    written |= {quarantine_folder(spool, day) / name for day in redone.quarantine}
    for _, last, path in list(_files_of(spool, collector, span[0])):
        if last <= span[1] and path not in written:
            path.unlink()
            fsync_path(path.parent)
