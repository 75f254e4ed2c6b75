"""The quarantine read again with today's parsers: what now parses moves into its day.

Exactly once, whenever it is killed and however often it is asked for. Per quarantine file:

1. the ledger notes the micro-batches that are about to be written;
2. they are written, with the frames' own connection, ordinal and receive time;
3. one transaction of the ledger enters the frames as moved, corrects the counts, and takes the
   note away: here it happens;
4. the quarantine file is written anew without them, or removed.

Killed before 3, the next retry or the next collector's start removes the files of the note: they
never counted. Killed after 3, the frames that the ledger knows as moved are only left out of the
quarantine file. It may run beside a live collector: a file is taken up once its flush is in the
ledger, after which no flush and no recovery writes it again. Two retries exclude each other.

A frame moves when all of it can be read. What lies beyond the horizon stays.
"""

from __future__ import annotations

import datetime as dt
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from edc_pipeline.capture.admission import Admission
from edc_pipeline.capture.flush import lines_of
from edc_pipeline.capture.journal.blocks import Line
from edc_pipeline.capture.past_sessions import PastSessions
from edc_pipeline.durable_file import fsync_path
from edc_pipeline.events import EVENT_CLASSES, AnyEvent, EventType, content_key
from edc_pipeline.market_day import DayFinder
from edc_pipeline.settings import Capture
from edc_pipeline.settings_of_feeds import Feed
from edc_pipeline.spool.layout import (
    RETRY_LOCK,
    batch_name,
    day_folder,
    days_in,
    frames_of,
    quarantine_days,
    quarantine_files,
    retried_batch_name,
)
from edc_pipeline.spool.ledger import Ledger, MovedFrame, Source
from edc_pipeline.spool.micro_batch import read_micro_batch, write_micro_batch
from edc_pipeline.spool.owner import LockIsHeld, Owner, hold_lock
from edc_pipeline.spool.quarantine import QuarantinedFrame, read_quarantine_file, write_quarantine
from edc_pipeline.spool.tables import rows_to_table

_LINEAGE: Final = ("connection", "frame")


class RetryUnderWay(Exception):
    """Another process retries this spool's quarantine."""


@dataclass(slots=True)
class Retried:
    """What a retry did, or would do."""

    moved: list[MovedFrame] = field(default_factory=list)
    events: Counter[EventType] = field(default_factory=Counter)
    stay: list[tuple[QuarantinedFrame, str]] = field(default_factory=list)  # and why
    later: int = 0  # frames of a flush that is not in the ledger yet


def retry_quarantine(
    spool: Path,
    rules: Capture,
    clock: Callable[[], int],
    *,
    day: dt.date | None = None,
    feeds: Mapping[str, Feed] | None = None,
    dry_run: bool = False,
) -> Retried:
    """Read what was received on a day, or on all, again; `feeds` says how to read the frames of a
    connection that the quarantine does not know any more. `RetryUnderWay` where one runs."""
    days = quarantine_days(spool) if day is None else [day]
    if not any(quarantine_files(spool, d) for d in days) and not Ledger(spool).retry_begun():
        return Retried()
    retry = _Retry(spool, rules, clock, feeds or {}, dry_run=dry_run)
    if dry_run:
        return retry.run(days)
    with _alone(spool, clock()):
        _undo(spool)
        return retry.run(days)


def undo_unfinished_retry(spool: Path, now_ns: int) -> None:
    """What a killed retry left must not count. One that runs is left alone."""
    if not Ledger(spool).retry_begun():
        return
    try:
        with _alone(spool, now_ns):
            _undo(spool)
    except RetryUnderWay:
        pass


@contextmanager
def _alone(spool: Path, now_ns: int) -> Iterator[None]:
    me = Owner(collector="", pid=os.getpid(), started_at=now_ns)
    try:
        with hold_lock(spool / RETRY_LOCK, me):
            yield
    except LockIsHeld as held:
        by = f" by process {held.holder.pid}" if held.holder else ""
        raise RetryUnderWay(f"the quarantine of {spool} is being retried{by}") from None


def _undo(spool: Path) -> None:
    ledger = Ledger(spool)
    begun = ledger.retry_begun()
    for name in begun:
        path = spool / name
        path.unlink(missing_ok=True)
        if path.parent.is_dir():
            fsync_path(path.parent)
    if begun:
        ledger.retry_undone()


class _Row(NamedTuple):
    event: AnyEvent
    connection: str
    frame: int


@dataclass(slots=True)
class _Moving:
    """The frames of one quarantine file that now parse, and their rows."""

    frames: list[MovedFrame] = field(default_factory=list)
    rows: dict[tuple[EventType, dt.date], list[_Row]] = field(default_factory=dict)
    events: Counter[tuple[Source, EventType, dt.date]] = field(default_factory=Counter)


