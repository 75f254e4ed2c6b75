"""A day to consolidate, made from a seed: skewed symbols, disorder, repeats of both kinds.

Prints come in bursts at a few hundred symbols of which few are busy (Zipf), stamped in nanoseconds;
one in `ties` shares the stamp of the print before it. Genuine repeats: a print that the vendor
sends twice, in one frame or in two. False repeats: a second connection delivers some of the frames
again, a little later. Rows lie in the order in which they came, which is not that of their stamps.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from edc_pipeline.events import EventType
from edc_pipeline.market_day import midnight_ns
from edc_pipeline.spool.ledger import FrameCounts, Ledger, Source
from edc_pipeline.spool.micro_batch import write_micro_batch
from edc_pipeline.spool.tables import SCHEMAS

DAY: Final = dt.date(2026, 1, 22)
OPEN: Final = midnight_ns(DAY) + 34_200 * 10**9
SPAN_NS: Final = 23_400 * 10**9
SYMBOLS: Final = 3_000
VENDOR: Final = ("bench", "tape")
# On the recorded days 5 % of trades equal another genuine one; of quotes, 8 to 28 % repeat.
GENUINE: Final[dict[str, float]] = {"trade": 0.05, "quote": 0.18, "ref_px": 0.05}
FALSE: Final = 0.02


def peak_rss_mb() -> float:
    """Of this program alone: `ru_maxrss` goes on from what its parent held."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def make_day(spool: Path, event_type: EventType, rows: int, files: int, seed: int = 7) -> int:
    """Fill a spool with a day and its ledger; returns the rows that are no duplicates."""
    files = max(1, min(files, rows))
    false = int(rows * FALSE)
    genuine = rows - false
    written = first_frame = 0
    for at, table in enumerate(_parts(event_type, genuine, false, files, seed)):
        last = first_frame + table.num_rows
        write_micro_batch(
            spool,
            event_type=event_type,
            day=DAY,
            collector="bench",
            first_frame=first_frame,
            last_frame=last,
            table=table,
            name=f"bench-{at:012d}-{at:012d}.parquet",
        )
        first_frame = last + 1
        written += table.num_rows
    assert written == rows
    source = Source("bench-tape", *VENDOR)
    Ledger(spool).flushed(
        "bench",
        through_frame=first_frame,
        at=OPEN,
        frames={(source, DAY): FrameCounts(received=rows, with_events=rows, bytes=100 * rows)},
        events={(source, event_type, DAY): rows},
    )
    return genuine


def _parts(
    event_type: EventType, genuine: int, false: int, files: int, seed: int
) -> Iterator[pa.Table]:
    """The day file by file, so that 100M rows need no more memory than one of its parts."""
    for at in range(files):
        dice = np.random.default_rng((seed, at))
        here = genuine * (at + 1) // files - genuine * at // files
        again = false * (at + 1) // files - false * at // files
        begin, end = OPEN + SPAN_NS * at // files, OPEN + SPAN_NS * (at + 1) // files
        yield _part(event_type, dice, here, again, begin, end, first_frame=at * 10**7)


