"""One connection of a feed is mute while another speaks: a shard, or a copy of one."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from edc_pipeline.alerts.troubles import mute_feeds
from edc_pipeline.capture.admission import Admission
from edc_pipeline.capture.collector import Collector
from edc_pipeline.capture.intake import FeedState, Intake
from edc_pipeline.capture.journal.writer import Journal
from edc_pipeline.capture.queues import Queues
from edc_pipeline.capture.watch import WATCH, FeedWatch, WatchRule, market_of
from edc_pipeline.settings import Settings
from edc_pipeline.settings_of_feeds import Feed
from edc_pipeline.spool.ledger import Ledger, Source
from edc_pipeline.vendors.contract import Vendor, Websocket
from edc_pipeline.vendors.shards import Shard
from edc_pipeline_tests.capture.numbered_vendor import Session, made_vendor, message
from edc_pipeline_tests.capture.test_collector import rows_in, run, running, until
from edc_pipeline_tests.capture.test_gaps import QUICK, feed_of, made

S = 10**9
NOON = 1_769_101_200 * S  # a Thursday's in New York
QUICKER = replace(QUICK, first_within_s=1.25)


class Asking(Session):
    def __init__(self, symbols: Sequence[str]) -> None:
        super().__init__()
        self._symbols = symbols

    def opening(self) -> Sequence[str]:
        return [json.dumps(self._symbols)]


def sharing_vendor() -> Vendor:
    """One symbol a connection."""
    vendor = made_vendor()
    spec = replace(vendor.feeds["numbered"], websocket=Websocket(symbols_per_connection=1))
    return replace(
        vendor,
        feeds={"numbered": spec},
        open_session=lambda asked, _: Asking(asked.symbols),
    )


@dataclass
class Market:
    """A server that says each symbol so often, and where it is told to, heartbeats alone."""

    every_s: dict[str, float] = field(default_factory=lambda: {"BTC/USD": 0.01, "ETH/USD": 0.01})
    is_mute: Callable[[str, int], bool] = lambda _symbol, _number: False
    asked: Counter[str] = field(default_factory=Counter)  # connections, by symbol
    sent: Counter[tuple[str, int]] = field(default_factory=Counter)
    url: str = ""

    async def _speak(self, connection: ServerConnection) -> None:
        (symbol,) = json.loads(await connection.recv())
        number, self.asked[symbol] = self.asked[symbol], self.asked[symbol] + 1
        prices = itertools.count(1.0)
        with suppress(ConnectionClosed):
            while True:
                if self.is_mute(symbol, number):
                    await connection.send(message("beat", "", -1))
                    await asyncio.sleep(0.02)
                else:
                    await connection.send(message("T", symbol, -1, p=next(prices)))
                    self.sent[symbol, number] += 1
                    await asyncio.sleep(self.every_s[symbol])

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Market]:
        async with serve(self._speak, "127.0.0.1", 0, ping_interval=None) as server:
            self.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            yield self


@asynccontextmanager
async def capturing(
    folder: Path, market: Market, watch: WatchRule = QUICKER, **more: Any
) -> AsyncIterator[Collector]:
    feed: Any = {
        "vendor": "made",
        "feed": "numbered",
        "symbols": tuple(market.every_s),
        "url": market.url,
        **more,
    }
    settings = Settings(data_dir=folder, feeds={"made": feed})
    async with running(Collector(settings, "c1", watch=watch)) as (collector, _):
        yield collector


def test_a_mute_shard_is_a_gap_of_its_own_and_connected_anew_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made(monkeypatch, sharing_vendor())
    mute = asyncio.Event()
    heals = asyncio.Event()
    market = Market(
        is_mute=lambda symbol, _: symbol == "ETH/USD" and mute.is_set() and not heals.is_set()
    )

    async def scenario() -> None:
        async with market.open(), capturing(tmp_path, market) as collector:
            await until(lambda: market.sent["ETH/USD", 0] > 120, 10)
            mute.set()
            fell_at = time.time_ns()
            await until(lambda: bool(feed_of(collector).mute), 10)
            (words,) = feed_of(collector).mute
            assert words.startswith("silent: no data for")
            assert words.endswith(": ETH/USD (connection 2 of 2)")
            feed = feed_of(collector)
            assert (feed.state, feed.gaps, feed.gaps_open) == ("live", 1, 1)
            (trouble,) = mute_feeds(collector.report(), {}, collector.report().at)
            assert words in trouble.words
            await until(lambda: market.asked["ETH/USD"] == 2, 10)
            heals.set()
            await until(lambda: not feed_of(collector).mute, 10)
            assert feed_of(collector).gaps_open == 0
            await until(lambda: market.sent["ETH/USD", 1] > 20, 10)
            assert market.asked == {"BTC/USD": 1, "ETH/USD": 2}
        (gap,) = Ledger(tmp_path / "spool").gaps()
        assert gap.state == "closed"
        assert gap.first_seq == -2  # of the second connection
        assert "ETH/USD" in gap.reason
        assert "connection 2 of 2" in gap.reason
        assert gap.to_ns is not None
        assert abs(gap.from_ns - fell_at) < S
        rows = sorted((row for _, row in rows_in(tmp_path / "spool")), key=lambda r: r["frame"])
        # The first behind the gap, and nothing of the one that spoke.
        stale = [row for row in rows if row["status"] == "STALE"]
        assert [row["symbol"] for row in stale] == ["ETH/USD"]
        assert stale[0]["created_at"] >= gap.to_ns
        assert not any(
            gap.from_ns < row["created_at"] < gap.to_ns
            for row in rows
            if row["symbol"] == "ETH/USD"
        )

    caplog.set_level(logging.INFO)
    run(scenario)
    alarms = [r.message for r in caplog.records if r.levelno == logging.ERROR]
    assert len(alarms) == 1
    assert "made: silent: no data for" in alarms[0]


def test_a_shard_that_is_mute_from_its_first_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(monkeypatch, sharing_vendor())
    market = Market(is_mute=lambda symbol, number: symbol == "ETH/USD" and number == 0)

    async def scenario() -> None:
        async with market.open(), capturing(tmp_path, market) as collector:
            await until(lambda: bool(feed_of(collector).mute), 10)
            assert "since it was asked" in feed_of(collector).mute[0]
            await until(lambda: market.sent["ETH/USD", 1] > 5, 10)
            assert market.asked["BTC/USD"] == 1
        (gap,) = Ledger(tmp_path / "spool").gaps()
        assert (gap.first_seq, gap.state) == (-2, "closed")

    run(scenario)


def test_a_shard_that_is_mute_after_a_reconnect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vendor that lost the subscription: the gap is open already, and somebody has to be told."""
    made(monkeypatch, sharing_vendor())
    market = Market(is_mute=lambda symbol, number: symbol == "ETH/USD" and number == 1)

    async def scenario() -> None:
        async with market.open(), capturing(tmp_path, market) as collector:
            await until(lambda: market.sent["ETH/USD", 0] > 120, 10)
            line = next(
                line
                for line in collector._watches["made"][1].lines
                if line.feed.symbols == ("ETH/USD",)
            )
            line.ask_to_reconnect("a test cuts it")
            await until(lambda: market.asked["ETH/USD"] == 2, 10)
            await until(lambda: bool(feed_of(collector).mute), 10)
            await until(lambda: market.sent["ETH/USD", 2] > 5, 10)
            await until(lambda: not feed_of(collector).mute, 10)
        (gap,) = Ledger(tmp_path / "spool").gaps()
        assert gap.state == "closed"

    run(scenario)


