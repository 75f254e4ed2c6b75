"""The report of a day: its three files beside each other, whole or not, and why."""

# No postponed annotations here: Dagster reads the types of `context` and of the result.
import datetime as dt
import hashlib
import json
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final

import dagster as dg

from edc_pipeline import __version__
from edc_pipeline.defs.assets import GROUP, OWNERS, POOL, consolidated_feeds
from edc_pipeline.defs.configuration import NotConfigured, plain_failure, settings_now
from edc_pipeline.defs.partitions import FIRST_DAY, days
from edc_pipeline.events import EVENT_TYPES
from edc_pipeline.market_day import market_day, parse_day

if TYPE_CHECKING:
    from edc_pipeline.day_report.the_day import FileOfDay

# The types of a night are made one after another: their report waits for the last.
QUIET_S: Final = 60.0
_LOOK_BACK_DAYS: Final = 60

DAY_IS_WHOLE: Final = "day_is_whole"


with warnings.catch_warnings():
    # In preview and beta with 1.13; `checks` says why the first is worth it.
    warnings.simplefilter("ignore", dg.PreviewWarning)
    warnings.simplefilter("ignore", dg.BetaWarning)
    _CHECK: Final = dg.AssetCheckSpec(
        DAY_IS_WHOLE,
        asset="day_report",
        partitions_def=days,
        description=(
            "Every event type that was captured has a file, sealed or restated. Yellow while one"
            " is provisional; red where one is missing, does not balance, or has missed too much."
            " What to do: docs/runbook/day_is_whole.md"
        ),
    )
    _ALL_OF_A_DAY: Final = dg.MultiToSingleDimensionPartitionMapping("date")


@dg.asset(
    partitions_def=days,
    deps=[dg.AssetDep(consolidated_feeds, partition_mapping=_ALL_OF_A_DAY)],
    check_specs=[_CHECK],
    group_name=GROUP,
    kinds={"html"},
    owners=OWNERS,
    code_version=__version__,
    pool=POOL,
    description=(
        "The trades, quotes and reference prices of one New York day beside each other: which of"
        " them are whole, which are not and why, and pictures of all three with a point a minute,"
        " on one page `reports/day_report_2026_01_22.html` that can be mailed as it is.\n\n"
        "Written by itself, by the sensor `write_day_reports`, some minutes after the last of the"
        " day's files was made."
    ),
)
def day_report(
    context: dg.AssetExecutionContext,
) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster refuses a parametrised one
    from edc_pipeline.day_report.the_day import (  # noqa: PLC0415 - heavy
        files_of,
        report_file,
        write_page,
    )

    day = parse_day(context.partition_key)
    try:
        settings = settings_now()
    except NotConfigured as reason:
        raise plain_failure(reason) from None
    files = files_of(settings.spool, settings.daily, day)
    if not any(f.certificate for f in files):
        told = "; ".join(f"{f.event_type}: {f.in_words}" for f in files)
        raise plain_failure(f"there is no daily file of {day} ({told})")
    path = report_file(settings.data_dir, day)
    write_page(path, day, files)
    return dg.MaterializeResult(
        metadata=_metadata(files, path),
        check_results=[_day_is_whole(files)],
        data_version=dg.DataVersion(_version(files)),
        tags={"edc/whole": "yes" if all(f.whole for f in files) else "no"},
    )


def _metadata(files: "list[FileOfDay]", path: Path) -> dict[str, dg.MetadataValue]:
    told = [f.certificate for f in files if f.certificate]
    value = dg.MetadataValue
    return {
        "whole": value.bool(all(f.whole for f in files)),
        "by_event_type": value.table(
            [
                dg.TableRecord(
                    {
                        "event_type": f.event_type,
                        "state": f.in_words[:500],
                        "rows": f.certificate.rows if f.certificate else 0,
                        "duplicates": f.certificate.duplicates.total if f.certificate else 0,
                        "symbols": f.certificate.symbols if f.certificate else 0,
                        "gaps": len(f.certificate.gaps) if f.certificate else 0,
                    }
                )
                for f in files
            ]
        ),
        "page": value.path(str(path.resolve())),
        "rows": value.int(sum(c.rows for c in told)),
        "duplicates": value.int(sum(c.duplicates.total for c in told)),
        "event_types": value.int(len(told)),
    }


def _day_is_whole(files: "list[FileOfDay]") -> dg.AssetCheckResult:
    not_whole = [f for f in files if not f.whole]
    red = any(f.wrong for f in not_whole)
    return dg.AssetCheckResult(
        check_name=DAY_IS_WHOLE,
        passed=not not_whole,
        severity=dg.AssetCheckSeverity.ERROR if red else dg.AssetCheckSeverity.WARN,
        description="; ".join(f"{f.event_type}: {f.in_words}" for f in not_whole)[:2000]
        or "; ".join(f"{f.event_type}: {f.in_words}" for f in files)[:2000],
    )


def _version(files: "list[FileOfDay]") -> str:
    """Of what the report is made from: an unchanged day has an unchanged report."""
    said = [
        [
            f.event_type,
            f.certificate.content_hash,
            f.certificate.state.state,
            len(f.certificate.gaps),
        ]
        if f.certificate
        else [f.event_type, f.problem]
        for f in files
    ]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:32]


day_reports: Final = dg.define_asset_job(
    "day_reports",
    selection=dg.AssetSelection.assets(day_report),
    executor_def=dg.in_process_executor,
    description="Writes the report of one New York day.",
)


@dg.sensor(
    job=day_reports,
    minimum_interval_seconds=240,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Writes a day's report some minutes after the last of its daily files has changed.",
)
def write_day_reports(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    try:
        settings = settings_now()
    except NotConfigured as reason:
        return dg.SkipReason(str(reason))
    written: dict[str, int] = json.loads(context.cursor or "{}")
    now = time.time()
    today = market_day(time.time_ns())
    marks = _changed_at(settings.daily, today)
    due = {
        day: mark
        for day, mark in marks.items()
        if written.get(day) != mark and now - mark / 1e9 >= QUIET_S
    }
    kept = {day: mark for day, mark in {**written, **due}.items() if day in marks}
    return dg.SensorResult(
        run_requests=[
            dg.RunRequest(run_key=f"{day}|{mark}", partition_key=day) for day, mark in due.items()
        ],
        skip_reason=None if due else dg.SkipReason("no daily file has changed"),
        cursor=json.dumps(kept, sort_keys=True),
    )


def _changed_at(daily: Path, today: dt.date) -> dict[str, int]:
    """By day, when the latest of its files was written; past days, since today goes on changing."""
    from edc_pipeline.consolidation.names import daily_file  # noqa: PLC0415 - heavy

    marks: dict[str, int] = {}
    for back in range(1, _LOOK_BACK_DAYS + 1):
        day = today - dt.timedelta(days=back)
        if day < parse_day(FIRST_DAY):
            break
        paths = [daily_file(daily, event_type, day) for event_type in EVENT_TYPES]
        changed = [p.stat().st_mtime_ns for p in paths if p.exists()]
        if changed:
            marks[day.isoformat()] = max(changed)
    return marks


wing: Final = dg.Definitions(assets=[day_report], jobs=[day_reports], sensors=[write_day_reports])
