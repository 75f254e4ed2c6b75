"""The sensor that tells what is wrong to a person who does not look."""

from __future__ import annotations

import shutil
import time
from typing import Final

import dagster as dg
import msgspec
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord

from edc_pipeline.alerts.notices import Memory, look, remember
from edc_pipeline.alerts.send import CannotAlert, send
from edc_pipeline.alerts.troubles import (
    Trouble,
    disk_short,
    mute_feeds,
    troubles_of_capture,
)
from edc_pipeline.defs.capture import last_report
from edc_pipeline.defs.checks import ASSET, CHECKS
from edc_pipeline.defs.configuration import NotConfigured, settings_now
from edc_pipeline.defs.day_report import DAY_IS_WHOLE
from edc_pipeline.settings import Settings

_CHECKS: Final = (
    *(dg.AssetCheckKey(ASSET, name) for name in CHECKS),
    dg.AssetCheckKey(dg.AssetKey("day_report"), DAY_IS_WHOLE),
)
_EVALUATIONS_AT_ONCE: Final = 100
_DONE_S: Final = 3600.0  # a run that has not come to its checks by then will not
_RUNS_AT_ONCE: Final = 20
_RED_AT_MOST: Final = 200
# Read in one go, an error's text may be a traceback of kilobytes.
_WORDS: Final = 300


class Cursor(msgspec.Struct, kw_only=True):
    memory: Memory
    checks_seen: dict[str, int]  # by check, the id of the last evaluation looked at
    runs_after: float
    red: dict[str, str] = {}  # by check and partition, what it said; until it passes again


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Tells what is wrong to the addresses of EDC_ALERT_URLS: capture down, mute feeds, failed"
        " runs, red checks, a short disk. Once each, at most one message a kind in"
        " `alerts.cool_down_minutes`, and when it is over. `edc alert test` tries the addresses."
    ),
)
def tell_what_is_wrong(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    now = time.time()
    instance = context.instance
    cursor = _cursor(context.cursor) or Cursor(
        memory=Memory(), checks_seen=_latest_checks(instance), runs_after=now
    )
    try:
        settings = settings_now()
    except NotConfigured as reason:
        return dg.SkipReason(str(reason))
    runs, cursor.runs_after = failed_runs(instance, cursor.runs_after)
    _take_checks(instance, cursor, now)
    red = [Trouble("check_red", key, words) for key, words in cursor.red.items()]
    troubles = [*red, *runs, *_of_this_machine(settings)]
    said, cursor.memory = _tell(cursor.memory, troubles, settings, now)
    return dg.SensorResult(
        skip_reason=dg.SkipReason(said), cursor=msgspec.json.encode(cursor).decode()
    )


def _tell(
    memory: Memory, troubles: list[Trouble], settings: Settings, now: float
) -> tuple[str, Memory]:
    """What the tick says, and what is remembered."""
    wrong = "; ".join(t.words for t in troubles)[:1000] or "nothing is wrong"
    urls, rules = settings.alert_urls, settings.alerts
    told, notices = look(memory, troubles, rules, now)
    if not urls:
        # Nobody to tell: the tick's text is all there is, and nothing piles up.
        return f"{wrong}. EDC_ALERT_URLS is not set: nobody is told", told
    if not notices:
        return wrong, told
    try:
        failed = {name for notice in notices for name in send(notice, urls)}
    except CannotAlert as reason:
        return f"{wrong}. Nobody is told: {reason}", remember(memory, troubles, rules, now)
    if len(failed) == len(urls):
        said = f"{wrong}. No address took the alert: it is tried again"
        return said, remember(memory, troubles, rules, now)
    titles = "; ".join(notice.title for notice in notices)
    missed = f"; not taken by {', '.join(sorted(failed))}" if failed else ""
    return f"told: {titles}{missed}. {wrong}", told


def _of_this_machine(settings: Settings) -> list[Trouble]:
    from edc_pipeline.spool.owner import current_owner  # noqa: PLC0415

    now_ns = time.time_ns()
    feeds = settings.enabled_feeds
    report = last_report(settings.spool)
    held, _ = current_owner(settings.spool)
    found = troubles_of_capture(bool(feeds), held, report, now_ns)
    if held:
        markets = {name: feed.market for name, feed in feeds.items()}
        found += mute_feeds(report, markets, now_ns)
    if settings.data_dir.is_dir():
        free = shutil.disk_usage(settings.data_dir).free
        found += disk_short(free, settings.alerts.disk_free_gib, str(settings.data_dir))
    return found


def failed_runs(instance: dg.DagsterInstance, after: float) -> tuple[list[Trouble], float]:
    """Runs that failed since, the oldest first, and until when they were looked at."""
    import datetime as dt  # noqa: PLC0415

    since = dt.datetime.fromtimestamp(after, dt.UTC)
    failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since)
    records = instance.get_run_records(
        failed, limit=_RUNS_AT_ONCE, order_by="update_timestamp", ascending=True
    )
    troubles = []
    for record in records:
        after = max(after, record.update_timestamp.timestamp())
        run = record.dagster_run
        partition = run.tags.get("dagster/partition", "")
        name = f"{run.job_name.replace('__ASSET_JOB', 'materialise')} {partition}".rstrip()
        words = f"{name}, run {run.run_id[:8]}: {_why(instance, run.run_id)}"
        troubles.append(Trouble("run_failed", run.run_id, words, happened=True))
    return troubles, after