def test_a_mute_copy_is_an_alarm_and_connected_anew_without_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(monkeypatch, sharing_vendor())
    mute = asyncio.Event()
    market = Market(
        every_s={"BTC/USD": 0.01}, is_mute=lambda _, number: number == 1 and mute.is_set()
    )

    async def scenario() -> None:
        async with market.open(), capturing(tmp_path, market, connections=2) as collector:
            await until(lambda: market.sent["BTC/USD", 1] > 120, 10)
            mute.set()
            await until(lambda: bool(feed_of(collector).mute), 10)
            (words,) = feed_of(collector).mute
            assert "of 2 lacks" in words
            assert "BTC/USD" in words
            await until(lambda: market.sent["BTC/USD", 2] > 5, 10)
            await until(lambda: not feed_of(collector).mute, 10)
            assert market.asked["BTC/USD"] == 3
            assert feed_of(collector).reconnects == 1
        assert Ledger(tmp_path / "spool").gaps() == []
        assert {row["status"] for _, row in rows_in(tmp_path / "spool")} == {"LIVE"}

    run(scenario)


def test_one_that_stays_mute_is_connected_anew_ever_more_rarely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(monkeypatch, sharing_vendor())
    mute = asyncio.Event()
    market = Market(is_mute=lambda symbol, _: symbol == "ETH/USD" and mute.is_set())

    async def scenario() -> None:
        rarely = replace(QUICKER, reconnect_after_s=1.0)
        async with market.open(), capturing(tmp_path, market, rarely) as collector:
            await until(lambda: market.sent["ETH/USD", 0] > 120, 10)
            mute.set()
            at = []
            for number in (2, 3, 4):
                await until(lambda n=number: market.asked["ETH/USD"] == n, 15)  # type: ignore[misc]
                at.append(time.monotonic())
            assert at[2] - at[1] > 1.5 * (at[1] - at[0]) > 0.9
            assert market.asked["BTC/USD"] == 1
            assert feed_of(collector).gaps == 1

    run(scenario)


