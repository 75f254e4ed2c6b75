"""More than one connection: shards, hand-over before a vendor's end, changes in place."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from websockets.asyncio.server import ServerConnection, serve

from edc_pipeline.capture.collector import Collector
from edc_pipeline.capture.recovery import recover
from edc_pipeline.settings import Capture, Settings
from edc_pipeline.simulator.exchange import Exchange, ExchangeConfig
from edc_pipeline.simulator.faults import Chaos
from edc_pipeline.spool.layout import journal_folder
from edc_pipeline.spool.ledger import Ledger
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import Vendor, Websocket
from edc_pipeline_tests.capture.test_collector import rows_in, run, running, settings_for, until

SYMBOLS = ("SPY", "AAPL", "BRK.B", "MSFT", "QQQ")
LEVEL = {"threshold_level": 0}


def stocks(*symbols: str, **more: Any) -> dict[str, Any]:
    return {"feed": "iex", "symbols": symbols, "options": LEVEL, **more}


def by_the_clock(**told: Any) -> ExchangeConfig:
    return ExchangeConfig(symbols=SYMBOLS, rate=400, seed=3, **told)


@pytest.fixture
def customs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets what Tiingo's websocket is like."""

    def are(**customs: Any) -> None:
        tiingo = VENDORS["tiingo"]
        feeds = {
            **tiingo.feeds,
            "iex": replace(tiingo.feeds["iex"], websocket=Websocket(**customs)),
        }
        monkeypatch.setitem(
            cast(dict[str, Vendor], VENDORS), "tiingo", replace(tiingo, feeds=feeds)
        )

    return are


@asynccontextmanager
async def capturing(settings: Settings) -> AsyncIterator[Collector]:
    async with running(Collector(settings, "c1")) as (collector, _):
        yield collector


def spans(spool: Path) -> dict[str, tuple[int, int, set[str]]]:
    """Of each connection: when it was heard first and last, and of what."""
    found: dict[str, tuple[int, int, set[str]]] = {}
    for _, row in rows_in(spool):
        at = row["created_at"]
        first, last, symbols = found.get(row["connection"], (at, at, set()))
        symbols.add(row["symbol"])
        found[row["connection"]] = min(first, at), max(last, at), symbols
    return found


def test_a_connection_is_handed_over_before_its_vendor_ends_it(
    tmp_path: Path, customs: Any
) -> None:
    customs(lasts_s=2.0)

    # The exchange's patience is longer than what it states: a loaded machine takes its time, and a
    # connection that was not handed over would reach that all the same.
    async def scenario() -> None:
        async with Exchange(by_the_clock(ends_after_s=8.0)) as exchange:
            settings = settings_for(exchange, tmp_path, stocks=stocks(*SYMBOLS))
            async with capturing(settings):
                await until(lambda: exchange.truth.connections["iex"] >= 5, 40)
                await until(lambda: exchange.clients == 1)
        # None lasted long enough to be ended by the exchange.
        assert exchange.truth.ended["end of term"] == 0
        assert exchange.truth.ended["left"] >= 4
        assert Ledger(settings.spool).gaps() == []
        heard = sorted(spans(settings.spool).values())
        assert len(heard) >= 5
        for (_, left, _), (came, _, _) in pairwise(heard):
            assert came < left  # one was delivering while the other still was
        sent = Counter(f.body for f in exchange.truth.frames if f.is_original)
        rows = Counter((r["ts_event"], r["symbol"]) for _, r in rows_in(settings.spool))
        assert rows.total() == sent.total()

    run(scenario)


def test_where_no_second_connection_is_allowed_the_end_is_a_gap(
    tmp_path: Path, customs: Any
) -> None:
    customs(lasts_s=1.0, connections=1)

    async def scenario() -> None:
        async with Exchange(by_the_clock(ends_after_s=1.0)) as exchange:
            settings = settings_for(exchange, tmp_path, stocks=stocks(*SYMBOLS))
            async with capturing(settings) as collector:
                await until(lambda: exchange.truth.connections["iex"] >= 3)
                await until(lambda: collector.report().feeds[0].gaps_open == 0)
        assert exchange.truth.ended["end of term"] >= 2
        gaps = Ledger(settings.spool).gaps()
        assert len(gaps) >= 2
        assert all("closed with code 1001" in gap.reason for gap in gaps)

    run(scenario)


