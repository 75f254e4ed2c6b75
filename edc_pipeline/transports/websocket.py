"""Frames over a websocket: connect, listen, notice death, connect again. Knows no vendor."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from edc_pipeline.transports.backoff import Backoff
from edc_pipeline.transports.contract import GaveUp, Heard, Listener


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to connect and what to bear. Every limit has its unit in its name."""

    url: str
    stale_after_s: float = 60.0  # no frame of any kind for so long: dead
    max_frame_bytes: int = 1 << 20
    open_timeout_s: float = 10.0
    close_timeout_s: float = 5.0
    # Our own pings find a half-open connection even where the vendor is silent by custom.
    ping_every_s: float = 20.0
    ping_timeout_s: float = 20.0
    fatal_statuses: frozenset[int] = frozenset({401, 403})
    tls: ssl.SSLContext | None = None  # None: the platform's trust store, for wss


async def keep_connected(
    endpoint: Endpoint,
    listener: Listener,
    *,
    stop: asyncio.Event,
    backoff: Backoff | None = None,
    clock: Callable[[], int] = time.time_ns,
) -> None:
    """Stay connected until `stop` is set. `GaveUp` when no reconnect will help.

    After `stop` the connection is closed properly, and what had arrived by then is still heard.
    """
    backoff = backoff or Backoff()
    while not stop.is_set():
        reason = await _one_connection(endpoint, listener, stop, backoff, clock)
        listener.closed(reason)
        if not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), backoff.next_wait_s())


async def _one_connection(
    endpoint: Endpoint,
    listener: Listener,
    stop: asyncio.Event,
    backoff: Backoff,
    clock: Callable[[], int],
) -> str:
    """One connection from handshake to end; returns why it ended. Never shows the URL: it may
    carry a key."""
    try:
        connection = await _connect(endpoint, stop)
    except InvalidStatus as error:
        status = error.response.status_code
        if status in endpoint.fatal_statuses:
            reason = f"the vendor answered HTTP {status} to the handshake"
            listener.closed(reason)
            raise GaveUp(reason) from None
        return f"HTTP {status} at the handshake"
    except InvalidURI:
        raise GaveUp("the address is not a websocket address") from None
    except (OSError, TimeoutError, InvalidHandshake) as error:
        return f"can't connect: {_named(error)}"
    if connection is None:
        return "stopped while connecting"
    conversation = _Conversation(connection, listener, backoff, clock)
    watchers = [
        asyncio.create_task(_close_when_stopped(connection, stop)),
        asyncio.create_task(_close_when_stale(conversation, endpoint.stale_after_s)),
    ]
    try:
        return await conversation.hold()
    finally:
        for watcher in watchers:
            watcher.cancel()
        await connection.close()
        await asyncio.gather(*watchers, return_exceptions=True)


async def _connect(endpoint: Endpoint, stop: asyncio.Event) -> ClientConnection | None:
    """Connect, or None if `stop` is set meanwhile: a slow handshake must not hold up a drain."""
    opening = asyncio.ensure_future(
        connect(
            endpoint.url,
            ssl=endpoint.tls if endpoint.url.startswith("wss:") else None,
            max_size=endpoint.max_frame_bytes,
            open_timeout=endpoint.open_timeout_s,
            close_timeout=endpoint.close_timeout_s,
            ping_interval=endpoint.ping_every_s,
            ping_timeout=endpoint.ping_timeout_s,
            # Inflating costs more than loopback or a data centre's line saves.
            compression=None,
            user_agent_header="edc_pipeline",
        )
    )
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if opening.done():
            return opening.result()
        return None
    finally:
        stopping.cancel()
        if not opening.done():
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)


class _Conversation:
    """What is said on one connection."""

    def __init__(
        self,
        connection: ClientConnection,
        listener: Listener,
        backoff: Backoff,
        clock: Callable[[], int],
    ) -> None:
        self.connection = connection
        self.last_heard_s = time.monotonic()
        self.ended_by_us = ""
        self._listener = listener
        self._backoff = backoff
        self._clock = clock

    async def hold(self) -> str:
        try:
            for message in self._listener.opened():
                await self.connection.send(message)
            while True:
                payload = await self.connection.recv(decode=False)
                await self._take(payload, self._clock())
        except ConnectionClosed as closed:
            return self.ended_by_us or _why(closed)

    async def _take(self, payload: bytes, received_at: int) -> None:
        self.last_heard_s = time.monotonic()
        heard: Heard = self._listener.frame(payload, received_at)
        if heard.data:
            self._backoff.delivered()
        if heard.give_up:
            await self.connection.close()
            self._listener.closed(heard.give_up)
            raise GaveUp(heard.give_up)
        if heard.reconnect:
            await self.end(heard.reconnect)
        for reply in heard.replies:
            await self.connection.send(reply)
        await self._listener.room()

    async def end(self, reason: str) -> None:
        self.ended_by_us = self.ended_by_us or reason
        await self.connection.close()


async def _close_when_stopped(connection: ClientConnection, stop: asyncio.Event) -> None:
    await stop.wait()
    # recv() goes on handing out what had arrived before it tells that the connection is closed.
    await connection.close()


async def _close_when_stale(conversation: _Conversation, stale_after_s: float) -> None:
    while True:
        silent_s = time.monotonic() - conversation.last_heard_s
        if silent_s >= stale_after_s:
            await conversation.end(f"silent for {silent_s:.0f} s")
            return
        await asyncio.sleep(stale_after_s - silent_s)


def _why(closed: ConnectionClosed) -> str:
    frame = closed.rcvd or closed.sent
    if frame is None:
        return "the connection was cut without a close frame"
    return f"closed with code {frame.code}{f': {frame.reason[:100]}' if frame.reason else ''}"


def _named(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{type(error).__name__}: {text}"[:200]
