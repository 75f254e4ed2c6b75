"""Where a day is cut into slices of time that hold about as many rows each, and none many more.

A footer says how many rows a micro-batch holds, and its first and last instant. Taken to lie evenly
in between they give the cuts of a usual day, whose micro-batches last seconds. Where those that lie
across a cut could make a slice too large (a backfill, a clock that strays, the opening minutes),
their stamps are looked at: that column alone, and of that only some.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from edc_pipeline.consolidation.plan import Batch
from edc_pipeline.consolidation.rows import Array
from edc_pipeline.spool.micro_batch import DAMAGE

# A slice may hold so many times the rows wanted before more is looked at.
_SLACK: Final = 1.25
_LOOKS: Final = 16
# Stamps kept of all that is looked at: 262,144 place a cut of 8M rows to within some hundred.
_KEPT: Final = 1 << 18


class Cuts(NamedTuple):
    at: list[int]  # the instants at which slices begin, but for the first
    full: list[int]  # those that hold more rows than a slice, each a slice of its own

    def slice_of(self, stamps: Array) -> Array:
        return np.searchsorted(np.array(self.at, np.int64), stamps, side="right")


def cuts(batches: Sequence[Batch], slice_rows: int) -> Cuts:
    there = [b for b in batches if b.footer.rows]
    if sum(b.footer.rows for b in there) <= slice_rows:
        return Cuts([], [])
    stamps = _Stamps(there, slice_rows)
    at = stamps.cut()
    for _ in range(_LOOKS):
        doubtful = stamps.doubtful(at)
        if not len(doubtful):
            break
        for number in doubtful.tolist():
            stamps.look_at(number)
        at = stamps.cut()
    full = stamps.full()
    return Cuts(sorted({*at, *full, *(instant + 1 for instant in full)}), full)


class _Stamps:
    """What is known of when the rows of some micro-batches happened."""

    def __init__(self, batches: Sequence[Batch], slice_rows: int) -> None:
        self._batches = batches
        self._most = slice_rows * _SLACK
        self._first = np.array([b.footer.min_ts_event for b in batches], np.int64)
        self._last = np.array([b.footer.max_ts_event for b in batches], np.int64)
        self._rows = np.array([b.footer.rows for b in batches], np.float64)
        self._total = int(self._rows.sum())
        self._pieces = -(-self._total // slice_rows)
        # Rows of one instant are known to lie there.
        self._even = self._first < self._last  # taken to lie evenly
        self._looked = ~self._even
        self._seen = [(self._first[~self._even], self._rows[~self._even])]  # (instants, rows)

    def look_at(self, number: int) -> None:
        """A micro-batch that cannot be read is found out when it is read in earnest."""
        self._looked[number] = True
        batch = self._batches[number]
        try:
            with pq.ParquetFile(batch.path) as file:
                column = file.read(["ts_event"], use_threads=False)["ts_event"]
            stamps = np.sort(column.to_numpy(), kind="stable")
        except (*DAMAGE, OSError):
            return
        if not len(stamps) or stamps.dtype != np.int64:
            return
        every = max(1, self._total // _KEPT)
        # Not of each the first, which would lie early throughout.
        kept = stamps[number * 7919 % min(every, len(stamps)) :: every]
        self._even[number] = False
        self._seen.append((kept, np.full(len(kept), self._rows[number] / len(kept))))

    def _instants(self) -> tuple[Array, Array]:
        """(instants at which rows are known to lie, in order; how many)"""
        stamps = np.concatenate([stamps for stamps, _ in self._seen])
        rows = np.concatenate([rows for _, rows in self._seen])
        instants, which = np.unique(stamps, return_inverse=True)
        return instants, np.bincount(which, rows, minlength=len(instants))

    def cut(self) -> list[int]:
        """Into pieces of as many rows each."""
        instants, rows = self._instants()
        first, end = self._first[self._even], self._last[self._even] + 1
        edges = np.unique(np.concatenate([first, end, instants, instants + 1]))
        # Rows a nanosecond, added where a micro-batch begins and taken off where it ends.
        rate = np.zeros(len(edges))
        per_ns = self._rows[self._even] / (end - first)
        np.add.at(rate, np.searchsorted(edges, first), per_ns)
        np.add.at(rate, np.searchsorted(edges, end), -per_ns)
        held = np.concatenate([[0.0], np.cumsum(np.cumsum(rate)[:-1] * np.diff(edges))])
        held += np.concatenate([[0.0], np.cumsum(rows)])[np.searchsorted(instants, edges)]
        wanted = np.arange(1, self._pieces) * (self._total / self._pieces)
        since = np.interp(wanted, held, (edges - edges[0]).astype(np.float64))
        found = edges[0] + since.astype(np.int64)
        return sorted({int(cut) for cut in found if cut > edges[0]})

    def doubtful(self, at: list[int]) -> Array:
        """The micro-batches to look at: across a cut, in a slice that may hold too many rows."""
        low, high = (np.searchsorted(at, ends, side="right") for ends in (self._first, self._last))
        most = np.zeros(len(at) + 2)
        np.add.at(most, low[self._even], self._rows[self._even])
        np.add.at(most, high[self._even] + 1, -self._rows[self._even])
        instants, rows = self._instants()
        known = np.bincount(np.searchsorted(at, instants, side="right"), rows, len(at) + 1)
        too_many = np.cumsum(most)[:-1] + known > self._most
        before = np.concatenate([[0], np.cumsum(too_many)])
        return np.flatnonzero(~self._looked & (low < high) & (before[high + 1] > before[low]))

    def full(self) -> list[int]:
        instants, rows = self._instants()
        found: list[int] = instants[rows > self._most].tolist()
        return found
