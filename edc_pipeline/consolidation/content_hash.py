"""One number for what a daily file says, whoever made it, with whatever codec or text width.

Definition, so that anybody can recompute it. Take the rows in the order of the file and the
columns in the order of `events.COLUMNS` (pandas' `index` is not among them). For each column:

- numbers: SHA-256 over the values, little-endian, 8 bytes for `time` (ns UTC), `int64` and
  `float64`, 4 bytes for `int32`. Floats are as stored: −0.0 is stored as 0.0, and every NaN as
  the bytes 00 00 00 00 00 00 f8 7f.
- text: L = SHA-256 over the lengths in UTF-8 bytes, without padding, 4 bytes little-endian each;
  B = SHA-256 over those bytes, joined without separators; the column's digest is SHA-256(L ‖ B),
  the two as 32 bytes each.

The hash is SHA-256 over these lines in ASCII, each ended by a newline:
`edc content 1`, the event type, the number of rows, then for each column
`<name> <stored> <digest in hex>`; `<stored>` is the word in `events.COLUMNS` (time, int64, int32,
float64, text). It is written as `sha256:<hex>`.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from edc_pipeline.events import COLUMNS, EventType

if TYPE_CHECKING:
    import numpy.typing as npt


class ContentHash:
    """Fed with blocks of rows as they lie in the table, of any size, in order."""

    def __init__(self, event_type: EventType) -> None:
        self._event_type: EventType = event_type
        self._columns = COLUMNS[event_type]
        self._values = {c.name: hashlib.sha256() for c in self._columns}
        self._lengths = {c.name: hashlib.sha256() for c in self._columns if c.stored == "text"}
        self.rows = 0

    def update(self, block: npt.NDArray[Any]) -> None:
        self.rows += len(block)
        if not len(block):
            return
        for column in self._columns:
            values = np.ascontiguousarray(block[column.name])
            if column.stored == "text":
                lengths, text = unpadded(values)
                self._lengths[column.name].update(lengths)
                self._values[column.name].update(text)
            else:
                little = values.astype(values.dtype.newbyteorder("<"), copy=False)
                self._values[column.name].update(little.data)

    def result(self) -> str:
        lines = ["edc content 1", self._event_type, str(self.rows)]
        for column in self._columns:
            digest = self._values[column.name]
            if column.stored == "text":
                both = self._lengths[column.name].digest() + digest.digest()
                digest = hashlib.sha256(both)
            lines.append(f"{column.name} {column.stored} {digest.hexdigest()}")
        text = "".join(f"{line}\n" for line in lines)
        return "sha256:" + hashlib.sha256(text.encode("ascii")).hexdigest()


def unpadded(values: npt.NDArray[np.bytes_]) -> tuple[bytes, bytes]:
    """Fixed-width text → the lengths as little-endian uint32, and the bytes without padding."""
    width = values.dtype.itemsize
    first = values[0]
    if (values == first).all():  # vendor, status, origin … are mostly one value: 10 times as fast
        length = np.uint32(len(first)).astype("<u4").tobytes()
        return length * len(values), bytes(first) * len(values)
    lengths = np.strings.str_len(values).astype("<u4")
    raw = values.view(np.uint8).reshape(len(values), width)
    return lengths.tobytes(), raw[np.arange(width) < lengths[:, None]].tobytes()
