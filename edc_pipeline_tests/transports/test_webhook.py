"""The listener's bounds, by what any client may send: nothing makes it hang, swell or talk."""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus

import pytest

from edc_pipeline.transports.webhook import Answer, Call, Limits, Listener, NoWebhookPort, listen
from edc_pipeline_tests import dice
from edc_pipeline_tests.capture.test_collector import until

LIMITS = Limits(body_bytes=1000, at_once=3, read_s=0.4)


class Source:
    """Takes everything; waits for `go` where that is set."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.why: Counter[str] = Counter()
        self.go = asyncio.Event()
        self.go.set()
        self.fails = False

    def refuses(self, source: str) -> Answer | None:
        return None

    async def called(self, call: Call) -> Answer:
        if self.fails:
            raise RuntimeError("the secret is hush")
        self.calls.append(call)
        await self.go.wait()
        return Answer(HTTPStatus.OK)

    def refused(self, why: str) -> None:
        self.why[why] += 1


@asynccontextmanager
async def listening(limits: Limits = LIMITS) -> AsyncIterator[tuple[Listener, Source, int]]:
    listener, source, port = Listener(limits), Source(), 0
    taken = listen("127.0.0.1", port)
    listener.routes["src"] = source
    await listener.start(taken)
    try:
        yield listener, source, taken.getsockname()[1]
    finally:
        source.go.set()
        await listener.stop()


async def say(port: int, *parts: bytes, pause_s: float = 0.0) -> bytes:
    """Send these bytes, and hear all until the other side closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    heard = b""
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause_s)
        while chunk := await asyncio.wait_for(reader.read(65_536), 10):
            heard += chunk
    except ConnectionError:
        pass
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    return heard


def request(
    body: bytes = b"hello", path: str = "/src", method: str = "POST", **headers: str
) -> bytes:
    head = {"Host": "x", "Content-Length": str(len(body)), "Connection": "close"} | headers
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in head.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 30)

    asyncio.run(bounded())


def test_the_raw_bytes_arrive_with_path_query_and_headers() -> None:
    body = b'\xff{"a" :1}\r\n'

    async def scenario() -> None:
        async with listening() as (_, source, port):
            told = request(body, "/src/a%2Fb/c?x=1&y=%20", **{"X-Sign": "s", "x-sign": "t"})
            assert (await say(port, told)).startswith(b"HTTP/1.1 200 OK\r\n")
            (call,) = source.calls
            assert (call.body, call.path, dict(call.query)) == (body, "a/b/c", {"x": "1", "y": " "})
            assert call.headers["x-sign"] == "s, t"
            assert call.source == "127.0.0.1"
            assert "hello" not in repr(call)

    run(scenario)


@pytest.mark.parametrize(
    ("sent", "status", "why"),
    [
        (request(b"x" * 1001), b"413", "body too large"),
        (request(b"", **{"Content-Length": "99999999999"}), b"413", "body too large"),
        (request(b"", method="GET"), b"405", "not a POST"),
        (request(b"x", **{"Content-Encoding": "gzip"}), b"415", "compressed body"),
        (request(b"x" * 9, **{"Content-Length": "10"}), b"408", "body too slow"),
        (request(b"x", path="/other"), b"404", ""),
        (request(b"x", path="/"), b"404", ""),
        (request(b"x", path="/src" + "a" * 9000), b"400", ""),
        (request(b"x", **{"X-Long": "a" * 9000}), b"400", ""),
        (request(b"x", **{f"X-{i}": "a" for i in range(100)}), b"400", ""),
        (b"\x16\x03\x01\x02\x00 hello hush\r\n\r\n", b"400", ""),
        (b"POST /src HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400", ""),
        (b"POST /src HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", b"400", ""),
        (request(b"zz\r\n", **{"Content-Length": "", "Transfer-Encoding": "chunked"}), b"400", ""),
    ],
)  # fmt: skip
def test_what_is_refused_is_refused_in_a_line(sent: bytes, status: bytes, why: str) -> None:
    async def scenario() -> None:
        async with listening() as (listener, source, port):
            heard = await say(port, sent)
            assert heard[9:12] == status, heard[:80]
            assert b"aiohttp" not in heard
            told = heard.partition(b"\r\n\r\n")[2]
            assert len(told) < 60
            assert b"hush" not in heard
            assert source.calls == []
            assert source.why[why] == 1 or (not why and listener.strays + source.why.total() >= 1)

    run(scenario)


