"""Gaps in the vendor's own numbers: how many messages are missing, and which. Pure, no clock.

A jump is a hole, and becomes a gap when what is missing has not come within a window of
messages, or of time: what is merely late or reordered is no gap. A number that was heard already
is a copy. Only when a long run of messages stands behind all that was heard, and none goes on
from it, has the numbering begun anew; then it is not known how many are missing. A vendor that
repeats its last frames after a reconnect must not look like that: 25 to 100 are usual.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from edc_pipeline.capture.front import Front, Given, Rows
from edc_pipeline.events import AnyEvent
from edc_pipeline.vendors.contract import Columns, SequenceRule

# Messages of one numbering that may overtake another one.
LATE_MESSAGES: Final = 64
# A hole of a thin symbol is not held open for the hours that 64 messages take.
LATE_NS: Final = 5_000_000_000
# Messages in a row, none new, after which the numbering is taken to have begun anew.
ANEW_MESSAGES: Final = 200
# Numberings held for one feed, about 300 bytes each. All US listings are some 12,000.
MOST_NUMBERINGS: Final = 50_000
# A jump beyond is a new numbering or a broken number, not so many messages lost.
MOST_MISSING: Final = 100_000_000

_NUMBERS_END: Final = 1 << 63
_PLAIN_DIGITS: Final = 18  # a number of so many is below it
_NO_NUMBERS: Final = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Missing:
    """Numbers that never came: `first_seq` and those behind it, `size` in all."""

    symbol: str  # empty: the numbers count a connection's messages
    first_seq: int
    size: int | None  # None: the numbering began anew, nobody knows
    from_ns: int  # when the last message before them was received
    to_ns: int  # and the first one behind them
    reason: str


@dataclass(slots=True)
class _Hole:
    first: int
    last: int
    from_ns: int
    to_ns: int
    given_up_at: int  # in messages heard


class Numbering:
    """One run of numbers."""

    __slots__ = ("_around", "_behind", "_behind_ns", "_contiguous", "_heard", "_holes", "_last",
                 "_last_ns", "_what", "awaits", "symbol")  # fmt: skip

    def __init__(self, rule: SequenceRule, symbol: str, what: str) -> None:
        self.symbol = symbol
        self._what = what
        self._contiguous = rule.contiguous
        self._around = None if rule.wraps_after is None else rule.wraps_after + 1
        self._last: int | None = None  # the furthest heard, counted on through every wrap
        self._last_ns = 0
        self._heard = 0
        self._holes: list[_Hole] = []
        self._behind = 0  # messages in a row that were not new
        self._behind_ns = 0  # when they began
        # The number behind the last, as long as nothing is open and none wraps; else −1.
        self.awaits = -1

    def hear(self, seq: int, at: int, missing: list[Missing]) -> bool:
        """Whether `seq` jumped. What is now known to be missing is added to `missing`."""
        if not 0 <= seq < _NUMBERS_END:
            return False
        self._heard += 1
        if self._last is None:
            self._last, self._last_ns = seq, at
            self.awaits = seq + 1 if self._around is None else -1
            return False
        ahead = self._ahead(seq)
        jumped = False
        if ahead > 0:
            jumped = ahead > 1 and self._contiguous
            if jumped:
                self._leave_hole(ahead, at, missing)
            self._last += ahead
            self._last_ns = at
            self._behind = 0
        elif self._contiguous and self._fill(self._last + ahead):
            self._behind = 0
        else:
            jumped = self._hear_again(seq, ahead, at, missing)
        if self._holes:
            self._give_up(missing, at)
        plain = not (self._holes or self._behind) and self._around is None
        self.awaits = self._last + 1 if plain else -1
        return jumped

    def awaits_all(self, numbers: Given) -> bool:
        """Whether the first is the one that is awaited, and each other the one behind the last."""
        if not 0 <= self.awaits < _NUMBERS_END - len(numbers):
            return False
        return bool((numbers == np.arange(self.awaits, self.awaits + len(numbers))).all())

    def goes_on_from(self, awaited: int, at: int) -> None:
        """All before what it awaits was heard, each behind the last."""
        self.awaits, self._last, self._last_ns = awaited, awaited - 1, at

    @property
    def last_ns(self) -> int:
        return self._last_ns

    def _ahead(self, seq: int) -> int:
        assert self._last is not None
        if self._around is None:
            return seq - self._last
        ahead = (seq - self._last) % self._around
        return ahead - self._around if ahead > self._around // 2 else ahead

    def _leave_hole(self, ahead: int, at: int, missing: list[Missing]) -> None:
        assert self._last is not None
        if ahead > MOST_MISSING:
            missing.append(self._unknown(self._last + ahead, self._last_ns, at))
            return
        first, last = self._last + 1, self._last + ahead - 1
        self._holes.append(_Hole(first, last, self._last_ns, at, self._heard + LATE_MESSAGES))

    def _fill(self, number: int) -> bool:
        for place, hole in enumerate(self._holes):
            if hole.first <= number <= hole.last:
                parts = [(hole.first, number - 1), (number + 1, hole.last)]
                self._holes[place : place + 1] = [
                    _Hole(first, last, hole.from_ns, hole.to_ns, hole.given_up_at)
                    for first, last in parts
                    if first <= last
                ]
                return True
        return False

    def _hear_again(self, seq: int, ahead: int, at: int, missing: list[Missing]) -> bool:
        """Heard already, or of a numbering that began anew."""
        if not self._behind:
            self._behind_ns = at
        # The latest number twice (two events of one message) says nothing about the numbering.
        self._behind += ahead < 0
        if self._behind < ANEW_MESSAGES:
            return False
        missing.append(self._unknown(seq, self._last_ns, max(self._behind_ns, self._last_ns)))
        self._last, self._last_ns, self._behind = seq, at, 0
        return True

    def _unknown(self, seq: int, from_ns: int, to_ns: int) -> Missing:
        reason = f"{self._what} goes on at {seq} after {self._shown(self._last or 0)}"
        return Missing(self.symbol, seq, None, from_ns, to_ns, reason)

    def _shown(self, number: int) -> int:
        return number if self._around is None else number % self._around

    def _give_up(self, missing: list[Missing], at: int) -> None:
        while self._holes and (
            self._heard > self._holes[0].given_up_at or at - self._holes[0].to_ns > LATE_NS
        ):
            hole = self._holes.pop(0)
            first, size = self._shown(hole.first), hole.last - hole.first + 1
            which = f"{first}" if size == 1 else f"{first} to {self._shown(hole.last)}"
            missing.append(
                Missing(
                    self.symbol,
                    first,
                    size,
                    hole.from_ns,
                    hole.to_ns,
                    f"{self._what} lacks {which}",
                )
            )

    @property
    def has_holes(self) -> bool:
        return bool(self._holes)

    def settle(self, missing: list[Missing], at: int | None) -> None:
        """Give up on holes that are too old at `at`; on all of them where that is None."""
        if self._holes:
            self._give_up(missing, _NUMBERS_END if at is None else at)


class Numbers:
    """All numberings of one feed, by symbol or connection."""

    def __init__(self, rules: Sequence[SequenceRule]) -> None:
        self.followed = bool(rules)
        self.untracked = 0  # messages whose numbering would have been one too many
        self._by_frame = next((r for r in rules if r.counts == "connection"), None)
        self._by_symbol = {
            event_type: (place, rule)
            for place, rule in enumerate(rules)
            if rule.counts == "symbol"
            for event_type in rule.event_types
        }
        self._numberings: dict[tuple[int, str], Numbering] = {}
        self._fronts = {place: Front(MOST_NUMBERINGS) for place, _ in self._by_symbol.values()}
        self._unsettled: set[Numbering] = set()

    def hear_frame(self, connection: str, seq: int, at: int, missing: list[Missing]) -> bool:
        """A frame that bears a number of its own, whatever is in it; whether it jumped."""
        if self._by_frame is None or seq < 0:
            return False
        return self._hear((-1, connection), self._by_frame, seq, at, missing)

    def hear_event(
        self,
        connection: str,
        event: AnyEvent,
        at: int,
        missing: list[Missing],
        *,
        begins: bool = True,
    ) -> bool:
        """Whether the event's number jumped. One that is in quarantine goes on with a numbering,
        lest its number be taken for missing, and begins none: its symbol may be anything."""
        if event.origin == "backfill":
            return False
        if found := self._by_symbol.get(event.event_type):
            place, rule = found
            number = event.seq if rule.borne_by == "seq" else _number_of(event.event_id)
            if number < 0:
                return False
            key = place, event.symbol
            if not begins and key not in self._numberings:
                return False
            return self._hear(key, rule, number, at, missing)
        rule_of_frames = self._by_frame
        if (
            event.seq < 0
            or rule_of_frames is None
            or event.event_type not in rule_of_frames.event_types
        ):
            return False
        return self._hear((-1, connection), rule_of_frames, event.seq, at, missing)

    def go_on(self, connection: str, found: Sequence[Columns], at: int) -> bool:
        """Hear all of it, if each number follows its last; else hear nothing of it."""
        of_connection, of_frames = self._numberings.get((-1, connection)), _NO_NUMBERS
        if self._by_frame is not None:
            of_frames = _numbers_of_frames(found, self._by_frame)
            if of_connection is None or not (
                len(of_frames) and of_connection.awaits_all(of_frames)
            ):
                return False
        heard: dict[int, tuple[Rows, Given]] = {}
        for columns in found:
            place, rule = self._by_symbol.get(columns.event_type) or (-1, None)
            if rule is None:
                continue
            numbers = _numbers_of(columns, rule)
            # Two types that share a numbering: their order matters.
            if numbers is None or place in heard:
                return False
            front = self._fronts[place]
            rows = front.rows(columns.coded["symbol"])
            if not front.awaits_all(rows, numbers, contiguous=rule.contiguous):
                return False
            heard[place] = rows, numbers
        for place, (rows, numbers) in heard.items():
            self._fronts[place].advance(rows, numbers, at)
        if of_connection is not None:
            of_connection.goes_on_from(int(of_frames[-1]) + 1, at)
        return True

    def _hear(
        self, key: tuple[int, str], rule: SequenceRule, seq: int, at: int, missing: list[Missing]
    ) -> bool:
        numbering = self._numberings.get(key)
        if numbering is None:
            if len(self._numberings) >= MOST_NUMBERINGS:
                self.untracked += 1
                return False
            numbering = self._numberings[key] = _begin(key, rule)
        front = self._fronts.get(key[0])
        if front is None:
            jumped = numbering.hear(seq, at, missing)
        else:
            row = front.row(key[1])
            if (where := front.where(row)) is not None:
                numbering.goes_on_from(*where)
            jumped = numbering.hear(seq, at, missing)
            front.put(row, numbering.awaits, numbering.last_ns)
        if jumped:
            self._unsettled.add(numbering)
        return jumped

    def is_of_symbol(self, event: AnyEvent) -> bool:
        """Whether a jump at this event concerns its symbol only."""
        return event.event_type in self._by_symbol

    def connection_ended(self, connection: str, missing: list[Missing]) -> None:
        """Its numbers go no further; the next connection's begin anew."""
        ended = self._numberings.pop((-1, connection), None)
        if ended is not None:
            ended.settle(missing, None)
            self._unsettled.discard(ended)

    def settle(self, at: int | None) -> Iterator[Missing]:
        """Holes that are too old to be filled any more, or, without a time, all of them."""
        missing: list[Missing] = []
        for numbering in self._unsettled:
            numbering.settle(missing, at)
        self._unsettled = {n for n in self._unsettled if n.has_holes}
        return iter(missing)


