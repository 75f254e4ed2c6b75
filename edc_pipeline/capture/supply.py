"""Which feeds are taken, and how that changes while capture runs.

A feed that is new in the settings is connected, one that is gone is let go. Where one asks for
other symbols, each connection whose vendor lets it asks for them in place; else, and where anything
else changed, it is connected anew before its former connections are let go: identity absorbs the
overlap. The others are not touched.

A feed with more symbols than its vendor allows on a connection is shared out over several; where a
vendor allows so many connections and no more, a former one is let go before its successor is made.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from edc_pipeline.capture.intake import FeedState
from edc_pipeline.capture.place import Place
from edc_pipeline.settings_of_feeds import Feed
from edc_pipeline.spool.ledger import Source
from edc_pipeline.vendors.shards import Shard, share_out

log = logging.getLogger(__name__)

# The former connections of a changed feed are let go when the new ones deliver, or after so long.
_OVERLAP_S: Final = 15.0
_LOOK_EVERY_S: Final = 0.05

# Keeps one connection until the place is given up.
Hold = Callable[[Place], Coroutine[Any, Any, None]]


@dataclass(slots=True)
class _Taken:
    """One feed as it is set, and the places that it has at its vendor's."""

    feed: Feed
    state: FeedState
    shards: list[tuple[str, ...]] = field(default_factory=list)  # by their number
    places: list[Place] = field(default_factory=list)


class Supply:
    """Holds the feeds' connections until told to stop, or until every one has ended."""

    def __init__(self, hold: Hold, new_state: Callable[[str, Feed], FeedState]) -> None:
        self.states: Final[list[FeedState]] = []  # of every feed ever taken
        self._hold = hold
        self._new_state = new_state
        self._taken: dict[str, _Taken] = {}
        self._leaving: list[Place] = []
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
            if n in feeds and (feeds[n] != t.feed or not _tasks(t.places))
        ]
        for name in gone:
            taken = self._taken.pop(name)
            taken.state.removed, taken.state.gave_up = True, ""
            self._leave(taken.places)
        for name in (*changed, *new):
            self._take_one(name, feeds[name])
        self._changed.set()
        told = {"added": new, "removed": gone, "changed": changed}
        return "; ".join(f"{how} {', '.join(names)}" for how, names in told.items() if names)

    def _take_one(self, name: str, feed: Feed) -> None:
        state = next(s for s in self.states if s.source.name == name)
        state.removed, state.gave_up = False, ""
        former = self._taken.get(name) or _Taken(feed, state)
        customs = feed.websocket
        shards = share_out(feed.symbols, customs, former.shards, feed.connections)
        state.shards = tuple(n for n, symbols in enumerate(shards) if symbols) or (0,)
        taken = self._taken[name] = _Taken(feed, state, shards)
        old = [place for place in former.places if not place.ended]
        new: list[Place] = []
        for number in state.shards:
            shard = Shard(number, whole=len(state.shards) == 1)
            part = feed.model_copy(update={"symbols": shards[number], "connections": 1})
            for _ in range(feed.connections):
                place = next((p for p in old if _goes_on(p, part, shard)), None)
                if place is None:
                    place = Place(state, part, self._numbers[name], shard)
                    place.standing_before = state.connections
                    self._numbers[name] += 1
                    new.append(place)
                else:
                    old.remove(place)
                taken.places.append(place)
        self._begin(new, old)

    def has_room(self, feed: Feed, more: int = 1) -> bool:
        """Whether this feed's vendor lets us make so many more connections."""
        limit = feed.websocket.connections
        if limit is None:
            return True
        in_use = sum(
            place.connections
            for place in {*self._places(), *self._leaving}
            if _product(place.feed) == _product(feed)
        )
        return in_use + more <= limit

    def _begin(self, new: Sequence[Place], former: Sequence[Place]) -> None:
        self._leaving = [p for p in (*self._leaving, *former) if not p.ended]
        if new and former and not self.has_room(new[0].feed, len(new)):
            self._leave(former)  # there is no room for both
            for place in new:
                place.task = asyncio.create_task(self._hold_after(former, place))
            return
        for place in new:
            place.has_room = lambda feed=place.feed: self.has_room(feed)  # type: ignore[misc]
            place.task = asyncio.create_task(self._hold(place))
        if new:
            self._part_later(former, new)
        else:
            self._leave(former)

    async def _hold_after(self, former: Sequence[Place], place: Place) -> None:
        if tasks := _tasks(former):
            await asyncio.wait(tasks)
        await self._hold(place)

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
            while not stop.is_set() and (held := _tasks(self._places())):
                changed = asyncio.create_task(self._changed.wait())
                try:
                    await _any_of({stopping, changed}, held)
                finally:
                    changed.cancel()
                self._changed.clear()
        except BaseException:
            for task in _tasks([*self._places(), *self._leaving]):
                task.cancel()
            raise
        finally:
            stopping.cancel()
            await self.let_go()

    def _leave(self, places: Iterable[Place]) -> None:
        for place in places:
            place.stop.set()
            if place not in self._leaving:
                self._leaving.append(place)
        self._leaving = [place for place in self._leaving if not place.ended]

    def _part_later(self, former: Sequence[Place], new: Sequence[Place]) -> None:
        async def part() -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_OVERLAP_S):
                    # An event would be one more thing that every connection has to keep.
                    while not all(place.delivers() or place.ended for place in new):  # noqa: ASYNC110
                        await asyncio.sleep(_LOOK_EVERY_S)
            self._leave(former)

        parting = asyncio.create_task(part())
        self._parting.add(parting)
        parting.add_done_callback(self._parting.discard)

    async def let_go(self) -> None:
        for parting in list(self._parting):
            parting.cancel()
        everything = [*self._places(), *self._leaving]
        for place in everything:
            place.stop.set()
        held = _tasks(everything)
        try:
            if held:
                await asyncio.wait(held)
        finally:
            for task in held:
                task.cancel()
        for task in {place.task for place in everything if place.task is not None}:
            if task.done() and not task.cancelled() and (error := task.exception()):
                raise error

    def _places(self) -> list[Place]:
        return [place for taken in self._taken.values() for place in taken.places]


def _goes_on(place: Place, part: Feed, shard: Shard) -> bool:
    """Whether this place is one for this part from now on."""
    if place.shard.number != shard.number:
        return False
    if place.feed != part:
        asked = {name: getattr(part, name) for name in ("symbols", "options", "asset_classes")}
        if place.feed.model_copy(update=asked) != part or not place.change(part):
            return False
    place.be(shard)
    return True


def _product(feed: Feed) -> tuple[str, str, str | None]:
    """What a vendor's limit on connections is of."""
    return feed.vendor, feed.feed, feed.secret_variable


def _tasks(places: Iterable[Place]) -> list[asyncio.Task[None]]:
    return [p.task for p in places if p.task is not None and not p.task.done()]


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