def test_symbols_are_shared_out_and_a_shard_that_falls_is_a_gap_of_its_own(
    tmp_path: Path, customs: Any
) -> None:
    customs(symbols_per_connection=2, connections=6)

    async def scenario() -> None:
        async with Exchange(by_the_clock()) as exchange:
            asked = stocks(*SYMBOLS, connections=2)
            settings = settings_for(exchange, tmp_path, stocks=asked)
            async with capturing(settings) as collector:
                await until(lambda: collector.report().feeds[0].connections == 6)
                await until(lambda: len(collector.report().feeds[0].events) == 2)
                lines = collector._journal.lines
                assert sorted((line.shard, line.symbols) for line in lines) == [
                    (0, ("SPY",)), (0, ("SPY",)),
                    (1, ("AAPL", "BRK.B")), (1, ("AAPL", "BRK.B")),
                    (2, ("MSFT", "QQQ")), (2, ("MSFT", "QQQ")),
                ]  # fmt: skip
                await asyncio.sleep(0.5)
        of = spans(settings.spool)
        assert len(of) == 6
        wanted = {line.connection: set(line.symbols) for line in lines}
        assert all(symbols <= wanted[name] for name, (_, _, symbols) in of.items())

    run(scenario)
    gaps = Ledger(tmp_path / "spool").gaps()
    assert gaps == []


def test_one_shard_falls_the_others_stand(tmp_path: Path, customs: Any) -> None:
    customs(symbols_per_connection=2)

    async def scenario() -> None:
        chaos = Chaos.parse("cut@150")
        async with Exchange(by_the_clock(chaos=chaos)) as exchange:
            settings = settings_for(exchange, tmp_path, stocks=stocks(*SYMBOLS))
            async with capturing(settings) as collector:
                await until(lambda: exchange.truth.connections["iex"] == 4)
                await until(lambda: collector.report().feeds[0].gaps_open == 0)
                await asyncio.sleep(0.3)
        (gap,) = Ledger(settings.spool).gaps()
        assert (gap.symbol, gap.state) == ("", "closed")
        assert "of 3)" in gap.reason
        fallen = -1 - gap.first_seq
        again = next(n for n in collector._journal.lines if n.gap == 1)
        assert again.shard == fallen
        # The first print after it is STALE, of the symbols of that shard alone.
        stale = {row["symbol"] for _, row in rows_in(settings.spool) if row["status"] == "STALE"}
        assert stale <= set(again.symbols)
        late = [r for _, r in rows_in(settings.spool) if r["connection"] == again.connection]
        assert late
        assert min(r["created_at"] for r in late) >= (gap.to_ns or 0)

    run(scenario)


def test_other_symbols_on_the_same_connection(tmp_path: Path) -> None:
    """Asked for in place; and recovery reads each frame as it was read."""

    async def scenario() -> None:
        coins = {"feed": "crypto", "options": {"threshold_level": 2}}
        config = ExchangeConfig(symbols=("BTC/USD", "ETH/USD", "SOL/USD"), rate=400)
        async with Exchange(config) as exchange:

            def asking(*symbols: str) -> Settings:
                return settings_for(exchange, tmp_path, coins={**coins, "symbols": symbols})

            settings = asking("BTC/USD", "ETH/USD")
            async with capturing(settings) as collector:

                def heard() -> set[str]:
                    return {s for state in collector._states for s in state.symbols_before}

                await until(lambda: heard() == {"BTC/USD", "ETH/USD"})
                assert collector.take_feeds(asking("ETH/USD", "SOL/USD")) == "changed coins"
                await until(lambda: "SOL/USD" in heard())
                await until(lambda: collector._states[0].subscription == "")
                await until(lambda: all(p.delivers() for p in collector._supply._places()))
                before = collector.report().feeds[0].frames
                await until(lambda: collector.report().feeds[0].frames > before + 200)
                await collector._journal.commit()
                shutil.copytree(settings.spool, tmp_path / "died", dirs_exist_ok=True)
            assert exchange.truth.connections["crypto"] == 1
        (connection,) = spans(settings.spool)
        first, second = collector._journal.lines
        assert {line.connection for line in (first, second)} == {connection}
        assert (first.symbols, second.symbols) == (("BTC/USD", "ETH/USD"), ("ETH/USD", "SOL/USD"))
        assert Ledger(settings.spool).gaps() == []
        # What was let go is heard no more.
        rows = [row for _, row in rows_in(settings.spool)]
        last_frames = sorted(rows, key=lambda r: r["frame"])[-100:]
        assert {r["symbol"] for r in last_frames} == {"ETH/USD", "SOL/USD"}

        assert journal_folder(tmp_path / "died", "c1").exists()
        (recovered,) = recover(tmp_path / "died", Capture(horizon_days=36_500), lambda: 0)
        assert recovered.frames > 200
        read_again = {
            (r["frame"], r["symbol"], r["occurrence"]) for _, r in rows_in(tmp_path / "died")
        }
        at_once = {(r["frame"], r["symbol"], r["occurrence"]) for r in rows}
        assert read_again <= at_once
        assert max(f for f, *_ in read_again) >= second.from_frame

    run(scenario)


