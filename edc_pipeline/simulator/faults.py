"""What goes wrong on the line, and when. Pure and seeded; the server carries out what is decided.

`Chaos` says what is wanted; `Trouble` belongs to one exchange and remembers what was done; a
`Line` is one connection's way through it.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Literal

from edc_pipeline.market_day import NS_PER_SECOND
from edc_pipeline.simulator.chaos import FAULTS, Chaos, Fault, Odds, Planned
from edc_pipeline.simulator.rubbish import rubbish

__all__ = ["FAULTS", "Chaos", "Cut", "Delivery", "Done", "Fault", "Line", "Odds", "Planned",
           "Step", "Trouble"]  # fmt: skip

_NS_PER_HOUR: Final = 3600 * NS_PER_SECOND
# A frame held to swap places goes out alone when no other follows for this long.
_REORDER_PATIENCE_S: Final = 1.0
_REPORT_LINES: Final = 10_000  # the counters stay exact beyond

# Who the client deals with until these have been told.
_REFUSED_WITH: Final = {"expired": HTTPStatus.UNAUTHORIZED, "limit": HTTPStatus.TOO_MANY_REQUESTS}

Ending = Literal["cut", "half_open", "expired", "limit"]
_ENDINGS: Final[tuple[Ending, ...]] = ("half_open", "expired", "limit", "cut")


@dataclass(frozen=True, slots=True)
class Delivery:
    """Send this data frame now. `fault` says what was done to it, empty for nothing."""

    body: str | bytes
    n: int  # of the data frame on its connection, from 1; rubbish bears that of the one before it
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Cut:
    """This is the connection's end, once what is before it is out."""

    how: Ending = "cut"


Step = Delivery | Cut


@dataclass(frozen=True, slots=True)
class Done:
    """One line of the report: what was done to which frame."""

    fault: Fault
    service: str
    connection: int  # of its service, from 1
    n: int
    at_ns: int
    symbol: str = ""
    body: str | bytes = ""  # of a frame that was dropped or corrupted, as it should have come


