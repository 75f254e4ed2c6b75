"""The metrics endpoint: Prometheus text over HTTP, from a thread and an event loop of its own.

A scrape reads the collector's plain counters as they stand, without a lock and without a call on
the collector's loop: each is one number that one thread writes, and a scrape that falls between
two of them is off by a frame. A peer may send `_REQUEST_BYTES` within `_PATIENCE_S`; whatever it
sends, it gets an answer or is cut off, and at most `_AT_ONCE` are served at a time.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from edc_pipeline.capture.refused_calls import RefusedCalls

log = logging.getLogger(__name__)

_AT_ONCE: Final = 16
_PATIENCE_S: Final = 5.0
_REQUEST_BYTES: Final = 8 << 10


class NoMetricsPort(Exception):
    """The endpoint can't listen; the message says where and why."""


@contextmanager
def metrics_endpoint(host: str, port: int | None, registry: CollectorRegistry) -> Iterator[None]:
    """Serve the registry at `/metrics` meanwhile; nothing where no port is set."""
    if not port:
        yield
        return
    listener = _listen(host, port)
    served = _Served(listener, registry)
    thread = threading.Thread(target=served.run, name="metrics", daemon=True)
    thread.start()
    log.info("metrics at http://%s:%d/metrics", host, port)
    try:
        yield
    finally:
        served.end()
        thread.join(_PATIENCE_S)
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_AT_ONCE)
    except OSError as error:
        raise NoMetricsPort(
            f"capture.metrics_port: can't listen on {host}:{port}: {error.strerror or error};"
            " set another port, or 0 for none"
        ) from None


class _Served:
    def __init__(self, listener: socket.socket, registry: CollectorRegistry) -> None:
        self._listener = listener
        self._registry = registry
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(RefusedCalls())
        self._ended = asyncio.Event()
        self._serving = 0

    def run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    def end(self) -> None:
        with suppress(RuntimeError):  # the loop is closed already
            self._loop.call_soon_threadsafe(self._ended.set)

    async def _serve(self) -> None:
        server = await asyncio.start_server(
            self._hear, sock=self._listener, limit=_REQUEST_BYTES, backlog=_AT_ONCE
        )
        async with server:
            await self._ended.wait()

    async def _hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._serving >= _AT_ONCE:
            writer.transport.abort()
            return
        self._serving += 1
        try:
            async with asyncio.timeout(_PATIENCE_S):
                writer.write(self._answer(await _request(reader)))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # it left, or dawdled
        finally:
            self._serving -= 1
            writer.transport.abort()

    def _answer(self, request: bytes | None) -> bytes:
        if request is None:
            return _reply(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        words, *lines = request.decode("latin-1").split("\r\n")
        match words.split(" "):
            case ["GET" | "HEAD" as method, target, version] if version.startswith("HTTP/1."):
                pass
            case [_, _, version] if version.startswith("HTTP/1."):
                return _reply(HTTPStatus.METHOD_NOT_ALLOWED, ("Allow", "GET, HEAD"))
            case _:
                return _reply(HTTPStatus.BAD_REQUEST)
        if target.partition("?")[0] != "/metrics":
            return _reply(HTTPStatus.NOT_FOUND)
        said = (line.partition(":") for line in lines)
        accept = next((v.strip() for k, _, v in said if k.strip().lower() == "accept"), "")
        try:
            encode, content_type = choose_encoder(accept)
            body = encode(self._registry)
        except Exception:
            log.exception("the metrics can't be told")
            return _reply(HTTPStatus.INTERNAL_SERVER_ERROR)
        answer = _reply(HTTPStatus.OK, ("Content-Type", content_type), body=body)
        return answer.removesuffix(body) if method == "HEAD" else answer


async def _request(reader: asyncio.StreamReader) -> bytes | None:
    """The request's head; None where it is too long. A body is never read."""
    try:
        return (await reader.readuntil(b"\r\n\r\n")).removesuffix(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        return None


def _reply(status: HTTPStatus, *more: tuple[str, str], body: bytes = b"") -> bytes:
    body = body or f"{status.value} {status.phrase}\n".encode()
    head = {"Content-Type": "text/plain; charset=utf-8", **dict(more)}
    head |= {"Content-Length": str(len(body)), "Connection": "close"}
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{k}: {v}" for k, v in head.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
