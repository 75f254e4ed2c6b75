"""The collector against the simulated exchange, through a real socket: the spool holds what the
exchange says it sent, and the ledger adds up."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from edc_pipeline.capture import flusher as flusher_module
from edc_pipeline.capture.collector import Collector
from edc_pipeline.capture.flush import flush
from edc_pipeline.events import EVENT_CLASSES, content_key
from edc_pipeline.settings import Settings
from edc_pipeline.simulator.exchange import Exchange, ExchangeConfig
from edc_pipeline.simulator.faults import Chaos
from edc_pipeline.simulator.session import Terms
from edc_pipeline.spool.layout import batch_files, days_in
from edc_pipeline.spool.ledger import Ledger
from edc_pipeline.spool.micro_batch import read_footer, read_micro_batch
from edc_pipeline.spool.quarantine import read_quarantine
from edc_pipeline.transports.conversation import READ_BYTES
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import Subscription

NOON = 1_769_101_200_000_000_000
SYMBOLS = ("SPY", "AAPL", "BRK.B")


def settings_for(exchange: Exchange, tmp_path: Path, **feeds: dict[str, Any]) -> Settings:
    """Feeds of the simulated exchange; `capture=` among them changes the capture rules."""
    rules = {"horizon_days": 36_500, **feeds.pop("capture", {})}
    return Settings(
        data_dir=tmp_path,
        capture=rules,  # type: ignore[arg-type]
        feeds={
            name: {"vendor": "tiingo", "url": exchange.url(feed["feed"]), **feed}  # type: ignore[misc]
            for name, feed in feeds.items()
        },
    )


STOCKS = {"feed": "iex", "symbols": SYMBOLS, "options": {"threshold_level": 0}}
REFERENCE = {"feed": "iex", "symbols": SYMBOLS, "options": {"threshold_level": 6}}
CURRENCIES = {"feed": "fx", "symbols": ("EUR/USD",)}
COINS = {"feed": "crypto", "symbols": ("BTC/USD",)}


def scripted(events: int, audience: int, chaos: str = "", **told: Any) -> ExchangeConfig:
    return ExchangeConfig(
        events=events,
        audience=audience,
        script_start_ns=NOON,
        chaos=Chaos.parse(chaos),
        seed=11,
        symbols=(*SYMBOLS, "EUR/USD", "BTC/USD"),
        **told,
    )


async def until(what: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come to that in time"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def running(collector: Collector) -> AsyncIterator[tuple[Collector, asyncio.Task[None]]]:
    """It drains at the end."""
    stop = asyncio.Event()
    run = asyncio.create_task(collector.run(stop))
    try:
        yield collector, run
    finally:
        stop.set()
        await run


async def capture_all(exchange: Exchange, settings: Settings) -> Collector:
    """Capture until the exchange has sent everything and the collector has heard it."""
    collector, stop = Collector(settings, "c1"), asyncio.Event()
    capturing = asyncio.create_task(collector.run(stop))
    await asyncio.wait_for(exchange.finished(), 30)
    sent = exchange.truth.data.total()
    await until(
        lambda: sum(f.with_events + f.quarantined for f in collector.report().feeds) >= sent
    )
    stop.set()
    await capturing
    return collector


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 60)

    asyncio.run(bounded())


def rows_in(spool: Path) -> list[tuple[str, dict[str, Any]]]:
    return [
        (event_type, row)
        for event_type, day in days_in(spool)
        for path in batch_files(spool, event_type, day)
        for row in read_micro_batch(path, event_type).to_pylist()
    ]


def expected_contents(exchange: Exchange, *, with_copies: bool) -> Counter[Any]:
    """What the vendor's reader makes of the frames that the exchange says it sent."""
    decode = VENDORS["tiingo"].decoder(Subscription(""))
    contents: Counter[Any] = Counter()
    for sent in exchange.truth.frames:
        if sent.is_original or (with_copies and sent.fault in {"duplicate", "resend"}):
            body = sent.body if isinstance(sent.body, bytes) else sent.body.encode()
            contents.update(content_key(event) for event in decode(body, 1).events)
    return contents


