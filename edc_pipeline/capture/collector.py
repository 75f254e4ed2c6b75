"""The collector: connects the feeds, queues what they send, flushes, and drains at the end.

It runs on an event loop that somebody else owns (`capture.run`), with the clock handed in.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType
from typing import Final

from edc_pipeline.capture.admission import Admission
from edc_pipeline.capture.called import CalledFeeds
from edc_pipeline.capture.changes import open_session
from edc_pipeline.capture.continuity import Continuity
from edc_pipeline.capture.figures import DURABLE_SAMPLES, Lately, Latencies, OfLate, Totals
from edc_pipeline.capture.flusher import Flusher
from edc_pipeline.capture.gap_hook import GapHook, OnGap
from edc_pipeline.capture.hand_over import hear_first
from edc_pipeline.capture.intake import FeedState, Intake
from edc_pipeline.capture.journal.blocks import Line, Read
from edc_pipeline.capture.journal.writer import Journal
from edc_pipeline.capture.live import Live, Subscriber, told_by_id
from edc_pipeline.capture.place import Place, hold
from edc_pipeline.capture.polled import PolledFeeds
from edc_pipeline.capture.queues import Queues, Waiting
from edc_pipeline.capture.report import Report, report_feed
from edc_pipeline.capture.shape_memory import ShapeMemory
from edc_pipeline.capture.supply import Supply
from edc_pipeline.capture.watch import WATCH, FeedWatch, WatchRule, market_of
from edc_pipeline.events import EVENT_TYPES, EventType
from edc_pipeline.market_hours import learn
from edc_pipeline.settings import Settings
from edc_pipeline.settings_of_feeds import Feed
from edc_pipeline.spool.ledger import LastHeard, Ledger, Source
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import Session
from edc_pipeline.vendors.shards import WHOLE, Shard

log = logging.getLogger(__name__)

# How long a vendor may take to answer our close frame: as a websocket client usually waits, and no
# more than this part of the drain. A vendor that never answered took all of it, and the rows had
# none; two connections of a place may be let go one after the other.
_CLOSE_WITHIN_S: Final = 5.0
_CLOSE_SHARE: Final = 0.2
# Before a feed can be found to be mute from its first second, market hours have to be known.
_LEARN_HOURS_S: Final = 10.0


class Collector:
    """Owns the feeds from connect to drain. The spool's lock is its caller's business."""

    def __init__(
        self,
        settings: Settings,
        collector: str,
        *,
        run_id: str = "",
        clock: Callable[[], int] = time.time_ns,
        on_gap: OnGap | None = None,
        watch: WatchRule = WATCH,
    ) -> None:
        """`on_gap` is called in a thread for each gap in the ledger, when it begins, when more is
        known of it, and when it ends; it can neither hold up capture nor end it."""
        self.collector = collector
        self._settings = settings
        self._run_id = run_id
        self._clock = clock
        self._ledger = Ledger(settings.spool)
        self._queues = Queues()
        rules = settings.capture
        self._journal = Journal(
            settings.spool,
            collector,
            commit_within_s=rules.commit_seconds,
            segment_bytes=int(rules.segment_mib * (1 << 20)),
        )
        self._journal.on_durable = self._time_durable
        self._live = Live(told_by_id(VENDORS.values()))  # feeds may come later
        self._flusher = Flusher(
            settings.spool, collector, self._queues, self._journal, rules, clock, self._flushed
        )
        admission = Admission(rules.horizon_days)
        self._intake = Intake(self._journal, self._queues, admission, clock, self._live)
        self.take = self._intake.take
        self._gap_hook = GapHook(on_gap) if on_gap else None
        self._lately = Lately()
        self._of_line: list[FeedState] = []  # by the journal's number of the line
        self._watch_rule = watch
        self._watches: dict[str, tuple[Feed, FeedWatch]] = {}  # by the feed's name
        self._shapes = ShapeMemory(settings.spool)
        self.close_within_s = min(_CLOSE_WITHIN_S, _CLOSE_SHARE * rules.drain_seconds)
        self._called = CalledFeeds(settings.webhook, settings.spool, clock, self.close_within_s)
        self._polled = PolledFeeds(settings.spool, clock)
        self._supply = Supply(self._hold, self._new_feed)
        self._supply.know(settings.enabled_feeds)
        self._states = self._supply.states
        self._started_at, self._started_s = clock(), time.monotonic()
        self._stop = asyncio.Event()
        self._broken = ""
        self.has_feeds = asyncio.Event()  # which others may take the place of
        self.drained = False  # all that was heard is where it belongs

    async def run(
        self,
        stop: asyncio.Event,
        own: Callable[[], Awaitable[None]] | None = None,
        is_ours: Callable[[], bool] = lambda: False,
    ) -> None:
        """Capture until `stop` is set, or until every feed has given up. Then drain.

        With `own` the feeds are heard before the spool `is_ours`; nothing is written till it
        returns.
        """
        self._stop = stop
        await self._shapes.recall(self._states)
        if own is not None:
            self._supply.take(self._settings.enabled_feeds)
            if not await hear_first(self._supply, own, is_ours, stop):
                return
            self._journal.wait_counts_from_now()
        # A newcomer waits for the port, as its former owner may still be ending.
        wanted = {} if own else self._settings.enabled_feeds
        await self._called.spool_is_ours(wanted)
        self._polled.spool_is_ours()
        await self._flusher.sign_on(self._started_at)
        for state, last in await asyncio.to_thread(self._last_heard):
            if not state.connections:  # else it was heard before the former collector let go
                self._intake.nobody_heard(state, last)
        if own is None:
            self._supply.take(self._settings.enabled_feeds)
        self.has_feeds.set()
        writing = [
            asyncio.create_task(self._journal.commit_forever()),
            asyncio.create_task(self._flusher.flush_when_due()),
            asyncio.create_task(self._watch_feeds()),
        ]
        for task in writing[:2]:
            task.add_done_callback(self._no_longer_written)
        try:
            await self._supply.until_ended(stop)
        finally:
            await self._called.close()
            await self._polled.close()
            await _ended(writing)
            await self._drain()

    def report(self) -> Report:
        totals = {
            s.source.name: Totals(s.frames.received, sum(s.events.values()), s.latencies)
            for s in self._states
        }
        return self.totals(self._lately.look(totals, time.monotonic()))

    def totals(self, of_late: Mapping[str, OfLate] = MappingProxyType({})) -> Report:
        """The report without the rates: plain reads, so that any thread may ask."""
        return Report(
            collector=self.collector,
            pid=os.getpid(),
            run_id=self._run_id,
            started_at=self._started_at,
            at=self._clock(),
            feeds=[
                report_feed(
                    s,
                    stopping=self.stopping,
                    of_late=of_late.get(s.source.name),
                    late_copies=self._live.late_copies[s.source.name],
                )
                for s in self._states
            ],
            waiting_rows=self._flusher.waiting_rows,
            micro_batches=self._flusher.micro_batches,
            flushed_at=self._flusher.flushed_at,
            disk_problem=self.disk_problem,
            stopping="draining" if self.stopping else "",
            journal_waiting_bytes=self._journal.waiting_bytes,
            waiting_bytes=self._flusher.waiting_bytes,
            commits=self._journal.figures.commits,
            commit_interval_s=self._settings.capture.commit_seconds,
            commit_worst_s=self._journal.figures.longest_wait_s,
            stray_calls=self._called.strays,
            subscribers=self._live.subscribers,
            lost_by_subscribers=self._live.lost,
            running_s=time.monotonic() - self._started_s,
        )

    @property
    def disk_problem(self) -> str:
        """What the disk refuses; empty while it does not."""
        return self._journal.problem or self._flusher.problem or self._polled.problem

    def latencies(self) -> dict[str, Latencies]:
        return {state.source.name: state.latencies for state in self._states}

    def _time_durable(self, reads: Sequence[Read]) -> None:
        now, passed = self._clock(), 0
        step = -(-sum(frames for _, _, frames in reads) // DURABLE_SAMPLES)
        for at, line, frames in reads:
            # The samples stand `step` frames apart; so many of them are of this read.
            observe, before = self._of_line[line].latencies.observe, -(-passed // step)
            passed += frames
            for _ in range(before, -(-passed // step)):
                observe("receive_to_durable", now - at)

    def subscribe(
        self,
        event_types: Iterable[EventType] = EVENT_TYPES,
        symbols: Iterable[str] | None = None,
        limit: int = 50_000,  # Kite's 3,000 instruments in one frame are 18,000
    ) -> Subscriber:
        """Live events from now on, each once, on the collector's own loop; see `capture.live`."""
        return self._live.subscribe(event_types, symbols, limit)

    @property
    def gave_up(self) -> list[str]:
        """The feeds that ended on their own, and why; and what ended all of them."""
        ended = [f"{s.source.name}: {s.gave_up}" for s in self._states if s.gave_up]
        return [*ended, self._broken] if self._broken else ended

    # Feeds

    def take_feeds(self, settings: Settings) -> str:
        """Take the feeds of these settings from now on; says in words what that changed."""
        self._supply.know(settings.enabled_feeds)
        self._settings = self._settings.with_feeds(settings)
        told = self._supply.take(settings.enabled_feeds)
        for state in self._states:
            for shard in set(state.gaps) - ({*state.shards} if not state.removed else set()):
                # Nothing of it is missing from now on.
                self._intake.feed_delivers(state, self._clock(), shard)
            if state.removed:
                self._watches.pop(state.source.name, None)
            elif feed := settings.enabled_feeds.get(state.source.name):
                self._watch_over(state, feed)
        return told

    def _new_feed(self, name: str, feed: Feed) -> FeedState:
        source = Source(name, feed.vendor, feed.feed)
        return FeedState(source, drift=self._shapes.of(source))

    def _watch_over(self, state: FeedState, feed: Feed) -> FeedWatch:
        """The watch over a feed as it is set now: a changed feed is watched anew."""
        known = self._watches.get(state.source.name)
        if known is not None:
            was, watch = known
            asked = {"symbols": feed.symbols, "asset_classes": feed.asset_classes}
            if was != feed and was.model_copy(update=asked) == feed:
                self._watches[state.source.name] = feed, watch
                watch.asks_for(feed.symbols)
                state.continuity.asks_for(feed.symbols)
                was = feed
            if was == feed:
                return watch
        state.continuity = Continuity(state.source, feed.spec.sequence, feed.symbols)
        watch = FeedWatch(state, feed.spec, feed.symbols, self._watch_rule, market_of(feed))
        if known is not None:
            watch.lines = known[1].lines  # those that go on with the change are among them
        self._watches[state.source.name] = feed, watch
        return watch

    async def _hold(self, place: Place) -> None:
        if place.feed.spec.way_in == "polling":
            name = f"{self.collector}/{place.name}/{place.number}"
            plans = self._settings.polling_plans
            await self._polled.hold(self, place.state, place.feed, plans, name, place.stop)
            return
        watch = self._watch_over(
            place.state, self._settings.enabled_feeds.get(place.name, place.feed)
        )
        if place.feed.spec.way_in == "webhook":
            connection = f"{self.collector}/{place.name}/{place.number}"
            await self._called.hold(
                self, place.state, place.feed, connection, place.stop, watch.lines.append
            )
        else:
            await hold(self, place, watch.lines)

    @property
    def clock(self) -> Callable[[], int]:
        return self._clock

    def _last_heard(self) -> list[tuple[FeedState, LastHeard]]:
        heard = self._ledger.last_heard(self._clock())
        return [(s, heard[s.source]) for s in self._states if s.source in heard]

    def open_session(self, feed: Feed) -> Session:
        return open_session(feed.vendor_rules, feed.subscription, self._settings.secret(feed))

    def secret(self, feed: Feed) -> str:
        return self._settings.secret(feed)

    def durable(self) -> asyncio.Future[None]:
        return self._journal.durable()

    def open_line(
        self, state: FeedState, feed: Feed, connection: str, shard: Shard = WHOLE
    ) -> Line:
        """A connection begins: the journal has to know how its frames are to be read."""
        line = Line(
            number=self._journal.line_count,
            name=state.source.name,
            vendor=feed.vendor,
            feed=feed.feed,
            connection=connection,
            symbols=feed.symbols,
            options=feed.options,
            asset_classes=dict(feed.asset_classes),
            gap=state.gaps_of[shard.number],
            shard=None if shard.whole else shard.number,
            from_frame=self._journal.next_frame,
        )
        self._journal.new_line(line)
        self._of_line.append(state)
        state.hide(self._settings.secret(feed))
        return line

    def fell_silent(
        self, state: FeedState, reason: str, shard: Shard = WHOLE, since: int | None = None
    ) -> None:
        since = since or state.last_frame_at or self._started_at
        if shard.number in state.shards:  # else nobody asks for it any more
            self._intake.feed_fell_silent(state, since, reason, shard.number)

    def delivers(self, state: FeedState) -> None:
        self._intake.feed_delivers(state, self._clock())

    def connection_ended(self, state: FeedState, connection: str) -> None:
        self._intake.tell(state, state.continuity.connection_ended(connection))

    async def _watch_feeds(self) -> None:
        learn_hours_s = time.monotonic() + _LEARN_HOURS_S
        while True:
            await asyncio.sleep(self._watch_rule.feed.look_every_s)
            if time.monotonic() >= learn_hours_s:
                # The first question about a stock takes half a second: not on the event loop.
                await asyncio.to_thread(learn, self._clock())
                learn_hours_s = math.inf
            await self._mind_the_clock()
            for _, watch in list(self._watches.values()):
                watch.look(
                    self._intake, time.monotonic(), self._clock(), reading=self._flusher.reading
                )

    async def _mind_the_clock(self) -> None:
        """Whether it was set, which the ledger is told. Without that a start after our end knows
        less well when it was: a disk that refuses holds nothing up, and is asked again."""
        self._intake.mind_the_clock()
        steps = self._intake.untold_steps
        if told := list(steps):
            with suppress(OSError, sqlite3.Error):
                await asyncio.to_thread(self._ledger.clock_stepped, self.collector, told)
                del steps[: len(told)]

    @property
    def stopping(self) -> bool:
        return self._stop.is_set()

    def has_room(self) -> bool:
        return self._flusher.has_room()

    async def room(self) -> None:
        await self._flusher.room()

    @property
    def undrained(self) -> str:
        """What a drain that is broken off leaves where, in words."""
        frames = self._journal.next_frame - 1 - self._journal.committed_frame
        problem = self._journal.problem or self._flusher.problem or self._polled.problem
        why = f"the disk refuses: {problem}" if problem else "the disk was too slow"
        if frames:
            left = f"{frames:,} frames that are not in the journal are lost; the next start"
            return f"{why}; {left} brings in what is"
        rows = self._flusher.waiting_rows
        left = f", {rows:,} rows of it are not in the spool yet" if rows else ""
        return f"{why}; every frame is in the journal{left}: the next start brings it in"

    async def _flushed(self, taken: Waiting) -> None:
        if self._gap_hook is not None:
            self._gap_hook.tell(taken.gaps)
        await self._mind_the_clock()
        await self._shapes.keep(self._states)

    def _no_longer_written(self, task: asyncio.Task[None]) -> None:
        """Neither ends by itself: without it capture would go on, and nothing would be kept."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken = f"a fault of our own: {error!r}"
            log.error("capture ends: %s", self._broken, exc_info=error)
            self._stop.set()

    async def _drain(self) -> None:
        await self._flusher.finish()
        self._live.close()
        await self._mind_the_clock()
        for state in self._states:
            self._intake.tell(state, state.continuity.settle(None))
        await self._flusher.flush()
        await self._journal.close()
        await self._flusher.retire_segments(self._journal.committed_frame)
        await self._flusher.sign_off("; ".join(self.gave_up) or "stopped")
        with suppress(OSError):  # not empty: what could not be archived; recovery will try again
            self._journal.folder.rmdir()
        self.drained = True


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, Exception):
            await task
