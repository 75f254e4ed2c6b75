"""A line that misbehaves, and a listener without room: nothing is lost, nothing grows, and the end
comes in time."""

from __future__ import annotations

import asyncio
import resource
import time
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from itertools import pairwise

import pytest

from edc_pipeline.transports.contract import Heard
from edc_pipeline.transports.conversation import READ_BYTES
from edc_pipeline_tests.transports.fake_server import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    RawScript,
    Recorder,
    Tls,
    frame,
    kept,
    raw_server,
    run,
    said,
    until,
    until_close,
)


def test_a_flood_is_heard_in_order_and_in_bounded_memory() -> None:
    count = 200_000

    class Checking(Recorder):
        heard = 0

        def frame(self, payload: bytes, received_at: int) -> Heard:
            assert payload == b"%d" % self.heard
            self.heard += 1
            return Heard(data=True)

    async def script(reader: Reader, writer: Writer, number: int) -> None:
        for start in range(0, count, 1000):
            writer.write(b"".join(frame(TEXT, b"%d" % i) for i in range(start, start + 1000)))
            await writer.drain()
        await until_close(reader)

    async def scenario() -> None:
        recorder = Checking()
        async with raw_server(script) as url, kept(url, recorder):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            await until(lambda: recorder.heard == count, 15)
            grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown_kib < 20 << 10
        assert recorder.closings == ["stopped"]

    run(scenario)


def test_a_burst_does_not_hold_the_event_loop() -> None:
    """10 MB lie ready in the socket's buffers; other work gets its turn between the reads. What
    counts is our own share: frames per turn, not the machine's noise."""
    burst = frame(TEXT, b"x" * 100) * 100_000
    turns: list[int] = []

    async def script(reader: Reader, writer: Writer, number: int) -> None:
        await said(reader)
        writer.write(burst)
        await until_close(reader)

    async def scenario() -> None:
        recorder = Recorder(first_words=("go",))

        async def beat() -> None:
            while True:
                turns.append(len(recorder.frames))
                await asyncio.sleep(0)

        async with raw_server(script) as url, kept(url, recorder):
            beating = asyncio.create_task(beat())
            await until(lambda: len(recorder.frames) == 100_000, 15)
            beating.cancel()
        most = max(after - before for before, after in pairwise(turns))
        # The socket layer ends its turn at 256 KiB: 2,600 frames of 102 bytes, some 15 ms even at
        # 5 µs for all that is done with a frame.
        assert 0 < most <= ((256 << 10) + READ_BYTES) / 102

    run(scenario)


def test_a_half_open_connection_is_found_by_our_ping() -> None:
    async def script(reader: Reader, writer: Writer, number: int) -> None:
        writer.write(frame(TEXT, b"data"))
        if number == 0:
            await asyncio.sleep(30)  # neither reads nor writes any more
        await until_close(reader)

    async def scenario() -> None:
        recorder = Recorder()
        async with (
            raw_server(script) as url,
            kept(url, recorder, ping_every_s=0.2, ping_timeout_s=0.2),
        ):
            began = time.monotonic()
            await until(lambda: len(recorder.frames) == 2)
            assert 0.3 < time.monotonic() - began < 2
        assert recorder.closings[0] == "no answer to a ping in 0.2 s"

    run(scenario)


def test_pings_are_answered_and_asked() -> None:
    told: list[tuple[int, bytes]] = []

    async def script(reader: Reader, writer: Writer, number: int) -> None:
        writer.write(frame(PING, b"are you there"))
        while True:
            opcode, payload = await said(reader)
            told.append((opcode, payload))
            if opcode == PING:
                writer.write(frame(PONG, payload))
            elif opcode == CLOSE:
                return

    async def scenario() -> None:
        recorder = Recorder()
        async with (
            raw_server(script) as url,
            kept(url, recorder, ping_every_s=0.1, ping_timeout_s=0.1),
        ):
            await until(lambda: len(told) >= 4)
        assert told[0] == (PONG, b"are you there")
        assert {opcode for opcode, _ in told[1:-1]} == {PING}
        assert recorder.closings == ["stopped"]

    run(scenario)


