"""What there is to consolidate: the micro-batches of a day by their footers, and the ledger.

No row is read here.
"""

from __future__ import annotations

import datetime as dt
import errno
import hashlib
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edc_pipeline.consolidation.certificate import (
    Certificate,
    EventsOut,
    Frames,
    GapEntry,
    Input,
    SetAside,
)
from edc_pipeline.consolidation.errors import CannotConsolidate
from edc_pipeline.events import EventType
from edc_pipeline.market_day import day_bounds, parse_day
from edc_pipeline.spool.layout import batch_files, days_in
from edc_pipeline.spool.ledger import Ledger
from edc_pipeline.spool.micro_batch import Footer, UnreadableBatch, read_footer
from edc_pipeline.spool.owner import current_owner
from edc_pipeline.spool.replaced import damaged_beside_theirs, replaced_in

# A collector puts a micro-batch in its place some milliseconds before its ledger entry. Whoever
# looks in between sees too many rows, so look again before saying so.
_LOOKS: Final = 5
_BETWEEN_LOOKS_S: Final = 0.2
_HASHERS: Final = 2  # threads
_LOT: Final = 64  # files
_READ_BYTES: Final = 1 << 18


@dataclass(frozen=True)
class Batch:
    path: Path
    footer: Footer


@dataclass(frozen=True)
class LedgerNumbers:
    events_out: list[EventsOut]
    frames: list[Frames]
    gaps: list[GapEntry]
    fault: str | None = None


@dataclass(frozen=True)
class Plan:
    spool: Path
    event_type: EventType
    day: dt.date
    batches: list[Batch]
    set_aside: list[SetAside]
    ledger: LedgerNumbers

    @property
    def rows(self) -> int:
        return sum(b.footer.rows for b in self.batches)


def make_plan(spool: Path, event_type: EventType, day: dt.date) -> Plan:
    """List the inputs by their footers. `CannotConsolidate` when there is nothing to read."""
    for look in range(_LOOKS):
        plan = _look(spool, event_type, day)
        if _agrees(plan) or look == _LOOKS - 1 or not current_owner(spool)[0]:
            break
        time.sleep(_BETWEEN_LOOKS_S)
    if not plan.batches:
        raise _nothing_to_read(plan)
    return plan


def refuse_if_nothing(spool: Path, event_type: EventType, day: dt.date) -> None:
    """`CannotConsolidate` when there is no spool, or nothing in it of that day. Cheap."""
    if not spool.is_dir():
        raise CannotConsolidate(f"there is no spool at {spool}: give the folder that capture fills")
    if not batch_files(spool, event_type, day):
        ledger = read_ledger(spool, event_type, day)
        raise _nothing_to_read(Plan(spool, event_type, day, [], [], ledger))


def _look(spool: Path, event_type: EventType, day: dt.date) -> Plan:
    batches: list[Batch] = []
    set_aside: list[SetAside] = []
    for path in batch_files(spool, event_type, day):
        try:
            footer = read_footer(path)
            _check_place(footer, path, event_type, day)
            batches.append(Batch(path, footer))
        except FileNotFoundError:
            continue  # compacted since: its rows are in another file
        except (UnreadableBatch, OSError) as error:
            set_aside.append(put_aside(path, error))
    footers = {batch.path: batch.footer for batch in batches}
    damaged, instead = damaged_beside_theirs(footers), set[str]()
    replaced = replaced_in(footers, damaged)
    for path in damaged:
        if {p.name for p in footers}.issuperset(footers[path].replaces):
            said = UnreadableBatch("it is damaged; all that it was put together of is read instead")
            set_aside.append(put_aside(path, said, 0))
            instead.add(path.name)
    batches = [b for b in batches if b.path.name not in replaced | instead]
    return Plan(spool, event_type, day, batches, set_aside, read_ledger(spool, event_type, day))


def put_aside(path: Path, error: Exception, rows: int | None = None) -> SetAside:
    """A micro-batch that is damaged. `CannotConsolidate` where nobody knows, since the disk did not
    hand it out: a file made without it would hold less than the one that it replaces."""
    if (refusal := _refusal_behind(error)) is not None:
        raise CannotConsolidate(
            f"{path} cannot be read ({refusal.strerror}): try again. A daily file made before"
            " stays. If it cannot be read for good, move it out of the spool: the day's file is"
            " then made without it, and tells what is missing"
        ) from error
    try:
        described = describe(path, 0)
        size, digest = described.bytes, described.sha256
    except OSError:
        size, digest = None, ""
    return SetAside(
        name=path.name, reason=reason_of(error, path), rows=rows, bytes=size, sha256=digest
    )


def _refusal_behind(error: BaseException | None) -> OSError | None:
    """What the system itself refused has a number; what a library says of a damaged file has none.
    Arrow has words of its own, and ends them with the system's."""
    while error is not None:
        if isinstance(error, OSError) and error.errno and error.errno != errno.ENOENT:
            return OSError(error.errno, os.strerror(error.errno))
        error = error.__cause__
    return None


