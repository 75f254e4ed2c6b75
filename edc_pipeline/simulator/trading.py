"""The market trades, and its audience is shown each tick: by the clock, or as a script."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from edc_pipeline.market_day import NS_PER_SECOND
from edc_pipeline.simulator.audience import Audience
from edc_pipeline.simulator.exchange_config import TICKS_PER_TURN, ExchangeConfig
from edc_pipeline.simulator.faults import Trouble
from edc_pipeline.simulator.market import TellsMore, Tick, Ticks, TickSource, rows

_SLICE_S: Final = 0.01  # how late a tick may be sent; below it, waking up costs more than sending
_BEHIND_NS: Final = NS_PER_SECOND  # a loop further behind leaves ticks out, rather than burst


class Pacer(Protocol):
    """Holds a script back until its ticks are due."""

    async def until(self, at_ns: int) -> bool:
        """Return when the tick of that time is due; False: it is left out."""
        ...


@dataclass(slots=True)
class MarketClock:
    """The market's time: that of `wall`, ns since 1970, or of a script the tick last shown."""

    wall: Callable[[], int]
    script_ns: int | None

    def now_ns(self) -> int:
        return self.wall() if self.script_ns is None else self.script_ns


class Trading:
    def __init__(
        self,
        config: ExchangeConfig,
        source: TickSource,
        audience: Audience,
        *,
        clock: MarketClock,
        pacer: Pacer | None,
        trouble: Trouble,
    ) -> None:
        self.watchers: list[Callable[[Tick], object]] = []  # told every tick, whoever listens
        self.left_out_s = 0.0  # of market: the loop could not keep up, or the clock jumped
        self.waits_for_audience = False
        self._config = config
        self._source = source
        self._rows = source.rows if isinstance(source, TellsMore) else rows
        self._symbols = [instrument.symbol for instrument in source.instruments]
        self._audience = audience
        self._clock = clock
        self._pacer = pacer
        self._trouble = trouble
        self._made = 0

    async def run(self) -> None:
        run = self._run_by_clock if self._clock.script_ns is None else self._run_script
        with suppress(TimeoutError):
            async with asyncio.timeout(self._config.seconds):
                await run()
        for connection in list(self._audience.present.values()):
            connection.release_all()
        self._audience.changed.set()

    async def _run_by_clock(self) -> None:
        loop = asyncio.get_running_loop()
        shown_until = self._clock.now_ns()
        self._source.jump_to(shown_until)
        next_slice = loop.time()
        while not self._is_complete():
            now = self._clock.now_ns()
            if abs(now - shown_until) > _BEHIND_NS:
                self.left_out_s += max(0, now - shown_until - _BEHIND_NS) / NS_PER_SECOND
                self._source.jump_to(now - _BEHIND_NS)
            await self._show(self._source.until(now))
            shown_until = now
            for connection in list(self._audience.present.values()):
                connection.release_due()
            next_slice = max(next_slice + _SLICE_S, loop.time())
            await asyncio.sleep(next_slice - loop.time())

    async def _run_script(self) -> None:
        while not self._is_complete():
            ticks = self._source.take(TICKS_PER_TURN)
            if not len(ticks):
                return
            await self._show(ticks)
            while self._audience.backlog_above(TICKS_PER_TURN):
                await self._change()

    async def _show(self, ticks: Ticks) -> None:
        for number, tick in enumerate(self._rows(ticks), start=1):
            if self._clock.script_ns is not None:
                await self._await_audience()
                if self._pacer is not None and not await self._pacer.until(tick.at_ns):
                    continue
                self._clock.script_ns = max(self._clock.script_ns, tick.at_ns)
            self._show_one(tick)
            if self._is_complete():
                return
            if number % TICKS_PER_TURN == 0:
                await asyncio.sleep(0)

    def _show_one(self, tick: Tick) -> None:
        if self._trouble.chaos.clock_ns:
            tick = tick._replace(ts_ns=tick.ts_ns + self._trouble.chaos.clock_ns)
        symbol = self._symbols[tick.instrument]
        for watch in self.watchers:
            watch(tick)
        for connection in self._audience.present.values():
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
        return self._config.events is not None and self._made >= self._config.events

    async def _await_audience(self) -> None:
        while self._audience.listening < self._config.audience:
            self.waits_for_audience = True
            await self._change()
        self.waits_for_audience = False

    async def _change(self) -> None:
        self._audience.changed.clear()
        await self._audience.changed.wait()
