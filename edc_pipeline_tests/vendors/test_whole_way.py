"""Each vendor the whole way: its adapter against the simulator's server over a real socket, through
journal and spool into daily files, which are compared with what the simulated market did.

The comparison never asks an adapter: prices, sizes and times are taken from the market's own ticks.
To add a feed, add a line to `ways.WAYS`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edc_pipeline.capture.collector import Collector
from edc_pipeline.simulator.session import Terms
from edc_pipeline.spool.ledger import Ledger
from edc_pipeline_tests.capture.test_collector import until
from edc_pipeline_tests.vendors.ways import WAYS, Way
from edc_pipeline_tests.vendors.whole_way import (
    Market,
    heard_all,
    hurry,
    in_daily_files,
    run,
    settings_for,
)

ways = pytest.mark.parametrize("way", WAYS, ids=str)


@ways
def test_the_daily_files_hold_what_the_market_did(
    way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(way, monkeypatch)

    async def scenario() -> None:
        market = Market(way)
        async with market.exchange(heartbeat_s=0.05) as exchange:
            settings = settings_for(way, exchange, tmp_path)
            collector, stop = Collector(settings, "c1"), asyncio.Event()
            capturing = asyncio.create_task(collector.run(stop))
            await heard_all(exchange, collector)
            if way.heartbeats:
                await until(lambda: exchange.truth.control["heartbeat"] >= 2)
                await until(lambda: collector.report().feeds[0].control >= 2)
            (feed,) = collector.report().feeds
            stop.set()
            await capturing
            assert feed.quarantined == 0
            assert feed.subscription == ""
            assert feed.with_events == way.frames
            assert all(c.balanced for c in Ledger(settings.spool).frames().values())
            assert Ledger(settings.spool).gaps() == []
            assert market.told.total() >= way.frames
            assert in_daily_files(settings) == market.told

    run(scenario)


@ways
def test_a_refused_key_ends_the_feed_and_is_told(way: Way, tmp_path: Path) -> None:
    if not way.needs_key:
        pytest.skip("this feed asks for no key")

    async def scenario() -> None:
        async with Market(way).exchange(terms=Terms(token="the right one")) as exchange:
            settings = settings_for(way, exchange, tmp_path)
            collector = Collector(settings, "c1")
            await collector.run(asyncio.Event())
            (feed,) = collector.report().feeds
            assert feed.state == "gave up"
            assert feed.last_problem
            assert settings.secret(settings.feeds["feed"]) not in feed.last_problem
            assert exchange.truth.data.total() == 0

    run(scenario)


@pytest.mark.parametrize("way", [w for w in WAYS if w.refused], ids=str)
def test_a_refused_symbol_is_told_and_the_others_come(
    way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(way, monkeypatch)

    async def scenario() -> None:
        async with Market(way).exchange() as exchange:
            settings = settings_for(way, exchange, tmp_path, way.refused)
            collector, stop = Collector(settings, "c1"), asyncio.Event()
            capturing = asyncio.create_task(collector.run(stop))
            await heard_all(exchange, collector)
            await until(lambda: way.refusal in collector.report().feeds[0].subscription)
            (feed,) = collector.report().feeds
            stop.set()
            await capturing
            assert feed.with_events == way.frames
            assert feed.quarantined == 0

    run(scenario)
