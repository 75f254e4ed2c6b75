"""The rows of columns one by one, as live subscribers want them: events, and keys of what they say.

Pure. Of a thousand rows a third of what making them by name costs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, repeat
from typing import Any, Final

from edc_pipeline.events import (
    DEFAULTS,
    EVENT_CLASSES,
    AnyEvent,
    EventType,
    content_columns,
)
from edc_pipeline.vendors.contract import Columns

_AT_ONCE: Final = 0  # of an iterator that is only run: nothing is kept


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of columns."""

    event_type: EventType
    same: Mapping[str, Any]  # of all of them, but for what differs
    differ: Mapping[str, Sequence[Any]]
    ranks: Sequence[int]  # their order among all rows of the read

    def events(self) -> list[AnyEvent]:
        """Copies of the first, made what they are column by column."""
        if not self.ranks:
            return []
        first = {name: values[0] for name, values in self.differ.items()}
        made: Any = EVENT_CLASSES[self.event_type](**{**self.same, **first})
        events: list[AnyEvent] = [made.__copy__() for _ in self.ranks]
        for name, values in self.differ.items():
            deque(map(setattr, events, repeat(name), values), _AT_ONCE)
        return events

    def keys(self) -> list[tuple[object, ...]]:
        """`content_key` of each event."""
        said = {**DEFAULTS[self.event_type], **self.same}
        columns: list[Iterable[Any]] = [
            _told_apart(self.differ[name]) if name in self.differ else repeat(_one(said[name]))
            for name in content_columns(self.event_type)
        ]
        if "ts_source" in self.differ:
            whose = zip(self.differ["ts_source"], self.differ["ts_event"], strict=True)
            columns[0] = [None if source == "receive" else at for source, at in whose]
        elif said["ts_source"] == "receive":
            columns[0] = repeat(None)
        return list(zip(repeat(self.event_type, len(self.ranks)), *columns, strict=False))


def rows_of(found: Columns, received_at: int, symbols: Collection[str] | None = None) -> Rows:
    """All, or those of some symbols."""
    differ: dict[str, Sequence[Any]] = {n: v.tolist() for n, v in found.numbers.items()}
    if "event_id" in differ:
        differ["event_id"] = list(map(str, differ["event_id"]))
    differ |= {name: column.tolist() for name, column in found.coded.items()}
    differ |= found.texts
    ranks = (found.places if found.ranks is None else found.ranks).tolist()
    if symbols is not None:
        wanted = [symbol in symbols for symbol in differ["symbol"]]
        differ = {name: list(compress(values, wanted)) for name, values in differ.items()}
        ranks = list(compress(ranks, wanted))
    return Rows(found.event_type, {**found.constants, "created_at": received_at}, differ, ranks)


def _told_apart(values: Sequence[Any]) -> Sequence[Any]:
    """NaN, which equals nothing, as None."""
    if values and isinstance(values[0], float):
        return [None if value != value else value for value in values]  # noqa: PLR0124
    return values


def _one(value: Any) -> Any:
    return _told_apart([value])[0]
