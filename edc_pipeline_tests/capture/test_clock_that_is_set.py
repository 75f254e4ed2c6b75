"""The wall clock is set while the real collector runs, or between two of them: what is missing is
told all the same, and what is kept stays. The steady clock is never anything but real."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from edc_pipeline.capture.collector import Collector
from edc_pipeline.capture.journal.settled_day import SETTLES_S, SettledDay
from edc_pipeline.cli.capture import _tell
from edc_pipeline.market_day import market_day
from edc_pipeline.settings import Settings
from edc_pipeline.spool.layout import raw_days, raw_segments
from edc_pipeline_tests.capture.numbered_vendor import made_vendor, message, serving
from edc_pipeline_tests.capture.test_collector import run, until
from edc_pipeline_tests.capture.test_gaps import made

DAY_S = 86_400
QUICK = {"flush_seconds": 0.05, "commit_seconds": 0.01}


class Clock:
    """The machine's, set so many seconds forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> int:
        return time.time_ns() + int(self.ahead_s * 1e9)


async def speaks(connection: ServerConnection) -> None:
    for number in range(100_000):
        await connection.send(message("T", "SPY", -1, p=1.0 + number))
        await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def _vendor(monkeypatch: pytest.MonkeyPatch) -> None:
    made(monkeypatch, made_vendor())


def settings_of(tmp_path: Path, url: str, **rules: Any) -> Settings:
    feed: Any = {"vendor": "made", "feed": "numbered", "symbols": ("SPY",), "url": url}
    return Settings(data_dir=tmp_path, feeds={"made": feed}, capture={**QUICK, **rules})  # type: ignore[arg-type]


@asynccontextmanager
async def capturing(settings: Settings, clock: Clock, name: str) -> AsyncIterator[Collector]:
    collector, stop = Collector(settings, name, clock=clock), asyncio.Event()
    running = asyncio.create_task(collector.run(stop))
    try:
        yield collector
    finally:
        stop.set()
        await running


def hears_more(collector: Collector, more: int = 20) -> Callable[[], bool]:
    before = frames_of(collector)
    return lambda: frames_of(collector) >= before + more


def frames_of(collector: Collector) -> int:
    return sum(feed.frames for feed in collector.report().feeds)


# What is kept for some days


@pytest.mark.parametrize("days_ahead", [2, 30])
def test_a_clock_that_is_ahead_for_a_moment_removes_nothing(
    tmp_path: Path, days_ahead: int
) -> None:
    clock = Clock()

    async def scenario() -> None:
        async with serving(speaks) as url:
            settings = settings_of(tmp_path, url, segment_mib=0.001, raw_archive="1d")
            async with capturing(settings, clock, "c1") as collector:
                await until(lambda: len(raw_segments(settings.spool)) >= 3)
                kept = set(raw_segments(settings.spool))
                today = market_day(time.time_ns())
                clock.ahead_s = days_ahead * DAY_S
                await until(lambda: max(raw_days(settings.spool)) > today)
                await until(hears_more(collector, 50))
                clock.ahead_s = 0.0
                await until(hears_more(collector, 50))
            assert kept <= set(raw_segments(settings.spool))

    run(scenario)


def test_days_that_are_too_old_go_once_the_clock_has_held_for_an_hour(tmp_path: Path) -> None:
    clock = Clock()

    async def scenario() -> None:
        async with serving(speaks) as url:
            settings = settings_of(tmp_path, url, segment_mib=0.001, raw_archive="1d")
            clock.ahead_s = -5.0 * DAY_S
            async with capturing(settings, clock, "c1"):
                await until(lambda: len(raw_segments(settings.spool)) >= 3)
            old = set(raw_segments(settings.spool))
            clock.ahead_s = 0.0
            async with capturing(settings, clock, "c2") as collector:
                await until(hears_more(collector, 50))
                assert old <= set(raw_segments(settings.spool))
                # As if it had run for an hour.
                an_hour_ago = time.monotonic() - SETTLES_S
                collector._flusher.settled = settled = SettledDay()
                settled.look(market_day(time.time_ns()), an_hour_ago)
                await until(lambda: not old & set(raw_segments(settings.spool)))
            assert raw_segments(settings.spool)

    run(scenario)


def test_a_day_is_settled_once_it_was_named_for_an_hour() -> None:
    first = dt.date(2026, 1, 22)

    def days(*said: tuple[float, int]) -> list[int | None]:
        """What it holds the day to be, hour by hour, as the clock says it."""
        day = SettledDay()
        found = [day.look(first + dt.timedelta(days=n), hour * SETTLES_S) for hour, n in said]
        return [None if one is None else (one - first).days for one in found]

    assert days((0, 0), (0.9, 0), (1, 0)) == [None, None, 0]
    assert days((0, 0), (5, 1), (5.9, 1), (6, 1)) == [None, 0, 0, 1]
    # Ahead for less than an hour, by one jump or by many, of which each goes further.
    assert days((0, 0), (2, 30), (2.9, 30), (3, 0), (9, 0)) == [None, 0, 0, 0, 0]
    assert days((0, 0), (2, 30), (2.5, 60), (2.9, 90), (3.1, 0)) == [None, 0, 0, 0, 0]
    # Ahead, and back, and ahead again: the hour begins anew.
    assert days((0, 0), (2, 30), (2.9, 0), (3, 30), (3.9, 30), (4, 30)) == [None, 0, 0, 0, 0, 30]
    # Behind: a later day held, so this one did; the later one is put off.
    assert days((0, 5), (1, 5), (1.25, 4), (1.5, 5), (2.25, 5), (2.5, 5)) == [None, 5, 4, 4, 4, 5]


# What is told while it runs


@pytest.mark.parametrize("ahead_s", [-3_600, 3_600])
def test_rates_are_by_the_steady_clock(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ahead_s: int
) -> None:
    clock = Clock()

    async def scenario() -> None:
        async with (
            serving(speaks) as url,
            capturing(settings_of(tmp_path, url), clock, "c1") as collector,
        ):
            await until(hears_more(collector, 50))
            clock.ahead_s = ahead_s
            report = collector.report()
            _tell(report)
            said = capsys.readouterr().err
            rate = int(said.split(" frames (")[1].split("/s)")[0].replace(",", ""))
            assert 1 <= rate <= 100_000
            assert rate == round(report.feeds[0].frames / report.running_s)

    run(scenario)