def contents_of(rows: list[tuple[str, dict[str, Any]]]) -> Counter[Any]:
    found: Counter[Any] = Counter()
    for event_type, row in rows:
        columns = {k: v for k, v in row.items() if k not in {"connection", "frame"}}
        found[content_key(EVENT_CLASSES[event_type](**columns))] += 1  # type: ignore[index]
    return found


def ledger_adds_up(settings: Settings) -> None:
    ledger = Ledger(settings.spool)
    counts = ledger.frames()
    assert counts
    assert all(c.balanced for c in counts.values())
    assert sum(c.quarantined for c in counts.values()) == sum(
        len(read_quarantine(settings.spool, dt.date.fromisoformat(p.name[4:])))
        for p in (settings.spool / "_quarantine").glob("day=*")
    )
    for event_type, day in days_in(settings.spool):
        in_footers: Counter[str] = Counter()
        for path in batch_files(settings.spool, event_type, day):
            in_footers.update(read_footer(path).rows_by_feed)
        out: Counter[str] = Counter()
        for source, number in ledger.events_out(event_type, day).items():
            out[f"{source.vendor}/{source.feed}"] += number
        assert in_footers == out


def test_the_spool_holds_what_the_exchange_sent(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Exchange(scripted(3000, 4)) as exchange:
            settings = settings_for(
                exchange,
                tmp_path,
                stocks=STOCKS,
                reference=REFERENCE,
                currencies=CURRENCIES,
                coins=COINS,
            )
            collector = await capture_all(exchange, settings)
            rows = rows_in(settings.spool)
            assert contents_of(rows) == expected_contents(exchange, with_copies=True)
            assert {event_type for event_type, _ in rows} == {"trade", "quote", "ref_px"}
            assert sum(collector.report().events.values()) == len(rows) == 3000
            ledger_adds_up(settings)
            assert Ledger(settings.spool).gaps() == []

    run(scenario)


def test_cuts_rubbish_and_resent_frames_are_all_accounted_for(tmp_path: Path) -> None:
    chaos = "cut@iex:200,cut@iex:450,rubbish@iex:100,rubbish@iex:300,rubbish@fx:20,seed=3"

    async def scenario() -> None:
        config = scripted(1500, 2, chaos, resend_on_subscribe=25)
        async with Exchange(config) as exchange:
            settings = settings_for(
                exchange,
                tmp_path,
                stocks=STOCKS,
                currencies=CURRENCIES,
                capture={"flush_seconds": 0.3},
            )
            collector = await capture_all(exchange, settings)
            assert exchange.truth.faults["rubbish"] == 3
            assert exchange.truth.faults["resend"] > 0
            rows = rows_in(settings.spool)
            assert contents_of(rows) == expected_contents(exchange, with_copies=True)
            ledger_adds_up(settings)
            feeds = {f.name: f for f in collector.report().feeds}
            assert feeds["stocks"].reconnects == 2
            assert feeds["stocks"].quarantined == 2
            assert feeds["currencies"].quarantined == 1
            gaps = Ledger(settings.spool).gaps()
            assert [g.state for g in gaps] == ["closed", "closed"]
            assert all(g.source.name == "stocks" and g.to_ns > g.from_ns for g in gaps if g.to_ns)
            # Each connect is a connection of its own, so that what is resent can be told.
            assert len({row["connection"] for _, row in rows}) == 4

    run(scenario)


def test_two_connections_of_one_feed_are_no_gap_while_one_stands(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Exchange(scripted(800, 2, "cut@iex:100")) as exchange:
            settings = settings_for(exchange, tmp_path, stocks={**STOCKS, "connections": 2})
            await capture_all(exchange, settings)
            ledger_adds_up(settings)
            assert Ledger(settings.spool).gaps() == []

    run(scenario)


def test_a_refused_key_ends_the_feed_and_is_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        config = scripted(10, 1, terms=Terms(token="the right one"))
        async with Exchange(config) as exchange:
            settings = settings_for(exchange, tmp_path, stocks=STOCKS)
            collector = Collector(settings, "c1")
            await collector.run(asyncio.Event())
            (feed,) = collector.report().feeds
            assert feed.state == "gave up"
            assert "refused" in feed.last_problem
            assert exchange.truth.connections["iex"] == 1

    run(scenario)


def test_a_row_limit_and_a_time_limit_flush(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Exchange(scripted(2000, 1)) as exchange:
            settings = settings_for(exchange, tmp_path, stocks=STOCKS, capture={"flush_rows": 300})
            collector = await capture_all(exchange, settings)
            assert collector.report().micro_batches > 2
            footers = [
                read_footer(path)
                for event_type, day in days_in(settings.spool)
                for path in batch_files(settings.spool, event_type, day)
            ]
            spans = sorted({(f.first_frame, f.last_frame) for f in footers})
            # Flushes follow each other frame by frame, without a hole and without overlap.
            assert spans[0][0] == 0
            assert all(b[0] > a[1] for a, b in pairwise(spans))

    run(scenario)


def test_a_flusher_that_breaks_ends_capture_aloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It once ended in silence, and capture went on and kept nothing but the journal."""

    async def scenario() -> None:
        async with Exchange(scripted(500, 1)) as exchange:
            settings = settings_for(exchange, tmp_path, stocks=STOCKS)
            collector = Collector(settings, "c1")
            monkeypatch.setattr(collector._flusher, "_is_due", lambda: 1 // 0)
            await asyncio.wait_for(collector.run(asyncio.Event()), 30)
            assert "ZeroDivisionError" in "; ".join(collector.gave_up)
            assert len(rows_in(settings.spool)) == sum(collector.report().events.values())
            ledger_adds_up(settings)

    run(scenario)


def test_a_disk_that_refuses_stops_the_intake_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = 0

    def stubborn(*args: Any) -> list[Path]:
        nonlocal refused
        if refused < 3:
            refused += 1
            raise OSError(28, "No space left on device")
        return flush(*args)

    monkeypatch.setattr(flusher_module, "flush", stubborn)
    monkeypatch.setattr(flusher_module, "_RETRY_DISK_S", 0.3)

    async def scenario() -> None:
        async with Exchange(scripted(6000, 1)) as exchange:
            settings = settings_for(
                exchange,
                tmp_path,
                stocks=STOCKS,
                capture={"flush_rows": 500, "waiting_rows": 1000},
            )
            most = 0
            collector, stop = Collector(settings, "c1"), asyncio.Event()
            capturing = asyncio.create_task(collector.run(stop))
            problems = set()

            def all_heard() -> bool:
                nonlocal most
                report = collector.report()
                most = max(most, report.waiting_rows)
                problems.add(report.disk_problem)
                return sum(report.events.values()) >= 6000

            await until(all_heard, 40)
            stop.set()
            await capturing
            assert refused == 3
            assert any("No space left" in p for p in problems)
            # The limit, and what one read of the socket brings: no frame is below 100 bytes.
            assert most <= 1000 + READ_BYTES // 100
            assert contents_of(rows_in(settings.spool)) == expected_contents(
                exchange, with_copies=True
            )
            ledger_adds_up(settings)

    run(scenario)


def test_the_time_without_a_collector_is_a_gap(tmp_path: Path) -> None:
    async def scenario() -> None:
        for name in ("c1", "c2"):
            async with Exchange(scripted(50, 1)) as exchange:
                settings = settings_for(exchange, tmp_path, stocks=STOCKS)
                stop = asyncio.Event()
                collector = Collector(settings, name)
                capturing = asyncio.create_task(collector.run(stop))
                await until(lambda c=collector: sum(c.report().events.values()) == 50)  # type: ignore[misc]
                stop.set()
                await capturing
        (gap,) = Ledger(settings.spool).gaps()
        assert gap.reason == "no collector was running"
        assert gap.state == "closed"

    run(scenario)


def test_an_event_beyond_the_horizon_is_quarantined(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Exchange(scripted(20, 1)) as exchange:
            settings = settings_for(exchange, tmp_path, stocks=STOCKS, capture={"horizon_days": 7})
            collector = await capture_all(exchange, settings)
            assert collector.report().events == {}
            assert collector.report().feeds[0].quarantined == 20
            today = dt.datetime.now(dt.UTC).astimezone(dt.timezone(dt.timedelta(hours=-5))).date()
            kept = read_quarantine(settings.spool, today)
            assert len(kept) == 20
            assert "2026-01-22 is more than 7 days" in kept[0].reason
            ledger_adds_up(settings)

    run(scenario)
