"""What is Massive's own: the conversation, arrays of events, ids, one connection a key."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from edc_pipeline.capture.admission import Admission
from edc_pipeline.capture.collector import Collector
from edc_pipeline.events import Trade
from edc_pipeline.simulator.exchange import Exchange, ExchangeConfig
from edc_pipeline.simulator.faults import Chaos
from edc_pipeline.vendors.contract import Reading, Subscription
from edc_pipeline.vendors.massive import VENDOR, MassiveSession
from edc_pipeline.vendors.massive.frames import decoder
from edc_pipeline.vendors.massive.symbols import check_symbol, to_symbol, to_ticker
from edc_pipeline_tests.capture.test_collector import run, until
from edc_pipeline_tests.vendors.fixtures_of import RECEIVED_AT, all_cases
from edc_pipeline_tests.vendors.ways import WAYS
from edc_pipeline_tests.vendors.whole_way import Market, heard_all, in_daily_files, settings_for

CONNECTED = b'[{"ev":"status","status":"connected","message":"Connected Successfully"}]'
LOGGED_IN = b'[{"ev":"status","status":"auth_success","message":"authenticated"}]'
TRADE = (
    '{{"ev":"T","sym":"AAPL","x":{x},"i":"{i}","p":248.35,"s":{s},"t":1769092200123,"q":7{more}}}'
)


def confirmed(*channels: str) -> bytes:
    return json.dumps(
        [{"ev": "status", "status": "success", "message": f"subscribed to: {c}"} for c in channels]
    ).encode()


def read(frame: bytes) -> Reading:
    return Admission(None).admit(decoder(Subscription("stocks"))(frame, 1), 1)


def trade(x: int = 12, i: str = "1", s: Any = 100, more: str = "") -> str:
    return TRADE.format(x=x, i=i, s=s, more=more)


def test_it_logs_in_when_greeted_and_subscribes_when_let_in() -> None:
    session = MassiveSession(Subscription("stocks", ("AAPL", "BRK.B")), "key")
    assert session.opening() == []
    (login,) = session.read(CONNECTED, 1).replies
    assert json.loads(login) == {"action": "auth", "params": "key"}
    (asked,) = session.read(LOGGED_IN, 1).replies
    assert json.loads(asked) == {
        "action": "subscribe",
        "params": "T.AAPL,T.BRK.B,Q.AAPL,Q.BRK.B",
    }
    assert session.read(LOGGED_IN, 1).replies == ()
    session.read(confirmed("T.AAPL", "T.BRK.B"), 1)
    assert not session.acknowledged
    session.read(confirmed("Q.AAPL"), 1)
    session.read(confirmed("Q.BRK.B"), 1)
    assert session.acknowledged


def test_other_symbols_are_asked_for_in_place_and_awaited() -> None:
    session = MassiveSession(Subscription("forex", ("EUR/USD", "USD/JPY")), "key")
    assert session.change(Subscription("forex", ("EUR/USD",))) is None  # not let in yet
    session.read(LOGGED_IN, 1)
    session.read(confirmed("C.EUR/USD", "C.USD/JPY"), 1)
    messages = session.change(Subscription("forex", ("EUR/USD", "GBP/USD")))
    assert messages is not None
    assert [json.loads(m)["params"] for m in messages] == ["C.USD/JPY", "C.GBP/USD"]
    assert not session.acknowledged
    session.read(confirmed("C.GBP/USD"), 1)
    assert session.acknowledged


def test_a_bad_element_costs_only_itself() -> None:
    reading = read(f'[{trade(i="1")},{{"ev":"T","sym":"AAPL"}},{trade(i="2")}]'.encode())
    assert [event.event_id for event in reading.events] == ["1", "2"]
    assert len(reading.faults) == 1
    assert reading.outcome == "events"


def test_a_trade_is_told_by_exchange_id_and_facility() -> None:
    more = ',"trfi":{}'
    rows = [trade(4, more=more.format(201)), trade(4, more=more.format(202)), trade(4), trade(11)]
    events = read(f"[{','.join(rows)}]".encode()).events
    assert len({(e.venue, e.event_id) for e in events}) == 4
    assert {e.occurrence for e in events} == {0}
    assert VENDOR.feeds["stocks"].identity["trade"].kind == "id"


def test_numbers_that_two_trades_share_are_no_gap_signal() -> None:
    assert VENDOR.feeds["stocks"].sequence == ()
    first, second = read(f"[{trade(i='1')},{trade(i='2')}]".encode()).events
    assert first.seq == second.seq == 7


@pytest.mark.parametrize(("s", "ds", "size"), [(0, "0.125", 0.125), (1, "1.5", 1.5), (7, None, 7)])
def test_the_size_with_its_fraction_goes_first(s: int, ds: str | None, size: float) -> None:
    more = "" if ds is None else f',"ds":"{ds}"'
    (event,) = read(f"[{trade(s=s, more=more)}]".encode()).events
    assert isinstance(event, Trade)
    assert event.size == size


def test_thousands_of_statuses_in_one_frame_take_no_time_squared() -> None:
    reading = read(confirmed(*(f"T.S{n}" for n in range(20_000))))
    assert reading.control is not None
    assert reading.control.kind == "acknowledged"


@pytest.mark.parametrize("case", [c for c in all_cases() if c.vendor == "massive"], ids=str)
def test_every_frame_tells_by_itself_what_it_is(case: Any) -> None:
    if case.symbols:
        return  # it does not say whose it is
    told = decoder(Subscription(case.feed))(case.frame, RECEIVED_AT)
    untold = decoder(Subscription(""))(case.frame, RECEIVED_AT)
    assert msgspec.to_builtins(untold) == msgspec.to_builtins(told)


@pytest.mark.parametrize(
    ("feed", "symbol", "ticker"),
    [
        ("stocks", "BRK.B", "BRK.B"),
        ("forex", "EUR/USD", "EUR/USD"),
        ("crypto", "BTC/USD", "BTC-USD"),
        ("forex_snapshot", "EUR/USD", "C:EURUSD"),
        ("crypto_snapshot", "BTC/USD", "X:BTCUSD"),
        ("crypto_snapshot", "SHIB/USD", "X:SHIBUSD"),
    ],
)
def test_spelling_goes_there_and_back(feed: str, symbol: str, ticker: str) -> None:
    assert check_symbol(feed, symbol) is None
    assert to_ticker(feed, symbol) == ticker
    assert to_symbol(feed, ticker) == symbol


@pytest.mark.parametrize(
    ("feed", "options", "told"),
    [
        ("stocks", {"channels": ["X"]}, "has no 'X'; it has: T, Q, AM, A"),
        ("stocks", {"channels": "T"}, "a list of"),
        ("forex", {"channel": ["C"]}, "no such option 'channel'"),
        ("stocks_snapshot", {"channels": ["T"]}, "no such option"),
    ],
)
def test_a_wrong_option_is_told(feed: str, options: dict[str, Any], told: str) -> None:
    assert told in VENDOR.feeds[feed].check_options(options)[0]
    assert VENDOR.feeds["stocks"].check_options({"channels": ["T", "AM"]}) == []


def test_the_newcomer_of_two_connections_is_sent_away_and_tries_again(tmp_path: Path) -> None:
    """The first is held by somebody else; when it goes, capture takes its place."""
    way = next(w for w in WAYS if str(w) == "massive-stocks")

    async def scenario() -> None:
        config = ExchangeConfig(vendor="massive", symbols=way.symbols, rate=200.0, seed=3)
        async with Exchange(config) as exchange:
            async with connect(exchange.url("stocks")) as first:
                await first.recv()
                collector, stop = (
                    Collector(settings_for(way, exchange, tmp_path), "c1"),
                    asyncio.Event(),
                )
                capturing = asyncio.create_task(collector.run(stop))
                await until(lambda: exchange.truth.ended["refused"] >= 1)
                report = collector.report().feeds[0]
                assert report.state != "gave up"
                await until(lambda: "1008" in collector.report().feeds[0].last_problem)
                assert collector.report().feeds[0].with_events == 0
            await until(lambda: collector.report().feeds[0].with_events > 0, 40)
            stop.set()
            await capturing

    run(scenario)


def test_the_server_wants_a_login_first() -> None:
    async def scenario() -> None:
        config = ExchangeConfig(vendor="massive", symbols=("AAPL",))
        async with Exchange(config) as exchange, connect(exchange.url("stocks")) as line:
            await line.recv()
            await line.send('{"action":"subscribe","params":"T.AAPL"}')
            assert "auth_failed" in str(await line.recv())
            with pytest.raises(ConnectionClosed):
                await line.recv()

    run(scenario)


def test_a_burst_delivered_twice_is_in_the_file_once(tmp_path: Path) -> None:
    """As reported: every trade came twice. Ids tell, so the file has what the market did."""
    way = next(w for w in WAYS if str(w) == "massive-stocks")

    async def scenario() -> None:
        market = Market(way)
        async with market.exchange(chaos=Chaos.parse("duplicate=50%,seed=5")) as exchange:
            settings = settings_for(way, exchange, tmp_path)
            collector, stop = Collector(settings, "c1"), asyncio.Event()
            capturing = asyncio.create_task(collector.run(stop))
            await heard_all(exchange, collector)
            stop.set()
            await capturing
            assert exchange.truth.faults["duplicate"] > way.frames // 4
            assert in_daily_files(settings) == market.told

    run(scenario)


def test_a_cut_line_is_taken_up_again_and_what_is_resent_is_in_the_file_once(
    tmp_path: Path,
) -> None:
    way = next(w for w in WAYS if str(w) == "massive-crypto")

    async def scenario() -> None:
        market = Market(way)
        async with market.exchange(
            chaos=Chaos.parse("cut@crypto:150"), resend_on_subscribe=20
        ) as exchange:
            settings = settings_for(way, exchange, tmp_path)
            collector, stop = Collector(settings, "c1"), asyncio.Event()
            capturing = asyncio.create_task(collector.run(stop))
            await heard_all(exchange, collector)
            (feed,) = collector.report().feeds
            stop.set()
            await capturing
            assert feed.reconnects == 1
            assert exchange.truth.faults["resend"] == 20
            found = in_daily_files(settings)
            assert (market.told - found).total() <= 5  # gathered for a frame when the line was cut
            assert not found - market.told

    run(scenario)
