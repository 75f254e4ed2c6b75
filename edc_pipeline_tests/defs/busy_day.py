"""A whole busy day in a spool within a second or two, for pictures and for measuring.

Made column by column: a million rows one by one would take a minute.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from edc_pipeline.events import EventType
from edc_pipeline.market_day import midnight_ns
from edc_pipeline.spool.ledger import FrameCounts, Gap, Ledger, Source
from edc_pipeline.spool.micro_batch import write_micro_batch
from edc_pipeline.spool.tables import SCHEMAS

SYMBOLS: Final = ("AAPL", "SPY", "MSFT", "NVDA", "TSLA", "QQQ", "IBM", "BRK.B")
_HOUR_NS: Final = 3_600 * 10**9
_FIXED: Final[dict[str, Any]] = {
    "ts_source": "vendor",
    "asset_class": "equity",
    "seq": -1,
    "occurrence": 0,
    "origin": "live",
    "status": "LIVE",
    "connection": "a",
    "kind": "last",
    "size": 100.0,
    "bid_size": 1.0,
    "ask_size": 2.0,
    **dict.fromkeys(("venue", "event_id", "side", "conditions"), ""),
}


def write_busy_day(
    spool: Path,
    day: dt.date,
    event_type: EventType,
    rows: int,
    *,
    feeds: tuple[tuple[str, str], ...] = (("tiingo", "iex"), ("finnhub", "trades")),
    micro_batches: int = 60,
    gap: bool = True,
    seed: int = 1,
) -> None:
    """Extended hours and a session that is busy at both ends; every feed hears its own part."""
    rng = np.random.default_rng([seed, day.toordinal()])
    first = midnight_ns(day)
    quiet = rows // 8
    hours = [rng.uniform(4, 20, quiet), 9.5 + 6.5 * rng.beta(0.7, 0.7, rows - quiet)]
    stamps = np.sort(first + (np.concatenate(hours) * _HOUR_NS).astype(np.int64))
    symbol, feed = rng.integers(0, len(SYMBOLS), rows), rng.integers(0, len(feeds), rows)
    walks = [100 * (s + 1) * np.exp(np.cumsum(rng.normal(0, 0.02 / rows**0.5, rows)))
             for s in range(len(SYMBOLS))]  # fmt: skip
    price = np.stack(walks)[symbol, np.arange(rows)].round(2)
    late = (rng.lognormal(-3.8 + 0.5 * feed, 0.5, rows) * 1e9).astype(np.int64)
    edges = np.linspace(0, rows, micro_batches + 1).astype(int)
    for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part = slice(begin, end)
        table = _table(
            event_type,
            ts_event=stamps[part],
            symbol=np.array(SYMBOLS, object)[symbol[part]],
            vendor=np.array([v for v, _ in feeds], object)[feed[part]],
            feed=np.array([f for _, f in feeds], object)[feed[part]],
            created_at=(stamps + late)[part],
            price=price[part],
            frame=np.arange(begin, end),
        )
        write_micro_batch(
            spool,
            event_type=event_type,
            day=day,
            collector=f"{day:%Y%m%d}T090000Z-{event_type}",
            first_frame=begin,
            last_frame=end - 1,
            table=table,
        )
    _enter(spool, day, event_type, feeds, np.bincount(feed, minlength=len(feeds)), gap=gap)


def _table(event_type: EventType, **given: Any) -> pa.Table:
    rows = len(given["ts_event"])
    price = given["price"]
    quoted = {"bid_price": (price - 0.01).round(2), "ask_price": (price + 0.01).round(2)}
    columns = []
    for column in SCHEMAS[event_type]:
        values = {**quoted, **given}.get(column.name)
        if values is None:
            values = pa.repeat(pa.scalar(_FIXED[column.name], column.type), rows)
        columns.append(pa.array(values, column.type) if isinstance(values, np.ndarray) else values)
    return pa.Table.from_arrays(columns, schema=SCHEMAS[event_type])


def _enter(
    spool: Path,
    day: dt.date,
    event_type: EventType,
    feeds: tuple[tuple[str, str], ...],
    rows: Any,
    *,
    gap: bool,
) -> None:
    sources = [Source(f"{vendor}_{feed}", vendor, feed) for vendor, feed in feeds]
    begins = midnight_ns(day) + 11 * _HOUR_NS
    gaps = [
        Gap(
            source=sources[0],
            symbol="",
            from_ns=begins,
            to_ns=begins + _HOUR_NS // 3,
            size=None,
            state="closed",
            reason="closed with code 1006",
        )
    ]
    Ledger(spool).flushed(
        f"{day:%Y%m%d}T090000Z-{event_type}",
        through_frame=int(rows.sum()),
        at=midnight_ns(day) + 21 * _HOUR_NS,
        frames={
            (s, day): FrameCounts(received=int(n), with_events=int(n), bytes=120 * int(n))
            for s, n in zip(sources, rows, strict=True)
        },
        events={(s, event_type, day): int(n) for s, n in zip(sources, rows, strict=True)},
        gaps=gaps if gap else [],
    )
