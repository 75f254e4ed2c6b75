"""A vendor's REST interface on a socket.

    async with RestServer(RestConfig(vendor="tiingo")) as server:
        await session.get(server.url + "/iex/?tickers=spy")

The market is the exchange's where one is given, so that what is polled and what is streamed agree;
else its own, which begins `history_s` ago and is brought up to date at each request.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

from aiohttp import web

from edc_pipeline.market_day import NS_PER_SECOND
from edc_pipeline.simulator.board import Board
from edc_pipeline.simulator.instruments import listing
from edc_pipeline.simulator.market import Market, Pace, TickSource
from edc_pipeline.simulator.rest import Answer, Question, RestVendor
from edc_pipeline.simulator.rest_faults import RestChaos, RestFault, detail_of
from edc_pipeline.simulator.session import Terms
from edc_pipeline.simulator.speakers import RESTS

if TYPE_CHECKING:
    from edc_pipeline.simulator.exchange import Exchange

_KEPT: Final = 10_000  # questions remembered
_CHUNK: Final = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class RestConfig:
    host: str = "127.0.0.1"
    port: int = 0
    vendor: str = "tiingo"  # of speakers.RESTS
    symbols: Sequence[str] | None = None
    seed: int = 0
    rate: float = 200.0
    history_s: float = 300.0  # of market before it opened
    terms: Terms = field(default_factory=Terms)
    chaos: str = ""  # see rest_faults
    requests: int = 0  # at most, in `per_s`; 0: any number
    per_s: float = 60.0

    def __post_init__(self) -> None:
        if self.vendor not in RESTS:
            raise ValueError(f"vendor: {self.vendor!r} is none of {', '.join(sorted(RESTS))}")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question, and what became of it."""

    at_ns: int
    question: Question
    status: int  # 0: no answer
    body: bytes  # as answered, the fault aside
    fault: str = ""


class RestServer:
    """`asked` remembers the questions, `statuses` counts the answers."""

    def __init__(
        self,
        config: RestConfig | None = None,
        *,
        exchange: Exchange | None = None,
        source: TickSource | None = None,
        vendor: RestVendor | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.config = config = config or RestConfig()
        self.asked: deque[Asked] = deque(maxlen=_KEPT)
        self.statuses: Counter[int] = Counter()
        self.requests = 0
        self.chaos = RestChaos.parse(config.chaos)
        self._clock = clock
        self._source = None if exchange is not None else source or _own_market(config, clock())
        listed = exchange.instruments if exchange is not None else listing(config.symbols)
        if source is not None:
            listed = source.instruments
        self.board = Board(listed)
        if exchange is not None:
            exchange.watchers.append(self.board.hear)
        self._vendor = vendor or RESTS[config.vendor](
            self.board, terms=config.terms, seed=config.seed
        )
        self._lately: deque[int] = deque()  # when the latest requests came
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite | None = None

    @property
    def port(self) -> int:
        assert self._runner is not None, "the server is not open; use `async with`"
        port: int = self._runner.addresses[0][1]
        return port

    @property
    def url(self) -> str:
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        return f"http://{host}:{self.port}"

    @property
    def address(self) -> str:
        """What a feed's `url` is here."""
        return self.url + self._vendor.base

    @property
    def example(self) -> str:
        """A question that is answered, but for the key where a certain one is asked for: that is
        never shown."""
        key = "any" if self.config.terms.token is None else "$EDC_SIM_TOKEN"
        first = self.board.listings[0].instrument
        return self.address + self._vendor.example(first) + key

    async def __aenter__(self) -> RestServer:
        application = web.Application()
        application.router.add_route("*", "/{tail:.*}", self._handle)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, self.config.host, self.config.port)
        try:
            await self._site.start()
        except BaseException:
            await self._runner.cleanup()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    # -- one request ----------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        now = self._clock()
        question = Question(
            request.path,
            dict(request.query),
            {name.lower(): value for name, value in request.headers.items()},
        )
        answer = self._answer(question, now) if request.method == "GET" else Answer(405)
        self.requests += 1
        fault = self.chaos.of(self.requests)
        if fault is not None and fault.name.isdigit():
            answer = _status(fault, now)
        name = "" if fault is None else fault.name
        self.asked.append(Asked(now, question, answer.status, answer.body, name))
        self.statuses[answer.status] += 1
        if fault is None or fault.name.isdigit():
            return web.Response(status=answer.status, body=answer.body, headers=answer.headers)
        return await self._faulty(request, answer, fault)

    def _answer(self, question: Question, now: int) -> Answer:
        if (wait_s := self._too_many(now)) is not None:
            return self._vendor.too_many(wait_s)
        if self._source is not None:
            self.board.advance(self._source, now)
        answer = self._vendor.answer(question, now)
        tag = answer.headers.get("ETag")
        if tag is not None and question.headers.get("if-none-match") == tag:
            return Answer(304, b"", {"ETag": tag})
        return answer

    def _too_many(self, now: int) -> float | None:
        """The seconds until the next is allowed, where this one is not."""
        allowed, window = self.config.requests, int(self.config.per_s * NS_PER_SECOND)
        if not allowed:
            return None
        while self._lately and self._lately[0] <= now - window:
            self._lately.popleft()
        if len(self._lately) >= allowed:
            return (self._lately[0] + window - now) / NS_PER_SECOND
        self._lately.append(now)
        return None

    async def _faulty(
        self, request: web.Request, answer: Answer, fault: RestFault
    ) -> web.StreamResponse:
        detail = detail_of(fault)
        match fault.name:
            case "slow":
                await asyncio.sleep(detail)
            case "rubbish":
                answer = Answer(200, b"<html><b>Service \xff temporarily {", {})
            case "redirect":
                answer = Answer(302, b"", {"Location": "http://127.0.0.2:9/elsewhere"})
            case "cut":
                _abort(request)
            case "torn":
                return await _torn(request, answer)
            case "oversized":
                return await _oversized(request, answer, int(detail))
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)


def _own_market(config: RestConfig, now_ns: int) -> Market:
    return Market(
        listing(config.symbols),
        start_ns=now_ns - int(config.history_s * NS_PER_SECOND),
        seed=config.seed,
        pace=Pace(rate=config.rate),
    )


def _status(fault: RestFault, now: int) -> Answer:
    headers: Mapping[str, str] = {}
    if fault.as_date:
        # Whole seconds: at least one of them is left.
        headers = {"Retry-After": formatdate(now // NS_PER_SECOND + 2, usegmt=True)}
    elif fault.detail is not None:
        headers = {"Retry-After": f"{fault.detail:g}"}
    return Answer(int(fault.name), f"status {fault.name}".encode(), headers)


async def _torn(request: web.Request, answer: Answer) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_length = len(answer.body) + 100
    await response.prepare(request)
    await response.write(answer.body[: len(answer.body) // 2])
    _abort(request)
    return response


async def _oversized(request: web.Request, answer: Answer, size: int) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status)
    await response.prepare(request)  # chunked: its length is told nowhere
    for _ in range(-(-size // _CHUNK)):
        await response.write(b" " * _CHUNK)
    await response.write_eof()
    return response


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
