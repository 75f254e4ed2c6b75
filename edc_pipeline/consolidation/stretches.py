"""Two tables abreast: the rows of both of one stretch of time after the other.

Neither is ever held beyond a stretch of it, however the rows of the two lie to each other: a
stretch ends where the first of the two has been read to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final, NamedTuple

import numpy as np

from edc_pipeline.consolidation.h5_read import StoredTable
from edc_pipeline.consolidation.layout import CHUNK_ROWS
from edc_pipeline.consolidation.names import Order
from edc_pipeline.consolidation.record_heaps import RecordHeaps
from edc_pipeline.consolidation.rows import Array

_STRETCH_CHUNKS: Final = 16
_ONE_OF: Final = 64  # stamps looked at, to cut a day into spans of as many rows


def stretch_rows() -> int:
    return _STRETCH_CHUNKS * CHUNK_ROWS


class Stretch(NamedTuple):
    """Rows of both tables, in order of time, with the number of the row as `index`."""

    left: Array
    right: Array
    # An instant with more rows than a stretch holds. Those of its rows that are here are not all
    # of them, on either side: there are some in the stretch before or in the one after.
    split: int | None = None


def stretches(left: Timed, right: Timed) -> Iterator[Stretch]:
    split = None
    while True:
        ends = [end for end in (left.read_to(), right.read_to()) if end is not None]
        until = min(ends, default=None)
        here = left.before(until), right.before(until)
        if until is not None and not len(here[0]) and not len(here[1]):
            split = until
            here = left.before(until + 1), right.before(until + 1)
        yield Stretch(*here, split)
        if until is None:
            return


class Timed:
    """A table given out in order of time, up to an instant."""

    def __init__(
        self, table: StoredTable, dtype: np.dtype[Any], order: Order, open_files: ExitStack
    ) -> None:
        blocks = table.each(lambda _chunk, block: block.astype(dtype))
        if order != "time":
            heaps = open_files.enter_context(RecordHeaps(dtype, stretch_rows()))
            blocks = _in_time(table, blocks, heaps)
        self._blocks = blocks
        self._dtype = dtype
        self._held: deque[Array] = deque()
        self._held_rows = 0
        self._ended = False

    def read_to(self) -> int | None:
        """The last stamp read, once a stretch is held; None if all is read."""
        while not self._ended and self._held_rows < stretch_rows():
            block = next(self._blocks, None)
            if block is None:
                self._ended = True
            elif len(block):
                self._held.append(block)
                self._held_rows += len(block)
        return None if self._ended else int(self._held[-1]["ts_event"][-1])

    def before(self, until: int | None) -> Array:
        """Of what was read, and given out no more."""
        given = []
        while self._held:
            stamps = self._held[0]["ts_event"]
            cut = len(stamps) if until is None else int(np.searchsorted(stamps, until))
            if cut:
                given.append(self._held[0][:cut])
            if cut < len(stamps):
                self._held[0] = self._held[0][cut:]
                break
            self._held.popleft()
        found = np.concatenate([*given, np.empty(0, self._dtype)])
        self._held_rows -= len(found)
        return found


def _in_time(table: StoredTable, blocks: Iterator[Array], heaps: RecordHeaps) -> Iterator[Array]:
    """Rows in another order, dealt out over spans of time, then span by span."""
    some = list(table.each(lambda _chunk, block: block["ts_event"][::_ONE_OF].copy()))
    edges = _edges(np.concatenate([*some, np.empty(0, np.int64)]), table.rows)
    for block in blocks:
        heaps.deal(block, np.searchsorted(edges, block["ts_event"], side="right"))
    for number in range(len(edges) + 1):
        if 0 < number < len(edges) and edges[number] - edges[number - 1] == 1:
            yield from heaps.pieces(number)  # one instant, of any number of rows
            continue
        rows = heaps.take(number)
        rows = rows[np.argsort(rows["ts_event"], kind="stable")]
        for start in range(0, len(rows), CHUNK_ROWS):
            yield rows[start : start + CHUNK_ROWS]


def _edges(stamps: Array, rows: int) -> Array:
    """Where to cut a day into spans of some stretch of rows each. An instant that fills a span has
    one to itself."""
    spans = -(-rows // stretch_rows())
    places = np.linspace(0, len(stamps), spans, endpoint=False).astype(int)[1:]
    edges, times = np.unique(np.sort(stamps)[places], return_counts=True)
    return np.union1d(edges, edges[times > 1] + 1)
