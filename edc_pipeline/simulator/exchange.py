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
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TextIO

from websockets.asyncio.server import Server, serve

from edc_pipeline.simulator.audience import Audience
from edc_pipeline.simulator.exchange_config import ExchangeConfig, tls_context
from edc_pipeline.simulator.faults import Trouble
from edc_pipeline.simulator.instruments import Instrument, listing
from edc_pipeline.simulator.market import Market, Pace, Tick, TickSource
from edc_pipeline.simulator.session import Vendor
from edc_pipeline.simulator.speakers import SPEAKERS
from edc_pipeline.simulator.tape import KeepsTape
from edc_pipeline.simulator.trading import MarketClock, Pacer, Trading
from edc_pipeline.simulator.truth import Truth
from edc_pipeline.waiting import wait_at_most

__all__ = ["Exchange", "ExchangeConfig", "tls_context"]


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
        script = config.script_start_ns
        self._source: TickSource = source or Market(
            listing(config.symbols),
            start_ns=clock() if script is None else script,
            seed=config.seed,
            pace=config.pace or Pace(rate=config.rate),
        )
        self._vendor: Vendor = vendor or SPEAKERS[config.vendor](
            self._source.instruments, terms=config.terms, seed=config.seed
        )
        market_clock = MarketClock(clock, script)
        self._audience = Audience(
            config,
            self._vendor,
            trouble=self.trouble,
            truth=self.truth,
            now_ns=market_clock.now_ns,
            broken=self._break,
        )
        self._trading = Trading(
            config,
            self._source,
            self._audience,
            clock=market_clock,
            pacer=pacer,
            trouble=self.trouble,
        )
        if isinstance(self._vendor, KeepsTape):
            self.watchers.append(self._vendor.tape.hear)
        self._file: TextIO | None = None
        self._server: Server | None = None
        self._market: asyncio.Task[None] | None = None
        self._broken: asyncio.Future[None]  # a sender's error that is not its client's doing

    async def __aenter__(self) -> Exchange:
        config = self.config
        if config.truth_file is not None:
            self._file = config.truth_file.open("w", encoding="utf-8")
            self.truth.write_to(self._file)
        try:
            self._server = await self._serve()
        except BaseException:
            self._close_file()
            raise
        self._broken = asyncio.get_running_loop().create_future()
        self._market = asyncio.create_task(self._trading.run(), name="market")
        return self

    async def _serve(self) -> Server:
        config = self.config
        # Deflate would cost more than all the rest on the loopback, and few vendors offer it.
        return await serve(
            self._audience.attend,
            config.host,
            config.port,
            process_request=self._audience.admit,
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

    def _break(self, error: BaseException) -> None:
        if not self._broken.done():
            self._broken.set_exception(error)

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
    def watchers(self) -> list[Callable[[Tick], object]]:
        """Told every tick, whoever listens."""
        return self._trading.watchers

    @property
    def left_out_s(self) -> float:
        """Of market: the loop could not keep up, or the clock jumped."""
        return self._trading.left_out_s

    @property
    def clients(self) -> int:
        return sum(not c.gone for c in self._audience.present.values())

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
        while self._audience.backlog_above(0) or not (
            self.config.script_start_ns is None
            or self._market.done()
            or self._trading.waits_for_audience
        ):
            self._audience.changed.clear()
            # The timeout is a net: nothing but a lost wake-up would ever need it.
            await wait_at_most(self._audience.changed, 0.25)
