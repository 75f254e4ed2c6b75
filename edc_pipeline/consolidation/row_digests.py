"""Numbers that equal rows share, over the bytes of their records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from edc_pipeline.consolidation.rows import Array
from edc_pipeline.events import EventType, content_columns

_MIX: Final = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F)


class ContentDigests:
    """Of what the vendor said, with the rest of the record blanked out."""

    def __init__(self, event_type: EventType, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        content = content_columns(event_type)
        self._blank = [n for n in dtype.names or () if n not in content]

    def of(self, records: Array) -> tuple[Array, Array]:
        """Two numbers of 64 bits that records of equal content share."""
        plain = records.copy()
        for name in self._blank:
            plain[name] = np.zeros((), self._dtype[name])
        plain["ts_event"][plain["ts_source"] == b"receive"] = 0
        return _mixed(plain)


def digests_of_columns(records: Array, names: Sequence[str]) -> tuple[Array, Array]:
    """Two numbers of 64 bits that records share which are equal in these columns."""
    dtype: np.dtype[Any] = np.dtype([(name, records.dtype[name]) for name in names])
    plain = np.empty(len(records), dtype)
    for name in names:
        plain[name] = records[name]
    return _mixed(plain)


def _mixed(plain: Array) -> tuple[Array, Array]:
    size = plain.dtype.itemsize
    raw = np.zeros((len(plain), -(-size // 8) * 8), np.uint8)
    raw[:, :size] = plain.view(np.uint8).reshape(len(plain), size)
    words = raw.view(np.uint64)
    found = []
    for mix in _MIX:
        digest = np.full(len(plain), mix, np.uint64)
        for column in range(words.shape[1]):
            digest ^= words[:, column]
            digest *= np.uint64(mix | 1)
            digest ^= digest >> np.uint64(32)
        found.append(digest)
    return found[0], found[1]
