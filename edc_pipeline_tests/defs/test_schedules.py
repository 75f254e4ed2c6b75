"""When daily files are made: yesterday in New York, on days of 23 and 25 hours too."""

from __future__ import annotations

import datetime as dt
import os
import time
from pathlib import Path

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from edc_pipeline.consolidation import consolidate
from edc_pipeline.definitions import defs
from edc_pipeline.defs.late_batches import QUIET_S
from edc_pipeline.defs.schedules import daily_consolidation, late_micro_batches
from edc_pipeline.events import EventType
from edc_pipeline.market_day import MARKET_ZONE, midnight_ns
from edc_pipeline.spool.ledger import Ledger, Source
from edc_pipeline_tests.consolidation.spools import DAY, event, frames, write_batches


def captured(spool: Path, event_type: EventType, day: dt.date) -> None:
    stamp = midnight_ns(day) + 10**9
    rows = frames([[event(event_type, ts_event=stamp, created_at=stamp)]])
    write_batches(spool, [rows], event_type=event_type, day=day, collector=f"c-{event_type}")


def requested(at: str) -> tuple[list[str | None], str]:
    """What the schedule asks for at an instant of New York, or why it asks for nothing."""
    tick = dt.datetime.fromisoformat(at).replace(tzinfo=MARKET_ZONE)
    answer = daily_consolidation.evaluate_tick(
        dg.build_schedule_context(
            scheduled_execution_time=tick, repository_def=defs.get_repository_def()
        )
    )
    return [r.partition_key for r in answer.run_requests or []], answer.skip_message or ""


@pytest.mark.parametrize(
    ("at", "yesterday"),
    [
        ("2026-01-23T00:20:00", "2026-01-22"),
        ("2026-03-08T00:20:00", "2026-03-07"),  # in the night in which the clock goes forward
        ("2026-03-09T00:20:00", "2026-03-08"),  # after the day of 23 hours
        ("2026-11-01T00:20:00", "2026-10-31"),
        ("2026-11-02T00:20:00", "2026-11-01"),  # after the day of 25 hours
        ("2026-01-01T00:20:00", "2025-12-31"),
    ],
)
def test_yesterday_and_never_today(data: Path, at: str, yesterday: str) -> None:
    day = dt.date.fromisoformat(yesterday)
    for captured_day in (day, day + dt.timedelta(days=1)):
        for event_type in ("trade", "quote"):
            captured(data / "spool", event_type, captured_day)
    assert requested(at) == ([f"{yesterday}|trade", f"{yesterday}|quote"], "")


@pytest.mark.parametrize("day", ["2026-03-08", "2026-11-01"])
def test_one_tick_a_night_on_days_of_23_and_25_hours(day: str) -> None:
    start = dt.datetime.fromisoformat(f"{day}T00:00:00").replace(tzinfo=MARKET_ZONE)
    # What the daemon steps through.
    ticks = schedule_execution_time_iterator(
        start.timestamp(), daily_consolidation.cron_schedule, daily_consolidation.execution_timezone
    )
    first, second = next(ticks), next(ticks)
    assert [f"{t.astimezone(MARKET_ZONE):%H:%M}" for t in (first, second)] == ["00:20", "00:20"]
    assert second.astimezone(MARKET_ZONE).date() - first.astimezone(MARKET_ZONE).date() == (
        dt.timedelta(days=1)
    )
    hours = (second.timestamp() - first.timestamp()) / 3600
    assert hours == {"2026-03-08": 23, "2026-11-01": 25}[day]


def test_a_day_without_anything_is_skipped_and_said(data: Path) -> None:
    requests, why = requested("2026-01-23T00:20:00")
    assert requests == []
    assert "nothing was captured on 2026-01-22" in why


def test_events_that_never_reached_the_disk_are_run_for(data: Path) -> None:
    """The ledger knows of them, no micro-batch holds them: that has to fail, not to be skipped."""
    Ledger(data / "spool").flushed(
        "one",
        through_frame=0,
        at=0,
        frames={},
        events={(Source("stocks", "acme", "tape"), "trade", DAY): 5},
    )
    assert requested("2026-01-23T00:20:00")[0] == ["2026-01-22|trade"]


def test_wrong_settings_are_said(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDC_CAPTURE__FLUSH_ROWS", "many")
    assert "EDC_CAPTURE__FLUSH_ROWS" in requested("2026-01-23T00:20:00")[1]


def look(
    instance: dg.DagsterInstance, cursor: str | None
) -> tuple[list[str | None], str, str | None]:
    answer = late_micro_batches.evaluate_tick(
        dg.build_sensor_context(
            instance=instance, cursor=cursor, repository_def=defs.get_repository_def()
        )
    )
    return (
        [r.partition_key for r in answer.run_requests or []],
        answer.skip_message or "",
        answer.cursor,
    )


def test_late_micro_batches_make_their_day_again_once(
    data: Path, instance: dg.DagsterInstance
) -> None:
    spool = data / "spool"
    captured(spool, "trade", DAY)
    assert look(instance, None)[0] == []  # never consolidated: the schedule's business
    consolidate(spool, data / "daily", "trade", DAY)
    requests, why, cursor = look(instance, None)
    assert (requests, why) == ([], "no late micro-batches")

    stamp = midnight_ns(DAY) + 2 * 10**9
    rows = frames([[event(ts_event=stamp, created_at=stamp)]])
    (late,) = write_batches(spool, [rows], collector="late")
    requests, why, cursor = look(instance, cursor)
    assert (requests, why) == ([], "still landing: 2026-01-22|trade")

    quiet = time.time() - QUIET_S - 1
    os.utime(late, (quiet, quiet))
    requests, _, cursor = look(instance, cursor)
    assert requests == ["2026-01-22|trade"]
    assert look(instance, cursor)[0] == []  # asked for once

    consolidate(spool, data / "daily", "trade", DAY)
    assert look(instance, None)[0] == []
