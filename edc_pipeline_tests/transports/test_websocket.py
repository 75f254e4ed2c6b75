"""The websocket transport against a real server: subscribe, staleness, reconnects, drain."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection

from edc_pipeline.transports.backoff import Backoff
from edc_pipeline.transports.contract import GaveUp
from edc_pipeline.transports.websocket import Endpoint, keep_connected
from edc_pipeline_tests.transports.fake_server import Recorder, Script, quick, run, server, until


async def stay(connection: ServerConnection) -> None:
    await connection.wait_closed()


async def connected_while(
    script: Script, recorder: Recorder, what: Callable[[], bool], **limits: Any
) -> None:
    """Keep connected to a server with this script until `what` holds, then stop and drain."""
    async with server(script) as url:
        stop = asyncio.Event()
        task = asyncio.create_task(
            keep_connected(
                Endpoint(url, **limits),
                recorder,
                stop=stop,
                backoff=quick(),
            )
        )
        try:
            await until(lambda: what() or task.done())
        finally:
            stop.set()
            await task


def test_speaks_first_listens_and_replies() -> None:
    said: list[str | bytes] = []

    async def script(connection: ServerConnection, number: int) -> None:
        said.append(await connection.recv())
        await connection.send("data 1")
        await connection.send(b"data \xff\x00")
        await connection.send("ping")
        said.append(await connection.recv())
        await stay(connection)

    async def scenario() -> None:
        recorder = Recorder(first_words=("hello",))
        await connected_while(script, recorder, lambda: len(said) == 2)
        assert recorder.frames == [b"data 1", b"data \xff\x00", b"ping"]
        assert said == ["hello", "pong"]

    run(scenario)


def test_comes_back_after_every_kind_of_end() -> None:
    async def script(connection: ServerConnection, number: int) -> None:
        await connection.send(f"data {number}")
        match number:
            case 0:
                connection.transport.abort()
            case 1:
                await connection.close(1011, "maintenance")
            case 2:
                await connection.send("again")
                await stay(connection)
            case _:
                await stay(connection)

    async def scenario() -> None:
        recorder = Recorder()
        await connected_while(
            script, recorder, lambda: recorder.opens == 4 and len(recorder.frames) >= 5
        )
        cut, closed, asked = recorder.closings[:3]
        assert "without a close frame" in cut
        assert "1011" in closed
        assert "maintenance" in closed
        assert asked == "asked to"

    run(scenario)


def test_a_mute_connection_is_dropped() -> None:
    async def script(connection: ServerConnection, number: int) -> None:
        await connection.send("data")
        await stay(connection)

    async def scenario() -> None:
        recorder = Recorder()
        began = time.monotonic()
        await connected_while(script, recorder, lambda: recorder.opens >= 2, stale_after_s=0.3)
        assert recorder.closings[0].startswith("silent for")
        assert time.monotonic() - began >= 0.3

    run(scenario)


@pytest.mark.parametrize(
    ("status", "fatal"), [(401, True), (403, True), (429, False), (503, False)]
)
def test_a_refused_handshake_is_final_or_not(status: int, fatal: bool) -> None:
    async def scenario() -> None:
        async def script(connection: ServerConnection, number: int) -> None: ...

        recorder = Recorder()
        async with server(script, refuse_with=status) as url:
            stop = asyncio.Event()
            task = asyncio.create_task(
                keep_connected(Endpoint(url), recorder, stop=stop, backoff=quick())
            )
            if fatal:
                with pytest.raises(GaveUp, match=str(status)):
                    await task
                assert len(recorder.closings) == 1
            else:
                await until(lambda: len(recorder.closings) >= 3)
                stop.set()
                await task
            assert str(status) in recorder.closings[0]
            assert recorder.opens == 0

    run(scenario)


def test_gives_up_when_told_that_nothing_will_help() -> None:
    async def script(connection: ServerConnection, number: int) -> None:
        await connection.send("bad key")
        await stay(connection)

    async def scenario() -> None:
        recorder = Recorder(give_up_on=b"bad key")
        with pytest.raises(GaveUp, match="bad key"):
            await connected_while(script, recorder, lambda: False)
        assert recorder.opens == 1
        assert recorder.closings == ["bad key"]

    run(scenario)


def test_nobody_there_is_tried_again_without_a_storm() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        stop = asyncio.Event()
        # Port 1 of this machine: nothing listens there.
        task = asyncio.create_task(
            keep_connected(
                Endpoint("ws://127.0.0.1:1/"),
                recorder,
                stop=stop,
                backoff=Backoff(first_s=0.05, cap_s=0.2, random=Random(1)),
            )
        )
        await asyncio.sleep(1.0)
        stop.set()
        await task
        # 0.05 + 0.1 + 0.2 × n with half of each random: between 5 and 12 tries in a second.
        assert 3 <= len(recorder.closings) <= 12
        assert "can't connect" in recorder.closings[0]

    run(scenario)


def test_a_frame_over_the_limit_ends_the_connection_and_not_the_process() -> None:
    async def script(connection: ServerConnection, number: int) -> None:
        await connection.send("x" * (1000 if number else 5000))
        await stay(connection)

    async def scenario() -> None:
        recorder = Recorder()
        await connected_while(script, recorder, lambda: bool(recorder.frames), max_frame_bytes=2000)
        assert "1009" in recorder.closings[0]
        assert recorder.frames == [b"x" * 1000]

    run(scenario)


def tries_at_each_end(script: Script, settled_s: float) -> list[int]:
    """How far the back-off had got when each of five connections ended."""
    tries: list[int] = []
    backoff = quick()
    backoff.settled_s = settled_s

    class Watched(Recorder):
        def closed(self, reason: str) -> None:
            tries.append(backoff.tries)
            super().closed(reason)

    async def scenario() -> None:
        async with server(script) as url:
            stop = asyncio.Event()
            task = asyncio.create_task(
                keep_connected(Endpoint(url), Watched(), stop=stop, backoff=backoff)
            )
            await until(lambda: len(tries) >= 5)
            stop.set()
            await task

    run(scenario)
    return tries[:5]


def test_the_back_off_starts_anew_only_after_data() -> None:
    async def script(connection: ServerConnection, number: int) -> None:
        await connection.send("data" if number == 3 else "welcome")
        await connection.close()

    assert tries_at_each_end(script, settled_s=0.0) == [0, 1, 2, 0, 1]


def test_the_back_off_starts_anew_only_after_data_for_a_while() -> None:
    """One that sends an event and closes was called without end: 157 times in 75 s."""

    async def script(connection: ServerConnection, number: int) -> None:
        await connection.send("data")
        await asyncio.sleep(1.0 if number == 3 else 0.0)
        await connection.close()

    assert tries_at_each_end(script, settled_s=0.8) == [0, 1, 2, 0, 1]


def test_no_room_means_the_socket_is_not_read() -> None:
    sent = 0

    async def script(connection: ServerConnection, number: int) -> None:
        nonlocal sent
        await connection.recv()
        while True:
            await connection.send(b"data" + b"x" * 110_000)
            sent += 1

    async def scenario() -> None:
        recorder = Recorder(first_words=("go",), full_on=b"data")
        async with server(script) as url:
            stop = asyncio.Event()
            task = asyncio.create_task(
                keep_connected(Endpoint(url), recorder, stop=stop, backoff=quick())
            )
            await until(lambda: bool(recorder.frames))
            await asyncio.sleep(0.5)
            stalled, heard = sent, len(recorder.frames)
            await asyncio.sleep(0.3)
            assert len(recorder.frames) == heard
            assert heard == 1  # a second would not fit into the read that brought it
            # Nothing moves any more: what the buffers of both sides hold is all that was sent.
            assert sent == stalled
            recorder.full_on = b"never"
            recorder.gate.set()
            await until(lambda: len(recorder.frames) > stalled)
            stop.set()
            await task

    run(scenario)


def test_stop_hears_what_had_arrived_and_closes_properly() -> None:
    closed_with: list[int | None] = []

    async def script(connection: ServerConnection, number: int) -> None:
        for i in range(10):
            await connection.send(f"data {i}")
        await stay(connection)
        closed_with.append(connection.close_code)

    async def scenario() -> None:
        recorder = Recorder()
        recorder.gate.clear()
        async with server(script) as url:
            stop = asyncio.Event()
            task = asyncio.create_task(
                keep_connected(Endpoint(url), recorder, stop=stop, backoff=quick())
            )
            await until(lambda: bool(recorder.frames))
            await asyncio.sleep(0.1)
            stop.set()
            recorder.gate.set()
            await task
            await until(lambda: bool(closed_with))
        assert recorder.frames == [f"data {i}".encode() for i in range(10)]
        assert closed_with == [1000]

    run(scenario)


def test_stop_does_not_wait_for_a_server_that_never_answers() -> None:
    async def scenario() -> None:
        async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        mute = await asyncio.start_server(swallow, "127.0.0.1", 0)
        port = mute.sockets[0].getsockname()[1]
        stop = asyncio.Event()
        task = asyncio.create_task(
            keep_connected(Endpoint(f"ws://127.0.0.1:{port}/"), Recorder(), stop=stop)
        )
        await asyncio.sleep(0.2)
        began = time.monotonic()
        stop.set()
        await task
        assert time.monotonic() - began < 2
        mute.close()

    run(scenario)


@given(st.integers(0, 10_000), st.integers(0, 2**32))
def test_waits_grow_to_a_cap_and_are_never_nothing(tries: int, seed: int) -> None:
    backoff = Backoff(first_s=0.5, cap_s=30, random=Random(seed), tries=tries)
    wait = backoff.next_wait_s()
    assert 0.25 <= wait <= 30
    assert wait >= 0.5 * min(30.0, 0.5 * 2.0 ** min(tries, 32))
    backoff.delivered()
    assert 0.25 <= backoff.next_wait_s() <= 0.5
