"""What we say: the key in the query, the pace that a vendor allows, the text that keeps alive."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest
from websockets.asyncio.server import ServerConnection

from edc_pipeline.transports.address import read_address
from edc_pipeline.transports.contract import Speech
from edc_pipeline.transports.websocket import Endpoint, keep_connected
from edc_pipeline_tests.transports.fake_server import (
    Recorder,
    kept,
    quick,
    raw_server,
    run,
    server,
    until,
)

SECRET = "s3cr3t/key+&"


@pytest.mark.parametrize(
    ("url", "query", "asked"),
    [
        ("wss://a.b/ws", {"token": SECRET}, "wss://a.b/ws?token=s3cr3t/key%2B%26"),
        ("wss://a.b/ws?v=1", {"token": "k"}, "wss://a.b/ws?v=1&token=k"),
        ("wss://a.b/stream", {"streams": "x@trade/y@trade"},
         "wss://a.b/stream?streams=x@trade/y@trade"),
        ("wss://a.b", {"q": "a b\r\nX: y"}, "wss://a.b?q=a%20b%0D%0AX:%20y"),
        ("wss://a.b/ws?v=1", {}, "wss://a.b/ws?v=1"),
    ],
)  # fmt: skip
def test_the_query_stands_behind_the_address_s_own(
    url: str, query: dict[str, str], asked: str
) -> None:
    assert read_address(url, query).url == asked


def test_the_key_in_the_query_arrives_and_is_never_shown(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by a log, an error or a repr: a server that takes it, one that refuses and echoes it, one
    that cannot be reached, and a proxy that says no."""
    caplog.set_level(logging.DEBUG)
    arrived: list[bytes] = []
    recorder = Recorder()

    async def refuse(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        arrived.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 502 Bad\r\n\r\n" + arrived[-1])

    async def scenario() -> None:
        query = {"api_key": "k", "token": SECRET}
        async with raw_server(refuse, hands=False) as url:
            assert SECRET not in repr(Endpoint(url, query=query))
            assert SECRET not in repr(read_address(url, query))
            async with kept(url, recorder, query=query):
                await until(lambda: len(arrived) == 2)
        assert arrived[0].startswith(b"GET /?api_key=k&token=s3cr3t/key%2B%26 HTTP/1.1")
        told = len(recorder.closings)
        async with kept("ws://127.0.0.1:1/", recorder, query=query):  # nobody is there
            await until(lambda: len(recorder.closings) > told)
        async with raw_server(refuse, hands=False) as url:
            monkeypatch.setenv("http_proxy", url.replace("ws://", "http://"))
            monkeypatch.delenv("no_proxy", raising=False)
            told = len(recorder.closings)
            async with kept("ws://example.invalid/", recorder, query=query):
                await until(lambda: len(recorder.closings) > told)
        assert arrived[-1].startswith(b"CONNECT example.invalid:80")

    run(scenario)
    shown = "\n".join((*recorder.closings, caplog.text))
    assert "502" in shown
    assert "s3cr3t" not in shown


def test_messages_are_paced_at_opening_and_later_while_frames_are_read() -> None:
    """20 a second: 11 at the opening, 5 unasked; the server's own 200 frames do not wait."""
    came: list[tuple[float, str]] = []
    speech = Speech()
    recorder = Recorder(first_words=tuple(f"subscribe {n}" for n in range(11)))

    async def script(connection: ServerConnection, number: int) -> None:
        for n in range(200):
            await connection.send(f"data {n}")
        async for message in connection:
            came.append((time.monotonic(), str(message)))

    async def scenario() -> None:
        async with server(script) as url:
            stop = asyncio.Event()
            task = asyncio.create_task(
                keep_connected(
                    Endpoint(url, messages_per_s=20),
                    recorder,
                    stop=stop,
                    backoff=quick(),
                    speech=speech,
                )
            )
            await until(lambda: len(recorder.frames) == 200)
            assert len(came) < 11
            assert speech.say is not None
            speech.say([f"later {n}" for n in range(5)])
            await until(lambda: len(came) == 16)
            stop.set()
            await task
            assert speech.say is None

    run(scenario)
    assert [m for _, m in came] == [f"subscribe {n}" for n in range(11)] + [
        f"later {n}" for n in range(5)
    ]
    # Fifteen spaces of 50 ms: a loaded machine is slower, none is faster.
    assert came[-1][0] - came[0][0] > 0.6


def test_what_waits_to_be_said_dies_with_its_connection() -> None:
    came: list[list[str]] = [[], []]
    recorder = Recorder(first_words=("one", "two", "three"))

    async def script(connection: ServerConnection, number: int) -> None:
        async for message in connection:
            came[number].append(str(message))
            if number == 0:
                connection.transport.abort()

    async def scenario() -> None:
        async with server(script) as url, kept(url, recorder, messages_per_s=10):
            await until(lambda: len(came[1]) == 3)

    run(scenario)
    assert came == [["one"], ["one", "two", "three"]]


def test_a_vendor_that_makes_us_answer_without_end_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edc_pipeline.transports.conversation._UNREAD_BYTES", 1000)
    recorder = Recorder()

    async def script(connection: ServerConnection, number: int) -> None:
        for _ in range(1000):
            await connection.send("ping")
        await connection.wait_closed()

    async def scenario() -> None:
        async with server(script) as url, kept(url, recorder, messages_per_s=1):
            await until(lambda: bool(recorder.closings))

    run(scenario)
    assert recorder.closings[0] == "the vendor makes us answer faster than we may"


def test_the_keepalive_is_sent_again_and_again_on_every_connection() -> None:
    came: list[list[str]] = [[], []]

    async def script(connection: ServerConnection, number: int) -> None:
        async for message in connection:
            came[number].append(str(message))
            if len(came[0]) == 3 and not number:
                await connection.close()

    async def scenario() -> None:
        recorder = Recorder(first_words=("hello",))
        async with server(script) as url, kept(url, recorder, keepalive=("alive", 0.05)):
            await until(lambda: len(came[1]) == 4)

    run(scenario)
    assert came[0][:3] == ["hello", "alive", "alive"]
    assert came[1] == ["hello", "alive", "alive", "alive"]
