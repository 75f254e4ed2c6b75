"""Micro-batches go when, and only when, a daily file holds every one of their rows and is sound.

Before one is removed the daily file is verified as `edc verify --spool` verifies it, and a list of
what goes is put durably beside the micro-batches: a consolidation that finds it makes no file that
holds less than the one that stands.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import msgspec

from edc_pipeline.consolidation.names import daily_file
from edc_pipeline.consolidation.plan import not_held
from edc_pipeline.consolidation.replacement import alone_with
from edc_pipeline.consolidation.verification import verify
from edc_pipeline.durable_file import fsync_path
from edc_pipeline.events import EventType
from edc_pipeline.spool.layout import batch_files
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
        done.kept_because = _why_not(spool, path, event_type, day)
        if done.kept_because:
            return done
        there = batch_files(spool, event_type, day)
        done.removed = [p.name for p in there]
        done.bytes = sum(p.stat().st_size for p in there)
        if not dry_run:
            note_retired(spool, event_type, day, done.removed)
            for micro_batch in there:
                micro_batch.unlink(missing_ok=True)
            fsync_path(there[0].parent)
    return done


def _why_not(spool: Path, path: Path, event_type: EventType, day: dt.date) -> str:
    """Why the micro-batches of a day have to stay; empty: they need not."""
    checked = verify(path, spool)
    certificate = checked.certificate
    if certificate is None or not checked.ok:
        wrong = next(f for f in checked.findings if f.severity == "error")
        return f"its daily file is not sound: {wrong.check}: {wrong.message}"
    if not certificate.balanced:
        return f"its ledger does not balance: {certificate.reasons[0]}"
    if certificate.set_aside:
        aside = certificate.set_aside[0]
        return f"{aside.name} was set aside ({aside.reason}): its rows are nowhere else"
    if certificate.state.state == "provisional":
        return f"the day is provisional: {certificate.state.why}"
    if late := not_held(certificate, spool):
        return f"{len(late)} micro-batches have landed since its file was made"
    before = set(retired(spool, event_type, day))
    held = {i.name for i in certificate.inputs}
    gone = held - {p.name for p in batch_files(spool, event_type, day)} - before
    return f"{len(gone)} micro-batches of its file are gone already" if gone and before else ""
