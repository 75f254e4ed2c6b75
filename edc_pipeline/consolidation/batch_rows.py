"""Micro-batches → rows. A file that does not hold what it says is set aside with the reason."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from edc_pipeline.consolidation.certificate import Input, SetAside
from edc_pipeline.consolidation.layout import FORBIDDEN_TEXT
from edc_pipeline.consolidation.plan import Batch, Plan, reason_of
from edc_pipeline.events import COLUMNS, EventType
from edc_pipeline.market_day import day_bounds
from edc_pipeline.spool.micro_batch import SCHEMAS, UnreadableBatch, read_micro_batch


@dataclass(frozen=True)
class Read:
    rows: pl.DataFrame
    inputs: list[Input]
    set_aside: list[SetAside]


def read_rows(plan: Plan, advance: Callable[[int], None]) -> Read:
    """All rows of a plan. `advance` is told the rows of each micro-batch once it is read."""
    parts: list[pa.Table] = [SCHEMAS[plan.event_type].empty_table()]
    inputs: list[Input] = []
    set_aside = list(plan.set_aside)
    for batch in plan.batches:
        try:
            parts.append(read_checked(batch, plan.event_type, plan.day))
            inputs.append(batch.input)
        except (UnreadableBatch, OSError) as error:
            reason = reason_of(error, batch.path)
            set_aside.append(SetAside(name=batch.path.name, reason=reason, rows=batch.footer.rows))
        advance(batch.footer.rows)
    rows = pl.from_arrow(pa.concat_tables(parts))
    assert isinstance(rows, pl.DataFrame)
    return Read(rows, inputs, sorted(set_aside, key=lambda s: s.name))


def read_checked(batch: Batch, event_type: EventType, day: dt.date) -> pa.Table:
    """The rows of one micro-batch, and `UnreadableBatch` if they are not what it says.

    Checksums guard the pages but not the footer, so what the footer says is held against the rows.
    """
    name, footer = batch.path.name, batch.footer
    try:
        table = read_micro_batch(batch.path, event_type)
        table.validate(full=True)  # among others, that text is UTF-8
    except (pa.ArrowException, ValueError) as error:
        raise UnreadableBatch(f"{name}: {error}") from error
    empty = [column for column in table.column_names if table[column].null_count]
    if empty:
        raise UnreadableBatch(f"{name}: nulls in {', '.join(empty)}")
    if table.num_rows != footer.rows:
        raise UnreadableBatch(f"{name}: {table.num_rows} rows, its footer says {footer.rows}")
    if not table.num_rows:
        return table
    _check_span(table, name, day)
    _check_text(table, name, event_type)
    feeds = table.group_by(["vendor", "feed"]).aggregate([([], "count_all")]).to_pylist()
    by_feed = {f"{f['vendor']}/{f['feed']}": f["count_all"] for f in feeds}
    if by_feed != footer.rows_by_feed:
        raise UnreadableBatch(f"{name}: rows {by_feed}, its footer says {footer.rows_by_feed}")
    return table


def _check_span(table: pa.Table, name: str, day: dt.date) -> None:
    first, end = day_bounds(day)
    span = pc.min_max(table["ts_event"]).as_py()
    if not first <= span["min"] <= span["max"] < end:
        raise UnreadableBatch(
            f"{name}: events from {span['min']} to {span['max']} ns are not all of {day}"
        )


def _check_text(table: pa.Table, name: str, event_type: EventType) -> None:
    for column in COLUMNS[event_type]:
        if column.stored == "text":
            for character in FORBIDDEN_TEXT:
                _refuse(pc.match_substring(table[column.name], character), table, column.name, name)


def _refuse(bad: Any, table: pa.Table, column: str, name: str) -> None:
    if pc.any(bad).as_py():
        value = table[column].filter(bad)[0].as_py()
        raise UnreadableBatch(
            f"{name}: {column} {value!r} holds a control character that a daily file cannot keep"
        )
