"""The keyless exchanges over a real socket: what is lost is told by number, what a snapshot says
again is no new event, sides are the aggressor's, and limits are kept."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tables

from edc_pipeline.capture.collector import Collector
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.settings import Settings
from edc_pipeline.simulator.chaos import Chaos
from edc_pipeline.simulator.exchange import Exchange, ExchangeConfig
from edc_pipeline.simulator.instruments import listing
from edc_pipeline.simulator.market import TRADE, Tick
from edc_pipeline.simulator.session import Reply
from edc_pipeline.spool.layout import days_in
from edc_pipeline.spool.ledger import Ledger
from edc_pipeline.vendors import VENDORS
from edc_pipeline_tests.capture.test_collector import until
from edc_pipeline_tests.vendors import coins_told as coins
from edc_pipeline_tests.vendors.ways import COINS, Way
from edc_pipeline_tests.vendors.whole_way import (
    Market,
    heard_all,
    in_daily_files,
    run,
    settings_for,
)

# Trades alone: of each frame that is lost, one number is missing.
TRADES = (
    Way(
        vendor="binance",
        feed="spot",
        symbols=COINS,
        options={"streams": ["trade"]},
        tells=(coins.trades(coins.BINANCE, coins.MS),),
    ),
    Way(
        vendor="binance",
        feed="usdm",
        symbols=COINS,
        tells=(coins.trades(coins.BINANCE, coins.MS),),
    ),
    Way(
        vendor="coinbase",
        feed="exchange",
        symbols=COINS,
        options={"channels": ["matches"]},
        tells=(coins.trades(coins.COINBASE, coins.US),),
        messages=2,
    ),
    Way(
        vendor="coinbase",
        feed="advanced",
        symbols=COINS,
        options={"channels": ["market_trades"]},
        tells=(coins.trades(coins.COINBASE, coins.US),),
        messages=3,
    ),
    Way(
        vendor="kraken",
        feed="spot",
        symbols=COINS,
        options={"channels": ["trade"]},
        tells=(coins.trades(coins.KRAKEN, coins.US),),
    ),
)
of_trades = pytest.mark.parametrize("way", TRADES, ids=str)


async def capture_all(settings: Settings, exchange: Exchange) -> None:
    collector, stop = Collector(settings, "c1"), asyncio.Event()
    capturing = asyncio.create_task(collector.run(stop))
    await heard_all(exchange, collector)
    stop.set()
    await capturing


@of_trades
def test_dropped_frames_are_gaps_with_their_number(way: Way, tmp_path: Path) -> None:
    async def scenario() -> None:
        market = Market(way)
        chaos = Chaos.parse("drop@100:1,drop@200:3")
        async with market.exchange(chaos=chaos) as exchange:
            settings = settings_for(way, exchange, tmp_path)
            await capture_all(settings, exchange)
            lost = market.told - in_daily_files(settings)
            assert lost.total() == 4
            gaps = [gap for gap in Ledger(settings.spool).gaps() if gap.symbol]
            missing: Counter[str] = Counter()
            for gap in gaps:
                assert gap.size is not None
                missing[gap.symbol] += gap.size
            assert missing == Counter(symbol for (_, _, symbol, *_) in lost.elements())
            if way.feed == "advanced":  # and the frames themselves are missing on their connection
                of_connection = [g for g in Ledger(settings.spool).gaps() if not g.symbol]
                assert sum(gap.size or 0 for gap in of_connection) == 4

    run(scenario)


@of_trades
def test_a_cut_costs_nothing_that_a_snapshot_brings_again(way: Way, tmp_path: Path) -> None:
    """The script waits for the client: nothing is lost, and what is said again is said once."""

    async def scenario() -> None:
        market = Market(way)
        async with market.exchange(chaos=Chaos.parse("cut@150")) as exchange:
            settings = settings_for(way, exchange, tmp_path)
            await capture_all(settings, exchange)
            assert exchange.truth.connections[way.feed] == 2
            # The real Binance sends nothing again.
            assert (exchange.truth.control["snapshot"] > 0) == (way.vendor != "binance")
            assert in_daily_files(settings) == market.told
            assert all(gap.symbol == "" for gap in Ledger(settings.spool).gaps())

    run(scenario)


def test_what_happened_while_nobody_listened_is_a_gap(tmp_path: Path) -> None:
    """By the clock: trades go on while the client is away, and are missing by their numbers."""
    way = replace(TRADES[0], symbols=("BTC/USD",))

    async def scenario() -> None:
        market = Market(way)
        clockwise: dict[str, Any] = {"script_start_ns": None, "events": 600, "rate": 4_000.0}
        async with market.exchange(**clockwise, chaos=Chaos.parse("cut@100")) as exchange:
            settings = settings_for(way, exchange, tmp_path)
            await capture_all(settings, exchange)
            (gap,) = [gap for gap in Ledger(settings.spool).gaps() if gap.symbol]
            numbers = sorted(
                int(event_id) for event_id, _ in told_of_trades(settings, "event_id", "symbol")
            )
            assert gap.size == numbers[-1] - numbers[0] + 1 - len(numbers) > 0
            assert gap.first_seq - 1 in numbers
            assert gap.first_seq + gap.size in numbers

    run(scenario)


def told_of_trades(settings: Settings, *columns: str) -> list[tuple[str, ...]]:
    """These text columns of all trades."""
    found: list[tuple[str, ...]] = []
    for event_type, day in days_in(settings.spool):
        if event_type != "trade":
            continue
        made = consolidate(settings.spool, settings.daily, event_type, day)
        with tables.open_file(made.path) as file:
            rows = file.root.trade.table.read()
        found += [tuple(row[name].decode() for name in columns) for row in rows]
    return found


@of_trades
def test_sides_are_the_aggressors(way: Way, tmp_path: Path) -> None:
    """On every exchange: who pays the ask bought, who takes the bid sold."""
    sides: Counter[str] = Counter()
    venue = {"binance": coins.BINANCE, "coinbase": coins.COINBASE, "kraken": coins.KRAKEN}

    async def scenario() -> None:
        market = Market(way)

        def tell(tick: Tick) -> None:
            if tick.venue == venue[way.vendor] and tick.kind == TRADE:
                sides["buy" if tick.price >= tick.ask else "sell"] += 1

        market._tell = tell  # type: ignore[method-assign]
        async with market.exchange() as exchange:
            settings = settings_for(way, exchange, tmp_path)
            await capture_all(settings, exchange)
            assert Counter(side for (side,) in told_of_trades(settings, "side")) == sides
            assert min(sides.values()) > 50

    run(scenario)


def test_many_symbols_are_asked_for_within_the_limit_of_messages(tmp_path: Path) -> None:
    """512 symbols with two streams each take six messages; five in a second end the connection."""
    most = VENDORS["binance"].feeds["spot"].websocket.symbols_per_connection
    assert most is not None
    symbols = tuple(f"C{n}/USDT" for n in range(most))

    async def scenario() -> None:
        config = ExchangeConfig(vendor="binance", symbols=symbols, rate=200.0, events=20)
        async with Exchange(config) as exchange:
            feed = {
                "vendor": "binance",
                "feed": "spot",
                "symbols": symbols,
                "url": exchange.url("spot"),
            }
            settings = Settings(data_dir=tmp_path, feeds={"feed": feed})  # type: ignore[dict-item]
            collector, stop = Collector(settings, "c1"), asyncio.Event()
            capturing = asyncio.create_task(collector.run(stop))
            await until(lambda: exchange.truth.control["info"] >= 6)
            await heard_all(exchange, collector)
            (report,) = collector.report().feeds
            stop.set()
            await capturing
            assert exchange.truth.connections["spot"] == 1
            assert exchange.truth.control["error"] == 0
            assert report.reconnects == 0
            assert report.subscription == ""

    assert len(listing(symbols)) == most
    run(scenario)


@of_trades
def test_other_symbols_are_asked_for_on_the_connection_that_stands(
    way: Way, tmp_path: Path
) -> None:
    async def scenario() -> None:
        config = ExchangeConfig(vendor=way.vendor, symbols=(*COINS, "ETH/USD"), rate=4_000.0)
        async with Exchange(config) as exchange:
            settings = settings_for(way, exchange, tmp_path)
            collector, stop = Collector(settings, "c1"), asyncio.Event()
            capturing = asyncio.create_task(collector.run(stop))
            kept, left = COINS
            await until(lambda: collector.report().feeds[0].symbols == 2)
            others = replace(way, symbols=(kept, "ETH/USD"))
            collector.take_feeds(settings_for(others, exchange, tmp_path))
            await until(lambda: collector.report().feeds[0].symbols == 3)
            (connection,) = exchange._audience.present.values()
            gone = left.partition("/")[0]
            await until(lambda: gone not in str(connection.session.subscription).upper())
            stop.set()
            await capturing
            assert exchange.truth.connections[way.feed] == 1
            assert exchange.truth.control["error"] == 0
            assert Ledger(settings.spool).gaps() == []

    run(scenario)


def test_a_connection_that_will_end_is_handed_over_without_a_hole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Binance ends every connection after 24 hours; here after two seconds."""
    way = TRADES[0]
    spec = VENDORS["binance"].feeds["spot"]
    short = replace(spec, websocket=replace(spec.websocket, lasts_s=2.0))
    monkeypatch.setitem(VENDORS["binance"].feeds, "spot", short)

    async def scenario() -> None:
        config = ExchangeConfig(vendor="binance", symbols=COINS, rate=4_000.0)
        async with Exchange(config) as exchange:
            settings = settings_for(way, exchange, tmp_path)
            collector, stop = Collector(settings, "c1"), asyncio.Event()
            capturing = asyncio.create_task(collector.run(stop))
            await until(lambda: exchange.truth.connections["spot"] >= 3)
            await until(lambda: exchange.clients == 1)
            stop.set()
            await capturing
            (report,) = collector.report().feeds
            assert report.quarantined == 0
            assert nothing_is_missing(settings)

    run(scenario)


