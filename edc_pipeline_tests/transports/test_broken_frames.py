"""Frames against RFC 6455, or past our limits: the connection ends with the right code, the reason
is told, nothing of the broken frame is heard, and the next connection works."""

from __future__ import annotations

import asyncio

import pytest

from edc_pipeline_tests.transports.fake_server import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    TEXT,
    Recorder,
    frame,
    kept,
    raw_server,
    run,
    until,
    until_close,
)

LIMIT = 2000
GOOD = frame(TEXT, b"data before")
AFTER = frame(TEXT, b"data after")

BROKEN = {
    "compressed": (frame(TEXT, b"x", reserved=4), 1002, "reserved bit"),
    "second reserved bit": (frame(BINARY, b"x", reserved=2), 1002, "reserved bit"),
    "reserved bit in a ping": (frame(PING, b"x", reserved=1), 1002, "reserved bit"),
    "unknown data opcode": (frame(0x3, b"x"), 1002, "opcode"),
    "unknown control opcode": (frame(0xB, b"x"), 1002, "opcode"),
    "masked": (frame(TEXT, b"x", masked=True), 1002, "masked"),
    "long control frame": (frame(PING, b"x" * 126), 1002, "125 bytes"),
    "fragmented control frame": (frame(PING, b"x", fin=False), 1002, "fragmented"),
    "continuation of nothing": (frame(CONTINUATION, b"x"), 1002, "continuation"),
    "message inside a message": (
        frame(TEXT, b"a", fin=False) + frame(TEXT, b"b"),
        1002,
        "inside a fragmented one",
    ),
    "length in too many bytes": (b"\x81\x7e\x00\x01x", 1002, "payload len"),
    "close code nobody may send": (frame(CLOSE, b"\x03\xed"), 1002, "close code"),
    "close frame of one byte": (frame(CLOSE, b"\x03"), 1002, "close"),
    "too large": (frame(TEXT, b"x" * (LIMIT + 1)), 1009, str(LIMIT)),
    "too large in fragments": (
        frame(TEXT, b"x" * LIMIT, fin=False) + frame(CONTINUATION, b"x"),
        1009,
        "fragments",
    ),
    "a size of 2^62": (b"\x82\x7f\x40" + b"\0" * 7 + b"x" * 100, 1009, str(LIMIT)),
}


@pytest.mark.parametrize("apart", [False, True], ids=["in one read", "in three reads"])
@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_frame_ends_the_connection_and_is_named(what: str, apart: bool) -> None:
    broken, code, word = BROKEN[what]
    answers: list[bytes] = []

    async def script(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        if number:
            writer.write(frame(TEXT, b"data again"))
            await until_close(reader)
            return
        for piece in (GOOD, broken, AFTER):
            writer.write(piece)
            if apart:
                await asyncio.sleep(0.003)
        answers.append(await until_close(reader))

    async def scenario() -> None:
        recorder = Recorder()
        async with raw_server(script) as url, kept(url, recorder, max_frame_bytes=LIMIT):
            await until(lambda: recorder.frames[-1:] == [b"data again"])
        assert recorder.frames == [b"data before", b"data again"]
        assert str(code) in recorder.closings[0]
        assert word in recorder.closings[0]
        assert [answer[:2] for answer in answers] == [code.to_bytes(2, "big")]

    run(scenario)


def test_text_that_is_no_utf_8_is_heard_as_it_was_sent() -> None:
    wrong = [b"\xff\xfe", b"data \xc3", b"\xed\xa0\x80", b"\xf5\x80\x80\x80"]

    async def script(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        for payload in wrong:
            writer.write(frame(TEXT, payload))
        # A character cut in two by fragments is no error either.
        writer.write(frame(TEXT, b"\xc3", fin=False) + frame(CONTINUATION, b"\xa9"))
        await until_close(reader)

    async def scenario() -> None:
        recorder = Recorder()
        async with raw_server(script) as url, kept(url, recorder):
            await until(lambda: len(recorder.frames) == 5)
        assert recorder.frames == [*wrong, "é".encode()]
        assert recorder.opens == 1

    run(scenario)


def test_a_message_of_the_limit_passes_whole_and_in_fragments() -> None:
    async def script(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        writer.write(frame(BINARY, b"x" * LIMIT))
        writer.write(frame(BINARY, b"x" * (LIMIT - 1), fin=False) + frame(CONTINUATION, b"x"))
        await until_close(reader)

    async def scenario() -> None:
        recorder = Recorder()
        async with raw_server(script) as url, kept(url, recorder, max_frame_bytes=LIMIT):
            await until(lambda: len(recorder.frames) == 2)
        assert recorder.frames == [b"x" * LIMIT] * 2

    run(scenario)


@pytest.mark.parametrize(
    ("payload", "told"),
    [
        (b"", "closed with code 1005"),
        (b"\x03\xe8", "closed with code 1000"),
        (b"\x03\xf3come back later", "closed with code 1011: come back later"),
        (b"\x0f\xa1your plan has ended", "closed with code 4001: your plan has ended"),
    ],
)
def test_a_close_frame_is_answered_and_told(payload: bytes, told: str) -> None:
    answers: list[bytes] = []

    async def script(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        # Nothing counts after a close frame.
        writer.write(GOOD + frame(CLOSE, payload) + AFTER)
        answers.append(await until_close(reader))

    async def scenario() -> None:
        recorder = Recorder()
        async with raw_server(script) as url, kept(url, recorder):
            await until(lambda: bool(recorder.closings))
        assert recorder.closings[0] == told
        assert set(recorder.frames) == {b"data before"}
        assert answers[0] == (payload[:2] or b"\x03\xe8")

    run(scenario)
