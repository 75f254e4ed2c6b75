"""The fake exchange: a websocket server around a market, a vendor's protocol and a line's faults.

    async with Exchange(ExchangeConfig(rate=500)) as exchange:
        websocket = await connect(exchange.url("iex"))

Two ways to run. By the clock (default): ticks come when they are due, whoever listens. As a script
(`script_start_ns`): event times start there, ticks come as fast as the clients read, and wait while
fewer than `audience` connections are subscribed; nothing is lost to a reconnect, and two runs with
the same seed send the same. A script with a `pacer` is held to a clock of its own: a recorded day
at its own speed, or at ten times that.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
import ssl
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, TextIO
from urllib.parse import parse_qsl

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from edc_pipeline.market_day import NS_PER_SECOND
from edc_pipeline.simulator.connection import Connection, WhenSlow
from edc_pipeline.simulator.faults import Chaos, Trouble
from edc_pipeline.simulator.instruments import Instrument, listing
from edc_pipeline.simulator.market import (
    Market,
    Pace,
    TellsMore,
    Tick,
    Ticks,
    TickSource,
    rows,
)
from edc_pipeline.simulator.session import Asked, Terms, Vendor
from edc_pipeline.simulator.speakers import SPEAKERS
from edc_pipeline.simulator.tape import KeepsTape
from edc_pipeline.simulator.truth import KEEP_FRAMES, Truth
from edc_pipeline.waiting import wait_at_most

_SLICE_S: Final = 0.01  # how late a tick may be sent; below it, waking up costs more than sending
_TICKS_PER_TURN: Final = 256  # between two chances for the senders
_BEHIND_NS: Final = NS_PER_SECOND  # a loop further behind leaves ticks out, rather than burst
_HEARTBEAT_S: Final = 30.0  # of a vendor that has no custom of its own
_HISTORIES: Final = 64  # subscriptions whose last frames are kept for a resend


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeConfig:
    host: str = "127.0.0.1"
    port: int = 0  # 0: a free one, told by Exchange.port
    symbols: Sequence[str] | None = None  # None: all of instruments.LISTED
    seed: int = 0
    rate: float = 200.0  # ticks per second over all instruments; `pace` says more
    pace: Pace | None = None
    vendor: str = "tiingo"  # whose protocol, of speakers.SPEAKERS
    terms: Terms = field(default_factory=Terms)
    heartbeat_s: float | None = None  # None: as the vendor does
    ends_after_s: float | None = None  # every connection, however it behaves (Binance: 24 hours)
    chaos: Chaos = field(default_factory=Chaos)
    resend_on_subscribe: int = 0  # data frames that a returning subscription gets once more
    events: int | None = None  # stop the market after so many data frames were made
    seconds: float | None = None  # stop the market after so long
    script_start_ns: int | None = None
    audience: int = 1
    outbox_frames: int = 20_000
    when_slow: WhenSlow = "disconnect"
    max_message_bytes: int = 64 * 1024
    max_connections: int = 256
    keep_frames: int = KEEP_FRAMES
    truth_file: Path | None = None
    ssl: ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        if self.vendor not in SPEAKERS:
            raise ValueError(f"vendor: {self.vendor!r} is none of {', '.join(sorted(SPEAKERS))}")
        for name in ("heartbeat_s", "ends_after_s", "seconds", "events"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name}: {value} is not a number above 0")
        if self.resend_on_subscribe < 0:
            raise ValueError(f"resend_on_subscribe: {self.resend_on_subscribe} is negative")
        if self.outbox_frames <= max(4 * _TICKS_PER_TURN, self.resend_on_subscribe):
            raise ValueError(
                f"outbox_frames: {self.outbox_frames} must be more than {4 * _TICKS_PER_TURN} "
                "and than resend_on_subscribe"
            )


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


class Pacer(Protocol):
    """Holds a script back until its ticks are due."""

    async def until(self, at_ns: int) -> bool:
        """Return when the tick of that time is due; False: it is left out."""
        ...


class Exchange:
    """`source` and `vendor` default to the synthetic market and the config's vendor.

    `clock` is ns since 1970, `truth` records what was sent, `trouble` which faults were done.
    """

    def __init__(
        self,
        config: ExchangeConfig | None = None,
        *,
        source: TickSource | None = None,
        vendor: Vendor | None = None,
        clock: Callable[[], int] = time.time_ns,
        pacer: Pacer | None = None,
    ) -> None:
        self.config = config = config or ExchangeConfig()
        self.trouble = Trouble(config.chaos)
        self.truth = Truth(keep=config.keep_frames)
        self.left_out_s = 0.0  # of market: the loop could not keep up, or the clock jumped
        self._clock = clock
        self._pacer = pacer
        script = config.script_start_ns
        self._script_ns = script
        self._source: TickSource = source or Market(
            listing(config.symbols),
            start_ns=clock() if script is None else script,
            seed=config.seed,
            pace=config.pace or Pace(rate=config.rate),
        )
        self._vendor: Vendor = vendor or SPEAKERS[config.vendor](
            self._source.instruments, terms=config.terms, seed=config.seed
        )
        self._rows = self._source.rows if isinstance(self._source, TellsMore) else rows
        self._symbols = [instrument.symbol for instrument in self._source.instruments]
        self.watchers: list[Callable[[Tick], object]] = []  # told every tick, whoever listens
        if isinstance(self._vendor, KeepsTape):
            self.watchers.append(self._vendor.tape.hear)
        usual_s: float = getattr(self._vendor, "heartbeat_s", _HEARTBEAT_S)
        self._heartbeat_s = usual_s if config.heartbeat_s is None else config.heartbeat_s
        self._file: TextIO | None = None
        self._server: Server | None = None
        self._market: asyncio.Task[None] | None = None
        self._broken: asyncio.Future[None]  # a sender's error that is not its client's doing
        self._connections: dict[tuple[str, int], Connection] = {}
        self._made = 0
        self._histories: OrderedDict[Hashable, deque[str | bytes]] = OrderedDict()
        self._changed = asyncio.Event()  # an outbox ran empty, somebody came or went
        self._waits_for_audience = False

    # -- for those who run it -----------------------------------------------------------------

    async def __aenter__(self) -> Exchange:
        config = self.config
        if config.truth_file is not None:
            self._file = config.truth_file.open("w", encoding="utf-8")
            self.truth = Truth(keep=config.keep_frames, file=self._file)
        try:
            self._server = await self._serve()
        except BaseException:
            self._close_file()
            raise
        self._broken = asyncio.get_running_loop().create_future()
        self._market = asyncio.create_task(self._run_market(), name="market")
        return self

    async def _serve(self) -> Server:
        config = self.config
        # Deflate would cost more than all the rest on the loopback, and few vendors offer it.
        return await serve(
            self._attend,
            config.host,
            config.port,
            process_request=self._admit,
            compression=None,
            max_size=config.max_message_bytes,
            close_timeout=1,
            ssl=config.ssl,
        )

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        assert self._market is not None
        self._market.cancel()
        self._server.close()
        await self._server.wait_closed()
        await asyncio.wait((self._market,))
        self._broken.cancel()
        # Each failure is looked at, or asyncio would complain; one the caller has seen is not
        # raised over it.
        failures = [
            failure
            for task in (self._broken, self._market)
            if not task.cancelled() and (failure := task.exception())
        ]
        try:
            self._close_file()
        except OSError as failure:
            failures.append(failure)
        if failures and error is None:
            raise failures[0]

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def port(self) -> int:
        assert self._server is not None, "the exchange is not open; use `async with`"
        port: int = next(iter(self._server.sockets)).getsockname()[1]
        return port

    def url(self, service: str) -> str:
        """`ws://127.0.0.1:8765/iex` for "iex"."""
        path = next((p for p, s in self._vendor.paths.items() if s == service), None)
        if path is None:
            raise ValueError(f"no service {service!r}; there are {', '.join(self.services)}")
        scheme = "ws" if self.config.ssl is None else "wss"
        host = f"[{self.config.host}]" if ":" in self.config.host else self.config.host
        return f"{scheme}://{host}:{self.port}{path}"

    @property
    def services(self) -> tuple[str, ...]:
        return tuple(self._vendor.paths.values())

    @property
    def instruments(self) -> Sequence[Instrument]:
        return self._source.instruments

    @property
    def clients(self) -> int:
        return sum(not c.gone for c in self._connections.values())

    async def finished(self, *, patience_s: float = 10.0) -> None:
        """Until `events` or `seconds` are over and everything made is with the clients' sockets.

        A client that does not read is waited for no longer than `patience_s`. Raises what broke the
        market, or the truth file (OSError).
        """
        assert self._market is not None
        await asyncio.wait((self._market, self._broken), return_when=asyncio.FIRST_COMPLETED)
        for ended in (self._broken, self._market):
            if ended.done():
                ended.result()
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self.settle()

    async def settle(self) -> None:
        """Until nothing waits to be sent; of a script, until it also ended or lacks its audience.

        By the clock the market goes on meanwhile: this is then a moment of an empty outbox.
        """
        assert self._market is not None
        while any(c.backlog for c in self._connections.values()) or not (
            self._script_ns is None or self._market.done() or self._waits_for_audience
        ):
            self._changed.clear()
            # The timeout is a net: nothing but a lost wake-up would ever need it.
            await wait_at_most(self._changed, 0.25)

    # -- a client comes -----------------------------------------------------------------------

    def _admit(self, websocket: ServerConnection, request: Request) -> Response | None:
        asked = _asked(request)
        if self._service(asked.path) is None:
            paths = ", ".join(self._vendor.paths)
            answer = f"no {asked.path} here; there are {paths}\n"
            return websocket.respond(HTTPStatus.NOT_FOUND, answer)
        if (status := self.trouble.refusal() or self._vendor.refusal(asked)) is not None:
            return websocket.respond(status, f"{status.phrase}\n")
        if len(self._connections) >= self.config.max_connections:
            return websocket.respond(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections\n")
        return None

    def _service(self, path: str) -> str | None:
        exact = self._vendor.paths.get(path)
        return exact or next(
            (s for p, s in self._vendor.paths.items() if p.endswith("/") and path.startswith(p)),
            None,
        )

    async def _attend(self, websocket: ServerConnection) -> None:
        assert websocket.request is not None
        here = [c.session for c in self._connections.values() if not c.gone]
        asked = dataclasses.replace(_asked(websocket.request), standing=here)
        service = self._service(asked.path)
        assert service is not None
        self.truth.connections[service] += 1
        # Counted by service: which of three clients comes first must not change what each is sent.
        ordinal = self.truth.connections[service]
        connection = Connection(
            websocket,
            self._vendor.session(service, ordinal, asked),
            self.trouble.line(service, ordinal),
            ordinal=ordinal,
            truth=self.truth,
            outbox_frames=self.config.outbox_frames,
            when_slow=self.config.when_slow,
            now_ns=self._now_ns,
            changed=self._changed,
        )
        self._connections[service, ordinal] = connection
        for reply in connection.session.greeting():
            connection.reply(reply)
        for one in self._connections.values():
            if one.session.refused:  # the newcomer, or one who had to make room
                one.refuse()
        tasks = [
            asyncio.create_task(connection.send_all(), name=f"send-{service}-{ordinal}"),
            asyncio.create_task(self._beat(connection), name=f"beat-{service}-{ordinal}"),
            asyncio.create_task(self._end_of_term(connection), name=f"end-{service}-{ordinal}"),
        ]
        tasks[0].add_done_callback(self._notice)
        try:
            with suppress(ConnectionClosed):
                async for message in websocket:
                    self._converse(connection, message)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            connection.left()
            del self._connections[service, ordinal]

    def _notice(self, sender: asyncio.Task[None]) -> None:
        if not sender.cancelled() and (error := sender.exception()) and not self._broken.done():
            self._broken.set_exception(error)

    def _converse(self, connection: Connection, message: str | bytes) -> None:
        before = connection.session.subscription
        for reply in connection.session.on_message(message):
            connection.reply(reply)
        if connection.session.refused:
            connection.refuse()
        subscription = connection.session.subscription
        if subscription is not None and subscription != before:
            if self.config.resend_on_subscribe:
                self._resend(connection, subscription, is_new=before is None)
            self._changed.set()

    def _resend(self, connection: Connection, subscription: Hashable, *, is_new: bool) -> None:
        """Some vendors repeat the last frames to a client that comes back."""
        history = self._histories.pop(subscription, None)
        if history is None:
            history = deque(maxlen=self.config.resend_on_subscribe)
        self._histories[subscription] = history
        while len(self._histories) > _HISTORIES:
            self._histories.popitem(last=False)
        shared = any(c.history is history and not c.gone for c in self._connections.values())
        connection.history = history
        if is_new and not shared:  # while another connection has it, this is no return
            connection.again(list(history))

    async def _beat(self, connection: Connection) -> None:
        while not connection.gone:
            await asyncio.sleep(self._heartbeat_s)
            connection.heartbeat()

    async def _end_of_term(self, connection: Connection) -> None:
        if self.config.ends_after_s is not None:
            await asyncio.sleep(self.config.ends_after_s)
            connection.end_term()

    # -- the market runs ----------------------------------------------------------------------

    def _now_ns(self) -> int:
        return self._clock() if self._script_ns is None else self._script_ns

    async def _run_market(self) -> None:
        run = self._run_by_clock if self._script_ns is None else self._run_script
        with suppress(TimeoutError):
            async with asyncio.timeout(self.config.seconds):
                await run()
        for connection in list(self._connections.values()):
            connection.release_all()
        self._changed.set()

    async def _run_by_clock(self) -> None:
        loop = asyncio.get_running_loop()
        shown_until = self._clock()
        self._source.jump_to(shown_until)
        next_slice = loop.time()
        while not self._is_complete():
            now = self._clock()
            if abs(now - shown_until) > _BEHIND_NS:
                self.left_out_s += max(0, now - shown_until - _BEHIND_NS) / NS_PER_SECOND
                self._source.jump_to(now - _BEHIND_NS)
            await self._show(self._source.until(now))
            shown_until = now
            for connection in list(self._connections.values()):
                connection.release_due()
            next_slice = max(next_slice + _SLICE_S, loop.time())
            await asyncio.sleep(next_slice - loop.time())

    async def _run_script(self) -> None:
        while not self._is_complete():
            ticks = self._source.take(_TICKS_PER_TURN)
            if not len(ticks):
                return
            await self._show(ticks)
            while any(c.backlog > _TICKS_PER_TURN for c in self._connections.values()):
                await self._change()

    async def _show(self, ticks: Ticks) -> None:
        for number, tick in enumerate(self._rows(ticks), start=1):
            if self._script_ns is not None:
                await self._await_audience()
                if self._pacer is not None and not await self._pacer.until(tick.at_ns):
                    continue
                self._script_ns = max(self._script_ns, tick.at_ns)
            self._show_one(tick)
            if self._is_complete():
                return
            if number % _TICKS_PER_TURN == 0:
                await asyncio.sleep(0)

    def _show_one(self, tick: Tick) -> None:
        if self.trouble.chaos.clock_ns:
            tick = tick._replace(ts_ns=tick.ts_ns + self.trouble.chaos.clock_ns)
        symbol = self._symbols[tick.instrument]
        for watch in self.watchers:
            watch(tick)
        for connection in self._connections.values():
            if not connection.listening:
                continue
            made = connection.session.on_tick(tick)
            if made is None:
                continue
            for frame in (made,) if isinstance(made, str | bytes) else made:
                connection.data(frame, symbol)
                self._made += 1
                if self._is_complete():
                    return

    def _is_complete(self) -> bool:
        return self.config.events is not None and self._made >= self.config.events

    async def _await_audience(self) -> None:
        while sum(c.listening for c in self._connections.values()) < self.config.audience:
            self._waits_for_audience = True
            await self._change()
        self._waits_for_audience = False

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


def _asked(request: Request) -> Asked:
    path, _, query = request.path.partition("?")
    return Asked(path, dict(parse_qsl(query)))
