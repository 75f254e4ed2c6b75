"""Frames that others bring: an HTTP listener with one route a source. Knows no vendor.

Plain HTTP/1.1, `POST /<source>` or `/<source>/<more>`. Whoever reaches the port may send anything,
so all is bounded: connections, requests under way, line and header sizes, body, and the time that
each may take. An answer is a status and its phrase, and nothing of the request. Nothing of a
request is logged either, for its path or a header may be the secret.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import math
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, Protocol

from aiohttp import web

log = logging.getLogger(__name__)

_LINE_BYTES: Final = 4096
_HEADER_BYTES: Final = 8190
_HEADERS: Final = 64
# Connections may wait while so many times fewer requests are being answered.
_CONNECTIONS_PER_REQUEST: Final = 4
# After an answer, so long for the rest of a body that nobody wants, lest a reset eat the answer.
_LINGERS_S: Final = 1.0

# aiohttp tells its faults with the bytes that made them, and those may hold a secret.
_SILENT: Final = logging.getLogger(f"{__name__}.silent")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


class NoWebhookPort(Exception):
    """The listener can't listen; the message says where and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    body_bytes: int = 256 << 10
    at_once: int = 64
    read_s: float = 5.0
    stop_s: float = 5.0  # for those under way at the end


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came."""

    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)  # names in lower case
    source: str  # the caller's address; empty where a proxy does not tell it
    query: Mapping[str, str] = field(repr=False)
    path: str = field(repr=False)  # behind the source's own


@dataclass(frozen=True, slots=True)
class Answer:
    status: HTTPStatus
    retry_after_s: float = 0.0


class Route(Protocol):
    """One source's other end."""

    def refuses(self, source: str) -> Answer | None:
        """Asked before the body is read."""
        ...

    async def called(self, call: Call) -> Answer:
        """A whole request arrived. Must not raise."""
        ...

    def refused(self, why: str) -> None:
        """The listener itself refused a call; `why` comes from a short list."""
        ...


def listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise NoWebhookPort(
            f"webhook.port: can't listen on {host}:{port}: {_in_words(error)};"
            " stop what listens there, or set another port"
        ) from None


def _in_words(error: OSError) -> str:
    """asyncio and socket add the address to some, in brackets."""
    return (error.strerror or str(error)).partition(" (")[0]


