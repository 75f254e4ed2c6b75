"""Capture inside Dagster: a job that hosts the collector, and a sensor that keeps it running."""

# No postponed annotations here: Dagster reads the type of `context`.
import fcntl
import logging
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import dagster as dg
from dagster._core.scheduler.instigation import InstigatorStatus, InstigatorType

from edc_pipeline.defs.capture_watch import HostRun, decide
from edc_pipeline.defs.configuration import NotConfigured, plain_failure, settings_for_capture
from edc_pipeline.defs.micro_batch_report import MicroBatchReporter
from edc_pipeline.printable import PrintableFormatter

if TYPE_CHECKING:
    from edc_pipeline.capture.report import Report

# dagster.yaml allows two runs with this tag at a time: one, and for the minute of a hand-over the
# next. That only one of them writes is held by the spool's lock.
LIVE: Final = {"edc/capture": "live"}
TAKES_OVER: Final = "edc/takes_over"
# `edc dev` holds a lock on the file of this name for as long as it lives.
DEV_LOCK_VARIABLE: Final = "DAGSTER_DEV_LOCK"

ORPHANED: Final = "edc/orphaned"

log = logging.getLogger(__name__)

_LOOKED_AT: Final = 20  # latest runs; the back-off needs no more


@dg.op(
    description=(
        "Connects to every enabled feed of feeds.yaml and writes micro-batches until it is"
        " terminated. Terminate drains: what was received is on disk before the run ends."
    )
)
def capture_feeds(context: dg.OpExecutionContext) -> None:
    from edc_pipeline.capture.metrics import NoMetricsPort  # noqa: PLC0415
    from edc_pipeline.capture.run import CaptureFailed, run_capture  # noqa: PLC0415 - heavy
    from edc_pipeline.spool.owner import SpoolIsOwned, current_owner  # noqa: PLC0415
    from edc_pipeline.spool.replay_mark import SpoolIsReplay  # noqa: PLC0415
    from edc_pipeline.transports.webhook import NoWebhookPort  # noqa: PLC0415

    _log_to_compute_logs()
    try:
        settings = settings_for_capture()
        watchdog = Watchdog(context.instance, context.run_id)
        ended = run_capture(
            settings,
            run_id=context.run_id,
            may_go_on=watchdog,
            on_report=MicroBatchReporter(context, settings),
            reload=settings_for_capture,
            take_over=context.has_tag(TAKES_OVER) and current_owner(settings.spool)[0],
            report_every_s=settings.dagster.report_seconds,
        )
    except (
        *(NotConfigured, SpoolIsOwned, SpoolIsReplay, NoMetricsPort, NoWebhookPort),
        CaptureFailed,
    ) as reason:
        raise plain_failure(reason) from None
    events, batches = sum(ended.report.events.values()), ended.report.micro_batches
    context.log.info(f"drained ({ended.why}): {events:,} events in {batches} micro-batches")
    if watchdog.status() == dg.DagsterRunStatus.CANCELING:
        # Only then: Terminate shows as canceled, and a drain on request as a success.
        raise dg.DagsterExecutionInterruptedError
    if watchdog.abandoned:
        raise plain_failure(f"drained: {ended.why}")


@dg.job(
    executor_def=dg.in_process_executor,
    # A second try of the same run would find what the sensor is for.
    tags={**LIVE, "dagster/max_retries": "0"},
    description="Live capture: one long run, started by the sensor keep_capture_running.",
)
def capture() -> None:
    capture_feeds()


SENSOR: Final = "keep_capture_running"


class Watchdog:
    """Reads every few seconds whether this run should still collect; "" means go on.

    Terminate reaches the worker as SIGINT; this is for what does not: a run that was deleted or
    marked as ended while its worker lives, a sensor that was stopped, and a worker whose Dagster is
    gone.
    """

    def __init__(self, instance: dg.DagsterInstance, run_id: str) -> None:
        self._instance = instance
        self._run_id = run_id
        self._parent = os.getppid()
        self._dev_lock = os.environ.get(DEV_LOCK_VARIABLE, "")
        self.abandoned = False

    def __call__(self) -> str:
        if self._dev_lock and not _is_locked(Path(self._dev_lock)):
            self.abandoned = True
            return "the `edc dev` that started this run has died"
        status = self.status()
        if status is None:
            return "its run was deleted"
        if status != dg.DagsterRunStatus.STARTED:
            return f"its run is {status.value}"
        if self._sensor_is_stopped():
            return f"the sensor {SENSOR} was stopped"
        if os.getppid() != self._parent:
            self._ask_for_a_successor()
        return ""

    def _ask_for_a_successor(self) -> None:
        """Without its code server this worker can't be terminated from the UI, but what it does
        not capture now is lost. So it goes on until a new code server can take over: its sensor
        sees the tag, cancels this run, which drains, and starts another."""
        self._parent = os.getppid()
        log.warning("the code server that started this run has died; a new one will take over")
        self._instance.add_run_tags(self._run_id, {ORPHANED: "its code server has died"})

    def _sensor_is_stopped(self) -> bool:
        """A stopped sensor means stopped capture. A run that somebody launched goes on without."""
        run = self._instance.get_run_by_id(self._run_id)
        if run is None or run.tags.get("dagster/sensor_name") != SENSOR:
            return False
        stopped = self._instance.all_instigator_state(
            instigator_type=InstigatorType.SENSOR, instigator_statuses={InstigatorStatus.STOPPED}
        )
        return any(state.instigator_name == SENSOR for state in stopped)

    def status(self) -> dg.DagsterRunStatus | None:
        run = self._instance.get_run_by_id(self._run_id)
        return run.status if run else None


