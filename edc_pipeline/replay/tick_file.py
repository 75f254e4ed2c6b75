"""Anybody's ticks as a source of events: csv (plain, gzip, or one in a zip) or parquet, with a
small mapping that says which column is what.

    type: trade
    time: {column: 0, unit: ms, since: new_york_midnight}
    day: 2013-10-07
    symbol: IBM
    price: {column: 1, divide_by: 10000}
    size: 2
    venue: 3
    conditions: [4, 5]

A column is a number, from 0, in a file without a header, else its name. Times are whole units, or
ISO 8601 texts with an offset (`unit: iso`). `symbol: {column: ticker}` where the file has many.
`absent: 0` says which price or size stands for none.
"""

from __future__ import annotations

import datetime as dt
import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import yaml
from numpy.typing import NDArray

from edc_pipeline.events import AssetClass, EventType
from edc_pipeline.market_day import NS_PER_SECOND, midnight_ns
from edc_pipeline.replay.records import (
    NUMBERS,
    Block,
    Labels,
    numbers_into,
    record_dtype,
)

ID_BYTES: Final = 40  # a uuid has 36
_CSV_BYTES: Final = 1 << 18  # of a block: some 8,000 rows
_PARQUET_ROWS: Final = 8_192
_NS: Final = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": NS_PER_SECOND}

Name = int | str


class TickFileMistake(ValueError):
    """The file or its mapping is not what it should be; the message says where, and what helps."""


