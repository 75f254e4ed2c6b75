"""What Dagster loads: names, arrows and partitions, as the contract has them."""

from __future__ import annotations

import datetime as dt
import tomllib

import dagster as dg
import pytest
import yaml

from edc_pipeline.definitions import defs
from edc_pipeline.defs.checks import CHECKS
from edc_pipeline.defs.day_report import DAY_IS_WHOLE
from edc_pipeline.defs.partitions import day_and_event_type, key_of, partition_of
from edc_pipeline.defs.what_it_holds import column_lineage, schema_of
from edc_pipeline.events import COLUMNS, EVENT_TYPES, LINEAGE_COLUMNS, EventType
from edc_pipeline.market_day import MARKET_ZONE
from edc_pipeline_tests.defs.control_room import REPOSITORY

MICRO_BATCHES = dg.AssetKey("micro_batches")
CONSOLIDATED = dg.AssetKey("consolidated_feeds")
DAY_REPORT = dg.AssetKey("day_report")
RETENTION = dg.AssetKey("spool_retention")


def test_the_names_of_the_contract() -> None:
    repository = defs.get_repository_def()
    assert {j.name for j in repository.get_all_jobs() if not j.name.startswith("__")} == {
        "capture",
        "consolidate",
        "day_reports",
        "retain",
    }
    assert {s.name for s in repository.sensor_defs} == {
        "keep_capture_running",
        "late_micro_batches",
        "refresh_today",
        "tell_what_is_wrong",
        "write_day_reports",
    }
    assert {s.name for s in repository.schedule_defs} == {"daily_consolidation", "weekly_retention"}


def test_what_is_switched_on_by_itself() -> None:
    repository = defs.get_repository_def()
    assert all(s.default_status is dg.DefaultSensorStatus.RUNNING for s in repository.sensor_defs)
    on = {s.name: s.default_status is dg.DefaultScheduleStatus.RUNNING
          for s in repository.schedule_defs}  # fmt: skip
    assert on == {"daily_consolidation": True, "weekly_retention": False}  # this one removes
    assert {s.execution_timezone for s in repository.schedule_defs} == {"America/New_York"}


def test_the_asset_graph() -> None:
    graph = defs.resolve_asset_graph()
    assert graph.get_all_asset_keys() == {MICRO_BATCHES, CONSOLIDATED, DAY_REPORT, RETENTION}
    assert graph.get(DAY_REPORT).parent_keys == {CONSOLIDATED}
    for node in (graph.get(key) for key in graph.get_all_asset_keys()):
        assert node.owners == ["team:market-data"]
        assert node.group_name == "market_data"
        assert node.kinds
        assert node.description
        assert len(node.description) > 200
    assert graph.get(CONSOLIDATED).parent_keys == {MICRO_BATCHES}
    assert not graph.get(MICRO_BATCHES).is_materializable
    assert graph.get(CONSOLIDATED).backfill_policy is None
    for node in (graph.get(MICRO_BATCHES), graph.get(CONSOLIDATED)):
        assert node.partitions_def == day_and_event_type
    assert {k.name for k in graph.asset_check_keys if k.asset_key == CONSOLIDATED} == set(CHECKS)


def test_a_launch_takes_one_process() -> None:
    for job in defs.get_repository_def().get_all_jobs():
        assert job.executor_def.name == "in_process", job.name


def test_capture_is_not_retried_and_alone() -> None:
    tags = defs.resolve_job_def("capture").tags
    assert tags["dagster/max_retries"] == "0"
    limits = yaml.safe_load((REPOSITORY / "dagster.yaml").read_text())["concurrency"]["runs"]
    (limit,) = limits["tag_concurrency_limits"]
    # One, and its successor while it takes over.
    assert (limit["key"] in tags, limit["limit"]) == (True, 2)


def test_one_name_for_the_code_location() -> None:
    (workspace,) = yaml.safe_load((REPOSITORY / "workspace.yaml").read_text())["load_from"]
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["dg"]["project"]
    assert workspace["python_module"]["location_name"] == project["code_location_name"]
    assert workspace["python_module"]["module_name"] == project["code_location_target_module"]


@pytest.mark.parametrize(
    "now",
    [
        "2026-01-22T00:00:00",
        "2026-03-08T23:59:59",  # 23 hours
        "2026-11-01T23:59:59",  # 25 hours
        "2026-12-31T12:00:00",
    ],
)
def test_today_in_new_york_is_a_partition_and_tomorrow_is_not(now: str) -> None:
    here = dt.datetime.fromisoformat(now).replace(tzinfo=MARKET_ZONE)
    with dg.partition_loading_context(effective_dt=here.astimezone(dt.UTC)):
        for event_type in EVENT_TYPES:
            assert day_and_event_type.has_partition_key(key_of(here.date(), event_type))
        tomorrow = here.date() + dt.timedelta(days=1)
        assert not day_and_event_type.has_partition_key(key_of(tomorrow, "trade"))


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_keys_read_date_then_type(event_type: EventType) -> None:
    day = dt.date(2026, 1, 22)
    assert key_of(day, event_type) == f"2026-01-22|{event_type}"
    assert partition_of(f"2026-01-22|{event_type}") == (day, event_type)


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_every_column_is_told_with_its_meaning(event_type: EventType) -> None:
    columns = schema_of(event_type).columns
    assert [c.name for c in columns] == [c.name for c in COLUMNS[event_type]]
    assert all(c.description for c in columns)


@pytest.mark.parametrize("name", [*CHECKS, DAY_IS_WHOLE])
def test_each_check_has_a_page_that_says_what_to_do(name: str) -> None:
    graph = defs.resolve_asset_graph()
    (key,) = [k for k in graph.asset_check_keys if k.name == name]
    page = f"docs/runbook/{name}.md"
    assert page in (graph.get_check_spec(key).description or "")
    text = (REPOSITORY / page).read_text()
    assert text.startswith(f"# {name} is ")
    assert "**Do**" in text or "| do |" in text


def test_column_lineage_leads_to_columns_that_are_there() -> None:
    upstream = {c.name for t in EVENT_TYPES for c in COLUMNS[t]} | {c.name for c in LINEAGE_COLUMNS}
    deps = column_lineage().deps_by_column
    assert set(deps) == {c.name for t in EVENT_TYPES for c in COLUMNS[t]}
    assert {d.column_name for column in deps.values() for d in column} <= upstream


def test_one_pool_for_whole_days_and_places_for_it() -> None:
    concurrency = yaml.safe_load((REPOSITORY / "dagster.yaml").read_text())["concurrency"]
    graph = defs.resolve_asset_graph()
    assert graph.get(CONSOLIDATED).pools == graph.get(DAY_REPORT).pools == {"whole_days"}
    assert concurrency["pools"]["granularity"] == "run"
    # Two whole days, capture, and its successor while it takes over.
    places = concurrency["pools"]["default_limit"] + 2
    assert concurrency["runs"]["max_concurrent_runs"] >= places
