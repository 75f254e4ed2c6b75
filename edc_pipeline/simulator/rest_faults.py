"""What goes wrong with an answer, and when. Pure and seeded; `rest_server` carries it out."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

# fault → what its detail is
FAULTS: Final = {
    "slow": "seconds before the answer",
    "torn": "the body ends before its end",
    "cut": "the connection ends before the answer",
    "oversized": "bytes of body",
    "rubbish": "a body that is no JSON",
    "redirect": "to another host",
}
_DEFAULT_DETAIL: Final = {"slow": 2.0, "oversized": 64.0 * (1 << 20)}
_ITEM: Final = re.compile(
    r"(?P<fault>[a-z]+|[1-5]\d\d)"
    r"(?:@(?P<first>\d+)(?:-(?P<last>\d+))?|=(?P<share>\d+(?:\.\d+)?)%)"
    r"(?::(?P<detail>\d+(?:\.\d+)?|date))?"
)


@dataclass(frozen=True, slots=True)
class RestFault:
    """`name` is one of FAULTS, or an HTTP status; `detail` of a status is its Retry-After."""

    name: str
    first: int = 0  # the request, from 1; 0: by share
    last: int = 0
    share: float = 0.0
    detail: float | None = None
    as_date: bool = False  # Retry-After as an HTTP date, one second ahead


@dataclass(slots=True)
class RestChaos:
    """`503@3,429@5:2,429@9:date,slow@7:1.5,torn@8-9,oversized=1%,seed=7`"""

    faults: tuple[RestFault, ...] = ()
    seed: int = 0
    done: Counter[str] = field(default_factory=Counter)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    @classmethod
    def parse(cls, text: str) -> RestChaos:
        faults, seed = [], 0
        for item in filter(None, (part.strip() for part in text.split(","))):
            if re.fullmatch(r"seed=\d+", item):
                seed = int(item[5:])
                continue
            found = _ITEM.fullmatch(item)
            if not found or not (found["fault"] in FAULTS or found["fault"].isdigit()):
                raise ValueError(
                    f"rest chaos: {item!r}: write 503@3 (the third request), slow@4-6:1.5 or"
                    f" torn=1%; there are {', '.join(FAULTS)}, any HTTP status, seed"
                )
            first, detail = int(found["first"] or 0), found["detail"]
            faults.append(
                RestFault(
                    found["fault"],
                    first,
                    int(found["last"] or first),
                    float(found["share"] or 0) / 100,
                    None if detail in (None, "date") else float(detail),
                    detail == "date",
                )
            )
        return cls(tuple(faults), seed)

    def of(self, request: int) -> RestFault | None:
        """What happens to this request, counted from 1."""
        for fault in self.faults:
            strikes = (
                fault.first <= request <= fault.last
                if fault.first
                else self._random.random() < fault.share
            )
            if strikes:
                self.done[fault.name] += 1
                return fault
        return None


def detail_of(fault: RestFault) -> float:
    return _DEFAULT_DETAIL.get(fault.name, 0.0) if fault.detail is None else fault.detail
