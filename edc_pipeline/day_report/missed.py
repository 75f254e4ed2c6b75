"""How much of its session each feed missed. Gaps on a holiday or at night cost nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edc_pipeline.consolidation.certificate import Certificate
from edc_pipeline.day_report.earlier import length_of, sessions_in
from edc_pipeline.market_day import NS_PER_SECOND, parse_day
from edc_pipeline.market_hours import Span

TOO_MUCH: Final = 0.1  # of a session


@dataclass(frozen=True, slots=True)
class Missed:
    feed: str  # as configured
    gaps: int  # that touch its session, of single symbols too
    seconds: float  # of the whole feed within its session, every instant once
    share: float  # of its session

    @property
    def too_much(self) -> bool:
        return self.share > TOO_MUCH


def missed(told: Certificate) -> list[Missed]:
    """By feed, of gaps that were not filled."""
    day = parse_day(told.day)
    found = []
    sources = {g.name: f"{g.vendor}/{g.feed}" for g in told.gaps}
    for name, product in sorted(sources.items()):
        sessions = sessions_in(product, day)
        if not sessions:
            found.append(Missed(name, 0, 0.0, 0.0))
            continue
        opens, closes = sessions[0][0], sessions[-1][1]
        # What has no end yet has lasted, as far as we know, until the last that was heard at all.
        so_far = closes if told.state.state != "provisional" else told.last_event or opens
        gaps = [g for g in told.gaps if g.name == name and g.state != "filled"]
        touching, whole = 0, []
        for gap in gaps:
            parts = _within(sessions, gap.from_ns, so_far if gap.to_ns is None else gap.to_ns)
            touching += bool(parts)
            whole += [] if gap.symbol else parts
        covered = _covered(whole)
        share = covered / length_of(sessions)
        found.append(Missed(name, touching, covered / NS_PER_SECOND, share))
    return found


def _within(sessions: Sequence[Span], begins: int, ends: int) -> list[Span]:
    parts = ((max(begins, opens), min(ends, closes)) for opens, closes in sessions)
    return [part for part in parts if part[0] < part[1]]


def _covered(spans: Sequence[Span]) -> int:
    """The length of all spans together; what several cover counts once."""
    covered, reached = 0, None
    for begins, ends in sorted(spans):
        begins_anew = begins if reached is None else max(begins, reached)
        covered += max(0, ends - begins_anew)
        reached = ends if reached is None else max(reached, ends)
    return covered
