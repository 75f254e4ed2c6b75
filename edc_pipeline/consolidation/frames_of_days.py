"""What was read of days, as the frame that was asked for: pandas, polars or Arrow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
import numpy as np
import pyarrow as pa

from edc_pipeline.consolidation.corrections import COLUMNS_NEEDED, standing
from edc_pipeline.consolidation.day_rows import DayRead, Wish
from edc_pipeline.consolidation.rows import Array, Rows, Text
from edc_pipeline.events import COLUMNS
from edc_pipeline.market_day import MARKET_ZONE_NAME

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

As = Literal["pandas", "polars", "arrow"]
_TIME: Final = pa.timestamp("ns", MARKET_ZONE_NAME)


def finished(rows: Rows, wish: Wish) -> Rows:
    """Corrected, if that was asked for."""
    if not wish.corrected:
        return rows
    kept = standing(pa.table({name: _arrow_text_or(rows, name) for name in COLUMNS_NEEDED}))
    return rows if kept is None else rows.take(np.flatnonzero(kept))


def part(rows: Rows, begin: int, end: int) -> Rows:
    """A view of the rows from `begin` to before `end`."""
    here = slice(begin, min(end, rows.count))
    return Rows(
        rows.event_type,
        here.stop - here.start,
        {name: values[here] for name, values in rows.numbers.items()},
        {
            name: Text(text.words, None if text.codes is None else text.codes[here])
            for name, text in rows.texts.items()
        },
    )


def frame_of(rows: Rows, as_: As, wish: Wish, states: dict[str, DayRead]) -> Any:
    told = {
        "event_type": wish.event_type,
        "days": {d: msgspec.to_builtins(s) for d, s in states.items()},
    }
    if as_ != "pandas":
        table = _arrow(rows, wish.wanted)
        if as_ == "polars":
            return _polars(table)
        return table.replace_schema_metadata({"edc": json.dumps(told)})
    frame = _pandas(rows, wish.wanted)
    frame.attrs.update(told)
    return frame


def _pandas(rows: Rows, wanted: Sequence[str]) -> pd.DataFrame:
    """Of the very arrays that were read, without a copy."""
    import pandas as pd  # noqa: PLC0415

    zone = pd.DatetimeTZDtype("ns", MARKET_ZONE_NAME)
    times = {c.name for c in COLUMNS[rows.event_type] if c.stored == "time"}
    columns: dict[str, Any] = {}
    for name in wanted:
        if name in rows.texts:
            text = rows.texts[name]
            words = pd.Index([word.decode() for word in text.words])
            codes = np.zeros(rows.count, np.int8) if text.codes is None else text.codes
            columns[name] = pd.Categorical.from_codes(codes, words, validate=False)
        elif name in times:
            columns[name] = pd.array(rows.numbers[name], dtype=zone, copy=False)
        else:
            columns[name] = rows.numbers[name]
    return pd.DataFrame(columns, copy=False)


def _arrow(rows: Rows, wanted: Sequence[str]) -> pa.Table:
    times = {c.name for c in COLUMNS[rows.event_type] if c.stored == "time"}
    columns = {}
    for name in wanted:
        column = _arrow_text_or(rows, name)
        columns[name] = column.view(_TIME) if name in times else column
    return pa.table(columns)


def _arrow_text_or(rows: Rows, name: str) -> pa.Array:
    """A text as a dictionary of 32-bit codes, whatever it has here; a number as it is."""
    if name not in rows.texts:
        return pa.array(rows.numbers[name])
    codes: Array = rows.codes(name).astype(np.int32, copy=False)
    words = pa.array(rows.texts[name].words, pa.binary()).view(pa.string())
    return pa.DictionaryArray.from_arrays(pa.array(codes), words)


def _polars(table: pa.Table) -> pl.DataFrame:
    import polars as pl  # noqa: PLC0415

    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame
