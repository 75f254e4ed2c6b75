"""What goes wrong on the line, and when. Pure and seeded; the server carries out what is decided.

`Chaos` says what is wanted, by odds or by an exact plan; `Trouble` belongs to one exchange and
remembers what was done; a `Line` is one connection's way through it.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from edc_pipeline.market_day import NS_PER_SECOND
from edc_pipeline.simulator.rubbish import RUBBISH_KINDS, rubbish

Fault = Literal["duplicate", "delay", "reorder", "rubbish", "mute", "cut"]
FAULTS: Final[tuple[Fault, ...]] = get_args(Fault)

_NS_PER_HOUR: Final = 3600 * NS_PER_SECOND
_DEFAULT_SECONDS: Final = {"delay": 0.25, "mute": math.inf}
# A frame held to swap places goes out alone when no other follows for this long.
_REORDER_PATIENCE_S: Final = 1.0
_REPORT_LINES: Final = 10_000  # the counters stay exact beyond

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0}
_PER_HOUR: Final = {"h": 1.0, "min": 60.0, "s": 3600.0}
_NUMBER: Final = r"(\d+(?:\.\d+)?)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Odds:
    """A fault by chance: per data frame, or per hour of a connection."""

    fault: Fault
    per_frame: float = 0.0
    per_hour: float = 0.0
    seconds: float = 0.0  # how long a delay or a mute lasts
    rubbish: str = ""  # one of RUBBISH_KINDS; empty: any


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A fault that strikes once: at the Nth data frame of the first connection that gets so far.

    A duplicate, delay or reorder is done to that frame; rubbish, a mute or a cut comes after it.
    """

    fault: Fault
    frame: int
    service: str = ""  # only on connections of this service; empty: any
    seconds: float = 0.0
    rubbish: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chaos:
    odds: tuple[Odds, ...] = ()
    planned: tuple[Planned, ...] = ()
    seed: int = 0

    @classmethod
    def parse(cls, text: str) -> Chaos:
        """`duplicate=0.1%,delay=1%:250ms,cut=2/h,mute=1/h:10s,cut@500,rubbish@iex:200,seed=7`."""
        odds: list[Odds] = []
        planned: list[Planned] = []
        seed = 0
        for item in filter(None, (part.strip() for part in text.split(","))):
            if re.fullmatch(r"seed=\d+", item):
                seed = int(item[5:])
            elif "@" in item:
                planned.append(_parse_planned(item))
            else:
                odds.append(_parse_odds(item))
        return cls(odds=tuple(odds), planned=tuple(planned), seed=seed)


def _parse_odds(item: str) -> Odds:
    name, equals, value = item.partition("=")
    fault = _fault(item, name)
    chance, _, detail = value.partition(":")
    seconds, kind = _detail(item, fault, detail)
    per_frame = per_hour = 0.0
    if match := re.fullmatch(_NUMBER + "(%?)", chance):
        per_frame = float(match[1]) / (100 if match[2] else 1)
    elif match := re.fullmatch(_NUMBER + r"/(h|min|s)", chance):
        per_hour = float(match[1]) * _PER_HOUR[match[2]]
    else:
        raise ValueError(
            f"chaos: {item!r}: say how often, as {name}=0.1% (of data frames) or {name}=2/h; "
            f"or exactly when, as {name}@500"
        )
    if not equals or per_frame > 1:
        raise ValueError(f"chaos: {item!r}: {chance} is more than every frame; write 0.5%, or 0.5")
    return Odds(fault=fault, per_frame=per_frame, per_hour=per_hour, seconds=seconds, rubbish=kind)


def _parse_planned(item: str) -> Planned:
    name, _, rest = item.partition("@")
    fault = _fault(item, name)
    match = re.fullmatch(r"(?:([a-z_]+):)?(\d+)(?::(.+))?", rest)
    if not match or int(match[2]) < 1:
        raise ValueError(
            f"chaos: {item!r}: write {name}@500 for the 500th data frame of a connection, "
            f"or {name}@iex:500 for one of /iex"
        )
    seconds, kind = _detail(item, fault, match[3] or "")
    return Planned(
        fault=fault, frame=int(match[2]), service=match[1] or "", seconds=seconds, rubbish=kind
    )


def _fault(item: str, name: str) -> Fault:
    for fault in FAULTS:
        if fault == name:
            return fault
    raise ValueError(f"chaos: {item!r}: {name!r} is no fault; there are {', '.join(FAULTS)}, seed")


