"""What retention removed from a day, by name: `_retired.json` beside its micro-batches."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from pathlib import Path

import msgspec

from edc_pipeline.durable_file import write_durably
from edc_pipeline.events import EventType
from edc_pipeline.spool.layout import RETIRED, day_folder


def retired(spool: Path, event_type: EventType, day: dt.date) -> list[str]:
    try:
        raw = (day_folder(spool, event_type, day) / RETIRED).read_bytes()
    except FileNotFoundError:
        return []
    return msgspec.json.decode(raw, type=list[str])


def note_retired(spool: Path, event_type: EventType, day: dt.date, names: Iterable[str]) -> None:
    """Add names, durably; before the files go."""
    known = {*retired(spool, event_type, day), *names}
    path = day_folder(spool, event_type, day) / RETIRED
    write_durably(path, lambda temporary: _fill(temporary, sorted(known)))


def _fill(path: Path, names: list[str]) -> None:
    path.write_bytes(msgspec.json.encode(names))
