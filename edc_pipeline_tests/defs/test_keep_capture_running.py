"""What the sensor decides, on a real instance with real runs and a real lock."""

from __future__ import annotations

import datetime as dt
import os
import time
from pathlib import Path

import dagster as dg
import pytest

from edc_pipeline.capture.report import FeedReport, Report
from edc_pipeline.defs.capture import capture, keep_capture_running
from edc_pipeline.defs.capture_watch import (
    ENDING_S,
    SILENT_S,
    STARTING_S,
    Decision,
    HostRun,
    decide,
    is_rotation_due,
)
from edc_pipeline.market_day import MARKET_ZONE
from edc_pipeline.spool.owner import Owner, own_spool
from edc_pipeline.spool.status import write_status
from edc_pipeline_tests.defs.conftest import write_feeds

NOW = 1_769_100_000.0
RUN = "11112222-aaaa"


def owner(run_id: str = RUN) -> Owner:
    return Owner(collector="c", pid=os.getpid(), started_at=int(NOW * 1e9), run_id=run_id)


def report(run_id: str = RUN, *, age_s: float = 1.0, stopping: str = "") -> Report:
    feed = FeedReport(
        name="stocks",
        vendor="tiingo",
        feed="iex",
        state="live",
        connections=1,
        reconnects=0,
        frames=12_345,
        with_events=12_345,
        control=0,
        quarantined=0,
        bytes=1,
        events={"trade": 12_345},
        symbols=1,
        last_frame_at=None,
        last_problem="",
    )
    return Report(
        collector="c",
        pid=1,
        run_id=run_id,
        started_at=0,
        at=int((NOW - age_s) * 1e9),
        feeds=[feed],
        waiting_rows=0,
        micro_batches=1,
        flushed_at=None,
        disk_problem="",
        stopping=stopping,
    )


def run(status: str = "STARTED", *, age_s: float = 3600.0, **fields: object) -> HostRun:
    values = {"run_id": RUN, "created_at": NOW - age_s, "started_at": NOW - age_s, **fields}
    return HostRun(status=status, **values)  # type: ignore[arg-type]


# The rule


def test_nothing_runs_so_capture_is_started() -> None:
    decision = decide(False, None, None, [], NOW)
    assert (decision.start, decision.lost) == (True, ())


def test_live_capture_is_left_alone_and_described() -> None:
    decision = decide(True, owner(), report(), [run()], NOW)
    assert not decision.start
    assert decision.say.startswith("capture is live: 1 feed, 12,345 events, run 11112222")


def test_a_feed_that_is_not_live_is_named() -> None:
    said = report()
    said.feeds[0].state = "connecting"
    assert "stocks connecting" in decide(True, owner(), said, [run()], NOW).say


def test_the_command_line_owns_the_spool() -> None:
    decision = decide(True, owner(""), None, [], NOW)
    assert not decision.start
    assert "`edc capture` on the command line" in decision.say


def test_another_dagsters_run_owns_the_spool() -> None:
    decision = decide(True, owner("99998888-bbbb"), None, [], NOW)
    assert not decision.start
    assert "another Dagster" in decision.say


@pytest.mark.parametrize("status", ["STARTED", "STARTING", "NOT_STARTED", "CANCELING"])
def test_a_run_without_a_collector_is_lost_and_replaced(status: str) -> None:
    decision = decide(False, None, report(age_s=SILENT_S + 1), [run(status)], NOW)
    assert [r.run_id for r in decision.lost] == [RUN]
    assert decision.start


def test_a_queued_run_is_waited_for() -> None:
    decision = decide(False, None, None, [run("QUEUED", age_s=9999)], NOW)
    assert (decision.start, decision.lost) == (False, ())


@pytest.mark.parametrize(
    ("age_s", "said"),
    [
        (STARTING_S - 1, None),  # has not said a word yet
        (3600, report(age_s=SILENT_S - 1)),  # spoke a moment ago
        (3600, report(age_s=ENDING_S - 1, stopping="asked to")),  # drained, its run ends now
    ],
)
def test_grace(age_s: float, said: Report | None) -> None:
    decision = decide(False, None, said, [run(age_s=age_s)], NOW)
    assert (decision.start, decision.lost) == (False, ())


