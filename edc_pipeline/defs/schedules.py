"""When daily files are made: every night for yesterday, and again when data lands late."""

from __future__ import annotations

import datetime as dt
import json
import time
from typing import Final

import dagster as dg

from edc_pipeline.defs.assets import consolidated_feeds
from edc_pipeline.defs.configuration import NotConfigured, settings_now
from edc_pipeline.defs.late_batches import landed_late, past_days
from edc_pipeline.defs.partitions import FIRST_DAY, key_of
from edc_pipeline.events import EVENT_TYPES, EventType
from edc_pipeline.market_day import MARKET_ZONE, MARKET_ZONE_NAME, market_day, parse_day
from edc_pipeline.settings import Consolidation, Settings
from edc_pipeline.spool.layout import batch_files
from edc_pipeline.spool.ledger import Ledger

consolidate: Final = dg.define_asset_job(
    "consolidate",
    selection=dg.AssetSelection.assets(consolidated_feeds),
    executor_def=dg.in_process_executor,
    description="Makes the daily file of one New York day and one event type.",
)


def _cron() -> str:
    """The settings' time of day. Wrong settings must not keep the code location from loading."""
    try:
        at = settings_now().consolidation.at
    except NotConfigured:
        at = Consolidation().at
    hour, minute = at.split(":")
    return f"{int(minute)} {int(hour)} * * *"


@dg.schedule(
    job=consolidate,
    cron_schedule=_cron(),
    execution_timezone=MARKET_ZONE_NAME,
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night in New York: yesterday's daily file of each event type captured.",
)
def daily_consolidation(
    context: dg.ScheduleEvaluationContext,
) -> list[dg.RunRequest] | dg.SkipReason:
    # Named here and not taken from the partitions: the last of those is the unfinished today.
    tick = context.scheduled_execution_time.astimezone(MARKET_ZONE)
    yesterday = tick.date() - dt.timedelta(days=1)
    try:
        settings = settings_now()
    except NotConfigured as reason:
        return dg.SkipReason(str(reason))
    there = [t for t in EVENT_TYPES if _was_captured(settings, t, yesterday)]
    absent = ", ".join(t for t in EVENT_TYPES if t not in there)
    if not there:
        return dg.SkipReason(f"nothing was captured on {yesterday}: no {absent}")
    if absent:
        context.log.warning(f"nothing of these was captured on {yesterday}: {absent}")
    return [
        dg.RunRequest(run_key=key, partition_key=key)
        for key in (key_of(yesterday, event_type) for event_type in there)
    ]


def _was_captured(settings: Settings, event_type: EventType, day: dt.date) -> bool:
    """By the files, or by the ledger alone: events given out and not on disk must fail loudly."""
    return bool(
        batch_files(settings.spool, event_type, day)
        or Ledger(settings.spool).events_out(event_type, day)
    )


@dg.sensor(
    job=consolidate,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Makes a past day's file again when micro-batches have landed for it after it was made,"
        " once nothing more has landed for two minutes."
    ),
)
def late_micro_batches(
    context: dg.SensorEvaluationContext,
) -> dg.SensorResult | dg.SkipReason:
    try:
        settings = settings_now()
    except NotConfigured as reason:
        return dg.SkipReason(str(reason))
    # By day and type, the folder's mark when nothing was left to do for it.
    looked_at: dict[str, int] = json.loads(context.cursor or "{}")
    past = past_days(settings.spool, market_day(time.time_ns()))
    done = {p.name: p.mark for p in past if looked_at.get(p.name) == p.mark}
    requests, waiting = [], []
    for changed in (p for p in past if p.name not in done):
        late = landed_late(settings.spool, settings.daily, changed, time.time())
        if late == "still landing":
            waiting.append(changed.name)
            continue
        done[changed.name] = changed.mark
        if late == "all of it" and changed.day >= parse_day(FIRST_DAY):
            requests.append(
                dg.RunRequest(
                    run_key=f"{changed.name}|{changed.mark}",
                    partition_key=key_of(changed.day, changed.event_type),
                )
            )
    said = f"still landing: {', '.join(waiting)}" if waiting else "no late micro-batches"
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else dg.SkipReason(said),
        cursor=json.dumps(done, sort_keys=True),
    )


wing: Final = dg.Definitions(
    jobs=[consolidate], schedules=[daily_consolidation], sensors=[late_micro_batches]
)
