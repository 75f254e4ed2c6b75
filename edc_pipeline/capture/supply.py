"""Which feeds are taken, and how that changes while capture runs.

A feed that is new in the settings is connected, one that is gone is let go, and one that changed is
connected anew before its former connections are let go: identity absorbs the overlap. The others
are not touched.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from edc_pipeline.capture.intake import FeedState
from edc_pipeline.settings import Feed
from edc_pipeline.spool.ledger import Source

log = logging.getLogger(__name__)

# The former connections of a changed feed are let go when a new one stands, or after so long.
_OVERLAP_S: Final = 15.0
_LOOK_EVERY_S: Final = 0.05

# (state, feed, the connection's number, when to end) → keeps one connection until then
Hold = Callable[[FeedState, Feed, int, asyncio.Event], Coroutine[Any, Any, None]]


@dataclass(slots=True)
class _Taken:
    """One feed as it was set at one time, and the tasks that hold its connections."""

    feed: Feed
    state: FeedState
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class Supply:
    """Holds the feeds' connections until told to stop, or until every one has ended."""

    def __init__(self, hold: Hold, new_state: Callable[[str, Feed], FeedState]) -> None:
        self.states: Final[list[FeedState]] = []  # of every feed ever taken
        self._hold = hold
        self._new_state = new_state
        self._taken: dict[str, _Taken] = {}
        self._leaving: list[_Taken] = []
        self._parting: set[asyncio.Task[None]] = set()
        # A number is given once in a collector's life: a connection's name must tell it.
        self._numbers: Counter[str] = Counter()
        self._changed = asyncio.Event()

    def take(self, feeds: Mapping[str, Feed]) -> str:
        """Take these feeds and no others from now on; says in words what that changed.

        A feed that gave up is tried again. `ValueError` where a name would come to mean another
        product: the ledger counts by name.
        """
        self.know(feeds)
        gone = [name for name in self._taken if name not in feeds]
        new = [name for name in feeds if name not in self._taken]
        changed = [
            n
            for n, t in self._taken.items()
            if n in feeds and (feeds[n] != t.feed or not self._tasks([t]))
        ]
        for name in gone:
            taken = self._taken.pop(name)
            taken.state.removed, taken.state.gave_up = True, ""
            self._leave(taken)
        for name in changed:
            former = self._taken[name]
            standing = former.state.connections
            self._begin(name, feeds[name])
            self._part_later(former, self._taken[name], standing)
        for name in new:
            self._begin(name, feeds[name])
        self._changed.set()
        told = {"added": new, "removed": gone, "changed": changed}
        return "; ".join(f"{how} {', '.join(names)}" for how, names in told.items() if names)

    def know(self, feeds: Mapping[str, Feed]) -> None:
        """Have a state for each, so that a report has it before it is connected."""
        known = {state.source.name: state for state in self.states}
        for name, feed in feeds.items():
            if name in known and known[name].source != Source(name, feed.vendor, feed.feed):
                was = f"{known[name].source.vendor}/{known[name].source.feed}"
                raise ValueError(f"feeds.{name} was {was}: name the new feed otherwise, or restart")
        self.states.extend(self._new_state(n, f) for n, f in feeds.items() if n not in known)

    async def until_ended(self, stop: asyncio.Event) -> None:
        """Until `stop` is set, or no connection is held any more; then let all go."""
        stopping = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set() and (held := self._tasks(self._taken.values())):
                changed = asyncio.create_task(self._changed.wait())
                try:
                    await _any_of({stopping, changed}, held)
                finally:
                    changed.cancel()
                self._changed.clear()
        except BaseException:
            for task in self._tasks([*self._taken.values(), *self._leaving]):
                task.cancel()
            raise
        finally:
            stopping.cancel()
            await self.let_go()

    @staticmethod
    def _tasks(taken: Any) -> list[asyncio.Task[None]]:
        return [task for one in taken for task in one.tasks if not task.done()]

    def _begin(self, name: str, feed: Feed) -> None:
        state = next(s for s in self.states if s.source.name == name)
        state.removed, state.gave_up = False, ""
        taken = self._taken[name] = _Taken(feed, state)
        for _ in range(feed.connections):
            number, self._numbers[name] = self._numbers[name], self._numbers[name] + 1
            hold = self._hold(state, feed, number, taken.stop)
            taken.tasks.append(asyncio.create_task(hold))

    def _leave(self, taken: _Taken) -> None:
        taken.stop.set()
        self._leaving = [t for t in self._leaving if self._tasks([t])] + [taken]

    def _part_later(self, former: _Taken, new: _Taken, standing: int) -> None:
        async def part() -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_OVERLAP_S):
                    # An event would be one more thing that every connection has to keep.
                    while former.state.connections <= standing and self._tasks([new]):  # noqa: ASYNC110
                        await asyncio.sleep(_LOOK_EVERY_S)
            self._leave(former)

        parting = asyncio.create_task(part())
        self._parting.add(parting)
        self._leaving.append(former)
        parting.add_done_callback(self._parting.discard)

    async def let_go(self) -> None:
        for parting in list(self._parting):
            parting.cancel()
        everything = [*self._taken.values(), *self._leaving]
        for taken in everything:
            taken.stop.set()
        held = self._tasks(everything)
        try:
            if held:
                await asyncio.wait(held)
        finally:
            for task in held:
                task.cancel()
        for task in {t for taken in everything for t in taken.tasks}:
            if task.done() and not task.cancelled() and (error := task.exception()):
                raise error


async def _any_of(signals: set[asyncio.Task[Any]], held: list[asyncio.Task[None]]) -> None:
    """Until a signal, or until all that are held have ended; a failure among them is raised."""
    all_held = asyncio.ensure_future(asyncio.wait(held, return_when=asyncio.FIRST_EXCEPTION))
    try:
        await asyncio.wait({*signals, all_held}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        all_held.cancel()
    for task in held:
        if task.done() and not task.cancelled() and (error := task.exception()):
            raise error