@pytest.mark.parametrize(
    ("age_s", "said"),
    [
        (STARTING_S + 1, None),
        (STARTING_S + 1, report("of-another-run")),
        (3600, report(age_s=ENDING_S + 1, stopping="asked to")),
    ],
)
def test_grace_ends(age_s: float, said: Report | None) -> None:
    assert decide(False, None, said, [run(age_s=age_s)], NOW).lost


def test_an_orphan_collects_until_it_is_replaced() -> None:
    orphan = run(orphaned=True)
    decision = decide(True, owner(), report(), [orphan], NOW)
    assert decision.hand_over == orphan
    assert not decision.start
    asked = decide(True, owner(), report(), [run("CANCELING", orphaned=True)], NOW)
    assert asked.hand_over is None
    assert "draining" in asked.say


def test_a_run_that_keeps_failing_is_tried_ever_more_seldom() -> None:
    """A refused key ends every run within seconds: no crash loop, and the tick says so."""

    def failed(number: int) -> list[HostRun]:
        return [
            run("FAILURE", age_s=10, ended_at=NOW - 5, run_id=f"{n}-failed") for n in range(number)
        ]

    started = [decide(False, None, None, failed(n), NOW).start for n in range(6)]
    assert started == [True, True, True, False, False, False]
    decision = decide(False, None, None, failed(4), NOW)
    assert "capture failed 4 times in a row" in decision.say
    assert "next try in 55 s" in decision.say
    for failures in range(3, 20):
        assert decide(False, None, None, failed(failures), NOW + 601).start


def test_a_run_that_had_worked_is_replaced_at_once() -> None:
    quick = run("FAILURE", age_s=10, ended_at=NOW - 5)
    worked = run("FAILURE", age_s=3600, ended_at=NOW - 20)
    assert decide(False, None, None, [worked] * 9, NOW).start
    assert decide(False, None, None, [quick, quick, worked, quick], NOW).start


# The daily hand-over

EVENING = dt.datetime(2026, 1, 22, 20, 15, tzinfo=MARKET_ZONE).timestamp()


def evening(minutes: float, *others: HostRun, began_h: float = 20) -> Decision:
    """What is decided so many minutes after a quarter past eight, for a run of the day."""
    now = EVENING + 60 * minutes
    began = EVENING - 3600 * began_h
    mine = run(created_at=began, started_at=began)
    return decide(True, owner(), None, [*others, mine], now, "20:15")


@pytest.mark.parametrize(
    ("minutes", "began_h", "over"),
    [
        (-1, 20, False),
        (0, 20, True),
        (59, 20, True),
        (61, 20, False),  # no quiet moment any more: tomorrow
        (10, -0.1, False),  # began at 20:21: it is today's successor
        (1440, 0.5, True),  # the next evening
    ],
)
def test_a_run_hands_over_once_a_day(minutes: float, began_h: float, over: bool) -> None:
    decision = evening(minutes, began_h=began_h)
    assert (decision.start, decision.take_over) == (over, over)
    assert decision.lost == ()


@pytest.mark.parametrize(
    "day",
    [dt.date(2026, 3, 8), dt.date(2026, 11, 1)],
)
def test_it_hands_over_by_new_yorks_clock(day: dt.date) -> None:
    at = dt.datetime(day.year, day.month, day.day, 20, 15, tzinfo=MARKET_ZONE).timestamp()
    assert is_rotation_due(at - 80_000, 0.0, at, "20:15")
    assert not is_rotation_due(at - 80_000, 0.0, at - 1, "20:15")


def test_no_rotation_where_it_is_switched_off() -> None:
    assert not is_rotation_due(EVENING - 80_000, 0.0, EVENING, "")


def heir(status: str, minutes: float) -> HostRun:
    at = EVENING + 60 * minutes
    return run(status, run_id="33334444-cccc", created_at=at, started_at=at, takes_over=True)


