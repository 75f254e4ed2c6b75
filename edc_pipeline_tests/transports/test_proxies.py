"""Through real proxies on this machine to a real server, TLS and all: CONNECT over plain HTTP and
over TLS, SOCKS5 with a name and a password. The vendor's TLS goes through the proxy, not to it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import pytest

from edc_pipeline_tests.transports.fake_server import (
    Recorder,
    Tls,
    kept,
    raw_server,
    run,
    until,
)
from edc_pipeline_tests.transports.test_handshake import serve_one

NAME, WORD = "me", "hush-7d1c"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
# The greeting: (client) → where it wants to go and how to say that it is there; None: refused.
Greeting = Callable[[Streams], Awaitable[tuple[str, int] | None]]


@asynccontextmanager
async def proxy(greet: Greeting, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A proxy that pumps bytes both ways; yields its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wanted = await greet((reader, writer))
        if wanted is None:
            writer.close()
            return
        there = await asyncio.open_connection(*wanted)
        for ends in ((reader, there[1]), (there[0], writer)):
            task = asyncio.create_task(pump(*ends))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for task in list(tasks):
            task.cancel()


def http_proxy(asked: list[bytes]) -> Greeting:
    async def greet(client: Streams) -> tuple[str, int] | None:
        request = await client[0].readuntil(b"\r\n\r\n")
        asked.append(request)
        host, _, port = request.split(b" ")[1].decode().rpartition(":")
        client[1].write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return host, int(port)

    return greet


def socks5_proxy(asked: list[bytes]) -> Greeting:
    """RFC 1928 and 1929: a name and a password are asked for."""

    async def greet(client: Streams) -> tuple[str, int] | None:
        reader, writer = client
        _, methods = await reader.readexactly(2)
        assert 2 in await reader.readexactly(methods)
        writer.write(b"\x05\x02")
        await reader.readexactly(1)
        name = await reader.readexactly((await reader.readexactly(1))[0])
        word = await reader.readexactly((await reader.readexactly(1))[0])
        asked.append(name + b":" + word)
        if word != WORD.encode():
            writer.write(b"\x01\x01")
            return None
        writer.write(b"\x01\x00")
        _, command, _, kind = await reader.readexactly(4)
        assert command == 1
        if kind == 1:
            host = ".".join(map(str, await reader.readexactly(4)))
        else:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        port = int.from_bytes(await reader.readexactly(2), "big")
        writer.write(b"\x05\x00\x00\x01" + bytes(4) + b"\x00\x00")
        return host, port

    return greet


@pytest.fixture(autouse=True)
def _no_other_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "socks_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("kind", ["http", "https", "socks5"])
@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
def test_the_vendor_is_reached_through_a_proxy(
    kind: str, secure: bool, tls: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []
    # A proxy over TLS is trusted as any server is.
    monkeypatch.setenv("SSL_CERT_FILE", str(tls.certificate))
    greet = socks5_proxy(asked) if kind == "socks5" else http_proxy(asked)

    async def scenario() -> None:
        recorder = Recorder()
        context = tls.server if kind == "https" else None
        async with (
            raw_server(serve_one, tls=tls.server if secure else None) as url,
            proxy(greet, context) as port,
        ):
            variable = "socks_proxy" if kind == "socks5" else "https_proxy"
            monkeypatch.setenv(variable, f"{kind}://{NAME}:{WORD}@127.0.0.1:{port}")
            limits = {"tls": tls.client()} if secure else {}
            async with kept(url, recorder, **limits):
                await until(lambda: recorder.frames == [b"data"])
            vendor = urlsplit(url).netloc.encode()
            assert len(asked) == 1
            if kind == "socks5":
                assert asked == [f"{NAME}:{WORD}".encode()]
            else:
                assert asked[0].startswith(b"CONNECT " + vendor + b" HTTP/1.1\r\n")
                assert b"Proxy-Authorization: Basic" in asked[0]

    run(scenario)


def test_a_proxy_that_refuses_is_told_without_its_password(
    tls: Tls, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[bytes] = []
    wrong = "not-the-word"

    async def scenario() -> None:
        recorder = Recorder()
        async with proxy(socks5_proxy(asked)) as port:
            monkeypatch.setenv("socks_proxy", f"socks5://{NAME}:{wrong}@127.0.0.1:{port}")
            async with kept("wss://vendor.example/", recorder, tls=tls.client()):
                await until(lambda: len(recorder.closings) > 1)
        assert asked
        told = " ".join(recorder.closings) + caplog.text
        assert "proxy" in told.lower()
        assert wrong not in told

    run(scenario)
