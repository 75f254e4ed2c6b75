"""A newcomer's yesterday: captured once, whole, and never over what is there."""

from __future__ import annotations

import datetime as dt
import threading
import time
from pathlib import Path

import pytest

from edc_pipeline.cli.dev_yesterday import capture_yesterday
from edc_pipeline.market_day import market_day
from edc_pipeline.settings import load
from edc_pipeline.spool.inventory import inventory
from edc_pipeline.spool.owner import current_owner
from edc_pipeline_tests.cli.calling import edc, environment

ROOT = Path(__file__).parents[2]


def test_yesterday_is_captured_once(tmp_path: Path) -> None:
    config = str(ROOT / "feeds.example.yaml")
    told = environment(EDC_DATA_DIR=str(tmp_path), EDC_CONFIG=config)
    settings = load(Path(config), told)
    capture_yesterday(settings, tmp_path, told, threading.Event())
    yesterday = market_day(time.time_ns()) - dt.timedelta(days=1)
    found = {day.event_type: day.rows for day in inventory(settings.spool) if day.day == yesterday}
    assert set(found) == {"trade", "quote", "ref_px"}
    assert sum(found.values()) == 6_000
    assert current_owner(settings.spool)[0] is False
    capture_yesterday(settings, tmp_path, told, threading.Event())
    assert sum(day.rows for day in inventory(settings.spool)) == 6_000


@pytest.mark.parametrize("text", ["yesterday", "2026-01-22T15:58", "2026-01-22"])
def test_a_start_that_is_no_instant_is_told(tmp_path: Path, text: str) -> None:
    said = edc("simulate", "--port", "0", "--for", "1", "--from", text, cwd=tmp_path)
    assert said.code == 2
    assert text in said.err
    assert "-05:00" in said.err