def test_the_heir_is_waited_for_and_not_lost() -> None:
    for minutes in (1, 5, 11):
        decision = evening(minutes, heir("STARTED", 0.5))
        assert (decision.start, decision.lost) == (False, ())
        assert "run 33334444 takes over" in decision.say


def test_an_heir_that_never_took_over_is_lost_and_not_tried_again_today() -> None:
    (lost,) = evening(14, heir("STARTED", 0.5)).lost
    assert lost.run_id == "33334444-cccc"
    assert not evening(20, heir("FAILURE", 0.5)).start
    tomorrow = evening(1440, heir("FAILURE", 0.5))
    assert tomorrow.take_over


def test_between_two_owners_nobody_is_lost() -> None:
    """The former has drained and let go this moment; the heir has not got the lock yet."""
    said = report(age_s=1, stopping="handed over")
    taking = run(run_id="33334444-cccc", age_s=120, takes_over=True)
    decision = decide(False, None, said, [taking, run("SUCCESS")], NOW, "20:15")
    assert (decision.start, decision.lost) == (False, ())


# The sensor around it


def tick(instance: dg.DagsterInstance) -> tuple[int, str]:
    answer = keep_capture_running.evaluate_tick(dg.build_sensor_context(instance=instance))
    return len(answer.run_requests or []), answer.skip_message or ""


def a_run(instance: dg.DagsterInstance, status: dg.DagsterRunStatus) -> str:
    created = instance.create_run_for_job(capture, status=status)
    return created.run_id


def test_it_starts_capture(data: Path, instance: dg.DagsterInstance) -> None:
    answer = keep_capture_running.evaluate_tick(dg.build_sensor_context(instance=instance))
    assert answer.run_requests is not None
    (request,) = answer.run_requests
    assert request.run_key is None
    assert request.tags["edc/feeds"] == "stocks"


def test_it_sees_a_live_run(data: Path, instance: dg.DagsterInstance) -> None:
    run_id = a_run(instance, dg.DagsterRunStatus.STARTED)
    with own_spool(data / "spool", owner(run_id)):
        write_status(data / "spool", report(run_id))
        assert tick(instance) == (
            0,
            f"capture is live: 1 feed, 12,345 events, run {run_id[:8]}, process {os.getpid()}",
        )


def test_it_reports_a_lost_run_as_failed(data: Path, instance: dg.DagsterInstance) -> None:
    run_id = a_run(instance, dg.DagsterRunStatus.STARTED)
    with own_spool(data / "spool", owner(run_id)):
        pass  # it had the lock, and is gone
    long_ago = report(run_id)
    long_ago.at = int((time.time() - 60) * 1e9)
    write_status(data / "spool", long_ago)
    assert tick(instance)[0] == 1
    lost = instance.get_run_by_id(run_id)
    assert lost is not None
    assert lost.status is dg.DagsterRunStatus.FAILURE


def test_a_missing_key_is_a_reason_and_no_run(
    data: Path, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    write_feeds(tmp_path, "wss://api.tiingo.com/iex")
    runs, why = tick(instance)
    assert runs == 0
    assert why.startswith("capture can't start: EDC_TIINGO_TOKEN is not set")


def test_wrong_settings_are_a_reason_and_no_run(
    data: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDC_CAPTURE__FLUSH_SECONDS", "soon")
    runs, why = tick(instance)
    assert runs == 0
    assert "EDC_CAPTURE__FLUSH_SECONDS" in why


def test_a_spool_that_is_owned_fails_the_run_in_a_line(
    data: Path, instance: dg.DagsterInstance
) -> None:
    with own_spool(data / "spool", owner("")):
        result = capture.execute_in_process(instance=instance, raise_on_error=False)
    (failure,) = [e for e in result.all_events if e.is_step_failure]
    user_failure = failure.step_failure_data.user_failure_data
    assert user_failure is not None
    assert "is owned by collector c" in (user_failure.description or "")
