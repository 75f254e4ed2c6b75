"""One number for what a daily file says, whoever made it, with whatever codec.

Definition, so that anybody can recompute it. Take the records of the table as they lie (h5py's
`file["trade/table"][:].tobytes()`), 16,384 at a time, the last time as many as there are left, and
the SHA-256 of each such piece. The hash is SHA-256 over the lines, in ASCII, each ended by a
newline: `edc content 2`, the event type, the number of rows, `order time` or `order symbol`, for
each field of the record `<name> <numpy's type string> <offset>`, and last the digests of the
pieces in hex, one a line. It is written as `edc2:<hex>`.

Everything in a record follows from what it says: floats are stored with 0.0 for −0.0 and one NaN
(00 00 00 00 00 00 f8 7f), text is as wide as the longest of its column (`records.widths_of`).

Files whose certificate has version 1 bear `sha256:<hex>`: SHA-256 column by column, text without
its padding. `FirstContentHash` computes it, so that they can still be verified. It was given up
because it took 2.4 times as long and could not be spread over threads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from edc_pipeline.consolidation.layout import CHUNK_ROWS
from edc_pipeline.consolidation.names import Order
from edc_pipeline.events import COLUMNS, EventType

if TYPE_CHECKING:
    import numpy.typing as npt


def digest_of(records: npt.NDArray[Any]) -> bytes:
    """SHA-256 of records as they lie."""
    return hashlib.sha256(records.view(np.uint8).data).digest()


def content_hash(
    event_type: EventType, order: Order, dtype: np.dtype[Any], rows: int, digests: Iterable[bytes]
) -> str:
    """From the digests of the pieces of 16,384 records."""
    fields: Any = dtype.fields or {}
    lines = [
        "edc content 2",
        event_type,
        str(rows),
        f"order {order}",
        *(f"{name} {fields[name][0].str} {fields[name][1]}" for name in dtype.names or ()),
        *(digest.hex() for digest in digests),
    ]
    text = "".join(f"{line}\n" for line in lines)
    return "edc2:" + hashlib.sha256(text.encode("ascii")).hexdigest()


class ContentHash:
    """The hash, fed with blocks of whole pieces (the last may be shorter), in order."""

    def __init__(self, event_type: EventType, order: Order = "time") -> None:
        self._event_type: EventType = event_type
        self._order: Order = order
        self._digests: list[bytes] = []
        self._dtype: np.dtype[Any] | None = None
        self.rows = 0

    def update(self, block: npt.NDArray[Any]) -> None:
        assert self.rows % CHUNK_ROWS == 0, "only the last block may end within a piece"
        self._dtype = block.dtype
        self.rows += len(block)
        for start in range(0, len(block), CHUNK_ROWS):
            piece = np.ascontiguousarray(block[start : start + CHUNK_ROWS])
            self._digests.append(digest_of(piece))

    def result(self, dtype: np.dtype[Any]) -> str:
        return content_hash(self._event_type, self._order, dtype, self.rows, self._digests)


class FirstContentHash:
    """The hash of files of certificate version 1, fed with blocks of any size, in order.

    For each column, in the order of `events.COLUMNS` (pandas' `index` is not among them):
    numbers: SHA-256 over the values, little-endian; text: SHA-256(L ‖ B), L = SHA-256 over the
    lengths in UTF-8 bytes, 4 bytes each, B = SHA-256 over those bytes without padding. The hash is
    SHA-256 over the lines `edc content 1`, the event type, the number of rows, and for each column
    `<name> <stored> <digest in hex>`.
    """

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
