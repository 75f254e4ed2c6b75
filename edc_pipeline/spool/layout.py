"""The names inside a spool. Nothing outside this room spells them.

    spool/
      event_type=trade/day=2026-01-22/<collector>-<first frame>-<last frame>.parquet
                                     /<collector>-retried.<digest>-<first>-<last>.parquet
      _quarantine/day=2026-01-22/<collector>-<first frame>-<last frame>.parquet
      _journal/<collector>/<first frame>.wal
      _raw/day=2026-01-22/<collector>-<first frame>-<last frame>.wal
          /damaged/<collector>-<first frame>.wal
      _ledger.sqlite
      _collector.lock
      _successor.lock
      _retry.lock
      _status.json
      ._status.json.1, ._status.json.2
      _shapes.json
      _budgets.json

What is not a micro-batch begins with `_` or `.`, which Hive-style readers pass over.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import re
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from edc_pipeline.events import EVENT_TYPES, EventType
from edc_pipeline.market_day import parse_day

LEDGER: Final = "_ledger.sqlite"
LOCK: Final = "_collector.lock"
SUCCESSOR: Final = "_successor.lock"
RETRY_LOCK: Final = "_retry.lock"
STATUS: Final = "_status.json"
STATUS_ROOM: Final = f".{STATUS}.1", f".{STATUS}.2"  # see `spool.status`
DELIVERED: Final = "_delivered.msgpack"  # webhook deliveries of late, lest they count twice
SHAPES: Final = "_shapes.json"
RETIRED: Final = "_retired.json"  # in the folder of a day
BUDGETS: Final = "_budgets.json"
QUARANTINE: Final = "_quarantine"
JOURNAL: Final = "_journal"
RAW: Final = "_raw"
DAMAGED: Final = "damaged"

_SEGMENT: Final = re.compile(r"(?P<first>\d{12,})\.wal")
_RAW_SEGMENT: Final = re.compile(r"(?P<collector>.+)-(?P<first>\d{12,})-(?P<last>\d{12,})\.wal")
_SET_ASIDE: Final = re.compile(r"(?P<collector>.+)-(?P<first>\d{12,})\.wal")
_NAME: Final = re.compile(r"(?P<collector>.+)-(?P<first>\d{12,})-(?P<last>\d{12,})\.parquet")


def day_folder(spool: Path, event_type: EventType, day: dt.date) -> Path:
    return spool / f"event_type={event_type}" / f"day={day.isoformat()}"


def quarantine_folder(spool: Path, day: dt.date) -> Path:
    return spool / QUARANTINE / f"day={day.isoformat()}"


def batch_name(collector: str, first_frame: int, last_frame: int) -> str:
    return f"{collector}-{first_frame:012d}-{last_frame:012d}.parquet"


def retried_batch_name(
    collector: str, first_frame: int, last_frame: int, frames: Sequence[int]
) -> str:
    """A micro-batch of frames that left the quarantine: the name follows from the frames, so that
    a repeat replaces itself, and is no name that a flush of any collector gives."""
    digest = hashlib.sha256(",".join(map(str, sorted(frames))).encode()).hexdigest()[:12]
    return batch_name(f"{collector}-retried.{digest}", first_frame, last_frame)


def batch_files(spool: Path, event_type: EventType, day: dt.date) -> list[Path]:
    """The micro-batches of a day, by name; temporary files are not among them."""
    # By name: to compare paths takes five times as long, which shows when there are thousands.
    folder = day_folder(spool, event_type, day)
    return [folder / name for name in sorted(batch_names(spool, event_type, day))]


def batch_names(
    spool: Path, event_type: EventType, day: dt.date, *, but: Container[str] = ()
) -> list[str]:
    """The names alone, in no order, `but` those: of thousands that takes a sixth of the time."""
    folder = day_folder(spool, event_type, day)
    if not folder.is_dir():
        return []
    return [n for n in os.listdir(folder) if n not in but and _NAME.fullmatch(n)]


def quarantine_files(spool: Path, day: dt.date) -> list[Path]:
    folder = quarantine_folder(spool, day)
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if _NAME.fullmatch(p.name))


def days_in(spool: Path) -> Iterator[tuple[EventType, dt.date]]:
    """Every (event type, day) that has a folder in the spool, by type and day."""
    for event_type in EVENT_TYPES:
        for day in _days(spool / f"event_type={event_type}"):
            yield event_type, day


def is_spool(folder: Path) -> bool:
    """Whether a collector ever wrote here."""
    return any((folder / name).exists() for name in (LEDGER, LOCK)) or any(
        folder.glob("event_type=*")
    )


def journal_folder(spool: Path, collector: str) -> Path:
    return spool / JOURNAL / collector


def segment_name(first_frame: int) -> str:
    return f"{first_frame:012d}.wal"


def segment_files(folder: Path) -> list[Path]:
    """A collector's journal segments, in the order of their frames; by their names, lest somebody's
    copy (`X.bak.wal`) is taken for one."""
    return sorted(p for p in folder.glob("*.wal") if _SEGMENT.fullmatch(p.name))


def others_in_journal(folder: Path) -> list[str]:
    """What somebody else put there, by name."""
    return sorted(p.name for p in folder.iterdir() if not _SEGMENT.fullmatch(p.name))


def journal_collectors(spool: Path) -> list[str]:
    """The collectors that left segments, oldest first: their names begin with their start."""
    folder = spool / JOURNAL
    return sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []


def raw_folder(spool: Path, day: dt.date) -> Path:
    return spool / RAW / f"day={day.isoformat()}"


def raw_segment_name(collector: str, first_frame: int, last_frame: int) -> str:
    return f"{collector}-{first_frame:012d}-{last_frame:012d}.wal"


def raw_segments(spool: Path, day: dt.date | None = None) -> list[Path]:
    """The raw archive's segments, by day, collector and frame: a collector's name begins with its
    start, so this is the order in which they were received."""
    days = raw_days(spool) if day is None else [day]
    return [
        path
        for one in days
        for path in sorted(raw_folder(spool, one).glob("*.wal"))
        if _RAW_SEGMENT.fullmatch(path.name)
    ]


def damaged_segment(spool: Path, collector: str, segment: Path) -> Path:
    """Where a damaged segment is set aside that the raw archive does not take."""
    return spool / RAW / DAMAGED / f"{collector}-{segment.name}"


def damaged_segments(spool: Path) -> list[Path]:
    found = (spool / RAW / DAMAGED).glob("*.wal")
    return sorted(p for p in found if _SET_ASIDE.fullmatch(p.name))


def collector_of_segment(segment: Path) -> str:
    """Whose, by its place: in the journal, in the raw archive, or set aside."""
    if segment.parent.parent.name == JOURNAL:
        return segment.parent.name
    return segment.stem.rsplit("-", 1 if segment.parent.name == DAMAGED else 2)[0]


def spool_of_segment(segment: Path) -> Path | None:
    """None: it is in no spool."""
    inside = segment.parent.parent.name in (JOURNAL, RAW)
    return segment.parent.parent.parent if inside else None


def segments_of(spool: Path, collector: str) -> list[Path]:
    """All that are left of a collector's segments, in the journal and in the raw archive."""
    kept = (p for p in raw_segments(spool) if collector_of_segment(p) == collector)
    return [*segment_files(journal_folder(spool, collector)), *kept]


def first_frame_of_segment(segment: Path) -> int:
    """As its name says in the journal."""
    return int(segment.stem)


def raw_days(spool: Path) -> list[dt.date]:
    """The days of receipt that the raw archive holds."""
    return _days(spool / RAW)


def quarantine_days(spool: Path) -> list[dt.date]:
    return _days(spool / QUARANTINE)


def _days(folder: Path) -> list[dt.date]:
    """A folder that is named for no day is somebody else's."""
    found = []
    for path in sorted(folder.glob("day=*")):
        with suppress(ValueError):
            found.append(parse_day(path.name.removeprefix("day=")))
    return found


def frames_of(path: Path) -> tuple[str, int, int] | None:
    """(collector, first frame, last frame) as a file's name says; None for a foreign name."""
    found = _NAME.fullmatch(path.name)
    return found and (found["collector"], int(found["first"]), int(found["last"]))
