"""Each polled feed the whole way: its adapter asks the simulator's server over real HTTP; journal,
spool and daily files hold what the market's board shows, each statement once.

The server's clock stands still, so the board does not change and nothing but the first answers is
news. To add a feed, add a line to `POLLED`.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import tables

from edc_pipeline.capture.collector import Collector
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.consolidation.verification import verify
from edc_pipeline.settings import Settings
from edc_pipeline.simulator.board import Listing
from edc_pipeline.simulator.rest_server import RestConfig, RestServer
from edc_pipeline.simulator.session import Terms
from edc_pipeline.spool.layout import days_in
from edc_pipeline.spool.ledger import Ledger
from edc_pipeline_tests.capture.test_collector import until
from edc_pipeline_tests.vendors.ways import COINS, FX, NOON, STOCKS, Key, in_ms, in_seconds
from edc_pipeline_tests.vendors.whole_way import canonical, run

NAN: Final = float("nan")
Shows = Callable[[Listing], Iterator[Key]]


def day_prices(stamp: Callable[[int], int]) -> Shows:
    def shows(one: Listing) -> Iterator[Key]:
        ts, symbol = stamp(one.changed_ns), one.instrument.symbol
        for kind, price in (
            ("last", one.price),
            ("open", one.open),
            ("high", one.high),
            ("low", one.low),
            ("prev_close", one.previous_close),
        ):
            yield canonical("ref_px", ts, symbol, kind, price)

    return shows


def last_quote(stamp: Callable[[int], int], *, sizes: bool = True) -> Shows:
    def shows(one: Listing) -> Iterator[Key]:
        top = one.top
        bid_size, ask_size = (top.bid_size, top.ask_size) if sizes else (NAN, NAN)
        ts, symbol = stamp(top.quote_ns), one.instrument.symbol
        yield canonical("quote", ts, symbol, top.bid, bid_size, top.ask, ask_size)

    return shows


def last_trade(stamp: Callable[[int], int], *, sizes: bool = True) -> Shows:
    def shows(one: Listing) -> Iterator[Key]:
        top = one.top
        size = top.last_size if sizes else NAN
        yield canonical("trade", stamp(top.trade_ns), one.instrument.symbol, top.last, size)

    return shows


@dataclasses.dataclass(frozen=True, kw_only=True)
class Polled:
    vendor: str
    feed: str
    symbols: tuple[str, ...]
    shows: tuple[Shows, ...]
    path: str = ""  # of the feed's url, behind the host
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    refused: str = ""  # a symbol that the server does not have; "": it is left out without a word

    def __str__(self) -> str:
        return f"{self.vendor}-{self.feed}"


POLLED: Final = (
    Polled(
        vendor="finnhub",
        feed="quote",
        symbols=(*STOCKS, *FX, *COINS),
        shows=(day_prices(in_seconds),),
        path="/api/v1",
        refused="ZZZZ",
    ),
    Polled(
        vendor="twelve_data",
        feed="quote",
        symbols=(*STOCKS, *FX, *COINS),
        shows=(day_prices(in_seconds),),
        refused="ZZZZ",
    ),
    Polled(
        vendor="fmp",
        feed="quote",
        symbols=(*STOCKS, *FX),
        shows=(day_prices(in_seconds),),
        path="/api/v3",
    ),
    Polled(
        vendor="finage",
        feed="stocks_last",
        symbols=("AAPL", "BRK.B"),
        shows=(last_quote(in_ms),),
        refused="ZZZZ",
    ),
    Polled(vendor="finage", feed="etf_last", symbols=("SPY",), shows=(last_quote(in_ms),)),
    Polled(
        vendor="finage",
        feed="forex_last",
        symbols=FX,
        shows=(last_quote(in_ms, sizes=False),),
        refused="EUR/ZZZ",
    ),
    Polled(
        vendor="finage",
        feed="crypto_last",
        symbols=COINS,
        shows=(last_trade(in_ms, sizes=False),),
        refused="FOO/USD",
    ),
    Polled(
        vendor="massive",
        feed="stocks_snapshot",
        symbols=STOCKS,
        shows=(last_trade(int), last_quote(int), day_prices(int)),
    ),
    Polled(
        vendor="massive",
        feed="forex_snapshot",
        symbols=FX,
        shows=(last_quote(in_ms, sizes=False), day_prices(in_ms)),
    ),
    Polled(
        vendor="massive",
        feed="crypto_snapshot",
        symbols=COINS,
        shows=(last_trade(in_ms), day_prices(in_ms)),
    ),
)
polled = pytest.mark.parametrize("way", POLLED, ids=str)


def serve(way: Polled, **more: Any) -> RestServer:
    config = RestConfig(vendor=way.vendor, symbols=way.symbols, rate=40.0, seed=7, **more)
    return RestServer(config, clock=lambda: NOON)


def settings_for(way: Polled, server: RestServer, folder: Path, *more_symbols: str) -> Settings:
    feed = {
        "vendor": way.vendor,
        "feed": way.feed,
        "symbols": (*way.symbols, *more_symbols),
        "options": dict(way.options),
        "url": server.url + way.path,
        "every": 0.1,
        "hours": "always",
        "budget": {"second": 500},
    }
    return Settings(
        data_dir=folder,
        capture={"horizon_days": 36_500},  # type: ignore[arg-type]
        feeds={"feed": feed},  # type: ignore[dict-item]
    )


_NUMBERS: Final = {
    "trade": ("price", "size"),
    "quote": ("bid_price", "bid_size", "ask_price", "ask_size"),
    "ref_px": ("price",),
}


def in_daily_files(settings: Settings) -> Counter[Key]:
    found: Counter[Key] = Counter()
    for event_type, day in days_in(settings.spool):
        made = consolidate(settings.spool, settings.daily, event_type, day)
        assert made.path is not None
        assert verify(made.path, settings.spool).ok
        with tables.open_file(made.path) as file:
            rows = file.root[event_type].table.read()
        for row in rows:
            kind = (row["kind"].decode(),) if event_type == "ref_px" else ()
            numbers = (float(row[name]) for name in _NUMBERS[event_type])
            stamp, symbol = int(row["ts_event"]), row["symbol"].decode()
            found[canonical(event_type, stamp, symbol, *kind, *numbers)] += 1
    return found


@polled
def test_the_daily_files_hold_what_the_board_shows_once(way: Polled, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serve(way) as server:
            settings = settings_for(way, server, tmp_path)
            collector, stop = Collector(settings, "c1"), asyncio.Event()
            capturing = asyncio.create_task(collector.run(stop))
            requests = settings.feeds["feed"].plan("feed").requests
            await until(lambda: collector.report().feeds[0].frames >= 3 * requests)
            (feed,) = collector.report().feeds
            stop.set()
            await capturing
            assert feed.quarantined == 0
            assert feed.control > 0  # the same once more
            assert all(c.balanced for c in Ledger(settings.spool).frames().values())
            shown = Counter(
                key for one in server.board.listings for shows in way.shows for key in shows(one)
            )
            assert shown.total() >= len(way.symbols)
            assert in_daily_files(settings) == shown

    run(scenario)


@polled
def test_a_refused_key_ends_the_feed_and_is_told(way: Polled, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serve(way, terms=Terms(token="the right one")) as server:
            settings = settings_for(way, server, tmp_path)
            collector = Collector(settings, "c1")
            await collector.run(asyncio.Event())
            (feed,) = collector.report().feeds
            assert feed.state == "gave up"
            assert feed.last_problem
            assert settings.secret(settings.feeds["feed"]) not in feed.last_problem
            assert not any(feed.events.values())

    run(scenario)


@pytest.mark.parametrize("way", [w for w in POLLED if w.refused], ids=str)
def test_a_refused_symbol_is_told_and_the_others_come(way: Polled, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serve(way) as server:
            settings = settings_for(way, server, tmp_path, way.refused)
            collector, stop = Collector(settings, "c1"), asyncio.Event()
            capturing = asyncio.create_task(collector.run(stop))
            await until(lambda: collector.report().feeds[0].with_events >= len(way.symbols))
            await until(lambda: "refused" in collector.report().feeds[0].subscription)
            (feed,) = collector.report().feeds
            stop.set()
            await capturing
            assert feed.quarantined == 0

    run(scenario)
