"""Fixed-width text of a table → distinct words and codes, by hashing and not by sorting."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from edc_pipeline.consolidation.rows import Array


def factorized(values: Array) -> tuple[list[bytes], Array]:
    """(the distinct texts, for each value which of them), in the order of their appearance."""
    if not len(values):
        return [], np.empty(0, np.int32)
    flat = np.ascontiguousarray(values)
    if (flat == flat[0]).all():  # half of the columns say one thing; this costs a tenth
        return [bytes(flat[0])], np.zeros(len(flat), np.int32)
    width = flat.dtype.itemsize
    stored = pa.Array.from_buffers(
        pa.binary(width), len(flat), [None, pa.py_buffer(flat.view(np.uint8))]
    ).dictionary_encode()
    # Only the padding goes: no text ends in NUL (it is refused at the door).
    words = [word.rstrip(b"\x00") for word in stored.dictionary.to_pylist()]
    return words, stored.indices.to_numpy()