def test_a_refused_change_in_place_is_an_alarm_and_what_stands_goes_on(tmp_path: Path) -> None:
    """The token is not right any more: the vendor says no, the subscription lives on."""

    async def scenario() -> None:
        async with Exchange(by_the_clock()) as exchange:
            settings = settings_for(exchange, tmp_path, stocks=stocks("SPY"))
            async with capturing(settings) as collector:
                await until(lambda: collector.report().feeds[0].with_events > 10)
                (place,) = collector._supply._places()
                session = place.held[0].connection.session
                session._token = ""  # type: ignore[union-attr]
                collector.take_feeds(settings_for(exchange, tmp_path, stocks=stocks("SPY", "AAPL")))
                await until(lambda: bool(collector.report().feeds[0].subscription))
                before = collector.report().feeds[0].with_events
                await until(lambda: collector.report().feeds[0].with_events > before + 50)
                assert collector.report().feeds[0].state == "live"
        assert "401" in collector.report().feeds[0].subscription
        assert exchange.truth.connections["iex"] == 1

    run(scenario)


def test_with_room_for_one_a_changed_feed_lets_go_before_it_connects_anew(
    tmp_path: Path, customs: Any
) -> None:
    customs(connections=1)

    async def scenario() -> None:
        most = 0
        async with Exchange(by_the_clock()) as exchange:
            settings = settings_for(exchange, tmp_path, stocks=stocks("SPY"))
            async with capturing(settings) as collector:
                await until(lambda: collector.report().feeds[0].with_events > 10)
                changed = stocks("SPY", options={"threshold_level": 5})
                collector.take_feeds(settings_for(exchange, tmp_path, stocks=changed))
                while exchange.truth.connections["iex"] < 2:
                    most = max(most, exchange.clients)
                    await asyncio.sleep(0.001)
                await until(lambda: collector.report().feeds[0].connections == 1)
        assert most == 1

    run(scenario)


def test_a_key_that_the_vendor_says_is_shown_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In a refusal, and in the reason of the close."""
    key = "s3cr3t-key-of-ours"

    async def echo(connection: ServerConnection) -> None:
        await connection.recv()
        refusal = {"messageType": "E", "response": {"code": 400, "message": f"no such key {key}"}}
        answered = {"messageType": "I", "response": {"code": 200}, "data": {"subscriptionId": 1}}
        await connection.send(json.dumps(answered))
        await connection.send(json.dumps(refusal))
        await connection.close(1008, f"bad key {key}")

    async def scenario() -> Collector:
        async with serve(echo, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            feed: Any = {"vendor": "tiingo", **stocks("SPY"), "url": f"ws://127.0.0.1:{port}/iex"}
            settings = Settings(data_dir=tmp_path, feeds={"stocks": feed})
            settings._secrets["EDC_TIINGO_TOKEN"] = key
            async with capturing(settings) as collector:
                await until(lambda: "bad key" in collector.report().feeds[0].last_problem)
            return collector

    collector = asyncio.run(scenario())
    assert "no such key ***" in caplog.text
    assert "bad key <key>" in collector.report().feeds[0].last_problem
    assert key not in caplog.text
    assert all(key not in gap.reason for gap in Ledger(tmp_path / "spool").gaps())
    assert key not in repr(collector._states)