# By made clocks: thin shards, sessions, a feed that is silent as a whole.


@dataclass
class Standing:
    shard: Shard
    number: int
    feed: Feed
    standing_since_s: float | None = 0.0
    asking_s: float = 0.0
    acknowledged: bool = True
    with_events: int = 0
    spoke_at: int = 0
    asked_to_reconnect: int = 0
    anew: int = 0

    def begin_anew(self) -> None:
        self.anew += 1

    def ask_to_reconnect(self, reason: str) -> None:
        self.asked_to_reconnect += 1


class Played:
    """Connections that speak as they are told, second by second."""

    def __init__(
        self, folder: Path, symbols: Sequence[str], start_ns: int = NOON + 600 * S, copies: int = 1,
        vendor: str = "tiingo", feed: str = "crypto",
    ) -> None:  # fmt: skip
        whole = Feed(vendor=vendor, feed=feed, symbols=tuple(symbols))
        self.state = FeedState(Source("f", vendor, feed), connections=len(symbols) * copies)
        self.state.shards = tuple(range(len(symbols)))
        self.intake = Intake(Journal(folder, "c1"), Queues(), Admission(7))
        self.watch = FeedWatch(self.state, whole.spec, whole.symbols, WATCH, market_of(whole))
        self.lines = [
            Standing(
                Shard(n, whole=len(symbols) == 1),
                n * copies + copy,
                whole.model_copy(update={"symbols": (symbol,)}),
            )
            for n, symbol in enumerate(symbols)
            for copy in range(copies)
        ]
        self.watch.lines.extend(self.lines)
        self.start_ns = start_ns
        self.second = 0
        self.flagged: dict[int, int] = {}  # in which second, by connection

    def play(self, seconds: int, *came: Callable[[int], int]) -> None:
        for _ in range(seconds):
            self.second += 1
            now_ns = self.start_ns + self.second * S
            for line, frames in zip(self.lines, came, strict=True):
                if number := frames(self.second):
                    line.with_events += number
                    line.spoke_at = self.state.last_event_at = now_ns
                    self.state.frames.with_events += number
                    if self.state.gaps:
                        self.intake.feed_delivers(self.state, now_ns, line.shard.number)
            self.watch.look(self.intake, float(self.second), now_ns, reading=True)
            for number, line in enumerate(self.lines):
                if line.asked_to_reconnect:
                    self.flagged.setdefault(number, self.second)


def every(seconds: int, frames: int = 1) -> Callable[[int], int]:
    return lambda second: frames if second % seconds == 0 else 0


def never(_: int) -> int:
    return 0


@pytest.mark.parametrize(
    ("spoke_s", "per_s"), [(4, 20), (20, 20), (90, 20), (700, 20), (30, 4), (90, 4), (700, 4)]
)
def test_flagged_within_30_s_whenever_it_falls_mute(
    tmp_path: Path, spoke_s: int, per_s: int
) -> None:
    played = Played(tmp_path, ["BTC/USD", "ETH/USD"])
    played.play(spoke_s, every(1, 20), every(1, per_s))
    played.play(31, every(1, 20), never)
    assert list(played.flagged) == [1]
    assert played.flagged[1] - spoke_s <= 30
    (gap,) = played.state.gaps.values()
    assert (gap.first_seq, gap.from_ns) == (-2, NOON + (600 + spoke_s) * S)
    assert played.lines[1].anew == 1


@pytest.mark.parametrize("every_s", [1, 5, 20, 60, 300])
def test_a_thin_shard_beside_a_busy_one_is_not_flagged(tmp_path: Path, every_s: int) -> None:
    rng = random.Random(every_s)
    played = Played(tmp_path, ["BTC/USD", "XYZ/USD"])
    # It is heard once within its first seconds, and then so seldom.
    played.play(5, every(1, 50), every(5))
    played.play(7200, every(1, 50), lambda _: rng.random() < 1 / every_s)
    assert played.flagged == {}
    assert not played.state.gaps
    assert not played.state.mute