def test_pongs_do_not_hide_that_a_feed_is_mute() -> None:
    async def script(reader: Reader, writer: Writer, number: int) -> None:
        while True:
            opcode, payload = await said(reader)
            writer.write(frame(PONG if opcode == PING else CLOSE, payload))

    async def scenario() -> None:
        recorder = Recorder()
        limits = {"ping_every_s": 0.05, "ping_timeout_s": 0.05, "stale_after_s": 0.4}
        async with raw_server(script) as url, kept(url, recorder, **limits):
            await until(lambda: bool(recorder.closings))
        assert recorder.closings[0].startswith("silent for")

    run(scenario)


def test_a_slow_server_is_heard() -> None:
    async def script(reader: Reader, writer: Writer, number: int) -> None:
        for byte in frame(TEXT, b"data one") + frame(TEXT, b"data two"):
            writer.write(bytes([byte]))
            await asyncio.sleep(0.005)
        await until_close(reader)

    async def scenario() -> None:
        recorder = Recorder()
        async with raw_server(script) as url, kept(url, recorder):
            await until(lambda: len(recorder.frames) == 2)
        assert recorder.frames == [b"data one", b"data two"]

    run(scenario)


def test_the_receive_time_is_that_of_the_read() -> None:
    async def script(reader: Reader, writer: Writer, number: int) -> None:
        await said(reader)
        for _ in range(2):
            writer.write(frame(TEXT, b"data") * 3)
            await asyncio.sleep(0.05)
        await until_close(reader)

    async def scenario() -> None:
        recorder = Recorder(first_words=("go",))
        began = time.time_ns()
        async with raw_server(script) as url, kept(url, recorder):
            await until(lambda: len(recorder.frames) == 6)
        first, second = recorder.stamps[0], recorder.stamps[3]
        assert recorder.stamps == [first] * 3 + [second] * 3
        assert began < first < second - 40_000_000

    run(scenario)


def test_a_server_that_does_not_read_us_is_left() -> None:
    async def script(reader: Reader, writer: Writer, number: int) -> None:
        while True:
            writer.write(frame(PING, b"x" * 125) * 1000)
            await writer.drain()

    async def scenario() -> None:
        recorder = Recorder()
        async with raw_server(script) as url, kept(url, recorder):
            await until(lambda: bool(recorder.closings), 15)
        assert recorder.closings[0] == "the vendor does not read what we send"

    run(scenario)


# Back-pressure


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_what_was_sent_before_a_cut_is_heard_after_the_pause(secure: bool, tls: Tls) -> None:
    """Whatever lies between the socket and us when reading pauses, decrypted or not, comes out when
    there is room again, although the vendor has gone meanwhile."""
    sent = [b"%06d" % i + b"x" * (i * 7919 % 30_000) for i in range(180)]

    class FullAfterEach(Recorder):
        def frame(self, payload: bytes, received_at: int) -> Heard:
            self.gate.clear()
            return super().frame(payload, received_at)

    async def script(reader: Reader, writer: Writer, number: int) -> None:
        await said(reader)
        writer.write(b"".join(frame(TEXT, message) for message in sent))
        await writer.drain()

    async def scenario() -> None:
        recorder = FullAfterEach(first_words=("go",))
        async with (
            raw_server(script, tls=tls.server if secure else None) as url,
            kept(url, recorder, tls=tls.client()),
        ):
            paused_at: set[int] = set()
            while not recorder.closings:
                paused_at.add(len(recorder.frames))
                await asyncio.sleep(0.004)
                recorder.gate.set()
                await asyncio.sleep(0)
        assert recorder.frames[: len(sent)] == sent
        assert len(paused_at) > 8  # it did pause again and again
        assert recorder.closings[0] == "the connection was cut without a close frame"

    run(scenario)


def test_over_tls_the_socket_is_not_read_without_room(
    tls: Tls,
) -> None:
    sent = 0

    async def script(reader: Reader, writer: Writer, number: int) -> None:
        nonlocal sent
        await said(reader)
        for _ in range(2000):
            writer.write(frame(TEXT, b"x" * 5000))
            await writer.drain()
            sent += 1
        await until_close(reader)

    async def scenario() -> None:
        recorder = Recorder(first_words=("go",), full_on=b"x")
        async with raw_server(script, tls=tls.server) as url, kept(url, recorder, tls=tls.client()):
            await until(lambda: bool(recorder.frames))
            await asyncio.sleep(0.5)
            stalled, heard = sent, len(recorder.frames)
            await asyncio.sleep(0.2)
            assert (sent, len(recorder.frames)) == (stalled, heard)
            assert heard <= READ_BYTES // 5004
            recorder.full_on = b"never"
            recorder.gate.set()
            await until(lambda: len(recorder.frames) == 2000)

    run(scenario)


