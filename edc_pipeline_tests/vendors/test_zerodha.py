"""Kite: modes and tokens, the dump of instruments, and the whole way into daily files."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from math import isnan
from pathlib import Path
from typing import Any, cast

import pytest
import tables

from edc_pipeline.capture.collector import Collector
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.events import EventType
from edc_pipeline.settings import Settings, SettingsMistakes, load
from edc_pipeline.simulator import zerodha as simulated
from edc_pipeline.simulator.exchange import Exchange, ExchangeConfig
from edc_pipeline.simulator.faults import Chaos
from edc_pipeline.simulator.instruments import listing
from edc_pipeline.simulator.market import QUOTE, TRADE, Tick
from edc_pipeline.simulator.session import Asked, Terms
from edc_pipeline.simulator.zerodha import (
    Standing,
    Zerodha,
    ZerodhaSession,
    dump_of_instruments,
    token_of,
)
from edc_pipeline.spool.layout import days_in
from edc_pipeline.spool.ledger import Ledger
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import ChangesInPlace, Subscription
from edc_pipeline_tests.capture.test_collector import run, until
from edc_pipeline_tests.vendors.fixtures_of import FOLDER, RECEIVED_AT

KITE = VENDORS["zerodha"]
INFY, TCS, NIFTY = 408065, 2953217, 256265
TOKENS = {"INFY": INFY, "NSE:TCS": TCS, "NIFTY 50": NIFTY}
NOON = 1_769_101_200_000_000_000
SYMBOLS = ("SPY", "AAPL", "BRK.B", "EUR/USD")  # an ETF, shares, a currency: three segments
S = 10**9


def asked(*symbols: str, **options: Any) -> Subscription:
    return Subscription("ticker", symbols, {"tokens": TOKENS, **options})


# The session


def test_asks_for_tokens_in_a_mode() -> None:
    session = KITE.open_session(asked("NSE:TCS", "INFY", mode="ltp"), "k:t")
    assert [json.loads(m) for m in session.opening()] == [
        {"a": "subscribe", "v": [TCS, INFY]},
        {"a": "mode", "v": ["ltp", [TCS, INFY]]},
    ]
    (_, mode) = KITE.open_session(asked("INFY"), "").opening()
    assert json.loads(mode)["v"][0] == "full"


def test_changes_in_place_and_what_is_under_way_is_still_named() -> None:
    session = KITE.open_session(asked("NSE:TCS", "INFY"), "")
    assert isinstance(session, ChangesInPlace)
    messages = session.change(asked("INFY", "NIFTY 50"))
    assert messages is not None
    assert [json.loads(m) for m in messages] == [
        {"a": "subscribe", "v": [NIFTY]},
        {"a": "mode", "v": ["full", [NIFTY]]},
        {"a": "unsubscribe", "v": [TCS]},
    ]
    for token, symbol in ((TCS, "NSE:TCS"), (INFY, "INFY"), (NIFTY, "NIFTY 50")):
        frame = b"\0\1\0\x08" + token.to_bytes(4, "big") + (12345).to_bytes(4, "big")
        (event,) = session.read(frame, RECEIVED_AT).events
        assert event.symbol == symbol
    assert session.change(asked("INFY", mode="quote")) is None


def test_named_by_the_options_else_by_the_token() -> None:
    frames = (FOLDER / "zerodha" / "ticker-packets.b64frames").read_text().split()
    ltp = base64.b64decode(frames[0])
    (event,) = KITE.decoder(asked("INFY"))(ltp, RECEIVED_AT).events
    assert (event.symbol, event.asset_class) == ("INFY", "equity")
    classed = Subscription("ticker", ("INFY",), {"tokens": TOKENS}, {"INFY": "etf"})
    (event,) = KITE.decoder(classed)(ltp, RECEIVED_AT).events
    assert event.asset_class == "etf"
    for unnamed in (Subscription(""), Subscription("ticker"), asked("NIFTY 50")):
        (event,) = KITE.decoder(unnamed)(ltp, RECEIVED_AT).events
        assert event.symbol == str(INFY)


# Settings

FEED = "feeds:\n  kite:\n    vendor: kite\n    feed: ticker\n"


def read(tmp_path: Path, more: str, **environ: str) -> Settings:
    path = tmp_path / "feeds.yaml"
    path.write_text(FEED + more)
    return load(path, environ)


def mistakes(tmp_path: Path, more: str) -> str:
    with pytest.raises(SettingsMistakes) as told:
        read(tmp_path, more)
    return str(told.value)


def test_the_dump_of_instruments_gives_tokens_and_asset_classes(tmp_path: Path) -> None:
    dump = tmp_path / "instruments.csv"
    dump.write_text(
        "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,"
        "lot_size,instrument_type,segment,exchange\n"
        '408065,1594,INFY,"INFOSYS",0,,0,0.1,1,EQ,NSE,NSE\n'
        '128053508,500209,INFY,"INFOSYS",0,,0,0.05,1,EQ,BSE,BSE\n'
        '256265,1001,NIFTY 50,"NIFTY 50",0,,0,0,0,EQ,INDICES,NSE\n'
        '12345602,48225,NIFTY26JAN25000CE,"NIFTY",0,2026-01-29,25000,0.05,75,CE,NFO-OPT,NFO\n'
    )
    symbols = "[NSE:INFY, NIFTY 50, NIFTY26JAN25000CE]"
    named = f"    symbols: {symbols}\n    options: {{instruments: {dump}}}\n"
    feed = read(tmp_path, named).feeds["kite"]
    assert feed.options["tokens"] == {
        "NSE:INFY": 408065,
        "NIFTY 50": 256265,
        "NIFTY26JAN25000CE": 12345602,
    }
    assert feed.asset_classes == {
        "NSE:INFY": "equity",
        "NIFTY 50": "index",
        "NIFTY26JAN25000CE": "option",
    }
    ambiguous = named.replace("NSE:INFY", "INFY")
    assert "INFY is listed more than once: write BSE:INFY or NSE:INFY" in mistakes(
        tmp_path, ambiguous
    )
    unknown = named.replace("NSE:INFY", "INFOSYS")
    assert "INFOSYS: no instrument token is known" in mistakes(tmp_path, unknown)
    dump.write_text("a,b\n1,2\n")
    assert "is no dump of Kite's instruments: it lacks" in mistakes(tmp_path, named)
    dump.unlink()
    assert "No such file" in mistakes(tmp_path, named)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("    symbols: [INFY]\n", "symbols: INFY: no instrument token is known"),
        ("    symbols: [INFY]\n    options: {tokens: {INFY: x}}\n", "INFY: 'x' is no instrument"),
        ("    symbols: [INFY]\n    options: {tokens: [1]}\n", "symbols and their tokens"),
        ("    symbols: [INFY]\n    options: {tokens: {INFY: 1}, mode: all}\n", "ltp, quote, full"),
        ("    symbols: [infy]\n    options: {tokens: {infy: 1}}\n", "is no trading symbol of Kite"),
        ("    all_symbols: true\n", "symbol by symbol"),
        ("    symbols: [INFY]\n    connections: 4\n    options: {tokens: {INFY: 1}}\n",
         "1 symbols need 1 × 4 copies: 4 connections; Zerodha Kite ticker allows 3 of one key"),
    ],
)  # fmt: skip
def test_what_can_t_be_asked_for_is_told_at_start(tmp_path: Path, more: str, words: str) -> None:
    assert words in mistakes(tmp_path, more)


def test_the_key_is_two(tmp_path: Path) -> None:
    more = "    symbols: [INFY]\n    options: {tokens: {INFY: 408065}}\n"
    assert read(tmp_path, more, EDC_ZERODHA_KEY="k:t").missing_secrets() == []
    (told,) = read(tmp_path, more, EDC_ZERODHA_KEY="s3cr3t").missing_secrets()
    assert "<api key>:<access token>" in told
    assert "s3cr3t" not in told
    query = KITE.feeds["ticker"].websocket.query
    assert query is not None
    assert query(asked("INFY"), "k:a:b") == {"api_key": "k", "access_token": "a:b"}


# The whole way

Key = tuple[Any, ...]


class Snapshots:
    """What Kite states of the market: how all that changed stands, once a second."""

    def __init__(self, every_ns: int = S) -> None:
        self._every_ns = every_ns
        self._stand: dict[int, dict[str, float]] = {}
        self._changed: set[int] = set()
        self._due = 0
        self.told: Counter[Key] = Counter()

    def hear(self, tick: Tick) -> None:
        stands = self._stand.setdefault(tick.instrument, {})
        stands["at"] = tick.ts_ns // S * S
        if tick.kind in {QUOTE, TRADE}:
            book = (tick.bid, tick.bid_size, tick.ask, tick.ask_size)
            stands.update(zip(("bid", "bid_size", "ask", "ask_size"), book, strict=True))
        if tick.kind == TRADE:
            stands["last"], stands["last_size"] = tick.price, tick.size
            stands.setdefault("open", tick.price)
            stands["high"] = max(stands.get("high", tick.price), tick.price)
            stands["low"] = min(stands.get("low", tick.price), tick.price)
        self._changed.add(tick.instrument)
        if tick.at_ns < self._due:
            return
        self._due = tick.at_ns + self._every_ns
        for n in self._changed:
            self._tell(n, self._stand[n])
        self._changed.clear()

    def _tell(self, n: int, stands: Mapping[str, float]) -> None:
        symbol, at = SYMBOLS[n], stands["at"]
        book = [stands.get(name, float("nan")) for name in ("bid", "bid_size", "ask", "ask_size")]
        if not (isnan(book[0]) and isnan(book[2])):
            self.told["quote", at, symbol, *(None if isnan(v) else v for v in book)] = 1
        for kind in ("last", "open", "high", "low"):
            if kind in stands:
                size = stands["last_size"] if kind == "last" else None
                self.told["ref_px", at, symbol, kind, stands[kind], size] = 1


class AllAsked(ZerodhaSession):
    """Subscribed once it is in mode full: what comes before has no time."""

    @property
    def subscription(self) -> Hashable | None:
        return super().subscription if set(self._modes.values()) == {"full"} else None


@pytest.fixture(autouse=True)
def _all_is_asked_for_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulated, "ZerodhaSession", AllAsked)


def exchange_for(snapshots: Snapshots | None, **more: Any) -> Exchange:
    config = ExchangeConfig(
        **{"events": 120, "script_start_ns": NOON, "seed": 5, "rate": 30.0, **more},
        vendor="zerodha",
        symbols=SYMBOLS,
    )
    vendor = Zerodha(listing(SYMBOLS), terms=config.terms)
    if snapshots is not None:
        standing = vendor.standing[:]
        for number, stands in enumerate(standing):
            vendor.standing[number] = cast(Any, Overheard(stands, snapshots))
    return Exchange(config, vendor=vendor)


class Overheard:
    """How one instrument stands; whoever listens hears each tick once."""

    def __init__(self, stands: Standing, snapshots: Snapshots) -> None:
        self._stands = stands
        self._snapshots = snapshots

    def hear(self, tick: Tick) -> None:
        self._snapshots.hear(tick)
        self._stands.hear(tick)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stands, name)


def settings_for(exchange: Exchange, folder: Path, **feeds: dict[str, Any]) -> Settings:
    tokens = {i.symbol: token_of(i.symbol, i.asset_class) for i in listing(SYMBOLS)}
    common = {
        "vendor": "zerodha",
        "feed": "ticker",
        "symbols": SYMBOLS,
        "options": {"tokens": tokens},
        "url": exchange.url("ticker"),
    }
    made: Any = {name: {**common, **feed} for name, feed in feeds.items()}
    rules: Any = {"horizon_days": 36_500}
    return Settings(data_dir=folder, capture=rules, feeds=made)


async def capture(settings: Settings, done: Callable[[Collector], bool]) -> Collector:
    collector, stop = Collector(settings, "c1"), asyncio.Event()
    capturing = asyncio.create_task(collector.run(stop))
    try:
        await until(lambda: done(collector))
    finally:
        stop.set()
        await capturing
    return collector


def in_daily_files(settings: Settings) -> Counter[Key]:
    """All but the close, which comes with every snapshot."""
    found: Counter[Key] = Counter()
    for event_type, day in days_in(settings.spool):
        made = consolidate(settings.spool, settings.daily, event_type, day)
        assert made.certificate.balanced, made.certificate.reasons
        with tables.open_file(made.path) as file:
            rows = file.root[event_type].table.read()
        for row in rows:
            found.update(_keys(event_type, row))
    return found


def _keys(event_type: EventType, row: Any) -> list[Key]:
    about = event_type, int(row["ts_event"]), row["symbol"].decode()
    if event_type == "quote":
        names = ("bid_price", "bid_size", "ask_price", "ask_size")
        values = [float(row[name]) for name in names]
        return [(*about, *(None if isnan(v) else v for v in values))]
    kind = row["kind"].decode()
    size = None if isnan(row["size"]) else float(row["size"])
    return [] if kind == "close" else [(*about, kind, float(row["price"]), size)]


def heard_all(exchange: Exchange) -> Callable[[Collector], bool]:
    def done(collector: Collector) -> bool:
        sent = exchange.truth.data.total()
        heard = sum(f.with_events + f.quarantined for f in collector.report().feeds)
        return bool(exchange._market and exchange._market.done()) and heard >= sent

    return done


def test_the_daily_files_hold_what_was_stated_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        snapshots = Snapshots()
        async with exchange_for(snapshots, heartbeat_s=0.02) as exchange:
            settings = settings_for(exchange, tmp_path, kite={})
            collector = await capture(settings, heard_all(exchange))
        (feed,) = collector.report().feeds
        assert (feed.quarantined, feed.with_events) == (0, 120)
        assert exchange.truth.control["heartbeat"] > 0
        assert feed.control > 0
        assert Ledger(settings.spool).gaps() == []
        assert len(snapshots.told) > 300
        assert in_daily_files(settings) == snapshots.told

    run(scenario)


def test_a_primary_and_its_backup_make_one_daily_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is cut and misses what was stated meanwhile; the other has it. Each snapshot that both
    heard stands there once."""
    monkeypatch.setattr(simulated, "_EVERY_NS", S // 20)

    async def scenario() -> None:
        snapshots = Snapshots(every_ns=S // 20)
        by_the_clock = {"script_start_ns": None, "events": None, "seconds": 4.0, "rate": 200.0}
        chaos = Chaos.parse("cut@20")
        async with exchange_for(snapshots, **by_the_clock, chaos=chaos) as exchange:
            settings = settings_for(exchange, tmp_path, primary={}, backup={})
            collector = await capture(settings, heard_all(exchange))
        feeds = collector.report().feeds
        (cut,) = [feed for feed in feeds if feed.reconnects]
        assert Ledger(settings.spool).gaps()[0].source.name == cut.name
        found = in_daily_files(settings)
        assert found == snapshots.told
        assert found.total() > 100
        heard = [sum(feed.events.values()) for feed in feeds]
        assert cut.with_events < max(feed.with_events for feed in feeds)
        assert sum(heard) > 1.5 * found.total()

    run(scenario)


def test_live_subscribers_hear_a_primary_and_its_backup_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with exchange_for(None, audience=2) as exchange:
            settings = settings_for(exchange, tmp_path, primary={}, backup={})
            collector, stop = Collector(settings, "c1"), asyncio.Event()
            heard = collector.subscribe(limit=100_000)
            capturing = asyncio.create_task(collector.run(stop))
            await until(lambda: heard_all(exchange)(collector))
            stop.set()
            await capturing
        events = [event async for event in heard]
        states = Counter(
            (e.event_type, e.ts_event, e.symbol, getattr(e, "kind", "")) for e in events
        )
        assert states.total() > 300
        feeds = collector.report().feeds
        assert sum(f.late_copies for f in feeds) >= states.total() * 0.9
        delivered = sum(sum(f.events.values()) for f in feeds)
        assert states.total() + sum(f.late_copies for f in feeds) == delivered

    run(scenario)


def test_a_refused_token_is_403_and_one_try(tmp_path: Path, caplog: Any) -> None:
    async def scenario() -> None:
        async with exchange_for(None, terms=Terms(token="the right one")) as exchange:
            settings = settings_for(exchange, tmp_path, kite={})
            settings._secrets["EDC_ZERODHA_KEY"] = "my-api-key:my-access-token"
            collector = Collector(settings, "c1")
            await collector.run(asyncio.Event())
        (feed,) = collector.report().feeds
        assert feed.state == "gave up"
        assert "HTTP 403" in feed.last_problem
        assert exchange.truth.connections["ticker"] == 0

    run(scenario)
    assert "my-a" not in caplog.text


def test_a_fourth_connection_is_refused_by_the_vendor_and_by_us_before(tmp_path: Path) -> None:
    vendor = Zerodha(listing(SYMBOLS))
    query = {"api_key": "k", "access_token": "t"}
    three = cast(Any, [vendor.session("ticker", n, Asked("/")) for n in range(3)])
    assert vendor.refusal(Asked("/", query, three[:2])) is None
    assert vendor.refusal(Asked("/", query, three)) is not None
    exchange = cast(Any, type("Here", (), {"url": lambda _self, _service: "ws://127.0.0.1:1/"})())
    with pytest.raises(ValueError, match="allows 3 of one key"):
        settings_for(exchange, tmp_path, primary={"connections": 2}, backup={"connections": 2})


def test_symbols_change_on_the_connection_that_stands(tmp_path: Path) -> None:
    async def scenario() -> None:
        told: dict[str, Any] = {"script_start_ns": None, "events": None, "rate": 200.0}
        async with exchange_for(None, **told) as exchange:
            settings = settings_for(exchange, tmp_path, kite={"symbols": ("SPY", "AAPL")})
            collector, stop = Collector(settings, "c1"), asyncio.Event()
            capturing = asyncio.create_task(collector.run(stop))
            await until(lambda: collector.report().feeds[0].symbols == 2)
            other = settings_for(exchange, tmp_path, kite={"symbols": ("AAPL", "EUR/USD")})
            collector.take_feeds(other)
            await until(lambda: collector.report().feeds[0].symbols == 3)
            stop.set()
            await capturing
        assert exchange.truth.connections["ticker"] == 1

    run(scenario)


def test_the_simulator_s_dump_names_what_it_sends(tmp_path: Path) -> None:
    dump = tmp_path / "instruments.csv"
    dump.write_text(dump_of_instruments(listing(("SPY", "AAPL"))))
    more = f"    symbols: [SPY, NSE:AAPL]\n    options: {{instruments: {dump}}}\n"
    tokens = read(tmp_path, more).feeds["kite"].options["tokens"]
    assert tokens == {"SPY": token_of("SPY", "etf"), "NSE:AAPL": token_of("AAPL", "equity")}
