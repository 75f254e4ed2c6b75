"""Feeds that are called: who may call, what came before, and the answer once it is durable.

A delivery goes the way of every frame: verified, appended to the journal, read, queued. The caller
hears 200 only when its frame is on the disk; a sender that hears anything else sends again. Refused
callers are counted by reason and leave no frame.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final, Protocol

from edc_pipeline.capture.connection import Host
from edc_pipeline.capture.delivered import (
    WINDOW_S,
    Delivered,
    Look,
    durable_of,
    read_kept,
    write_kept,
)
from edc_pipeline.capture.intake import FeedState
from edc_pipeline.capture.journal.blocks import Line
from edc_pipeline.settings import Webhook as Rules
from edc_pipeline.settings_of_feeds import Feed
from edc_pipeline.transports.webhook import (
    Answer,
    Call,
    Limits,
    Listener,
    NoWebhookPort,
    listen,
)
from edc_pipeline.vendors.contract import Delivery, Session, Webhook
from edc_pipeline.vendors.shards import WHOLE
from edc_pipeline.waiting import wait_at_most

log = logging.getLogger(__name__)

_RETRY_PORT_S: Final = 2.0
_KEEP_EVERY_S: Final = 5.0
# A frame's commit takes 50 ms; a disk that stalls is waited for so long as the sender waits for us.
_NO_ROOM_S: Final = 1.0
# Reasons that a vendor's rules may give; the rest is one.
_REASONS: Final = 20
# Of one reason: the first is told, and then every so manieth.
_TELL_EVERY: Final = 1000

_OK: Final = Answer(HTTPStatus.OK)


class CalledHost(Host, Protocol):
    """What a called feed needs of its collector, beside what a connection does."""

    def durable(self) -> asyncio.Future[None]: ...

    def secret(self, feed: Feed) -> str: ...

    @property
    def stopping(self) -> bool: ...


class CalledFeeds:
    """One collector's listener, and the routes of its feeds."""

    def __init__(
        self, rules: Rules, spool: Path, clock: Callable[[], int], stop_s: float = 5.0
    ) -> None:
        self._rules = rules
        self._spool = spool
        self._clock = clock
        self._listener = Listener(
            Limits(
                body_bytes=rules.body_kib << 10,
                at_once=rules.at_once,
                read_s=rules.read_seconds,
                stop_s=min(stop_s, rules.read_seconds),
            ),
            proxy_header=rules.proxy_header,
            proxies=rules.proxies,
        )
        self._ours = asyncio.Event()  # the spool is: what is delivered can be made durable
        self._opening = asyncio.Lock()
        self._open = False
        self._delivered: dict[str, Delivered] = {}
        self._kept: dict[str, dict[bytes, int]] = {}
        self._closed = asyncio.Event()
        self._remembered = 0  # as the file has it
        self._keeping: asyncio.Task[None] | None = None

    @property
    def strays(self) -> int:
        return self._listener.strays

    async def spool_is_ours(self, feeds: Mapping[str, Feed]) -> None:
        """From now on. `NoWebhookPort` where one of these feeds needs the port and it is taken."""
        self._kept = await asyncio.to_thread(read_kept, self._spool)
        called = {name for name, feed in feeds.items() if feed.spec.way_in == "webhook"}
        if called:
            # To hear 404 before the route is there would make a sender give up.
            self._listener.awaited |= called
            await self._listen()
        self._ours.set()

    async def _listen(self) -> None:
        async with self._opening:
            if self._open:
                return
            rules = self._rules
            await self._listener.start(listen(rules.host, rules.port))
            self._open = True
            self._keeping = asyncio.create_task(self._keep_forever())
            log.info("webhooks at http://%s:%d/<feed>", rules.host, rules.port)

    async def hold(
        self,
        host: CalledHost,
        state: FeedState,
        feed: Feed,
        connection: str,
        stop: asyncio.Event,
        watch: Callable[[CalledFeed], None],
    ) -> None:
        """Take what is delivered to this feed until `stop`."""
        state.waits = True
        self._listener.awaited.add(state.source.name)
        if not await unless(stop, self._ours) or not await self._port(state, stop):
            state.waits = False
            return
        name = state.source.name
        memory, per_second = self._memory(name), self._rules.per_second
        route = CalledFeed(host, state, feed, connection, memory, self._clock, per_second)
        watch(route)
        self._listener.routes[name] = route  # a former one answers what it was told already
        state.waits = False
        state.connections += 1
        log.info("%s: can be called at /%s", name, name)
        try:
            await stop.wait()
        finally:
            state.connections -= 1
            # At the collector's end the route stays until the listener closes: to be told that
            # there is no such source would make a sender give up.
            if self._listener.routes.get(name) is route and not host.stopping:
                del self._listener.routes[name]
                self._listener.awaited.discard(name)

    async def _port(self, state: FeedState, stop: asyncio.Event) -> bool:
        while not stop.is_set():
            try:
                await self._listen()
            except NoWebhookPort as taken:
                if state.last_problem != str(taken):
                    state.last_problem = str(taken)
                    log.error("%s: %s", state.source.name, taken)
                await wait_at_most(stop, _RETRY_PORT_S)
            else:
                return True
        return False

    def _memory(self, name: str) -> Delivered:
        known = self._delivered.get(name)
        if known is None:
            most = int(self._rules.per_second * (WINDOW_S + 2)) * 2  # two keys a delivery
            known = self._delivered[name] = Delivered(most)
            known.recall(self._kept.pop(name, {}))
        return known

    async def _keep_forever(self) -> None:
        """Until closed, and then once more. Never cancelled: a thread would go on writing."""
        while not self._closed.is_set():
            await wait_at_most(self._closed, _KEEP_EVERY_S)
            await self._keep()

    async def _keep(self) -> None:
        remembered = sum(of.remembered for of in self._delivered.values())
        if remembered == self._remembered:
            return
        looks = {name: of.look() for name, of in self._delivered.items()}
        try:
            if await asyncio.to_thread(self._write, looks):
                self._remembered = remembered
        except OSError as error:
            log.warning("can't keep which deliveries came: %s", error.strerror)

    def _write(self, looks: Mapping[str, Look]) -> bool:
        """Whether that was all: what is not durable yet waits for the next time."""
        kept = {name: durable_of(look) for name, look in looks.items()}
        write_kept(self._spool, {**self._kept, **kept})
        return all(len(kept[name]) == len(look) for name, look in looks.items())

    async def close(self) -> None:
        """No more calls; those under way are answered. While the journal still commits."""
        await self._listener.stop()
        if self._keeping is not None:
            self._closed.set()
            await self._keeping


