"""Which past days hold micro-batches that their daily file does not know. Knows no Dagster."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from edc_pipeline.events import EventType
from edc_pipeline.spool.layout import day_folder, days_in

# Late data comes in several batches; consolidating a large day for each would be waste.
QUIET_S: Final = 120.0

Late = Literal["nothing", "still landing", "all of it"]


@dataclass(frozen=True, slots=True)
class PastDay:
    day: dt.date
    event_type: EventType
    # The folder's mtime: one stat a day instead of one for each of its 1,440 micro-batches.
    mark: int

    @property
    def name(self) -> str:
        return f"{self.day.isoformat()}|{self.event_type}"


def past_days(spool: Path, today: dt.date) -> list[PastDay]:
    """The days before today that have a folder in the spool; the mark tells when it changed."""
    return [
        PastDay(day, event_type, day_folder(spool, event_type, day).stat().st_mtime_ns)
        for event_type, day in days_in(spool)
        if day < today
    ]


def landed_late(spool: Path, daily: Path, past: PastDay, now: float) -> Late:
    """Whether something has come since the daily file was made, and has stopped coming.

    A day that was never consolidated is the schedule's business, or somebody's decision."""
    from edc_pipeline.consolidation.certificate import NoCertificate, read_certificate  # noqa: PLC0415 - heavy
    from edc_pipeline.consolidation.held import not_held  # noqa: PLC0415 - heavy
    from edc_pipeline.consolidation.names import daily_file  # noqa: PLC0415 - heavy

    try:
        certificate = read_certificate(daily_file(daily, past.event_type, past.day))
    except NoCertificate:
        return "nothing"
    new = not_held(certificate, spool)
    if not new:
        return "nothing"
    newest = max(p.stat().st_mtime for p in new)
    return "all of it" if now - newest >= QUIET_S else "still landing"