class Column(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    column: Name
    divide_by: float = 1.0


class Time(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    column: Name
    unit: Literal["ns", "us", "ms", "s", "iso"] = "ns"
    since: Literal["epoch", "new_york_midnight", "utc_midnight"] = "epoch"


class Mapping(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    type: EventType
    time: Time
    symbol: str | Column
    day: dt.date | None = None
    asset_class: AssetClass = "equity"
    vendor: str = "file"
    feed: str = "ticks"
    price: Name | Column | None = None
    size: Name | Column | None = None
    bid_price: Name | Column | None = None
    bid_size: Name | Column | None = None
    ask_price: Name | Column | None = None
    ask_size: Name | Column | None = None
    side: Name | None = None
    venue: Name | None = None
    conditions: Name | list[Name] | None = None
    event_id: Name | None = None
    kind: str = "last"  # of a reference price
    absent: float | None = None


def read_mapping(path: Path) -> Mapping:
    """Raises `TickFileMistake`, which names the entry."""
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
        return checked(msgspec.convert(said, Mapping))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise TickFileMistake(f"{path}: {' '.join(str(error).split())}") from None


def checked(mapping: Mapping) -> Mapping:
    if mapping.time.since != "epoch" and mapping.day is None:
        raise TickFileMistake(
            f"the mapping's times count since {mapping.time.since}: say of which day, as"
            " day: 2013-10-07"
        )
    allowed = NUMBERS[mapping.type]
    every = {n for names in NUMBERS.values() for n in names}
    given = {n for n in every if getattr(mapping, n) is not None}
    if wrong := sorted(given - set(allowed)):
        raise TickFileMistake(f"a {mapping.type} has no {wrong[0]}; it has {', '.join(allowed)}")
    if not given:
        raise TickFileMistake(f"map at least one of {', '.join(allowed)}")
    return mapping


class TickFile:
    """One file; its rows are in the order of time."""

    def __init__(self, path: Path, mapping: Mapping) -> None:
        if not path.is_file():
            raise TickFileMistake(f"there is no file {path}")
        self.path = path
        self.name = path.name
        self.mapping = mapping
        self.id_bytes = 0 if mapping.event_id is None else ID_BYTES
        self._origin_ns = self._origin()

    def _origin(self) -> int:
        since, day = self.mapping.time.since, self.mapping.day
        if since == "epoch" or day is None:
            return 0
        if since == "new_york_midnight":
            return midnight_ns(day)
        return (day - dt.date(1970, 1, 1)).days * 86_400 * NS_PER_SECOND

    def symbols(self) -> dict[str, str]:
        asked = self.mapping.symbol
        if isinstance(asked, str):
            return {asked.upper(): self.mapping.asset_class}
        found: set[str] = set()
        for batch in self._batches([_key(asked.column)]):
            found.update(s.upper() for s in pc.unique(batch.column(0)).to_pylist() if s)
        return dict.fromkeys(sorted(found), self.mapping.asset_class)

    def blocks(self, labels: Labels, id_bytes: int, from_ns: int | None = None) -> Iterator[Block]:
        for batch in self._batches(sorted(self._columns())):
            if not batch.num_rows:
                continue
            try:
                block = self._block(batch, labels, id_bytes)
            except (pa.ArrowException, ValueError) as error:
                raise TickFileMistake(f"{self.path}: {error}") from None
            if from_ns is not None:
                block = block[block["ts_event"] >= from_ns]
            if len(block):
                yield block

    # Columns

    def _columns(self) -> dict[str, pa.DataType]:
        """The columns that are read, and as what."""
        asked, m = {}, self.mapping
        for name in NUMBERS[m.type]:
            if (at := getattr(m, name)) is not None:
                asked[_key(at.column if isinstance(at, Column) else at)] = pa.float64()
        for text in (m.side, m.venue, m.event_id):
            if text is not None:
                asked[_key(text)] = pa.string()
        asked |= {_key(text): pa.string() for text in _listed(m.conditions)}
        if isinstance(m.symbol, Column):
            asked[_key(m.symbol.column)] = pa.string()
        asked[_key(m.time.column)] = pa.string() if m.time.unit == "iso" else pa.int64()
        return asked

    @property
    def _has_header(self) -> bool:
        return isinstance(self.mapping.time.column, str)

    def _batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        types = {name: kind for name, kind in self._columns().items() if name in columns}
        try:
            if self.path.suffix == ".parquet":
                file = pq.ParquetFile(self.path)
                yield from file.iter_batches(_PARQUET_ROWS, columns=columns)
                return
            with _opened(self.path) as stream:
                yield from pa_csv.open_csv(
                    stream,
                    read_options=pa_csv.ReadOptions(
                        block_size=_CSV_BYTES, autogenerate_column_names=not self._has_header
                    ),
                    convert_options=pa_csv.ConvertOptions(
                        column_types=types, include_columns=columns, strings_can_be_null=False
                    ),
                )
        except (pa.ArrowException, OSError, KeyError, zipfile.BadZipFile) as error:
            raise TickFileMistake(f"{self.path}: {error}") from None

    def _block(self, batch: pa.RecordBatch, labels: Labels, id_bytes: int) -> Block:
        m, rows = self.mapping, batch.num_rows
        block = np.zeros(rows, record_dtype(id_bytes))
        block["ts_event"] = self._times(batch)
        block["created_at"] = block["ts_event"]  # nobody says when it was received
        block["seq"] = -1
        numbers_into(block, m.type, {n: self._numbers(batch, n) for n in NUMBERS[m.type]})
        if m.event_id is not None:
            block["event_id"] = self._ids(batch, m.event_id)
        block["label"] = labels.codes(self._texts(batch), rows)
        return block

    def _times(self, batch: pa.RecordBatch) -> NDArray[np.int64]:
        time = self.mapping.time
        column = batch.column(_key(time.column))
        if column.null_count:
            raise TickFileMistake(f"{self.path}: a row has no time")
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("ns", "UTC")).cast(pa.int64())
            unit = 1
        elif time.unit == "iso":
            # Exact to the nanosecond, which `fromisoformat` is not.
            column = pc.cast(column, pa.timestamp("ns", "UTC")).cast(pa.int64())
            unit = 1
        else:
            column, unit = column.cast(pa.int64()), _NS[time.unit]
        stamps: NDArray[np.int64] = column.to_numpy(zero_copy_only=False) * unit + self._origin_ns
        return stamps

    def _numbers(self, batch: pa.RecordBatch, name: str) -> NDArray[np.float64]:
        asked = getattr(self.mapping, name)
        if asked is None:
            return np.full(batch.num_rows, np.nan)
        column = asked if isinstance(asked, Column) else Column(column=asked)
        values = batch.column(_key(column.column)).cast(pa.float64())
        numbers: NDArray[np.float64] = values.to_numpy(zero_copy_only=False)
        if self.mapping.absent is not None:
            numbers = np.where(numbers == self.mapping.absent, np.nan, numbers)
        # A whole number divided once is the correctly rounded decimal: 1815200 / 10000 is 181.52.
        return numbers if column.divide_by == 1.0 else numbers / column.divide_by

    def _texts(self, batch: pa.RecordBatch) -> dict[str, pa.Array | str]:
        m = self.mapping
        texts: dict[str, pa.Array | str] = {
            "asset_class": m.asset_class,
            "vendor": m.vendor,
            "feed": m.feed,
            "origin": "backfill",
        }
        if isinstance(m.symbol, str):
            texts["symbol"] = m.symbol.upper()
        else:
            texts["symbol"] = pc.utf8_upper(self._text(batch, m.symbol.column))
        if m.type == "ref_px":
            texts["kind"] = m.kind
        for name in ("side", "venue"):
            if (at := getattr(m, name)) is not None:
                texts[name] = self._text(batch, at)
        if parts := _listed(m.conditions):
            columns = [self._text(batch, part) for part in parts]
            texts["conditions"] = pc.binary_join_element_wise(*columns, " ")
        return texts

    def _text(self, batch: pa.RecordBatch, at: Name) -> pa.Array:
        return batch.column(_key(at)).cast(pa.string()).fill_null("")

    def _ids(self, batch: pa.RecordBatch, at: Name) -> NDArray[np.bytes_]:
        column = self._text(batch, at)
        longest = pc.max(pc.binary_length(column)).as_py() or 0
        if longest > ID_BYTES:
            raise TickFileMistake(
                f"{self.path}: an id of {longest} bytes; at most {ID_BYTES} are kept, none is cut"
            )
        return np.array(column.cast(pa.binary()).to_pylist(), f"S{ID_BYTES}")


def _listed(names: Name | list[Name] | None) -> list[Name]:
    if names is None:
        return []
    return names if isinstance(names, list) else [names]


def _key(column: Name) -> str:
    return f"f{column}" if isinstance(column, int) else column


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if path.suffix != ".zip":
        with pa.input_stream(path, compression="detect") as stream:
            yield stream
        return
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if not n.endswith("/")]
        if len(names) != 1:
            raise TickFileMistake(f"{path} holds {len(names)} files; one is wanted")
        with archive.open(names[0]) as file:
            yield io.BufferedReader(file)
