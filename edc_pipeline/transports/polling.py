"""Frames by asking: one scheduler for all polled feeds of a collector. Knows no vendor.

Feeds that share a key share a lane, and a lane its meter: whoever is due longest is asked next, as
soon as the budget allows. A request counts before it is sent, durably (`Lane.spent`), so that no
crash and no restart makes us ask for more than is allowed.

When it goes wrong:

- no answer, a torn or too long one, a 5xx: that request is made again, later and later;
- the vendor asks to be left alone (429, 503 with Retry-After): the whole lane waits;
- the vendor refuses what one request asks for: it is made again once an hour;
- the vendor refuses the key: the feed gives up.

No request is made while its market is closed, but one more after the close: it brings the last
state of the day.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Literal, Protocol

import aiohttp

from edc_pipeline.transports.backoff import Backoff
from edc_pipeline.transports.budget import NS_PER_S, Meter
from edc_pipeline.transports.contract import GaveUp
from edc_pipeline.transports.http_get import (
    NOTHING_KNOWN,
    Get,
    Got,
    NoAnswer,
    Validators,
    get,
    new_session,
)
from edc_pipeline.waiting import wait_at_most

log = logging.getLogger(__name__)

# Requests of one key that may be under way: enough for 4 s answers at one a second.
_FLYING: Final = 4
# The first round of a feed is spread, but not over more than this a request: a newcomer sees data.
_FIRST_ROUND_S: Final = 1.0
# So much of each interval is random, so that clients cut off together do not return together.
_JITTER: Final = 0.05
# What the vendor refused may be listed tomorrow, and a wrong symbol must not cost a request a tick.
_REFUSED_S: Final = 3600.0
# The wall clock may be set while we wait for an instant of it.
_LONGEST_NAP_S: Final = 60.0
_AFTER_FAILURE_AT_MOST_S: Final = 60.0
_THROTTLED_FIRST_S: Final = 2.0
_THROTTLED_AT_MOST_S: Final = 900.0

Kind = Literal["fine", "failed", "throttled", "refused", "give_up"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer meant for the asking."""

    kind: Kind = "fine"
    reason: str = ""


FINE: Final = Verdict()


class PollListener(Protocol):
    """The other end of one request. All calls come from the event loop; none may block or raise."""

    def answered(self, body: bytes, received_at: int) -> Verdict:
        """A 2xx with its whole body."""
        ...

    def not_modified(self, received_at: int) -> None:
        """A 304: what the last answer said still holds."""
        ...

    def refused(self, status: int, body: bytes) -> Verdict:
        """Any other status."""
        ...

    def failed(self, reason: str) -> None:
        """No answer, or none that could be used."""
        ...

    def put_off(self, wait_s: float) -> None:
        """The vendor wants this key to ask for nothing so long."""
        ...

    def has_room(self) -> bool: ...

    async def room(self) -> None:
        """Returns when there is room for more frames: nothing is asked before."""
        ...


# (instant) → (is the market open, until when that stays so). May be slow: it is asked in a thread.
Hours = Callable[[int], tuple[bool, int | None]]


@dataclass(slots=True, eq=False)
class Ask:
    """One recurring request."""

    get: Get
    every_s: float
    listener: PollListener
    due_s: float = 0.0
    validators: Validators = NOTHING_KNOWN
    backoff: Backoff = field(init=False)
    owes_closing: bool = False  # was made while the market was open, and not since
    holding: Holding | None = None

    def __post_init__(self) -> None:
        every_s = self.every_s
        first_s = min(every_s, max(5.0, every_s / 8))
        self.backoff = Backoff(first_s=first_s, cap_s=max(every_s, _AFTER_FAILURE_AT_MOST_S))


@dataclass(slots=True, eq=False)
class Holding:
    """The requests of one feed, while it is held."""

    asks: Sequence[Ask]
    hours: Hours | None
    on_hours: Callable[[int | None], None]
    over: asyncio.Future[str]
    open: bool = True
    until_ns: int | None = 0  # 0: nobody has looked yet
    flights: set[asyncio.Task[None]] = field(default_factory=set)

    def ended(self) -> bool:
        return self.over.done()


