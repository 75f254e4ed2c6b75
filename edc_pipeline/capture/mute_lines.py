"""Which connection of a feed is mute while others of it speak. Pure, the clock handed in.

The feed's own rhythm does not tell: it speaks. A feed has several connections for two reasons, and
each is judged by what is known of it (`silence` has the rules):

- Its symbols are shared out (shards). Each shard has a rhythm of its own, so one of thin symbols
  is thin by itself, and its market's hours are those of its own symbols. It is mute when its
  rhythm says so while some other shard speaks; when none does, the whole feed is silent, and that
  is `watch`'s to tell. A shard that was not heard since it was asked, and whose rhythm is not
  known, is told 25 s after it was asked, its market being open, if the middle one of the others
  brought 50 frames meanwhile. One thin symbol alone beside a busy shard may well be told so, as a
  feed of one thin symbol is; it is heard again with its first event.
  A shard that is mute is a gap of its own.
- Its symbols are taken more than once (`connections: 2`). What one should have brought is known
  exactly, for the others brought it: it is mute when they brought 50 frames over 15 s or more and
  it none (25 s where it has not spoken yet). Frames of one that was just asked count for nothing:
  they may be a snapshot. Nothing is missing, so there is no gap: only the redundancy is gone.

Either is an alarm, stands among the feed's problems until it speaks again, and has this one
connection made anew.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median_low
from typing import Final, Protocol

from edc_pipeline.capture.intake import FeedState, Intake
from edc_pipeline.capture.reconnect_pace import ReconnectPace
from edc_pipeline.capture.silence import Rhythm, SilenceRule
from edc_pipeline.settings_of_feeds import Feed
from edc_pipeline.vendors.shards import Shard

log = logging.getLogger(__name__)

_SYMBOLS_NAMED: Final = 5
# Looks within which another has spoken, for a silence to be this one's alone: a feed that falls
# silent as a whole does not do so in one second.
_OTHERS_LOOKS: Final = 3


class WatchedLine(Protocol):
    """One connection, as the watch sees it."""

    @property
    def standing_since_s(self) -> float | None:
        """By the steady clock; None: it does not stand."""
        ...

    @property
    def asking_s(self) -> float:
        """How long it takes us to ask for everything, once it stands."""
        ...

    @property
    def acknowledged(self) -> bool: ...

    @property
    def number(self) -> int:
        """Of its place at the vendor's: two connections have one while they are handed over."""
        ...

    @property
    def shard(self) -> Shard: ...

    @property
    def feed(self) -> Feed:
        """With the symbols of its shard alone."""
        ...

    @property
    def with_events(self) -> int:
        """Frames, since it was first made."""
        ...

    @property
    def spoke_at(self) -> int:
        """Receive time of the last of them; 0: none yet."""
        ...

    def begin_anew(self) -> None:
        """It fell silent: what this connection brings next comes after a gap."""
        ...

    def ask_to_reconnect(self, reason: str) -> None: ...


@dataclass(slots=True, eq=False)
class _Part:
    """A shard, or one of the copies that it is taken in: one connection, or two that are handed
    over."""

    symbols: tuple[str, ...]
    rhythm: Rhythm
    pace: ReconnectPace
    lines: list[WatchedLine] = field(default_factory=list)
    came: int = 0  # frames with events, at this look
    frames: int = 0  # in all
    spoke_s: float | None = None  # by the steady clock
    spoke_at: int = 0
    stood_s: float | None = None  # since when it stands, at the look before
    listened: bool = False  # then
    asked_s: float = -1.0  # how long ago it was asked for everything; negative: it is not yet
    others_then: dict[int, int] = field(default_factory=dict)  # their frames when this was asked
    missed: int = 0  # frames that its copies brought since it spoke
    missed_since_s: float | None = None
    mute: str = ""  # what is told; empty: it speaks


