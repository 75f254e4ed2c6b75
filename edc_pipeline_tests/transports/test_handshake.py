"""What may happen before a connection stands: refusals, rubbish, certificates, proxies, secrets."""

from __future__ import annotations

import asyncio
import email.utils
import logging
import socket
import time

import pytest

from edc_pipeline.transports.address import NotAnAddress, read_address
from edc_pipeline.transports.contract import GaveUp
from edc_pipeline.transports.handshake import LONGEST_RETRY_AFTER_S, retry_after_s
from edc_pipeline.transports.websocket import Endpoint, keep_connected
from edc_pipeline_tests.transports.fake_server import (
    TEXT,
    Recorder,
    Tls,
    accepting,
    frame,
    kept,
    quick,
    raw_server,
    run,
    until,
    until_close,
)

SECRET = "s3cr3t-key"


async def serve_one(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
) -> None:
    writer.write(frame(TEXT, b"data"))
    await until_close(reader)


async def speak_plainly(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    await writer.drain()


def answering(answer: bytes) -> Recorder:
    """What a listener is told when every handshake is answered with these bytes: two tries."""
    recorder = Recorder()

    async def script(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        writer.write(answer.replace(b"ECHO", request))
        await writer.drain()

    async def scenario() -> None:
        async with raw_server(script, hands=False) as url:
            async with kept(f"{url}?token={SECRET}", recorder):
                await until(lambda: len(recorder.closings) >= 2)
            assert recorder.opens == 0

    run(scenario)
    return recorder


NOT_A_WEBSOCKET = "can't connect: the answer to the handshake is not a websocket's"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"", "can't connect: cut during the handshake"),
        (b"HTTP/1.1 101 Switch", "can't connect: cut during the handshake"),
        (b"220 smtp.example.com ESMTP\r\n\r\n", NOT_A_WEBSOCKET),
        (b"\x00\xff\r\n\r\n", NOT_A_WEBSOCKET),
        (b"ECHO", NOT_A_WEBSOCKET),
        (b"x" * 40_000, NOT_A_WEBSOCKET),
        (b"HTTP/1.1 200 OK\r\n\r\nECHO", "HTTP 200 at the handshake"),
        (b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\n\r\n", "HTTP 302 at the handshake"),
        (b"HTTP/1.0 502 Bad Gateway\r\n\r\n", "HTTP 502 at the handshake"),
        # Cloudflare's own: "web server is down".
        (b"HTTP/1.1 521 \r\n\r\n", "HTTP 521 at the handshake"),
        (
            b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: d3Jvbmc=\r\n\r\n",
            "can't connect: a wrong Sec-WebSocket-Accept in the answer to the handshake",
        ),
        (
            b"HTTP/1.1 101 S\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
            "can't connect: a wrong Upgrade in the answer to the handshake",
        ),
    ],
)
def test_a_wrong_answer_is_told_and_tried_again(answer: bytes, told: str) -> None:
    assert set(answering(answer).closings) <= {told, "stopped while connecting"}