@dataclass(slots=True)
class Trouble:
    """One exchange's faults: what is still planned, and what was done."""

    chaos: Chaos
    counts: Counter[str] = field(default_factory=Counter)
    report: list[Done] = field(default_factory=list)
    _still_planned: list[Planned] = field(init=False)
    _refusals: list[tuple[HTTPStatus, int]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self._still_planned = list(self.chaos.planned)

    def line(self, service: str, connection: int) -> Line:
        return Line(self, service, connection)

    def planned_at(self, service: str, n: int, *, snapshots: bool = False) -> list[Planned]:
        """What the plan has for this frame; each item is given out once."""
        if not self._still_planned:
            return []
        due = [
            p
            for p in self._still_planned
            if p.frame == n
            and p.service in ("", service)
            and (p.fault == "late_snapshot") == snapshots
        ]
        for plan in due:
            self._still_planned.remove(plan)
        return due

    def refuse(self, status: HTTPStatus, handshakes: int) -> None:
        self._refusals.append((status, handshakes))

    def refusal(self) -> HTTPStatus | None:
        """What the next handshake is answered with, where it is not let in. Asked once for each."""
        if not self._refusals:
            return None
        status, left = self._refusals[0]
        self._refusals[:1] = [(status, left - 1)] if left > 1 else []
        self.counts[f"answered {status.value}"] += 1
        return status

    def note(self, done: Done) -> None:
        self.counts[done.fault] += 1
        if len(self.report) < _REPORT_LINES:
            self.report.append(done)


class Line:
    """One connection: data frames in, steps out, in the order to carry them out."""

    def __init__(self, trouble: Trouble, service: str, connection: int) -> None:
        self.n = 0  # data frames so far, without copies, rubbish and what a mute withheld
        self.lost: Counter[str] = Counter()  # frames that never go out, by fault
        self._trouble = trouble
        self._service = service
        self._connection = connection
        self._random = random.Random(f"{trouble.chaos.seed}/{service}/{connection}")
        self._next_by_hour: dict[int, float] = {}  # index in odds → ns
        self._held: list[tuple[float, int, Delivery]] = []  # heap by due time
        self._order = itertools.count()
        self._mute_until = -math.inf
        self._slow_until = -math.inf
        self._hushed_until: dict[str, float] = {}  # by symbol
        self._dropping = 0  # frames still to be dropped
        self._snapshots = 0

    @property
    def withheld(self) -> int:
        return self.lost["mute"]

    def is_mute(self, now_ns: int) -> bool:
        return now_ns < self._mute_until

    def feed(self, body: str | bytes, now_ns: int, symbol: str = "") -> list[Step]:
        if self.is_mute(now_ns):
            self.lost["mute"] += 1
            return []
        steps = self.due(now_ns)
        if self._hushed_until and now_ns < self._hushed_until.get(symbol, -math.inf):
            self.lost["hush"] += 1
            return steps
        self.n += 1
        struck = self._strikes(body, now_ns, symbol)
        swapped = [d for _, _, d in self._held if d.fault == "reorder"]
        if swapped:
            self._held = [h for h in self._held if h[2].fault != "reorder"]
            heapq.heapify(self._held)
        steps += [*self._deliver(body, struck, now_ns), *swapped]
        if "rubbish" in struck:
            spoiled = rubbish(struck["rubbish"].rubbish, body, self._random)
            steps.append(Delivery(spoiled, self.n, "rubbish"))
        self._begin_lasting(struck, now_ns, symbol)
        ending = next((e for e in _ENDINGS if e in struck), None)
        if ending or "mute" in struck:
            # What was held goes out first, so that a cut by itself loses nothing.
            steps += self.flush()
        if ending:
            if ending in _REFUSED_WITH:
                self._trouble.refuse(_REFUSED_WITH[ending], struck[ending].count)
            steps.append(Cut(ending))
        return steps

    def _begin_lasting(self, struck: dict[Fault, Odds | Planned], now_ns: int, symbol: str) -> None:
        if mute := struck.get("mute"):
            self._mute_until = now_ns + mute.seconds * NS_PER_SECOND
        if hush := struck.get("hush"):
            self._hushed_until[hush.symbol or symbol] = now_ns + hush.seconds * NS_PER_SECOND
        if slow := struck.get("slow"):
            self._slow_until = now_ns + slow.seconds * NS_PER_SECOND

    def _deliver(
        self, body: str | bytes, struck: dict[Fault, Odds | Planned], now_ns: int
    ) -> list[Step]:
        if "drop" in struck:
            return []
        if "corrupt" in struck:
            return [Delivery(_corrupted(body, self._random), self.n, "corrupt")]
        if now_ns < self._slow_until:
            self._hold(Delivery(body, self.n, "slow"), self._slow_until)
            return []
        if "delay" in struck:
            due = now_ns + struck["delay"].seconds * NS_PER_SECOND
            self._hold(Delivery(body, self.n, "delay"), due)
            return []
        if "reorder" in struck:
            due = now_ns + _REORDER_PATIENCE_S * NS_PER_SECOND
            self._hold(Delivery(body, self.n, "reorder"), due)
            return []
        steps: list[Step] = [Delivery(body, self.n)]
        if "duplicate" in struck:
            steps.append(Delivery(body, self.n, "duplicate"))
        return steps

    def _hold(self, delivery: Delivery, due_ns: float) -> None:
        heapq.heappush(self._held, (due_ns, next(self._order), delivery))

    def due(self, now_ns: int) -> list[Step]:
        """Held frames whose time has come."""
        steps: list[Step] = []
        while self._held and self._held[0][0] <= now_ns:
            steps.append(heapq.heappop(self._held)[2])
        return steps

    def flush(self) -> list[Step]:
        return self.due(2**63)

    def snapshot_waits_for(self, now_ns: int) -> int:
        """How many data frames go out before the snapshot that is about to; 0: it is in order."""
        self._snapshots += 1
        struck = self._chosen(now_ns, snapshots=True)
        struck |= {
            p.fault: p
            for p in self._trouble.planned_at(self._service, self._snapshots, snapshots=True)
        }
        if not struck:
            return 0
        self._note("late_snapshot", now_ns)
        return struck["late_snapshot"].count

    def _strikes(self, body: str | bytes, now_ns: int, symbol: str) -> dict[Fault, Odds | Planned]:
        struck = self._chosen(now_ns, snapshots=False)
        for planned in self._trouble.planned_at(self._service, self.n):
            struck[planned.fault] = planned
        if drop := struck.get("drop"):
            self._dropping = max(self._dropping, drop.count)
        if self._dropping:
            self._dropping -= 1
            struck["drop"] = drop or Planned(fault="drop", frame=self.n)
            self.lost["drop"] += 1
        # To one frame one thing is done: each fault counted is one that was seen.
        slow = now_ns < self._slow_until
        for first in ("drop", "corrupt", *(("slow",) if slow else ()), "delay", "reorder"):
            if first in struck or (first == "slow" and slow):
                for other in ("drop", "corrupt", "delay", "reorder", "duplicate"):
                    if other != first:
                        struck.pop(other, None)
                break
        for fault in struck:
            told = body if fault in {"drop", "corrupt"} else ""
            hushed = struck[fault].symbol if fault == "hush" else ""
            self._note(fault, now_ns, hushed or symbol, told)
        return struck

    def _note(self, fault: Fault, now_ns: int, symbol: str = "", body: str | bytes = "") -> None:
        self._trouble.note(
            Done(fault, self._service, self._connection, self.n, now_ns, symbol, body)
        )

    def _chosen(self, now_ns: int, *, snapshots: bool) -> dict[Fault, Odds | Planned]:
        return {
            odds.fault: odds
            for index, odds in enumerate(self._trouble.chaos.odds)
            if (odds.fault == "late_snapshot") == snapshots and self._by_chance(index, odds, now_ns)
        }

    def _by_chance(self, index: int, odds: Odds, now_ns: int) -> bool:
        if odds.per_frame:
            return self._random.random() < odds.per_frame
        if not odds.per_hour:
            return False
        mean_ns = _NS_PER_HOUR / odds.per_hour
        due = self._next_by_hour.get(index)
        if due is None:
            due = self._next_by_hour[index] = now_ns + self._random.expovariate(1 / mean_ns)
        if now_ns < due:
            return False
        self._next_by_hour[index] = now_ns + self._random.expovariate(1 / mean_ns)
        return True


def _corrupted(body: str | bytes, choice: random.Random) -> bytes:
    """The frame with the highest bit of one byte turned over: no text in UTF-8 any more, where
    the frame was ASCII. Goes out as a binary frame, since a client would close on such a text."""
    data = bytearray(body.encode() if isinstance(body, str) else body)
    if data:
        data[choice.randrange(len(data))] ^= 0x80
    return bytes(data)
