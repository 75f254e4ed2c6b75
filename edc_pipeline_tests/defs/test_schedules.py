"""When daily files are made: yesterday in New York, on days of 23 and 25 hours too."""

from __future__ import annotations

import datetime as dt
import json
import os
import time
from pathlib import Path

import dagster as dg
import pytest
from dagster._utils.schedules import schedule_execution_time_iterator

from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.definitions import defs
from edc_pipeline.defs.day_report import write_day_reports
from edc_pipeline.defs.late_batches import QUIET_S
from edc_pipeline.defs.schedules import daily_consolidation, late_micro_batches, refresh_today
from edc_pipeline.events import EventType
from edc_pipeline.market_day import MARKET_ZONE, market_day, midnight_ns
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


def test_days_that_were_slept_through_are_looked_back_for(data: Path) -> None:
    """The machine was off on the nights of the 21st and the 22nd: their files are missing."""
    for days in range(9):
        captured(data / "spool", "trade", DAY - dt.timedelta(days=days))
    for day in (20, 19, 18):
        consolidate(data / "spool", data / "daily", "trade", dt.date(2026, 1, day))
    wanted = ["2026-01-16|trade", "2026-01-17|trade", "2026-01-21|trade", "2026-01-22|trade"]
    assert requested("2026-01-23T00:20:00") == (wanted, "")


def test_a_day_that_was_made_too_early_is_made_again(data: Path) -> None:
    """Yesterday's night made the 21st before its sealing time: provisional, so it is due."""
    early, sealed = dt.date(2026, 1, 21), dt.date(2026, 1, 20)
    for day in (early, sealed):
        captured(data / "spool", "trade", day)
    consolidate(data / "spool", data / "daily", "trade", sealed)
    consolidate(
        *(data / "spool", data / "daily", "trade", early), now_ns=midnight_ns(early) + 3600 * 10**9
    )
    assert requested("2026-01-23T00:20:00")[0] == ["2026-01-21|trade"]


def test_how_far_it_looks_back_is_set(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDC_CONSOLIDATION__LOOK_BACK_DAYS", "2")
    for days in range(5):
        captured(data / "spool", "quote", DAY - dt.timedelta(days=days))
    assert requested("2026-01-23T00:20:00")[0] == ["2026-01-21|quote", "2026-01-22|quote"]


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


# Today


def refreshed(instance: dg.DagsterInstance, cursor: str | None) -> tuple[list[str | None], str]:
    answer = refresh_today.evaluate_tick(
        dg.build_sensor_context(
            instance=instance, cursor=cursor, repository_def=defs.get_repository_def()
        )
    )
    return [r.partition_key for r in answer.run_requests or []], answer.cursor or ""


def test_today_is_refreshed_only_where_something_landed(
    data: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = market_day(time.time_ns())
    captured(data / "spool", "trade", today)
    assert refreshed(instance, None) == ([], "")  # switched off
    monkeypatch.setenv("EDC_CONSOLIDATION__TODAY_EVERY_MINUTES", "15")
    requests, cursor = refreshed(instance, None)
    assert requests == [f"{today}|trade"]
    assert refreshed(instance, cursor)[0] == []

    def a_while_ago(cursor: str, minutes: int) -> str:
        asked = json.loads(cursor)
        return json.dumps({k: (at - 60 * minutes, mark) for k, (at, mark) in asked.items()})

    assert refreshed(instance, a_while_ago(cursor, 20))[0] == []  # nothing new
    stamp = midnight_ns(today) + 2 * 10**9
    write_batches(
        data / "spool",
        [frames([[event(ts_event=stamp, created_at=stamp)]])],
        day=today,
        collector="later",
    )
    assert refreshed(instance, a_while_ago(cursor, 14))[0] == []  # too early
    assert refreshed(instance, a_while_ago(cursor, 16))[0] == [f"{today}|trade"]


# The report of a day


def reports_due(instance: dg.DagsterInstance, cursor: str | None) -> tuple[list[str | None], str]:
    answer = write_day_reports.evaluate_tick(
        dg.build_sensor_context(
            instance=instance, cursor=cursor, repository_def=defs.get_repository_def()
        )
    )
    return [r.partition_key for r in answer.run_requests or []], answer.cursor or ""


def test_a_report_follows_the_last_file_of_its_day(
    data: Path, instance: dg.DagsterInstance
) -> None:
    yesterday = market_day(time.time_ns()) - dt.timedelta(days=1)
    captured(data / "spool", "trade", yesterday)
    made = consolidate(data / "spool", data / "daily", "trade", yesterday)
    assert reports_due(instance, None)[0] == []  # the next type of this night may follow
    quiet = time.time() - QUIET_S - 1
    os.utime(made.path, (quiet, quiet))
    requests, cursor = reports_due(instance, None)
    assert requests == [str(yesterday)]
    assert reports_due(instance, cursor)[0] == []