def _why(instance: dg.DagsterInstance, run_id: str) -> str:
    """The first failure of a step, or of the run itself, in a line."""
    of_type = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    for entry in instance.all_logs(run_id, of_type=of_type):
        event = entry.dagster_event
        if event is None:
            continue
        if event.is_step_failure:
            data = event.step_failure_data
            told = data.user_failure_data
            words = (told.description if told else "") or (data.error.message if data.error else "")
        else:
            words = event.message or ""
        if words:
            return " ".join(words.split())[:_WORDS]
    return "it does not say why"


def _take_checks(instance: dg.DagsterInstance, cursor: Cursor, now: float) -> None:
    """Enter what the checks said since: red, until they pass."""
    for check in _CHECKS:
        seen = cursor.checks_seen.get(check.name, 0)
        # By check and not by event: the log that Dagster keeps by default, in SQLite, has a file
        # for each run, and no order of events over all of them.
        history = instance.event_log_storage.get_asset_check_execution_history(
            check, limit=_EVALUATIONS_AT_ONCE
        )
        new = [r for r in history if r.id > seen]
        # What is planned keeps its id when it is done; what its run never came to, stays planned.
        begun = [r.id for r in new if not _said(r) and now - r.create_timestamp < _DONE_S]
        cursor.checks_seen[check.name] = max([seen, *(r.id for r in new)])
        if begun:
            cursor.checks_seen[check.name] = min(begun) - 1
        for record in reversed(new):  # some of them again, to the same end
            said = _said(record)
            if said is None:
                continue
            key = f"{check.asset_key.to_user_string()}:{check.name} {said.partition or ''}"
            key = key.rstrip()
            if said.passed or said.severity != dg.AssetCheckSeverity.ERROR:
                cursor.red.pop(key, None)
            elif len(cursor.red) < _RED_AT_MOST:
                cursor.red[key] = f"{key}: {(said.description or '')[:_WORDS]}"


def _said(record: AssetCheckExecutionRecord) -> dg.AssetCheckEvaluation | None:
    """What a check said; None while it is only planned, though the record has an event then."""
    said: object = record.evaluation
    return said if isinstance(said, dg.AssetCheckEvaluation) else None


def _latest_checks(instance: dg.DagsterInstance) -> dict[str, int]:
    storage = instance.event_log_storage
    history = {c.name: storage.get_asset_check_execution_history(c, limit=1) for c in _CHECKS}
    return {name: records[0].id for name, records in history.items() if records}


def _cursor(text: str | None) -> Cursor | None:
    try:
        return msgspec.json.decode(text, type=Cursor) if text else None
    except msgspec.MsgspecError:  # of other code: begin anew
        return None


wing: Final = dg.Definitions(sensors=[tell_what_is_wrong])
