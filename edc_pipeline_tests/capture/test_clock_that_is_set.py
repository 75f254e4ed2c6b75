"""The wall clock is set while the real collector runs, or between two of them: what is missing is
told all the same, and what is kept stays. The steady clock is never anything but real."""

from __future__ import annotations

import asyncio
import datetime as dt
import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection

from edc_pipeline.capture.admission import Admission
from edc_pipeline.capture.clock_watch import ClockWatch
from edc_pipeline.capture.collector import Collector
from edc_pipeline.capture.intake import FeedState, Intake
from edc_pipeline.capture.journal.settled_day import SETTLES_S, SettledDay
from edc_pipeline.capture.journal.writer import Journal
from edc_pipeline.capture.queues import Queues
from edc_pipeline.capture.recovery import recover
from edc_pipeline.cli.capture import _tell
from edc_pipeline.market_day import day_bounds, market_day, midnight_ns
from edc_pipeline.settings import Settings
from edc_pipeline.spool.layout import raw_days, raw_segments
from edc_pipeline.spool.ledger import Gap, Ledger, Source
from edc_pipeline_tests.capture.numbered_vendor import made_vendor, message, serving
from edc_pipeline_tests.capture.test_collector import run, running, until
from edc_pipeline_tests.capture.test_gaps import made

DAY_S = 86_400
QUICK = {"flush_seconds": 0.05, "commit_seconds": 0.01}


class Clock:
    """The machine's, set so many seconds forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> int:
        return time.time_ns() + int(self.ahead_s * 1e9)


class Line:
    """A server's side that speaks until it is cut, and then not before it may again."""

    def __init__(self) -> None:
        self.up = asyncio.Event()
        self.up.set()

    async def __call__(self, connection: ServerConnection) -> None:
        await self.up.wait()
        number = 0
        while self.up.is_set():
            await connection.send(message("T", "SPY", -1, p=1.0 + number))
            await asyncio.sleep(0.005)
            number += 1
        connection.transport.abort()

    def cut(self) -> None:
        self.up.clear()


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
    async with running(Collector(settings, name, clock=clock)) as (collector, _):
        yield collector


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


# Gaps


def gaps_of(settings: Settings) -> list[Gap]:
    gaps = Ledger(settings.spool).gaps()
    assert all(gap.to_ns is None or gap.from_ns <= gap.to_ns for gap in gaps)
    return gaps


def on_day_of(settings: Settings, at: int) -> list[Gap]:
    return Ledger(settings.spool).gaps(*day_bounds(market_day(at)))


def lengths_s(gaps: list[Gap]) -> float:
    return sum(gap.to_ns - gap.from_ns for gap in gaps if gap.to_ns is not None) / 1e9


@pytest.mark.parametrize("was_ahead_s", [3 * DAY_S, 3 * 3_600, -3 * DAY_S])
def test_a_gap_in_which_the_clock_is_set_is_told_by_both(tmp_path: Path, was_ahead_s: int) -> None:
    """A clock that is ahead while the line is cut, and then right, and one that is set right
    forward."""
    clock, line = Clock(), Line()
    told: list[Gap] = []

    async def scenario() -> None:
        async with serving(line) as url:
            settings = settings_of(tmp_path, url)
            clock.ahead_s = was_ahead_s
            collector, stop = Collector(settings, "c1", clock=clock, on_gap=told.append), None
            stop = asyncio.Event()
            running = asyncio.create_task(collector.run(stop))
            await until(hears_more(collector))
            line.cut()
            await until(lambda: any(gap.to_ns is None for gap in Ledger(settings.spool).gaps()))
            cut_at = time.time_ns()
            await asyncio.sleep(0.4)
            clock.ahead_s = 0.0
            # While it lasts, the day that it is by now lists it.
            if was_ahead_s > 0:
                await until(lambda: any(g.to_ns is None for g in on_day_of(settings, cut_at)))
            line.up.set()
            await until(hears_more(collector))
            lasted_s = (time.time_ns() - cut_at) / 1e9
            report = collector.report().feeds[0]
            stop.set()
            await running
            gaps = gaps_of(settings)
            assert {gap.state for gap in gaps} == {"closed"}
            assert (report.gaps, report.gaps_open) == (len(gaps), 0)
            by_right, by_wrong = (
                on_day_of(settings, cut_at),
                on_day_of(settings, cut_at + was_ahead_s * 10**9),
            )
            assert by_right
            assert by_wrong
            if was_ahead_s > 0:
                assert len(gaps) == 2
                assert all("the clock was set back by" in gap.reason for gap in gaps)
                now, ahead = gaps
                assert cut_at - 10**9 <= now.from_ns
                assert ahead.from_ns > cut_at + was_ahead_s * 10**9 - 10**9
                assert now.from_ns <= cut_at
                assert 0.3 <= lengths_s([now]) <= lasted_s + 1.0  # by the right clock, all of it
                assert lengths_s([ahead]) <= lengths_s([now])
            else:
                (gap,) = gaps
                assert "the clock went forward by" in gap.reason
            assert told[-1] == gaps[0]

    run(scenario)


