"""Live subscribers: each event once, first come, without ever slowing capture.

The same event comes again from a second connection, from another feed as configured (a primary
and a backup of the same vendor's product), and from a reconnect that repeats. The rule is that of
the daily files (`vendors.contract.IdentityRule`), applied as the events come: with an id, content
is delivered once; without, a connection's copies of one content are counted, and copy n is
delivered when no connection has brought n before. So the first to bring it is heard, identical
prints of one connection all are, and whoever loses is counted.

What somebody asked for is remembered for a time and up to a number, both bounded: a copy that is
later than that is delivered twice. What nobody asked for when it first came is not remembered, for
that would cost as much as to deliver it: who subscribes between an event and its copy on a second
connection hears the copy, once, as late as it is.
All of it runs on the collector's event loop; subscribers see the collector's own events and must
not change them.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

import numpy as np

from edc_pipeline.capture.rows import rows_of
from edc_pipeline.events import EVENT_TYPES, AnyEvent, EventType, content_key
from edc_pipeline.vendors.contract import Columns, Vendor

# How much later than the first a copy may come. Two connections are seconds apart at the worst; a
# reconnect that repeats takes as long as its back-off.
REMEMBER_NS: Final = 120_000_000_000
# Events remembered, at about 1 kB each; half of them at least are always the latest.
REMEMBER_EVENTS: Final = 100_000

# By content: who brought it, where it came once and no more; most of what is remembered.
_Seen = dict[tuple[object, ...], "str | _Copies"]
IsById = Callable[[AnyEvent], bool]


class _Copies:
    """Copies of one content: how many were delivered, and how many each connection brought."""

    __slots__ = ("brought", "delivered")

    def __init__(self, first: str) -> None:
        self.delivered = 1
        self.brought = {first: 1}

    def is_new(self, connection: str) -> bool:
        brought = self.brought
        brought[connection] = copies = brought.get(connection, 0) + 1
        if copies <= self.delivered:
            return False
        self.delivered = copies
        return True


class Once:
    """Which events are new. Pure: the receive time is handed in."""

    def __init__(
        self,
        is_by_id: IsById = lambda _: False,
        *,
        remember_ns: int = REMEMBER_NS,
        remember_events: int = REMEMBER_EVENTS,
    ) -> None:
        self._is_by_id = is_by_id
        self._remember_ns = remember_ns
        self._half = max(1, remember_events // 2)
        # Two generations: the older is forgotten as a whole.
        self._recent: _Seen = {}
        self._older: _Seen = {}
        self._recent_since = 0
        # What was, let go one for each that comes: 50,000 at once would hold the loop.
        self._forgotten: _Seen = {}

    def is_new(self, connection: str, event: AnyEvent, at: int) -> bool:
        return self._is_new(connection, event, content_key(event), at)

    def new_ones(
        self,
        connection: str,
        events: Sequence[AnyEvent],
        keys: Sequence[tuple[object, ...]],
        at: int,
    ) -> Sequence[AnyEvent]:
        """The new ones among the events of one read. `keys` are their `content_key`s."""
        fresh: _Seen = dict.fromkeys(keys, connection)
        if (
            len(fresh) == len(keys) <= self._half
            and self._recent.keys().isdisjoint(fresh)
            and self._older.keys().isdisjoint(fresh)
        ):
            self._turn(at, full=len(self._recent) + len(fresh) > self._half)
            self._recent.update(fresh)
            self._let_go(len(fresh))
            return events
        return [
            event
            for event, key in zip(events, keys, strict=True)
            if self._is_new(connection, event, key, at)
        ]

    def _is_new(self, connection: str, event: AnyEvent, key: tuple[object, ...], at: int) -> bool:
        seen = self._recent if key in self._recent else self._older
        known = seen.get(key)
        if known is None:
            self._turn(at, full=len(self._recent) >= self._half)
            self._recent[key] = connection
            self._let_go(1)
            return True
        if self._is_by_id(event):
            return False
        if isinstance(known, str):
            known = seen[key] = _Copies(known)
        return known.is_new(connection)

    def _let_go(self, count: int) -> None:
        forgotten = self._forgotten
        for _ in range(min(count, len(forgotten))):
            forgotten.popitem()

    def _turn(self, at: int, *, full: bool = False) -> None:
        if not full and at - self._recent_since < self._remember_ns:
            return
        stale = at - self._recent_since >= 2 * self._remember_ns
        self._forgotten = self._older
        self._older = {} if stale else self._recent
        self._recent, self._recent_since = {}, at


class Subscriber:
    """An asynchronous iterator over live events. Slow ones lose the oldest first, counted."""

    def __init__(
        self,
        event_types: Collection[EventType],
        symbols: Collection[str] | None,
        limit: int,
        leave: Callable[[Subscriber], None],
    ) -> None:
        if limit < 1:
            raise ValueError(f"limit: {limit} events; a subscriber needs room for one at least")
        if unknown := set(event_types) - set(EVENT_TYPES):
            raise ValueError(f"event_types: {unknown} are none; there are {', '.join(EVENT_TYPES)}")
        self.lost = 0  # events that came while `limit` of them waited
        self.event_types = frozenset(event_types)
        self.symbols = None if symbols is None else frozenset(symbols)
        self._limit = limit
        self._leave = leave
        self._waiting: deque[AnyEvent] = deque()
        self._more = asyncio.Event()
        self._closed = False

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def give(self, events: Sequence[AnyEvent]) -> None:
        types, symbols = self.event_types, self.symbols
        wanted = [e for e in events if e.event_type in types]
        if symbols is not None:
            wanted = [e for e in wanted if e.symbol in symbols]
        if not wanted:
            return
        waiting = self._waiting
        waiting.extend(wanted)
        for _ in range(len(waiting) - self._limit):
            waiting.popleft()
            self.lost += 1
        self._more.set()

    def close(self) -> None:
        """No more comes; what waits can still be taken."""
        self._closed = True
        self._leave(self)
        self._more.set()

    def __aiter__(self) -> Subscriber:
        return self

    async def __anext__(self) -> AnyEvent:
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._more.clear()
            await self._more.wait()
        return self._waiting.popleft()


class Live:
    """The events of all feeds to all who subscribed."""

    def __init__(self, is_by_id: IsById = lambda _: False) -> None:
        self.listening = False  # whether anybody does; False: `publish` need not be called
        self.late_copies: Counter[str] = Counter()  # by feed as configured: it lost the race
        self._is_by_id = is_by_id
        self._once = Once(is_by_id)
        self._subscribers: list[Subscriber] = []
        self._asked = _asked_by(())
        self._lost_before = 0  # by subscribers that have left
        self._closed = False

    def subscribe(
        self, event_types: Iterable[EventType], symbols: Iterable[str] | None, limit: int
    ) -> Subscriber:
        wanted = None if symbols is None else tuple(symbols)
        subscriber = Subscriber(tuple(event_types), wanted, limit, self._leave)
        self._subscribers.append(subscriber)
        self._asked = _asked_by(self._subscribers)
        self.listening = True
        if self._closed:
            subscriber.close()
        return subscriber

    def publish(self, name: str, connection: str, events: Sequence[AnyEvent], at: int) -> None:
        asked = [e for e in events if self._is_asked_for(e)]
        new = [event for event in asked if self._once.is_new(connection, event, at)]
        self._give(name, new, len(asked))

    def publish_many(self, name: str, connection: str, found: Sequence[Columns], at: int) -> None:
        """The frames of one read, in the order of what they say."""
        events: list[AnyEvent] = []
        keys: list[tuple[object, ...]] = []
        ranks: list[int] = []
        for columns in found:
            if columns.event_type in self._asked:
                rows = rows_of(columns, at, self._asked[columns.event_type])
                made = rows.events()
                events += made
                keys += rows.keys()
                ranks += rows.ranks
        if len(found) > 1:
            order = np.array(ranks, np.int64).argsort(kind="stable").tolist()
            events, keys = [events[n] for n in order], [keys[n] for n in order]
        self._give(name, self._once.new_ones(connection, events, keys, at), len(events))

    def _is_asked_for(self, event: AnyEvent) -> bool:
        symbols = self._asked.get(event.event_type, ())
        return symbols is None or event.symbol in symbols

    def _give(self, name: str, new: Sequence[AnyEvent], came: int) -> None:
        for subscriber in self._subscribers:
            subscriber.give(new)
        if came > len(new):
            self.late_copies[name] += came - len(new)

    @property
    def subscribers(self) -> int:
        return len(self._subscribers)

    @property
    def lost(self) -> int:
        return self._lost_before + sum(s.lost for s in self._subscribers)

    def close(self) -> None:
        self._closed = True
        for subscriber in list(self._subscribers):
            subscriber.close()

    def _leave(self, subscriber: Subscriber) -> None:
        if subscriber not in self._subscribers:
            return
        self._subscribers.remove(subscriber)
        self._asked = _asked_by(self._subscribers)
        self._lost_before += subscriber.lost
        if not self._subscribers:
            self.listening = False
            self._once = Once(self._is_by_id)  # nobody remembers what was delivered


def _asked_by(
    subscribers: Collection[Subscriber],
) -> dict[EventType, frozenset[str] | None]:
    """The symbols that any of them asks for, by type; None: all of them."""
    asked: dict[EventType, frozenset[str] | None] = {}
    for subscriber in subscribers:
        for event_type in subscriber.event_types:
            before = asked.get(event_type, frozenset())
            more = subscriber.symbols
            asked[event_type] = None if before is None or more is None else before | more
    return asked


def told_by_id(vendors: Iterable[Vendor]) -> Callable[[AnyEvent], bool]:
    """Whether equal content is the same event (`IdentityRule`: by id, or by content)."""
    rules = {
        (vendor.name, feed.name, event_type): rule.kind
        for vendor in vendors
        for feed in vendor.feeds.values()
        for event_type, rule in feed.identity.items()
        if rule.kind != "counted"
    }

    def is_one(event: AnyEvent) -> bool:
        kind = rules.get((event.vendor, event.feed, event.event_type))
        if kind == "id":
            return bool(event.event_id)
        return kind == "content" and event.ts_source != "receive"

    return is_one
