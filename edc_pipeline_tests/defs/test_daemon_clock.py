"""The schedule in Dagster's own scheduler daemon, its clock moved to the nights that matter."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import (
    create_test_daemon_workspace_context,
    freeze_time,
    instance_for_test,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._scheduler.scheduler import launch_scheduled_runs

from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.market_day import MARKET_ZONE
from edc_pipeline_tests.defs.test_schedules import captured

QUEUED = {
    "run_coordinator": {
        "module": "dagster._core.run_coordinator",
        "class": "QueuedRunCoordinator",
    }
}


class Daemon:
    """Dagster's scheduler, one look at a time."""

    def __init__(self, context: WorkspaceProcessContext, instance: dg.DagsterInstance) -> None:
        self._context = context
        self._instance = instance
        self._known: set[str] = set()

    def looks_at(self, here: str) -> list[str]:
        """At an instant of New York: the partitions of the runs that it asks for, by name."""
        now = dt.datetime.fromisoformat(here).replace(tzinfo=MARKET_ZONE).astimezone(dt.UTC)
        with freeze_time(now):
            for _ in launch_scheduled_runs(self._context, logging.getLogger("daemon"), now, {}):
                pass
        new = [r for r in self._instance.get_runs() if r.run_id not in self._known]
        self._known |= {r.run_id for r in new}
        return sorted(r.tags["dagster/partition"] for r in new)


@pytest.fixture
def daemon(data: Path) -> Iterator[Daemon]:
    target = LoadableTargetOrigin(module_name="edc_pipeline.definitions")
    origin = InProcessCodeLocationOrigin(target, location_name="edc_pipeline")
    with (
        instance_for_test(overrides=QUEUED) as instance,
        create_test_daemon_workspace_context(
            InProcessWorkspaceLoadTarget(origin), instance
        ) as context,
    ):
        yield Daemon(context, instance)


@pytest.mark.parametrize(
    ("night", "yesterday"),
    [
        ("2026-03-08", "2026-03-07"),  # at two o'clock the clock goes forward
        ("2026-03-09", "2026-03-08"),  # after the day of 23 hours
        ("2026-11-01", "2026-10-31"),  # at two o'clock it goes back
        ("2026-11-02", "2026-11-01"),  # after the day of 25 hours
    ],
)
def test_it_fires_at_its_new_york_time(
    data: Path, daemon: Daemon, night: str, yesterday: str
) -> None:
    for event_type in ("trade", "quote"):
        captured(data / "spool", event_type, dt.date.fromisoformat(yesterday))
    assert daemon.looks_at(f"{night}T00:15:00") == []
    assert daemon.looks_at(f"{night}T00:19:59") == []
    wanted = [f"{yesterday}|quote", f"{yesterday}|trade"]
    assert daemon.looks_at(f"{night}T00:20:01") == wanted
    # Once a night: neither an hour later (on the 1st of November that is 1:20 twice) nor at noon.
    for later in ("01:20:01", "02:20:01", "03:20:01", "12:20:01"):
        assert daemon.looks_at(f"{night}T{later}") == []


def test_two_days_that_the_machine_slept_through(data: Path, daemon: Daemon) -> None:
    """Off from the evening of the 19th to the afternoon of the 21st: two nights without a tick."""
    days = {n: dt.date(2026, 1, n) for n in (18, 19, 20, 21)}
    for day in days.values():
        captured(data / "spool", "trade", day)
    consolidate(data / "spool", data / "daily", "trade", days[18])
    assert daemon.looks_at("2026-01-19T18:00:00") == []
    # Awake again, the daemon makes up for the last night that it missed, and with it for all.
    assert daemon.looks_at("2026-01-21T15:00:00") == ["2026-01-19|trade", "2026-01-20|trade"]
    for day in (days[19], days[20]):
        consolidate(data / "spool", data / "daily", "trade", day)
    assert daemon.looks_at("2026-01-22T00:20:01") == ["2026-01-21|trade"]
