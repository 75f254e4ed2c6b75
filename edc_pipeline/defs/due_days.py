"""Which days have to be made, and why. Knows no Dagster."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from edc_pipeline.events import EVENT_TYPES, EventType
from edc_pipeline.spool.layout import batch_files, day_folder
from edc_pipeline.spool.ledger import Ledger

Due = Literal["yesterday", "missed", "provisional"]

_MINUTE_S: Final = 60.0


def due_days(
    spool: Path, daily: Path, today: dt.date, look_back_days: int
) -> Iterator[tuple[dt.date, EventType, Due]]:
    """What the nightly run has to make, the oldest first: yesterday, and of the days before what
    was captured and has no file, or one that could not be sealed when it was made."""
    from edc_pipeline.consolidation.names import daily_file  # noqa: PLC0415 - heavy

    for days in range(look_back_days, 0, -1):
        day = today - dt.timedelta(days=days)
        for event_type in EVENT_TYPES:
            if not was_captured(spool, event_type, day):
                continue
            if days == 1:
                yield day, event_type, "yesterday"
            elif why := _not_done(daily_file(daily, event_type, day), spool):
                yield day, event_type, why


def _not_done(path: Path, spool: Path) -> Due | None:
    from edc_pipeline.consolidation.after_retention import what_it_lacks  # noqa: PLC0415 - heavy
    from edc_pipeline.consolidation.certificate import NoCertificate, read_certificate  # noqa: PLC0415 - heavy

    try:
        certificate = read_certificate(path)
    except NoCertificate:  # missing, or damaged: to be made again either way
        return "missed"
    if what_it_lacks(certificate, path, spool):  # to make it says what is to be brought back
        return "missed"
    return "provisional" if certificate.state.state == "provisional" else None


def was_captured(spool: Path, event_type: EventType, day: dt.date) -> bool:
    """By the files, or by the ledger alone: events given out and not on disk must fail loudly."""
    return bool(batch_files(spool, event_type, day) or Ledger(spool).events_out(event_type, day))


def refresh_due(
    spool: Path,
    today: dt.date,
    every_minutes: int,
    made_at: dict[str, tuple[float, int]],
    now: float,
) -> dict[EventType, int]:
    """Of which types today's file is to be made again: those for which something has landed since
    it was asked for, if that is long enough ago. By type, the folder's mark that is then done.

    `made_at`: by key, when it was asked for last, and the folder's mark at that time.
    """
    due: dict[EventType, int] = {}
    for event_type in EVENT_TYPES if every_minutes else ():
        folder = day_folder(spool, event_type, today)
        if not folder.is_dir():
            continue
        mark = folder.stat().st_mtime_ns
        asked, known = made_at.get(f"{today}|{event_type}", (0.0, 0))
        if mark != known and now - asked >= every_minutes * _MINUTE_S:
            due[event_type] = mark
    return due
