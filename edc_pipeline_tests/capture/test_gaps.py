"""Gaps, staleness, alarms and subscribers of the real collector over real sockets."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from websockets.asyncio.server import ServerConnection

from edc_pipeline.capture import place
from edc_pipeline.capture.collector import Collector
from edc_pipeline.capture.recovery import recover
from edc_pipeline.capture.report import FeedReport
from edc_pipeline.capture.silence import SilenceRule
from edc_pipeline.capture.watch import WatchRule
from edc_pipeline.events import Quote
from edc_pipeline.settings import Settings
from edc_pipeline.simulator.exchange import Exchange, ExchangeConfig
from edc_pipeline.simulator.faults import Chaos
from edc_pipeline.simulator.session import Terms
from edc_pipeline.spool.ledger import Gap, Ledger
from edc_pipeline.transports.backoff import Backoff
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import SequenceRule, Vendor
from edc_pipeline_tests.capture.numbered_vendor import made_vendor, message, sends, serving
from edc_pipeline_tests.capture.test_collector import (
    STOCKS,
    SYMBOLS,
    capture_all,
    rows_in,
    run,
    running,
    scripted,
    settings_for,
    until,
)

# Everything twenty times faster than in earnest: 30 s become 1.5 s.
QUICK = WatchRule(
    feed=SilenceRule(
        look_every_s=0.05,
        at_least_s=0.75,
        learn_s=0.8,
        recent_s=1.0,
        missed_frames=20,
        span_s=10.0,
        edges=False,
    ),
    heard_within_s=0.5,
    symbols_every_s=0.1,
    reconnect_after_s=3.0,
)


def made(monkeypatch: pytest.MonkeyPatch, vendor: Vendor) -> None:
    monkeypatch.setitem(cast(dict[str, Vendor], VENDORS), "made", vendor)


def numbered(tmp_path: Path, url: str, symbols: tuple[str, ...] = ("SPY", "QQQ")) -> Settings:
    feed: Any = {"vendor": "made", "feed": "numbered", "symbols": symbols, "url": url}
    return Settings(data_dir=tmp_path, feeds={"made": feed})


async def captured(collector: Collector, done: Callable[[], bool]) -> None:
    async with running(collector):
        await until(done, 10)


def feed_of(collector: Collector) -> FeedReport:
    return collector.report().feeds[0]


def events_of(collector: Collector) -> int:
    return sum(collector.report().events.values())


def statuses(spool: Path) -> list[tuple[int, str]]:
    return sorted((row["seq"], row["status"]) for _, row in rows_in(spool))


NUMBERED = [
    message("T", "SPY", 1),
    message("Q", "SPY", 2),
    message("T", "SPY", 5),  # 3 and 4 are lost: STALE
    message("T", "SPY", 6),
    message("Q", "QQQ", 10),
    message("T", "SPY", 7, p=float("inf")),  # quarantined; it came, so nothing is missing
    message("T", "SPY", 8),
    message("Q", "QQQ", 12),  # 11 is lost: a quote says all by itself
    message("T", "QQQ", 13),
]
MARKED = [(1, "LIVE"), (2, "LIVE"), (5, "STALE"), (6, "LIVE"), (8, "LIVE"), (10, "LIVE"),
          (12, "LIVE"), (13, "LIVE")]  # fmt: skip


def test_lost_numbers_are_gaps_with_size_and_symbol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(monkeypatch, made_vendor(SequenceRule("symbol")))

    async def scenario() -> None:
        async with serving(sends(*NUMBERED)) as url:
            settings = numbered(tmp_path, url)
            collector = Collector(settings, "c1")
            await captured(collector, lambda: events_of(collector) == 8)
        gaps = Ledger(settings.spool).gaps()
        assert sorted((g.symbol, g.first_seq, g.size, g.state) for g in gaps) == [
            ("QQQ", 11, 1, "closed"),
            ("SPY", 3, 2, "closed"),
        ]
        assert {g.reason for g in gaps} == {
            "the symbol's numbering lacks 11",
            "the symbol's numbering lacks 3 to 4",
        }
        assert statuses(settings.spool) == MARKED

    run(scenario)


@pytest.mark.parametrize("flushed_frames", [0, 2, 3, 6])
def test_recovery_comes_to_the_same_gaps_and_statuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flushed_frames: int
) -> None:
    """The collector dies with some frames in the spool and the rest in its journal alone."""
    made(monkeypatch, made_vendor(SequenceRule("symbol")))
    may_send = asyncio.Event()

    async def script(connection: ServerConnection) -> None:
        for each in NUMBERED[:flushed_frames]:
            await connection.send(each)
        await may_send.wait()
        for each in NUMBERED[flushed_frames:]:
            await connection.send(each)
        await connection.wait_closed()

    async def scenario() -> None:
        async with serving(script) as url:
            settings = numbered(tmp_path, url)
            collector = Collector(settings, "c1")
            capturing = asyncio.create_task(collector.run(asyncio.Event()))
            await until(lambda: feed_of(collector).frames == flushed_frames)
            await collector._flusher.flush()
            may_send.set()
            await until(lambda: feed_of(collector).frames == len(NUMBERED))
            await collector._journal.commit()
            # Gone without a flush.
            monkeypatch.setattr(collector, "_drain", lambda: asyncio.sleep(0))
            capturing.cancel()
            await asyncio.wait({capturing})
        recover(settings.spool, settings.capture, time.time_ns)
        assert statuses(settings.spool) == MARKED
        gaps = Ledger(settings.spool).gaps()
        assert sorted((g.symbol, g.first_seq, g.size) for g in gaps) == [
            ("QQQ", 11, 1),
            ("SPY", 3, 2),
        ]

    run(scenario)


def test_a_connections_numbers_cover_every_frame_and_begin_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(monkeypatch, made_vendor(SequenceRule("connection")))
    first = sends(
        message("Q", "SPY", -1, frame=1),
        message("beat", "", -1, frame=2),
        message("Q", "SPY", -1, frame=5),
        then_s=0.3,
    )
    second = sends(message("T", "SPY", -1, frame=1), message("T", "SPY", -1, frame=2))

    async def scenario() -> None:
        async with serving(first, second) as url:
            settings = numbered(tmp_path, url)
            collector = Collector(settings, "c1")
            await captured(collector, lambda: events_of(collector) == 4)
        lost, cut = sorted(Ledger(settings.spool).gaps(), key=lambda g: -g.first_seq)
        assert (lost.symbol, lost.first_seq, lost.size) == ("", 3, 2)
        assert "0.0 lacks 3 to 4" in lost.reason
        assert (cut.size, cut.state) == (None, "closed")
        # The first trade after the cut is STALE, what follows is not.
        trades = [row for event_type, row in rows_in(settings.spool) if event_type == "trade"]
        assert [t["status"] for t in sorted(trades, key=lambda t: t["frame"])] == ["STALE", "LIVE"]

    run(scenario)


def test_after_a_cut_only_what_comes_before_the_state_is_known_is_stale(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Exchange(scripted(1500, 1, "cut@iex:300,cut@iex:500")) as exchange:
            settings = settings_for(exchange, tmp_path, stocks=STOCKS)
            await capture_all(exchange, settings)
            rows = sorted(rows_in(settings.spool), key=lambda row: row[1]["frame"])
            met: set[tuple[str, str]] = set()
            for event_type, row in rows:
                connection = row["connection"]
                is_first = (connection, row["symbol"]) not in met
                met.add((connection, row["symbol"]))
                after_cut = not connection.endswith("0.0")
                stale = after_cut and is_first and event_type == "trade"
                assert row["status"] == ("STALE" if stale else "LIVE")
            assert len({connection for connection, _ in met}) == 3

    run(scenario)


def by_clock(chaos: str = "", **told: Any) -> ExchangeConfig:
    more = {"rate": 400.0, "seed": 5, "symbols": SYMBOLS, "heartbeat_s": 0.1, **told}
    return ExchangeConfig(chaos=Chaos.parse(chaos), **more)


def test_a_mute_feed_is_flagged_connected_anew_and_closed(tmp_path: Path) -> None:
    told: list[Gap] = []

    async def scenario() -> None:
        async with Exchange(by_clock("mute@iex:250")) as exchange:
            settings = settings_for(exchange, tmp_path, stocks=STOCKS)
            collector, stop = (
                Collector(settings, "c1", watch=QUICK, on_gap=told.append),
                asyncio.Event(),
            )
            capturing = asyncio.create_task(collector.run(stop))
            await until(lambda: exchange.trouble.counts["mute"] == 1)
            mute_at = time.monotonic()
            await until(lambda: "silent" in feed_of(collector).last_problem, 5)
            assert time.monotonic() - mute_at < 30 / 20
            assert "expected" in feed_of(collector).last_problem
            before = sum(feed_of(collector).events.values())
            await until(lambda: sum(feed_of(collector).events.values()) > before + 20, 10)
            assert (feed_of(collector).reconnects, feed_of(collector).state) == (1, "live")
            await until(lambda: len(told) == 2, 5)
            stop.set()
            await capturing
            (gap,) = Ledger(settings.spool).gaps()
            assert gap.state == "closed"
            assert gap.reason.startswith("silent: no data for")
            assert [g.state for g in told] == ["open", "closed"]
            assert told[1] == gap

    run(scenario)


def test_a_feed_that_stays_mute_is_connected_anew_ever_more_rarely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(monkeypatch, made_vendor())
    asked: list[float] = []

    async def speaks(connection: ServerConnection) -> None:
        for price in range(150):
            await connection.send(message("T", "SPY", -1, p=price))
            await asyncio.sleep(0.01)
        await beats(connection)

    async def beats(connection: ServerConnection) -> None:
        asked.append(time.monotonic())
        while True:
            await connection.send(message("beat", "", -1))
            await asyncio.sleep(0.02)

    quick = replace(QUICK, reconnect_after_s=1.0)

    async def scenario() -> None:
        async with serving(speaks, beats) as url:
            collector = Collector(numbered(tmp_path, url), "c1", watch=quick)
            await captured(collector, lambda: len(asked) == 4)
            (feed,) = collector.report().feeds
            assert feed.state == "stopped"
            assert feed.reconnects == 3
        pauses = [b - a for a, b in pairwise(asked[1:])]
        # As the server sees them: a loaded machine moves each by some tenths of a second.
        assert pauses[0] >= 0.6
        assert pauses[1] >= 1.6
        (gap,) = Ledger(tmp_path / "spool").gaps()
        assert gap.reason.startswith("silent")

    run(scenario)


def test_a_refused_subscription_is_an_alarm(tmp_path: Path) -> None:
    async def scenario() -> None:
        config = by_clock(terms=Terms(iex_agreement=False))
        async with Exchange(config) as exchange:
            settings = settings_for(exchange, tmp_path, stocks=STOCKS)
            collector = Collector(settings, "c1", watch=QUICK)
            await asyncio.wait_for(collector.run(asyncio.Event()), 10)
            (feed,) = collector.report().feeds
            assert feed.state == "gave up"
            assert "thresholdLevel" in feed.last_problem

    run(scenario)


def test_a_subscription_without_an_answer_is_an_alarm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made(monkeypatch, made_vendor(acknowledges_within_s=0.3))
    answer = asyncio.Event()

    async def late(connection: ServerConnection) -> None:
        while not answer.is_set():
            await connection.send(message("beat", "", -1))
            await asyncio.sleep(0.05)
        await connection.send(message("ack", "", -1))
        await connection.wait_closed()

    async def scenario() -> None:
        async with serving(late) as url:
            collector, stop = Collector(numbered(tmp_path, url), "c1", watch=QUICK), asyncio.Event()
            capturing = asyncio.create_task(collector.run(stop))
            await until(lambda: bool(feed_of(collector).subscription), 5)
            assert feed_of(collector).subscription == "subscription not acknowledged within 0.3 s"
            assert feed_of(collector).last_problem == feed_of(collector).subscription
            await asyncio.sleep(0.3)
            assert sum("not acknowledged" in r.message for r in caplog.records) == 1
            answer.set()
            await until(lambda: not feed_of(collector).subscription, 5)
            stop.set()
            await capturing

    run(scenario)


def test_a_symbol_that_the_vendor_does_not_know_is_listed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Exchange(by_clock()) as exchange:
            unknown = {**STOCKS, "symbols": (*SYMBOLS, "NOSUCH")}
            settings = settings_for(exchange, tmp_path, stocks=unknown)
            collector = Collector(settings, "c1", watch=QUICK)
            await captured(collector, lambda: feed_of(collector).silent_symbols == ["NOSUCH"])
            assert feed_of(collector).silent_symbol_count == 1
            assert feed_of(collector).symbols == 3

    run(scenario)


def test_two_connections_and_two_feeds_deliver_each_event_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Exchange(scripted(1200, 3)) as exchange:
            settings = settings_for(
                exchange, tmp_path, stocks={**STOCKS, "connections": 2}, backup=STOCKS
            )
            collector, stop = Collector(settings, "c1"), asyncio.Event()
            everything = collector.subscribe()
            slow = collector.subscribe(["quote"], ["SPY"], limit=5)
            capturing = asyncio.create_task(collector.run(stop))
            await asyncio.wait_for(exchange.finished(), 30)
            await until(lambda: events_of(collector) == 1200)
            assert collector.report().subscribers == 2
            stop.set()
            await capturing
            got = [event async for event in everything]
            assert len(got) == 400
            report = collector.report()
            assert sum(f.late_copies for f in report.feeds) == 800
            assert len(rows_in(settings.spool)) == 1200  # the files have them all, to dedupe
            quotes = [e for e in got if isinstance(e, Quote) and e.symbol == "SPY"]
            assert [e async for e in slow] == quotes[-5:]
            assert report.lost_by_subscribers == len(quotes) - 5 > 0

    run(scenario)


@pytest.mark.parametrize("how", ["hangs", "fails"])
def test_a_listener_to_gaps_can_neither_hold_up_nor_end_capture(tmp_path: Path, how: str) -> None:
    called = threading.Event()

    def on_gap(_: Gap) -> None:
        called.set()
        if how == "fails":
            raise RuntimeError("no such history")
        threading.Event().wait(30)

    async def scenario() -> None:
        async with Exchange(scripted(600, 1, "cut@iex:100,cut@iex:200")) as exchange:
            settings = settings_for(exchange, tmp_path, stocks=STOCKS)
            collector, stop = Collector(settings, "c1", on_gap=on_gap), asyncio.Event()
            capturing = asyncio.create_task(collector.run(stop))
            await until(lambda: events_of(collector) == 600)
            stop.set()
            await capturing
            assert called.wait(5)
            assert len(Ledger(settings.spool).gaps()) == 2

    run(scenario)


def test_a_line_that_is_cut_again_and_again_leaves_no_file_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger hears of each gap at once all the same."""
    made(monkeypatch, made_vendor())
    monkeypatch.setattr(place, "Backoff", partial(Backoff, first_s=0.1, cap_s=0.1))
    numbers = itertools.count()

    async def speaks_and_hangs_up(connection: ServerConnection) -> None:
        await connection.send(message("T", "SPY", -1, p=next(numbers)))
        await asyncio.sleep(0.3)  # longer than between two looks of the flusher

    async def scenario() -> None:
        async with serving(speaks_and_hangs_up) as url:
            settings = numbered(tmp_path, url)
            collector = Collector(settings, "c1")
            told: list[tuple[str, int]] = []

            def cut_six_times() -> bool:
                told[:] = [(gap.state, gap.first_seq) for gap in Ledger(settings.spool).gaps()]
                return told.count(("closed", -1)) >= 6

            await captured(collector, cut_six_times)
            assert len([*settings.spool.rglob("*.parquet")]) == 1
            assert len(rows_in(settings.spool)) == events_of(collector) >= 6
            assert collector.report().micro_batches == 1

    run(scenario)