def _part(
    event_type: EventType,
    dice: np.random.Generator,
    genuine: int,
    again: int,
    begin: int,
    end: int,
    first_frame: int,
) -> pa.Table:
    rate = GENUINE[event_type]
    new = dice.random(genuine) >= rate
    if genuine:
        new[0] = True
    source = np.maximum.accumulate(np.where(new, np.arange(genuine), 0))  # a repeat repeats it
    stamps = np.sort(dice.integers(begin, end, genuine))
    stamps = np.where(dice.random(genuine) < 0.1, np.roll(stamps, 1), stamps)  # ties
    weight = 1.0 / np.arange(1, SYMBOLS + 1) ** 1.1
    symbols = dice.choice(SYMBOLS, genuine, p=weight / weight.sum()).astype(np.int32)
    columns: dict[str, Any] = {
        "ts_event": stamps[source],
        "symbol": symbols[source],
        "venue": dice.integers(0, 12, genuine, dtype=np.int32)[source],
        **{n: v[source] for n, v in _numbers(event_type, dice, symbols).items()},
    }
    # Received some milliseconds after it happened, with a tail: arrival is out of order.
    late = (2e6 + dice.lognormal(14.5, 0.8, genuine)).astype(np.int64)
    created = columns["ts_event"] + np.minimum(late, 2 * 10**9)
    # Half of the repeats lie in the frame of what they repeat, half in one of their own.
    same_frame = ~new & (dice.random(genuine) < 0.5)
    previous = np.roll(created, 1)
    created = np.where(same_frame, previous, created)
    created = np.where(~new & ~same_frame, np.maximum(created, previous + 1_000), created)
    frame = first_frame + np.cumsum(~same_frame)
    copy = np.arange(genuine) - np.maximum.accumulate(np.where(same_frame, 0, np.arange(genuine)))
    connection = np.zeros(genuine, np.int32)
    columns |= {"created_at": created, "frame": frame, "occurrence": copy.astype(np.int32)}
    columns["connection"] = connection
    if again:
        # Whole frames, so that both connections deliver the same copies of what they deliver.
        chosen = np.sort(dice.choice(genuine, again, replace=False))
        twice = {name: values[chosen] for name, values in columns.items()}
        twice["created_at"] = twice["created_at"] + dice.integers(10_000, 5_000_000, again)
        twice["frame"] = twice["frame"] + 5 * 10**6
        twice["connection"] = np.ones(again, np.int32)
        columns = {n: np.concatenate([columns[n], twice[n]]) for n in columns}
    came = np.argsort(columns["created_at"], kind="stable")
    return _table(event_type, {name: values[came] for name, values in columns.items()})


def _numbers(
    event_type: EventType, dice: np.random.Generator, symbols: np.ndarray
) -> dict[str, np.ndarray]:
    n = len(symbols)
    price = np.round(5 + symbols % 700 + dice.normal(0, 1, n).cumsum() % 3, 2)
    lots = dice.geometric(0.02, (n, 2)).astype(np.float64)
    if event_type == "quote":
        return {
            "bid_price": price,
            "bid_size": lots[:, 0] * 100,
            "ask_price": np.round(price + dice.integers(1, 5, n) / 100, 2),
            "ask_size": lots[:, 1] * 100,
        }
    if event_type == "trade":
        size = np.where(dice.random(n) < 0.3, 100.0, lots[:, 0])
        return {"price": price, "size": size, "conditions": dice.integers(0, 6, n, dtype=np.int32)}
    return {"price": price, "size": np.full(n, np.nan)}


_TEXTS: Final[dict[str, list[str]]] = {
    "symbol": [f"{chr(65 + i % 26)}{chr(65 + i // 26 % 26)}{i:X}" for i in range(SYMBOLS)],
    "venue": list("ABCDJKMNPQVZ"),
    "connection": ["a", "b"],
    "conditions": ["", "@", "@ I", "@ F", "@ F I", "@ T"],
}
_ONE: Final[dict[str, Any]] = {
    "ts_source": "vendor",
    "asset_class": "equity",
    "vendor": VENDOR[0],
    "feed": VENDOR[1],
    "event_id": "",
    "seq": -1,
    "origin": "live",
    "status": "LIVE",
    "side": "",
    "kind": "last",
}


def _table(event_type: EventType, columns: dict[str, np.ndarray]) -> pa.Table:
    rows = len(columns["ts_event"])
    arrays = []
    for field in SCHEMAS[event_type]:
        if field.name in _TEXTS and field.name in columns:
            texts = pa.array(_TEXTS[field.name])
            arrays.append(texts.take(pa.array(columns[field.name])))
        elif field.name in columns:
            arrays.append(pa.array(columns[field.name], field.type))
        else:
            arrays.append(pa.repeat(pa.scalar(_ONE[field.name], field.type), rows))
    return pa.Table.from_arrays(arrays, schema=SCHEMAS[event_type])
