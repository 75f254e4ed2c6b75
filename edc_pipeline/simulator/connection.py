"""One client of the exchange: a bounded outbox, and the task that empties it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from edc_pipeline.simulator.faults import Cut, Delivery, Line, Step
from edc_pipeline.simulator.session import Reply, Session
from edc_pipeline.simulator.truth import SentFrame, Truth

WhenSlow = Literal["disconnect", "drop"]

# A send returns without waiting while the socket's buffer has room; others want their turn too.
_SENDS_PER_TURN: Final = 64

# The close code and reason of an ending that is told.
_GOODBYES: Final = {
    "expired": (1008, "the key has expired"),
    "limit": (1008, "too many connections or messages"),
}


@dataclass(frozen=True, slots=True)
class _Close:
    """Say goodbye properly, once what is before this is out."""

    code: int
    reason: str


_Item = Delivery | Reply | Cut | _Close


class Connection:
    def __init__(
        self,
        websocket: ServerConnection,
        session: Session,
        line: Line,
        *,
        ordinal: int,
        truth: Truth,
        outbox_frames: int,
        when_slow: WhenSlow,
        now_ns: Callable[[], int],
        changed: asyncio.Event,
    ) -> None:
        self.session = session
        self.ordinal = ordinal
        self.history: deque[str | bytes] | None = None  # what a resend would send again
        self.gone = False  # nothing more is taken in: cut, slow, refused or left
        self._websocket = websocket
        self._line = line
        self._truth = truth
        self._limit = outbox_frames
        self._when_slow = when_slow
        self._now_ns = now_ns
        self._outbox: deque[_Item] = deque()
        self._filled = asyncio.Event()
        self._sending = False
        self._changed = changed
        self._late: list[tuple[int, Reply]] = []  # snapshots, and how many data frames come first

    @property
    def listening(self) -> bool:
        return not self.gone and self.session.subscription is not None

    @property
    def backlog(self) -> int:
        """Frames not yet handed to the socket."""
        return len(self._outbox) + self._sending

    # -- in -----------------------------------------------------------------------------------

    def reply(self, reply: Reply) -> None:
        if reply.kind == "snapshot":
            waits_for = self._line.snapshot_waits_for(self._now_ns())
            if waits_for:
                self._late.append((waits_for, reply))
                return
        self._put(reply)

    def heartbeat(self) -> None:
        reply = self.session.heartbeat()
        if reply is not None and not self._line.is_mute(self._now_ns()):
            self._put(reply)

    def data(self, body: str | bytes, symbol: str = "") -> None:
        lost = self._line.lost
        before = lost.copy()
        self._carry_out(self._line.feed(body, self._now_ns(), symbol))
        if lost != before:
            self._truth.lost.update(lost - before)
        if self._late:
            late = [(waits_for - 1, reply) for waits_for, reply in self._late]
            self._late = [entry for entry in late if entry[0]]
            for waits_for, reply in late:
                if not waits_for:
                    self._put(reply)

    def again(self, bodies: list[str | bytes]) -> None:
        for body in bodies:
            self._put(Delivery(body, 0, "resend"))

    def release_due(self) -> None:
        self._carry_out(self._line.due(self._now_ns()))

    def release_all(self) -> None:
        self._carry_out(self._line.flush())
        late, self._late = self._late, []
        for _, reply in late:
            self._put(reply)

    def refuse(self) -> None:
        self._end("refused", _Close(1008, "refused"))

    def end_term(self) -> None:
        self._end("end of term", _Close(1001, "this connection has lasted long enough"))

    def _carry_out(self, steps: list[Step]) -> None:
        for step in steps:
            if isinstance(step, Cut):
                self._end(step.how, step)
            else:
                self._put(step)

    def _put(self, item: Delivery | Reply) -> None:
        if self.gone:
            if isinstance(item, Delivery):
                self._truth.lost["gone"] += 1
            return
        if len(self._outbox) >= self._limit:
            self._overflow(item)
            return
        self._outbox.append(item)
        self._filled.set()

    def _overflow(self, item: Delivery | Reply) -> None:
        # Replies are never dropped: a client that asks on and on without reading is ended.
        if self._when_slow == "drop" and isinstance(item, Delivery):
            self._truth.lost["slow"] += 1
            return
        unsent = [i for i in (*self._outbox, item) if isinstance(i, Delivery)]
        self._truth.lost["slow"] += len(unsent)
        self._truth.ended["slow"] += 1
        self._outbox.clear()
        self.gone = True
        # No goodbye: the sender may be stuck in the middle of a frame that nobody reads.
        self._websocket.transport.abort()
        self._changed.set()

    def _end(self, reason: str, last: Cut | _Close) -> None:
        if self.gone:
            return
        self._truth.ended[reason] += 1
        self.gone = True
        self._outbox.append(last)
        self._filled.set()
        self._changed.set()

    def left(self) -> None:
        """The client went away by itself, or was sent away."""
        if not self.gone:
            self._truth.ended["left"] += 1
            self.gone = True
        self._truth.lost["gone"] += sum(isinstance(i, Delivery) for i in self._outbox)
        self._outbox.clear()
        self._changed.set()

    # -- out ----------------------------------------------------------------------------------

    async def send_all(self) -> None:
        """Empty the outbox until the connection ends."""
        with suppress(ConnectionClosed):
            while True:
                await self._filled.wait()
                sent = 0
                while self._outbox:
                    item = self._outbox.popleft()
                    self._sending = True
                    try:
                        if not await self._send(item):
                            return
                    finally:
                        self._sending = False
                    sent += 1
                    if sent % _SENDS_PER_TURN == 0:
                        await asyncio.sleep(0)
                self._filled.clear()
                self._changed.set()

    def _play_dead(self) -> None:
        """The connection stands and nobody is there: what the client sends, its pings among it, is
        not read, and our own pings, whose lack of an answer would end it, stop."""
        self._websocket.transport.pause_reading()
        if self._websocket.keepalive_task is not None:
            self._websocket.keepalive_task.cancel()

    async def _send(self, item: _Item) -> bool:
        if isinstance(item, Cut):
            if item.how == "half_open":
                self._play_dead()
                return False
            if item.how in _GOODBYES:
                await self._websocket.close(*_GOODBYES[item.how])
                return False
            # Not abort(): that would throw away what the socket still holds, and the truth says it
            # was sent. The client sees the stream end without a close frame.
            self._websocket.transport.close()
            return False
        if isinstance(item, _Close):
            await self._websocket.close(item.code, item.reason)
            return False
        await self._websocket.send(item.body)
        if isinstance(item, Reply):
            self._truth.control[item.kind] += 1
            return True
        self._truth.sent(
            SentFrame(
                self.ordinal, self.session.service, item.n, self._now_ns(), item.body, item.fault
            )
        )
        if self.history is not None and item.fault not in ("rubbish", "resend"):
            self.history.append(item.body)
        return True