async def unless(stop: asyncio.Event, event: asyncio.Event) -> bool:
    """Whether the event came before the stop."""
    waiting = {asyncio.create_task(stop.wait()), asyncio.create_task(event.wait())}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
    return event.is_set() and not stop.is_set()


@dataclass(slots=True)
class _Bucket:
    """So many a second, and as many at once."""

    per_s: float
    tokens: float
    at_s: float

    def wait_s(self, now_s: float) -> float:
        """Take one; 0 where there was one, else in how many seconds there will be."""
        most = max(self.per_s, 1.0)
        self.tokens = min(most, self.tokens + (now_s - self.at_s) * self.per_s)
        self.at_s = now_s
        if self.tokens < 1:
            return (1 - self.tokens) / self.per_s
        self.tokens -= 1
        return 0.0


class CalledFeed:
    """One feed's end of the listener; for the watch it is a line that always stands."""

    acknowledged = True
    asking_s = 0.0  # nothing is asked for
    number, shard = 0, WHOLE  # it has no other connection
    with_events = spoke_at = 0  # the feed's own count says the same

    def __init__(
        self,
        host: CalledHost,
        state: FeedState,
        feed: Feed,
        connection: str,
        delivered: Delivered,
        clock: Callable[[], int],
        per_second: float,
    ) -> None:
        assert feed.spec.webhook is not None
        self._host = host
        self._state = state
        self.feed = feed
        self._webhook: Webhook = feed.spec.webhook
        self._delivered = delivered
        self._clock = clock
        self._secret = host.secret(feed)
        self._line: Line = host.open_line(state, feed, connection)
        self._session: Session = host.open_session(feed)
        now_s = time.monotonic()
        self._bucket = _Bucket(per_second, max(per_second, 1.0), now_s)
        self.standing_since_s: float | None = now_s

    def begin_anew(self) -> None:
        self._line = self._host.open_line(self._state, self.feed, self._line.connection)

    def ask_to_reconnect(self, reason: str) -> None:
        """It is they who call."""

    def refused(self, why: str) -> None:
        counts = self._state.refused
        if why not in counts and len(counts) >= _REASONS:
            why = "other reasons"
        counts[why] += 1
        if counts[why] % _TELL_EVERY == 1:
            said = self._state.source.name, why, counts[why]
            log.warning("%s: a call was refused: %s (%d so far)", *said)

    def _refuse(self, why: str, status: HTTPStatus, retry_after_s: float = 0.0) -> Answer:
        self.refused(why)
        return Answer(status, retry_after_s)

    def refuses(self, source: str) -> Answer | None:
        allowed = self.feed.options.get("sources", self._webhook.sources)
        if allowed and source not in allowed:
            return self._refuse("address not allowed", HTTPStatus.FORBIDDEN)
        return None

    async def called(self, call: Call) -> Answer:
        now_ns, options = self._clock(), self.feed.options
        delivery = Delivery(call.body, call.headers, call.source, call.query, call.path)
        if not self._secret:  # nobody can prove to know it
            return self._refuse("no secret is set", HTTPStatus.UNAUTHORIZED)
        why = self._webhook.verify(delivery, self._secret, now_ns, options)
        if why is not None:
            return self._refuse(why, HTTPStatus.UNAUTHORIZED)
        wait_s = self._bucket.wait_s(time.monotonic())
        if wait_s:
            return self._refuse("too many a second", HTTPStatus.TOO_MANY_REQUESTS, wait_s)
        keys = self._webhook.idempotency_keys(delivery, options)
        known = self._delivered.find(keys, now_ns)
        if known is not None:
            self._state.delivered_again += 1
            return _OK if known.durable is None else await self._once(known.durable)
        if not self._host.has_room():
            return self._refuse("no room", HTTPStatus.SERVICE_UNAVAILABLE, _NO_ROOM_S)
        self._host.take(self._state, self._line, self._session, [self._kept(call.body)], now_ns)
        durable = self._host.durable()
        self._delivered.remember(keys, durable, now_ns)
        return await self._once(durable)

    def _kept(self, body: bytes) -> bytes:
        """The body without the secret, where that stands in it: no file may hold one."""
        secret = self._secret.encode()
        body = body.replace(secret, b"*" * len(secret))  # however short
        return self._state.hidden.in_frame(body)

    async def _once(self, durable: asyncio.Future[None]) -> Answer:
        # `wait` leaves it be when the caller hangs up: another may wait for the same.
        done, _ = await asyncio.wait({durable}, timeout=self._webhook.answer_within_s)
        if done:
            return _OK
        return self._refuse("not durable in time", HTTPStatus.SERVICE_UNAVAILABLE, _NO_ROOM_S)
