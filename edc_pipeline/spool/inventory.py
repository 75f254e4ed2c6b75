"""What lies in a spool, by event type and day, from names and footers alone."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path

from edc_pipeline.events import EventType
from edc_pipeline.spool.layout import batch_files, days_in
from edc_pipeline.spool.micro_batch import UnreadableBatch, read_footer


@dataclass(slots=True)
class DayInSpool:
    event_type: EventType
    day: dt.date
    micro_batches: int = 0
    rows: int = 0
    bytes: int = 0
    first_event: int | None = None
    last_event: int | None = None
    unreadable: list[str] = field(default_factory=list)


def inventory(spool: Path, since: dt.date | None = None) -> list[DayInSpool]:
    """Every day in the spool, newest first; footers cost 0.2 ms each."""
    days = []
    for event_type, day in days_in(spool):
        if since is not None and day < since:
            continue
        found = DayInSpool(event_type, day)
        for path in batch_files(spool, event_type, day):
            _add(found, path)
        days.append(found)
    return sorted(days, key=lambda d: (d.day, d.event_type), reverse=True)


def _add(found: DayInSpool, path: Path) -> None:
    found.micro_batches += 1
    try:
        footer = read_footer(path)
        found.bytes += path.stat().st_size
    except FileNotFoundError:  # compacted or retired while we looked
        found.micro_batches -= 1
        return
    except UnreadableBatch as unreadable:
        found.unreadable.append(str(unreadable))
        return
    found.rows += footer.rows
    first, last = footer.min_ts_event, footer.max_ts_event
    found.first_event = first if found.first_event is None else min(found.first_event, first)
    found.last_event = last if found.last_event is None else max(found.last_event, last)