def nothing_is_missing(settings: Settings) -> bool:
    """By the trades' own numbers, and by the ledger."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for symbol, event_id in told_of_trades(settings, "symbol", "event_id"):
        numbers[symbol].append(int(event_id))
    assert numbers.keys() == set(COINS)
    whole = [sorted(heard) == [*range(min(heard), max(heard) + 1)] for heard in numbers.values()]
    return all(whole) and Ledger(settings.spool).gaps() == []


def test_a_server_that_says_it_will_shut_down_is_left_in_time(tmp_path: Path) -> None:
    async def scenario() -> None:
        config = ExchangeConfig(vendor="binance", symbols=COINS, rate=4_000.0)
        async with Exchange(config) as exchange:
            settings = settings_for(TRADES[0], exchange, tmp_path)
            collector, stop = Collector(settings, "c1"), asyncio.Event()
            capturing = asyncio.create_task(collector.run(stop))
            await until(lambda: exchange.truth.data.total() > 100)
            (connection,) = exchange._audience.present.values()
            connection.reply(Reply("info", '{"e":"serverShutdown","E":1790000000118}'))
            await until(lambda: exchange.truth.connections["spot"] == 2)
            await until(lambda: exchange.clients == 1)
            before = exchange.truth.data.total()
            await until(lambda: exchange.truth.data.total() > before + 100)
            stop.set()
            await capturing
            assert exchange.truth.connections["spot"] == 2
            assert nothing_is_missing(settings)

    run(scenario)


def test_a_server_that_says_so_on_each_connection_is_not_stormed(tmp_path: Path) -> None:
    async def scenario() -> None:
        config = ExchangeConfig(vendor="binance", symbols=COINS, rate=4_000.0)
        async with Exchange(config) as exchange:
            settings = settings_for(TRADES[0], exchange, tmp_path)
            collector, stop = Collector(settings, "c1"), asyncio.Event()
            capturing = asyncio.create_task(collector.run(stop))
            for _ in range(100):
                for connection in exchange._audience.present.values():
                    connection.reply(Reply("info", '{"e":"serverShutdown","E":1790000000118}'))
                await asyncio.sleep(0.02)
            await until(lambda: exchange.truth.connections["spot"] == 2)
            stop.set()
            await capturing
            assert exchange.truth.connections["spot"] == 2

    run(scenario)