def _number_of(event_id: str) -> int:
    """−1 where the id is no number."""
    return int(event_id) if event_id.isdecimal() and event_id.isascii() else -1


def _numbers_of(columns: Columns, rule: SequenceRule) -> Given | None:
    """None where not every row bears one."""
    numbers = columns.numbers.get(rule.borne_by)
    if numbers is not None or rule.borne_by == "seq":
        return numbers
    ids = columns.texts.get("event_id")
    if ids is None or "" in ids or max(map(len, ids)) > _PLAIN_DIGITS:
        return None
    joined = "".join(ids)
    return np.array(ids).astype(np.int64) if joined.isdecimal() and joined.isascii() else None


def _numbers_of_frames(found: Sequence[Columns], rule: SequenceRule) -> Given:
    """In the order of the frames; empty where not every frame bears one."""
    numbered = [columns.frame_numbers for columns in found if columns.frame_numbers is not None]
    borne_by_events = any(
        columns.event_type in rule.event_types and "seq" in columns.numbers for columns in found
    )
    if len(numbered) < len(found) or borne_by_events:
        return _NO_NUMBERS
    places, numbers = map(np.concatenate, zip(*numbered, strict=True))
    return numbers[places.argsort()]


def _begin(key: tuple[int, str], rule: SequenceRule) -> Numbering:
    if rule.counts == "symbol":
        return Numbering(rule, key[1], "the symbol's numbering")
    return Numbering(rule, "", f"the numbering of connection {key[1]}")
