"""Recorded frames at the front of a pipeline with a spool of its own.

They are read as recovery reads them: by today's parsers, under their own collector, connections,
ordinals and receive times, and keep the `origin` that they had. So the day's micro-batches say what
the live ones said, and the daily file made of them has the content hash of the one made live. That
they are a replay is said by the spool (`spool.replay_mark`), into which no collector writes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from pathlib import Path

from edc_pipeline.capture.admission import Admission
from edc_pipeline.capture.continuity import Continuity
from edc_pipeline.capture.flush import flush
from edc_pipeline.capture.journal.blocks import Line
from edc_pipeline.capture.past_sessions import PastSessions
from edc_pipeline.capture.queues import Queues
from edc_pipeline.market_day import day_bounds
from edc_pipeline.replay.done import COLLECTOR, Done, Gate
from edc_pipeline.replay.recorded_frames import Received, Span, spans_of
from edc_pipeline.settings import Capture
from edc_pipeline.spool.ledger import Ledger, Source
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import Control, Reading, quarantined


def replay_frames(
    spool: Path,
    into: Path,
    day: dt.date,
    *,
    rules: Capture,
    symbols: Iterable[str] | None = None,
    gate: Gate = lambda _: True,
    done: Done | None = None,
) -> Done:
    """Read the frames of a day again into another spool. Raises `NoFrames` where none are left.

    `done` is counted in as it goes.
    """
    done = Done() if done is None else done
    done.days.add(day)
    wanted = None if symbols is None else frozenset(symbols)
    for span in spans_of(spool, day):
        _FrameReplay(span, into, day, rules, wanted, done).run(gate)
    _copy_silences(spool, into, day, done)
    return done


def _copy_silences(spool: Path, into: Path, day: dt.date, done: Done) -> None:
    """What nobody heard on the day, nobody hears in its replay. Missing numbers are found anew."""
    spans = [day_bounds(day)]
    if done.first_at is not None and done.last_at is not None:
        spans.append((done.first_at, done.last_at + 1))
    gaps = {gap for span in spans for gap in Ledger(spool).gaps(*span) if gap.first_seq < 0}
    ledger = Ledger(into)
    collector = f"{COLLECTOR}-silences"
    ledger.collector_started(collector, day_bounds(day)[0])
    ledger.flushed(collector, through_frame=-1, at=day_bounds(day)[1], gaps=gaps)
    ledger.collector_stopped(collector, day_bounds(day)[1], "replayed")


class _FrameReplay:
    """One collector's frames of a day."""

    def __init__(
        self,
        span: Span,
        into: Path,
        day: dt.date,
        rules: Capture,
        symbols: frozenset[str] | None,
        done: Done,
    ) -> None:
        self._span = span
        self._into = into
        self._first_ns, self._end_ns = day_bounds(day)
        self._rules = rules
        self._symbols = symbols
        self._done = done
        self._admission = Admission(rules.horizon_days)
        self._sessions = PastSessions()
        self._lines: dict[int, Line] = {}
        self._continuity: dict[Source, Continuity] = {}
        self._queues = Queues(first_frame=span.first)
        self._at = self._first_ns

    def run(self, gate: Gate) -> None:
        """To its end, or until the gate raises: what was let in until then is kept."""
        ledger = Ledger(self._into)
        began = False
        try:
            for belongs, received in self._span.frames():
                if not belongs:
                    self._hear(received)
                    continue
                if not began:
                    ledger.collector_started(self._span.collector, received.received_at)
                    began = True
                if gate(received.received_at):
                    self._put(received)
                else:
                    self._done.left_out += 1
                    self._hear(received)
        finally:
            for continuity in self._continuity.values():
                self._queues.waiting.gaps += continuity.settle(None)
            self._flush()
            if began:
                ledger.collector_stopped(self._span.collector, self._at, "replayed")

    def _hear(self, received: Received) -> None:
        continuity = self._continuity_of(received.line)
        if continuity.concerns(received.line):
            continuity.hear(received.line, self._read(received), received.received_at)

    def _put(self, received: Received) -> None:
        frame, at, line, payload = received
        if frame != self._queues.waiting.last_frame + 1:  # a hole: a frame was left out or lost
            self._flush()
            self._queues = Queues(first_frame=frame)
        reading = self._read(received)
        source = Source(line.name, line.vendor, line.feed)
        continuity = self._continuity_of(line)
        if continuity.concerns(line):
            self._queues.waiting.gaps += continuity.hear(line, reading, at)
        reading = self._of_the_day(reading)
        self._queues.put(frame, source, line.connection, reading, payload, at)
        self._done.frames += 1
        for event in reading.events:
            self._done.events[event.event_type] += 1
        self._at = at
        self._done.first_at = min(at, self._done.first_at or at)
        self._done.last_at = max(at, self._done.last_at or at)
        if self._queues.waiting.row_count >= self._rules.flush_rows:
            self._flush()

    def _of_the_day(self, reading: Reading) -> Reading:
        """The frame with the events that were asked for. One without any left counts as known and
        not wanted."""
        kept = [e for e in reading.events if self._first_ns <= e.ts_event < self._end_ns]
        self._done.other_days += len(reading.events) - len(kept)
        if self._symbols is not None:
            asked = [e for e in kept if e.symbol in self._symbols]
            self._done.not_wanted += len(kept) - len(asked)
            kept = asked
        if len(kept) == len(reading.events):
            return reading
        said = reading.control
        if not kept and not reading.faults:
            said = said or Control("not_wanted", "not of what is replayed")
        return Reading(events=kept, control=said, faults=reading.faults, seq=reading.seq)

    def _read(self, received: Received) -> Reading:
        line = received.line
        self._lines[line.number] = line
        session = self._sessions.of(line)
        if session is None:
            return quarantined(f"no vendor {line.vendor!r} is known any more")
        return self._admission.read(session, received.payload, received.received_at, line)

    def _continuity_of(self, line: Line) -> Continuity:
        source = Source(line.name, line.vendor, line.feed)
        found = self._continuity.get(source)
        if found is None:
            vendor = VENDORS.get(line.vendor)
            spec = vendor.feeds.get(line.feed) if vendor else None
            rules = spec.sequence if spec else ()
            found = self._continuity[source] = Continuity(source, rules, line.symbols)
        return found

    def _flush(self) -> None:
        waiting = self._queues.take()
        if not waiting.empty:
            flush(self._into, self._span.collector, waiting, self._at, self._lines.values())
