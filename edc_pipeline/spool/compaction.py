"""Many small micro-batches → few larger ones, with every row, frame ordinal and connection.

A micro-batch costs its consolidation some 0.2 ms however few rows it holds, and a feed that flushes
every minute leaves a thousand a day. The new file says in its footer which ones it holds
(`replaces`); from the instant it is in its place those count no more, so that a death between the
writing and the removing is harmless, and the next compaction removes what is left. It names those
as well whose rows it got from an earlier compaction: a daily file may have been made of them.

Only what the ledger has counted is touched: what recovery may still ask for keeps its name. What is
removed is what was read, and one compaction of a day waits for another: two that had listed other
files would put the same rows into two.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa

from edc_pipeline.durable_file import Seen, fsync_path, is_still, seen, unlink_seen
from edc_pipeline.events import EventType
from edc_pipeline.spool.layout import batch_files, batch_name, day_folder, frames_of
from edc_pipeline.spool.ledger import Ledger
from edc_pipeline.spool.micro_batch import (
    Footer,
    UnreadableBatch,
    is_whole,
    read_footer,
    read_micro_batch,
    write_micro_batch,
)
from edc_pipeline.spool.replaced import damaged_beside_theirs

# Below this a file is small; so many of them in a row are worth the writing; so large they become.
SMALL_ROWS: Final = 20_000
FEWEST_FILES: Final = 8
LARGEST_ROWS: Final = 500_000


class Compacted(msgspec.Struct, kw_only=True):
    """What a compaction did, or with `dry_run` would do."""

    event_type: EventType
    day: str
    files_before: int
    files_after: int
    rows: int  # of the files that were put together
    written: list[str] = []
    removed: list[str] = []


def compact(
    spool: Path,
    event_type: EventType,
    day: dt.date,
    *,
    small_rows: int = SMALL_ROWS,
    fewest_files: int = FEWEST_FILES,
    largest_rows: int = LARGEST_ROWS,
    dry_run: bool = False,
) -> Compacted:
    """Put a day's small micro-batches together, run by run of frames of one collector."""
    with _alone_in(day_folder(spool, event_type, day)):
        footers, was = _footers(spool, event_type, day)
        done = _begun(event_type, day, len(footers))
        for path in _leftovers(footers):
            _remove(path, was[path], done, dry_run=dry_run)
            del footers[path]
        # What a damaged one replaced, and left, is put together again.
        damaged = {path: footers.pop(path) for path in damaged_beside_theirs(footers)}
        for run in _runs(footers, Ledger(spool), small_rows, fewest_files, largest_rows):
            together = {path: footers[path] for path in run}
            healed = _held_by(together, damaged)
            if not dry_run and not _put_together(spool, event_type, day, together, healed, was):
                continue
            done.rows += sum(footer.rows for footer in together.values())
            done.written.append(_name(together))
            done.files_after += 1
            for path in (*run, *healed):
                _remove(path, was[path], done, dry_run=dry_run)
    return done


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """The kernel gives the lock back when its holder dies. No file of it: a folder has one too."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:  # a day without a folder has nothing to compact
        yield
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _begun(event_type: EventType, day: dt.date, files: int) -> Compacted:
    return Compacted(
        event_type=event_type,
        day=day.isoformat(),
        files_before=files,
        files_after=files,
        rows=0,
    )


def _name(run: dict[Path, Footer]) -> str:
    first, *_, last = run.values()
    return batch_name(first.collector, first.first_frame, last.last_frame)


def _put_together(
    spool: Path,
    event_type: EventType,
    day: dt.date,
    run: dict[Path, Footer],
    healed: list[Path],
    was: dict[Path, Seen],
) -> bool:
    """False where anything about a file of it is in doubt: the consolidation says what."""
    try:
        # Every byte is checked, and every page: damage is not made to look sound.
        if any(is_whole(path.read_bytes()) is False for path in run):
            return False
        table = pa.concat_tables([read_micro_batch(path, event_type) for path in run])
    except (UnreadableBatch, OSError):
        return False
    if table.num_rows != sum(footer.rows for footer in run.values()) or not all(
        is_still(path, was[path]) for path in run
    ):
        return False
    first, *_, last = run.values()
    write_micro_batch(
        spool,
        event_type=event_type,
        day=day,
        collector=first.collector,
        first_frame=first.first_frame,
        last_frame=last.last_frame,
        table=table,
        name=_name(run),
        replaces=[
            *(name for path, f in run.items() for name in (path.name, *f.replaces)),
            *(path.name for path in healed),
        ],
    )
    return True


def _held_by(run: dict[Path, Footer], damaged: dict[Path, Footer]) -> list[Path]:
    """Damaged files all of whose rows are in these, and that would not be written over."""
    names = {path.name for path in run}
    return [
        path
        for path, footer in damaged.items()
        if names.issuperset(footer.replaces) and path.name != _name(run)
    ]


def _footers(
    spool: Path, event_type: EventType, day: dt.date
) -> tuple[dict[Path, Footer], dict[Path, Seen]]:
    found, was = {}, {}
    for path in batch_files(spool, event_type, day):
        with suppress(UnreadableBatch, OSError):
            was[path] = seen(path)
            found[path] = read_footer(path)
    return found, was


def _leftovers(footers: dict[Path, Footer]) -> list[Path]:
    """Files whose rows are in a compacted one that is whole."""
    held = set[str]()
    for path, footer in footers.items():
        with suppress(OSError):  # one that retention removes meanwhile, or that can't be read
            if footer.replaces and is_whole(path.read_bytes()):
                held.update(footer.replaces)
    return [path for path in footers if path.name in held]


def _runs(
    footers: dict[Path, Footer],
    ledger: Ledger,
    small_rows: int,
    fewest_files: int,
    largest_rows: int,
) -> Iterator[list[Path]]:
    """Small files of one collector, side by side in the order of their frames."""
    flushed: dict[str, int] = {}
    run: list[Path] = []
    rows = 0

    def ended() -> Iterator[list[Path]]:
        if len(run) >= max(2, fewest_files):
            yield list(run)

    def place(path: Path) -> tuple[str, int]:
        return footers[path].collector, footers[path].first_frame

    for path in sorted(footers, key=place):
        footer = footers[path]
        named = frames_of(path)
        counted = flushed.setdefault(footer.collector, ledger.flushed_frame(footer.collector))
        fits = (
            # Another name than that of its frames: frames that left the quarantine.
            named == (footer.collector, footer.first_frame, footer.last_frame)
            and footer.last_frame <= counted
            and footer.rows < small_rows
        )
        goes_on = bool(run) and footers[run[-1]].collector == footer.collector
        if run and (not fits or not goes_on or rows + footer.rows > largest_rows):
            yield from ended()
            run, rows = [], 0
        if fits:
            run.append(path)
            rows += footer.rows
    yield from ended()


def _remove(path: Path, was: Seen, done: Compacted, *, dry_run: bool) -> None:
    if not dry_run:
        if not unlink_seen(path, was):
            return
        fsync_path(path.parent)
    done.removed.append(path.name)
    done.files_after -= 1
