"""Polled feeds the whole way, over real HTTP: the vendor's REST server → spool → daily file."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from edc_pipeline.capture.collector import Collector
from edc_pipeline.capture.recovery import recover
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.consolidation.verification import verify
from edc_pipeline.settings import Settings
from edc_pipeline.simulator.rest_server import RestConfig, RestServer
from edc_pipeline.simulator.session import Terms
from edc_pipeline.spool.layout import BUDGETS, days_in
from edc_pipeline.spool.ledger import Ledger
from edc_pipeline.vendors.iso_time import iso_to_ns
from edc_pipeline_tests.capture.test_collector import ledger_adds_up, rows_in, run, until
from edc_pipeline_tests.cli.calling import start

STOCKS = {"feed": "iex_rest", "symbols": ("SPY", "AAPL", "BRK.B")}
PAIRS = {"feed": "fx_rest", "symbols": ("EUR/USD", "USD/JPY")}
COINS = {"feed": "crypto_rest", "symbols": ("BTC/USD",)}


def settings_for(server: RestServer, tmp_path: Path, **feeds: dict[str, Any]) -> Settings:
    rules = {"flush_seconds": 0.2, **feeds.pop("capture", {})}
    often = {"every": 0.1, "hours": "always", "budget": {"second": 200}}
    return Settings(
        data_dir=tmp_path,
        capture=rules,  # type: ignore[arg-type]
        feeds={
            name: {"vendor": "tiingo", "url": server.url, **often, **feed}  # type: ignore[misc]
            for name, feed in feeds.items()
        },
    )


async def capture_until(
    settings: Settings, done: Callable[[Collector], bool], name: str = "c1"
) -> Collector:
    collector, stop = Collector(settings, name), asyncio.Event()
    capturing = asyncio.create_task(collector.run(stop))
    await until(lambda: done(collector) or capturing.done(), 30)
    stop.set()
    await capturing
    return collector


def files_of(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def frames_heard(number: int) -> Callable[[Collector], bool]:
    return lambda c: all(feed.frames >= number for feed in c.report().feeds)


def daily_files_hold(settings: Settings, rows: list[tuple[str, dict[str, Any]]]) -> None:
    made = Counter[str]()
    for event_type, day in days_in(settings.spool):
        found = consolidate(settings.spool, settings.daily, event_type, day)
        assert found.path is not None
        verified = verify(found.path, settings.spool)
        assert verified.ok, verified.findings
        made[event_type] += len(pd.read_hdf(found.path))
    assert made == Counter(event_type for event_type, _ in rows)


def stated(server: RestServer, path: str) -> list[dict[str, Any]]:
    """Every row that the server ever answered with."""
    return [
        row
        for asked in server.asked
        if asked.question.path == path and asked.status == 200
        for row in json.loads(asked.body)
    ]


def test_the_spool_and_the_daily_file_hold_what_was_stated_each_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RestServer(RestConfig(rate=40.0)) as server:
            settings = settings_for(server, tmp_path, stocks=STOCKS, pairs=PAIRS, coins=COINS)
            collector = await capture_until(settings, frames_heard(15))
            rows = rows_in(settings.spool)
            quotes = {
                (r["ticker"].replace("-", "."), iso_to_ns(r["quoteTimestamp"]), r["bidPrice"])
                for r in stated(server, "/iex/")
                if r["bidPrice"] is not None
            }
            kept = [
                (row["symbol"], pd.Timestamp(row["ts_event"]).value, row["bid_price"])
                for kind, row in rows
                if kind == "quote" and row["feed"] == "iex_rest" and row["bid_price"] > 0
            ]
            assert set(kept) <= quotes
            assert len(kept) == len(set(kept))
            # The last answer may have been under way when it was stopped.
            assert len(quotes) - len(kept) <= len(STOCKS["symbols"])
            assert {row["kind"] for kind, row in rows if kind == "ref_px"} >= {
                *("last", "reference", "open", "high", "low", "prev_close")
            }
            daily_files_hold(settings, rows)
            # Fewer rows than rows told: most answers repeat most of what the one before said.
            assert sum(f.control for f in collector.report().feeds) > 0
            assert {f.state for f in collector.report().feeds} == {"stopped"}
            ledger_adds_up(settings)
            assert Ledger(settings.spool).gaps() == []

    run(scenario)


def test_an_unchanged_poll_is_control_and_every_poll_an_event(tmp_path: Path) -> None:
    now = 1_769_101_200_000_000_000

    async def scenario() -> None:
        # The server's clock stands still: nothing ever changes.
        async with RestServer(RestConfig(history_s=60.0), clock=lambda: now) as server:
            settings = settings_for(
                server,
                tmp_path,
                quiet=STOCKS,
                every={**STOCKS, "options": {"every_poll": True}},
                capture={"horizon_days": 36_500},
            )
            collector = await capture_until(settings, frames_heard(5))
            quiet, every = collector.report().feeds
            assert quiet.with_events == 1
            assert quiet.control == quiet.frames - 1
            assert every.with_events == every.frames
            assert sum(every.events.values()) == every.frames * sum(quiet.events.values())
            ledger_adds_up(settings)

    run(scenario)


def test_a_refused_key_ends_the_feed_and_is_told_without_the_key(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def scenario() -> None:
        async with RestServer(RestConfig(terms=Terms(token="the right one"))) as server:
            settings = settings_for(server, tmp_path, stocks=STOCKS)
            settings._secrets["EDC_TIINGO_TOKEN"] = "hush-9f3a-secret"
            collector = Collector(settings, "c1")
            await asyncio.wait_for(collector.run(asyncio.Event()), 20)
            (feed,) = collector.report().feeds
            assert feed.state == "gave up"
            assert "401" in feed.last_problem
            assert server.requests == 1
            assert "hush-9f3a" not in caplog.text + feed.last_problem
        assert not [path for path in files_of(tmp_path) if b"hush-9f3a" in path.read_bytes()]

    run(scenario)


def test_a_symbol_that_the_vendor_leaves_out_is_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RestServer() as server:
            settings = settings_for(server, tmp_path, stocks={**STOCKS, "symbols": ("SPY", "SPYY")})
            collector = await capture_until(settings, frames_heard(4))
            assert collector.report().feeds[0].silent_symbols == ["SPYY"]

    run(scenario)


def test_an_outage_is_a_gap_and_an_answer_ends_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RestServer(RestConfig(chaos="503@5-8,torn@9,rubbish@10")) as server:
            settings = settings_for(server, tmp_path, stocks=STOCKS)

            def over(collector: Collector) -> bool:
                (feed,) = collector.report().feeds
                return server.requests >= 14 and feed.with_events > 5

            collector = await capture_until(settings, over)
            (feed,) = collector.report().feeds
            assert server.chaos.done.total() == 6
            assert feed.quarantined == 1
            assert feed.reconnects == 1
            (gap,) = Ledger(settings.spool).gaps()
            assert gap.state == "closed"
            assert gap.to_ns is not None
            assert gap.to_ns > gap.from_ns
            ledger_adds_up(settings)

    run(scenario)


def test_a_budget_is_kept_over_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RestServer() as server:
            settings = settings_for(server, tmp_path, stocks={**STOCKS, "budget": {"day": 5}})
            await capture_until(settings, lambda _: server.requests >= 3)
            first = server.requests
            assert (settings.spool / BUDGETS).exists()
            collector, stop = Collector(settings, "c2"), asyncio.Event()
            capturing = asyncio.create_task(collector.run(stop))
            await until(lambda: server.requests >= 5)
            await asyncio.sleep(0.5)  # four more would have come
            stop.set()
            await capturing
            if time.gmtime().tm_hour != 0:  # the vendor's day began anew meanwhile
                assert first < server.requests == 5

    run(scenario)


def test_two_feeds_of_one_key_share_its_budget(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RestServer() as server:
            budget = {"every": 0.01, "budget": {"second": 5}}
            settings = settings_for(
                server, tmp_path, stocks={**STOCKS, **budget}, pairs={**PAIRS, **budget}
            )
            await capture_until(settings, frames_heard(8))
            stamps = sorted(asked.at_ns for asked in server.asked)
            for stamp in stamps:
                assert sum(stamp <= other < stamp + 1_000_000_000 for other in stamps) <= 5

    run(scenario)


def test_a_dead_collectors_answers_are_recovered_as_they_were_read(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RestServer(RestConfig(rate=2000.0, history_s=2.0)) as server:
            never = {"flush_seconds": 3000}
            settings = settings_for(server, tmp_path, coins=COINS, pairs=PAIRS, capture=never)
            left = tmp_path / "left"

            def killed(collector: Collector) -> bool:
                if not frames_heard(8)(collector) or collector._journal.waiting_bytes:
                    return False
                shutil.copytree(settings.spool, left)  # as a kill at this instant leaves it
                return True

            await capture_until(settings, killed)
            (dead,) = recover(left, settings.capture, time.time_ns)
            assert dead.frames >= 16
            recovered, kept = rows_in(left), rows_in(settings.spool)
            assert repr(sorted(map(str, recovered))) == repr(
                sorted(str(row) for row in kept if row[1]["frame"] < dead.frames)
            )

    run(scenario)


def test_a_closed_market_is_not_asked(tmp_path: Path) -> None:
    saturday = 1_769_270_400_000_000_000  # 2026-01-24 11:00 in New York

    async def scenario() -> None:
        async with RestServer() as server:
            settings = settings_for(
                server, tmp_path, stocks={**STOCKS, "hours": "extended"}, coins=COINS
            )
            collector = Collector(settings, "c1", clock=lambda: saturday)
            stop = asyncio.Event()
            capturing = asyncio.create_task(collector.run(stop))
            await until(lambda: server.requests >= 5)
            (stocks, coins) = collector.report().feeds
            assert (stocks.state, stocks.frames) == ("closed", 0)
            assert coins.frames > 0
            assert all(asked.question.path != "/iex/" for asked in server.asked)
            stop.set()
            await capturing

    run(scenario)


def test_a_feed_that_changes_is_asked_for_its_new_symbols(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RestServer() as server:
            few = settings_for(server, tmp_path, stocks={**STOCKS, "symbols": ("SPY",)})
            more = settings_for(server, tmp_path, stocks=STOCKS, coins=COINS)
            collector, stop = Collector(few, "c1"), asyncio.Event()
            capturing = asyncio.create_task(collector.run(stop))
            await until(lambda: frames_heard(3)(collector))
            assert collector.take_feeds(more) == "added coins; changed stocks"
            tickers = ("spy,aapl,brk-b", "btcusd")
            await until(
                lambda: {a.question.query["tickers"] for a in list(server.asked)[-6:]} == {*tickers}
            )
            stocks, coins = collector.report().feeds
            assert (stocks.connections, coins.connections) == (1, 1)
            stop.set()
            await capturing
            assert {row["symbol"] for _, row in rows_in(more.spool)} == {
                *STOCKS["symbols"],
                *COINS["symbols"],
            }
            ledger_adds_up(more)
            assert Ledger(more.spool).gaps() == []

    run(scenario)


def test_a_newcomer_asks_nothing_before_the_spool_is_his(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RestServer() as server:
            settings = settings_for(server, tmp_path, stocks={**STOCKS, "budget": {"day": 8}})
            await capture_until(settings, lambda _: server.requests >= 4, "c1")
            former = server.requests
            newcomer, stop, ours = Collector(settings, "c2"), asyncio.Event(), asyncio.Event()

            async def own() -> None:
                await ours.wait()

            capturing = asyncio.create_task(newcomer.run(stop, own))
            await until(lambda: newcomer.report().feeds[0].state == "waiting")
            await asyncio.sleep(0.3)
            assert server.requests == former
            ours.set()
            await until(lambda: server.requests >= 7)
            await asyncio.sleep(0.4)
            stop.set()
            await capturing
            if time.gmtime().tm_hour:  # else the vendor's day began anew meanwhile
                # Of the same budget; one may have been counted, and ended before it was sent.
                assert server.requests <= 8

    run(scenario)


def test_what_was_asked_for_is_counted_whenever_it_is_killed(tmp_path: Path) -> None:
    """A request is on the disk before it is sent: a life that ends at any instant counts it."""

    async def scenario() -> None:
        async with RestServer() as server:
            feed: dict[str, Any] = {"vendor": "tiingo", "feed": "iex_rest", "url": server.url}
            feed |= {"symbols": ["SPY", "AAPL"]}
            feed |= {"hours": "always", "every": 0.05, "budget": {"month": 100_000_000}}
            (tmp_path / "feeds.yaml").write_text(yaml.safe_dump({"feeds": {"stocks": feed}}))
            for life in (1, 2):
                process = start("capture", cwd=tmp_path)
                await until(lambda n=5 * life: server.requests >= n, 25)  # type: ignore[misc]
                process.send_signal(signal.SIGKILL)
                await asyncio.to_thread(process.communicate, timeout=30)
                kept = (tmp_path / "data" / "spool" / BUDGETS).read_bytes()
                (key,) = json.loads(kept).values()
                # What a kill found on its way is counted, though it was never asked.
                assert server.requests <= sum(key["month"].values()) <= server.requests + life

    run(scenario)
