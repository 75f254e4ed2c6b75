"""A real websocket client against the real server, on the loopback."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from edc_pipeline.simulator.exchange import Exchange, ExchangeConfig, tls_context
from edc_pipeline.simulator.faults import Chaos
from edc_pipeline.simulator.session import Terms
from edc_pipeline_tests.simulator.client import (
    capture,
    is_data,
    receive,
    run,
    script,
    subscribe,
)


def test_by_the_clock_ticks_come_when_they_are_due() -> None:
    async def body() -> None:
        async with Exchange(ExchangeConfig(symbols=["BTC/USD"], rate=800, seconds=1.2)) as exchange:
            (messages,) = await capture(exchange, "crypto", thresholdLevel=2)
            data = list(exchange.truth.originals())
            assert 200 < len(data) < 4_000
            assert len([m for m in messages if is_data(m)]) == len(data)
            # Spread over the time rather than in one heap.
            tenths = Counter((f.at_ns - data[0].at_ns) // 100_000_000 for f in data)
            assert len(tenths) >= 8
            assert exchange.left_out_s == 0
            stamp = json.loads(str(data[-1].body))["data"][2]
            assert stamp.startswith(
                time.strftime("%Y-%m-%dT%H:", time.gmtime(data[-1].at_ns / 1e9))
            )

    run(body)


def test_heartbeats_come_by_themselves() -> None:
    async def body() -> None:
        async with (
            Exchange(ExchangeConfig(heartbeat_s=0.05)) as exchange,
            connect(exchange.url("iex")) as websocket,
        ):
            await websocket.send(subscribe(tickers=["nosuch"]))
            kinds = [json.loads(await websocket.recv())["messageType"] for _ in range(5)]
            assert kinds == ["I", "H", "H", "H", "H"]

    run(body)


def test_mute_is_connected_but_silent() -> None:
    async def body() -> None:
        config = ExchangeConfig(rate=2_000, heartbeat_s=0.05, chaos=Chaos.parse("mute@10"))
        async with Exchange(config) as exchange, connect(exchange.url("iex")) as websocket:
            await websocket.send(subscribe())
            messages: list[str | bytes] = []
            task = asyncio.create_task(receive(websocket, messages))
            await asyncio.sleep(0.4)
            assert sum(map(is_data, messages)) == 10
            before = len(messages)
            await (await websocket.ping())  # the line itself is alive
            await asyncio.sleep(0.2)
            assert len(messages) == before
            assert exchange.truth.lost["mute"] > 10
            task.cancel()

    run(body)


def test_a_refused_token_is_told_and_the_connection_closed() -> None:
    async def body() -> None:
        terms = Terms(token="another")
        async with (
            Exchange(ExchangeConfig(terms=terms)) as exchange,
            connect(exchange.url("iex")) as websocket,
        ):
            await websocket.send(subscribe())
            assert json.loads(await websocket.recv())["messageType"] == "E"
            with pytest.raises(ConnectionClosedError):
                await websocket.recv()
            assert websocket.close_code == 1008
            assert exchange.truth.ended == {"refused": 1}

    run(body)


def test_a_bad_threshold_leaves_the_connection_for_another_try() -> None:
    async def body() -> None:
        async with Exchange(script(events=1)) as exchange:
            async with connect(exchange.url("iex")) as websocket:
                await websocket.send(subscribe(thresholdLevel=3))
                assert "thresholdLevel not valid" in str(await websocket.recv())
                await websocket.send("{not json")
                assert json.loads(await websocket.recv())["messageType"] == "E"
                await websocket.send(subscribe())
                assert json.loads(await websocket.recv())["messageType"] == "I"
            assert exchange.truth.control["error"] == 2

    run(body)


def test_unsubscribing_stops_the_data() -> None:
    async def body() -> None:
        async with (
            Exchange(ExchangeConfig(rate=2_000)) as exchange,
            connect(exchange.url("iex"), max_queue=None) as websocket,
        ):
            await websocket.send(subscribe(tickers=["spy"]))
            number = json.loads(await websocket.recv())["data"]["subscriptionId"]
            message = {"eventName": "unsubscribe", "authorization": "t"}
            data = {"subscriptionId": number, "thresholdLevel": 0, "tickers": ["spy"]}
            while not is_data(await websocket.recv()):
                pass
            await websocket.send(json.dumps(message | {"eventData": data}))
            while is_data(answer := await websocket.recv()):
                pass
            assert json.loads(answer)["data"]["tickers"] == []
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(websocket.recv(), 0.3)

    run(body)


@pytest.mark.parametrize("when_slow", ["disconnect", "drop"])
def test_a_client_that_does_not_read_costs_no_memory(when_slow: Any) -> None:
    async def body() -> None:
        config = ExchangeConfig(rate=40_000, outbox_frames=2_000, when_slow=when_slow)
        async with Exchange(config) as exchange:
            # A socket that subscribes and then reads nothing, with the smallest buffer there is.
            raw = socket.socket()
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            raw.setblocking(False)
            await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", exchange.port))
            async with connect(exchange.url("iex"), sock=raw, max_queue=1) as websocket:
                await websocket.send(subscribe())
                for _ in range(150):
                    await asyncio.sleep(0.02)
                    if exchange.truth.lost["slow"]:
                        break
                assert exchange.truth.lost["slow"] > 0
                assert exchange.truth.ended["slow"] == (when_slow == "disconnect")
                websocket.transport.abort()

    run(body)


def test_unknown_paths_and_crowds_are_refused_at_the_door() -> None:
    async def body() -> None:
        async with Exchange(ExchangeConfig(max_connections=1)) as exchange:
            with pytest.raises(InvalidStatus, match="404"):
                await connect(exchange.url("iex").replace("/iex", "/equities"))
            async with connect(exchange.url("iex")):
                with pytest.raises(InvalidStatus, match="503"):
                    await connect(exchange.url("fx"))
            with pytest.raises(ValueError, match="no service 'bonds'"):
                exchange.url("bonds")

    run(body)


def test_an_oversized_message_ends_the_connection() -> None:
    async def body() -> None:
        async with (
            Exchange(ExchangeConfig(max_message_bytes=1_000)) as exchange,
            connect(exchange.url("iex")) as websocket,
        ):
            await websocket.send(subscribe(tickers=["x" * 2_000]))
            with pytest.raises(ConnectionClosedError):
                await websocket.recv()
            assert websocket.close_code == 1009

    run(body)


def test_a_taken_port_is_an_os_error_and_leaves_nothing_behind(tmp_path: Path) -> None:
    async def body() -> None:
        async with Exchange(ExchangeConfig()) as exchange:
            taken = ExchangeConfig(port=exchange.port, truth_file=tmp_path / "truth.jsonl")
            with pytest.raises(OSError, match="address already in use"):
                await Exchange(taken).__aenter__()

    run(body)


def test_tls(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    key_kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    files = ("-keyout", str(key), "-out", str(certificate))
    made = subprocess.run(
        ["openssl", "req", "-x509", "-days", "1", *key_kind, *subject, *files],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("openssl cannot make a certificate here")

    async def body() -> None:
        trust = ssl.create_default_context(cafile=certificate)
        async with Exchange(script(events=5, ssl=tls_context(certificate, key))) as exchange:
            assert exchange.url("iex").startswith("wss://")
            async with connect(exchange.url("iex"), ssl=trust) as websocket:
                await websocket.send(subscribe())
                assert json.loads(await websocket.recv())["messageType"] == "I"

    run(body)


@pytest.mark.parametrize(
    "wrong",
    [
        {"heartbeat_s": 0},
        {"seconds": float("nan")},
        {"events": -1},
        {"resend_on_subscribe": -1},
        {"outbox_frames": 10},
    ],
)
def test_impossible_settings_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ExchangeConfig(**wrong)


def test_a_clock_that_jumps_leaves_market_out_rather_than_bursting() -> None:
    async def body() -> None:
        ahead_ns = 0

        def clock() -> int:
            return time.time_ns() + ahead_ns

        config = ExchangeConfig(rate=2_000)
        async with (
            Exchange(config, clock=clock) as exchange,
            connect(exchange.url("iex")) as websocket,
        ):
            await websocket.send(subscribe())
            task = asyncio.create_task(receive(websocket, []))
            await asyncio.sleep(0.2)
            ahead_ns = 3_600 * 10**9
            before = exchange.truth.data["iex"]
            await asyncio.sleep(0.2)
            assert exchange.truth.data["iex"] - before < 10_000
            assert exchange.left_out_s == pytest.approx(3_599, abs=1)
            task.cancel()

    run(body)
