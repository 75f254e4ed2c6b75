"""Alpha Vantage the whole way: errors under HTTP 200, a symbol a request, bars without the last.

What the daily files must hold is taken from the server's own board, never from our reader.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from edc_pipeline.capture.collector import Collector
from edc_pipeline.capture.recovery import recover
from edc_pipeline.settings import Settings
from edc_pipeline.simulator.rest_server import RestConfig, RestServer
from edc_pipeline.simulator.session import Terms
from edc_pipeline_tests.capture.test_collector import ledger_adds_up, rows_in, run, until
from edc_pipeline_tests.capture.test_polled import capture_until, daily_files_hold, frames_heard

KEY = "hush-9f3a-secret"
OFTEN = {"every": 0.1, "hours": "always", "budget": {"second": 200}}
QUOTES = {"feed": "global_quote", "symbols": ("IBM", "BRK.B")}
RATES = {"feed": "exchange_rate", "symbols": ("EUR/USD", "BTC/USD")}
BARS = {"feed": "intraday", "symbols": ("AAPL",), "options": {"interval": "1min"}}


def settings_for(server: RestServer, tmp_path: Path, **feeds: dict[str, Any]) -> Settings:
    made = Settings(
        data_dir=tmp_path,
        capture={"flush_seconds": 0.2},  # type: ignore[arg-type]
        feeds={
            name: {"vendor": "alpha_vantage", "url": server.url, **OFTEN, **feed}  # type: ignore[misc]
            for name, feed in feeds.items()
        },
    )
    made._secrets["EDC_ALPHA_VANTAGE_TOKEN"] = KEY
    return made


def config(**told: Any) -> RestConfig:
    return RestConfig(vendor="alpha_vantage", terms=Terms(token=KEY), **told)


def test_quotes_rates_and_bars_reach_their_daily_files(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RestServer(config(history_s=600.0, rate=100.0)) as server:
            settings = settings_for(server, tmp_path, quotes=QUOTES, rates=RATES, bars=BARS)
            await capture_until(settings, frames_heard(6))
            rows = rows_in(settings.spool)
            daily_files_hold(settings, rows)
            ledger_adds_up(settings)
            kinds = {(row["feed"], row["symbol"], row.get("kind", "quote")) for _, row in rows}
            assert {("global_quote", s, "last") for s in QUOTES["symbols"]} <= kinds
            for symbol in RATES["symbols"]:
                assert {("exchange_rate", symbol, k) for k in ("reference", "quote")} <= kinds
            listing = server.board.of("AAPL")
            assert listing is not None
            told = {
                (row["ts_event"].value if hasattr(row["ts_event"], "value") else row["ts_event"])
                for _, row in rows
                if row["feed"] == "intraday" and row["kind"] == "close"
            }
            assert len(told) >= 8
            assert len(told) < len(listing.bars)  # the newest is not over
            closes = {
                round(row["price"], 4)
                for _, row in rows
                if row["feed"] == "intraday" and row["kind"] == "close"
            }
            assert closes <= {round(bar.close, 4) for bar in listing.bars}

    run(scenario)


def test_a_refused_key_under_200_ends_the_feed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RestServer(config()) as server:
            settings = settings_for(server, tmp_path, quotes=QUOTES)
            settings._secrets["EDC_ALPHA_VANTAGE_TOKEN"] = "another-wrong-key"
            collector = Collector(settings, "c1")
            await asyncio.wait_for(collector.run(asyncio.Event()), 20)
            (feed,) = collector.report().feeds
            assert feed.state == "gave up"
            assert "apikey is invalid" in feed.last_problem
            assert server.requests <= len(QUOTES["symbols"])

    run(scenario)


def test_an_unknown_symbol_is_an_alarm_and_asked_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with RestServer(config()) as server:
            settings = settings_for(server, tmp_path, quotes={**QUOTES, "symbols": ("IBM", "NOPE")})
            collector = await capture_until(settings, lambda _: server.requests >= 8)
            (feed,) = collector.report().feeds
            assert "not known" in feed.subscription
            asked = [a.question.query["symbol"] for a in server.asked]
            assert asked.count("NOPE") == 1
            assert feed.with_events > 1

    run(scenario)


def test_a_limit_told_under_200_holds_the_key_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def scenario() -> None:
        async with RestServer(config(requests=4, per_s=3600.0)) as server:
            settings = settings_for(server, tmp_path, quotes=QUOTES)
            collector, stop = Collector(settings, "c1"), asyncio.Event()
            capturing = asyncio.create_task(collector.run(stop))
            await until(lambda: server.requests >= 5)
            await asyncio.sleep(0.8)  # sixteen more would have come
            # The first that was told, and what was under way with it.
            assert server.requests <= 4 + 4
            (feed,) = collector.report().feeds
            assert "rate limit" in feed.last_problem
            stop.set()
            await capturing
            assert KEY not in caplog.text

    run(scenario)


def test_answers_without_a_name_are_recovered_by_their_request(tmp_path: Path) -> None:
    """`{}` says nothing of whose it is; a rate of two symbols of one feed must not mix."""

    async def scenario() -> None:
        async with RestServer(config(rate=3000.0, history_s=2.0)) as server:
            settings = settings_for(server, tmp_path, rates=RATES).model_copy(
                update={"capture": Settings().capture.model_copy(update={"flush_seconds": 3000.0})}
            )
            left = tmp_path / "left"

            def killed(collector: Collector) -> bool:
                if not frames_heard(8)(collector) or collector._journal.waiting_bytes:
                    return False
                shutil.copytree(settings.spool, left)
                return True

            await capture_until(settings, killed)
            (dead,) = recover(left, settings.capture, time.time_ns)
            recovered, kept = rows_in(left), rows_in(settings.spool)
            assert sorted(map(str, recovered)) == sorted(
                str(row) for row in kept if row[1]["frame"] < dead.frames
            )
            assert {row["symbol"] for _, row in recovered} == set(RATES["symbols"])
            assert len({row["connection"] for _, row in recovered}) == len(RATES["symbols"])

    run(scenario)