class Listener:
    """Serves its routes, which may change meanwhile, from `start` to `stop`."""

    def __init__(
        self, limits: Limits, *, proxy_header: str = "", proxies: tuple[str, ...] = ()
    ) -> None:
        """`proxy_header`: where one of `proxies` tells the address of the caller before it."""
        self.routes: dict[str, Route] = {}
        self.awaited: set[str] = set()  # sources whose routes will come: told to call again
        self.strays = 0  # calls to no source of ours, or that were no HTTP
        self._limits = limits
        self._proxy_header = proxy_header
        self._proxies = frozenset(proxies)
        self._runner: web.ServerRunner | None = None
        self._under_way = 0
        self._stopping = False

    async def start(self, listening: socket.socket) -> None:
        server = _Server(
            self._serve,
            self._limits.at_once * _CONNECTIONS_PER_REQUEST,
            self._count_stray,
            # Also ends a connection whose first head does not come, or comes byte by byte.
            keepalive_timeout=self._limits.read_s,
            lingering_time=_LINGERS_S,
            max_line_size=_LINE_BYTES,
            max_field_size=_HEADER_BYTES,
            max_headers=_HEADERS,
            auto_decompress=False,  # a signature is over the bytes as they came; and bombs
            access_log=None,
            logger=_SILENT,
        )
        self._runner = web.ServerRunner(server, shutdown_timeout=self._limits.stop_s)
        await self._runner.setup()
        await web.SockSite(self._runner, listening).start()

    async def stop(self) -> None:
        """Take no more calls, and answer those under way."""
        self._stopping = True
        if self._runner is not None:
            await self._runner.cleanup()

    def _count_stray(self) -> None:
        self.strays += 1

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._under_way >= self._limits.at_once:
            self._tell(request, "too many at once")
            return _response(Answer(HTTPStatus.SERVICE_UNAVAILABLE, 1.0), close=True)
        self._under_way += 1
        try:
            return await self._answer(request)
        except Exception as error:  # whatever it is, the caller learns nothing of it
            log.error("a webhook call failed: %s", type(error).__name__)
            return _response(Answer(HTTPStatus.INTERNAL_SERVER_ERROR), close=True)
        finally:
            self._under_way -= 1

    def _tell(self, request: web.BaseRequest, why: str) -> None:
        route = self._route(request)[0]
        if route is None:
            self.strays += 1
        else:
            route.refused(why)

    def _route(self, request: web.BaseRequest) -> tuple[Route | None, str, str]:
        name, _, more = request.path.lstrip("/").partition("/")
        return self.routes.get(name), name, more

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        route, name, more = self._route(request)
        if self._stopping or (route is None and name in self.awaited):
            return _response(Answer(HTTPStatus.SERVICE_UNAVAILABLE, 1.0), close=True)
        if route is None:
            self.strays += 1
            return _response(Answer(HTTPStatus.NOT_FOUND), close=True)
        if request.method != "POST":
            route.refused("not a POST")
            return _response(Answer(HTTPStatus.METHOD_NOT_ALLOWED), close=True, Allow="POST")
        source = self._source(request)
        refusal = route.refuses(source)
        if refusal is not None:
            return _response(refusal, close=True)
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            route.refused("compressed body")
            return _response(Answer(HTTPStatus.UNSUPPORTED_MEDIA_TYPE), close=True)
        try:
            body = await self._body(request)
        except TimeoutError:
            route.refused("body too slow")
            return _response(Answer(HTTPStatus.REQUEST_TIMEOUT), close=True)
        except (web.PayloadAccessError, web.RequestPayloadError, ConnectionError):
            route.refused("body cut short")
            return _response(Answer(HTTPStatus.BAD_REQUEST), close=True)
        if body is None:
            route.refused("body too large")
            return _response(Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE), close=True)
        call = Call(body, _headers(request), source, dict(request.query), more)
        return _response(await route.called(call))

    async def _body(self, request: web.BaseRequest) -> bytes | None:
        """None: it is larger than allowed."""
        most = self._limits.body_bytes
        if (request.content_length or 0) > most:
            return None
        body = bytearray()
        async with asyncio.timeout(self._limits.read_s):
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > most:
                    return None
        return bytes(body)

    def _source(self, request: web.BaseRequest) -> str:
        """The caller's address. A proxy's word counts only if the proxy is one of ours, and only
        what it added itself: the last in the list."""
        peer = _plain(request.remote or "")
        if not self._proxy_header or peer not in self._proxies:
            return peer
        told = request.headers.getall(self._proxy_header, [])
        return _plain(told[-1].rpartition(",")[2].strip()) if told else ""


class _Server(web.Server):
    def __init__(self, serve: Any, most: int, count_stray: Any, **rules: Any) -> None:
        super().__init__(serve, **rules)
        self._rules = rules
        self.most = most
        self.count_stray = count_stray

    def __call__(self) -> web.RequestHandler:
        return _Conversation(self, loop=asyncio.get_running_loop(), **self._rules)


class _Conversation(web.RequestHandler):
    """One connection; aiohttp's, but for the bound on their number and for what it says."""

    __slots__ = ("_server",)

    def __init__(self, server: _Server, **rules: Any) -> None:
        super().__init__(server, **rules)
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if len(self._server.connections) > self._server.most:
            self._server.count_stray()
            self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """aiohttp's answer would hold its own words about the bytes."""
        del request, exc, message
        self._server.count_stray()
        return _response(Answer(HTTPStatus(status)), close=True)


def _headers(request: web.BaseRequest) -> dict[str, str]:
    """A header that comes twice is one list, as HTTP has it: no second signature is passed over."""
    found: dict[str, str] = {}
    for spelled, value in request.headers.items():
        name = spelled.lower()
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _plain(address: str) -> str:
    """An address in one spelling; empty for what is none."""
    with suppress(ValueError):
        known = ipaddress.ip_address(address.strip("[]"))
        return str(getattr(known, "ipv4_mapped", None) or known)
    return ""


def _response(answer: Answer, *, close: bool = False, **headers: str) -> web.Response:
    headers["Server"] = "edc"  # aiohttp would tell its version and Python's
    if answer.retry_after_s:
        headers["Retry-After"] = str(max(1, math.ceil(answer.retry_after_s)))
    text = f"{answer.status.value} {answer.status.phrase}\n"
    response = web.Response(status=answer.status, text=text, headers=headers)
    if close:
        response.force_close()
    return response