def test_a_chunked_body_is_bounded_as_it_comes() -> None:
    async def scenario() -> None:
        async with listening() as (_, source, port):
            head = b"POST /src HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            chunk = b"190\r\n" + b"x" * 400 + b"\r\n"
            assert (await say(port, head, chunk, chunk, chunk, pause_s=0.02)).startswith(
                b"HTTP/1.1 413"
            )
            assert source.calls == []

    run(scenario)


def test_a_head_that_does_not_come_is_not_waited_for() -> None:
    async def scenario() -> None:
        async with listening() as (_, source, port):
            began = time.monotonic()
            dribble = [b"POST /src HTTP/1.1\r\n", *[b"X-A: b\r\n"] * 60]
            await say(port, *dribble, pause_s=0.05)
            assert await say(port) == b""
            assert source.calls == []
            # Both were cut off long before the dribble was out.
            assert time.monotonic() - began < 8

    run(scenario)


def test_connections_and_requests_under_way_are_bounded() -> None:
    async def scenario() -> None:
        async with listening() as (_, source, port):
            source.go.clear()
            slow = [asyncio.create_task(say(port, request())) for _ in range(LIMITS.at_once)]
            await until(lambda: len(source.calls) == LIMITS.at_once)
            heard = await say(port, request())
            assert heard.startswith(b"HTTP/1.1 503")
            assert b"Retry-After: 1" in heard
            assert source.why["too many at once"] == 1
            idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(9)]
            # One more than may wait is cut off at once.
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 0.3) == b""
            source.go.set()
            for each in await asyncio.gather(*slow):
                assert each.startswith(b"HTTP/1.1 200")
            for _, other in [*idle, (reader, writer)]:
                other.close()
            assert (await say(port, request())).startswith(b"HTTP/1.1 200")

    run(scenario)


def test_a_fault_of_ours_tells_the_caller_nothing() -> None:
    async def scenario() -> None:
        async with listening() as (_, source, port):
            source.fails = True
            heard = await say(port, request())
            assert heard.startswith(b"HTTP/1.1 500")
            assert b"hush" not in heard
            assert b"Traceback" not in heard

    run(scenario)


def test_calls_under_way_are_answered_when_it_stops() -> None:
    async def scenario() -> None:
        async with listening() as (listener, source, port):
            source.go.clear()
            calling = asyncio.create_task(say(port, request()))
            await until(lambda: bool(source.calls))
            stopping = asyncio.create_task(listener.stop())
            await asyncio.sleep(0.05)
            source.go.set()
            assert (await calling).startswith(b"HTTP/1.1 200")
            await stopping

    run(scenario)


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(NoWebhookPort, match=f"127.0.0.1:{port}.*in use.*another port"):
            listen("127.0.0.1", port)


def test_whatever_is_sent_it_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    seed = dice.seed()
    luck = random.Random(seed)
    with capsys.disabled():
        print(f"\nlistener: fuzzing with seed {seed}")
    whole = [
        request(b'{"a":1}'),
        request(b"x" * 900, "/src/more?x=1"),
        request(b"3\r\nabc\r\n0\r\n\r\n", **{"Content-Length": "", "Transfer-Encoding": "chunked"}),
    ]

    def damaged() -> bytes:
        sent = bytearray(luck.choice(whole))
        for _ in range(luck.randint(1, 4)):
            at = luck.randrange(len(sent) + 1)
            match luck.randrange(4):
                case 0:
                    sent[at:at] = luck.randbytes(luck.randint(1, 9))
                case 1:
                    del sent[at : at + luck.randint(1, 40)]
                case 2 if at < len(sent):
                    sent[at] ^= 1 << luck.randrange(8)
                case _:
                    sent[at:at] = sent[: luck.randint(1, 80)]
        return bytes(sent)

    async def scenario() -> None:
        limits = Limits(body_bytes=1000, at_once=50, read_s=0.2)
        async with listening(limits) as (_, source, port):
            for _ in range(10):
                heard = await asyncio.gather(*(say(port, damaged()) for _ in range(40)))
                assert all(each[:5] in {b"", b"HTTP/"} for each in heard)
                assert not any(b"Traceback" in each for each in heard)
            assert (await say(port, request())).startswith(b"HTTP/1.1 200")
            assert source.calls[-1].body == b"hello"
            await until(lambda: len(asyncio.all_tasks()) < 20)

    run(scenario)
