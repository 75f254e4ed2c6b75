"""Small spools with a ledger, as capture would leave them."""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edc_pipeline.events import EVENT_CLASSES, AnyEvent, EventType, number_occurrences
from edc_pipeline.market_day import midnight_ns
from edc_pipeline.spool.ledger import FrameCounts, Ledger, Source
from edc_pipeline.spool.micro_batch import write_micro_batch
from edc_pipeline.spool.tables import rows_to_table

DAY: Final = dt.date(2026, 1, 22)
OPEN: Final = midnight_ns(DAY) + 34_200 * 10**9  # 09:30 in New York


@dataclass(frozen=True)
class Row:
    """An event and how it came: what a micro-batch holds."""

    event: AnyEvent
    connection: str
    frame: int


def event(event_type: EventType = "trade", **fields: Any) -> AnyEvent:
    prices: dict[EventType, dict[str, Any]] = {
        "trade": {"price": 100.0, "size": 1.0},
        "quote": {"bid_price": 99.0, "bid_size": 1.0, "ask_price": 101.0, "ask_size": 2.0},
        "ref_px": {"price": 100.0, "kind": "last"},
    }
    values = {
        "ts_event": OPEN,
        "symbol": "SPY",
        "asset_class": "etf",
        "vendor": "acme",
        "feed": "tape",
        "created_at": OPEN + 1_000_000,
        **prices[event_type],
        **fields,
    }
    return EVENT_CLASSES[event_type](**values)


def frames(
    contents: Iterable[Sequence[AnyEvent]], connection: str = "a", first_frame: int = 0
) -> list[Row]:
    """Each group of events as one frame of one connection, occurrences numbered as at capture."""
    rows = []
    for frame, events in enumerate(contents, first_frame):
        number_occurrences(events)
        rows += [Row(event, connection, frame) for event in events]
    return rows


def write_batches(
    spool: Path,
    batches: Sequence[Sequence[Row]],
    *,
    event_type: EventType = "trade",
    day: dt.date = DAY,
    collector: str = "one",
    ledger: bool = True,
    first_number: int = 0,
) -> list[Path]:
    """One micro-batch for each group of rows, and what the ledger says of them."""
    paths = []
    for number, rows in enumerate(batches, first_number):
        if rows:
            path, _ = write_micro_batch(
                spool,
                event_type=event_type,
                day=day,
                collector=collector,
                first_frame=number * 1000,
                last_frame=number * 1000 + 999,
                table=rows_to_table(
                    event_type,
                    [r.event for r in rows],
                    [r.connection for r in rows],
                    [r.frame for r in rows],
                ),
            )
            paths.append(path)
    if ledger:
        enter(spool, [row for rows in batches for row in rows], event_type, day, collector)
    return paths


def enter(
    spool: Path,
    rows: Sequence[Row],
    event_type: EventType = "trade",
    day: dt.date = DAY,
    collector: str = "one",
) -> None:
    """The ledger entry that a collector makes after its micro-batches."""
    given: Counter[Source] = Counter()
    frames_of: defaultdict[Source, set[tuple[str, int]]] = defaultdict(set)
    for row in rows:
        source = Source(f"{row.event.vendor}-{row.event.feed}", row.event.vendor, row.event.feed)
        given[source] += 1
        frames_of[source].add((row.connection, row.frame))
    book = Ledger(spool)
    book.flushed(
        collector,
        through_frame=max((row.frame for row in rows), default=0),
        at=OPEN,
        frames={
            (source, day): FrameCounts(received=len(f), with_events=len(f), bytes=100 * len(f))
            for source, f in frames_of.items()
        },
        events={(source, event_type, day): n for source, n in given.items()},
    )


def split(rows: Sequence[Row], parts: int) -> list[list[Row]]:
    return [list(rows[i::parts]) for i in range(parts)]
