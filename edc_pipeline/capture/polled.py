"""Feeds that are polled: their requests, and what becomes of the answers.

An answer of 2xx is a frame: journaled, read and queued as any. Each request has a line of its own
in the journal, with the subscription of its own symbols, so that recovery, retry and `edc journal`
read an answer as it was read. What has another status is no frame: it is told, and acted on.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from edc_pipeline.capture.called import unless
from edc_pipeline.capture.changes import Changes
from edc_pipeline.capture.connection import Host
from edc_pipeline.capture.intake import FeedState, tell_problem
from edc_pipeline.capture.journal.blocks import Line
from edc_pipeline.capture.spent import Spent
from edc_pipeline.events import AssetClass
from edc_pipeline.market_day import MARKET_ZONE, NS_PER_SECOND
from edc_pipeline.market_hours import HoursOf, hours
from edc_pipeline.polling_plan import Plan, PollHours, budgets_of
from edc_pipeline.settings_of_feeds import Feed
from edc_pipeline.transports.budget import Limit
from edc_pipeline.transports.contract import GaveUp
from edc_pipeline.transports.http_get import Get
from edc_pipeline.transports.polling import FINE, Ask, Hours, Lane, Poller, Verdict
from edc_pipeline.vendors.contract import Authorization, Control, Polling, Request
from edc_pipeline.vendors.reading import status_means

log = logging.getLogger(__name__)

# Failures in a row, and each request's at least, after which nothing is known of the feed.
_OUT_OF_TOUCH: Final = 3
# A symbol that so many answers did not name is told: it may not exist.
_UNHEARD_AFTER: Final = 3
_SAID: Final = 100  # characters of a refusal's body that are told


class PolledHost(Host, Protocol):
    """What a polled feed needs of its collector, beside what a connection does."""

    def secret(self, feed: Feed) -> str: ...

    def delivers(self, state: FeedState) -> None:
        """The vendor answers: nothing is missing from now on."""
        ...


class PolledFeeds:
    """One collector's scheduler, and the budgets of its keys."""

    def __init__(self, spool: Path, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._poller = Poller(clock=clock)
        self._spent = Spent(spool, clock)
        self._lanes: dict[str, Lane] = {}
        # The spool is, and what was spent of the budgets is known: it can be kept there.
        self._ours = asyncio.Event()
        self._beginning: asyncio.Task[None] | None = None

    @property
    def problem(self) -> str:
        """What the disk refuses; empty while it does not."""
        return self._spent.problem

    def spool_is_ours(self) -> None:
        """From now on: before that nothing is asked, for its owner spends from the same budgets."""
        self._beginning = asyncio.create_task(self._begin())

    async def _begin(self) -> None:
        await self._spent.read()
        self._ours.set()

    async def hold(
        self,
        host: PolledHost,
        state: FeedState,
        feed: Feed,
        plans: Sequence[Plan],
        connection: str,
        stop: asyncio.Event,
    ) -> None:
        """Ask until `stop`. `plans` are those of all polled feeds."""
        state.waits = True
        ours = await unless(stop, self._ours)
        state.waits = False
        if not ours:
            return
        contact = _Contact(host, state, self._clock)
        asks = _asks(host, contact, feed, connection)
        plan = feed.plan(state.source.name)
        try:
            await self._poller.hold(
                self._lane(plan, plans),
                asks,
                stop=stop,
                hours=opening_hours(plan.asset_classes, plan.hours, feed.spec.hours_of),
                on_hours=contact.market,
            )
        except GaveUp as reason:
            state.gave_up = str(reason)
            log.error("%s: gave up: %s", state.source.name, reason)
        finally:
            contact.left()

    def _lane(self, plan: Plan, plans: Sequence[Plan]) -> Lane:
        of_key = [p for p in plans if p.key == plan.key] or [plan]
        limits = [Limit(budget.requests, budget.per) for budget in budgets_of(of_key)]
        meter = self._spent.meter(plan.key, limits)
        lane = self._lanes.get(plan.key)
        if lane is None:
            lane = self._lanes[plan.key] = Lane(meter, self._spent.keep)
        lane.meter = meter
        return lane

    async def close(self) -> None:
        await self._poller.close()
        if self._beginning is not None:
            self._beginning.cancel()
            await asyncio.gather(self._beginning, return_exceptions=True)


def opening_hours(
    classes: frozenset[AssetClass], wanted: PollHours, hours_of: HoursOf = "us"
) -> Hours | None:
    """When the market of any of these is open; None: always."""
    if wanted == "always" or (hours_of == "us" and classes & {"crypto", "future"}):
        return None

    def look(now_ns: int) -> tuple[bool, int | None]:
        extended = wanted == "extended"
        found = [hours(c, now_ns, extended=extended, hours_of=hours_of) for c in sorted(classes)]
        changes = [h.until_ns for h in found if h.until_ns is not None]
        return any(h.is_open for h in found), min(changes, default=None)

    return look


def _asks(host: PolledHost, contact: _Contact, feed: Feed, connection: str) -> list[Ask]:
    polling = feed.spec.polling
    assert polling is not None
    secret = host.secret(feed)
    key = polling.authorize(secret) if secret else Authorization()
    every_s = feed.plan("").every_s
    requests = polling.requests(feed.subscription)
    contact.requests = len(requests)
    return [
        Ask(
            _get(feed, request, key, secret),
            every_s,
            PolledRequest(host, contact, feed, request, f"{connection}.{number}"),
        )
        for number, request in enumerate(requests)
    ]


def _get(feed: Feed, request: Request, key: Authorization, secret: str) -> Get:
    return Get(
        url=feed.address.rstrip("/") + request.path,
        query=request.query,
        headers=key.headers,
        secret_query=key.query,
        secret=secret,
        max_body_bytes=feed.spec.max_frame_bytes,
    )


@dataclass(slots=True)
class _Contact:
    """Whether a feed's vendor answers, over all of its requests."""

    host: PolledHost
    state: FeedState
    clock: Callable[[], int]
    requests: int = 1
    stands: bool = False
    stood: bool = False
    failures: int = 0  # in a row
    refused: set[str] = field(default_factory=set)  # connections of requests that are

    def good(self, connection: str) -> None:
        state = self.state
        self.failures = 0
        self.refused.discard(connection)
        if not self.refused:
            state.subscription = ""
        if not self.stands:
            self.stands = True
            state.connections += 1
            state.reconnects += self.stood
            self.stood = True
            log.info(
                "%s: %s", state.source.name, "answers again" if state.reconnects else "answers"
            )
        self.host.delivers(state)

    def bad(self, reason: str) -> None:
        state = self.state
        self.failures += 1
        if reason != state.last_problem or self.failures == 1:
            log.warning("%s: %s", state.source.name, reason)
        state.last_problem = reason
        if self.failures >= max(_OUT_OF_TOUCH, self.requests):
            self.lost(reason)

    def lost(self, reason: str) -> None:
        self.state.last_problem = reason
        if self.stands:
            self.stands = False
            self.state.connections -= 1
        if not self.state.connections:
            self.host.fell_silent(self.state, reason)

    def market(self, opens_ns: int | None) -> None:
        """The market opened, or closed until then."""
        state = self.state
        if opens_ns is None:
            state.closed = ""
        else:
            opens = dt.datetime.fromtimestamp(opens_ns // NS_PER_SECOND, MARKET_ZONE)
            state.closed = (
                f"closed until {opens:%a %Y-%m-%d %H:%M} New York" if opens_ns else "closed"
            )
        log.info("%s: the market is %s", state.source.name, state.closed or "open")

    def left(self) -> None:
        self.state.closed = ""
        if self.stands:
            self.stands = False
            self.state.connections -= 1


class PolledRequest:
    """One request's answers, on their way to the journal and the queues."""

    def __init__(
        self, host: PolledHost, contact: _Contact, feed: Feed, request: Request, connection: str
    ) -> None:
        self._host = host
        self._contact = contact
        self._state = contact.state
        # A response is read by the rules of a subscription to its own symbols.
        self._feed = feed.model_copy(update={"symbols": request.symbols})
        self._symbols = frozenset(request.symbols)
        self._connection = connection
        self._line: Line | None = None  # begins with the first answer
        session = host.open_session(self._feed)
        assert isinstance(session, Changes)
        self._session = session
        self._answers = 0
        polling: Polling | None = feed.spec.polling
        assert polling is not None
        self._refusal = polling.refusal

    def answered(self, body: bytes, received_at: int) -> Verdict:
        state, session = self._state, self._session
        if self._line is None:
            self._line = self._host.open_line(state, self._feed, self._connection)
        heard = self._host.take(state, self._line, session, [body], received_at)
        if heard.give_up:
            return Verdict("give_up", heard.give_up)
        said = session.said
        if session.unreadable:
            self._contact.bad(state.last_problem)
            return Verdict("failed", state.last_problem)
        if said is not None and said.kind == "transient":
            self._contact.bad(f"vendor error: {said.detail}")
            return Verdict("throttled", said.detail)
        if said is not None and said.kind == "refused":
            self._contact.refused.add(self._connection)
            return Verdict("refused", said.detail)
        self._contact.good(self._connection)
        self._look_for_symbols()
        return FINE

    def not_modified(self, received_at: int) -> None:
        self._state.last_frame_at = received_at  # so long at least nothing is missing
        self._contact.good(self._connection)

    def refused(self, status: int, body: bytes) -> Verdict:
        told = self._refusal(status, body) if self._refusal else _by_status(status, body)
        if told.kind in {"fatal", "refused"}:
            about = ", ".join(sorted(self._symbols))
            if told.kind == "refused" and about not in told.detail:
                told = Control("refused", f"{told.detail} ({about})"[: 2 * _SAID])
            heard = tell_problem(self._state, told, ())
            if heard.give_up:
                return Verdict("give_up", heard.give_up)
            self._contact.refused.add(self._connection)
            return Verdict("refused", told.detail)
        self._contact.bad(f"vendor error: {told.detail}")
        return Verdict("throttled" if status == 429 else "failed", told.detail)

    def failed(self, reason: str) -> None:
        self._contact.bad(reason)

    def put_off(self, wait_s: float) -> None:
        """Longer than to the next poll: what is said meanwhile is missed."""
        if wait_s > self._feed.plan("").every_s:
            why = self._state.last_problem or "another feed of this key asked too much"
            self._contact.lost(
                f"{why.partition('; asked again')[0]}; asked again in {wait_s:.0f} s"
            )

    def has_room(self) -> bool:
        return self._host.has_room()

    async def room(self) -> None:
        await self._host.room()

    def _look_for_symbols(self) -> None:
        """Vendors leave out what they do not know: a mistyped symbol is silence."""
        self._answers += 1
        state = self._state
        state.remember_symbols(self._symbols)
        if self._answers < _UNHEARD_AFTER:
            return
        silent = self._symbols - state.symbols_before
        new = silent.difference(state.silent_symbols)
        if self._answers == _UNHEARD_AFTER and new:
            log.warning(
                "%s: asked for and not told of: %s", state.source.name, ", ".join(sorted(new))
            )
        others = set(state.silent_symbols) - self._symbols
        state.silent_symbols = sorted(others | silent)


def _by_status(status: int, body: bytes) -> Control:
    if 300 <= status < 400:
        return Control("refused", f"HTTP {status}: sent elsewhere, and no redirect is followed")
    return status_means(status, body[:_SAID].decode("utf-8", "replace"))