def test_a_line_that_ends_after_the_clock_was_set_back_was_heard_until_then(
    tmp_path: Path,
) -> None:
    """What was heard last was heard by a clock that is no more; and one that was heard since does
    not begin its gap there."""
    clock, line = Clock(), Line()

    async def scenario() -> None:
        async with serving(line) as url:
            settings = settings_of(tmp_path, url)
            clock.ahead_s = 3 * DAY_S
            async with capturing(settings, clock, "c1") as collector:
                await until(hears_more(collector))
                clock.ahead_s = 0.0
                line.cut()
                await until(lambda: collector.report().feeds[0].gaps_open == 1)
                line.up.set()
                await until(hears_more(collector))
                await asyncio.sleep(1.0)
                heard_at = time.time_ns()
                line.cut()
                await until(lambda: collector.report().feeds[0].gaps_open == 1)
                line.up.set()
                await until(hears_more(collector))
            gaps = gaps_of(settings)
            assert lengths_s(gaps) < 5.0
            assert not any(gap.to_ns is None for gap in gaps)
            assert max(g.from_ns for g in on_day_of(settings, heard_at)) >= heard_at - 10**9

    run(scenario)


@pytest.mark.parametrize("set_back_s", [DAY_S, 10])
def test_what_was_heard_last_before_the_clock_was_set_back(tmp_path: Path, set_back_s: int) -> None:
    clock, queues = Clock(), Queues()
    clock.ahead_s = set_back_s
    intake = Intake(Journal(tmp_path, "c1"), queues, Admission(7), clock)
    state = FeedState(Source("made", "made", "numbered"))
    heard_at = clock()
    clock.ahead_s = 0.0
    set_at = clock()
    intake.feed_fell_silent(state, heard_at, "cut")
    intake.feed_delivers(state, clock())
    over = [gap for gap in queues.waiting.gaps if gap.to_ns is not None]
    before, after = over
    assert before.from_ns == heard_at
    assert abs(after.from_ns - set_at) < 10**9
    assert lengths_s(over) < 1.0
    assert all(f"set back by {set_back_s}" in gap.reason.replace(",", "") for gap in over)
    assert state.gaps_begun == 2


@pytest.mark.parametrize(
    ("killed", "noted", "ahead_s"),
    [(False, True, DAY_S), (True, True, DAY_S), (False, False, DAY_S), (True, False, 3_600)],
)
def test_capture_that_ends_while_the_clock_is_ahead(
    tmp_path: Path, *, killed: bool, noted: bool, ahead_s: int
) -> None:
    """Begun again with a right clock, and again: the first gap begins where the first capture
    ended, the second where the second did."""
    clock = Clock()

    async def scenario() -> None:
        async with serving(speaks) as url:
            first = settings_of(tmp_path, url, flush_seconds=3600 if killed else 0.05)
            left = tmp_path / "left"
            async with capturing(first, clock, "c1") as collector:
                if not noted:
                    collector._intake._clock_watch.look = lambda: None  # type: ignore[method-assign]
                await until(hears_more(collector))
                await asyncio.sleep(0.7)
                clock.ahead_s = ahead_s
                jumped_at = time.time_ns()
                await until(hears_more(collector, 300))
                await collector.durable()
                shutil.copytree(first.spool, left / "spool")
            ended_at = time.time_ns()
            settings = settings_of(left, url) if killed else first
            clock.ahead_s = 0.0
            for name in ("c2", "c3"):
                await asyncio.sleep(0.5)
                recover(settings.spool, settings.capture, clock)
                async with capturing(settings, clock, name) as collector:
                    await until(hears_more(collector))
            gap, again, ahead = gaps_of(settings)
            assert {gap.state for gap in gaps_of(settings)} == {"closed"}
            assert "was ahead" in gap.reason
            # Where nobody noted that the clock was set, the frames tell as well as they can; of
            # those of a day that is over for the journal nothing is known but when capture began.
            same_day = market_day(jumped_at) == market_day(jumped_at + ahead_s * 10**9)
            known_s = 0.3 if noted or (killed and same_day) else 20.0
            assert jumped_at - int(known_s * 1e9) <= gap.from_ns <= ended_at
            assert gap.to_ns is not None
            assert ended_at < gap.to_ns <= again.from_ns
            assert again.reason == "no collector was running"
            # Whose clock was right is not known: it stands where the other one has its end, too.
            assert ahead.from_ns >= jumped_at + ahead_s * 10**9
            assert ahead.reason == gap.reason
            for each in (gap, again, ahead):
                assert each in on_day_of(settings, each.from_ns)

    run(scenario)


