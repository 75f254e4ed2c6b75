"""How long frames take, in buckets, and what a feed does per second of late.

The hot path pays per sample, never per event: one frame in `SAMPLE_EVERY` of a feed is timed when
it has been queued (0.9 µs, so 7 ns a frame), and at most `DURABLE_SAMPLES` frames of a group commit
when it is durable, spread evenly over its frames. So vendor→receive and receive→published are
unbiased over the frames of a feed; receive→durable weighs the commits of a quiet minute more than
those of a busy one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, Literal, NamedTuple

import msgspec

SAMPLE_EVERY: Final = 128
DURABLE_SAMPLES: Final = 16

Way = Literal["vendor_to_receive", "receive_to_published", "receive_to_durable"]

# Upper edges in seconds. A vendor's clock may run ahead of ours and neither is clamped (C2), so
# that way begins below zero; ours are between 10 µs and the seconds of a disk that stalls.
_OURS: Final = (1e-5, 1e-4, 5e-4, 1e-3, 5e-3, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.25, 1, 10)
_VENDORS: Final = (-10, -1, -0.1, 0, 1e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 60, 3600)
EDGES_S: Final[dict[Way, tuple[float, ...]]] = {
    "vendor_to_receive": _VENDORS,
    "receive_to_published": _OURS,
    "receive_to_durable": _OURS,
}

# `edc status` shows what was so of late: over this span, from looks at least so far apart.
_OF_LATE_S: Final = 10.0
_LOOKS_APART_S: Final = 1.0


def sampled(before: int, received: int) -> range:
    """Which of a feed's frames are timed, of those that came after its `before`-th.

    The first and every 128th after it, however the frames fall into reads.
    """
    return range(-(-before // SAMPLE_EVERY) * SAMPLE_EVERY + 1, received + 1, SAMPLE_EVERY)


class Histogram:
    """Counts by bucket; the last is for what lies above every edge. One thread writes."""

    __slots__ = ("counts", "edges_s", "sum_s")

    def __init__(self, edges_s: Sequence[float]) -> None:
        self.edges_s: Final = edges_s
        self.counts = [0] * (len(edges_s) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.edges_s, seconds)] += 1
        self.sum_s += seconds


def quantile(edges_s: Sequence[float], counts: Sequence[int], q: float) -> float | None:
    """Where the q-th part of the samples ends, straight between a bucket's edges; None: no sample.

    What lies above the last edge is told as the last edge: it is at least that.
    """
    total = sum(counts)
    if not total:
        return None
    wanted = q * total
    for i, below in enumerate(accumulate(counts)):
        if below >= wanted and counts[i]:
            if i >= len(edges_s):
                break
            high = edges_s[i]
            low = edges_s[i - 1] if i else min(0.0, high)
            return low + (high - low) * (1 - (below - wanted) / counts[i])
    return edges_s[-1]


class Latencies:
    """One feed's ways, each a histogram."""

    __slots__ = ("ways",)

    def __init__(self) -> None:
        self.ways: Final[dict[Way, Histogram]] = {w: Histogram(e) for w, e in EDGES_S.items()}

    def observe(self, way: Way, ns: int) -> None:
        self.ways[way].observe(ns / 1e9)


class Latency(msgspec.Struct, kw_only=True, frozen=True):
    """Of the samples of late; seconds."""

    p50: float
    p99: float
    samples: int


class OfLate(msgspec.Struct, kw_only=True):
    """What a feed did in the last seconds."""

    frames_per_s: float = 0.0
    events_per_s: float = 0.0
    latency: dict[Way, Latency] = {}


class Totals(NamedTuple):
    """What a feed did since it began."""

    frames: int
    events: int
    latencies: Latencies


class _Look(NamedTuple):
    at_s: float
    frames: int
    events: int
    counts: dict[Way, list[int]]


@dataclass(slots=True)
class Lately:
    """Remembers a few looks at each feed's totals, and tells what came between."""

    _looks: dict[str, deque[_Look]] = field(default_factory=dict)

    def look(self, feeds: Mapping[str, Totals], now_s: float) -> dict[str, OfLate]:
        self._looks = {name: self._looks.get(name, deque()) for name in feeds}
        return {name: self._look(self._looks[name], t, now_s) for name, t in feeds.items()}

    @staticmethod
    def _look(looks: deque[_Look], totals: Totals, now_s: float) -> OfLate:
        now = _Look(
            now_s,
            totals.frames,
            totals.events,
            {way: list(h.counts) for way, h in totals.latencies.ways.items()},
        )
        while len(looks) > 1 and now_s - looks[1].at_s >= _OF_LATE_S:
            looks.popleft()
        then = looks[0] if looks else None
        if not looks or now_s - looks[-1].at_s >= _LOOKS_APART_S:
            looks.append(now)
        if then is None or now_s <= then.at_s:
            return OfLate()
        seconds = now_s - then.at_s
        latency: dict[Way, Latency] = {}
        for way, counts in now.counts.items():
            new = [b - a for a, b in zip(then.counts[way], counts, strict=True)]
            p50, p99 = (quantile(EDGES_S[way], new, q) for q in (0.5, 0.99))
            if p50 is not None and p99 is not None:
                latency[way] = Latency(p50=p50, p99=p99, samples=sum(new))
        return OfLate(
            frames_per_s=(now.frames - then.frames) / seconds,
            events_per_s=(now.events - then.events) / seconds,
            latency=latency,
        )
