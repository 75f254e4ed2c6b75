"""Prices that cannot be meant: zero or negative ones, and quotes whose bid is above their ask.

They are kept in the file as the vendor sent them; this finds and names them. Knows no Dagster.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edc_pipeline.events import EventType

_BLOCK_ROWS: Final = 262_144

_PRICES: Final[dict[EventType, tuple[str, ...]]] = {
    "trade": ("price",),
    "quote": ("bid_price", "ask_price"),
    "ref_px": ("price",),
}


@dataclass(frozen=True, slots=True)
class InsaneRow:
    row: int
    what: str
    ts_event: int
    symbol: str
    vendor: str
    feed: str
    values: str


@dataclass(slots=True)
class Insane:
    """All are counted, the first are shown."""

    rows: int = 0
    by_fault: dict[str, int] = field(default_factory=dict)
    shown: list[InsaneRow] = field(default_factory=list)

    @property
    def in_words(self) -> str:
        faults = [f"{n:,} {what.replace('_', ' ')}" for what, n in self.by_fault.items() if n]
        return ", ".join(faults) or "every price is positive, no quote is crossed"


def find_insane(path: Path, event_type: EventType, *, show: int) -> Insane:
    import numpy as np  # noqa: PLC0415

    found = Insane(by_fault=dict.fromkeys(_faults(event_type), 0))
    start = 0
    for block in _blocks(path, event_type):
        masks = faulty(event_type, block)
        for what, mask in masks.items():
            found.by_fault[what] += int(mask.sum())
        faulty_rows = np.flatnonzero(np.logical_or.reduce(list(masks.values())))
        found.rows += len(faulty_rows)
        for at in faulty_rows[: show - len(found.shown)].tolist():
            what = ", ".join(w.replace("_", " ") for w, mask in masks.items() if mask[at])
            found.shown.append(_shown(start + at, what, block[at], event_type))
        start += len(block)
    return found


def faulty(event_type: EventType, block: Any) -> dict[str, Any]:
    """A mask of rows for each fault. NaN means not given, and is no fault: it compares false."""
    import numpy as np  # noqa: PLC0415

    prices = [block[name] for name in _PRICES[event_type]]
    masks = {"non_positive": np.logical_or.reduce([p <= 0 for p in prices])}
    if event_type == "quote":
        masks["crossed"] = block["bid_price"] > block["ask_price"]
    return masks


def _faults(event_type: EventType) -> tuple[str, ...]:
    return ("non_positive", "crossed") if event_type == "quote" else ("non_positive",)


def _blocks(path: Path, event_type: EventType) -> Iterator[Any]:
    import tables  # noqa: PLC0415

    with tables.open_file(path) as file:
        table = file.get_node(f"/{event_type}/table")
        for start in range(0, table.nrows, _BLOCK_ROWS):
            yield table.read(start, start + _BLOCK_ROWS)


def _shown(row: int, what: str, record: Any, event_type: EventType) -> InsaneRow:
    return InsaneRow(
        row=row,
        what=what,
        ts_event=int(record["ts_event"]),
        symbol=record["symbol"].decode("utf-8", "replace"),
        vendor=record["vendor"].decode("utf-8", "replace"),
        feed=record["feed"].decode("utf-8", "replace"),
        values=", ".join(f"{name} {record[name]:g}" for name in _PRICES[event_type]),
    )
