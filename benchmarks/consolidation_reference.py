"""The rule once more, slow and obviously right: plain Python over plain rows, read with pyarrow and
compared with what h5py reads from our file, row by row."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401 - importing it lets h5py read the default codec
import pyarrow.parquet as pq
from consolidation_day import DAY

sys.path.insert(0, str(Path(__file__).parent.parent))
from edc_pipeline.consolidation.names import daily_file
from edc_pipeline.events import COLUMNS, EventType
from edc_pipeline_tests.consolidation.reference import consolidated, number


def differs_from_reference(spool: Path, out: Path, event_type: EventType) -> str | None:
    """Where ours differs from the reference; None where it is equal in every row and column."""
    folder = spool / f"event_type={event_type}" / f"day={DAY.isoformat()}"
    rows: list[dict[str, Any]] = []
    for path in sorted(folder.iterdir(), reverse=True):  # in another order than ours reads them
        rows += pq.read_table(path, partitioning=None).to_pylist()
    expected = consolidated(rows, event_type, {}).rows
    del rows
    names = [c.name for c in COLUMNS[event_type]]
    at = -1
    for at, ours in enumerate(_ours(daily_file(out, event_type, DAY), event_type)):
        if at >= len(expected):
            return f"the reference has {len(expected)} rows, ours has more"
        theirs = tuple(number(expected[at][name]) for name in names)
        if ours != theirs:
            return f"row {at}: ours {ours}, the reference {theirs}"
    return None if at + 1 == len(expected) else f"{at + 1} rows, the reference has {len(expected)}"


def _ours(path: Path, event_type: EventType) -> Iterator[tuple[Any, ...]]:
    text = [c.stored == "text" for c in COLUMNS[event_type]]
    with h5py.File(path) as file:
        table = file[event_type]["table"]
        for start in range(0, len(table), 100_000):
            for row in table[start : start + 100_000].tolist():
                yield tuple(
                    v.decode() if is_text else number(v)
                    for v, is_text in zip(row[1:], text, strict=True)
                )
