"""Hand-over: what the exchange sent while one collector followed another is there, all of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from edc_pipeline.simulator.exchange import Exchange, ExchangeConfig
from edc_pipeline.spool.layout import LOCK, SUCCESSOR
from edc_pipeline.spool.ledger import Ledger
from edc_pipeline.spool.owner import Owner, current_owner, hold_lock, own_spool
from edc_pipeline_tests.capture.test_collector import (
    COINS,
    STOCKS,
    contents_of,
    expected_contents,
    rows_in,
    run,
)
from edc_pipeline_tests.cli.calling import edc, start
from edc_pipeline_tests.cli.test_commands import rows_and_ledger_agree, until

SYMBOLS = ("SPY", "AAPL", "BRK.B", "BTC/USD")


def configured(home: Path, exchange: Exchange) -> Path:
    feeds: dict[str, dict[str, Any]] = {"stocks": dict(STOCKS), "coins": dict(COINS)}
    for feed in feeds.values():
        url = exchange.url(feed["feed"])
        feed |= {"vendor": "tiingo", "url": url, "symbols": list(feed["symbols"])}
    rules = {"flush_seconds": 1, "drain_seconds": 5}
    (home / "feeds.yaml").write_text(yaml.safe_dump({"feeds": feeds, "capture": rules}))
    spool = home / "data" / "spool"
    spool.mkdir(parents=True)
    return spool


def owner_of(spool: Path) -> int | None:
    owner = current_owner(spool)[1]
    return owner.pid if owner else None


def names_in(spool: Path) -> set[str]:
    return {path.name for path in spool.rglob("*")}


async def off_loop(what: Callable[[], object]) -> None:
    await asyncio.to_thread(what)


def test_nothing_is_missing_between_the_two(tmp_path: Path) -> None:
    async def scenario() -> None:
        config = ExchangeConfig(symbols=SYMBOLS, rate=1500, seed=5)
        async with Exchange(config) as exchange:
            spool = configured(tmp_path, exchange)
            first = start("capture", cwd=tmp_path)
            await off_loop(lambda: until((spool / "_status.json").exists))
            await asyncio.sleep(1.5)
            second = start("capture", "--take-over", cwd=tmp_path)
            _, err = await asyncio.to_thread(first.communicate, timeout=30)
            assert first.returncode == 0, err
            assert f"process {second.pid}" in err
            await off_loop(lambda: until(lambda: owner_of(spool) == second.pid))
            third = start("capture", "--take-over", cwd=tmp_path)  # and on
            _, err = await asyncio.to_thread(second.communicate, timeout=30)
            assert second.returncode == 0, err
            assert "took the spool over" in err
            await off_loop(lambda: until(lambda: owner_of(spool) == third.pid))
            await asyncio.sleep(1)
            heard_until = time.time_ns() - 300_000_000
            third.send_signal(signal.SIGTERM)
            _, err = await asyncio.to_thread(third.communicate, timeout=30)
            assert third.returncode == 0, err
            rows = rows_in(spool)
            began = min(row["created_at"] for _, row in rows) + 300_000_000
            exchange.truth.frames = type(exchange.truth.frames)(
                f for f in exchange.truth.frames if began < f.at_ns < heard_until
            )
            sent = expected_contents(exchange, with_copies=False)
            assert len(sent) > 2000
            assert not sent.keys() - contents_of(rows).keys()
            assert len({row["connection"] for _, row in rows}) == 6
        assert Ledger(spool).gaps() == []
        assert rows_and_ledger_agree(spool) == len(rows)
        status = json.loads((spool / "_status.json").read_bytes())
        assert status["pid"] == third.pid
        assert status["commit_worst_s"] < 2  # what waited for the hand-over was durable elsewhere

    run(scenario)


def a_capture_and_then(tmp_path: Path, then: Callable[[Path], Awaitable[None]]) -> None:
    async def scenario() -> None:
        async with Exchange(ExchangeConfig(symbols=SYMBOLS, rate=300, seed=5)) as exchange:
            await then(configured(tmp_path, exchange))

    run(scenario)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_newcomer_that_ends_before_it_asks_leaves_nothing(
    tmp_path: Path, number: signal.Signals
) -> None:
    async def then(spool: Path) -> None:
        me = Owner(collector="c0", pid=1, started_at=1)
        with own_spool(spool, me):  # an owner that looks for no successor
            newcomer = start("capture", "--take-over", cwd=tmp_path)
            await off_loop(lambda: until(lambda: current_owner(spool, SUCCESSOR)[0]))
            newcomer.send_signal(number)
            _, err = await asyncio.to_thread(newcomer.communicate, timeout=20)
            assert newcomer.returncode == (0 if number == signal.SIGTERM else -9), err
            assert "Traceback" not in err
            assert owner_of(spool) == 1
        assert names_in(spool) == {LOCK, SUCCESSOR}
        assert current_owner(spool, SUCCESSOR) == (False, None) or number == signal.SIGKILL

    a_capture_and_then(tmp_path, then)


def test_a_second_newcomer_is_told_who_the_first_is(tmp_path: Path) -> None:
    async def then(spool: Path) -> None:
        me = Owner(collector="c0", pid=4242, started_at=1)
        with hold_lock(spool / SUCCESSOR, me):
            said = await asyncio.to_thread(lambda: edc("capture", "--take-over", cwd=tmp_path))
        assert said.code == 2
        assert "4242" in said.err
        assert "Traceback" not in said.err

    a_capture_and_then(tmp_path, then)


def test_where_nobody_captures_it_simply_begins(tmp_path: Path) -> None:
    async def then(spool: Path) -> None:
        process: subprocess.Popen[str] = start("capture", "--take-over", "--for", "3", cwd=tmp_path)
        try:
            _, err = await asyncio.to_thread(process.communicate, timeout=30)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        assert process.returncode == 0, err
        assert rows_and_ledger_agree(spool) > 100

    a_capture_and_then(tmp_path, then)