class _Retry:
    def __init__(
        self,
        spool: Path,
        rules: Capture,
        clock: Callable[[], int],
        feeds: Mapping[str, Feed],
        *,
        dry_run: bool,
    ) -> None:
        self._spool = spool
        self._clock = clock
        self._feeds = feeds
        self._dry_run = dry_run
        self._ledger = Ledger(spool)
        self._admission = Admission(rules.horizon_days)
        self._day_of = DayFinder()
        self._sessions = PastSessions()
        self._done = Retried()

    def run(self, days: list[dt.date]) -> Retried:
        for day in days:
            for path in quarantine_files(self._spool, day):
                self._retry_file(day, path)
        return self._done

    def _retry_file(self, day: dt.date, path: Path) -> None:
        named = frames_of(path)
        assert named is not None  # `quarantine_files` gives no other
        collector, first, last = named
        # Asked before the file is read: a recovery writes it anew, with other frames where parsers
        # have changed, until its flush is in the ledger.
        counted = last <= self._ledger.flushed_frame(collector)
        kept = read_quarantine_file(path)
        if not counted:
            self._done.later += len(kept.frames)
            return
        lines = [msgspec.convert(line, Line) for line in kept.lines]
        moved_before = self._ledger.retried_frames(collector)
        here = [f for f in kept.frames if f.frame not in moved_before]
        moving, stay = self._read_again(here, lines, path)
        self._done.moved += moving.frames
        # Without their bytes: of all days that may be more than memory holds.
        self._done.stay += [(f._replace(payload=b""), why) for f, why in stay]
        for (_, event_type, _), number in moving.events.items():
            self._done.events[event_type] += number
        if self._dry_run or len(stay) == len(kept.frames):
            return
        if moving.frames:
            self._move(collector, day, (first, last), moving)
        left = [frame for frame, _ in stay]
        if left:
            write_quarantine(
                self._spool,
                day=day,
                collector=collector,
                first_frame=first,
                last_frame=last,
                frames=left,
                lines=lines_of(left, lines),
            )
        else:
            path.unlink()
            fsync_path(path.parent)

    def _move(self, collector: str, day: dt.date, span: tuple[int, int], moving: _Moving) -> None:
        name = retried_batch_name(collector, *span, [m.frame for m in moving.frames])
        paths = [day_folder(self._spool, event_type, on) / name for event_type, on in moving.rows]
        self._ledger.retry_begins(str(path.relative_to(self._spool)) for path in paths)
        for (event_type, on), rows in moving.rows.items():
            write_micro_batch(
                self._spool,
                event_type=event_type,
                day=on,
                collector=collector,
                first_frame=span[0],
                last_frame=span[1],
                table=rows_to_table(event_type, *zip(*rows, strict=True)),
                name=name,
            )
        self._ledger.retried(
            collector, day, moved=moving.frames, events=moving.events, at=self._clock()
        )

    # Reading

    def _read_again(
        self, frames: list[QuarantinedFrame], lines: Sequence[Line], path: Path
    ) -> tuple[_Moving, list[tuple[QuarantinedFrame, str]]]:
        moving, stay = _Moving(), []
        given = _GivenOut(self._spool, path, any(f.events for f in frames))
        for frame in sorted(frames, key=lambda frame: frame.frame):
            session = self._sessions.of(self._line(frame, lines))
            if session is None:
                stay.append((frame, f"no vendor {frame.source.vendor!r} is known any more"))
                continue
            reading = self._admission.read(session, frame.payload, frame.received_at)
            new = given.not_yet(frame, reading.events)
            outcome = reading.outcome
            if reading.faults or outcome == "quarantined":
                stay.append((frame, "; ".join(reading.faults) or frame.reason))
            elif new is None:
                stay.append((frame, "what of it was read at once would read otherwise today"))
            else:
                counted = not frame.events
                moving.frames.append(
                    MovedFrame(frame.source, frame.frame, outcome, len(new), counted)
                )
                self._queue(moving, frame, new)
        return moving, stay

    def _queue(self, moving: _Moving, frame: QuarantinedFrame, events: list[AnyEvent]) -> None:
        for event in events:
            day = self._day_of(event.ts_event)
            row = _Row(event, frame.connection, frame.frame)
            moving.rows.setdefault((event.event_type, day), []).append(row)
            moving.events[frame.source, event.event_type, day] += 1

    def _line(self, frame: QuarantinedFrame, lines: Sequence[Line]) -> Line:
        """What its connection asked for. Where the file does not tell that, the feed of that name
        as it is now set is the best guess.

        Nothing was asked of those who call us, so what is set now goes before what was set then:
        a mapping that was mended is there for just this.
        """
        source, feed = frame.source, self._feeds.get(frame.source.name)
        if feed is None or (feed.vendor, feed.feed) != (source.vendor, source.feed):
            feed = None
        of_it = [n for n in lines if n.connection == frame.connection]
        if of_it and (feed is None or feed.spec.way_in != "webhook"):
            begun = [line for line in of_it if line.from_frame <= frame.frame]
            return max(begun or of_it, key=lambda line: line.from_frame)
        return Line(
            number=0,
            name=source.name,
            vendor=source.vendor,
            feed=source.feed,
            connection=frame.connection,
            symbols=feed.symbols if feed else (),
            options=feed.options if feed else {},
            asset_classes=dict(feed.asset_classes) if feed else {},
        )


class _GivenOut:
    """The events that frames gave at once, though a part of them could not be read."""

    def __init__(self, spool: Path, quarantine_file: Path, wanted: bool) -> None:
        self._by_frame: dict[int, Counter[tuple[object, ...]]] = {}
        named = frames_of(quarantine_file)
        if not wanted or named is None:
            return
        for event_type, day in days_in(spool):
            path = day_folder(spool, event_type, day) / batch_name(*named)
            if path.exists():
                self._add(path, event_type)

    def _add(self, path: Path, event_type: EventType) -> None:
        for row in read_micro_batch(path, event_type).to_pylist():
            content = {k: v for k, v in row.items() if k not in _LINEAGE}
            key = content_key(EVENT_CLASSES[event_type](**content))
            self._by_frame.setdefault(row["frame"], Counter())[key] += 1

    def not_yet(self, frame: QuarantinedFrame, events: list[AnyEvent]) -> list[AnyEvent] | None:
        """Those of `events` that were not given out; None where what was is not among them."""
        there = Counter(self._by_frame.get(frame.frame, {})) if frame.events else Counter()
        if there.total() != frame.events:
            return None
        new = []
        for event in events:
            key = content_key(event)
            if there[key]:
                there[key] -= 1
            else:
                new.append(event)
        return None if there.total() else new
