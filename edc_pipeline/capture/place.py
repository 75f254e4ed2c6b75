"""A place at a vendor's: a connection that is kept, and handed over before its vendor ends it.

Some vendors end every connection after so long (Binance: 24 hours), or say that they are about to.
Some minutes before, a second one is opened; when it delivers what was asked for, the first is let
go. What both heard is a
duplicate by identity, so nothing is missing and nothing is twice.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol

from edc_pipeline.capture.admission import TAKEN_TIMES
from edc_pipeline.capture.connection import FeedConnection, Host
from edc_pipeline.capture.intake import FeedState
from edc_pipeline.capture.mute_lines import WatchedLine
from edc_pipeline.settings_of_feeds import Feed
from edc_pipeline.transports.backoff import SETTLED_S, Backoff
from edc_pipeline.transports.contract import GaveUp
from edc_pipeline.transports.websocket import Endpoint, keep_connected
from edc_pipeline.vendors.shards import WHOLE, Shard

log = logging.getLogger(__name__)

# How long before its end a connection is handed over: enough for many tries, and for a symbol that
# speaks rarely. A quarter of a life that is short.
_HAND_OVER_S: Final = 300.0
_HAND_OVER_SHARE: Final = 0.25
_LOOK_SHARE: Final = 0.01
_LOOK_EVERY_S: Final = 0.05


@dataclass(slots=True, eq=False)
class Place:
    """One connection of a feed as it is set: what it asks for, and who holds it."""

    state: FeedState
    feed: Feed  # with the symbols of its shard alone
    number: int
    shard: Shard = WHOLE
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    standing_before: int = 0  # of the feed, when this place was made
    # Where the vendor allows so many connections and no more: whether one more may be made.
    has_room: Callable[[], bool] = lambda: True
    held: list[_Held] = field(default_factory=list)  # the latest last; two while handed over
    handed_over_s: float = -math.inf  # when the latest was begun for that
    # A connection's name is its own: what one delivers again must be told from what is new.
    names: Iterator[int] = field(default_factory=itertools.count)

    @property
    def name(self) -> str:
        return self.state.source.name

    @property
    def ended(self) -> bool:
        return self.task is None or self.task.done()

    @property
    def connections(self) -> int:
        """That stand or are being made."""
        return 0 if self.ended else max(1, len(self.held))

    def delivers(self) -> bool:
        if self.held:
            return self.held[-1].connection.delivers
        return self.state.connections > self.standing_before  # no websocket

    def be(self, shard: Shard) -> None:
        self.shard = shard
        for held in self.held:
            held.connection.shard = shard

    def change(self, feed: Feed) -> bool:
        """Ask for other symbols on the connections that stand; False: they must be made anew."""
        if not self.held or not all(held.connection.change(feed) for held in self.held):
            return False
        self.feed = feed
        return True


@dataclass(slots=True, eq=False)
class _Held:
    connection: FeedConnection
    stop: asyncio.Event
    task: asyncio.Task[None]


class PlaceHost(Host, Protocol):
    """What a place needs of its collector, beside what a connection does."""

    def secret(self, feed: Feed) -> str: ...

    @property
    def close_within_s(self) -> float:
        """How long a vendor may take to answer our close frame."""
        ...


async def hold(host: PlaceHost, place: Place, lines: list[WatchedLine]) -> None:
    """Keep a connection until the place is given up. Those that are kept are among `lines`."""
    stopping = asyncio.create_task(place.stop.wait())
    _begin(host, place, lines)
    try:
        while True:
            current = place.held[-1]
            ending = asyncio.create_task(current.connection.ending.wait())
            try:
                await asyncio.wait(
                    {current.task, stopping, ending},
                    timeout=_look_again_s(current.connection),
                    return_when=asyncio.FIRST_COMPLETED,
                )
            finally:
                ending.cancel()
            if current.task.done() and not place.stop.is_set():
                await current.task  # it ends by itself when its vendor refused for good
            if place.stop.is_set():
                break
            is_due = _is_due(place, current.connection)
            current.connection.ending.clear()  # without room for a second one, it ends as any does
            if is_due and place.has_room():
                place.handed_over_s = time.monotonic()
                log.info("%s: a new connection before the vendor ends this", place.name)
                _begin(host, place, lines)
                await _until_delivers(place, current)
                await _end(place, current, lines)
    except GaveUp as reason:
        place.state.gave_up = str(reason)
        log.error("%s: gave up: %s", place.name, reason)
    finally:
        stopping.cancel()
        for held in list(place.held):
            await _end(place, held, lines)


def _begin(host: PlaceHost, place: Place, lines: list[WatchedLine]) -> None:
    stop = asyncio.Event()
    connection = FeedConnection(
        host, place.state, place.feed, place.number, stop, place.shard, place.names
    )
    lines.append(connection)
    task = asyncio.create_task(_keep(host, connection, stop))
    place.held.append(_Held(connection, stop, task))


async def _end(place: Place, held: _Held, lines: list[WatchedLine]) -> None:
    """Let it go; what had arrived by then is still heard."""
    held.stop.set()
    try:
        with suppress(GaveUp):  # it is not needed any more
            await held.task
    finally:
        held.task.cancel()
        if held in place.held:
            place.held.remove(held)
            lines.remove(held.connection)


async def _keep(host: PlaceHost, connection: FeedConnection, stop: asyncio.Event) -> None:
    ending = asyncio.create_task(connection.end_with(stop))
    backoff = Backoff(heard=connection.begins_to_deliver)
    try:
        while not stop.is_set():
            # Ends with its place, or when the watch wants this connection made anew.
            connection.end.clear()
            await keep_connected(
                lambda: endpoint_of(
                    connection.feed, host.secret(connection.feed), host.close_within_s
                ),
                connection,
                stop=connection.end,
                backoff=backoff,
                clock=host.clock,
                speech=connection.speech,
            )
    finally:
        ending.cancel()


def endpoint_of(feed: Feed, secret: str, close_within_s: float = 5.0) -> Endpoint:
    spec = feed.spec
    customs = feed.websocket
    return Endpoint(
        url=feed.address,
        query=customs.query(feed.subscription, secret) if customs.query else {},
        close_timeout_s=close_within_s,
        stale_after_s=spec.stale_after_s,
        max_frame_bytes=TAKEN_TIMES * spec.max_frame_bytes,
        messages_per_s=customs.messages_per_s,
        keepalive=customs.keepalive,
        fatal_statuses=feed.vendor_rules.fatal_statuses,
    )


# Handing over


def _due_in_s(connection: FeedConnection) -> float | None:
    """None: never, or not known while it does not stand."""
    lasts_s, since_s = connection.feed.websocket.lasts_s, connection.standing_since_s
    if lasts_s is None or since_s is None:
        return None
    early_s = min(_HAND_OVER_S, _HAND_OVER_SHARE * lasts_s)
    return since_s + lasts_s - early_s - time.monotonic()


def _look_again_s(connection: FeedConnection) -> float | None:
    lasts_s = connection.feed.websocket.lasts_s
    if lasts_s is None:
        return None
    due_s, step_s = _due_in_s(connection), lasts_s * _LOOK_SHARE
    # It may have been made anew meanwhile, or there may be no room for a second one yet.
    return step_s if due_s is None or due_s <= 0 else due_s


def _is_due(place: Place, connection: FeedConnection) -> bool:
    if connection.ending.is_set():
        # A vendor that says so on each new connection must not be stormed: it ends as any does.
        return time.monotonic() - place.handed_over_s >= SETTLED_S
    due_s = _due_in_s(connection)
    return due_s is not None and due_s <= 0


async def _until_delivers(place: Place, current: _Held) -> None:
    """Until the newest delivers, or the vendor ended the one before: there is nothing to wait for
    then, and no reason to make that one anew."""
    newest = place.held[-1]
    while (  # noqa: ASYNC110 - an event would be one more thing that every connection has to keep
        not place.stop.is_set()
        and not newest.task.done()
        and not newest.connection.delivers
        and current.connection.standing_since_s is not None
    ):
        await asyncio.sleep(_LOOK_EVERY_S)
