"""What is merged of two feeds, and what is not, live and in daily files (docs/connections.md)."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import tables

from edc_pipeline.capture.collector import Collector
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.events import AnyEvent
from edc_pipeline.settings import Settings
from edc_pipeline.simulator.exchange import Exchange, ExchangeConfig
from edc_pipeline.spool.layout import days_in
from edc_pipeline_tests.capture.test_collector import NOON, run, until

COINS = ("BTC/USD", "ETH/USD")


def scripted(vendor: str, audience: int, symbols: tuple[str, ...] = COINS) -> Exchange:
    # Trades and quotes of one moment on every vendor's market: the same seed, the same instruments.
    config = ExchangeConfig(
        vendor=vendor, symbols=symbols, events=400, audience=audience, script_start_ns=NOON, seed=4
    )
    return Exchange(config)


async def heard(
    folder: Path, exchanges: list[Exchange], feeds: dict[str, Any]
) -> tuple[list[AnyEvent], Collector, Settings]:
    """What a live subscriber hears of these feeds, until their exchanges have sent everything."""
    rules: Any = {"horizon_days": 36_500}
    settings = Settings(data_dir=folder, capture=rules, feeds=feeds)
    collector, stop = Collector(settings, "c1"), asyncio.Event()
    subscriber = collector.subscribe(limit=1_000_000)
    capturing = asyncio.create_task(collector.run(stop))
    for exchange in exchanges:
        await asyncio.wait_for(exchange.finished(), 30)
    sent = sum(exchange.truth.data.total() for exchange in exchanges)
    await until(lambda: sum(f.with_events for f in collector.report().feeds) >= sent)
    stop.set()
    await capturing
    return [event async for event in subscriber], collector, settings


def in_daily_files(settings: Settings) -> Counter[tuple[str, str, str]]:
    """Rows by vendor, feed and event type."""
    rows: Counter[tuple[str, str, str]] = Counter()
    for event_type, day in days_in(settings.spool):
        made = consolidate(settings.spool, settings.daily, event_type, day)
        assert made.certificate.balanced
        with tables.open_file(made.path) as file:
            for row in file.root[event_type].table.read():
                rows[row["vendor"].decode(), row["feed"].decode(), event_type] += 1
    return rows


def by_product(events: list[AnyEvent]) -> Counter[tuple[str, str, str]]:
    return Counter((e.vendor, e.feed, e.event_type) for e in events)


def late(collector: Collector) -> dict[str, int]:
    return {feed.name: feed.late_copies for feed in collector.report().feeds}


def test_one_product_under_two_names_is_merged(tmp_path: Path) -> None:
    """A primary and a backup: each event once, the loser's counted."""

    async def scenario() -> None:
        async with scripted("tiingo", 2, ("SPY", "AAPL")) as exchange:
            feed = {
                "vendor": "tiingo",
                "feed": "iex",
                "symbols": ("SPY", "AAPL"),
                "options": {"threshold_level": 0},
                "url": exchange.url("iex"),
            }
            feeds = {"primary": feed, "backup": feed}
            events, collector, settings = await heard(tmp_path, [exchange], feeds)
        delivered = sum(sum(f.events.values()) for f in collector.report().feeds)
        assert len(events) + sum(late(collector).values()) == delivered
        assert len(events) == delivered / 2
        assert in_daily_files(settings) == by_product(events)

    run(scenario)


def test_two_products_of_one_vendor_are_two(tmp_path: Path) -> None:
    """Coinbase tells the same trades, by the same ids, on both of its feeds."""

    async def scenario() -> None:
        # By the clock: both have asked for everything after a second or two.
        config = ExchangeConfig(vendor="coinbase", symbols=COINS, rate=100, seconds=5.0, seed=4)
        async with Exchange(config) as exchange:
            feeds = {
                name: {
                    "vendor": "coinbase",
                    "feed": name,
                    "symbols": COINS,
                    "url": exchange.url(name),
                }
                for name in ("exchange", "advanced")
            }
            events, collector, settings = await heard(tmp_path, [exchange], feeds)
        ids = {
            name: {e.event_id for e in events if e.feed == name and e.event_type == "trade"}
            for name in feeds
        }
        assert ids["exchange"] & ids["advanced"]
        assert set(late(collector).values()) == {0}
        rows = in_daily_files(settings)
        assert rows == by_product(events)
        assert {feed for _, feed, _ in rows} == {"exchange", "advanced"}

    run(scenario)


def test_two_vendors_are_two_also_where_they_say_the_same(tmp_path: Path) -> None:
    """Whether a trade that two vendors tell is one, no field of theirs says."""

    async def scenario() -> None:
        async with scripted("binance", 1) as one, scripted("kraken", 1) as other:
            feeds = {
                exchange.config.vendor: {
                    "vendor": exchange.config.vendor,
                    "feed": "spot",
                    "symbols": COINS,
                    "url": exchange.url("spot"),
                }
                for exchange in (one, other)
            }
            events, collector, settings = await heard(tmp_path, [one, other], feeds)
        assert set(late(collector).values()) == {0}
        rows = in_daily_files(settings)
        assert rows == by_product(events)
        assert {vendor for vendor, _, _ in rows} == {"binance", "kraken"}

    run(scenario)
