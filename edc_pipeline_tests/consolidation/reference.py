"""The identity rule once more, slow and plain: what a row is, what is the same, what stays.

Written from the contract and not from `identity.py`; it shares only the table of columns with it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edc_pipeline.events import COLUMNS, EventType

PlainRow = dict[str, Any]


@dataclass
class Answer:
    rows: list[PlainRow]
    redelivered: int
    other_connection: int
    same_id: int
    near_duplicates: int


def number(value: Any) -> Any:
    """A value that Python compares as the contract does: NaN equals NaN and is the largest."""
    if isinstance(value, float):
        return (1, 0.0) if value != value else (0, value + 0.0)  # noqa: PLR0124 - NaN
    return value


def content(row: PlainRow, event_type: EventType) -> tuple[Any, ...]:
    own_clock = row["ts_source"] == "receive"
    names = [c.name for c in COLUMNS[event_type] if c.content]
    return tuple(number(row[c]) for c in names if not (c == "ts_event" and own_clock))


def came(row: PlainRow) -> tuple[Any, ...]:
    return tuple(
        row[c] for c in ("created_at", "frame", "ts_event", "origin", "status", "connection")
    )


def consolidated(
    rows: Sequence[PlainRow],
    event_type: EventType,
    by_id: Mapping[tuple[str, str], bool],
    stated: Collection[tuple[str, str]] = (),
) -> Answer:
    physical: dict[Any, PlainRow] = {}
    for row in sorted(rows, key=came):
        key = (content(row, event_type), row["connection"], row["frame"], row["occurrence"])
        physical.setdefault(key, row)
    once = list(physical.values())

    kept: list[PlainRow] = []
    same_id = other_connection = 0
    alike: dict[Any, list[PlainRow]] = defaultdict(list)
    for row in once:
        alike[content(row, event_type)].append(row)
    for copies in alike.values():
        one = copies[0]
        feed = one["vendor"], one["feed"]
        if (one["event_id"] and by_id.get(feed, False)) or (
            one["ts_source"] == "vendor" and feed in stated
        ):
            kept.append(min(copies, key=came))
            same_id += len(copies) - 1
            continue
        delivered: dict[str, list[PlainRow]] = defaultdict(list)
        for row in copies:
            delivered[row["connection"]].append(row)
        for rows_of_one in delivered.values():
            rows_of_one.sort(key=lambda r: (r["created_at"], r["frame"], r["occurrence"]))
        most = max(map(len, delivered.values()))
        for j in range(most):
            kept.append(min((r[j] for r in delivered.values() if len(r) > j), key=came))
        other_connection += len(copies) - most

    ids: dict[Any, set[Any]] = defaultdict(set)
    for row in kept:
        if row["event_id"] and by_id.get((row["vendor"], row["feed"]), False):
            key = tuple(row[c] for c in ("vendor", "feed", "symbol", "venue", "event_id"))
            ids[key].add(content(row, event_type))

    return Answer(
        rows=_in_order(_numbered(kept, event_type), event_type),
        redelivered=len(rows) - len(once),
        other_connection=other_connection,
        same_id=same_id,
        near_duplicates=sum(len(c) - 1 for c in ids.values()),
    )


def _numbered(kept: list[PlainRow], event_type: EventType) -> list[PlainRow]:
    seen: dict[Any, int] = defaultdict(int)
    numbered = []
    for row in sorted(kept, key=lambda r: (r["ts_event"], *came(r))):
        key = content(row, event_type)
        numbered.append({**row, "occurrence": seen[key]})
        seen[key] += 1
    return numbered


def _in_order(rows: list[PlainRow], event_type: EventType) -> list[PlainRow]:
    rest = [c.name for c in COLUMNS[event_type] if c.content]
    first = ("ts_event", "seq", "created_at", "frame")
    rows = sorted(
        rows,
        key=lambda r: (
            *(r[c] for c in first),
            *(number(r[c]) for c in rest if c not in first),
            r["occurrence"],
        ),
    )
    return [
        {
            c.name: (row[c.name] + 0.0 if c.stored == "float64" else row[c.name])
            for c in COLUMNS[event_type]
        }
        for row in rows
    ]
