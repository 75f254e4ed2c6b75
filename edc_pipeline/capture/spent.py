"""What was spent of the vendors' budgets, kept in the spool: a restart must not begin at nothing.

A request is in the file, fsynced, before it is sent. Several that come together share a write.
While the disk refuses, nothing is sent: neither before what was spent is known, nor before it is
kept.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from edc_pipeline.durable_file import write_durably
from edc_pipeline.spool.layout import BUDGETS
from edc_pipeline.transports.budget import Limit, Meter

log = logging.getLogger(__name__)

T = TypeVar("T")

_RETRY_DISK_S: Final = 2.0

_Spent = dict[str, dict[str, dict[int, int]]]  # key → period → slice → requests


class Spent:
    """Of one collector's spool. `read` it when the spool is ours."""

    def __init__(self, spool: Path, clock: Callable[[], int]) -> None:
        self.problem = ""  # of the disk; empty while there is none
        self._path = spool / BUDGETS
        self._clock = clock
        self._known: _Spent = {}
        self._meters: dict[str, Meter] = {}
        self._wanted = 0
        self._written = 0
        self._lock = asyncio.Lock()

    async def read(self) -> None:
        """Returns when it is known what was spent."""
        self._known = await self._insist(lambda: _in_a_thread(self._read))

    def _read(self) -> _Spent:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=_Spent)
        except FileNotFoundError:
            return {}
        except (msgspec.MsgspecError, ValueError) as error:
            log.warning("%s can't be read, budgets begin anew: %s", self._path.name, error)
            return {}

    def meter(self, key: str, limits: Sequence[Limit]) -> Meter:
        """The one meter of this key; another plan's limits take over what was spent."""
        known, now_ns = self._meters.get(key), self._clock()
        if known is None:
            known = self._meters[key] = Meter(limits, self._known.get(key), now_ns)
        elif known.limits != tuple(limits):
            known = self._meters[key] = known.with_limits(limits, now_ns)
        return known

    async def keep(self) -> None:
        """Returns when all that was spent so far is on the disk."""
        self._wanted += 1
        mine = self._wanted
        async with self._lock:
            while self._written < mine:
                self._written = await self._insist(self._write)

    async def _write(self) -> int:
        """Returns how many of those who want it are served."""
        covers, now_ns = self._wanted, self._clock()
        state = {**self._known, **{key: m.state(now_ns) for key, m in self._meters.items()}}
        text = msgspec.json.encode(state)

        def write(path: Path) -> None:
            path.write_bytes(text)

        await _in_a_thread(lambda: write_durably(self._path, write))
        return covers

    async def _insist(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do it again and again while the disk refuses."""
        while True:
            try:
                done = await work()
            except OSError as error:
                problem = (
                    f"what was spent of the budgets: {self._path.name}: {error.strerror or error}"
                )
                if problem != self.problem:  # told once, not at every try
                    log.error("can't keep or read it, nothing is asked: %s", problem)
                self.problem = problem
                await asyncio.sleep(_RETRY_DISK_S)
            else:
                if self.problem:
                    log.info("the disk takes the budgets again")
                self.problem = ""
                return done


async def _in_a_thread(work: Callable[[], T]) -> T:
    """Whoever is cancelled waits for it. A thread can't be stopped: with the next one it would
    write one temporary file, or put the older of two states in place last."""
    working = asyncio.create_task(asyncio.to_thread(work))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.gather(working, return_exceptions=True)
        raise