@dataclass(slots=True, eq=False)
class Lane:
    """One vendor key."""

    meter: Meter
    spent: Callable[[], Awaitable[None]]  # makes durable what the meter counted
    due: list[tuple[float, int, Ask]] = field(default_factory=list)
    flying: int = 0
    blocked_until_s: float = 0.0
    backoff: Backoff = field(
        default_factory=lambda: Backoff(first_s=_THROTTLED_FIRST_S, cap_s=_THROTTLED_AT_MOST_S)
    )
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    holdings: int = 0


class Poller:
    """`clock` is the wall's, in ns: budgets and market hours go by it."""

    def __init__(
        self, *, clock: Callable[[], int] = time.time_ns, random: Random | None = None
    ) -> None:
        self._clock = clock
        self._random = random or Random()
        self._numbers = itertools.count()
        self._session: aiohttp.ClientSession | None = None
        self._lanes: set[asyncio.Task[None]] = set()

    async def hold(
        self,
        lane: Lane,
        asks: Sequence[Ask],
        *,
        stop: asyncio.Event,
        hours: Hours | None = None,
        on_hours: Callable[[int | None], None] = lambda _: None,
    ) -> None:
        """Make these requests until `stop` is set; `GaveUp` when asking on is of no use.

        `on_hours` is told when the market closes, with the instant of its opening (0: not known),
        and when it opens, with None.
        """
        loop = asyncio.get_running_loop()
        holding = Holding(asks, hours, on_hours, loop.create_future())
        self._begin(lane, holding)
        stopping = asyncio.create_task(stop.wait())
        try:
            running = lane.task
            assert running is not None
            ends: set[asyncio.Future[Any]] = {stopping, holding.over, running}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if running.done() and not running.cancelled():
                running.result()  # it ends by itself only when something is broken here
        finally:
            stopping.cancel()
            given_up = holding.over.result() if holding.over.done() else ""
            if not holding.over.done():
                holding.over.set_result("")
            await self._leave(lane, holding)
        if given_up and not stop.is_set():
            raise GaveUp(given_up)

    async def close(self) -> None:
        for task in self._lanes:
            task.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _begin(self, lane: Lane, holding: Holding) -> None:
        apart_s = min((a.every_s / len(holding.asks) for a in holding.asks), default=0.0)
        now_s = asyncio.get_running_loop().time()
        for number, ask in enumerate(holding.asks):
            ask.holding = holding
            ask.due_s = now_s + number * min(apart_s, _FIRST_ROUND_S)
            self._push(lane, ask)
        lane.holdings += 1
        if lane.task is None:
            lane.task = asyncio.create_task(self._run(lane))
            self._lanes.add(lane.task)
            lane.task.add_done_callback(self._lanes.discard)

    async def _leave(self, lane: Lane, holding: Holding) -> None:
        for flight in holding.flights:
            flight.cancel()
        await asyncio.gather(*holding.flights, return_exceptions=True)
        lane.due = [entry for entry in lane.due if entry[2].holding is not holding]
        heapq.heapify(lane.due)
        lane.changed.set()
        lane.holdings -= 1
        if not lane.holdings and lane.task is not None:
            # At once: a feed that comes while this one's ends needs a task of its own.
            task, lane.task = lane.task, None
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _push(self, lane: Lane, ask: Ask) -> None:
        heapq.heappush(lane.due, (ask.due_s, next(self._numbers), ask))
        lane.changed.set()

    # -- one lane -------------------------------------------------------------------------------

    async def _run(self, lane: Lane) -> None:
        while True:
            lane.changed.clear()
            wait_s = self._wait_s(lane)
            if wait_s > 0:
                await wait_at_most(lane.changed, min(wait_s, _LONGEST_NAP_S))
                continue
            _, _, ask = heapq.heappop(lane.due)
            await self._make(lane, ask)

    def _wait_s(self, lane: Lane) -> float:
        """How long until the next request of this lane may be made."""
        if not lane.due or lane.flying >= _FLYING:
            return _LONGEST_NAP_S
        now_s = asyncio.get_running_loop().time()
        until_s = max(lane.due[0][0], lane.blocked_until_s) - now_s
        # A nanosecond's wait is one all the same; asyncio would round it away and spin.
        allowed_s = lane.meter.wait_ns(self._clock()) / NS_PER_S
        return max(until_s, 0.001 + allowed_s if allowed_s else 0.0)

    async def _make(self, lane: Lane, ask: Ask) -> None:
        holding = ask.holding
        assert holding is not None
        if not await self._wanted_now(ask, holding):
            if not holding.ended():
                self._push(lane, ask)
            return
        if not ask.listener.has_room():
            await ask.listener.room()
        if holding.ended():
            return
        if lane.meter.wait_ns(self._clock()):
            self._push(lane, ask)  # the room was long in coming
            return
        number = lane.meter.begin(self._clock())
        flight = asyncio.create_task(self._fly(lane, ask, holding))
        lane.flying += 1
        holding.flights.add(flight)
        flight.add_done_callback(holding.flights.discard)
        flight.add_done_callback(lambda _: self._landed(lane, number))

    def _landed(self, lane: Lane, number: int) -> None:
        lane.meter.end(number, self._clock())  # another may have taken its place meanwhile
        lane.flying -= 1
        lane.changed.set()

    async def _wanted_now(self, ask: Ask, holding: Holding) -> bool:
        """Whether its market is open, or closed since it was made last; else it is put off."""
        if holding.hours is None:
            return True
        now_ns = self._clock()
        if holding.until_ns is not None and now_ns >= holding.until_ns:
            was_open = holding.open
            # The first look loads a calendar of 0.4 s.
            now_open, until_ns = await asyncio.to_thread(holding.hours, now_ns)
            holding.open, holding.until_ns = now_open, until_ns
            if was_open != now_open:
                holding.on_hours(None if now_open else until_ns or 0)
        if holding.open or ask.owes_closing:
            ask.owes_closing = holding.open
            return True
        opens_in_s = _LONGEST_NAP_S
        if holding.until_ns is not None:
            opens_in_s = (holding.until_ns - now_ns) / NS_PER_S
        place = holding.asks.index(ask) * min(ask.every_s / len(holding.asks), _FIRST_ROUND_S)
        now_s = asyncio.get_running_loop().time()
        # Looked at again every minute: the wall clock may be set.
        ask.due_s = now_s + min(opens_in_s + place, _LONGEST_NAP_S)
        return False

    # -- one request ----------------------------------------------------------------------------

    async def _fly(self, lane: Lane, ask: Ask, holding: Holding) -> None:
        if self._session is None:
            self._session = new_session()
        await lane.spent()
        if holding.ended():
            return
        wait_s = 0.0
        try:
            got = await get(self._session, ask.get, ask.validators, self._clock)
        except NoAnswer as none:
            ask.listener.failed(str(none))
            verdict = Verdict("failed", str(none))
        else:
            verdict, wait_s = self._heard(ask, got), got.wait_s
        if holding.ended():
            return
        if verdict.kind == "give_up":
            holding.over.set_result(verdict.reason)
            return
        self._put_off(lane, ask, verdict, wait_s)
        self._push(lane, ask)

    @staticmethod
    def _heard(ask: Ask, got: Got) -> Verdict:
        if got.status == 304:
            ask.listener.not_modified(got.received_at)
            return FINE
        if 200 <= got.status < 300:
            verdict = ask.listener.answered(got.body, got.received_at)
            ask.validators = got.validators if verdict.kind == "fine" else NOTHING_KNOWN
            return verdict
        verdict = ask.listener.refused(got.status, got.body)
        if verdict.kind == "failed" and got.wait_s:
            return Verdict("throttled", verdict.reason)
        return verdict

    def _put_off(self, lane: Lane, ask: Ask, verdict: Verdict, wait_s: float) -> None:
        """When this request is due again, and the lane free."""
        now_s = asyncio.get_running_loop().time()
        match verdict.kind:
            case "fine":
                ask.backoff.delivered()
                lane.backoff.delivered()
                shift = 1 + _JITTER * (2 * self._random.random() - 1)
                ask.due_s = max(now_s, ask.due_s + ask.every_s * shift)
            case "throttled":
                lane.blocked_until_s = max(
                    lane.blocked_until_s, now_s + max(wait_s, lane.backoff.next_wait_s())
                )
                for other in (ask, *(entry[2] for entry in lane.due)):
                    other.listener.put_off(lane.blocked_until_s - now_s)
            case "refused":
                ask.due_s = now_s + max(ask.every_s, _REFUSED_S)
            case _:
                ask.due_s = now_s + ask.backoff.next_wait_s()
