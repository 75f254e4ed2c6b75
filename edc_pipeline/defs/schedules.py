"""When daily files are made: every night for yesterday and what was missed before it, again when
data lands late, and through the day if that is switched on."""

from __future__ import annotations

import datetime as dt
import json
import time
from typing import Final

import dagster as dg

from edc_pipeline.defs.assets import consolidated_feeds
from edc_pipeline.defs.configuration import NotConfigured, settings_now
from edc_pipeline.defs.due_days import due_days, refresh_due
from edc_pipeline.defs.late_batches import landed_late, past_days
from edc_pipeline.defs.partitions import FIRST_DAY, key_of
from edc_pipeline.events import EVENT_TYPES
from edc_pipeline.market_day import MARKET_ZONE, MARKET_ZONE_NAME, market_day, parse_day
from edc_pipeline.settings_of_days import Consolidation

# Why a run was asked for, to be read in the list of runs.
WHY: Final = "edc/why"

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
    description=(
        "Every night in New York: yesterday's daily file of each event type captured, and those of"
        " the days before that are missing or could not be sealed"
        " (`consolidation.look_back_days`)."
    ),
)
def daily_consolidation(
    context: dg.ScheduleEvaluationContext,
) -> list[dg.RunRequest] | dg.SkipReason:
    # Named here and not taken from the partitions: the last of those is the unfinished today.
    today = context.scheduled_execution_time.astimezone(MARKET_ZONE).date()
    yesterday = today - dt.timedelta(days=1)
    try:
        settings = settings_now()
    except NotConfigured as reason:
        return dg.SkipReason(str(reason))
    first = parse_day(FIRST_DAY)
    days = settings.consolidation.look_back_days
    due = [d for d in due_days(settings.spool, settings.daily, today, days) if d[0] >= first]
    absent = ", ".join(t for t in EVENT_TYPES if (yesterday, t, "yesterday") not in due)
    if not due:
        return dg.SkipReason(f"nothing was captured on {yesterday}: no {absent}")
    if absent:
        context.log.warning(f"nothing of these was captured on {yesterday}: {absent}")
    return [
        dg.RunRequest(run_key=key, partition_key=key, tags={WHY: why})
        for key, why in ((key_of(day, event_type), why) for day, event_type, why in due)
    ]


@dg.sensor(
    job=consolidate,
    minimum_interval_seconds=120,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Makes a past day's file again when micro-batches have landed for it after it was made,"
        " once nothing more has landed for two minutes. A sealed day is restated by that, if it"
        " changes."
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
                    tags={WHY: "late micro-batches"},
                )
            )
    said = f"still landing: {', '.join(waiting)}" if waiting else "no late micro-batches"
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else dg.SkipReason(said),
        cursor=json.dumps(done, sort_keys=True),
    )


@dg.sensor(
    job=consolidate,
    minimum_interval_seconds=120,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Makes today's provisional files again every `consolidation.today_every_minutes`, where"
        " new micro-batches have landed. Off while that is 0."
    ),
)
def refresh_today(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    try:
        settings = settings_now()
    except NotConfigured as reason:
        return dg.SkipReason(str(reason))
    every = settings.consolidation.today_every_minutes
    if not every:
        return dg.SkipReason("switched off: consolidation.today_every_minutes is 0")
    today, now = market_day(time.time_ns()), time.time()
    asked = {key: (at, mark) for key, (at, mark) in json.loads(context.cursor or "{}").items()}
    due = refresh_due(settings.spool, today, every, asked, now)
    requests = []
    for event_type, mark in due.items():
        key = key_of(today, event_type)
        asked[key] = (now, mark)
        requests.append(
            dg.RunRequest(run_key=f"{key}|{mark}", partition_key=key, tags={WHY: "today so far"})
        )
    kept = {key: told for key, told in asked.items() if key.startswith(str(today))}
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else dg.SkipReason(f"nothing new within {every} min"),
        cursor=json.dumps(kept, sort_keys=True),
    )


wing: Final = dg.Definitions(
    jobs=[consolidate], schedules=[daily_consolidation], sensors=[late_micro_batches, refresh_today]
)
