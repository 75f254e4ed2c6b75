"""The ledger: what came in, what became of it, and what is missing. One SQLite file a spool.

For each feed and day: frames received = frames with events + control + quarantined, and
events out = rows in micro-batches = rows in the daily file + duplicates. Each number is recorded
where it arises: frames and events by the collector, in one transaction a flush; rows in the
footers of the micro-batches; duplicates in the daily file's certificate.

A frame belongs to the day it was received, an event to the day it happened.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal

from edc_pipeline import __version__
from edc_pipeline.durable_file import make_durable_folder
from edc_pipeline.events import EventType
from edc_pipeline.spool.clock_steps import ClockStep, as_of_now
from edc_pipeline.spool.layout import LEDGER

GapState = Literal["open", "closed", "filled", "unfillable"]

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS collectors (
    collector TEXT PRIMARY KEY, started_at INTEGER NOT NULL, stopped_at INTEGER,
    flushed_frame INTEGER NOT NULL DEFAULT -1, flushed_at INTEGER, ended TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS frames (
    collector TEXT NOT NULL, name TEXT NOT NULL, vendor TEXT NOT NULL, feed TEXT NOT NULL,
    day TEXT NOT NULL, received INTEGER NOT NULL, with_events INTEGER NOT NULL,
    control INTEGER NOT NULL, quarantined INTEGER NOT NULL, bytes INTEGER NOT NULL,
    PRIMARY KEY (collector, name, day)
) STRICT;
CREATE TABLE IF NOT EXISTS events (
    collector TEXT NOT NULL, name TEXT NOT NULL, vendor TEXT NOT NULL, feed TEXT NOT NULL,
    event_type TEXT NOT NULL, day TEXT NOT NULL, events INTEGER NOT NULL,
    PRIMARY KEY (collector, name, event_type, day)
) STRICT;
CREATE TABLE IF NOT EXISTS gaps (
    collector TEXT NOT NULL, name TEXT NOT NULL, vendor TEXT NOT NULL, feed TEXT NOT NULL,
    symbol TEXT NOT NULL, from_ns INTEGER NOT NULL, to_ns INTEGER, size INTEGER,
    state TEXT NOT NULL, reason TEXT NOT NULL, first_seq INTEGER NOT NULL DEFAULT -1,
    PRIMARY KEY (collector, name, symbol, from_ns, first_seq)
) STRICT;
CREATE TABLE IF NOT EXISTS retried (
    collector TEXT NOT NULL, frame INTEGER NOT NULL, name TEXT NOT NULL, day TEXT NOT NULL,
    outcome TEXT NOT NULL, events INTEGER NOT NULL, at INTEGER NOT NULL,
    code_version TEXT NOT NULL,
    PRIMARY KEY (collector, frame)
) STRICT;
CREATE TABLE IF NOT EXISTS retry_begun (file TEXT PRIMARY KEY) STRICT;
CREATE TABLE IF NOT EXISTS clock_steps (
    collector TEXT NOT NULL, before_ns INTEGER NOT NULL, after_ns INTEGER NOT NULL,
    PRIMARY KEY (collector, before_ns, after_ns)
) STRICT;
"""

_FLUSHED_FRAME: Final = "SELECT flushed_frame FROM collectors WHERE collector = ?"
# By the order in which they came: a clock may have been wrong.
_WHO_TOOK_WHAT: Final = (
    "SELECT f.name, f.vendor, f.feed, c.collector, c.started_at,"
    " coalesce(c.stopped_at, c.flushed_at, c.started_at)"
    " FROM (SELECT DISTINCT collector, name, vendor, feed FROM frames"
    " UNION SELECT DISTINCT collector, name, vendor, feed FROM gaps) f"
    " JOIN collectors c USING (collector) ORDER BY c.rowid"
)
_ADD_EVENTS: Final = (
    "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
    " events = events + excluded.events"
)


@dataclass(slots=True)
class FrameCounts:
    """received = with_events + control + quarantined, always."""

    received: int = 0
    with_events: int = 0
    control: int = 0
    quarantined: int = 0
    bytes: int = 0

    def __add__(self, other: FrameCounts) -> FrameCounts:
        return FrameCounts(
            self.received + other.received,
            self.with_events + other.with_events,
            self.control + other.control,
            self.quarantined + other.quarantined,
            self.bytes + other.bytes,
        )

    @property
    def balanced(self) -> bool:
        return self.received == self.with_events + self.control + self.quarantined