def is_what_was_read(standing: Certificate, spool: Path) -> bool:
    """Whether the micro-batches are those that a daily file was made from. No footer is read; the
    files are hashed only where their names and sizes have not told already."""
    day = parse_day(standing.day)
    known: dict[str, tuple[int | None, str]] = {
        **{i.name: (i.bytes, i.sha256) for i in standing.inputs},
        **{s.name: (s.bytes, s.sha256) for s in standing.set_aside},
    }
    there = batch_files(spool, standing.event_type, day)
    try:
        if {p.name: p.stat().st_size for p in there} != {n: size for n, (size, _) in known.items()}:
            return False
        found = described([(path, 0) for path in there])
        return all(known[read.name][1] == read.sha256 for read in found)
    except OSError:
        return False


def described(batches: Sequence[tuple[Path, int]]) -> Iterator[Input]:
    """Each with its rows → as a certificate lists it. OSError if one is not there any more."""
    # In lots: a future for each of thousands of files costs as much as its hash.
    lots = [batches[at : at + _LOT] for at in range(0, len(batches), _LOT)]
    with ThreadPoolExecutor(_HASHERS) as pool:
        for found in pool.map(lambda lot: [describe(*batch) for batch in lot], lots):
            yield from found


def describe(path: Path, rows: int) -> Input:
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while part := os.read(descriptor, _READ_BYTES):
            digest.update(part)
            size += len(part)
            if len(part) < _READ_BYTES:
                break
    finally:
        os.close(descriptor)
    return Input(name=path.name, rows=rows, bytes=size, sha256=digest.hexdigest())


def reason_of(error: Exception, path: Path) -> str:
    """Why a micro-batch is set aside, in one line that does not repeat its name."""
    text = " ".join(str(error).split()).removeprefix(f"{path.name}: ")
    return text.replace(str(path), path.name)[:300] or type(error).__name__


def _check_place(footer: Footer, path: Path, event_type: EventType, day: dt.date) -> None:
    if (footer.event_type, footer.day) != (event_type, day.isoformat()):
        raise UnreadableBatch(
            f"{path.name}: its footer says {footer.event_type} of {footer.day},"
            f" its folder {event_type} of {day}"
        )
    if sum(footer.rows_by_feed.values()) != footer.rows:
        raise UnreadableBatch(f"{path.name}: its rows by feed do not add up to {footer.rows}")


def read_ledger(spool: Path, event_type: EventType, day: dt.date) -> LedgerNumbers:
    ledger = Ledger(spool)
    try:
        events = ledger.events_out(event_type, day)
        frames = ledger.frames(day)
        gaps = ledger.gaps(*day_bounds(day))
    except (sqlite3.Error, OSError, ValueError) as error:
        return LedgerNumbers([], [], [], f"the ledger {ledger.path.name} cannot be read: {error}")
    return LedgerNumbers(
        events_out=[
            EventsOut(name=s.name, vendor=s.vendor, feed=s.feed, events=n)
            for s, n in events.items()
        ],
        frames=[
            Frames(
                name=s.name,
                vendor=s.vendor,
                feed=s.feed,
                received=c.received,
                with_events=c.with_events,
                control=c.control,
                quarantined=c.quarantined,
            )
            for s, c in frames.items()
        ],
        gaps=[
            GapEntry(
                name=g.source.name,
                vendor=g.source.vendor,
                feed=g.source.feed,
                symbol=g.symbol,
                from_ns=g.from_ns,
                to_ns=g.to_ns,
                size=g.size,
                state=g.state,
                reason=g.reason,
            )
            for g in gaps
        ],
    )


def _agrees(plan: Plan) -> bool:
    held: Counter[str] = Counter()
    for batch in plan.batches:
        held.update(batch.footer.rows_by_feed)
    given: Counter[str] = Counter()
    for source in plan.ledger.events_out:
        given[f"{source.vendor}/{source.feed}"] += source.events
    return held == given


def _nothing_to_read(plan: Plan) -> CannotConsolidate:
    what = f"{plan.event_type} of {plan.day}"
    missing = sum(source.events for source in plan.ledger.events_out)
    if plan.set_aside:
        first = plan.set_aside[0]
        return CannotConsolidate(
            f"none of the {len(plan.set_aside)} micro-batches of {what} in {plan.spool} can be"
            f" read; the first is {first.name}: {first.reason}. A daily file made before stays",
            events_missing=missing,
        )
    if missing:
        return CannotConsolidate(
            f"no micro-batches of {what} in {plan.spool}, though its ledger says that {missing}"
            " events were given out. A daily file made before stays",
            events_missing=missing,
        )
    days = sorted({day for event_type, day in days_in(plan.spool) if event_type == plan.event_type})
    there = f"; it has {plan.event_type} from {days[0]} to {days[-1]}" if days else ""
    return CannotConsolidate(
        f"no micro-batches of {what} in {plan.spool}{there}", nothing_there=True
    )
