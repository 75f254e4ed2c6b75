"""Which past days hold micro-batches that their daily file does not know. Knows no Dagster."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edc_pipeline.events import EventType
from edc_pipeline.spool.layout import batch_files, day_folder, days_in

# Late data comes in several batches; consolidating a large day for each would be waste.
QUIET_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class LateDay:
    day: dt.date
    event_type: EventType
    new: int  # micro-batches that the daily file was not made from
    quiet: bool  # nothing has landed for a while: it can be consolidated again


def changed_days(
    spool: Path, today: dt.date, looked_at: Mapping[str, int]
) -> Iterator[tuple[EventType, dt.date, str, int]]:
    """Past (type, day) whose folder has changed since it was looked at, with a name and a mark.

    The mark is the folder's mtime: one stat a day instead of one for each of its 1,440 batches.
    """
    for event_type, day in days_in(spool):
        if day >= today:
            continue
        name = f"{day.isoformat()}|{event_type}"
        mark = day_folder(spool, event_type, day).stat().st_mtime_ns
        if looked_at.get(name) != mark:
            yield event_type, day, name, mark


def late_day(
    spool: Path, daily: Path, event_type: EventType, day: dt.date, now: float
) -> LateDay | None:
    """What has come since the daily file was made; None where nothing has, or there is no file:
    a day that was never consolidated is the schedule's business, or somebody's decision."""
    from edc_pipeline.consolidation import daily_file, read_certificate  # noqa: PLC0415 - heavy
    from edc_pipeline.consolidation.certificate import NoCertificate  # noqa: PLC0415

    try:
        certificate = read_certificate(daily_file(daily, event_type, day))
    except NoCertificate:
        return None
    known = {i.name for i in certificate.inputs} | {s.name for s in certificate.set_aside}
    new = [p for p in batch_files(spool, event_type, day) if p.name not in known]
    if not new:
        return None
    newest = max(p.stat().st_mtime for p in new)
    return LateDay(day, event_type, len(new), quiet=now - newest >= QUIET_S)
