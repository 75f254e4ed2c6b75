"""Silence against the expected rate: a feed that is connected and mute. Pure, the clock handed in.

A connection that beats its heart proves nothing about its subscription (Finnhub, Binance, Kraken
and Tiingo have each been seen alive and mute), so what counts is frames with events. They are
counted where they are counted anyway; this looks at the counters once a second.

What a feed does is learned from the feed itself, and forgotten within the hour:

- its pauses: the longest in each ten minutes; the median of the last six is its usual longest
  pause, so one hiccup of the network does not make it deaf, and a feed that speaks in bursts
  is known to;
- its rate: decayed over half a minute, and held from the moment it fell silent, so that a market
  that thins out towards its close is not measured by its opening. Each half hour by the clock it
  begins at nothing: what was usual at 15:59 is not expected at 16:01. And never more than its rate
  over half an hour: a dozen events in a moment are no rhythm of a thin feed.

It is mute after six of its usual longest pauses, at least 15 s, if 50 frames should have come by
then. A feed with 3 frames/s or more has pauses of about 4 s at the most in an hour (ln(10,800)/3,
and the second between two looks): it is flagged within 30 s, one with 10 a second after 15 s. A
thin one, at whatever rate, has long pauses by itself.

That holds once it has spoken for a minute, and 50 frames. Before that it is a newcomer whose pauses
are hardly known: it is given 25 s instead of 15, what came in the first second counts for nothing
(it may be a snapshot), and its market must be known to be open. So a feed that falls mute after
three seconds is told as one that falls mute after an hour.

Sessions: US markets open and close on the half hour of the New York clock, 9:30, 16:00, 17:00,
20:00, and 13:00 on short days. A silence that begins there (5 s before to 30 s after) is a
session's end, not a fault, except for crypto, which never closes. So two per cent of the time a
real one is missed until the feed speaks again; the alternative without a calendar is a false
alarm at every close. Buckets by hour of the week were weighed and left out: they need weeks of
one collector's life before they know anything, and would still cry at every holiday.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median_high
from typing import Final

_HALF_HOUR_NS: Final = 1800 * 10**9  # New York is whole hours from UTC: the half hours coincide


@dataclass(frozen=True, slots=True, kw_only=True)
class SilenceRule:
    look_every_s: float = 1.0
    at_least_s: float = 15.0
    pauses: float = 6.0  # usual longest pauses that make a silence
    missed_frames: int = 50  # that should have come meanwhile
    learn_s: float = 60.0  # of speaking, before its rhythm is known
    newcomer_looks: int = 3  # that heard it, before anything is expected of one that is younger
    recent_s: float = 30.0  # the rate forgets by a factor of e in this time
    usual_s: float = 1800.0  # and the usual rate, which it is held to, in this
    span_s: float = 600.0  # each span has a longest pause
    spans: int = 6
    edge_before_s: float = 5.0  # a silence that begins so close to a half hour is a session's end
    edge_after_s: float = 30.0
    edges: bool = True


FEED: Final = SilenceRule()
# One symbol of a feed that speaks: reported, no gap. A halt looks the same, and lasts 5 minutes
# and more; a look counts as one frame at the most.
SYMBOL: Final = SilenceRule(at_least_s=60.0, pauses=8.0, learn_s=600.0, recent_s=120.0)
MOST_SYMBOLS: Final = 20_000  # followed; about 0.4 kB each


@dataclass(frozen=True, slots=True)
class Silence:
    seconds: float
    expected_per_s: float

    def __str__(self) -> str:
        return f"silent: no data for {self.seconds:.0f} s, expected {self.expected_per_s:.3g}/s"


class Rhythm:
    """How often one feed, or one symbol, speaks."""

    __slots__ = (
        "_began_s",
        "_first_frames",
        "_frames",
        "_half_hour",
        "_heard_s",
        "_longest",
        "_looks",
        "_rule",
        "_span_ends_s",
        "_spoke_s",
        "_usual",
        "_usual_since_s",
        "_weight",
    )

    def __init__(self, rule: SilenceRule) -> None:
        self._rule = rule
        self._began_s: float | None = None
        self._spoke_s: float | None = None  # None: nothing is expected, we were not listening
        self._half_hour = 0
        self._heard_s = 0.0
        self._weight = 0.0  # frames up to then, decayed
        self._usual = 0.0  # the same, decayed slowly, and since when
        self._usual_since_s = 0.0
        self._frames = 0
        self._first_frames = 0  # of the first look
        self._looks = 0  # that heard it
        self._longest: deque[float] = deque(maxlen=rule.spans)
        self._span_ends_s = 0.0

    def spoke(self, now_s: float, now_ns: int, frames: int) -> None:
        """So many frames came since the look before."""
        rule = self._rule
        if self._began_s is None:
            self._began_s, self._first_frames = now_s, frames
        self._looks += 1
        if now_s >= self._span_ends_s:
            self._span_ends_s = now_s + rule.span_s
            self._longest.append(0.0)
        if self._spoke_s is not None:
            self._longest[-1] = max(self._longest[-1], now_s - self._spoke_s)
        half_hour = now_ns // _HALF_HOUR_NS
        if rule.edges and half_hour != self._half_hour:
            self._weight, self._half_hour = 0.0, half_hour
        if self._spoke_s is None:  # how it was before we did not listen says nothing of its rate
            self._usual, self._usual_since_s = 0.0, now_s - rule.look_every_s
        since_s = self._heard_s - now_s
        self._weight = self._weight * math.exp(since_s / rule.recent_s) + frames
        self._usual = self._usual * math.exp(since_s / rule.usual_s) + frames
        self._frames += frames
        self._spoke_s = self._heard_s = now_s

    def not_listening(self) -> None:
        """The silence is ours, or known already: it is not to be learned as a habit."""
        self._spoke_s = None

    def listens_again(self, now_s: float, now_ns: int) -> None:
        """It was asked anew just now: what was usual before is expected again, if that is known,
        and no half hour lies between."""
        if not self.is_known or self._spoke_s is not None:
            return
        if not self._rule.edges or now_ns // _HALF_HOUR_NS == self._half_hour:
            self._spoke_s = now_s

    @property
    def is_known(self) -> bool:
        return self._began_s is not None and self._heard_s - self._began_s >= self._rule.learn_s

    @property
    def is_newcomer(self) -> bool:
        """It has spoken, and not for long enough to know its pauses."""
        if self._began_s is None or self._spoke_s is None:
            return False
        return self._spoke_s - self._began_s < self._rule.learn_s

    def silence(self, now_s: float, now_ns: int) -> Silence | None:
        """What is the matter, if anything. `now_ns` by the wall, `now_s` by a steady clock: a wall
        clock that is set forward must raise no alarm."""
        rule, began_s, spoke_s = self._rule, self._began_s, self._spoke_s
        if began_s is None or spoke_s is None or self.is_newcomer:
            return None
        expected = min(self._weight / rule.recent_s, self._usual_rate(spoke_s))
        silence = self._missed(rule.at_least_s, expected, now_s)
        if silence and rule.edges and self._is_session_end(now_ns - int(silence.seconds * 1e9)):
            self.not_listening()  # the night is no pause to learn either
            return None
        return silence

    def silence_of_newcomer(self, at_least_s: float, now_s: float) -> Silence | None:
        """The same of one whose rhythm is not known yet, where its market is known to be open."""
        began_s, spoke_s = self._began_s, self._spoke_s
        if began_s is None or spoke_s is None or not self.is_newcomer:
            return None
        if self._looks < self._rule.newcomer_looks:
            return None
        rate = (self._frames - self._first_frames) / (spoke_s - began_s)
        return self._missed(at_least_s, rate, now_s)

    def _missed(self, at_least_s: float, expected: float, now_s: float) -> Silence | None:
        """Whether the silence is too long for its pauses, and too much is missing."""
        rule = self._rule
        assert self._spoke_s is not None
        silent_s = now_s - self._spoke_s
        if silent_s < max(at_least_s, rule.pauses * median_high(self._longest)):
            return None
        if self._frames < rule.missed_frames or expected * silent_s < rule.missed_frames:
            return None
        return Silence(silent_s, expected)

    def _usual_rate(self, now_s: float) -> float:
        usual_s = self._rule.usual_s
        # What a frame a second would weigh by now; in the long run `usual_s`.
        return self._usual / (usual_s * -math.expm1((self._usual_since_s - now_s) / usual_s))

    def _is_session_end(self, began_ns: int) -> bool:
        after_s = began_ns % _HALF_HOUR_NS / 1e9
        rule = self._rule
        return after_s <= rule.edge_after_s or after_s >= 1800.0 - rule.edge_before_s


class SymbolRhythms:
    """Which symbols of a speaking feed do not, though they used to."""

    def __init__(self, rule: SilenceRule = SYMBOL) -> None:
        self._rule = rule
        self._rhythms: dict[str, Rhythm] = {}

    def spoke(self, symbols: Iterable[str], now_s: float, now_ns: int) -> None:
        rhythms = self._rhythms
        for symbol in symbols:
            rhythm = rhythms.get(symbol)
            if rhythm is None:
                if len(rhythms) >= MOST_SYMBOLS:
                    continue
                rhythm = rhythms[symbol] = Rhythm(self._rule)
            rhythm.spoke(now_s, now_ns, 1)

    def not_listening(self) -> None:
        for rhythm in self._rhythms.values():
            rhythm.not_listening()

    def silent(self, now_s: float, now_ns: int) -> list[str]:
        return [s for s, rhythm in self._rhythms.items() if rhythm.silence(now_s, now_ns)]
