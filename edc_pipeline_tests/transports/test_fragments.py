"""Messages come out as they were sent, however the vendor and the network cut them up."""

from __future__ import annotations

import asyncio
import os
from itertools import accumulate, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from edc_pipeline_tests.transports.fake_server import (
    BINARY,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    Recorder,
    frame,
    kept,
    raw_server,
    run,
    until,
    until_close,
)


class ByConnection(Recorder):
    """Keeps the frames of each connection apart."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.connections: list[list[bytes]] = []

    def closed(self, reason: str) -> None:
        super().closed(reason)
        self.connections.append(self.frames)
        self.frames = []


def test_a_cut_at_any_byte_leaves_exactly_the_whole_frames() -> None:
    sent = [
        frame(TEXT, b"data one"),
        frame(PING, b"?"),
        frame(TEXT, b"", fin=False),
        frame(CONTINUATION, b"data t", fin=False),
        frame(CONTINUATION, b"wo"),
        frame(BINARY, b"\xff" * 130),
    ]
    # What is whole after so many frames, and the byte at which each frame ends.
    whole = [[], [b"data one"], [b"data one"], [b"data one"], [b"data one"]]
    whole += [[b"data one", b"data two"], [b"data one", b"data two", b"\xff" * 130]]
    ends = [0, *accumulate(len(one) for one in sent)]
    stream = b"".join(sent)

    async def script(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        writer.write(stream[:number])
        if number % 2:
            await asyncio.sleep(0.002)  # in a read of its own, not with the handshake
        await writer.drain()

    async def scenario() -> None:
        recorder = ByConnection()
        async with raw_server(script) as url, kept(url, recorder):
            await until(lambda: len(recorder.connections) > len(stream), 15)
        for cut, heard in enumerate(recorder.connections[: len(stream) + 1]):
            frames_whole = sum(end <= cut for end in ends) - 1
            assert heard == whole[frames_whole], f"cut after {cut} bytes"
        # By a reset where the answer to the ping was on its way when the server let go.
        told = "the connection was cut without a close frame"
        assert all(reason.startswith(told) for reason in recorder.closings[: len(stream)])

    run(scenario)


def cut_up(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)] or [b""]


def in_fragments(opcode: int, message: bytes, cuts: list[int]) -> list[bytes]:
    parts = cut_up(message, cuts)
    return [
        frame(CONTINUATION if i else opcode, part, fin=i == len(parts) - 1)
        for i, part in enumerate(parts)
    ]


def test_a_message_in_fragments_at_every_split() -> None:
    message = bytes(range(120, 160))
    splits = [(a, b) for a in range(41) for b in range(a, 41, 3)]

    async def script(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        for a, b in splits:
            for part in in_fragments(TEXT, message, [a, b]):
                writer.write(part + frame(PING, b"between"))
        await writer.drain()
        await until_close(reader)

    async def scenario() -> None:
        recorder = Recorder()
        async with raw_server(script) as url, kept(url, recorder):
            await until(lambda: len(recorder.frames) >= len(splits))
        assert recorder.frames == [message] * len(splits)

    run(scenario)


messages = st.lists(
    st.tuples(
        st.sampled_from([TEXT, BINARY]),
        st.binary(max_size=400),
        st.lists(st.integers(0, 400), max_size=4),
        st.sampled_from([b"", frame(PING, b"p"), frame(PONG)]),
    ),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(messages, st.lists(st.integers(0, 3000), max_size=8))
def test_any_fragments_in_any_writes(
    told: list[tuple[int, bytes, list[int], bytes]], cuts: list[int]
) -> None:
    stream = b"".join(
        part + between
        for opcode, message, places, between in told
        for part in in_fragments(opcode, message, places)
    )

    async def script(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        for piece in cut_up(stream, cuts):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.001)
        writer.write(frame(TEXT, b"the end"))
        await until_close(reader)

    async def scenario() -> None:
        # No message made up may mean something to the recorder (its own words are tried as well).
        recorder = Recorder(give_up_on=os.urandom(16), full_on=os.urandom(16))
        async with raw_server(script) as url, kept(url, recorder):
            await until(lambda: b"the end" in recorder.frames)
        assert recorder.frames == [*(message for _, message, _, _ in told), b"the end"]
        assert recorder.opens == 1

    run(scenario)
