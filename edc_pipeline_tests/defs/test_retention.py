"""The job that frees the spool: a dry run first, and never what no sound file holds."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path
from typing import Any

import dagster as dg

from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.defs.retention import RetentionConfig, spool_retention
from edc_pipeline.market_day import market_day
from edc_pipeline.spool.layout import batch_files
from edc_pipeline_tests.defs.test_schedules import captured

TODAY = market_day(time.time_ns())
HELD, NOT_HELD, RECENT = (TODAY - dt.timedelta(days=n) for n in (40, 41, 5))


def told(data: Path, instance: dg.DagsterInstance, *, dry_run: bool) -> dict[str, Any]:
    result = dg.materialize(
        [spool_retention],
        instance=instance,
        run_config=dg.RunConfig({"spool_retention": RetentionConfig(dry_run=dry_run)}),
    )
    (made,) = result.asset_materializations_for_node("spool_retention")
    return {name: value.value for name, value in made.metadata.items()}


def there(data: Path) -> list[bool]:
    return [bool(batch_files(data / "spool", "trade", day)) for day in (HELD, NOT_HELD, RECENT)]


def test_it_frees_what_a_sound_file_holds_and_says_so(
    data: Path, instance: dg.DagsterInstance
) -> None:
    for day in (HELD, NOT_HELD, RECENT):
        captured(data / "spool", "trade", day)
    for day in (HELD, RECENT):
        consolidate(data / "spool", data / "daily", "trade", day)
    dry = told(data, instance, dry_run=True)
    assert (dry["dry_run"], dry["bytes_freed"], dry["days_that_stay"]) == (True, 0, 1)
    assert dry["bytes_that_can_be_freed"] > 0
    assert there(data) == [True, True, True]
    done = told(data, instance, dry_run=False)
    assert done["bytes_freed"] == dry["bytes_that_can_be_freed"]
    assert there(data) == [False, True, True]
    again = told(data, instance, dry_run=False)
    assert (again["bytes_freed"], again["days_that_stay"]) == (0, 1)


def test_for_ever_frees_nothing(data: Path, instance: dg.DagsterInstance, monkeypatch: Any) -> None:
    monkeypatch.setenv("EDC_RETENTION__SPOOL", "0d")
    captured(data / "spool", "trade", HELD)
    consolidate(data / "spool", data / "daily", "trade", HELD)
    assert told(data, instance, dry_run=False)["bytes_freed"] == 0
    assert there(data)[0]
