"""Rows that bear the id of another row with other content: kept, counted and listed.

Ids are few numbers a row, but a day has many: a hash of each goes to the disk, and only rows whose
hash another row shares are looked at again, in the file that was written, and compared in full.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from edc_pipeline.consolidation.h5_read import Chunk, StoredTable
from edc_pipeline.consolidation.identity import Rules, under_id_rule
from edc_pipeline.consolidation.rows import Array, Rows

ID_COLUMNS: Final = ("vendor", "feed", "symbol", "venue", "event_id")
_ENTRY: Final = np.dtype([("digest", "<u8"), ("row", "<i8")])
_AT_ONCE: Final = 4_000_000  # entries compared in one go: 64 MB


class NearDuplicates:
    """Fed with the rows kept, in their order; then asked which of them share an id."""

    def __init__(self, path: Path, rules: Rules) -> None:
        self._path = path
        self._rules = rules
        self._rows = 0
        self._entries = 0

    def add(self, rows: Rows, order: Array) -> None:
        known = under_id_rule(rows, self._rules, order)
        if known.any():
            entries = np.empty(int(known.sum()), _ENTRY)
            entries["row"] = self._rows + np.flatnonzero(known)
            entries["digest"] = _digests(rows, order[known])
            with self._path.open("ab") as file:
                file.write(entries.tobytes())
            self._entries += len(entries)
        self._rows += len(order)

    def take(self, rows: Rows | None, count: int) -> None:
        """So many rows that lie in order already; None: none of them bears an id."""
        if rows is not None:
            self.add(rows, np.arange(count))
        else:
            self._rows += count

    def candidates(self) -> Array:
        """Rows whose id may be that of another row, in order."""
        if not self._entries:
            return np.empty(0, np.int64)
        entries = np.memmap(self._path, _ENTRY, "r")
        pieces = np.uint64(-(-len(entries) // _AT_ONCE))
        found = [_shared(entries, piece, pieces) for piece in range(int(pieces))]
        return np.sort(np.concatenate(found))


def _digests(rows: Rows, at: Array) -> Array:
    digest = np.zeros(len(at), np.uint64)
    for name in ID_COLUMNS:
        text = rows.texts[name]
        words = pl.Series(text.words, dtype=pl.Binary).hash(seed=0).to_numpy()
        codes = 0 if text.codes is None else text.codes[at]
        digest ^= words[codes]
        digest *= np.uint64(0xFF51AFD7ED558CCD)
        digest ^= digest >> np.uint64(33)
    return digest


def _shared(entries: Any, piece: int, pieces: np.uint64) -> Array:
    mine: list[Array] = []
    for start in range(0, len(entries), _AT_ONCE):
        part = np.asarray(entries[start : start + _AT_ONCE])
        mine.append(part[part["digest"] % pieces == piece])
    part = np.concatenate(mine)
    part = part[np.argsort(part["digest"], kind="stable")]
    same = np.zeros(len(part), bool)
    same[1:] = part["digest"][1:] == part["digest"][:-1]
    same[:-1] |= same[1:]
    return np.asarray(part["row"][same])


def near_duplicates(
    table: StoredTable, candidates: Array
) -> tuple[Array, Counter[tuple[str, str]]]:
    """(rows that share their id with another row, and for each product the rows beyond the first
    of each id), of candidates, as they stand in a file."""
    if not len(candidates):
        return np.empty(0, np.int64), Counter()
    chunks = [
        c
        for c in table.chunks
        if np.searchsorted(candidates, c.first) < np.searchsorted(candidates, c.first + c.rows)
    ]
    keys: list[tuple[bytes, ...]] = []
    for part in table.each(lambda c, block: _keys(c, block, candidates), chunks):
        keys += part
    times = Counter(keys)
    listed = [row for row, key in zip(candidates.tolist(), keys, strict=True) if times[key] > 1]
    more: Counter[tuple[str, str]] = Counter()
    for key, n in times.items():
        if n > 1:
            more[key[0].decode(), key[1].decode()] += n - 1
    return np.array(listed, np.int64), more


def _keys(chunk: Chunk, block: Array, candidates: Array) -> list[tuple[bytes, ...]]:
    low, high = np.searchsorted(candidates, [chunk.first, chunk.first + chunk.rows])
    rows = block[candidates[low:high] - chunk.first]
    return list(zip(*(rows[name].tolist() for name in ID_COLUMNS), strict=True))
