"""Reading a daily file back with h5py: another library, and another copy of HDF5, than wrote it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import h5py
import hdf5plugin  # noqa: F401 - importing it lets h5py read the default codec
import numpy as np
import numpy.typing as npt

from edc_pipeline.consolidation.content_hash import ContentHash
from edc_pipeline.consolidation.layout import CHUNK_ROWS
from edc_pipeline.events import EventType

BLOCK_ROWS: Final = 16 * CHUNK_ROWS  # 262,144: whole chunks, some 50 MB


def table_in(file: h5py.File, event_type: EventType) -> h5py.Dataset:
    return file[event_type]["table"]


def blocks(table: h5py.Dataset, block_rows: int = BLOCK_ROWS) -> Iterator[npt.NDArray[Any]]:
    for start in range(0, len(table), block_rows):
        yield np.asarray(table[start : start + block_rows])


def open_daily(path: Path) -> h5py.File:
    return h5py.File(path, "r")


def hash_of_table(path: Path, event_type: EventType) -> str | None:
    """The content hash of what can be read; None when it cannot."""
    try:
        with open_daily(path) as file:
            content = ContentHash(event_type)
            for block in blocks(table_in(file, event_type)):
                content.update(block)
            return content.result()
    except (OSError, RuntimeError, KeyError, ValueError, TypeError):
        return None
