"""What is to go wrong, and how often: by odds or by an exact plan. Pure.

`Chaos.parse` reads what a user writes; `faults` carries it out.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final, Literal, get_args

from edc_pipeline.market_day import NS_PER_SECOND
from edc_pipeline.simulator.rubbish import RUBBISH_KINDS

Fault = Literal[
    "duplicate",  # the frame goes out twice
    "delay",  # the frame comes later
    "reorder",  # the frame and the next one swap places
    "rubbish",  # a spoiled copy comes behind the frame
    "corrupt",  # the frame itself comes with a broken byte
    "drop",  # the frame never comes, nor the count - 1 behind it
    "mute",  # the connection says nothing for a while, not even that it lives
    "hush",  # one symbol says nothing for a while
    "slow",  # the connection runs behind: what is made meanwhile comes at the end, in order
    "late_snapshot",  # a snapshot comes behind so many of the updates that should follow it
    "cut",  # the connection ends without a word
    "half_open",  # the server is gone and the client is not told: nothing comes, nothing is read
    "expired",  # the key is no longer good: the connection is closed, the next handshakes get a 401
    "limit",  # a limit is reached: the connection is closed, the next handshakes get a 429
]
FAULTS: Final[tuple[Fault, ...]] = get_args(Fault)

# What a fault takes after a colon, and what it does without.
_SECONDS: Final[dict[str, float]] = {
    "delay": 0.25,
    "mute": math.inf,
    "hush": math.inf,
    "slow": 1.0,
}
_COUNT: Final[dict[str, int]] = {"drop": 1, "late_snapshot": 3, "expired": 1_000_000, "limit": 3}

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0}
_PER_HOUR: Final = {"h": 1.0, "min": 60.0, "s": 3600.0}
_NUMBER: Final = r"(\d+(?:\.\d+)?)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Odds:
    """A fault by chance: per data frame, or per hour of a connection."""

    fault: Fault
    per_frame: float = 0.0
    per_hour: float = 0.0
    seconds: float = 0.0  # how long a delay, a mute, a hush or a slow line lasts
    rubbish: str = ""  # one of RUBBISH_KINDS; empty: any
    count: int = 0  # frames dropped, updates before a snapshot, handshakes refused
    symbol: str = ""  # whom a hush silences; empty: the symbol of the frame that it strikes


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A fault that strikes once: at the Nth data frame of the first connection that gets so far.

    A duplicate, delay, reorder, corrupt or drop is done to that frame; what concerns the
    connection comes after it. A late snapshot counts snapshots instead of data frames.
    """

    fault: Fault
    frame: int
    service: str = ""  # only on connections of this service; empty: any
    seconds: float = 0.0
    rubbish: str = ""
    count: int = 0
    symbol: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chaos:
    odds: tuple[Odds, ...] = ()
    planned: tuple[Planned, ...] = ()
    clock_ns: int = 0  # how far the exchange's clock is ahead of the true one
    seed: int = 0

    @classmethod
    def parse(cls, text: str) -> Chaos:
        """`duplicate=0.1%,delay=1%:250ms,cut=2/h,mute=1/h:10s,cut@500,rubbish@iex:200,seed=7`."""
        odds: list[Odds] = []
        planned: list[Planned] = []
        seed = clock_ns = 0
        for item in filter(None, (part.strip() for part in text.split(","))):
            if re.fullmatch(r"seed=\d+", item):
                seed = int(item[5:])
            elif item.startswith("clock="):
                clock_ns = _parse_clock(item)
            elif "@" in item:
                planned.append(_parse_planned(item))
            else:
                odds.append(_parse_odds(item))
        return cls(odds=tuple(odds), planned=tuple(planned), clock_ns=clock_ns, seed=seed)


@dataclass(frozen=True, slots=True)
class _Detail:
    seconds: float = 0.0
    rubbish: str = ""
    count: int = 0
    symbol: str = ""


def _parse_clock(item: str) -> int:
    match = re.fullmatch(r"clock=([+-]?)" + _NUMBER + "(ms|s|m)", item)
    if not match:
        raise ValueError(f"chaos: {item!r}: write by how much the clock is off, as clock=-250ms")
    return round(float(match[1] + match[2]) * _UNITS[match[3]] * NS_PER_SECOND)


def _parse_odds(item: str) -> Odds:
    name, equals, value = item.partition("=")
    fault = _fault(item, name)
    chance, _, rest = value.partition(":")
    detail = _detail(item, fault, rest)
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
    return Odds(
        fault=fault,
        per_frame=per_frame,
        per_hour=per_hour,
        seconds=detail.seconds,
        rubbish=detail.rubbish,
        count=detail.count,
        symbol=detail.symbol,
    )


def _parse_planned(item: str) -> Planned:
    name, _, rest = item.partition("@")
    fault = _fault(item, name)
    match = re.fullmatch(r"(?:([a-z_]+):)?(\d+)(?::(.+))?", rest)
    if not match or int(match[2]) < 1:
        raise ValueError(
            f"chaos: {item!r}: write {name}@500 for the 500th data frame of a connection, "
            f"or {name}@iex:500 for one of /iex"
        )
    detail = _detail(item, fault, match[3] or "")
    return Planned(
        fault=fault,
        frame=int(match[2]),
        service=match[1] or "",
        seconds=detail.seconds,
        rubbish=detail.rubbish,
        count=detail.count,
        symbol=detail.symbol,
    )


def _fault(item: str, name: str) -> Fault:
    for fault in FAULTS:
        if fault == name:
            return fault
    known = ", ".join(FAULTS)
    raise ValueError(f"chaos: {item!r}: {name!r} is no fault; there are {known}, clock, seed")


def _detail(item: str, fault: Fault, text: str) -> _Detail:
    seconds, count = _SECONDS.get(fault, 0.0), _COUNT.get(fault, 0)
    if not text:
        return _Detail(seconds=seconds, count=count)
    if fault == "rubbish":
        if text not in RUBBISH_KINDS:
            kinds = ", ".join(RUBBISH_KINDS)
            raise ValueError(f"chaos: {item!r}: {text!r} is no rubbish; there are {kinds}")
        return _Detail(rubbish=text)
    if fault in _COUNT:
        if not re.fullmatch(r"[1-9]\d{0,8}", text):
            raise ValueError(
                f"chaos: {item!r}: after the colon {fault} takes a number of 1 or more"
            )
        return _Detail(count=int(text))
    duration, _, symbol = text.partition(":")
    match = re.fullmatch(_NUMBER + "(ms|s|m)", duration)
    if not match or fault not in _SECONDS or (symbol and fault != "hush"):
        takes = "a duration, as 250ms or 10s" if fault in _SECONDS else "nothing"
        raise ValueError(f"chaos: {item!r}: after the colon {fault} takes {takes}")
    return _Detail(seconds=float(match[1]) * _UNITS[match[2]], symbol=symbol.upper())
