"""What a materialisation says of its daily file. Names are stable: the UI plots the numbers."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

import dagster as dg

from edc_pipeline.defs.checks import gaps_table
from edc_pipeline.defs.instants import new_york
from edc_pipeline.events import COLUMNS, EVENT_TYPES, LINEAGE_COLUMNS, Column, EventType

if TYPE_CHECKING:
    import pandas as pd

    from edc_pipeline.consolidation import Certificate, Consolidated

_PREVIEW_ROWS: Final = 6
# What is the same in most rows of a preview only pushes the numbers out of sight.
_NOT_IN_PREVIEW: Final = frozenset(
    {"ts_source", "asset_class", "vendor", "feed", "event_id", "seq"}
    | {"occurrence", "origin", "status", "created_at"}
)


def daily_file_metadata(made: Consolidated, seconds: float) -> dict[str, dg.MetadataValue]:
    told = made.certificate
    path = made.path.resolve()
    value = dg.MetadataValue
    spans: dict[str, dg.MetadataValue] = {}
    if told.first_event is not None and told.last_event is not None:
        spans["first_event"] = value.text(new_york(told.first_event))
        spans["last_event"] = value.text(new_york(told.last_event))
    return {
        # What one looks for stands first; the UI keeps this order.
        "rows": value.int(told.rows),
        "rows_in": value.int(told.rows_in),
        "duplicates": value.int(told.duplicates.total),
        "symbols": value.int(told.symbols),
        **spans,
        "preview": _preview(made.preview(_PREVIEW_ROWS)),
        "read_it": value.md(f'```python\nimport pandas as pd\npd.read_hdf("{path}")\n```'),
        "path": value.path(str(path)),
        "by_feed": _by_feed(told),
        **({"gaps": gaps_table(told)} if told.gaps else {}),
        "quarantined_frames": value.int(sum(f.quarantined for f in told.frames)),
        "duplicates_redelivered": value.int(told.duplicates.redelivered),
        "duplicates_other_connection": value.int(told.duplicates.other_connection),
        "duplicates_same_id": value.int(told.duplicates.same_id),
        "micro_batches": value.int(len(told.inputs)),
        "micro_batches_set_aside": value.int(len(told.set_aside)),
        "bytes": value.int(path.stat().st_size),
        "seconds": value.float(round(seconds, 3)),
        "rows_per_second": value.float(round(told.rows_in / max(seconds, 1e-9), 1)),
        "unchanged": value.bool(made.unchanged),
        "content_hash": value.text(told.content_hash),
        "dagster/row_count": value.int(told.rows),
        "dagster/column_schema": value.table_schema(schema_of(told.event_type)),
    }


def _by_feed(told: Certificate) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "feed": feed,
                    "rows_in": n.rows_in,
                    "rows": n.rows,
                    "redelivered": n.duplicates.redelivered,
                    "other_connection": n.duplicates.other_connection,
                    "same_id": n.duplicates.same_id,
                    "identity": n.identity,
                }
            )
            for feed, n in told.feeds.items()
        ]
    )


def _preview(frame: pd.DataFrame) -> dg.TableMetadataValue:
    shown = frame.drop(columns=[c for c in frame.columns if c in _NOT_IN_PREVIEW])
    return dg.MetadataValue.table(
        [
            dg.TableRecord({str(name): _cell(value) for name, value in row.items()})
            for row in shown.to_dict("records")
        ]
    )


def _cell(value: object) -> str | float:
    """A stamp as the time of its day in New York; NaN, which JSON does not know, as nothing."""
    if isinstance(value, datetime):
        return f"{value:%H:%M:%S.%f}{getattr(value, 'nanosecond', 0):03d}"
    if isinstance(value, float):
        return value if value == value else ""  # noqa: PLR0124 - NaN alone differs from itself
    return str(value)


def schema_of(event_type: EventType) -> dg.TableSchema:
    return dg.TableSchema([_column(c) for c in COLUMNS[event_type]])


def schema_of_all_types(*, lineage: bool = False) -> dg.TableSchema:
    """Every column of any event type, and which types have it."""
    columns: dict[str, tuple[Column, list[str]]] = {}
    for event_type in EVENT_TYPES:
        for column in COLUMNS[event_type]:
            columns.setdefault(column.name, (column, []))[1].append(event_type)
    return dg.TableSchema(
        [
            *(_column(c, "" if len(t) == len(EVENT_TYPES) else t) for c, t in columns.values()),
            *(_column(c) for c in LINEAGE_COLUMNS if lineage),
        ]
    )


def _column(column: Column, only: list[str] | str = "") -> dg.TableColumn:
    kind = "int64 ns UTC, shown in America/New_York" if column.stored == "time" else column.stored
    unit = f" [{column.unit}]" if column.unit and column.stored != "time" else ""
    types = f" ({' and '.join(only)} only)" if only else ""
    return dg.TableColumn(column.name, kind, f"{column.meaning}{unit}{types}")