def test_a_pause_is_not_taken_for_the_vendors_silence() -> None:
    async def script(reader: Reader, writer: Writer, number: int) -> None:
        await said(reader)
        writer.write(frame(TEXT, b"data"))
        while True:
            opcode, payload = await said(reader)
            writer.write(frame(PONG if opcode == PING else CLOSE, payload))

    async def scenario() -> None:
        recorder = Recorder(first_words=("go",), full_on=b"data")
        limits = {"ping_every_s": 0.1, "ping_timeout_s": 0.1, "stale_after_s": 0.3}
        async with raw_server(script) as url, kept(url, recorder, **limits):
            await until(lambda: bool(recorder.frames))
            await asyncio.sleep(0.8)
            assert recorder.closings == []
            recorder.gate.set()
            await until(lambda: bool(recorder.closings))
        assert recorder.closings[0].startswith("silent for")

    run(scenario)


# Stopping


async def _mute(reader: Reader, writer: Writer, number: int) -> None:
    await asyncio.sleep(30)


async def _sends_and_never_closes(reader: Reader, writer: Writer, number: int) -> None:
    while True:
        writer.write(frame(TEXT, b"data" + b"x" * 1000))
        await writer.drain()
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("phase", "hands", "script", "most_s"),
    [
        ("handshaking", False, _mute, 0.3),
        ("subscribed", True, _mute, 0.8),
        ("receiving", True, _sends_and_never_closes, 0.8),
        ("paused", True, _sends_and_never_closes, 0.8),
        ("closing", True, _mute, 0.8),
    ],
)
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_stop_is_never_held_up(
    phase: str,
    hands: bool,
    script: RawScript,
    most_s: float,
    secure: bool,
    tls: Tls,
) -> None:
    async def scenario() -> None:
        recorder = Recorder(full_on=b"data" if phase == "paused" else b"never")
        stale_after_s = 0.2 if phase == "closing" else 60.0
        server = raw_server(script, hands=hands, tls=tls.server if secure else None)
        limits = {"close_timeout_s": 0.5, "stale_after_s": stale_after_s, "tls": tls.client()}
        async with server as url:
            async with kept(url, recorder, **limits):
                await asyncio.sleep(0.3)
                assert recorder.opens == hands
                began = time.monotonic()
            assert time.monotonic() - began < most_s
            # Nothing is heard after the end.
            heard = len(recorder.frames)
            await asyncio.sleep(0.02)
            assert len(recorder.frames) == heard
        assert len(recorder.closings) == 1

    run(scenario)


def test_a_stop_while_the_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async def never(*_: object, **__: object) -> None:
            await asyncio.sleep(30)

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)
        recorder = Recorder()
        async with kept("ws://vendor.example/", recorder):
            await asyncio.sleep(0.05)
            began = time.monotonic()
        assert time.monotonic() - began < 0.3
        assert recorder.closings == ["stopped while connecting"]

    run(scenario)


def test_an_open_that_takes_too_long_is_given_up_and_tried_again() -> None:
    async def scenario() -> None:
        recorder = Recorder()
        async with (
            raw_server(_mute, hands=False) as url,
            kept(url, recorder, open_timeout_s=0.2),
        ):
            await until(lambda: len(recorder.closings) >= 2)
        assert recorder.closings[0] == "can't connect: no answer in time"

    run(scenario)


def test_a_listener_that_raises_is_not_hidden() -> None:
    class Raising(Recorder):
        def frame(self, payload: bytes, received_at: int) -> Heard:
            raise ZeroDivisionError

    async def script(reader: Reader, writer: Writer, number: int) -> None:
        writer.write(frame(TEXT, b"data"))
        await reader.read()

    async def scenario() -> None:
        async with raw_server(script) as url:
            with pytest.raises(ZeroDivisionError):
                async with kept(url, Raising()):
                    await asyncio.sleep(0.2)

    run(scenario)