def _is_locked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _log_to_compute_logs() -> None:
    """Connects and reconnects go to the run's stderr, where they cost no event-log entry each."""
    logger = logging.getLogger("edc_pipeline")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(PrintableFormatter())
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)


@dg.sensor(
    job=capture,
    minimum_interval_seconds=10,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Keeps one capture run alive: starts it, starts it anew when it died, lets it hand over to"
        " the next once a day (`dagster.rotate_at`), and says in each tick what capture is doing."
        " Stop this sensor to stop capture: the run drains and ends."
    ),
)
def keep_capture_running(
    context: dg.SensorEvaluationContext,
) -> dg.RunRequest | dg.SkipReason:
    from edc_pipeline.spool.owner import current_owner  # noqa: PLC0415

    try:
        settings = settings_for_capture()
    except NotConfigured as reason:
        return dg.SkipReason(f"capture can't start: {reason}")
    held, owner = current_owner(settings.spool)
    decision = decide(
        *(held, owner, last_report(settings.spool), capture_runs(context.instance), time.time()),
        rotate_at=settings.dagster.rotate_at,
    )
    if decision.hand_over is not None:
        hand_over(context.instance, decision.hand_over)
    for run in decision.lost:
        report_lost(context.instance, run)
    if not decision.start:
        return dg.SkipReason(decision.say)
    context.log.info(decision.say)
    # No run_key: the next start after this one is meant as well.
    tags = {"edc/feeds": ", ".join(settings.enabled_feeds)}
    return dg.RunRequest(
        tags={**tags, TAKES_OVER: owner.run_id} if decision.take_over and owner else tags
    )


def capture_runs(instance: dg.DagsterInstance) -> list[HostRun]:
    """The latest runs of `capture`, the latest first."""
    records = instance.get_run_records(dg.RunsFilter(job_name=capture.name), limit=_LOOKED_AT)
    return [
        HostRun(
            run_id=r.dagster_run.run_id,
            status=r.dagster_run.status.value,
            created_at=r.create_timestamp.timestamp(),
            started_at=r.start_time,
            ended_at=r.end_time,
            orphaned=ORPHANED in r.dagster_run.tags,
            takes_over=TAKES_OVER in r.dagster_run.tags,
        )
        for r in records
    ]


def hand_over(instance: dg.DagsterInstance, orphan: HostRun) -> None:
    """Its own watchdog reads the new status and drains; the next tick starts the successor."""
    if run := instance.get_run_by_id(orphan.run_id):
        instance.report_run_canceling(run, "Its code server has died: a new run takes over.")


def report_lost(instance: dg.DagsterInstance, lost: HostRun) -> None:
    """Tell Dagster that a run which it believes alive has ended: nobody holds the spool for it."""
    run = instance.get_run_by_id(lost.run_id)
    if run is None or run.is_finished:
        return
    if lost.status == dg.DagsterRunStatus.CANCELING.value:
        instance.report_run_canceled(run, "The worker is gone; it was being terminated.")
    else:
        instance.report_run_failed(
            run, f"The worker is gone: this run is {lost.status}, but no process owns the spool."
        )


def last_report(spool: Path) -> "Report | None":
    """What the last collector said last, if this code understands it."""
    import msgspec  # noqa: PLC0415

    from edc_pipeline.capture.report import Report  # noqa: PLC0415
    from edc_pipeline.spool.status import read_status  # noqa: PLC0415

    status: Mapping[str, Any] | None = read_status(spool)
    try:
        return None if status is None else msgspec.convert(status, Report)
    except msgspec.ValidationError:
        return None


wing: Final = dg.Definitions(jobs=[capture], sensors=[keep_capture_running])
