"""From an endpoint to a connection that stands, or the reason why there is none."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol

from picows import (
    WSHandshakeError,
    WSInvalidHeaderError,
    WSUpgradeRequest,
    WSUpgradeResponse,
    ws_connect,
)
from python_socks import ProxyError

from edc_pipeline.transports.address import Address, read_address
from edc_pipeline.transports.conversation import BUFFER_BYTES, TLS_BYTES, Conversation
from edc_pipeline.transports.endpoint import Endpoint
from edc_pipeline.transports.retry_after import wait_asked_s
from edc_pipeline.transports.words import named

# A vendor that asks for more is tried again after so long all the same.
LONGEST_RETRY_AFTER_S: Final = 300.0
_LET_GO_TURNS: Final = 100

# picows logs each connection, and at its own debug level the request line with the key in it. We
# tell what happened ourselves; a logger outside the tree can't be turned up by a configuration.
_SILENT: Final = logging.Logger("picows", logging.CRITICAL + 1)


class NoConnection(Exception):
    """The message says why, without the address."""

    def __init__(self, reason: str, status: int = 0, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.status = status  # of HTTP, where there was an answer
        self.wait_s = wait_s  # the vendor asked us to stay away for so long


class _WsUrl(Protocol):
    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...


async def reach(
    endpoint: Endpoint, conversation: Conversation, stop: asyncio.Event, clock: Callable[[], int]
) -> bool:
    """Connect: False if `stop` was set meanwhile. A slow handshake must not hold up a drain."""
    opening = asyncio.ensure_future(_open(endpoint, conversation, clock))
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if opening.done():
            opening.result()
            return True
        return False
    finally:
        stopping.cancel()
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)


async def _open(endpoint: Endpoint, conversation: Conversation, clock: Callable[[], int]) -> None:
    address = read_address(endpoint.url, endpoint.query)
    dialled: list[socket.socket] = []
    stands = False
    try:
        async with asyncio.timeout(endpoint.open_timeout_s):
            stands = await _shake_hands(endpoint, address, conversation, dialled)
    except WSHandshakeError as error:
        raise _refusal(error, clock()) from None
    except (OSError, TimeoutError, ProxyError) as error:
        raise NoConnection(f"can't connect: {named(error)}") from None
    except Exception as error:
        # Whatever a library makes of a strange answer, it must not end the other feeds. Its text
        # may hold the address.
        raise NoConnection(f"can't connect: {type(error).__name__}") from None
    finally:
        if not stands:
            await _let_go(dialled)
    if not stands:
        raise NoConnection("can't connect: cut during the handshake")


async def _shake_hands(
    endpoint: Endpoint,
    address: Address,
    conversation: Conversation,
    dialled: list[socket.socket],
) -> bool:
    def accept(request: WSUpgradeRequest, response: WSUpgradeResponse) -> Conversation:
        if "Sec-WebSocket-Extensions" in response.headers:
            # We offer none: inflating costs more than a data centre's line saves.
            raise WSInvalidHeaderError("", "Sec-WebSocket-Extensions")
        return conversation

    async def dial(target: _WsUrl) -> socket.socket:
        dialled.append(await _dial(target.host, target.port, endpoint.open_timeout_s))
        return dialled[-1]

    more: dict[str, Any] = {}
    if address.secure:
        # Reading the trust store takes 10 to 40 ms: not on the event loop.
        more["ssl_context"] = endpoint.tls or await asyncio.to_thread(ssl.create_default_context)
        more["ssl_incoming_bio_size"] = TLS_BYTES
        more["ssl_shutdown_timeout"] = endpoint.close_timeout_s
    _, listener = await ws_connect(
        accept,
        address.url,
        socket_factory=dial,
        proxy=address.proxy,
        extra_headers=(("User-Agent", "edc_pipeline"), *address.headers),
        max_redirects=0,
        max_frame_size=endpoint.max_frame_bytes,
        read_buffer_init_size=BUFFER_BYTES,
        websocket_handshake_timeout=None,
        enable_auto_pong=False,  # each frame passes through our hands
        logger_name=_SILENT,
        **more,
    )
    # picows reports a connection cut before the answer as a success without a listener.
    return listener is conversation


async def _dial(host: str, port: int, timeout_s: float) -> socket.socket:
    """A connected socket. Each address gets its share of the time, so that one that swallows
    packets does not use up what the others need."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failed: OSError = OSError("the name has no address")
    for family, kind, protocol, _, where in found:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            async with asyncio.timeout(timeout_s / len(found)):
                await loop.sock_connect(sock, where)
            return sock
        except OSError as error:  # TimeoutError is one
            sock.close()
            failed = error
        except BaseException:
            sock.close()
            raise
    raise failed


async def _let_go(dialled: list[socket.socket]) -> None:
    """picows leaves the transport of a handshake that was given up open; the end of the stream
    makes it close itself."""
    for sock in dialled:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        for _ in range(_LET_GO_TURNS):
            if sock.fileno() < 0:
                break
            await asyncio.sleep(0.005)
        sock.close()


def _refusal(error: WSHandshakeError, now_ns: int) -> NoConnection:
    """In our own words: picows' quote the answer, and an answer may echo the address."""
    status = _status(error.raw_header or b"")
    if status not in {0, 101}:
        wait_s = retry_after_s(error.raw_header or b"", now_ns) if status in {429, 503} else 0.0
        return NoConnection(f"HTTP {status} at the handshake", status, wait_s)
    if isinstance(error, WSInvalidHeaderError):
        return NoConnection(f"can't connect: a wrong {error.name} in the answer to the handshake")
    return NoConnection("can't connect: the answer to the handshake is not a websocket's")


def _status(answer: bytes) -> int:
    # By our own hand: picows knows neither HTTP/1.0 nor statuses such as Cloudflare's 521.
    match = re.match(rb"HTTP/1\.[01] (\d{3})(?:\s|$)", answer)
    return int(match[1]) if match else 0


def retry_after_s(answer: bytes, now_ns: int) -> float:
    match = re.search(rb"(?im)^retry-after:[ \t]*(.*?)[ \t]*\r?$", answer)
    if not match:
        return 0.0
    text = match[1].decode("ascii", "replace")
    return wait_asked_s(text, now_ns, at_most_s=LONGEST_RETRY_AFTER_S)
