"""Real servers that do what a test's script says, connection by connection; and a listener."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from edc_pipeline.transports.backoff import Backoff
from edc_pipeline.transports.contract import Heard, together
from edc_pipeline.transports.websocket import Endpoint, keep_connected

QUICK_S = 0.02
TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 0x1, 0x2, 0x0, 0x8, 0x9, 0xA

RawScript = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[None]]
Script = Callable[[ServerConnection, int], Awaitable[None]]


@dataclass(frozen=True)
class Tls:
    """A server for 127.0.0.1, and clients that trust its certificate."""

    server: ssl.SSLContext
    certificate: Path

    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.certificate)


def quick() -> Backoff:
    return Backoff(first_s=QUICK_S, cap_s=QUICK_S, random=Random(1))


async def until(what: Callable[[], bool], seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come to that in time"
        await asyncio.sleep(0.005)


def run(scenario: Callable[[], Awaitable[None]], seconds: float = 20) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), seconds)

    asyncio.run(bounded())


@asynccontextmanager
async def server(script: Script, refuse_with: int | None = None) -> AsyncIterator[str]:
    """Serves on a free port of this machine; `script` gets the connection and its number."""
    opened = 0

    async def handle(connection: ServerConnection) -> None:
        nonlocal opened
        number, opened = opened, opened + 1
        await script(connection, number)

    def answer(connection: ServerConnection, request: Request) -> Response | None:
        return None if refuse_with is None else connection.respond(refuse_with, "no\n")

    async with serve(handle, "127.0.0.1", 0, process_request=answer, compression=None) as running:
        port = next(iter(running.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}/"


@dataclass
class Recorder:
    """A listener that writes down what it is told."""

    first_words: tuple[str, ...] = ()
    frames: list[bytes] = field(default_factory=list)
    closings: list[str] = field(default_factory=list)
    opens: int = 0
    give_up_on: bytes = b"never"
    data_on: bytes = b"data"
    full_on: bytes = b"never"
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    stamps: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate.set()

    def opened(self) -> tuple[str, ...]:
        self.opens += 1
        return self.first_words

    def hear(self, payloads: Sequence[bytes], received_at: int) -> Heard:
        return together([self.frame(payload, received_at) for payload in payloads])

    def frame(self, payload: bytes, received_at: int) -> Heard:
        self.frames.append(payload)
        self.stamps.append(received_at)
        if payload.startswith(self.full_on):
            self.gate.clear()
        if payload.startswith(self.give_up_on):
            return Heard(give_up=payload.decode())
        return Heard(
            data=payload.startswith(self.data_on),
            replies=("pong",) if payload == b"ping" else (),
            reconnect="asked to" if payload == b"again" else "",
        )

    def closed(self, reason: str) -> None:
        self.closings.append(reason)

    def has_room(self) -> bool:
        return self.gate.is_set()

    async def room(self) -> None:
        await self.gate.wait()


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, reserved: int = 0, masked: bool = False
) -> bytes:
    """One frame by the letter of RFC 6455, or against it."""
    first = fin << 7 | reserved << 4 | opcode
    size, mask = len(payload), masked << 7
    if size < 126:
        head = bytes([first, mask | size])
    elif size < 1 << 16:
        head = bytes([first, mask | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([first, mask | 127]) + size.to_bytes(8, "big")
    return head + (b"\0\0\0\0" if masked else b"") + payload


async def said(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The client's next frame: opcode and payload. All that it sends here is short."""
    first, size = await reader.readexactly(2)
    assert size & 0x80, "a client masks its frames"
    length = size & 0x7F
    assert length < 126
    mask, payload = await reader.readexactly(4), await reader.readexactly(length)
    return first & 0xF, bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


async def until_close(reader: asyncio.StreamReader) -> bytes:
    """Reads to the client's close frame and returns its payload. No answer but the end."""
    while True:
        opcode, payload = await said(reader)
        if opcode == CLOSE:
            return payload


def accepting(request: bytes) -> bytes:
    key = re.search(rb"(?i)sec-websocket-key: *(\S+)", request)
    assert key is not None
    accept = hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(accept) + b"\r\n\r\n"
    )


@asynccontextmanager
async def raw_server(
    script: RawScript, *, tls: ssl.SSLContext | None = None, hands: bool = True
) -> AsyncIterator[str]:
    """A server that speaks bytes: with `hands` it shakes them first, as RFC 6455 says."""
    opened = 0
    running: set[asyncio.Task[Any]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        number, opened = opened, opened + 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                if hands:
                    writer.write(accepting(await reader.readuntil(b"\r\n\r\n")))
                await script(reader, writer, number)
            writer.close()
        except BaseException:
            writer.transport.abort()
            raise

    listening = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    try:
        port = listening.sockets[0].getsockname()[1]
        yield f"{'wss' if tls else 'ws'}://127.0.0.1:{port}/"
    finally:
        listening.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.sleep(0.01)  # what was aborted is closed in the loop's next turns


@asynccontextmanager
async def kept(url: str, recorder: Recorder, **limits: Any) -> AsyncIterator[asyncio.Event]:
    """A client that stays connected to `url` until the end of the block."""
    stop = asyncio.Event()
    task = asyncio.create_task(
        keep_connected(Endpoint(url, **limits), recorder, stop=stop, backoff=quick())
    )
    try:
        yield stop
    finally:
        stop.set()
        await task
