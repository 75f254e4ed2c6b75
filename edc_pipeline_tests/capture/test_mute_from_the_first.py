"""A feed that stands, has asked, and never delivers: told within 30 s while its market is open; and
one that is refused while the connection lives."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection

from edc_pipeline.capture.admission import Admission
from edc_pipeline.capture.collector import Collector
from edc_pipeline.capture.intake import FeedState, Intake
from edc_pipeline.capture.journal.writer import Journal
from edc_pipeline.capture.queues import Queues
from edc_pipeline.capture.watch import WATCH, FeedWatch, market_of
from edc_pipeline.market_day import MARKET_ZONE
from edc_pipeline.settings import Settings
from edc_pipeline.settings_of_feeds import Feed
from edc_pipeline.simulator.exchange import Exchange, ExchangeConfig
from edc_pipeline.spool.ledger import Ledger, Source
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.shards import WHOLE, Shard
from edc_pipeline_tests.capture.numbered_vendor import made_vendor, message, serving
from edc_pipeline_tests.capture.test_collector import run, until
from edc_pipeline_tests.capture.test_gaps import QUICK, captured, feed_of, made, numbered

S = 10**9


def stock() -> Feed:
    return Feed(vendor="tiingo", feed="iex", symbols=("SPY",))


@dataclass
class Standing:
    """A connection as the watch sees it."""

    standing_since_s: float | None = 0.0
    asking_s: float = 0.0
    acknowledged: bool = True
    number: int = 0
    shard: Shard = WHOLE
    feed: Feed = field(default_factory=stock)
    with_events: int = 0
    spoke_at: int = 0
    asked_to_reconnect: int = 0

    def begin_anew(self) -> None:
        """What it brings next comes after a gap."""

    def ask_to_reconnect(self, reason: str) -> None:
        self.asked_to_reconnect += 1


def told_after(
    folder: Path, line: Standing, feed: Feed, begins: str, seconds: int = 90
) -> tuple[int | None, FeedState]:
    """Look once a second; after how many it is told, by the New York clock."""
    began = int(dt.datetime.fromisoformat(begins).replace(tzinfo=MARKET_ZONE).timestamp()) * S
    state = FeedState(Source("f", feed.vendor, feed.feed), connections=1)
    intake = Intake(Journal(folder, "c1"), Queues(), Admission(7))
    watch = FeedWatch(state, feed.spec, feed.symbols, WATCH, market_of(feed))
    watch.lines.append(line)
    for second in range(seconds):
        watch.look(intake, float(second), began + second * S, reading=True)
        if state.silent:
            return second, state
    return None, state


@pytest.mark.parametrize(
    ("begins", "told"), [("2026-01-22T11:00", True), ("2026-01-24T11:00", False)]
)
def test_one_that_falls_mute_within_its_first_minute(
    tmp_path: Path, begins: str, told: bool
) -> None:
    """Fifty trades a second for three seconds, then heartbeats alone."""
    began = int(dt.datetime.fromisoformat(begins).replace(tzinfo=MARKET_ZONE).timestamp()) * S
    state = FeedState(Source("f", STOCK.vendor, STOCK.feed), connections=1)
    intake = Intake(Journal(tmp_path, "c1"), Queues(), Admission(7))
    watch = FeedWatch(state, STOCK.spec, STOCK.symbols, WATCH, market_of(STOCK))
    line = Standing()
    watch.lines.append(line)
    for second in range(120):
        if second < 3:
            state.frames.with_events += 50
            state.last_event_at = began + second * S
        watch.look(intake, float(second), began + second * S, reading=True)
        if state.silent:
            break
    assert state.silent is told
    if told:
        assert second - 2 <= 30
        assert (line.asked_to_reconnect, state.gap.from_ns) == (1, began + 2 * S)  # type: ignore[union-attr]
        assert state.word == "silent"


STOCK = stock()
OPEN = "2026-01-22T11:00"


def test_told_within_30_s_of_being_asked_for(tmp_path: Path) -> None:
    line = Standing()
    second, state = told_after(tmp_path, line, STOCK, OPEN)
    assert second is not None
    assert 20 <= second <= 30
    assert state.gap is not None
    assert state.gap.from_ns <= int(dt.datetime(2026, 1, 22, 16, tzinfo=dt.UTC).timestamp()) * S
    assert "its market is open" in state.last_problem
    assert line.asked_to_reconnect == 1
    # A hundred subscriptions at four a second take their time.
    second, _ = told_after(tmp_path, Standing(asking_s=25.0), STOCK, OPEN)
    assert second == 50


@pytest.mark.parametrize(
    ("begins", "expected"),
    [
        ("2026-01-22T03:00", None),  # night
        ("2026-01-24T11:00", None),  # Saturday
        ("2026-01-19T11:00", None),  # a holiday
        ("2026-01-22T09:29:30", 55),  # it opens half a minute later
    ],
)
def test_a_market_that_is_shut_says_nothing(
    tmp_path: Path, begins: str, expected: int | None
) -> None:
    assert told_after(tmp_path, Standing(), STOCK, begins)[0] == expected


def test_each_market_has_its_hours(tmp_path: Path) -> None:
    coins = Feed(vendor="kraken", feed="spot", symbols=("BTC/USD",))
    assert told_after(tmp_path, Standing(), coins, "2026-01-24T03:00")[0] is not None
    currencies = Feed(vendor="tiingo", feed="fx", symbols=("EUR/USD",))
    assert told_after(tmp_path, Standing(), currencies, "2026-01-22T03:00")[0] is not None
    assert told_after(tmp_path, Standing(), currencies, "2026-01-24T11:00")[0] is None
    # A poll or a caller may have nothing to say.
    polled = next(f for f in VENDORS["tiingo"].feeds.values() if f.way_in == "polling")
    assert market_of(Feed(vendor="tiingo", feed=polled.name, symbols=("SPY",))) is None


@pytest.mark.parametrize(
    ("begins", "told"),
    [
        ("2026-03-05T22:50", True),  # 9:20 in India
        ("2026-03-09T22:50", False),  # 8:20: New York's clock went forward in between
        ("2026-03-09T23:50", True),
        ("2026-03-09T11:00", False),  # night in India, day in New York
        ("2026-01-25T23:00", False),  # India's Republic Day
    ],
)
def test_kite_has_the_hours_of_india(tmp_path: Path, begins: str, told: bool) -> None:
    tokens = {"INFY": 408065, "MCX:GOLD26APRFUT": 1, "USD/INR": 2}
    classes = {"MCX:GOLD26APRFUT": "future"}
    shares = Feed(
        vendor="zerodha",
        feed="ticker",
        symbols=tuple(tokens),
        options={"tokens": tokens},
        asset_classes=classes,  # type: ignore[arg-type]
    )
    assert (told_after(tmp_path, Standing(), shares, begins)[0] is not None) is told


def test_one_that_was_not_answered_is_told_so(tmp_path: Path) -> None:
    second, state = told_after(tmp_path, Standing(acknowledged=False), STOCK, OPEN)
    assert second is not None
    assert "not acknowledged" in state.last_problem


def test_a_mute_feed_is_a_gap_connected_anew_and_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(monkeypatch, made_vendor())

    async def beats(connection: ServerConnection) -> None:
        while True:
            await connection.send(message("beat", "", -1))
            await asyncio.sleep(0.02)

    async def speaks(connection: ServerConnection) -> None:
        for price in range(1000):
            await connection.send(message("T", "SPY", -1, p=price))
            await asyncio.sleep(0.01)

    async def scenario() -> None:
        async with serving(beats, speaks) as url:
            quick = replace(QUICK, first_within_s=0.3)
            collector = Collector(numbered(tmp_path, url), "c1", watch=quick)
            await captured(collector, lambda: feed_of(collector).with_events > 10)
            assert feed_of(collector).reconnects == 1
        (gap,) = Ledger(tmp_path / "spool").gaps()
        assert gap.reason.startswith("silent: nothing in the")
        assert gap.state == "closed"

    run(scenario)


def test_a_subscription_that_is_refused_while_the_connection_lives_is_an_alarm_and_a_gap(
    tmp_path: Path,
) -> None:
    """Kraken lets one stand whom it refused everything."""

    async def scenario() -> None:
        config = ExchangeConfig(vendor="kraken", symbols=("BTC/USD",), heartbeat_s=0.05)
        async with Exchange(config) as exchange:
            url = exchange.url("spot")
            feed = {"vendor": "kraken", "feed": "spot", "symbols": ("FOO/USD",), "url": url}
            settings = Settings(data_dir=tmp_path, feeds={"coins": feed})  # type: ignore[dict-item]
            quick = replace(QUICK, first_within_s=0.5, reconnect_after_s=60.0)
            collector, stop = Collector(settings, "c1", watch=quick), asyncio.Event()
            capturing = asyncio.create_task(collector.run(stop))
            await until(lambda: "refused" in feed_of(collector).subscription)
            assert feed_of(collector).connections == 1
            await until(lambda: feed_of(collector).gaps_open == 1)
            assert feed_of(collector).state in {"silent", "connecting"}
            stop.set()
            await capturing
        (gap,) = Ledger(settings.spool).gaps()
        assert "refused" in gap.reason

    run(scenario)
