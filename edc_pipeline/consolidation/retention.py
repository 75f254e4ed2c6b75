"""Micro-batches go when, and only when, a daily file holds every one of their rows and is sound.

Before one is removed the daily file is verified as `edc verify --spool` verifies it, and a list of
what goes is put durably beside the micro-batches: a consolidation that finds it makes no file that
holds less than the one that stands. Removed is what was checked, each file by itself, and nothing
else that lies in the folder by then: a late micro-batch may land at any instant.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec

from edc_pipeline.consolidation.held import in_spool
from edc_pipeline.consolidation.names import daily_file
from edc_pipeline.consolidation.replacement import alone_with
from edc_pipeline.consolidation.still_in_spool import Checked, check_spool
from edc_pipeline.consolidation.verification import verify
from edc_pipeline.durable_file import fsync_path, is_still, seen, unlink_seen
from edc_pipeline.events import EventType
from edc_pipeline.spool.layout import batch_files, day_folder
from edc_pipeline.spool.retired import note_retired, retired

_PATIENCE_S = 60.0


class Retired(msgspec.Struct, kw_only=True):
    """What was removed of a day, or with `dry_run` would be; `kept_because` says why nothing."""

    event_type: EventType
    day: str
    removed: list[str] = []
    bytes: int = 0
    kept_because: str = ""


def retire(
    spool: Path, out: Path, event_type: EventType, day: dt.date, *, dry_run: bool = False
) -> Retired:
    """Remove the micro-batches of a day that its daily file holds."""
    done = Retired(event_type=event_type, day=day.isoformat())
    if not batch_files(spool, event_type, day):
        done.kept_because = "there are no micro-batches"
        return done
    path = daily_file(out, event_type, day)
    if not path.exists():
        done.kept_because = "there is no daily file"
        return done
    with alone_with(path, _PATIENCE_S):
        file = seen(path)
        held, done.kept_because = _held(spool, path, event_type, day)
        if done.kept_because:
            return done
        if not dry_run:
            note_retired(spool, event_type, day, [one.batch for one in held])
            if not is_still(path, file):
                done.kept_because = "its daily file has been replaced meanwhile"
                return done
            went = [one for one in held if unlink_seen(one.path, one.seen)]
            fsync_path(day_folder(spool, event_type, day))
            if len(went) < len(held):
                done.kept_because = f"{len(held) - len(went)} micro-batches changed meanwhile"
            held = went
        done.removed = [one.path.name for one in held]
        done.bytes = sum(one.seen.bytes for one in held)
    return done


def _held(
    spool: Path, path: Path, event_type: EventType, day: dt.date
) -> tuple[list[Checked], str]:
    """(the micro-batches that the daily file holds; why they have to stay, empty: they need not)"""
    checked = verify(path)
    certificate = checked.certificate
    held: list[Checked] = []
    if certificate is not None and checked.ok:
        held = check_spool(path, spool, certificate, checked)
    if certificate is None or not checked.ok:
        wrong = next(f for f in checked.findings if f.severity == "error")
        return [], f"its daily file is not sound: {wrong.check}: {wrong.message}"
    if not certificate.balanced:
        return [], f"its ledger does not balance: {certificate.reasons[0]}"
    if certificate.set_aside:
        aside = certificate.set_aside[0]
        return [], f"{aside.name} was set aside ({aside.reason}): its rows are nowhere else"
    if certificate.state.state == "provisional":
        return [], f"the day is provisional: {certificate.state.why}"
    before = {name for b in retired(spool, event_type, day) for name in (b.name, *b.replaces)}
    there = {one.path.name for one in held} | in_spool(certificate, spool).names
    gone = {i.name for i in certificate.inputs} - there - before
    if gone and before:
        return [], f"{len(gone)} micro-batches of its file are gone already"
    # The last look of all: what has landed since the first stays, and its day waits for it.
    known = {one.path for one in held}
    if others := [p for p in batch_files(spool, event_type, day) if p not in known]:
        return [], (
            f"{others[0].name}{f' and {len(others) - 1} more' if others[1:] else ''} landed"
            " meanwhile, or was left over by a compaction: consolidate the day again, or compact it"
        )
    return held, ""