def test_captures_that_never_hear_the_feed_tell_no_second_twice(tmp_path: Path) -> None:
    line = Line()

    async def scenario() -> None:
        clock = Clock()
        async with serving(line) as url:
            settings = settings_of(tmp_path, url)
            async with capturing(settings, clock, "c1") as collector:
                await until(hears_more(collector))
        gone = settings  # nobody listens there any more
        for name in ("c2", "c3"):
            async with capturing(gone, clock, name) as collector:
                await until(lambda: bool(collector.report().feeds[0].last_problem))
                await until(lambda: any(g.to_ns is None for g in gaps_of(gone)))
                await asyncio.sleep(0.1)
            assert all("not heard again" in gap.reason for gap in gaps_of(gone))
        line.up.set()
        async with serving(line) as url:
            settings = settings_of(tmp_path, url)
            async with capturing(settings, clock, "c4") as collector:
                await until(hears_more(collector))
        gaps = gaps_of(settings)
        assert len(gaps) == 3
        assert all(a.to_ns == b.from_ns for a, b in pairwise(gaps))
        first, second, last = gaps
        for gap in (first, second):
            assert gap.reason.startswith("no collector was running; then can't connect")
            assert gap.reason.endswith("; not heard again before capture ended")
        assert last.reason == "no collector was running"

    run(scenario)


def test_numbers_that_are_missing_when_the_clock_is_set_back(tmp_path: Path) -> None:
    source = Source("made", "made", "numbered")
    at = midnight_ns(dt.date(2026, 1, 23))
    gap = Gap(source, "SPY", at + 5, at - 7, 1, "closed", "lacks 3", 3)
    assert (gap.from_ns, gap.to_ns) == (at - 7, at + 5)
    assert gap.reason == "lacks 3; the clock was set back in it"
    ledger = Ledger(tmp_path)
    ledger.collector_started("c1", at)
    ledger.flushed("c1", through_frame=0, at=at, gaps=[gap])
    # As an older one wrote it.
    with sqlite3.connect(ledger.path) as db:
        db.execute("UPDATE gaps SET from_ns = ?, to_ns = ?, reason = 'cut'", (at + 5, at - 7))
    for day in (22, 23):
        (found,) = ledger.gaps(*day_bounds(dt.date(2026, 1, day)))
        assert (found.from_ns, found.to_ns) == (at - 7, at + 5)
    assert ledger.gaps(*day_bounds(dt.date(2026, 1, 24))) == []
    assert ledger.count_gaps(at) == (1, 0)


def test_a_gap_of_no_length_is_on_its_day(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    at = midnight_ns(dt.date(2026, 1, 23))
    ledger.collector_started("c1", at)
    gap = Gap(Source("made", "made", "numbered"), "", at, at, None, "closed", "cut")
    ledger.flushed("c1", through_frame=0, at=at, gaps=[gap])
    assert ledger.gaps(*day_bounds(dt.date(2026, 1, 23))) == [gap]
    assert ledger.gaps(*day_bounds(dt.date(2026, 1, 22))) == []
    assert ledger.count_gaps(at) == (1, 0)


def test_the_clock_watch_tells_a_step_from_time_that_passes() -> None:
    wall, steady = 1_000 * 10**9, 0
    watch = ClockWatch(lambda: wall, lambda: steady)

    def passes(wall_s: float, steady_s: float) -> str:
        nonlocal wall, steady
        wall, steady = wall + int(wall_s * 1e9), steady + int(steady_s * 1e9)
        return str(watch.look() or "")

    assert passes(1.0, 1.0) == ""
    assert passes(3_600.1, 3_600.0) == ""
    assert passes(1.2, 1.0) == ""
    assert passes(-1.0, 1.0) == "the clock was set back by 2.0 s"
    assert passes(1.0, 1.0) == ""
    assert passes(3_601.0, 1.0) == "the clock went forward by 3,600.0 s at once"
    assert [step.is_back for step in watch.steps] == [True, False]
