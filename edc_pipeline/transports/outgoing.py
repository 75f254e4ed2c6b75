"""What we say on one connection: at once, or no faster than its vendor allows.

A vendor that is spoken to too fast ends the connection (Binance: 5 messages a second), and so would
a session of some hundred subscriptions. What must wait does so here, while frames are read on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence


class Outgoing:
    """Calls `send` for each message, in their order."""

    def __init__(self, send: Callable[[str], None], messages_per_s: float | None) -> None:
        self.waiting_bytes = 0
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._every_s = 1.0 / messages_per_s if messages_per_s else 0.0
        self._free_s = 0.0  # when the next may go
        self._waiting: deque[str] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def say(self, messages: Sequence[str]) -> None:
        if not self._every_s:
            for message in messages:
                self._send(message)
            return
        self._waiting.extend(messages)
        self.waiting_bytes += sum(map(len, messages))
        if self._timer is None:
            self._go_on()

    def count(self) -> None:
        """A ping or a pong went out: to the vendor it is a message like another."""
        if self._every_s:
            self._free_s = max(self._loop.time(), self._free_s) + self._every_s

    def close(self) -> None:
        self._waiting.clear()
        self.waiting_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _go_on(self) -> None:
        self._timer = None
        while self._waiting:
            # Spaced evenly, not in bursts: whichever second the vendor counts, it holds the same.
            wait_s = self._free_s - self._loop.time()
            if wait_s > 0:
                self._timer = self._loop.call_later(wait_s, self._go_on)
                return
            message = self._waiting.popleft()
            self.waiting_bytes -= len(message)
            self.count()
            self._send(message)