def _detail(item: str, fault: Fault, detail: str) -> tuple[float, str]:
    seconds = _DEFAULT_SECONDS.get(fault, 0.0)
    if not detail:
        return seconds, ""
    if fault == "rubbish":
        if detail not in RUBBISH_KINDS:
            kinds = ", ".join(RUBBISH_KINDS)
            raise ValueError(f"chaos: {item!r}: {detail!r} is no rubbish; there are {kinds}")
        return 0.0, detail
    match = re.fullmatch(_NUMBER + "(ms|s|m)", detail)
    if not match or fault not in _DEFAULT_SECONDS:
        takes = "a duration, as 250ms or 10s" if fault in _DEFAULT_SECONDS else "nothing"
        raise ValueError(f"chaos: {item!r}: after the colon {fault} takes {takes}")
    return float(match[1]) * _UNITS[match[2]], ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Send this data frame now. `fault` says what was done to it, empty for nothing."""

    body: str | bytes
    n: int  # of the data frame on its connection, from 1; rubbish bears that of the one before it
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Cut:
    """Close the connection without a word, once what is before this is out."""


Step = Delivery | Cut


@dataclass(frozen=True, slots=True)
class Done:
    """One line of the report."""

    fault: Fault
    service: str
    connection: int  # of its service, from 1
    n: int
    at_ns: int


@dataclass(slots=True)
class Trouble:
    """One exchange's faults: what is still planned, and what was done."""

    chaos: Chaos
    counts: Counter[str] = field(default_factory=Counter)
    report: list[Done] = field(default_factory=list)
    _still_planned: list[Planned] = field(init=False)

    def __post_init__(self) -> None:
        self._still_planned = list(self.chaos.planned)

    def line(self, service: str, connection: int) -> Line:
        return Line(self, service, connection)

    def planned_at(self, service: str, n: int) -> list[Planned]:
        """What the plan has for this frame; each item is given out once."""
        if not self._still_planned:
            return []
        due = [p for p in self._still_planned if p.frame == n and p.service in ("", service)]
        for plan in due:
            self._still_planned.remove(plan)
        return due

    def note(self, done: Done) -> None:
        self.counts[done.fault] += 1
        if len(self.report) < _REPORT_LINES:
            self.report.append(done)


class Line:
    """One connection: data frames in, steps out, in the order to carry them out."""

    def __init__(self, trouble: Trouble, service: str, connection: int) -> None:
        self.n = 0  # data frames so far, without copies, rubbish and what a mute withheld
        self.withheld = 0
        self._trouble = trouble
        self._service = service
        self._connection = connection
        self._random = random.Random(f"{trouble.chaos.seed}/{service}/{connection}")
        self._next_by_hour: dict[int, float] = {}  # index in odds → ns
        self._held: list[tuple[float, int, Delivery]] = []  # heap by due time
        self._order = itertools.count()
        self._mute_until = -math.inf

    def is_mute(self, now_ns: int) -> bool:
        return now_ns < self._mute_until

    def feed(self, body: str | bytes, now_ns: int) -> list[Step]:
        if self.is_mute(now_ns):
            self.withheld += 1
            return []
        steps = self.due(now_ns)
        self.n += 1
        struck = self._strikes(now_ns)
        swapped = [d for _, _, d in self._held if d.fault == "reorder"]
        if swapped:
            self._held = [h for h in self._held if h[2].fault != "reorder"]
            heapq.heapify(self._held)
        steps += [*self._deliver(body, struck, now_ns), *swapped]
        if "rubbish" in struck:
            spoiled = rubbish(struck["rubbish"].rubbish, body, self._random)
            steps.append(Delivery(spoiled, self.n, "rubbish"))
        if "mute" in struck or "cut" in struck:
            # What was held goes out first, so that a cut by itself loses nothing.
            steps += self.flush()
        if "mute" in struck:
            self._mute_until = now_ns + struck["mute"].seconds * NS_PER_SECOND
        if "cut" in struck:
            steps.append(Cut())
        return steps

    def _deliver(
        self, body: str | bytes, struck: dict[Fault, Odds | Planned], now_ns: int
    ) -> list[Step]:
        if "delay" in struck:
            self._hold(Delivery(body, self.n, "delay"), now_ns, struck["delay"].seconds)
            return []
        if "reorder" in struck:
            self._hold(Delivery(body, self.n, "reorder"), now_ns, _REORDER_PATIENCE_S)
            return []
        steps: list[Step] = [Delivery(body, self.n)]
        if "duplicate" in struck:
            steps.append(Delivery(body, self.n, "duplicate"))
        return steps

    def _hold(self, delivery: Delivery, now_ns: int, seconds: float) -> None:
        heapq.heappush(self._held, (now_ns + seconds * NS_PER_SECOND, next(self._order), delivery))

    def due(self, now_ns: int) -> list[Step]:
        """Held frames whose time has come."""
        steps: list[Step] = []
        while self._held and self._held[0][0] <= now_ns:
            steps.append(heapq.heappop(self._held)[2])
        return steps

    def flush(self) -> list[Step]:
        return self.due(2**63)

    def _strikes(self, now_ns: int) -> dict[Fault, Odds | Planned]:
        struck: dict[Fault, Odds | Planned] = {}
        for index, odds in enumerate(self._trouble.chaos.odds):
            if self._by_chance(index, odds, now_ns):
                struck[odds.fault] = odds
        for planned in self._trouble.planned_at(self._service, self.n):
            struck[planned.fault] = planned
        # A frame that is held is not copied as well: each fault counted is one that was seen.
        if "delay" in struck:
            struck.pop("reorder", None)
        if "delay" in struck or "reorder" in struck:
            struck.pop("duplicate", None)
        for fault in struck:
            self._trouble.note(Done(fault, self._service, self._connection, self.n, now_ns))
        return struck

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
