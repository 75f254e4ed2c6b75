"""A real websocket server that does what a test's script says, connection by connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from edc_pipeline.transports.contract import Heard

Script = Callable[[ServerConnection, int], Awaitable[None]]


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
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def opened(self) -> tuple[str, ...]:
        self.opens += 1
        return self.first_words

    def frame(self, payload: bytes, received_at: int) -> Heard:
        self.frames.append(payload)
        self.heard.set()
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
