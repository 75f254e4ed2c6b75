"""One connection of a feed, between the transport below and the collector above."""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from edc_pipeline.capture.intake import FeedState
from edc_pipeline.capture.journal.blocks import Line
from edc_pipeline.settings_of_feeds import Feed
from edc_pipeline.transports.contract import Heard, Speech
from edc_pipeline.vendors.contract import ChangesInPlace, ReadMany, Session, both
from edc_pipeline.vendors.shards import WHOLE, Shard

log = logging.getLogger(__name__)

# A feed may have nothing to say: connected for so long it counts as heard.
QUIET_S: Final = 3.0


class Host(Protocol):
    """What a connection needs of its collector."""

    @property
    def collector(self) -> str: ...

    @property
    def take(self) -> Take: ...

    @property
    def clock(self) -> Callable[[], int]: ...

    def open_line(
        self, state: FeedState, feed: Feed, connection: str, shard: Shard = WHOLE
    ) -> Line: ...

    def open_session(self, feed: Feed) -> Session: ...

    def connection_ended(self, state: FeedState, connection: str) -> None: ...

    def fell_silent(
        self, state: FeedState, reason: str, shard: Shard = WHOLE, since: int | None = None
    ) -> None: ...

    def has_room(self) -> bool: ...

    async def room(self) -> None: ...


class Take(Protocol):
    def __call__(
        self,
        state: FeedState,
        line: Line,
        session: Session,
        payloads: Sequence[bytes],
        received_at: int,
        read_many: ReadMany | None = None,
    ) -> Heard: ...


@dataclass(slots=True)
class FeedConnection:
    """One connection of a feed, as the transport sees it. Each connect is a connection of its own:
    what a reconnect delivers again must be told from what it delivers anew."""

    host: Host
    state: FeedState
    feed: Feed
    number: int
    stop: asyncio.Event
    shard: Shard = WHOLE
    names: Iterator[int] = field(default_factory=itertools.count)
    opens: int = 0
    speech: Speech = field(default_factory=Speech)
    began_at: int = 0
    heard_at: int = 0
    with_events: int = 0  # frames, over all its reconnects
    spoke_at: int = 0  # when the last of them came
    delivered: bool = False  # since it stands
    line: Line | None = None
    session: Session | None = None
    read_many: ReadMany | None = None
    standing_since_s: float | None = None
    asking_s: float = 0.0  # how long the opening takes at the pace that the vendor allows
    reconnect: str = ""  # why, once the watch has asked for it
    end: asyncio.Event = field(default_factory=asyncio.Event)
    ending: asyncio.Event = field(default_factory=asyncio.Event)  # the vendor has said so

    def __post_init__(self) -> None:
        self.began_at = self.host.clock()

    async def end_with(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.end.set()

    def opened(self) -> Sequence[str]:
        self.state.connections += 1
        self.state.standing[self.shard.number] += 1
        self.state.reconnects += self.opens > 0
        self.state.symbol_refused = False  # asked anew, it is refused anew
        name = self.state.source.name
        connection = f"{self.host.collector}/{name}/{self.number}.{next(self.names)}"
        self.line = self.host.open_line(self.state, self.feed, connection, self.shard)
        self.opens += 1
        self.delivered = False
        self.session = self.host.open_session(self.feed)
        self.read_many = self.feed.vendor_rules.reader_of_many(self.feed.subscription)
        self.standing_since_s, self.reconnect = time.monotonic(), ""
        log.info("%s: connected", name)
        asked = self.session.opening()
        self.asking_s = self._takes_s(asked)
        return asked

    def _takes_s(self, messages: Sequence[str]) -> float:
        return len(messages) / (self.feed.websocket.messages_per_s or math.inf)

    def change(self, feed: Feed) -> bool:
        """Ask for other symbols, on this connection. False: it has to be made anew."""
        session, say = self.session, self.speech.say
        if session is None or self.line is None or say is None:
            self.feed = feed
            # One that is being made may ask for the old ones in its address.
            self.reconnect = "other symbols are wanted"
            self.end.set()
            return True
        if not isinstance(session, ChangesInPlace):
            return False
        messages = session.change(feed.subscription)
        if messages is None:
            return False
        # As the session does: what is under way is still of the former symbols.
        of_both = both(self.feed.subscription, feed.subscription)
        self.read_many = feed.vendor_rules.reader_of_many(of_both)
        self.feed = feed
        # What comes from now on is read as the session reads it from now on.
        self.line = self.host.open_line(self.state, feed, self.line.connection, self.shard)
        assert self.standing_since_s is not None
        self.asking_s = time.monotonic() - self.standing_since_s + self._takes_s(messages)
        say(messages)
        return True

    @property
    def delivers(self) -> bool:
        """Whether it stands, has asked for everything, and was answered."""
        if self.session is None or self.standing_since_s is None:
            return False
        asked_s = time.monotonic() - self.standing_since_s - self.asking_s
        if asked_s < 0 or not (self.acknowledged or self._is_never_acknowledged):
            return False
        # It may have nothing to say.
        return self.delivered or asked_s >= QUIET_S

    @property
    def _is_never_acknowledged(self) -> bool:
        return self.feed.spec.acknowledges_within_s is None

    def begins_to_deliver(self) -> None:
        self.delivered = True

    def hear(self, payloads: Sequence[bytes], received_at: int) -> Heard:
        assert self.session is not None
        assert self.line is not None
        self.heard_at = received_at
        state = self.state
        payloads = state.hidden.in_frames(payloads)
        frames = state.frames
        before = frames.with_events
        heard = self.host.take(
            state, self.line, self.session, payloads, received_at, self.read_many
        )
        if frames.with_events != before:
            self.with_events += frames.with_events - before
            self.spoke_at = received_at
        if heard.ending:
            self.ending.set()
        return heard

    @property
    def acknowledged(self) -> bool:
        return self.session is not None and self.session.acknowledged

    def begin_anew(self) -> None:
        if self.session is not None and self.line is not None:
            self.line = self.host.open_line(self.state, self.feed, self.line.connection, self.shard)

    def ask_to_reconnect(self, reason: str) -> None:
        """`Heard.reconnect` would wait for a frame, and a mute vendor may send none at all."""
        if self.session is not None:
            self.reconnect = reason
            self.end.set()

    def closed(self, reason: str) -> None:
        stood, self.session = self.session is not None, None
        reason, self.reconnect = self.state.hidden.in_words(self.reconnect or reason), ""
        self.standing_since_s = None
        self.ending.clear()
        if stood and self.line is not None:
            self.host.connection_ended(self.state, self.line.connection)
        state, shard = self.state, self.shard
        state.connections -= stood
        state.standing[shard.number] -= stood
        before = state.heard.get(shard.number, 0)
        if self.heard_at and before > self.host.clock():
            before = 0  # taken before the clock was set back
        state.heard[shard.number] = max(before, self.heard_at)
        if self.stop.is_set():
            return
        state.last_problem = reason
        log.warning("%s: %s", state.source.name, reason)
        if not state.standing[shard.number]:
            since = state.heard[shard.number] or self.began_at
            self.host.fell_silent(state, reason, shard, since)

    def has_room(self) -> bool:
        return self.host.has_room()

    async def room(self) -> None:
        await self.host.room()