@dataclass(frozen=True, slots=True)
class Source:
    """A feed as configured (`name`) and the vendor's product that it takes."""

    name: str
    vendor: str
    feed: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Time in which a feed may have spoken and we did not hear it."""

    source: Source
    symbol: str  # empty: the whole feed
    from_ns: int
    to_ns: int | None  # None while it lasts
    size: int | None  # messages missed, where the vendor numbers them
    state: GapState
    reason: str
    # The first number missing, −1 where the vendor numbers nothing. All frames of one read share
    # their receive time, so two gaps of a symbol may differ in this alone. A gap of one of several
    # connections that share a feed's symbols out: −1 of the first, −2 of the second, and so on.
    first_seq: int = -1

    def __post_init__(self) -> None:
        """No gap ends before it begins. Where the clock was set back in one that nobody could cut
        there (see `capture.intake`), it may be anywhere between: so it touches both days."""
        if self.to_ns is not None and self.to_ns < self.from_ns:
            begins, ends = self.to_ns, self.from_ns
            object.__setattr__(self, "from_ns", begins)
            object.__setattr__(self, "to_ns", ends)
            object.__setattr__(self, "reason", f"{self.reason}; the clock was set back in it")


@dataclass(frozen=True, slots=True)
class LastHeard:
    """When the last collector that took a feed ended, or flushed last (ns)."""

    by_its_clock: int
    at: int  # as the clock says it that tells now; as near as is known, and never after now


@dataclass(frozen=True, slots=True)
class MovedFrame:
    """A frame that leaves the quarantine, and what it turned out to be."""

    source: Source
    frame: int
    outcome: Literal["events", "control"]
    events: int  # that were not given out before
    counted: bool  # as quarantined until now; False where a part of it could be read at once


class Ledger:
    """Opens, on any thread, a connection for each use: uses are few, a flush or a look."""

    def __init__(self, spool: Path) -> None:
        self.path = spool / LEDGER

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        make_durable_folder(self.path.parent)
        connection = None
        try:
            connection = sqlite3.connect(self.path, timeout=30.0)
            # Not WAL: its index is a file mapped into memory, and on a full disk a write to that
            # killed the collector (SIGBUS, seen on a tmpfs). A rollback journal fails in words.
            connection.execute("PRAGMA journal_mode=TRUNCATE")
            connection.execute("PRAGMA synchronous=FULL")
            connection.executescript(_SCHEMA)
            with connection:
                yield connection
        except sqlite3.DatabaseError as error:
            # SQLite says what is the matter, and not with which file.
            raise type(error)(f"{self.path}: {error}") from error
        finally:
            if connection is not None:
                connection.close()

    # What the collector writes

    def collector_started(self, collector: str, at: int) -> None:
        with self._open() as db:
            db.execute(
                "INSERT OR IGNORE INTO collectors (collector, started_at) VALUES (?, ?)",
                (collector, at),
            )

    def clock_stepped(self, collector: str, steps: Iterable[ClockStep]) -> None:
        """Its clock was set: what it said before is to be understood when it is right again."""
        with self._open() as db:
            db.executemany(
                "INSERT OR IGNORE INTO clock_steps VALUES (?, ?, ?)",
                [(collector, step.before, step.after) for step in steps],
            )

    def collector_stopped(
        self, collector: str, at: int, ended: str, *, gaps_until: int | None = None
    ) -> None:
        """Its open gaps end with it, at `gaps_until` where that is not `at`: the time until the
        next collector is a gap of its own, and begins where they end."""
        with self._open() as db:
            db.execute(
                "UPDATE gaps SET to_ns = max(from_ns, ?), state = 'closed',"
                " reason = reason || '; not heard again before capture ended'"
                " WHERE collector = ? AND to_ns IS NULL",
                (at if gaps_until is None else gaps_until, collector),
            )
            db.execute(
                "UPDATE collectors SET stopped_at = ?, ended = ? WHERE collector = ?",
                (at, ended, collector),
            )

    def flushed(
        self,
        collector: str,
        *,
        through_frame: int,
        at: int,
        frames: Mapping[tuple[Source, dt.date], FrameCounts] = MappingProxyType({}),
        events: Mapping[tuple[Source, EventType, dt.date], int] = MappingProxyType({}),
        gaps: Iterable[Gap] = (),
    ) -> None:
        """Add what frames up to `through_frame` came to, in one transaction, and only once.

        A commit may report an error and stand all the same: SQLite syncs once more after the
        transaction has come into force (seen with an EIO there, which counted a flush twice). So
        what is told again is not added again. It is committed again, since the error may have been
        about its durability.

        A gap is told again when it ends, and then replaces what was told when it began.
        """
        with self._open() as db:
            if through_frame <= _flushed_frame(db, collector):
                frames, events = {}, {}
            db.execute(
                "UPDATE collectors SET flushed_frame = max(flushed_frame, ?), flushed_at = ?"
                " WHERE collector = ?",
                (through_frame, at, collector),
            )
            db.executemany(
                "INSERT INTO frames VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                " received = received + excluded.received,"
                " with_events = with_events + excluded.with_events,"
                " control = control + excluded.control,"
                " quarantined = quarantined + excluded.quarantined,"
                " bytes = bytes + excluded.bytes",
                [
                    (
                        *(collector, s.name, s.vendor, s.feed, day.isoformat()),
                        *(c.received, c.with_events, c.control, c.quarantined, c.bytes),
                    )
                    for (s, day), c in frames.items()
                ],
            )
            db.executemany(_ADD_EVENTS, _event_rows(collector, events))
            db.executemany(
                "INSERT OR REPLACE INTO gaps VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        *(collector, g.source.name, g.source.vendor, g.source.feed, g.symbol),
                        *(g.from_ns, g.to_ns, g.size, g.state, g.reason, g.first_seq),
                    )
                    for g in gaps
                ],
            )

    # What a retry of the quarantine writes

    def retry_begins(self, files: Iterable[str]) -> None:
        """Say which files are about to be written: until `retried` they count for nothing."""
        with self._open() as db:
            db.executemany("INSERT OR IGNORE INTO retry_begun VALUES (?)", [(f,) for f in files])

    def retry_begun(self) -> list[str]:
        """Files of a retry that did not come to its end."""
        return [row[0] for row in self._rows("SELECT file FROM retry_begun")]

    def retry_undone(self) -> None:
        with self._open() as db:
            db.execute("DELETE FROM retry_begun")

    def retried(
        self,
        collector: str,
        day: dt.date,
        *,
        moved: Iterable[MovedFrame],
        events: Mapping[tuple[Source, EventType, dt.date], int],
        at: int,
    ) -> None:
        """Enter frames received on a day as what they turned out to be, in one transaction.

        A frame can be moved once: its second time is an error and changes nothing.
        """
        received = day.isoformat()
        with self._open() as db:
            db.execute("DELETE FROM retry_begun")
            for m in moved:
                db.execute(
                    "INSERT INTO retried VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        *(collector, m.frame, m.source.name, received),
                        *(m.outcome, m.events, at, __version__),
                    ),
                )
                if m.counted:
                    db.execute(
                        "UPDATE frames SET quarantined = quarantined - 1,"
                        " with_events = with_events + ?, control = control + ?"
                        " WHERE collector = ? AND name = ? AND day = ?",
                        (
                            *(m.outcome == "events", m.outcome == "control"),
                            *(collector, m.source.name, received),
                        ),
                    )
            db.executemany(_ADD_EVENTS, _event_rows(collector, events))

    def retried_frames(self, collector: str) -> set[int]:
        """The frames of a collector that left the quarantine."""
        rows = self._rows("SELECT frame FROM retried WHERE collector = ?", collector)
        return {row[0] for row in rows}

    # What everybody reads

    def frames(self, day: dt.date | None = None) -> dict[Source, FrameCounts]:
        """Frames by feed, of one day of receipt or of all."""
        totals: dict[Source, FrameCounts] = {}
        for row in self._rows(
            "SELECT name, vendor, feed, received, with_events, control, quarantined, bytes"
            " FROM frames WHERE ? IS NULL OR day = ? ORDER BY name",
            *(2 * [None if day is None else day.isoformat()]),
        ):
            source = Source(*row[:3])
            totals[source] = totals.get(source, FrameCounts()) + FrameCounts(*row[3:])
        return totals

    def events_out(self, event_type: EventType, day: dt.date) -> dict[Source, int]:
        """Events that the collectors gave out for a day, by feed."""
        return {
            Source(*row[:3]): row[3]
            for row in self._rows(
                "SELECT name, vendor, feed, sum(events) FROM events"
                " WHERE event_type = ? AND day = ? GROUP BY name, vendor, feed ORDER BY name",
                event_type,
                day.isoformat(),
            )
        }

    def gaps(self, from_ns: int | None = None, to_ns: int | None = None) -> list[Gap]:
        """Gaps that touch the span, oldest first. One of no length has an instant all the same;
        an older ledger may hold one that ends before it begins."""
        return [
            Gap(Source(*row[:3]), *row[3:])
            for row in self._rows(
                "SELECT name, vendor, feed, symbol, from_ns, to_ns, size, state, reason, first_seq"
                " FROM gaps WHERE (? IS NULL OR to_ns IS NULL OR max(from_ns, to_ns) > ?"
                " OR (from_ns = to_ns AND from_ns = ?))"
                " AND (? IS NULL OR min(from_ns, coalesce(to_ns, from_ns)) < ?)"
                " ORDER BY min(from_ns, coalesce(to_ns, from_ns)), name, first_seq",
                *(from_ns, from_ns, from_ns, to_ns, to_ns),
            )
        ]

    def count_gaps(self, from_ns: int) -> tuple[int, int]:
        """How many gaps reach beyond `from_ns`, and how many of all last."""
        for row in self._rows(
            "SELECT coalesce(sum(to_ns IS NULL OR max(from_ns, to_ns) > ?"
            " OR (from_ns = to_ns AND from_ns = ?)), 0), coalesce(sum(to_ns IS NULL), 0) FROM gaps",
            from_ns,
            from_ns,
        ):
            return row[0], row[1]
        return 0, 0

    def flushed_frame(self, collector: str) -> int:
        """Up to which frame a collector's frames are in the spool and counted; −1: none."""
        rows = self._rows(_FLUSHED_FRAME, collector)
        return int(rows[0][0]) if rows else -1

    def last_sign_of(self, collector: str) -> int | None:
        """When a collector flushed last, or else started (ns)."""
        query = "SELECT coalesce(flushed_at, started_at) FROM collectors WHERE collector = ?"
        rows = self._rows(query, collector)
        return int(rows[0][0]) if rows else None

    def knows(self, collector: str) -> bool:
        """A collector enters itself before it receives; one unknown here is of a lost ledger."""
        return bool(self._rows("SELECT 1 FROM collectors WHERE collector = ?", collector))

    def has_stopped(self, collector: str) -> bool:
        """Whether it came to its end, by itself or by recovery: all that it received is here."""
        query = "SELECT 1 FROM collectors WHERE collector = ? AND stopped_at IS NOT NULL"
        return bool(self._rows(query, collector))

    def last_heard(self, now: int) -> dict[Source, LastHeard]:
        """By feed, when the last collector that took it ended. A feed was taken if it was heard or
        its silence was told: a collector that never connected it has told that up to its end."""
        heard: dict[Source, LastHeard] = {}
        known: dict[Source, list[int]] = {}  # times of each that are not after now
        for *source, collector, started_at, ended_at in self._rows(_WHO_TOOK_WHAT):
            feed = Source(*source)
            steps = self._clock_steps(collector) if ended_at > now else []
            at = as_of_now(ended_at, now, steps)
            before = known.setdefault(feed, [])
            if at is None:
                before += [t for t in (started_at, *(s.before for s in steps)) if t <= now]
                at = max(before, default=now)
            else:
                before[:] = [at]
            heard[feed] = LastHeard(ended_at, at)
        return heard

    def as_of_now(self, collector: str, at: int, now: int) -> int | None:
        """A late time of a collector, as the clock tells it that says `now`; None: nobody knows."""
        return at if at <= now else as_of_now(at, now, self._clock_steps(collector))

    def _clock_steps(self, collector: str) -> list[ClockStep]:
        query = "SELECT before_ns, after_ns FROM clock_steps WHERE collector = ? ORDER BY rowid"
        return [ClockStep(*row) for row in self._rows(query, collector)]

    def last_flush(self) -> tuple[str, int, int | None] | None:
        """The latest collector: its name, when it flushed last (ns) and when it stopped."""
        for row in self._rows(
            "SELECT collector, coalesce(flushed_at, started_at), stopped_at FROM collectors"
            " ORDER BY started_at DESC LIMIT 1"
        ):
            return row[0], row[1], row[2]
        return None

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Reading changes nothing: a spool on a read-only disk is read as well as any."""
        if not self.path.exists():
            return []
        try:
            return _ask(self.path, "ro", query, values)
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):  # made this very moment
                return []
        # A process died in a commit; who reads next has to take that back, and needs to write.
        if os.access(self.path, os.W_OK) and os.access(self.path.parent, os.W_OK):
            return _ask(self.path, "rw", query, values)
        with tempfile.TemporaryDirectory(prefix="edc-ledger-") as folder:
            for name in (LEDGER, f"{LEDGER}-journal"):
                if (file := self.path.with_name(name)).exists():
                    shutil.copy(file, folder)
            return _ask(Path(folder, LEDGER), "rw", query, values)


def _ask(path: Path, mode: str, query: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=30.0)
    try:
        return connection.execute(query, values).fetchall()
    finally:
        connection.close()


def _flushed_frame(db: sqlite3.Connection, collector: str) -> int:
    row = db.execute(_FLUSHED_FRAME, (collector,)).fetchone()
    return int(row[0]) if row else -1


def _event_rows(
    collector: str, events: Mapping[tuple[Source, EventType, dt.date], int]
) -> list[tuple[object, ...]]:
    return [
        (collector, s.name, s.vendor, s.feed, event_type, day.isoformat(), n)
        for (s, event_type, day), n in events.items()
    ]
