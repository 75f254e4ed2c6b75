"""The day as its vendors corrected it. A daily file keeps corrections as events and applies none;
this view applies them, for who wants it.

| word in `conditions` | from | what it does in the corrected view |
|---|---|---|
| `break` | Tiingo `B` rows, FMP `B` rows | goes, with the last print before it that it names |
| `deleted` | Tiingo `D` rows | the same |
| `updated` | Tiingo `U` rows | stays, in the place of the last print before it that has its id |

The print named has the same vendor, feed, symbol and venue and, where the correction bears an id,
that id, else the same price and size. A correction that names no print of the day goes nowhere: an
`updated` row stays as it is, the others leave alone.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

REMOVES: Final = frozenset({"break", "deleted"})
REPLACES: Final = frozenset({"updated"})
COLUMNS_NEEDED: Final = (
    *("vendor", "feed", "symbol", "venue", "event_id", "price", "size", "conditions"),
)


def corrected(trades: pa.Table) -> pa.Table:
    """Trades in the order of their time, without those that were taken back."""
    corrections = _corrections(trades)
    if not corrections:
        return trades
    # Only prints of the symbols that were corrected are looked at one by one.
    named = pa.array({symbol for _, _, symbol in corrections}, pa.string())
    places = np.flatnonzero(pc.is_in(_plain(trades["symbol"]), named).to_numpy())
    among = trades.select(COLUMNS_NEEDED).take(places).to_pylist()
    kinds = {row: removes for row, removes, _ in corrections}
    gone: set[int] = set()
    standing: dict[tuple[object, ...], list[int]] = {}
    for place, row in zip(places.tolist(), among, strict=True):
        same = tuple(row[n] for n in ("vendor", "feed", "symbol", "venue"))
        by_id = (*same, "id", row["event_id"])
        by_value = (*same, "value", row["price"], row["size"])
        removes = kinds.get(place)
        if removes is not None:
            former = _last(standing.get(by_id if row["event_id"] else by_value, []), gone)
            if former is not None and (removes or row["event_id"]):
                gone.add(former)
            if removes:
                gone.add(place)
                continue
        if row["event_id"]:
            standing.setdefault(by_id, []).append(place)
        standing.setdefault(by_value, []).append(place)
    kept = np.ones(len(trades), bool)
    kept[sorted(gone)] = False
    return trades.filter(pa.array(kept))


def _corrections(trades: pa.Table) -> list[tuple[int, bool, str]]:
    """(row, whether it removes, symbol) of each correction."""
    conditions = _plain(trades["conditions"])
    words = pa.array([w for w in pc.unique(conditions).to_pylist() if _kind(w) is not None])
    if not len(words):
        return []
    rows = np.flatnonzero(pc.is_in(conditions, words).to_numpy())
    said = conditions.take(rows).to_pylist()
    symbols = _plain(trades["symbol"]).take(rows).to_pylist()
    return [
        (row, bool(_kind(text)), symbol)
        for row, text, symbol in zip(rows.tolist(), said, symbols, strict=True)
    ]


def _kind(conditions: str) -> bool | None:
    """True: it removes a print; False: it replaces one; None: it is no correction."""
    words = set(conditions.split())
    return True if words & REMOVES else False if words & REPLACES else None


def _last(places: list[int], gone: set[int]) -> int | None:
    while places and places[-1] in gone:
        places.pop()
    return places[-1] if places else None


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
