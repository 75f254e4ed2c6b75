"""Many small micro-batches → few larger ones, with every row, frame ordinal and connection.

A micro-batch costs its consolidation some 0.2 ms however few rows it holds, and a feed that flushes
every minute leaves a thousand a day. The new file says in its footer which ones it holds
(`replaces`); from the instant it is in its place those count no more, so that a death between the
writing and the removing is harmless, and the next compaction removes what is left.

Only what the ledger has counted is touched: what recovery may still ask for keeps its name.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import pyarrow as pa

from edc_pipeline.durable_file import fsync_path
from edc_pipeline.events import EventType
from edc_pipeline.spool.layout import batch_files, batch_name, frames_of
from edc_pipeline.spool.ledger import Ledger
from edc_pipeline.spool.micro_batch import (
    Footer,
    UnreadableBatch,
    is_whole,
    read_footer,
    read_micro_batch,
    write_micro_batch,
)

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
    footers = _footers(spool, event_type, day)
    done = Compacted(
        event_type=event_type,
        day=day.isoformat(),
        files_before=len(footers),
        files_after=len(footers),
        rows=0,
    )
    for path in _leftovers(footers):
        _remove(path, done, dry_run=dry_run)
        del footers[path]
    for run in _runs(footers, Ledger(spool), small_rows, fewest_files, largest_rows):
        first, last = footers[run[0]], footers[run[-1]]
        name = batch_name(first.collector, first.first_frame, last.last_frame)
        rows = sum(footers[path].rows for path in run)
        if not dry_run:
            try:
                # Every byte is checked, and every page: damage is not made to look sound.
                if any(is_whole(path.read_bytes()) is False for path in run):
                    continue  # the consolidation sets it aside and says why
                table = pa.concat_tables([read_micro_batch(path, event_type) for path in run])
            except (UnreadableBatch, OSError):
                continue
            if table.num_rows != rows:
                continue
            write_micro_batch(
                spool,
                event_type=event_type,
                day=day,
                collector=first.collector,
                first_frame=first.first_frame,
                last_frame=last.last_frame,
                table=table,
                name=name,
                replaces=[path.name for path in run],
            )
        done.rows += rows
        done.written.append(name)
        done.files_after += 1
        for path in run:
            _remove(path, done, dry_run=dry_run)
    return done


def _footers(spool: Path, event_type: EventType, day: dt.date) -> dict[Path, Footer]:
    found = {}
    for path in batch_files(spool, event_type, day):
        with suppress(UnreadableBatch, OSError):
            found[path] = read_footer(path)
    return found


def _leftovers(footers: dict[Path, Footer]) -> list[Path]:
    """Files whose rows are in a compacted one that is whole."""
    held = {
        name
        for path, footer in footers.items()
        if footer.replaces and is_whole(path.read_bytes())
        for name in footer.replaces
    }
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


def _remove(path: Path, done: Compacted, *, dry_run: bool) -> None:
    done.removed.append(path.name)
    done.files_after -= 1
    if not dry_run:
        path.unlink(missing_ok=True)
        fsync_path(path.parent)
