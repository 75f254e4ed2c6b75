"""A real websocket client against the real server, on the loopback."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus

from edc_pipeline.simulator.exchange import Exchange, ExchangeConfig, tls_context
from edc_pipeline.simulator.faults import Chaos
from edc_pipeline.simulator.tiingo import Terms

START = 1_769_094_000_000_000_000


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await body()

    asyncio.run(bounded())


def script(**more: Any) -> ExchangeConfig:
    chaos = Chaos.parse(more.pop("chaos", ""))
    return ExchangeConfig(
        **{"script_start_ns": START, "rate": 1_000.0, "events": 2_000} | more, chaos=chaos
    )


def subscribe(**data: Any) -> str:
    data = {"thresholdLevel": 0} | data
    return json.dumps({"eventName": "subscribe", "authorization": "t", "eventData": data})


async def receive(websocket: ClientConnection, into: list[str | bytes]) -> None:
    async for message in websocket:
        into.append(message)


async def capture(exchange: Exchange, service: str = "iex", **data: Any) -> list[list[str | bytes]]:
    """Subscribe, again after each lost connection, until the exchange is done; by connection."""
    connections: list[list[str | bytes]] = []

    async def keep_coming() -> None:
        while True:
            connections.append([])
            async with connect(exchange.url(service)) as websocket:
                await websocket.send(subscribe(**data))
                with suppress(ConnectionClosed):
                    await receive(websocket, connections[-1])

    task = asyncio.create_task(keep_coming())
    await exchange.finished()
    while True:  # what the socket still holds
        before = sum(map(len, connections))
        await asyncio.sleep(0.05)
        if sum(map(len, connections)) == before:
            break
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return connections


def is_data(message: str | bytes) -> bool:
    return not (isinstance(message, str) and '"response"' in message)


def test_a_script_is_received_whole_and_twice_the_same() -> None:
    got: list[list[str | bytes]] = []

    async def body() -> None:
        async with Exchange(script()) as exchange:
            (messages,) = await capture(exchange)
            assert [json.loads(m)["messageType"] for m in messages[:2]] == ["I", "H"]
            data = [m for m in messages if is_data(m)]
            assert data == [f.body for f in exchange.truth.originals("iex")]
            assert len(data) == 2_000
            assert exchange.truth.summary()["connections"] == {"iex": 1}
            got.append(data)

    run(body)
    run(body)
    assert got[0] == got[1]


def test_one_cut_one_unreadable_frame_and_the_last_frames_again() -> None:
    async def body() -> None:
        config = script(chaos="cut@500,rubbish@200:truncated", resend_on_subscribe=25)
        async with Exchange(config) as exchange:
            first, second = await capture(exchange)
            data = [list(filter(is_data, messages)) for messages in (first, second)]
            assert len(data[0]) == 501
            with pytest.raises(json.JSONDecodeError):
                json.loads(data[0][200])
            assert data[1][:25] == data[0][-25:]
            assert json.loads(second[0])["messageType"] == "I"
            kept = data[0][:200] + data[0][201:] + data[1][25:]
            assert kept == [f.body for f in exchange.truth.originals()]
            assert len(kept) == 2_000
            assert exchange.trouble.counts == {"cut": 1, "rubbish": 1}
            summary = exchange.truth.summary()
            assert summary["faults"] == {"rubbish": 1, "resend": 25}
            assert summary["not_sent"] == {}
            assert summary["ended"] == {"cut": 1}

    run(body)


def test_every_fault_at_once_and_the_truth_agrees() -> None:
    async def body() -> None:
        chaos = "duplicate=2%,delay=2%:50ms,reorder=2%,rubbish=1%,cut=0.2%,seed=3"
        async with Exchange(script(chaos=chaos, resend_on_subscribe=10)) as exchange:
            connections = await capture(exchange)
            got = Counter(m for messages in connections for m in messages if is_data(m))
            assert got == Counter(f.body for f in exchange.truth.frames)
            assert len(list(exchange.truth.originals())) == 2_000
            counts = exchange.trouble.counts
            assert set(counts) == {"duplicate", "delay", "reorder", "rubbish", "cut"}
            assert len(connections) == counts["cut"] + 1
            sent = dict(exchange.truth.faults)
            sent.pop("resend")
            assert sent == {k: v for k, v in counts.items() if k != "cut"}

    run(body)


def test_three_services_at_once() -> None:
    async def body() -> None:
        async with Exchange(script(audience=3)) as exchange:
            levels = {"iex": 0, "fx": 5, "crypto": 2}
            captured = await asyncio.gather(
                *(capture(exchange, s, thresholdLevel=level) for s, level in levels.items())
            )
            for service, (messages,) in zip(levels, captured, strict=True):
                data = [m for m in messages if is_data(m)]
                assert data
                assert data == [f.body for f in exchange.truth.originals(service)]
            assert exchange.truth.data.total() == 2_000

    run(body)


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
            connect(exchange.url("iex")) as websocket,
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


def test_the_truth_file_holds_every_frame_as_sent(tmp_path: Path) -> None:
    async def body() -> None:
        path = tmp_path / "truth.jsonl"
        async with Exchange(
            script(truth_file=path, chaos="rubbish@9:invalid_utf8", keep_frames=10)
        ) as exchange:
            (messages,) = await capture(exchange)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert len(lines) == 2_001
        assert [line.get("body") for line in lines if not line["fault"]] == [
            m for m in messages if isinstance(m, str) and is_data(m)
        ]
        assert [line["n"] for line in lines if "body_base64" in line] == [9]
        with pytest.raises(LookupError, match="no longer remembered"):
            exchange.truth.originals()

    run(body)


def test_a_full_disk_is_told_and_not_swallowed() -> None:
    async def body() -> None:
        exchange = Exchange(script(truth_file=Path("/dev/full")))
        with pytest.raises(OSError, match="No space left"):
            async with exchange:
                await capture(exchange)

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
