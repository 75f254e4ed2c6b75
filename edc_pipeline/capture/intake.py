"""The hot path: a frame in, counted and queued. Runs on the event loop, does no I/O."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Final

from edc_pipeline.capture.admission import SHORTEST_LIMIT, Admission, too_large
from edc_pipeline.capture.clock_watch import ClockWatch
from edc_pipeline.capture.continuity import Continuity
from edc_pipeline.capture.drift import Drift
from edc_pipeline.capture.figures import SAMPLE_EVERY, Latencies, sampled
from edc_pipeline.capture.heard import MOST_HEARD, HeardSymbols, remember
from edc_pipeline.capture.journal.blocks import Line
from edc_pipeline.capture.journal.writer import Journal
from edc_pipeline.capture.live import Live
from edc_pipeline.capture.number_gaps import MOST_AT_ONCE, NumberGaps
from edc_pipeline.capture.queues import Queues
from edc_pipeline.events import EventType
from edc_pipeline.hidden_key import HiddenKey
from edc_pipeline.settings import SIMULATED_KEY
from edc_pipeline.spool.clock_steps import ClockStep, with_step
from edc_pipeline.spool.ledger import FrameCounts, Gap, LastHeard, Source
from edc_pipeline.transports.contract import Heard, together
from edc_pipeline.vendors.contract import Columns, Control, Reading, ReadMany, Session

log = logging.getLogger(__name__)

# What nearly every frame means for its connection, made once: 0.6 µs each otherwise.
_DELIVERS: Final = Heard(data=True)
# Frames of one read from which it pays to look at them together: that costs 20 to 30 µs, and then
# 1.3 to 2 µs an event instead of 5.
_MANY: Final = 8
# Bytes of one read from which it pays though the frames are few, for a frame may hold hundreds of
# events: at 8 KiB it takes 1.5 to 4.4 times less for what Kite, Massive, Finnhub and Kraken send,
# at 4 KiB as much for some. Kite's 3,000 instruments in one frame of 560 kB are 18,000 events: one
# by one they hold the loop for 70 to 90 ms, together for 5 to 7. A frame of that length with a
# single event would cost 40 µs instead of 10; none is known.
_LARGE: Final = 8 << 10
_AT_PEACE: Final = frozenset({"heartbeat", "acknowledged", "not_wanted", "unchanged", "notice"})
TOO_MANY_SYMBOLS: Final = (
    f"the vendor names more than {MOST_HEARD:,} symbols; events of those beyond are stored as any,"
    " and whether they fall silent is not watched"
)
_NO_COLLECTOR: Final = "no collector was running"
_LOGGED_GAPS: Final = 20  # of one flush; the ledger has them all


@dataclass(slots=True)
class FeedState:
    """One feed as the operator sees it: how it is, and what it did since capture started."""

    source: Source
    connections: int = 0  # that stand now
    reconnects: int = 0
    frames: FrameCounts = field(default_factory=FrameCounts)
    events: dict[EventType, int] = field(default_factory=dict)
    symbols: HeardSymbols = field(default_factory=HeardSymbols)  # since the watch looked last
    symbols_before: set[str] = field(default_factory=set)  # and before, so many as are remembered
    symbols_beyond: int = 0  # how often one was heard that is not
    last_frame_at: int | None = None
    last_event_at: int | None = None  # receive time of the last frame with events
    last_problem: str = ""
    hidden: HiddenKey = field(default_factory=HiddenKey, repr=False)
    gave_up: str = ""
    removed: bool = False  # from feeds.yaml, while capture ran
    # By the number of the shard, where the feed's symbols are shared out over connections; else 0.
    gaps: dict[int, Gap] = field(default_factory=dict)  # that are open
    gaps_of: Counter[int] = field(default_factory=Counter)  # that have begun
    gaps_cut: int = 0  # entries more, as the clock was set in a gap
    standing: Counter[int] = field(default_factory=Counter)  # connections
    heard: dict[int, int] = field(default_factory=dict)  # when, by connections that ended
    shards: tuple[int, ...] = (0,)
    latencies: Latencies = field(default_factory=Latencies)
    drift: Drift = field(default_factory=Drift)
    silent: bool = False  # connected, and the gap is the vendor's saying nothing
    mute: list[str] = field(default_factory=list)  # connections, while others speak; in words
    subscription: str = ""  # what is the matter with it; empty: nothing
    symbol_refused: bool = (
        False  # it is that a symbol was refused, since a connection was opened last
    )
    silent_symbols: list[str] = field(default_factory=list)
    closed: str = ""  # its market is, until then; empty: it is open
    waits: bool = False  # for its turn, as a newcomer does for the port of the former collector
    refused: Counter[str] = field(default_factory=Counter)  # calls, by the reason
    delivered_again: int = 0  # calls with what had come already
    number_gaps: NumberGaps = field(default_factory=NumberGaps)
    continuity: Continuity = field(init=False)

    def __post_init__(self) -> None:
        self.continuity = Continuity(self.source)

    @property
    def gap(self) -> Gap | None:
        """One that is open."""
        return next(iter(self.gaps.values()), None)

    @property
    def gaps_begun(self) -> int:
        """All that the ledger has of this feed since capture started, but for those told as one."""
        return self.gaps_of.total() + self.gaps_cut + self.number_gaps.count

    def remember_symbols(self, asked_for: AbstractSet[str]) -> set[str]:
        """Those heard since this was last asked are among those before from now on."""
        spoke = self.symbols.take()
        beyond = remember(self.symbols_before, spoke, asked_for)
        if beyond and not self.symbols_beyond:
            self.last_problem = TOO_MANY_SYMBOLS
            log.error("%s: %s", self.source.name, TOO_MANY_SYMBOLS)
        self.symbols_beyond += beyond
        return spoke

    def hide(self, key: str) -> None:
        """A vendor may say the key that it refuses, or a part; logs, reports and files must not."""
        if key != self.hidden.key:
            self.hidden = HiddenKey(key, but=SIMULATED_KEY)

    @property
    def word(self) -> str:
        if self.removed:
            return "removed"
        if self.gave_up:
            return "gave up"
        if self.waits:
            return "waiting"
        if self.closed:
            return "closed"
        if not self.connections:
            return "connecting"
        if self.silent:
            return "silent"
        return "live" if self.last_event_at else "connected"


class Intake:
    """Takes the frames of all feeds in the order of their arrival."""

    def __init__(
        self,
        journal: Journal,
        queues: Queues,
        admission: Admission,
        clock: Callable[[], int] = time.time_ns,
        live: Live | None = None,
    ) -> None:
        self._journal = journal
        self._live = live or Live()
        self._queues = queues
        self._admission = admission
        self._clock = clock
        self._clock_watch = ClockWatch(clock)
        self._with_gaps: dict[int, FeedState] = {}  # that are open, by the identity of their feed
        self.untold_steps: list[ClockStep] = []  # of the clock, for the ledger

    def take(
        self,
        state: FeedState,
        line: Line,
        session: Session,
        payloads: Sequence[bytes],
        received_at: int,
        read_many: ReadMany | None = None,
    ) -> Heard:
        """The frames of one read."""
        size = sum(map(len, payloads))
        first = self._journal.append_many(line.number, received_at, payloads, size)
        if size > SHORTEST_LIMIT and any(too_large(line, payload) for payload in payloads):
            read_many = None
        if (
            read_many is not None
            and (len(payloads) >= _MANY or size >= _LARGE)
            and self._take_together(state, line, read_many, first, payloads, size, received_at)
        ):
            return _DELIVERS
        meant = [
            self._take_one(state, line, session, frame, payload, received_at)
            for frame, payload in enumerate(payloads, first)
        ]
        if meant.count(_DELIVERS) == len(meant):
            return _DELIVERS
        return together(meant)

    def _take_together(
        self,
        state: FeedState,
        line: Line,
        read_many: ReadMany,
        first: int,
        payloads: Sequence[bytes],
        size: int,
        at: int,
    ) -> bool:
        """Column by column, five times cheaper, where every frame holds plain events and nothing
        about the feed is open; else False, and nothing is changed."""
        if state.gaps and (line.shard is None or line.shard in state.gaps):
            return False  # the first events after one are marked
        try:
            found = read_many(payloads, at)
        except Exception:
            log.exception("a vendor's reader of many failed; the frames are read one by one")
            return False
        if not found or (admitted := self._admission.admit_many(found, at)) is None:
            return False
        if state.continuity.concerns(line) and not state.continuity.goes_on(line, admitted, at):
            return False
        frames = len(payloads)
        self._queues.put_many(first, state.source, line.connection, admitted, frames, size, at)
        if self._live.listening:
            self._live.publish_many(state.source.name, line.connection, admitted, at)
        self._note_many(state, admitted, payloads, size, at)
        return True

    def _note_many(
        self,
        state: FeedState,
        found: Sequence[Columns],
        payloads: Sequence[bytes],
        size: int,
        at: int,
    ) -> None:
        counts = state.frames
        before, counts.received = counts.received, counts.received + len(payloads)
        counts.bytes += size
        counts.with_events += len(payloads)
        state.last_frame_at = state.last_event_at = at
        for columns in found:
            state.events[columns.event_type] = state.events.get(columns.event_type, 0) + len(
                columns.places
            )
            state.symbols.add_many(columns.coded["symbol"])
        for number in sampled(before, counts.received):
            observe = state.latencies.observe
            observe("receive_to_published", self._clock() - at)
            if _bears_the_vendors_time(found[0]):
                observe("vendor_to_receive", at - int(found[0].numbers["ts_event"][0]))
            if state.drift.wants(number):
                payload = payloads[number - before - 1]
                self._tell_drift(state, state.drift.understood(payload))

    def _take_one(
        self,
        state: FeedState,
        line: Line,
        session: Session,
        frame: int,
        payload: bytes,
        received_at: int,
    ) -> Heard:
        reading = self._admission.read(session, payload, received_at, line)
        if reading.faults:  # they tell what stood in the frame, decoded
            reading.faults = [state.hidden.in_words(fault) for fault in reading.faults]
        if state.continuity.concerns(line):
            self.tell(state, state.continuity.hear(line, reading, received_at))
        self._queues.put(frame, state.source, line.connection, reading, payload, received_at)
        if reading.events and self._live.listening:
            self._live.publish(state.source.name, line.connection, reading.events, received_at)
        self._note(state, reading, payload, received_at)
        if state.frames.received % SAMPLE_EVERY == 1:  # as `sampled` says, 0.2 µs cheaper
            self._time(state, reading, received_at)
            if not reading.faults and state.drift.wants(state.frames.received):
                self._tell_drift(state, state.drift.understood(payload))
        if reading.faults:
            self._tell_drift(state, state.drift.quarantined(payload, received_at))
        if reading.events:
            if state.gaps:
                self.feed_delivers(state, received_at, line.shard)
            if reading.control is None and not reading.replies:
                return _DELIVERS
        return self._heard(state, reading)

    @staticmethod
    def _tell_drift(state: FeedState, told: list[str]) -> None:
        for words in told:
            state.last_problem = f"payload drift: {words}"
            log.warning("%s: %s", state.source.name, state.last_problem)

    def _time(self, state: FeedState, reading: Reading, received_at: int) -> None:
        observe = state.latencies.observe
        observe("receive_to_published", self._clock() - received_at)
        if reading.events and reading.events[0].ts_source == "vendor":
            observe("vendor_to_receive", received_at - reading.events[0].ts_event)

    # Time in which a feed is not heard. One rule for all of it: a gap begins and ends by one and
    # the same clock, and none begins after it ends. Where the clock is set in it, `mind_the_clock`
    # ends it by the clock before and goes on by the clock after.

    def feed_delivers(self, state: FeedState, at: int, shard: int | None = None) -> None:
        """Data again: the gap, if there was one, is over. What was said meanwhile stays missing."""
        for number in [shard] if shard is not None else list(state.gaps):
            if number not in state.gaps:
                continue
            if step := self.mind_the_clock():
                at = step.after  # it was taken by the clock before
            over = state.gaps.pop(number)
            self._end(over, at)
        if not state.gaps:
            self._with_gaps.pop(id(state), None)
        state.silent = False

    def feed_fell_silent(
        self, state: FeedState, since: int, reason: str, shard: int | None = None
    ) -> None:
        """No connection of this feed, or of a shard of it, stands any more, or none stood since it
        was last heard."""
        for number in [shard] if shard is not None else state.shards:
            if (known := state.gaps.get(number)) is not None:
                self._goes_on(state, number, known, reason)
                continue
            if len(state.shards) > 1:
                part = state.shards.index(number) + 1 if number in state.shards else number + 1
                told = f"{reason} (connection {part} of {len(state.shards)})"
            else:
                told = reason
            # In the ledger a gap is told from another by its beginning and its first number.
            gap = Gap(state.source, "", since, None, None, "open", told, -1 - number)
            state.gaps_of[number] += 1
            self._put(state, number, self._by_the_clock_now(state, gap))
            self._with_gaps[id(state)] = state

    def nobody_heard(self, state: FeedState, last: LastHeard) -> None:
        """No collector was running since then."""
        reason = _NO_COLLECTOR
        if last.by_its_clock > last.at:
            reason += "; the clock of the one before was ahead of this one's"
            for number in state.shards:
                # Whose clock is right is not known: the day of the other one lists it too.
                at = last.by_its_clock
                gap = Gap(state.source, "", at, at, None, "closed", reason, -1 - number)
                self._queues.waiting.gaps.append(gap)
                state.gaps_cut += 1
        self.feed_fell_silent(state, last.at, reason)

    def mind_the_clock(self) -> ClockStep | None:
        """Whether it was set since we looked last. Looked at every second, and where a gap begins
        or ends."""
        step = self._clock_watch.look()
        if step is None:
            return None
        log.warning("%s", step)
        self.untold_steps.append(step)
        for state in self._with_gaps.values():
            for number, gap in list(state.gaps.items()):
                told = replace(gap, reason=with_step(gap.reason, step))
                self._put(state, number, self._cut(state, told, step))
        return step

    def _cut(self, state: FeedState, gap: Gap, step: ClockStep) -> Gap:
        """An open gap by the clock after the step. One that by it has not begun yet began as long
        before it: that clock may be the right one, and then no other entry tells that time."""
        if step.after >= gap.from_ns:
            return gap
        self._end(gap, step.before)
        state.gaps_cut += 1
        return replace(gap, from_ns=gap.from_ns + step.after - step.before)

    def _by_the_clock_now(self, state: FeedState, gap: Gap) -> Gap:
        """A gap that begins now, or began before the clock was set."""
        self.mind_the_clock()
        now = self._clock()
        for step in self._clock_watch.steps:
            if step.after <= now < gap.from_ns <= step.before or (
                gap.from_ns <= step.before < step.after <= now
            ):
                told = replace(gap, reason=with_step(gap.reason, step))
                gap = self._cut(state, told, step)
        return replace(gap, from_ns=min(gap.from_ns, now))

    def _goes_on(self, state: FeedState, number: int, gap: Gap, reason: str) -> None:
        """What began without a collector may go on for a reason of its own."""
        if gap.reason.startswith(_NO_COLLECTOR) and "; then " not in gap.reason:
            self._put(state, number, replace(gap, reason=f"{gap.reason}; then {reason}"))

    def _put(self, state: FeedState, number: int, gap: Gap) -> None:
        state.gaps[number] = gap
        self._queues.waiting.gaps.append(gap)

    def _end(self, gap: Gap, at: int) -> None:
        over = replace(gap, to_ns=max(gap.from_ns, at), state="closed")
        self._queues.waiting.gaps.append(over)

    def tell(self, state: FeedState, gaps: Sequence[Gap]) -> None:
        """Gaps in the vendor's numbers."""
        waiting = self._queues.waiting
        for gap in gaps:
            if len(waiting.gaps) < _LOGGED_GAPS:
                log.warning("%s: gap: %s %s", state.source.name, gap.symbol, gap.reason)
            if state.number_gaps.add(gap) and len(waiting.gaps) < MOST_AT_ONCE:
                waiting.gaps.append(gap)
            else:
                waiting.tell_with_others(gap)

    @staticmethod
    def _note(state: FeedState, reading: Reading, payload: bytes, received_at: int) -> None:
        counts = state.frames
        counts.received += 1
        counts.bytes += len(payload)
        state.last_frame_at = received_at
        if reading.events:
            counts.with_events += 1
            state.last_event_at = received_at
            for event in reading.events:
                state.events[event.event_type] = state.events.get(event.event_type, 0) + 1
                state.symbols.add(event.symbol)
        elif reading.outcome == "control":
            counts.control += 1
        else:
            counts.quarantined += 1
            state.last_problem = f"unreadable frame: {reading.faults[0] if reading.faults else ''}"

    @staticmethod
    def _heard(state: FeedState, reading: Reading) -> Heard:
        replies: Sequence[str] = reading.replies
        said = reading.control
        if said is None or said.kind in _AT_PEACE:
            # What one symbol's confirmation says does not undo another one's refusal.
            if said is not None and said.kind == "acknowledged" and not state.symbol_refused:
                state.subscription = ""
            return Heard(data=bool(reading.events), replies=replies)
        return tell_problem(state, said, replies)


def _bears_the_vendors_time(found: Columns) -> bool:
    """Of the first row."""
    differs = found.coded.get("ts_source")
    if differs is not None:
        return differs.words.texts[int(differs.codes[0])] == "vendor"
    return bool(found.constants.get("ts_source", "vendor") == "vendor")


def tell_problem(state: FeedState, said: Control, replies: Sequence[str]) -> Heard:
    """The vendor refused something: an alarm in every case, the end of the feed in one."""
    name, detail = state.source.name, state.hidden.in_words(said.detail)
    match said.kind:
        case "fatal":
            log.error("%s: refused for good: %s", name, detail)
            return Heard(give_up=f"the vendor refused: {detail}")
        case "refused":
            state.last_problem = state.subscription = f"subscription refused: {detail}"
            state.symbol_refused = True
            log.error("%s: %s", name, state.last_problem)
        case "ending":
            log.info("%s: the vendor will end this connection: %s", name, detail)
            return Heard(replies=replies, ending=True)
        case _:
            state.last_problem = f"vendor error: {detail}"
            log.warning("%s: %s", name, state.last_problem)
    return Heard(replies=replies)
