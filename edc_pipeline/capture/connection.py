"""One connection of a feed, between the transport below and the collector above."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from edc_pipeline.capture.intake import FeedState
from edc_pipeline.capture.journal.blocks import Line
from edc_pipeline.settings import Feed
from edc_pipeline.transports.contract import Heard
from edc_pipeline.vendors.contract import Session

log = logging.getLogger(__name__)


class Host(Protocol):
    """What a connection needs of its collector."""

    @property
    def collector(self) -> str: ...

    @property
    def take(self) -> Take: ...

    def open_line(self, state: FeedState, feed: Feed, connection: str) -> Line: ...

    def open_session(self, feed: Feed) -> Session: ...

    def connection_ended(self, state: FeedState, connection: str) -> None: ...

    def fell_silent(self, state: FeedState, reason: str) -> None: ...

    def has_room(self) -> bool: ...

    async def room(self) -> None: ...


class Take(Protocol):
    def __call__(
        self, state: FeedState, line: Line, session: Session, payload: bytes, received_at: int
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
    opens: int = 0
    line: Line | None = None
    session: Session | None = None
    standing_since_s: float | None = None
    asking_s: float = 0.0  # how long the opening takes at the pace that the vendor allows
    reconnect: str = ""  # why, once the watch has asked for it
    end: asyncio.Event = field(default_factory=asyncio.Event)

    async def end_with(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self.end.set()

    def opened(self) -> Sequence[str]:
        self.state.connections += 1
        self.state.reconnects += self.opens > 0
        name = self.state.source.name
        connection = f"{self.host.collector}/{name}/{self.number}.{self.opens}"
        self.line = self.host.open_line(self.state, self.feed, connection)
        self.opens += 1
        self.session = self.host.open_session(self.feed)
        self.standing_since_s, self.reconnect = time.monotonic(), ""
        log.info("%s: connected", name)
        asked = self.session.opening()
        self.asking_s = len(asked) / (self.feed.spec.websocket.messages_per_s or math.inf)
        return asked

    def frame(self, payload: bytes, received_at: int) -> Heard:
        assert self.session is not None
        assert self.line is not None
        return self.host.take(self.state, self.line, self.session, payload, received_at)

    @property
    def acknowledged(self) -> bool:
        return self.session is not None and self.session.acknowledged

    def begin_anew(self) -> None:
        if self.session is not None and self.line is not None:
            self.line = self.host.open_line(self.state, self.feed, self.line.connection)

    def ask_to_reconnect(self, reason: str) -> None:
        """`Heard.reconnect` would wait for a frame, and a mute vendor may send none at all."""
        if self.session is not None:
            self.reconnect = reason
            self.end.set()

    def closed(self, reason: str) -> None:
        stood, self.session = self.session is not None, None
        reason, self.reconnect = self.reconnect or reason, ""
        self.standing_since_s = None
        if stood and self.line is not None:
            self.host.connection_ended(self.state, self.line.connection)
        self.state.connections -= stood
        if self.stop.is_set():
            return
        self.state.last_problem = reason
        log.warning("%s: %s", self.state.source.name, reason)
        if not self.state.connections:
            self.host.fell_silent(self.state, reason)

    def has_room(self) -> bool:
        return self.host.has_room()

    async def room(self) -> None:
        await self.host.room()
