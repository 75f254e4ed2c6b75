"""How much of its session each feed missed. Gaps on a holiday or at night cost nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edc_pipeline.consolidation import Certificate
from edc_pipeline.day_report.earlier import session_in
from edc_pipeline.market_day import NS_PER_SECOND, parse_day

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
        session = session_in(product, day)
        if session is None:
            found.append(Missed(name, 0, 0.0, 0.0))
            continue
        opens, closes = session
        # What has no end yet has lasted, as far as we know, until the last that was heard at all.
        so_far = closes if told.state.state != "provisional" else told.last_event or opens
        spans = [
            (max(g.from_ns, opens), min(so_far if g.to_ns is None else g.to_ns, closes), g.symbol)
            for g in told.gaps
            if g.name == name and g.state != "filled"
        ]
        touching = [span for span in spans if span[0] < span[1]]
        covered = _covered([(begins, ends) for begins, ends, symbol in touching if not symbol])
        share = covered / (closes - opens)
        found.append(Missed(name, len(touching), covered / NS_PER_SECOND, share))
    return found


def _covered(spans: Sequence[tuple[int, int]]) -> int:
    """The length of all spans together; what several cover counts once."""
    covered, reached = 0, None
    for begins, ends in sorted(spans):
        begins_anew = begins if reached is None else max(begins, reached)
        covered += max(0, ends - begins_anew)
        reached = ends if reached is None else max(reached, ends)
    return covered
