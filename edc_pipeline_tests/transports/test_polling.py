"""The scheduler over real HTTP: what it asks, how often, and what it makes of bad answers."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from edc_pipeline.transports.budget import NS_PER_S, Limit, Meter
from edc_pipeline.transports.contract import GaveUp
from edc_pipeline.transports.http_get import Get
from edc_pipeline.transports.polling import FINE, Ask, Hours, Lane, Poller, Verdict
from edc_pipeline_tests.transports.fake_server import Tls

KEY = "hush-9f3a-secret"
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Heard:
    """Remembers; takes every 2xx for fine and tells statuses apart by the default table."""

    bodies: list[bytes] = field(default_factory=list)
    not_changed: int = 0
    statuses: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    full: bool = False
    verdict: Verdict = FINE

    def answered(self, body: bytes, received_at: int) -> Verdict:
        assert received_at > 0
        self.bodies.append(body)
        return self.verdict

    def not_modified(self, received_at: int) -> None:
        self.not_changed += 1

    def refused(self, status: int, body: bytes) -> Verdict:
        self.statuses.append(status)
        if status in {401, 403}:
            return Verdict("give_up", f"HTTP {status}")
        if status == 429:
            return Verdict("throttled", "HTTP 429")
        return Verdict("failed" if status >= 500 else "refused", f"HTTP {status}")

    def failed(self, reason: str) -> None:
        self.failures.append(reason)

    def put_off(self, wait_s: float) -> None:
        self.waits.append(wait_s)

    def has_room(self) -> bool:
        return not self.full

    async def room(self) -> None:
        while self.full:  # noqa: ASYNC110 - a test's own gate
            await asyncio.sleep(0.005)

    @property
    def told(self) -> int:
        return len(self.bodies) + self.not_changed + len(self.statuses) + len(self.failures)


async def nothing() -> None:
    pass


async def until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not what():
        assert time.monotonic() < end, "it did not come to that in time"
        await asyncio.sleep(0.005)


class Site:
    """A server whose answers a test writes, and a poller in front of it."""

    def __init__(self, answer: Answer, *limits: Limit, tls: Tls | None = None) -> None:
        self._tls = tls
        self.requests: list[web.Request] = []
        self.at: list[float] = []
        self._answer = answer
        self.lane = Lane(Meter(limits), nothing)
        self.poller = Poller()
        self.stop = asyncio.Event()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.at.append(time.monotonic())
        return await self._answer(request)

    async def __aenter__(self) -> Site:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        context = self._tls.server if self._tls else None
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context).start()
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.stop.set()
        await self.poller.close()
        await self._runner.cleanup()

    def ask(self, heard: Heard, *, every_s: float = 0.02, path: str = "/q", **told: Any) -> Ask:
        got = Get(self.url + path, {"symbol": "A"}, secret_query={"token": KEY}, secret=KEY, **told)
        return Ask(got, every_s, heard)

    async def until(
        self, done: Callable[[], bool], asks: list[Ask], hours: Hours | None = None
    ) -> None:
        holding = asyncio.create_task(
            self.poller.hold(self.lane, asks, stop=self.stop, hours=hours)
        )
        await until(lambda: done() or holding.done())
        self.stop.set()
        await holding


async def fine(request: web.Request) -> web.StreamResponse:
    return web.Response(body=b"[]")


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await scenario()

    asyncio.run(bounded())


def test_every_request_is_made_again_and_again_with_its_key() -> None:
    async def scenario() -> None:
        first, second = Heard(), Heard()
        async with Site(fine) as site:
            await site.until(
                lambda: min(len(first.bodies), len(second.bodies)) >= 3,
                [site.ask(first), site.ask(second, path="/other")],
            )
            assert {r.path for r in site.requests} == {"/q", "/other"}
            assert all(r.query == {"symbol": "A", "token": KEY} for r in site.requests)
            assert first.bodies[0] == b"[]"

    run(scenario)


def test_a_budget_is_kept_whatever_was_asked_for() -> None:
    async def scenario() -> None:
        heard = [Heard() for _ in range(5)]
        async with Site(fine, Limit(4, "second")) as site:
            await site.until(
                lambda: len(site.at) >= 10, [site.ask(h, every_s=0.001) for h in heard]
            )
            for at in site.at:
                assert sum(at <= other < at + 1.0 for other in site.at) <= 4
            # Whoever is due longest is asked next: nobody starves.
            assert max(h.told for h in heard) - min(h.told for h in heard) <= 2

    run(scenario)


def test_what_was_spent_is_durable_before_it_is_sent() -> None:
    async def scenario() -> None:
        order: list[str] = []

        async def note() -> None:
            await asyncio.sleep(0.01)
            order.append("durable")

        async def answer(request: web.Request) -> web.StreamResponse:
            order.append("asked")
            return web.Response(body=b"[]")

        heard = Heard()
        async with Site(answer) as site:
            site.lane = Lane(Meter([Limit(100, "day")]), note)
            await site.until(lambda: heard.told >= 3, [site.ask(heard)])
        assert order[:4] == ["durable", "asked", "durable", "asked"]
        # The last may have been stopped on its way to the disk.
        spent = 100 - site.lane.meter.left(time.time_ns())["day"]
        assert 0 <= spent - order.count("durable") <= 1

    run(scenario)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_holds_the_whole_key(form: str) -> None:
    async def scenario() -> None:
        refused_at = 0.0

        async def answer(request: web.Request) -> web.StreamResponse:
            nonlocal refused_at
            if refused_at:
                return web.Response(body=b"[]")
            refused_at = time.time()
            date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(int(refused_at) + 3))
            return web.Response(
                status=429, headers={"Retry-After": "2" if form == "seconds" else date}
            )

        heard, other = Heard(), Heard()
        async with Site(answer) as site:
            await site.until(
                lambda: bool(heard.bodies and other.bodies),
                [site.ask(heard), site.ask(other, path="/b")],
            )
            first_after = next(
                t for t in site.at if t > site.at[0] + 0.5
            )  # what flew already may have landed
            assert first_after - site.at[0] >= 1.9
        assert 429 in heard.statuses + other.statuses

    run(scenario)


def test_a_refused_key_ends_the_feed_and_is_asked_once() -> None:
    async def scenario() -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            return web.Response(status=401)

        heard = Heard()
        async with Site(answer) as site:
            with pytest.raises(GaveUp, match="HTTP 401"):
                await site.until(lambda: False, [site.ask(heard)])
            assert len(site.requests) == 1

    run(scenario)


def test_a_refused_symbol_is_left_alone_and_the_others_go_on() -> None:
    async def scenario() -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            return web.Response(status=404 if request.path == "/bad" else 200)

        bad, good = Heard(), Heard()
        async with Site(answer) as site:
            asks = [site.ask(bad, path="/bad"), site.ask(good)]
            await site.until(lambda: len(good.bodies) >= 8, asks)
        assert bad.statuses == [404]

    run(scenario)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("torn", "ended before its end"),
        ("cut", "closed the connection|connection broke"),
        ("slow", "no answer in time"),
        ("long", "longer than 1,000 bytes"),
        ("endless", "longer than 1,000 bytes"),
        ("bomb", "longer than 1,000 bytes"),
        ("not gzip", "can't be unpacked"),
    ],
)
def test_bad_answers_are_told_in_words_without_the_key_and_asked_again_once(
    fault: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        match fault:
            case "slow":
                await asyncio.sleep(0.5)
            case "cut":
                assert request.transport is not None
                request.transport.abort()
            case "torn":
                response.content_length = 900
                await response.prepare(request)
                await response.write(b"x" * 100)
                assert request.transport is not None
                request.transport.close()
                return response
            case "long":
                return web.Response(body=b"x" * 1001)
            case "endless":
                await response.prepare(request)
                while True:
                    await response.write(b"x" * 100)
            case "bomb":
                packed = gzip.compress(b"x" * 10_000_000)
                return web.Response(body=packed, headers={"Content-Encoding": "gzip"})
            case "not gzip":
                return web.Response(body=b"plain", headers={"Content-Encoding": "gzip"})
        return web.Response(body=b"[]")

    async def scenario() -> None:
        heard = Heard()
        async with Site(answer) as site:
            ask = site.ask(heard, max_body_bytes=1000, timeout_s=0.25 if fault == "slow" else 10)
            await site.until(lambda: len(heard.failures) >= 2, [ask])
            # aiohttp asks a second time on its own, unless it is told not to.
            assert len(site.requests) <= len(heard.failures) + 1
        assert not heard.bodies
        assert all(re.search(told, failure) for failure in heard.failures), heard.failures
        assert KEY not in "".join(heard.failures) + caplog.text

    run(scenario)


def test_nobody_there_is_told_without_the_key() -> None:
    async def scenario() -> None:
        heard = Heard()
        async with Site(fine) as site:
            gone = Get("http://127.0.0.1:9/q", secret_query={"token": KEY}, secret=KEY)
            none = Get("http://no-such-host.invalid/q", secret_query={"token": KEY}, secret=KEY)
            untrue = Get(site.url.replace("http:", "https:"), secret_query={"token": KEY})
            nowhere = Get("http://[::1/q?token=" + KEY)
            asks = [Ask(asked, 60.0, heard) for asked in (gone, none, untrue, nowhere)]
            await site.until(lambda: heard.told >= 4, asks)
        assert len(heard.failures) == 4
        assert KEY not in "".join(heard.failures)
        assert any("can't connect" in failure for failure in heard.failures)
        assert any("not fit for HTTP" in failure for failure in heard.failures)

    run(scenario)


def test_no_redirect_is_followed() -> None:
    async def scenario() -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            raise web.HTTPFound("/elsewhere")

        heard = Heard()
        async with Site(answer) as site:
            await site.until(lambda: heard.told >= 1, [site.ask(heard)])
            assert [r.path for r in site.requests] == ["/q"]
        assert heard.statuses == [302]

    run(scenario)


def test_a_vendor_that_offers_it_is_asked_for_changes_only() -> None:
    async def scenario() -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            if request.headers.get("If-None-Match") == '"7"':
                return web.Response(status=304)
            return web.Response(body=b"[7]", headers={"ETag": '"7"', "Last-Modified": "then"})

        heard = Heard()
        async with Site(answer) as site:
            await site.until(lambda: heard.not_changed >= 3, [site.ask(heard)])
            assert site.requests[1].headers["If-Modified-Since"] == "then"
        assert heard.bodies == [b"[7]"]

    run(scenario)


def test_a_key_that_the_vendor_echoes_is_taken_out_of_the_body() -> None:
    async def scenario() -> None:
        async def answer(request: web.Request) -> web.StreamResponse:
            return web.json_response({"Information": f"your API key as {KEY} and our limit"})

        heard = Heard()
        async with Site(answer) as site:
            await site.until(lambda: heard.told >= 1, [site.ask(heard)])
        said = json.loads(heard.bodies[0])["Information"]
        assert said == f"your API key as {'*' * len(KEY)} and our limit"

    run(scenario)


def test_nothing_is_asked_without_room() -> None:
    async def scenario() -> None:
        heard = Heard(full=True)
        async with Site(fine) as site:
            holding = asyncio.create_task(
                site.poller.hold(site.lane, [site.ask(heard)], stop=site.stop)
            )
            await asyncio.sleep(0.2)
            assert not site.requests
            heard.full = False
            await until(lambda: len(heard.bodies) >= 2)
            site.stop.set()
            await holding

    run(scenario)


def test_a_closed_market_is_asked_once_more_and_then_no_more() -> None:
    async def scenario() -> None:
        heard, is_open = Heard(), True
        told: list[int | None] = []

        def hours(now_ns: int) -> tuple[bool, int | None]:
            return is_open, now_ns + NS_PER_S // 20

        async with Site(fine) as site:
            holding = asyncio.create_task(
                site.poller.hold(
                    site.lane, [site.ask(heard)], stop=site.stop, hours=hours, on_hours=told.append
                )
            )
            await until(lambda: len(heard.bodies) >= 3)
            is_open = False
            await until(lambda: bool(told))
            await asyncio.sleep(0.2)
            asked = len(site.requests)
            await asyncio.sleep(0.3)
            assert len(site.requests) == asked  # nobody asked meanwhile
            is_open = True
            await until(lambda: len(site.requests) > asked)
            site.stop.set()
            await holding
        assert told[0]  # the instant of the opening
        assert told[1] is None

    run(scenario)


def test_a_certificate_that_is_not_trusted_is_told_in_words(tls: Tls) -> None:
    async def scenario() -> None:
        heard = Heard()
        async with Site(fine, tls=tls) as site:
            await site.until(lambda: heard.told >= 1, [site.ask(heard)])
            assert not site.requests  # the key was not sent
        assert "certificate is not trusted" in heard.failures[0]
        assert KEY not in heard.failures[0]

    run(scenario)


def test_a_proxy_of_the_environment_is_used_and_a_socks_proxy_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)

    async def scenario() -> None:
        heard = Heard()
        async with Site(fine) as proxy:
            monkeypatch.setenv("http_proxy", proxy.url)
            asked = Get("http://vendor.invalid/q", secret_query={"token": KEY}, secret=KEY)
            await proxy.until(lambda: heard.told >= 1, [Ask(asked, 60.0, heard)])
            assert proxy.requests[0].headers["Host"] == "vendor.invalid"
        assert heard.bodies == [b"[]"]
        other = Heard()
        async with Site(fine) as site:
            monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1")
            await site.until(lambda: other.told >= 1, [site.ask(other)])
        assert "SOCKS" in other.failures[0]

    run(scenario)


def test_a_feed_that_comes_as_the_last_of_its_key_goes_is_asked() -> None:
    async def scenario() -> None:
        former, newcomer = Heard(), Heard()
        async with Site(fine) as site:
            gone, stop = asyncio.Event(), site.stop
            first = asyncio.create_task(site.poller.hold(site.lane, [site.ask(former)], stop=gone))
            await until(lambda: bool(former.bodies))
            gone.set()
            await asyncio.sleep(0)
            second = asyncio.create_task(
                site.poller.hold(site.lane, [site.ask(newcomer)], stop=stop)
            )
            await until(lambda: len(newcomer.bodies) >= 2)
            stop.set()
            await asyncio.gather(first, second)

    run(scenario)
