"""What a materialisation says of its daily file. Names are stable: the UI plots the numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Final

import dagster as dg

from edc_pipeline.defs.checks import gaps_table
from edc_pipeline.defs.instants import new_york
from edc_pipeline.events import COLUMNS, EVENT_TYPES, LINEAGE_COLUMNS, Column, EventType

if TYPE_CHECKING:
    import pandas as pd

    from edc_pipeline.consolidation.certificate import Certificate
    from edc_pipeline.consolidation.make import Consolidated
    from edc_pipeline.day_report.examine import Examined
    from edc_pipeline.day_report.figures import Figures

_PREVIEW_ROWS: Final = 6
_FEEDS_SHOWN: Final = 50
# What is the same in most rows of a preview only pushes the numbers out of sight.
_NOT_IN_PREVIEW: Final = frozenset(
    {"ts_source", "asset_class", "vendor", "feed", "event_id", "seq"}
    | {"occurrence", "origin", "status", "created_at"}
)


def daily_file_metadata(
    made: Consolidated, examined: Examined, seconds: Mapping[str, float]
) -> dict[str, dg.MetadataValue]:
    from edc_pipeline.day_report.pictures import (  # noqa: PLC0415 - heavy
        SMALL,
        busiest_in_text,
        events_per_minute,
        latency_by_hour,
    )

    told = made.certificate
    path = made.path.resolve()
    value = dg.MetadataValue
    making = sum(s for stage, s in seconds.items() if stage not in {"check", "examine"})
    spans: dict[str, dg.MetadataValue] = {}
    if told.first_event is not None and told.last_event is not None:
        spans["first_event"] = value.text(new_york(told.first_event))
        spans["last_event"] = value.text(new_york(told.last_event))
    return {
        # What one looks for stands first; the UI keeps this order.
        "state": value.text(f"{told.state.state}: {told.state.why}".removesuffix(": ")),
        "rows": value.int(told.rows),
        "rows_in": value.int(told.rows_in),
        "duplicates": value.int(told.duplicates.total),
        "symbols": value.int(told.symbols),
        **spans,
        "events_per_minute": value.md(events_per_minute(examined.figures, told, SMALL)),
        "latency_by_hour": value.md(latency_by_hour(examined.figures, SMALL)),
        "busiest_symbols": value.md(busiest_in_text(examined.figures)),
        "by_vendor": _by_vendor(told, examined.figures),
        **({"gaps": gaps_table(told)} if told.gaps else {}),
        "preview": _preview(made.preview(_PREVIEW_ROWS)),
        "read_it": value.md(f'```python\nimport pandas as pd\npd.read_hdf("{path}")\n```'),
        "path": value.path(str(path)),
        **_large_pictures(made, examined),
        "quarantined_frames": value.int(sum(f.quarantined for f in told.frames)),
        "duplicates_redelivered": value.int(told.duplicates.redelivered),
        "duplicates_other_connection": value.int(told.duplicates.other_connection),
        "duplicates_same_id": value.int(told.duplicates.same_id),
        "micro_batches": value.int(len(told.inputs)),
        "micro_batches_set_aside": value.int(len(told.set_aside)),
        "bytes": value.int(path.stat().st_size),
        "seconds": value.float(round(making, 3)),
        **{f"seconds_{stage}": value.float(round(s, 3)) for stage, s in seconds.items()},
        "rows_per_second": value.float(round(told.rows_in / max(making, 1e-9), 1)),
        "unchanged": value.bool(made.unchanged),
        "content_hash": value.text(told.content_hash),
        "dagster/row_count": value.int(told.rows),
        "dagster/column_schema": value.table_schema(schema_of(told.event_type)),
    }


def _large_pictures(made: Consolidated, examined: Examined) -> dict[str, dg.MetadataValue]:
    """A point a minute, behind a button: 30 kB for ever in the event log. So not for a provisional
    day, which is made again and again, nor for one that has not changed."""
    from edc_pipeline.day_report.pictures import (  # noqa: PLC0415 - heavy
        LARGE,
        events_per_minute,
        latency_by_hour,
        prices_of_the_busiest,
    )

    told = made.certificate
    if made.unchanged or told.state.state == "provisional":
        return {}
    drawn = (
        events_per_minute(examined.figures, told, LARGE),
        latency_by_hour(examined.figures, LARGE),
        prices_of_the_busiest(examined.figures, LARGE),
    )
    return {"large_pictures": dg.MetadataValue.md("\n\n".join(drawn))}


def _by_vendor(told: Certificate, figures: Figures) -> dg.TableMetadataValue:
    quarantined: Counter[str] = Counter()
    for frames in told.frames:
        quarantined[f"{frames.vendor}/{frames.feed}"] += frames.quarantined
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "feed": feed,
                    "rows": n.rows,
                    "p50_ms": _latency_ms(figures, feed, 0.5),
                    "p99_ms": _latency_ms(figures, feed, 0.99),
                    "quarantined": quarantined[feed],
                    "rows_in": n.rows_in,
                    "redelivered": n.duplicates.redelivered,
                    "other_connection": n.duplicates.other_connection,
                    "same_id": n.duplicates.same_id,
                    "identity": n.identity,
                }
            )
            for feed, n in sorted(told.feeds.items())[:_FEEDS_SHOWN]
        ]
    )


def _latency_ms(figures: Figures, feed: str, q: float) -> str | float:
    """Of the vendor, all its feeds together; nothing where it stamps no time."""
    from edc_pipeline.day_report.figures import latency_quantile  # noqa: PLC0415 - heavy

    counts = figures.latency.get(feed.partition("/")[0])
    seconds = None if counts is None else latency_quantile(counts.sum(axis=0), q)
    return "" if seconds is None else round(1000 * seconds, 1)


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


def column_lineage() -> dg.TableColumnLineage:
    """Each column of a daily file is the micro-batches' column of that name; copies that the vendor
    meant are numbered anew over the whole day, from the content and the connection."""
    names = {c.name for event_type in EVENT_TYPES for c in COLUMNS[event_type]}
    deps = {name: [dg.TableColumnDep(dg.AssetKey("micro_batches"), name)] for name in sorted(names)}
    deps["occurrence"] = [
        dg.TableColumnDep(dg.AssetKey("micro_batches"), name)
        for name in ("connection", "frame", "occurrence")
    ]
    return dg.TableColumnLineage(deps)