class LinesWatch:
    """The connections of one feed."""

    def __init__(
        self, state: FeedState, rule: SilenceRule, first_within_s: float, pace: tuple[float, float]
    ) -> None:
        """`pace`: how soon a reconnect is repeated, and how rarely at last."""
        self._state = state
        self._rule = rule
        self._within_s = first_within_s
        self._pace = pace
        self._shards: dict[int, _Part] = {}  # by number, where there are several
        self._copies: dict[int, _Part] = {}  # by place, where a shard is taken more than once
        self._heard: dict[int, tuple[WatchedLine, int]] = {}  # up to the look before, by id

    def look(
        self,
        intake: Intake,
        lines: Sequence[WatchedLine],
        now_s: float,
        now_ns: int,
        *,
        listening: bool,
    ) -> None:
        """`listening` is False while we ourselves do not read the sockets."""
        if len(lines) < 2:  # the feed's rhythm says all
            if self._heard:
                self._shards, self._copies, self._heard = {}, {}, {}
                self._state.mute = []
            return
        came = {
            id(line): line.with_events - self._heard.get(id(line), (line, line.with_events))[1]
            for line in lines
        }
        self._heard = {id(line): (line, line.with_events) for line in lines}
        listening = listening and not self._state.silent
        of_shard = _grouped((line.shard.number, line) for line in lines)
        self._shards = self._parts(self._shards, of_shard if len(of_shard) > 1 else {})
        taken_twice = {
            place: held
            for shared in of_shard.values()
            if len(places := _grouped((line.number, line) for line in shared)) > 1
            for place, held in places.items()
        }
        self._copies = self._parts(self._copies, taken_twice)
        for part in (*self._shards.values(), *self._copies.values()):
            part.came = sum(came[id(line)] for line in part.lines)
            self._hear(part, now_s, now_ns, listening=listening)
        for number in self._shards:
            self._look_at_shard(intake, number, now_s, now_ns)
        for place in self._copies:
            self._look_at_copy(place, now_s)
        mute = (part.mute for part in (*self._shards.values(), *self._copies.values()))
        self._state.mute = sorted(filter(None, mute))

    def _parts(
        self, known: dict[int, _Part], lines: dict[int, list[WatchedLine]]
    ) -> dict[int, _Part]:
        """One that asks for other symbols now has another rhythm."""
        parts: dict[int, _Part] = {}
        for number, held in lines.items():
            symbols, part = held[-1].feed.symbols, known.get(number)
            if part is None or part.symbols != symbols:
                part = _Part(symbols, Rhythm(self._rule), ReconnectPace(*self._pace))
            part.lines = held
            parts[number] = part
        return parts

    def _hear(self, part: _Part, now_s: float, now_ns: int, *, listening: bool) -> None:
        asked = [
            (now_s - line.standing_since_s - line.asking_s, line.standing_since_s)
            for line in part.lines
            if line.standing_since_s is not None
        ]
        part.asked_s, stands_s = max(asked, default=(-1.0, None))
        part.frames += part.came
        if not listening or part.asked_s < 0:
            part.rhythm.not_listening()
            part.missed, part.missed_since_s = 0, None
            part.listened = False
            return
        if not part.listened or stands_s != part.stood_s:
            part.rhythm.listens_again(now_s, now_ns)
            part.others_then = {
                number: other.frames for number, other in self._shards.items() if other is not part
            }
            part.listened, part.stood_s = True, stands_s
        if part.came:
            part.spoke_s = now_s
            part.spoke_at = max(line.spoke_at for line in part.lines)
            part.rhythm.spoke(now_s, now_ns, part.came)
            part.pace.speaks(now_s, 10 * self._rule.learn_s)
            if part.mute:
                log.info("%s: speaks again; was %s", self._state.source.name, part.mute)
                part.mute = ""

    # Shards

    def _look_at_shard(self, intake: Intake, number: int, now_s: float, now_ns: int) -> None:
        part, state = self._shards[number], self._state
        if part.came or not part.listened:
            return
        if not part.mute and (found := self._silence_of_shard(number, now_s, now_ns)):
            reason, since = found
            reason += _named(part.symbols)
            intake.feed_fell_silent(state, since, reason, number)
            for line in part.lines:
                line.begin_anew()
            place = f"connection {1 + sorted(self._shards).index(number)} of {len(self._shards)}"
            self._tell(part, f"{reason} ({place})")
        self._reconnect(part, now_s)

    def _silence_of_shard(self, number: int, now_s: float, now_ns: int) -> tuple[str, int] | None:
        """In words, and since when."""
        part = self._shards[number]
        others = {n: other for n, other in self._shards.items() if n != number}
        spoke_s = max((o.spoke_s for o in others.values() if o.spoke_s is not None), default=None)
        if spoke_s is None or now_s - spoke_s > _OTHERS_LOOKS * self._rule.look_every_s:
            return None
        silence = part.rhythm.silence(now_s, now_ns)
        if silence is None and part.rhythm.is_newcomer and self._is_open(part, now_ns):
            silence = part.rhythm.silence_of_newcomer(self._within_s, now_s)
        if silence:
            return str(silence), part.spoke_at or now_ns - int(silence.seconds * 1e9)
        unheard = part.spoke_s is None or part.spoke_s < now_s - part.asked_s
        if part.rhythm.is_known or not unheard or part.asked_s < self._within_s:
            return None
        if not self._is_open(part, now_ns):
            return None
        brought = [o.frames - part.others_then.get(n, 0) for n, o in others.items() if not o.mute]
        if not brought or median_low(brought) < self._rule.missed_frames:
            return None
        why = self._state.subscription or "its market is open, and others speak"
        reason = f"silent: nothing in the {part.asked_s:.0f} s since it was asked; {why}"
        return reason, part.spoke_at or now_ns - int(part.asked_s * 1e9)

    def _is_open(self, part: _Part, now_ns: int) -> bool:
        """From its opening on it has as long as after being asked."""
        is_open = part.lines[-1].feed.market
        return is_open(now_ns) and is_open(now_ns - int(self._within_s * 1e9))

    # Copies

    def _look_at_copy(self, place: int, now_s: float) -> None:
        part, rule = self._copies[place], self._rule
        if part.came or not part.listened:
            part.missed, part.missed_since_s = 0, None
            return
        shard = part.lines[-1].shard.number
        brought = sum(
            other.came
            for other in self._copies.values()
            if other is not part
            and other.lines[-1].shard.number == shard
            and other.asked_s >= rule.at_least_s
        )
        part.missed += brought
        if part.missed and part.missed_since_s is None:
            part.missed_since_s = now_s
        # Of a burst that one heard in this second and the other in the last there is no more.
        if brought and part.missed_since_s is not None and not part.mute:
            missed_s = now_s - part.missed_since_s
            enough = part.missed >= rule.missed_frames and missed_s >= rule.at_least_s
            # One that has not spoken since it was asked is given more.
            fresh = part.spoke_s is None or part.spoke_s < now_s - part.asked_s
            if enough and (not fresh or part.asked_s >= self._within_s):
                places = [p for p, c in self._copies.items() if c.lines[-1].shard.number == shard]
                which = f"copy {1 + sorted(places).index(place)} of {len(places)}"
                lacks = f"{part.missed:,} frames in {missed_s:.0f} s that another brought"
                self._tell(part, f"silent: {which} lacks {lacks}{_named(part.symbols)}")
        self._reconnect(part, now_s)

    def _tell(self, part: _Part, words: str) -> None:
        part.mute = self._state.last_problem = words
        part.rhythm.not_listening()  # it is no habit to learn
        log.error("%s: %s", self._state.source.name, words)

    @staticmethod
    def _reconnect(part: _Part, now_s: float) -> None:
        if part.mute and part.pace.is_due(now_s):
            for line in part.lines:
                line.ask_to_reconnect(part.mute)


def _grouped(lines: Iterable[tuple[int, WatchedLine]]) -> dict[int, list[WatchedLine]]:
    found: dict[int, list[WatchedLine]] = {}
    for number, line in lines:
        found.setdefault(number, []).append(line)
    return found


def _named(symbols: Sequence[str]) -> str:
    more = len(symbols) - _SYMBOLS_NAMED
    if not symbols:  # it asked for all that there are
        return ""
    return ": " + ", ".join(symbols[:_SYMBOLS_NAMED]) + (f" and {more:,} more" if more > 0 else "")
