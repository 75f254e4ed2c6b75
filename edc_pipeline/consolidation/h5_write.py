"""Rows → the bytes of a daily file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import tables

from edc_pipeline.consolidation.certificate import Certificate, encode, head
from edc_pipeline.consolidation.h5_read import BLOCK_ROWS
from edc_pipeline.consolidation.layout import (
    FORBIDDEN_TEXT,
    create_table,
    table_dtype,
    text_columns,
)
from edc_pipeline.consolidation.names import CERTIFICATE
from edc_pipeline.events import COLUMNS, EventType

_GROW_BYTES: Final = 16 << 20  # by default 64 kB, which copies a day of 300 MB thousands of times


class UnstorableText(Exception):
    """A text that fixed-width HDF5 text would cut or change; the message says which."""


def text_widths(rows: pl.DataFrame, event_type: EventType) -> dict[str, int]:
    """Bytes of the longest value of each text column; 1 where all are empty."""
    names = text_columns(event_type)
    longest = rows.select(pl.col(name).str.len_bytes().max() for name in names).row(0)
    return {name: max(1, n or 0) for name, n in zip(names, longest, strict=True)}


def record_blocks(
    rows: pl.DataFrame,
    event_type: EventType,
    widths: Mapping[str, int],
    *,
    first_index: int = 0,
    block_rows: int = BLOCK_ROWS,
) -> Iterable[npt.NDArray[Any]]:
    """The rows as records of the table, a block at a time."""
    for start in range(0, rows.height, block_rows):
        part = rows.slice(start, block_rows)
        yield records(part, event_type, widths, first_index=first_index + start)


def records(
    rows: pl.DataFrame, event_type: EventType, widths: Mapping[str, int], *, first_index: int
) -> npt.NDArray[Any]:
    block = np.empty(rows.height, dtype=table_dtype(event_type, widths))
    block["index"] = np.arange(first_index, first_index + rows.height)
    for column in COLUMNS[event_type]:
        values = rows[column.name]
        if column.stored == "text":
            block[column.name] = fixed_text(values.to_arrow(), column.name, widths[column.name])
        else:
            block[column.name] = values.to_numpy()
    return block


def fixed_text(values: Any, name: str, width: int) -> npt.NDArray[np.bytes_]:
    """Text of UTF-8 bytes, padded with NUL to `width`. Refuses what would not come back."""
    dictionary = values.cast(pa.large_string()).dictionary_encode()
    distinct = [text.encode() for text in dictionary.dictionary.to_pylist()]
    for text in distinct:
        if len(text) > width:
            raise UnstorableText(f"{name}: {text!r} is {len(text)} bytes, the column holds {width}")
        if any(character.encode() in text for character in FORBIDDEN_TEXT):
            raise UnstorableText(f"{name}: {text!r} holds a control character that HDF5 loses")
    encoded = np.array(distinct, dtype=f"S{width}")
    return encoded[dictionary.indices.to_numpy()] if distinct else np.empty(0, f"S{width}")


def write_h5(
    path: Path,
    blocks: Iterable[npt.NDArray[Any]],
    widths: Mapping[str, int],
    certificate: Certificate,
) -> None:
    """Write the table, its time index and its certificate. `path` is a temporary name.

    HDF5 writes into memory (27 bytes a row) and Python into the file: on a full disk HDF5 1.14.3
    raised nothing, left a torn file, and crashed at the end of the process; Python says OSError.
    """
    event_type = certificate.event_type
    with tables.open_file(
        path,
        "w",
        driver="H5FD_CORE",
        driver_core_backing_store=0,
        driver_core_increment=_GROW_BYTES,
    ) as file:
        table = create_table(
            file, event_type, widths, codec=certificate.codec, rows=certificate.rows
        )
        for block in blocks:
            # PyTables would misread a block whose fields are in another order, in silence.
            if block.dtype != table.dtype:
                raise TypeError(f"a block of {block.dtype} for a table of {table.dtype}")
            table.append(block)
        table.flush()
        if table.nrows:
            # Cut one symbol in ten minutes of 10M rows from 1.8 s to 0.4 s; an index on symbol
            # gained nothing in a file ordered by time (measured).
            table.cols.ts_event.create_index(kind="ultralight")
        write_certificate(file, certificate)
        file.flush()
        image = file.get_file_image()
    path.write_bytes(image)


def write_certificate(file: tables.File, certificate: Certificate) -> None:
    encoded = encode(certificate)
    file.create_array("/", CERTIFICATE, np.frombuffer(encoded, np.uint8), track_times=False)
    attributes = file.get_node(f"/{certificate.event_type}")._v_attrs
    attributes["certificate"] = head(encoded).decode()
    attributes["certificate_sha256"] = hashlib.sha256(encoded).hexdigest()
