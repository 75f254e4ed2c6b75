"""Records → a daily file. PyTables lays down the empty table as pandas knows it, and the time
index; the rows go into it as packed chunks, as HDF5's own filters would have packed them."""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import h5py
import numpy as np
import tables

from edc_pipeline.consolidation.certificate import Certificate, encode, head
from edc_pipeline.consolidation.disk import Disk
from edc_pipeline.consolidation.layout import CHUNK_ROWS, create_table
from edc_pipeline.consolidation.names import CERTIFICATE, NEAR_DUPLICATES, SYMBOLS, Codec
from edc_pipeline.consolidation.rows import Array
from edc_pipeline.events import EventType

_GROW_BYTES: Final = 4 << 20  # by default 64 kB, which copies an index of 10 MB hundreds of times
_IN_MEMORY: Final[dict[str, Any]] = {
    "driver": "H5FD_CORE",
    "driver_core_backing_store": 0,
    "driver_core_increment": _GROW_BYTES,
}


_numbers = itertools.count()


def _name_in_memory() -> str:
    """PyTables takes two files of one name for one file, in memory too."""
    return f"in_memory_{next(_numbers)}.h5"


class DailyFile:
    """A daily file while it is written, under a temporary name."""

    def __init__(
        self,
        path: Path,
        event_type: EventType,
        widths: Mapping[str, int],
        *,
        codec: Codec,
        expected_rows: int,
    ) -> None:
        self._event_type: EventType = event_type
        path.write_bytes(_empty(event_type, widths, codec, expected_rows))
        self._disk = Disk(path)
        self._file = h5py.File(self._disk, "r+")
        self._table = self._file[event_type]["table"]
        self.dtype: np.dtype[Any] = self._table.dtype
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        try:
            if self._disk.refusal is None:
                self._file.close()
            else:
                with suppress(Exception):  # it reads back what was never written
                    self._file.close()
        finally:
            self._disk.close()
        if kind is None:
            self._disk.check()

    def add(self, packed: bytes, rows: int) -> None:
        """A packed chunk of so many rows; only the last may hold fewer than a whole chunk."""
        first = self.rows
        self.rows += rows
        if first % CHUNK_ROWS:
            raise ValueError(f"a chunk after one that ended at row {first}")
        self._table.resize((self.rows,))
        self._table.id.write_direct_chunk((first,), packed)
        self._disk.check()

    def flush(self) -> None:
        """Let another handle read what is there so far."""
        self._file.flush()
        self._disk.check()

    def finish(
        self,
        certificate: Certificate,
        symbols: Array,
        near_duplicates: Array,
        index: bytes | None,
    ) -> None:
        """Put in what stands beside the rows. `index` is what `TimeIndex.image` gave."""
        self._table.attrs.modify("NROWS", np.int64(self.rows))
        group = self._file[self._event_type]
        if index is not None:
            with h5py.File(io.BytesIO(index), "r") as source:
                source.copy(f"{self._event_type}/_i_table", group, name="_i_table")
        write_certificate(self._file, certificate)
        self._file.create_dataset(SYMBOLS, data=symbols)
        if len(near_duplicates):
            self._file.create_dataset(NEAR_DUPLICATES, data=near_duplicates)
        self.flush()


class TimeIndex:
    """PyTables' own index on `ts_event`, fed as the rows go by: made from the finished table it
    would unpack every row again. Cut one symbol in ten minutes of 10M rows from 1.8 s to 0.4 s; an
    index on symbol gained nothing in a file ordered by time (measured)."""

    def __init__(
        self, event_type: EventType, widths: Mapping[str, int], *, codec: Codec, rows: int
    ) -> None:
        self._file = tables.open_file(_name_in_memory(), "w", **_IN_MEMORY)
        self._table = create_table(self._file, event_type, widths, codec=codec, rows=rows)
        # Hundreds of stamps a block, in PyTables' own small chunks: zlib would take a second a
        # 10M rows for what lz4 packs nearly as well.
        filters = None if codec == "zlib" else tables.Filters(complevel=1, complib="blosc:lz4")
        self._table.cols.ts_event.create_index(kind="ultralight", filters=filters)
        self._index = self._table.cols.ts_event.index
        self._waiting: list[Array] = []
        self._held = 0

    def add(self, stamps: Array) -> None:
        self._waiting.append(np.ascontiguousarray(stamps))
        self._held += len(stamps)
        size = self._index.slicesize
        while self._held >= size:
            held = np.concatenate(self._waiting)
            self._index.append([held[:size].copy()])
            self._waiting, self._held = [held[size:]], len(held) - size

    def image(self) -> bytes:
        """The file in memory in which the index lies; the index takes no more."""
        if self._held:
            self._index.append_last_row([np.concatenate(self._waiting)])
        self._index.dirty = False
        self._file.flush()
        image: bytes = self._file.get_file_image()
        self.close()
        return image

    def close(self) -> None:
        if self._file.isopen:
            self._file.close()


def write_certificate(file: h5py.File, certificate: Certificate) -> None:
    encoded = encode(certificate)
    file.create_dataset(CERTIFICATE, data=np.frombuffer(encoded, np.uint8))
    attributes = file[certificate.event_type].attrs
    for name, text in (
        ("certificate", head(encoded).decode()),
        ("certificate_sha256", hashlib.sha256(encoded).hexdigest()),
    ):
        # Fixed width: PyTables cannot read text of variable length in an attribute.
        kind = h5py.string_dtype("utf-8", len(text.encode()))
        attributes.create(name, np.array(text.encode(), kind), dtype=kind)


def symbols_table(symbols: Mapping[bytes, tuple[int, int]], width: int) -> Array:
    """(symbol, rows, first row) of each symbol, by symbol."""
    kind = np.dtype([("symbol", f"S{width}"), ("rows", "<i8"), ("first_row", "<i8")])
    return np.array([(name, *symbols[name]) for name in sorted(symbols)], kind)


def write_whole(
    path: Path,
    blocks: Sequence[Array],
    widths: Mapping[str, int],
    certificate: Certificate,
    symbols: Array,
) -> None:
    """A daily file out of records that are in memory."""
    from edc_pipeline.consolidation.chunk_codec import pack  # noqa: PLC0415

    rows = sum(map(len, blocks))
    index = TimeIndex(certificate.event_type, widths, codec=certificate.codec, rows=rows)
    with (
        closing(index),
        DailyFile(
            path, certificate.event_type, widths, codec=certificate.codec, expected_rows=rows
        ) as file,
    ):
        for block in blocks:
            # HDF5 would store a block whose fields are in another order, in silence.
            if block.dtype != file.dtype:
                raise TypeError(f"a block of {block.dtype} for a table of {file.dtype}")
            for start in range(0, len(block), CHUNK_ROWS):
                piece = np.ascontiguousarray(block[start : start + CHUNK_ROWS])
                file.add(pack(piece, certificate.codec), len(piece))
                index.add(piece["ts_event"])
        file.finish(certificate, symbols, np.empty(0, np.int64), index.image())


def _empty(
    event_type: EventType, widths: Mapping[str, int], codec: Codec, expected_rows: int
) -> bytes:
    with tables.open_file(_name_in_memory(), "w", **_IN_MEMORY) as file:
        create_table(file, event_type, widths, codec=codec, rows=expected_rows)
        file.flush()
        image: bytes = file.get_file_image()
    return image