def test_an_extension_that_was_not_offered_is_refused() -> None:
    recorder = Recorder()

    async def script(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        right = accepting(await reader.readuntil(b"\r\n\r\n"))
        extension = b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        writer.write(right[:-2] + extension + frame(TEXT, b"data"))
        await reader.read()

    async def scenario() -> None:
        async with raw_server(script, hands=False) as url, kept(url, recorder):
            await until(lambda: bool(recorder.closings))
        assert recorder.closings[0].startswith("can't connect: a wrong Sec-WebSocket-Extensions")
        assert recorder.frames == []

    run(scenario)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_for_good_is_one_try(status: int) -> None:
    tries = 0

    async def script(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        nonlocal tries
        tries += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %d No\r\n\r\n" % status)

    async def scenario() -> None:
        async with raw_server(script, hands=False) as url:
            with pytest.raises(GaveUp, match=str(status)) as refused:
                await keep_connected(
                    Endpoint(f"{url}?token={SECRET}"), Recorder(), stop=asyncio.Event()
                )
            assert SECRET not in str(refused.value)
            await asyncio.sleep(0.1)
        assert tries == 1

    run(scenario)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_obeyed(status: int, as_date: bool) -> None:
    tried: list[float] = []

    async def script(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        tried.append(time.monotonic())
        await reader.readuntil(b"\r\n\r\n")
        # An HTTP date has whole seconds: two of them are at least one.
        later = email.utils.formatdate(time.time() + 2, usegmt=True) if as_date else "1"
        writer.write(b"HTTP/1.1 %d Later\r\nretry-after: %s\r\n\r\n" % (status, later.encode()))

    async def scenario() -> None:
        recorder = Recorder()
        async with raw_server(script, hands=False) as url, kept(url, recorder):
            await until(lambda: len(tried) == 2)
        assert 0.9 <= tried[1] - tried[0] <= 2.5
        assert recorder.closings[0] == f"HTTP {status} at the handshake"

    run(scenario)


def test_retry_after_has_a_bound_and_a_stop_does_not_wait_for_it() -> None:
    assert retry_after_s(b"HTTP/1.1 429 x\r\nRetry-After: 86400\r\n", 0) == LONGEST_RETRY_AFTER_S
    for nonsense in (b"soon", b"-5", b"", b"99999999999999999999"):
        assert retry_after_s(b"HTTP/1.1 429 x\r\nRetry-After: " + nonsense + b"\r\n", 0) == 0
    began = time.monotonic()
    answered = answering_then_stop()
    assert time.monotonic() - began < 3
    assert answered.closings == ["HTTP 429 at the handshake"]


def answering_then_stop() -> Recorder:
    recorder = Recorder()

    async def script(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 429 Later\r\nRetry-After: 60\r\n\r\n")

    async def scenario() -> None:
        async with raw_server(script, hands=False) as url, kept(url, recorder):
            await until(lambda: bool(recorder.closings))

    run(scenario)
    return recorder


def test_no_storm_of_tries_at_a_vendor_that_refuses() -> None:
    tries = 0

    async def script(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        nonlocal tries
        tries += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Later\r\n\r\n")

    async def scenario() -> None:
        stop, backoff = asyncio.Event(), quick()
        backoff.first_s, backoff.cap_s = 0.05, 30.0
        async with raw_server(script, hands=False) as url:
            task = asyncio.create_task(
                keep_connected(Endpoint(url), Recorder(), stop=stop, backoff=backoff)
            )
            await asyncio.sleep(1.2)
            stop.set()
            await task
        # At least half of 0.05 · (1 + 2 + 4 + …): 6 tries take 0.8 s or more.
        assert 3 <= tries <= 6

    run(scenario)


# TLS


def test_a_trusted_certificate_works(tls: Tls) -> None:
    async def scenario() -> None:
        recorder = Recorder()
        trusting = tls.client()
        async with raw_server(serve_one, tls=tls.server) as url, kept(url, recorder, tls=trusting):
            await until(lambda: recorder.frames == [b"data"])

    run(scenario)


def test_a_wrong_certificate_is_told_in_words(tls: Tls, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        # Not trusted; trusted, but another host's; no TLS at all on the other side.
        async with raw_server(serve_one, tls=tls.server) as url:
            unknown = Recorder()
            async with kept(url, unknown):
                await until(lambda: len(unknown.closings) >= 2)
            other = Recorder()
            trusting = tls.client()
            async with kept(url.replace("127.0.0.1", "localhost"), other, tls=trusting):
                await until(lambda: len(other.closings) >= 2)
        async with raw_server(speak_plainly, hands=False) as url:
            plain = Recorder()
            async with kept(url.replace("ws:", "wss:"), plain):
                await until(lambda: len(plain.closings) >= 1)
        told = "can't connect: the server's certificate is not trusted: "
        assert unknown.closings[0] == f"{told}self-signed certificate"
        assert other.closings[0].lower().startswith(f"{told}hostname mismatch")
        assert plain.closings[0].startswith("can't connect: ")
        assert [*unknown.frames, *other.frames, *plain.frames] == []

    with caplog.at_level(logging.WARNING):
        run(scenario)
    ours = [record for record in caplog.records if record.name != "asyncio"]
    assert ours == []


# Secrets and addresses


def test_nothing_that_is_told_or_logged_shows_the_address(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(0):
        caplog.set_level(1, "picows.client")
        told = answering(b"ECHO").closings + answering(b"HTTP/1.1 404 ECHO\r\n\r\n").closings
    assert not [line for line in (*told, caplog.text) if SECRET in line]


@pytest.mark.parametrize(
    "url",
    [
        "https://vendor.example",
        "wss://",
        "wss:///path",
        "wss://vendor.example:s3cr3t-key/",
        "wss://vendor.example/?a=1#s3cr3t-key",
        "wss://vendor.example/?s3cr3t-key HTTP/1.1",
        "",
    ],
)
def test_a_wrong_address_ends_the_feed_without_showing_it(url: str) -> None:
    async def scenario() -> None:
        with pytest.raises(GaveUp, match="not a websocket address") as refused:
            await keep_connected(Endpoint(url), Recorder(), stop=asyncio.Event())
        assert SECRET not in str(refused.value)
        assert refused.value.__cause__ is None

    run(scenario)


def test_name_and_password_go_into_a_header_and_not_into_the_host() -> None:
    address = read_address("wss://me:p%40ss@vendor.example:8443/a?b=c")
    assert address.url == "wss://vendor.example:8443/a?b=c"
    assert address.headers == (("Authorization", "Basic bWU6cEBzcw=="),)
    assert read_address("ws://[::1]:80/").url == "ws://[::1]:80/"
    assert read_address("wss://bücher.example/").url == "wss://xn--bcher-kva.example/"
    with pytest.raises(NotAnAddress):
        read_address("ftp://vendor.example")


# Proxies


def test_a_proxy_from_the_environment_is_gone_through(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    async def tunnel(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        if number == 0:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            return
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        writer.write(accepting(await reader.readuntil(b"\r\n\r\n")))
        await serve_one(reader, writer, number)

    async def scenario() -> None:
        recorder = Recorder()
        async with raw_server(tunnel, hands=False) as proxy:
            there = proxy.replace("ws://", f"http://me:{SECRET}@")
            monkeypatch.setenv("http_proxy", there)
            monkeypatch.delenv("no_proxy", raising=False)
            async with kept("ws://vendor.example:1234/", recorder):
                await until(lambda: recorder.frames == [b"data"])
        assert asked[1].startswith(b"CONNECT vendor.example:1234 HTTP/1.1\r\n")
        assert b"Proxy-Authorization: Basic" in asked[1]
        assert "407" in recorder.closings[0]
        assert SECRET not in recorder.closings[0]

    run(scenario)


def test_no_proxy_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "proxy.example:3128")
    monkeypatch.setenv("no_proxy", "inside.example")
    assert read_address("wss://vendor.example/").proxy == "http://proxy.example:3128"
    assert read_address("wss://inside.example/").proxy is None


def test_the_second_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        recorder = Recorder()
        async with raw_server(serve_one) as url:
            port = int(url.rsplit(":", 1)[1].strip("/"))
            loop = asyncio.get_running_loop()

            async def found(*_: object, **__: object) -> list[object]:
                # Nothing listens on port 1.
                return [
                    (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", p)) for p in (1, port)
                ]

            monkeypatch.setattr(loop, "getaddrinfo", found)
            async with kept("ws://two.example/", recorder):
                await until(lambda: recorder.frames == [b"data"])
        assert recorder.closings == ["stopped"]

    run(scenario)
