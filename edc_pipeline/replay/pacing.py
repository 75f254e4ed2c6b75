"""Waiting until an event is due, in a thread or on an event loop. The shells around `Playback`."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from typing import Final

from edc_pipeline.replay.playback import LEAVE_OUT, NOW, Playback

# While nothing is due one looks again after so long, for an interrupt.
_LOOK_S: Final = 0.25


class ThreadPacer:
    """For a loop that plays in the main thread; commands come from another one."""

    def __init__(self, playback: Playback, on_wait: Callable[[], None] = lambda: None) -> None:
        self.playback = playback
        self._on_wait = on_wait
        self._changed = threading.Condition()

    def until(self, at_ns: int) -> bool:
        while True:
            with self._changed:
                wait = self.playback.wait_s(at_ns, time.monotonic())
                if wait in (NOW, LEAVE_OUT):
                    return wait == NOW
                self._changed.wait(min(wait, _LOOK_S))
            self._on_wait()

    def do(self, command: Callable[[Playback], None]) -> None:
        with self._changed:
            command(self.playback)
            self._changed.notify_all()


class LoopPacer:
    """For the fake exchange, on its loop; `do` may be called from any thread."""

    def __init__(self, playback: Playback) -> None:
        self.playback = playback
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: asyncio.Future[None] | None = None

    async def until(self, at_ns: int) -> bool:
        self._loop = loop = asyncio.get_running_loop()
        while True:
            wait = self.playback.wait_s(at_ns, loop.time())
            if wait in (NOW, LEAVE_OUT):
                return wait == NOW
            self._waiting = waiting = loop.create_future()
            handle = None
            if not math.isinf(wait):
                # Up to a millisecond late, as the loop rounds. To spin through the last of a wait
                # made the median 0.9 ms instead of 1.3 to 3, and p99 20 to 25 ms instead of 11 to
                # 14, on a busy machine: who uses his share of it is not woken at once.
                handle = loop.call_later(wait, _wake, waiting)
            try:
                await waiting
            finally:
                if handle is not None:
                    handle.cancel()

    def do(self, command: Callable[[Playback], None]) -> None:
        if self._loop is None:
            command(self.playback)
        else:
            self._loop.call_soon_threadsafe(self._do, command)

    def _do(self, command: Callable[[Playback], None]) -> None:
        command(self.playback)
        if self._waiting is not None:
            _wake(self._waiting)


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