def test_a_thin_shard_that_was_never_heard_is_told_once_and_asked_ever_more_rarely(
    tmp_path: Path,
) -> None:
    played = Played(tmp_path, ["BTC/USD", "XYZ/USD"])
    played.play(3600, every(1, 50), never)
    assert 20 <= played.flagged[1] <= 30
    # At once, after 1, 3, 7, 15, 31 minutes.
    assert played.lines[1].asked_to_reconnect == 6
    assert played.state.gaps_of.total() == 1
    played.play(1, every(1, 50), every(1))
    assert not played.state.mute


def test_among_thin_shards_one_that_was_not_heard_yet_is_not_told(tmp_path: Path) -> None:
    played = Played(tmp_path, ["AAA/USD", "BBB/USD", "CCC/USD"])
    played.play(300, every(30), every(20), never)
    assert played.flagged == {}


def test_a_feed_that_falls_silent_as_a_whole_is_told_as_one(tmp_path: Path) -> None:
    played = Played(tmp_path, ["BTC/USD", "ETH/USD"])
    played.play(700, every(1, 20), every(1, 20))
    played.play(1, every(1, 20), never)  # one is a second behind the other
    played.play(40, never, never)
    assert played.state.word == "silent"
    assert played.state.mute == []
    assert sorted(played.state.gaps) == [0, 1]
    assert [line.asked_to_reconnect for line in played.lines] == [1, 1]
    # One comes back; the other does not, and is told on its own.
    played.play(31, every(1, 20), never)
    assert not played.state.silent
    assert sorted(played.state.gaps) == [1]
    assert len(played.state.mute) == 1


def test_a_session_that_ends_for_one_shard_is_no_fault(tmp_path: Path) -> None:
    """At 16:00 a shard of stocks ends, and another one goes on with after-hours trading."""
    close_ns = NOON + 4 * 3600 * S
    played = Played(tmp_path, ["SPY", "AAPL"], close_ns - 1200 * S, vendor="tiingo", feed="iex")
    played.play(1201, every(1, 20), every(1, 20))
    played.play(1000, every(1, 5), never)
    assert played.flagged == {}


def test_what_was_not_heard_because_nobody_listened_is_no_silence_of_a_connection(
    tmp_path: Path,
) -> None:
    played = Played(tmp_path, ["BTC/USD", "ETH/USD"])
    played.play(700, every(1, 20), every(1, 20))
    for _ in range(60):
        played.second += 1
        now_ns = played.start_ns + played.second * S
        played.watch.look(played.intake, float(played.second), now_ns, reading=False)
    played.play(10, every(1, 20), never)
    assert played.flagged == {}
    played.play(10, every(1, 20), never)
    assert list(played.flagged) == [1]


def test_a_copy_is_judged_by_what_the_other_brought(tmp_path: Path) -> None:
    played = Played(tmp_path, ["BTC/USD"], copies=2)
    # Bursts, of which one copy is always a second behind; and a quiet market.
    played.play(600, every(60, 500), lambda second: 500 if second % 60 == 1 else 0)
    assert played.flagged == {}
    played.play(100, every(1, 20), never)
    assert played.flagged[1] - 600 <= 30
    assert played.flagged.keys() == {1}
    assert not played.state.gaps
    played.play(1, every(1, 20), every(1, 20))
    assert not played.state.mute


def test_a_snapshot_at_the_reconnect_of_one_copy_says_nothing_of_the_other(
    tmp_path: Path,
) -> None:
    played = Played(tmp_path, ["BTC/USD"], copies=2)
    played.play(1, every(1), every(1))
    played.play(599, every(60), every(60))
    played.lines[0].standing_since_s = 600.0
    played.play(5, every(1, 600), never)
    played.play(54, never, never)
    played.play(600, every(60), every(60))
    assert played.flagged == {}


def test_a_copy_that_never_spoke(tmp_path: Path) -> None:
    played = Played(tmp_path, ["BTC/USD"], copies=2)
    played.play(60, every(1, 20), never)
    assert 25 <= played.flagged[1] <= 31
    assert not played.state.gaps


def test_a_feed_of_one_connection_that_is_mute_after_a_reconnect(tmp_path: Path) -> None:
    played = Played(tmp_path, ["BTC/USD"])
    (line,), state = played.lines, played.state
    played.play(700, every(1, 20))
    state.connections, line.standing_since_s = 0, None
    played.intake.feed_fell_silent(state, state.last_event_at or 0, "closed with code 1006")
    played.play(20, never)
    state.connections, line.standing_since_s = 1, 720.0
    played.play(31, never)
    assert state.word == "silent"
    assert played.flagged[0] - 720 <= 30
    assert state.gaps_of.total() == 1
