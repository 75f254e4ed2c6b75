"""What is Twelve Data's own: answers that name what failed, a heartbeat we ask for, three lines."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from edc_pipeline.simulator.exchange import Exchange, ExchangeConfig
from edc_pipeline.simulator.session import Terms
from edc_pipeline.vendors.contract import Subscription
from edc_pipeline.vendors.twelve_data import VENDOR
from edc_pipeline_tests.capture.test_collector import run, until

ACCEPTED = b'{"event":"subscribe-status","status":"ok","success":[{"symbol":"SPY"}],"fails":null}'


def test_it_subscribes_and_is_answered() -> None:
    session: Any = VENDOR.open_session(Subscription("price", ("AAPL", "EUR/USD")), "key")
    (message,) = session.opening()
    assert json.loads(message) == {
        "action": "subscribe",
        "params": {"symbols": "AAPL,EUR/USD"},
    }
    assert not session.acknowledged
    session.read(ACCEPTED, 1)
    assert session.acknowledged
    messages = session.change(Subscription("price", ("EUR/USD", "SPY")))
    assert [json.loads(m)["action"] for m in messages] == ["unsubscribe", "subscribe"]
    assert not session.acknowledged
    session.read(ACCEPTED.replace(b"subscribe", b"unsubscribe", 1), 1)
    session.read(ACCEPTED, 1)
    assert session.acknowledged


def test_the_key_goes_to_the_address_only() -> None:
    customs = VENDOR.feeds["price"].websocket
    assert customs.query is not None
    assert customs.query(Subscription("price", ("AAPL",)), "key") == {"apikey": "key"}
    assert customs.keepalive == ('{"action":"heartbeat"}', 10.0)
    assert customs.connections == 3


async def _line(exchange: Exchange) -> ClientConnection:
    line = await connect(exchange.url("price") + "?apikey=k")
    await line.send('{"action":"subscribe","params":{"symbols":"SPY,ZZZZ"}}')
    return line


def test_a_fourth_connection_closes_the_oldest() -> None:
    async def scenario() -> None:
        config = ExchangeConfig(vendor="twelve_data", symbols=("SPY",), rate=1.0)
        async with Exchange(config) as exchange:
            lines = [await _line(exchange) for _ in range(3)]
            await asyncio.sleep(0)
            assert exchange.truth.ended["refused"] == 0
            lines.append(await _line(exchange))
            await until(lambda: exchange.truth.ended["refused"] == 1)
            with suppress(ConnectionClosed):
                while True:
                    await lines[0].recv()
            assert lines[0].close_code == 1008
            for line in lines[1:]:
                answer = json.loads(await line.recv())
                assert answer["event"] in {"subscribe-status", "price"}
                await line.close()

    run(scenario)


def test_the_server_says_what_failed_and_answers_a_heartbeat() -> None:
    async def scenario() -> None:
        config = ExchangeConfig(vendor="twelve_data", symbols=("SPY",), rate=0.001)
        async with Exchange(config) as exchange:
            line = await _line(exchange)
            answer = json.loads(await line.recv())
            assert answer["success"] == [{"symbol": "SPY"}]
            assert answer["fails"] == [{"symbol": "ZZZZ"}]
            await line.send('{"action":"heartbeat"}')
            assert json.loads(await line.recv()) == {"event": "heartbeat", "status": "ok"}
            await line.send("no JSON")
            assert json.loads(await line.recv())["status"] == "error"
            await line.close()

    run(scenario)


def test_terms_may_allow_fewer_connections() -> None:
    async def scenario() -> None:
        terms = Terms(connections=1)
        config = ExchangeConfig(vendor="twelve_data", symbols=("SPY",), rate=1.0, terms=terms)
        async with Exchange(config) as exchange:
            first, second = await _line(exchange), await _line(exchange)
            await until(lambda: exchange.truth.ended["refused"] == 1)
            assert json.loads(await second.recv())["event"] == "subscribe-status"
            await first.close()
            await second.close()

    run(scenario)
