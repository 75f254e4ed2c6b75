"""How events lie in the HDF5 table, such that pandas, PyTables and h5py each read them alone.

pandas lays down its own metadata (in memory, from a frame of one row); the table itself is then
created by PyTables with the codec and chunks that we want, which pandas has no way to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import tables

from edc_pipeline.consolidation.names import Codec
from edc_pipeline.events import COLUMNS, EventType
from edc_pipeline.market_day import MARKET_ZONE_NAME

# The automatic chunk of PyTables is 36 MB at 10M rows; 16,384 rows are some 2 MB before
# compression, so that a reader of ten minutes unpacks little more than those.
CHUNK_ROWS: Final = 16_384

# pandas turns a text equal to `nan_rep` into NaN on reading. Its default, "nan", is a text that a
# vendor could send; this control character is refused at the door (`FORBIDDEN_TEXT`).
NAN_REP: Final = "\x1a"

# Fixed-width text in HDF5 is padded with NUL, so a NUL at the end would be lost in silence, and
# readers in C stop at the first.
FORBIDDEN_TEXT: Final = ("\x00", NAN_REP)

# pandas 3.1 writes no version at all, and then pandas 2.2 does not honour `where`.
_PANDAS_VERSION: Final = "0.15.2"

_NUMPY: Final = {"time": "<i8", "int64": "<i8", "int32": "<i4", "float64": "<f8"}

# Measured: blosc2:lz4 with bitshuffle 704 MB/s and 27 B a row, zlib 63 MB/s. zlib is the one that
# h5py reads without hdf5plugin. zstd stands between them in speed and packs tightest.
FILTERS: Final[dict[Codec, dict[str, Any]]] = {
    "blosc2-lz4": {
        "complib": "blosc2:lz4",
        "complevel": 5,
        "shuffle": False,
        "bitshuffle": True,
    },
    "zstd": {"complib": "blosc2:zstd", "complevel": 3, "shuffle": False, "bitshuffle": True},
    "zlib": {"complib": "zlib", "complevel": 4, "shuffle": True},
}


@dataclass(frozen=True)
class PandasLayout:
    group: Mapping[str, Any]
    table: Mapping[str, Any]


def text_columns(event_type: EventType) -> tuple[str, ...]:
    return tuple(c.name for c in COLUMNS[event_type] if c.stored == "text")


def table_dtype(event_type: EventType, widths: Mapping[str, int]) -> np.dtype[Any]:
    """The record of one row: pandas' index, then the columns of C1. Widths are in UTF-8 bytes."""
    fields = [("index", "<i8")]
    for column in COLUMNS[event_type]:
        text = column.stored == "text"
        fields.append((column.name, f"S{widths[column.name]}" if text else _NUMPY[column.stored]))
    return np.dtype(fields)


# Text columns whose words are ours: their width must not depend on which of two equal rows stays.
FIXED_WIDTHS: Final = {"ts_source": 7, "asset_class": 6, "origin": 8, "status": 5}


def widths_of(longest: Mapping[str, int]) -> dict[str, int]:
    """The width of each text column in the table, from the bytes of the longest text in it.

    What the vendor says is equal in equal rows, so its longest text is that of the rows kept: the
    widths, and with them the records, follow from the content alone.
    """
    return {
        name: max(1, FIXED_WIDTHS.get(name, 0), length)
        for name, length in longest.items()
        if name != "connection"
    }


def canonical(event_type: EventType, longest: Mapping[str, int]) -> np.dtype[Any]:
    return table_dtype(event_type, widths_of(longest))


def create_table(
    file: tables.File,
    event_type: EventType,
    widths: Mapping[str, int],
    *,
    codec: Codec,
    rows: int,
) -> tables.Table:
    """An empty table under `/<event type>/table`, dressed as pandas would dress it."""
    filters = tables.Filters(**FILTERS[codec])
    group = file.create_group("/", event_type)
    dtype = table_dtype(event_type, widths)
    table = file.create_table(
        group,
        "table",
        description=dtype,
        filters=filters,
        chunkshape=(CHUNK_ROWS,),
        expectedrows=max(rows, 1),
        track_times=False,  # the same rows give the same bytes, whenever they are written
    )
    assert table.dtype == dtype, f"PyTables stores {table.dtype}, not {dtype}"
    layout = pandas_layout(event_type)
    for name, value in layout.group.items():
        group._v_attrs[name] = value
    for name, value in layout.table.items():
        table.attrs[name] = value
    for name in text_columns(event_type):
        table.attrs[f"{name}_dtype"] = f"bytes{8 * widths[name]}"
    return table


@cache
def pandas_layout(event_type: EventType) -> PandasLayout:
    """The attributes that pandas gives a table of these columns."""
    import pandas as pd  # noqa: PLC0415 - 0.4 s, only where a file is written

    zero = pd.DatetimeIndex(["1970-01-01"], tz="UTC").as_unit("ns").tz_convert(MARKET_ZONE_NAME)
    frame = pd.DataFrame(
        {
            c.name: zero
            if c.stored == "time"
            else pd.Series(["x"], dtype=object)
            if c.stored == "text"
            else np.zeros(1, dtype=c.stored)
            for c in COLUMNS[event_type]
        }
    )
    memory: dict[str, Any] = {"driver": "H5FD_CORE", "driver_core_backing_store": 0}
    store: Any  # its stubs take every attribute for a stored frame
    with pd.HDFStore("pandas_layout.h5", "w", **memory) as store:
        store.put(
            event_type,
            frame,
            format="table",
            data_columns=True,
            index=False,
            nan_rep=NAN_REP,
            track_times=False,
        )
        group = store.get_node(event_type)
        table = group.table
        # "sys" attributes (CLASS, VERSION, FIELD_0_NAME …) PyTables writes itself.
        return PandasLayout(
            group={
                **{name: group._v_attrs[name] for name in group._v_attrs._f_list("user")},
                "pandas_version": _PANDAS_VERSION,
            },
            table={name: table.attrs[name] for name in table.attrs._f_list("user")},
        )
