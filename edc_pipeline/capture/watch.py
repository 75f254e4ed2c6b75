"""Watches over the feeds: connected and mute, subscriptions without an answer, symbols never heard.

Looks at counters once a second; the event loop calls it, and the clocks are handed in.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from edc_pipeline.capture.intake import FeedState, Intake
from edc_pipeline.capture.mute_lines import LinesWatch, WatchedLine
from edc_pipeline.capture.reconnect_pace import ReconnectPace
from edc_pipeline.capture.silence import FEED, SYMBOL, Rhythm, SilenceRule, SymbolRhythms
from edc_pipeline.market_hours import MarketIsOpen
from edc_pipeline.settings_of_feeds import Feed
from edc_pipeline.vendors.contract import FeedSpec

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRule:
    feed: SilenceRule = FEED
    symbol: SilenceRule = SYMBOL
    # A symbol asked for and not heard though its feed has spoken for so long is listed: an
    # illiquid stock may be quiet for that time, a mistyped one for ever.
    heard_within_s: float = 900.0
    # A feed that stands, has asked, and delivers nothing at all while its market is open, whether
    # it was answered, refused or neither. Nothing is known of its rhythm yet: one thin symbol
    # alone may well be told here, and is heard again with its first event.
    first_within_s: float = 25.0
    symbols_every_s: float = 10.0
    # A mute feed is connected anew at once, and if that does not help, ever more rarely: it may be
    # the vendor's trouble, and reconnects are limited.
    reconnect_after_s: float = 60.0
    reconnect_at_most_every_s: float = 1800.0


WATCH: Final = WatchRule()


class FeedWatch:
    """One feed's."""

    def __init__(
        self,
        state: FeedState,
        spec: FeedSpec,
        symbols: Sequence[str],
        rule: WatchRule = WATCH,
        is_open: MarketIsOpen | None = None,
    ) -> None:
        """`is_open` is None where nobody here knows the hours of the feed's market."""
        self._state = state
        self._is_open = is_open
        self._spec = spec
        self._asked_for = frozenset(symbols)
        self._rule = rule
        self.lines: list[WatchedLine] = []  # those that are kept now
        self._rhythm = Rhythm(_for_asset(rule.feed, spec))
        pace = rule.reconnect_after_s, rule.reconnect_at_most_every_s
        self._lines_watch = LinesWatch(
            state, _for_asset(rule.feed, spec), rule.first_within_s, pace
        )
        self._symbols = SymbolRhythms(_for_asset(rule.symbol, spec))
        self._frames = 0  # with events, when we looked last
        self._looked_s: float | None = None
        self._listened = True  # at the look before
        self._speaking_s = 0.0  # for how long the feed has been speaking, in all
        self._symbols_due_s = 0.0
        self._pace = ReconnectPace(*pace)

    def asks_for(self, symbols: Sequence[str]) -> None:
        """The feed's list has changed; what was wrong with the former one is told anew if it is."""
        self._asked_for = frozenset(symbols)
        self._state.subscription = ""

    def look(self, intake: Intake, now_s: float, now_ns: int, *, reading: bool) -> None:
        """`reading` is False while we ourselves do not read the sockets."""
        intake.tell(self._state, self._state.continuity.settle(now_ns))
        late = self._looked_s is not None and now_s - self._looked_s > max(
            5 * self._rule.feed.look_every_s, 1.0
        )
        passed_s = 0.0 if self._looked_s is None else now_s - self._looked_s
        self._looked_s = now_s
        self._look_at_subscription(now_s)
        listening = reading and not late
        if not listening or not self._state.connections:
            # Nothing was heard because nobody listened, or nobody was awake.
            self._rhythm.not_listening()
            self._symbols.not_listening()
            self._listened = False
        elif not self._listened and self._asked_for_s(now_s) >= 0:
            # A vendor may have lost what a connection that was made anew had asked for.
            self._rhythm.listens_again(now_s, now_ns)
            self._listened = True
        self._look_at_symbols(now_s, now_ns)
        came, self._frames = (
            self._state.frames.with_events - self._frames,
            self._state.frames.with_events,
        )
        if came:
            self._speaking_s += 0.0 if late else passed_s
            self._rhythm.spoke(now_s, now_ns, came)
        else:
            self._look_at_silence(intake, now_s, now_ns, reading=listening)
        self._lines_watch.look(intake, self.lines, now_s, now_ns, listening=listening)

    # Silence

    def _look_at_silence(self, intake: Intake, now_s: float, now_ns: int, *, reading: bool) -> None:
        state = self._state
        silence = self._rhythm.silence(now_s, now_ns)
        asked_s, unheard = 0.0, state.last_event_at is None
        if reading and (unheard or self._rhythm.is_newcomer):
            asked_s = self._should_speak_for_s(now_s, now_ns)
        if asked_s and not unheard:
            within_s = self._rule.first_within_s
            silence = silence or self._rhythm.silence_of_newcomer(within_s, now_s)
        reason, seconds = (str(silence), silence.seconds) if silence else ("", 0.0)
        if asked_s and unheard:
            why, seconds = state.subscription or "its market is open", asked_s
            reason = f"silent: nothing in the {seconds:.0f} s since it was asked; {why}"
        if reason and not state.silent:
            since = state.last_event_at or now_ns - int(seconds * 1e9)
            intake.feed_fell_silent(state, since, reason)
            state.silent = True
            state.last_problem = reason
            log.error("%s: %s", state.source.name, reason)
            self._rhythm.not_listening()
            for line in self.lines:
                line.begin_anew()
        if not state.silent:
            self._pace.speaks(now_s, 10 * self._rule.feed.learn_s)
        elif state.connections and self._pace.is_due(now_s):
            for line in self.lines:
                line.ask_to_reconnect(state.gap.reason if state.gap else "silent")

    def _should_speak_for_s(self, now_s: float, now_ns: int) -> float:
        """How long ago it was asked for everything, if that is long enough to hear something of it
        while its market is open; else 0."""
        within_s, seconds = self._rule.first_within_s, self._asked_for_s(now_s)
        if seconds < within_s or self._is_open is None:
            return 0.0
        # From its opening on it has as long as after being asked.
        is_open = self._is_open(now_ns) and self._is_open(now_ns - int(within_s * 1e9))
        return seconds if is_open else 0.0

    def _asked_for_s(self, now_s: float) -> float:
        """How long ago the first was asked for everything; negative: none is yet."""
        return max(
            (
                now_s - line.standing_since_s - line.asking_s
                for line in self.lines
                if line.standing_since_s is not None
            ),
            default=-1.0,
        )

    def _look_at_symbols(self, now_s: float, now_ns: int) -> None:
        state = self._state
        spoke = state.remember_symbols(self._asked_for)
        self._symbols.spoke(spoke, now_s, now_ns)
        if now_s < self._symbols_due_s:
            return
        self._symbols_due_s = now_s + self._rule.symbols_every_s
        if not spoke:  # the feed itself may be silent, or its market closed
            return
        never: set[str] = set()
        if self._speaking_s >= self._rule.heard_within_s:
            never = set(self._asked_for - state.symbols_before)
        before = set(state.silent_symbols)
        state.silent_symbols = sorted(never | set(self._symbols.silent(now_s, now_ns)))
        new = [symbol for symbol in state.silent_symbols if symbol not in before]
        if new:
            shown = ", ".join(new[:10]) + (" …" if len(new) > 10 else "")
            log.warning("%s: not heard, though the feed speaks: %s", state.source.name, shown)

    # Subscriptions

    def _look_at_subscription(self, now_s: float) -> None:
        within_s, state = self._spec.acknowledges_within_s, self._state
        if within_s is None:
            return
        overdue = any(
            line.standing_since_s is not None
            and now_s - line.standing_since_s - line.asking_s > within_s
            and not line.acknowledged
            for line in self.lines
        )
        if overdue and not state.subscription:
            state.subscription = f"subscription not acknowledged within {within_s:g} s"
            state.last_problem = state.subscription
            log.error("%s: %s", state.source.name, state.subscription)


def market_of(feed: Feed) -> MarketIsOpen | None:
    """Whether the market of any of a feed's symbols is open at an instant; None: not known."""
    # A poll answers, and a webhook speaks when its sender has something to say.
    return feed.market if feed.spec.way_in == "websocket" else None


def _for_asset(rule: SilenceRule, spec: FeedSpec) -> SilenceRule:
    """Crypto trades round the clock: no half hour ends its session."""
    return replace(rule, edges=False) if spec.asset_class == "crypto" else rule
