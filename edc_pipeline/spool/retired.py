"""What retention removed from a day: `_retired.json` beside its micro-batches."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from pathlib import Path

import msgspec

from edc_pipeline.durable_file import write_durably
from edc_pipeline.events import EventType
from edc_pipeline.spool.layout import RETIRED, day_folder
from edc_pipeline.spool.micro_batch import UnreadableBatch


class RetiredBatch(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A micro-batch that is gone, since a daily file holds every row of it. Of one that an older
    version removed nothing is known but its name."""

    name: str
    rows: int | None = None
    sha256: str = ""
    replaces: list[str] = []  # of a compacted one: the micro-batches whose rows it held


def retired(spool: Path, event_type: EventType, day: dt.date) -> list[RetiredBatch]:
    """`UnreadableBatch` where the list is damaged: nobody knows then what a file has to hold."""
    path = day_folder(spool, event_type, day) / RETIRED
    try:
        noted = msgspec.json.decode(path.read_bytes(), type=list[str | RetiredBatch])
    except FileNotFoundError:
        return []
    except (msgspec.MsgspecError, ValueError) as error:
        raise UnreadableBatch(
            f"{path}, the list of what was retired, is damaged: {error}. Bring it back from a copy"
        ) from None
    return [RetiredBatch(name=n) if isinstance(n, str) else n for n in noted]


def was_retired(spool: Path, event_type: EventType, day: dt.date) -> bool:
    """Whether anything of a day was. Cheap."""
    return (day_folder(spool, event_type, day) / RETIRED).exists()


def note_retired(
    spool: Path, event_type: EventType, day: dt.date, batches: Iterable[RetiredBatch]
) -> None:
    """Add them, durably; before the files go."""
    known = {b.name: b for b in [*retired(spool, event_type, day), *batches]}
    path = day_folder(spool, event_type, day) / RETIRED
    write_durably(path, lambda temporary: _fill(temporary, [known[n] for n in sorted(known)]))


def _fill(path: Path, batches: list[RetiredBatch]) -> None:
    path.write_bytes(msgspec.json.encode(batches))
