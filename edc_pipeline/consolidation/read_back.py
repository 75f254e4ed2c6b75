"""The file is read again before it takes its place: are these the rows that were written?"""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import tables

from edc_pipeline.consolidation.content_hash import digest_of
from edc_pipeline.consolidation.h5_read import StoredTable
from edc_pipeline.consolidation.names import Order
from edc_pipeline.consolidation.rows import Array
from edc_pipeline.events import EventType
from edc_pipeline.market_day import day_bounds

_PROBES = 16
_PROBED_ROWS = 2_000

IN_TIME = ("ts_event", "seq", "created_at")


def wrong_order(block: Array, order: Order = "time") -> Array:
    """The rows of a block that should stand before the one above them."""
    if len(block) < 2:
        return np.empty(0, np.int64)
    late = np.zeros(len(block) - 1, dtype=bool)
    tied = np.ones(len(block) - 1, dtype=bool)
    for name in IN_TIME if order == "time" else ("symbol", *IN_TIME):
        before, after = block[name][:-1], block[name][1:]
        late |= tied & (after < before)
        tied &= after == before
    return np.flatnonzero(late) + 1


def read_back(
    path: Path,
    event_type: EventType,
    day: dt.date,
    digests: list[bytes],
    order: Order,
    taken_over: int = 0,
) -> str | None:
    """What is wrong with a file just written, or None. Of the chunks that were taken over from a
    sound file, and read back then, only the last is looked at: what comes next follows on it."""
    begin = max(0, taken_over - 1)
    first, end = day_bounds(day)

    def look(block: Array) -> tuple[bytes, Array, bool]:
        stamps = block["ts_event"]
        sound = not len(wrong_order(block, order)) and bool(
            first <= stamps.min() and stamps.max() < end
        )
        return digest_of(block), block[[0, -1]].copy(), sound

    with StoredTable(path, event_type) as table:
        last: Array | None = None
        looks = table.each(lambda _c, block: look(block), table.chunks[begin:])
        for number, (digest, ends, sound) in enumerate(looks, begin):
            if number >= len(digests) or digest != digests[number]:
                return f"what was read back is not what was written, in chunk {number}"
            joined = ends if last is None else np.concatenate([last, ends])
            if not sound or len(wrong_order(joined, order)):
                return f"rows are out of order, or of another day, in chunk {number}"
            last = ends[1:]
        if len(table.chunks) != len(digests):
            return f"{len(table.chunks)} chunks were read back, {len(digests)} were written"
        stretches = some_stamps(table)
    if order != "time" or not stretches:
        return None
    with tables.open_file(path) as file:
        return index_fault(file.get_node(f"/{event_type}/table"), stretches)


def some_stamps(table: StoredTable) -> list[tuple[int, Array]]:
    """A few stretches of stamps, each with its first row."""
    if not table.chunks:
        return []
    chosen = np.unique(np.linspace(0, len(table.chunks) - 1, _PROBES).astype(int))
    return [(table.chunks[i].first, table.read(table.chunks[i])["ts_event"].copy()) for i in chosen]


def index_fault(table: tables.Table, stretches: list[tuple[int, Array]]) -> str | None:
    """The time index is asked as pandas asks it, and held against stamps that were read."""
    if not table.cols.ts_event.is_indexed:
        return "there is no index on ts_event: reading a time range is slow"
    for first, stamps in stretches:
        low, high = _inner(stamps)
        if low is None or np.any(stamps[1:] < stamps[:-1]):
            continue  # one stamp throughout; or out of order, which is said elsewhere
        got = table.get_where_list(
            "(ts_event >= low) & (ts_event <= high)",
            condvars={"low": low, "high": high},
            sort=True,
        )
        from_row = first + int(np.searchsorted(stamps, low, "left"))
        to_row = first + int(np.searchsorted(stamps, high, "right"))
        if not np.array_equal(got, np.arange(from_row, to_row)):
            return "the index on ts_event gives other rows than the table holds"
    return None


def _inner(stamps: Array) -> tuple[int | None, int]:
    """A range of stamps that has no row outside of the stretch."""
    inner = stamps[(stamps > stamps[0]) & (stamps < stamps[-1])][:_PROBED_ROWS]
    return (int(inner[0]), int(inner[-1])) if len(inner) else (None, 0)
