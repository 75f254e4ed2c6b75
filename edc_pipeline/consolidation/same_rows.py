"""Are any two rows of a table the same event? By another road than the one that settled it: over
the bytes of the records, with what is no content blanked out."""

from __future__ import annotations

from collections import Counter
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import numpy as np

from edc_pipeline.consolidation.record_heaps import RecordHeaps
from edc_pipeline.consolidation.row_digests import ContentDigests
from edc_pipeline.consolidation.rows import Array
from edc_pipeline.events import EventType

_MOST_HELD: Final = 1 << 14  # rows of one stamp, from one block to the next
_KEPT: Final = np.dtype([("a", "<u8"), ("b", "<u8"), ("n", "<i4"), ("row", "<i8")])
_KEPT_ROWS: Final = 1 << 20  # in memory; beyond, on the disk
_HEAPS: Final = 64  # of 100M rows, 1.6M each


class WrongCopy(NamedTuple):
    row: int
    copy: int  # it is this copy of its content
    occurrence: int  # and says that


class SameRows:
    """Fed with a table's blocks in order. Rows of one content share a stamp, and so lie together,
    but for those that bear our own receive time: of these, and of those of an instant with many
    rows, 28 bytes each are kept until the end."""

    def __init__(self, event_type: EventType, dtype: np.dtype[Any]) -> None:
        self._digests = ContentDigests(event_type, dtype)
        self.wrong: list[WrongCopy] = []
        self.wrong_rows = 0
        # By product, rows that are another copy: those with an id, and those the vendor stamped.
        self.repeated_ids: Counter[str] = Counter()
        self.repeated_stamps: Counter[str] = Counter()
        self._held: Array | None = None  # rows of a stamp that may go on in the next block
        self._seen = 0
        self._busy: int | None = None  # a stamp with too many rows to be held
        self._kept = RecordHeaps(_KEPT, _KEPT_ROWS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._kept.__exit__(kind, error, _)

    def take(self, block: Array) -> None:
        first = self._seen
        self._seen += len(block)
        if self._busy is not None:
            on = _run(block["ts_event"] == self._busy)
            self._look_later(block[:on], first)
            block, first = block[on:], first + on
            if not len(block):
                return
            self._busy = None
        if self._held is not None:
            block = np.concatenate([self._held, block])
            first -= len(self._held)
            self._held = None
        begin = len(block) - _run((block["ts_event"] == block["ts_event"][-1])[::-1])
        self._look(block[:begin], first)
        if len(block) - begin > _MOST_HELD:
            self._busy = int(block["ts_event"][-1])
            self._look_later(block[begin:], first + begin)
        else:
            self._held = block[begin:].copy()

    def finish(self) -> None:
        if self._held is not None:
            self._look(self._held, self._seen - len(self._held))
            self._held = None
        if self._kept.on_disk:
            for heap in range(_HEAPS):
                self._look_at_kept(self._kept.take(heap))
        else:
            self._look_at_kept(self._kept.everything())
        self.wrong.sort()

    def _look(self, block: Array, first: int) -> None:
        numbered, own = self._count(block)
        if own.any():
            places = np.flatnonzero(own)
            self._keep(block[places], first + places)
        stamps = block["ts_event"]
        shared = np.zeros(len(block), bool)
        shared[1:] = stamps[1:] == stamps[:-1]
        shared[:-1] |= shared[1:]
        places = np.flatnonzero((shared | numbered) & ~own)
        if len(places):
            near = block[places]
            digest, _ = self._digests.of(near)
            order = np.argsort(digest, kind="stable")
            same = np.zeros(len(order), bool)
            same[1:] = digest[order][1:] == digest[order][:-1]
            self._say(_copies(same), near["occurrence"][order], first + places[order])

    def _look_later(self, block: Array, first: int) -> None:
        self._count(block)
        self._keep(block, np.arange(first, first + len(block)))

    def _count(self, block: Array) -> tuple[Array, Array]:
        """Which rows are another copy, and which bear our own time."""
        numbered = block["occurrence"] > 0
        own = block["ts_source"] == b"receive"
        self.repeated_ids.update(_products(block, numbered & (block["event_id"] != b"")))
        self.repeated_stamps.update(_products(block, numbered & ~own))
        return numbered, own

    def _keep(self, records: Array, rows: Array) -> None:
        kept = np.empty(len(records), _KEPT)
        kept["a"], kept["b"] = self._digests.of(records)
        kept["n"], kept["row"] = records["occurrence"], rows
        self._kept.deal(kept, (kept["a"] % np.uint64(_HEAPS)).astype(np.int16))

    def _look_at_kept(self, kept: Array) -> None:
        order = np.lexsort([kept["row"], kept["b"], kept["a"]])
        kept = kept[order]
        same = np.zeros(len(kept), bool)
        same[1:] = (kept["a"][1:] == kept["a"][:-1]) & (kept["b"][1:] == kept["b"][:-1])
        self._say(_copies(same), kept["n"], kept["row"])

    def _say(self, copies: Array, says: Array, rows: Array) -> None:
        wrong = np.flatnonzero(copies != says)
        self.wrong_rows += len(wrong)
        self.wrong += [
            WrongCopy(int(rows[i]), int(copies[i]), int(says[i])) for i in wrong[:10].tolist()
        ]


def _run(holds: Array) -> int:
    """How many hold before the first that does not."""
    return len(holds) if holds.all() else int(np.argmin(holds))


def _products(block: Array, which: Array) -> Counter[str]:
    pairs = block[["vendor", "feed"]][which].tolist()
    return Counter(f"{vendor.decode()}/{feed.decode()}" for vendor, feed in pairs)


def _copies(same: Array) -> Array:
    """0, 1, 2 … over runs: `same` says which rows go on with the one above."""
    at = np.arange(len(same))
    return at - np.maximum.accumulate(np.where(same, 0, at))
