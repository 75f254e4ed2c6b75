"""The day as its vendors corrected it. A daily file keeps corrections as events and applies none;
this view applies them, for who wants it. Which words do what stands in `correction_words`.

A correction that bears an id names all rows with that id (of the same vendor, feed, symbol and
venue): the print as it was heard live, the same with a mark when it was asked for later, and the
record that says so. Of several corrections of an id the last one holds. One without an id names the
last print before it with the same price and size; one that finds none goes, if it takes back, and
stays, if it replaces.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from math import isnan
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from edc_pipeline.consolidation.correction_words import WORDS, Effect, effect_of
from edc_pipeline.consolidation.rows import Array

COLUMNS_NEEDED: Final = (
    *("vendor", "feed", "symbol", "venue", "event_id", "price", "size", "conditions"),
)

_Row = Mapping[str, Any]
_ALL_WORDS: Final = frozenset(word for words in WORDS.values() for word in words)


def corrected(trades: pa.Table) -> pa.Table:
    """Trades in the order of their time, without those that were taken back."""
    kept = standing(trades)
    return trades if kept is None else trades.filter(pa.array(kept))


def standing(trades: pa.Table) -> Array | None:
    """Which of the trades were not taken back; None: all."""
    effects = _effects(trades)
    if not effects:
        return None
    places = _concerned(trades, list(effects))
    rows = _rows(trades, places)
    among = dict(zip(places.tolist(), rows, strict=True))
    gone = _by_id(among, effects)
    gone |= _by_value(among, effects, gone)
    gone |= {place for place, effect in effects.items() if effect is not Effect.REPLACES}
    kept = np.ones(len(trades), bool)
    kept[sorted(gone)] = False
    return kept


def _effects(trades: pa.Table) -> dict[int, Effect]:
    """What each correction does, by its row."""
    conditions = _plain(trades["conditions"])
    said = [w for w in pc.unique(conditions).to_pylist() if not _ALL_WORDS.isdisjoint(w.split())]
    if not said:
        return {}
    places = np.flatnonzero(pc.is_in(conditions, pa.array(said)).to_numpy())
    found = {
        place: effect_of(row["vendor"], row["conditions"])
        for place, row in zip(places.tolist(), _rows(trades, places), strict=True)
    }
    return {place: effect for place, effect in found.items() if effect is not None}


def _concerned(trades: pa.Table, corrections: list[int]) -> Array:
    """The corrections and the few rows that one of them might name: looked at one by one, the
    prints of a busy symbol would take seconds."""
    rows = _rows(trades, np.array(corrections))
    symbols = pa.array({row["symbol"] for row in rows}, pa.string())
    ids = pa.array({row["event_id"] for row in rows} - {""}, pa.string())
    prices = np.array([row["price"] for row in rows if not row["event_id"]])
    of_symbol = np.flatnonzero(pc.is_in(_plain(trades["symbol"]), symbols).to_numpy())
    own_ids = pc.is_in(_plain(trades["event_id"]).take(of_symbol), ids).to_numpy()
    own_price = np.isin(trades["price"].take(of_symbol).to_numpy(), prices)
    return np.union1d(of_symbol[own_ids | own_price], corrections)


def _by_id(among: Mapping[int, _Row], effects: Mapping[int, Effect]) -> set[int]:
    copies: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for place, row in among.items():
        if row["event_id"]:
            copies[(*_product(row), row["event_id"])].append(place)
    gone: set[int] = set()
    for places in copies.values():
        said = [p for p in places if effects.get(p) in (Effect.TAKES_BACK, Effect.REPLACES)]
        if said:
            gone.update(places)
            if effects[said[-1]] is Effect.REPLACES:
                gone.remove(said[-1])
    return gone


def _by_value(
    among: Mapping[int, _Row], effects: Mapping[int, Effect], gone: Iterable[int]
) -> set[int]:
    """Corrections without an id, in the order of time."""
    found: set[int] = set()
    standing: dict[tuple[object, ...], list[int]] = defaultdict(list)
    left = set(gone)
    for place, row in among.items():
        value = (*_product(row), row["price"], _comparable(row["size"]))
        effect = effects.get(place)
        if effect is Effect.TAKES_BACK and not row["event_id"]:
            if standing[value]:
                found.add(standing[value].pop())
        elif effect in (None, Effect.REPLACES) and place not in left:
            standing[value].append(place)
    return found


def _product(row: _Row) -> tuple[object, ...]:
    return tuple(row[name] for name in ("vendor", "feed", "symbol", "venue"))


def _comparable(size: float) -> float | None:
    """NaN equals nothing; two prints without a size are equal in it."""
    return None if isnan(size) else size


def _rows(trades: pa.Table, places: Array) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = trades.select(COLUMNS_NEEDED).take(places).to_pylist()
    return rows


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(pa.string()) if pa.types.is_dictionary(column.type) else column
