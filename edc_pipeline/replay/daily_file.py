"""A daily HDF5 file as a source of events, block by block."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import h5py
import hdf5plugin  # noqa: F401 - importing it lets h5py read the default codec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from edc_pipeline.consolidation.certificate import NoCertificate, certificate_in, misnamed
from edc_pipeline.consolidation.names import CERTIFICATE, parse_daily_file
from edc_pipeline.consolidation.seal import wrong_checksums
from edc_pipeline.events import EventType
from edc_pipeline.replay.records import (
    NUMBERS,
    Block,
    Label,
    Labels,
    numbers_into,
    record_dtype,
)

BLOCK_ROWS: Final = 16_384  # a chunk of the table


class NotADailyFile(Exception):
    """The message says what is wrong with it."""


class DailyFile:
    """Its rows in their order, by `ts_event`."""

    def __init__(self, path: Path) -> None:
        named = parse_daily_file(path)
        if named is None:
            raise NotADailyFile(f"{path.name} is no name of a daily file")
        self.path = path
        self.name = path.name
        self.event_type: EventType = named[0]
        try:
            if (wrong := wrong_checksums(path)) is not None:
                raise NotADailyFile(f"{path}: {wrong}")
            with h5py.File(path, "r") as file:
                if CERTIFICATE in file and (
                    other := misnamed(path, certificate_in(file, path.name))
                ):
                    raise NotADailyFile(f"{path}: {other}")
                table = file[self.event_type]["table"]
                self.rows = len(table)
                self.id_bytes = table.dtype["event_id"].itemsize
        except (NoCertificate, OSError, KeyError, ValueError) as error:
            raise NotADailyFile(f"{path}: {error}") from None

    def symbols(self) -> dict[str, str]:
        """Every symbol in it, and its asset class."""
        found: dict[str, str] = {}
        with h5py.File(self.path, "r") as file:
            fields = file[self.event_type]["table"].fields(["symbol", "asset_class"])
            for start in range(0, self.rows, 16 * BLOCK_ROWS):
                pairs = np.unique(np.asarray(fields[start : start + 16 * BLOCK_ROWS]))
                found |= {p["symbol"].decode(): p["asset_class"].decode() for p in pairs}
        return found

    def blocks(self, labels: Labels, id_bytes: int, from_ns: int | None = None) -> Iterator[Block]:
        with h5py.File(self.path, "r") as file:
            table = file[self.event_type]["table"]
            start = 0 if from_ns is None else self._first_at(table, from_ns)
            for at in range(start, self.rows, BLOCK_ROWS):
                rows = np.asarray(table[at : at + BLOCK_ROWS])
                yield self._block(rows, labels, id_bytes)

    def _first_at(self, table: h5py.Dataset, from_ns: int) -> int:
        """The first row not before an instant, without reading those before: they are in order."""
        low, high = 0, self.rows
        while low < high:
            middle = (low + high) // 2
            if table[middle]["ts_event"] < from_ns:
                low = middle + 1
            else:
                high = middle
        return low

    def _block(self, rows: NDArray[Any], labels: Labels, id_bytes: int) -> Block:
        block = np.zeros(len(rows), record_dtype(id_bytes))
        for name in ("ts_event", "created_at", "seq"):
            block[name] = rows[name]
        if id_bytes:
            block["event_id"] = rows["event_id"]
        numbers_into(block, self.event_type, {n: rows[n] for n in NUMBERS[self.event_type]})
        there = [name for name in Label._fields if name in (rows.dtype.names or ())]
        block["label"] = labels.codes({name: _text(rows[name]) for name in there}, len(rows))
        return block


def _text(column: NDArray[Any]) -> pa.Array | str:
    first = column[0]
    if (column == first).all():
        return bytes(first).decode()
    return pa.array(column.tolist(), pa.binary()).cast(pa.string())
