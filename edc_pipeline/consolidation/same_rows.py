"""Are any two rows of a table the same event? By another road than the one that settled it: over
the bytes of the records, with what is no content blanked out."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, NamedTuple

import numpy as np

from edc_pipeline.consolidation.rows import Array
from edc_pipeline.events import EventType, content_columns

_MIX: Final = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)


class WrongCopy(NamedTuple):
    row: int
    symbol: str
    copy: int  # it is this copy of its content
    occurrence: int  # and says that


class SameRows:
    """Fed with a table's blocks in order. Rows of one content share a stamp, and so lie together,
    but for those that bear our own receive time: of these 20 bytes each are kept until the end."""

    def __init__(self, event_type: EventType, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        content = content_columns(event_type)
        self._blank = [n for n in dtype.names or () if n not in content]
        self.wrong: list[WrongCopy] = []
        self.wrong_rows = 0
        # By product, rows that are another copy: those with an id, and those the vendor stamped.
        self.repeated_ids: Counter[str] = Counter()
        self.repeated_stamps: Counter[str] = Counter()
        self._held: Array | None = None  # rows of a stamp that may go on in the next block
        self._seen = 0
        self._own: list[Array] = []

    def take(self, block: Array) -> None:
        first = self._seen
        if self._held is not None:
            block = np.concatenate([self._held, block])
            first -= len(self._held)
        self._seen = first + len(block)
        going_on = block["ts_event"] == block["ts_event"][-1]
        begin = len(block) - int(np.argmin(going_on[::-1])) if not going_on.all() else 0
        self._held = block[begin:].copy()
        self._look(block[:begin], first)

    def finish(self) -> None:
        if self._held is not None:
            self._look(self._held, self._seen - len(self._held))
            self._held = None
        if self._own:
            self._look_at_own(np.concatenate(self._own))
            self._own = []
        self.wrong.sort()

    def _look(self, block: Array, first: int) -> None:
        if not len(block):
            return
        numbered = block["occurrence"] > 0
        own = block["ts_source"] == b"receive"
        self.repeated_ids.update(_products(block, numbered & (block["event_id"] != b"")))
        self.repeated_stamps.update(_products(block, numbered & ~own))
        if own.any():
            places = np.flatnonzero(own)
            kept = np.empty(len(places), [("a", "<u8"), ("b", "<u8"), ("n", "<i4"), ("row", "<i8")])
            kept["a"], kept["b"] = self.digests(block[places])
            kept["n"], kept["row"] = block["occurrence"][places], first + places
            self._own.append(kept)
        stamps = block["ts_event"]
        shared = np.zeros(len(block), bool)
        shared[1:] = stamps[1:] == stamps[:-1]
        shared[:-1] |= shared[1:]
        places = np.flatnonzero((shared | numbered) & ~own)
        if len(places):
            near = block[places]
            digest, _ = self.digests(near)
            self._number(digest, near["occurrence"], places + first, near["symbol"])

    def _look_at_own(self, kept: Array) -> None:
        order = np.lexsort([kept["row"], kept["b"], kept["a"]])
        kept = kept[order]
        same = np.zeros(len(kept), bool)
        same[1:] = (kept["a"][1:] == kept["a"][:-1]) & (kept["b"][1:] == kept["b"][:-1])
        copies = _copies(same)
        self._say(copies, kept["n"], kept["row"], None)

    def _number(self, digest: Array, occurrence: Array, rows: Array, symbols: Array) -> None:
        order = np.argsort(digest, kind="stable")
        same = np.zeros(len(order), bool)
        same[1:] = digest[order][1:] == digest[order][:-1]
        self._say(_copies(same), occurrence[order], rows[order], symbols[order])

    def _say(self, copies: Array, says: Array, rows: Array, symbols: Array | None) -> None:
        wrong = np.flatnonzero(copies != says)
        self.wrong_rows += len(wrong)
        self.wrong += [
            WrongCopy(
                int(rows[i]),
                "" if symbols is None else symbols[i].decode("utf-8", "replace"),
                int(copies[i]),
                int(says[i]),
            )
            for i in wrong[:10].tolist()
        ]

    def digests(self, records: Array) -> tuple[Array, Array]:
        """Two numbers of 64 bits that records of equal content share."""
        width = -(-self._dtype.itemsize // 8) * 8
        raw = np.zeros((len(records), width), np.uint8)
        plain = records.copy()
        for name in self._blank:
            plain[name] = np.zeros((), self._dtype[name])
        plain["ts_event"][plain["ts_source"] == b"receive"] = 0
        raw[:, : self._dtype.itemsize] = plain.view(np.uint8).reshape(len(records), -1)
        words = raw.view(np.uint64)
        found = []
        for mix in _MIX:
            digest = np.full(len(records), mix, np.uint64)
            for column in range(words.shape[1]):
                digest ^= words[:, column]
                digest *= np.uint64(mix | 1)
                digest ^= digest >> np.uint64(32)
            found.append(digest)
        return found[0], found[1]


def _products(block: Array, which: Array) -> Counter[str]:
    pairs = block[["vendor", "feed"]][which].tolist()
    return Counter(f"{vendor.decode()}/{feed.decode()}" for vendor, feed in pairs)


def _copies(same: Array) -> Array:
    """0, 1, 2 … over runs: `same` says which rows go on with the one above."""
    at = np.arange(len(same))
    return at - np.maximum.accumulate(np.where(same, 0, at))
