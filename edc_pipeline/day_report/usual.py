"""Are there as many rows as on other such days? A pure rule over certificates.

A feed's rows are set beside the median of the same weekday in the eight weeks before: Mondays are
quieter than Fridays, a listing adds rows slowly, and a median does not mind one half day. A day on
which the feed's market had no session is compared with nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, Literal

WEEKS: Final = 8
LEAST_DAYS: Final = 3

# A half day of New York's has some 45 % of a full one's trades; a day with less than a quarter has
# lost a vendor or a session.
FEW: Final = 0.5
FAR_TOO_FEW: Final = 0.25
MANY: Final = 3.0

Verdict = Literal["as usual", "few", "far too few", "many", "not enough days to compare", "closed"]


@dataclass(frozen=True, slots=True)
class FeedRows:
    feed: str  # vendor/feed
    rows: int
    usual: float | None  # the median; None: not enough days
    days: int  # that it was taken over
    verdict: Verdict


def such_days(day: dt.date) -> list[dt.date]:
    """The same weekday in the weeks before, the latest first."""
    return [day - dt.timedelta(weeks=n) for n in range(1, WEEKS + 1)]


def compared(
    today: Mapping[str, int],
    before: Sequence[Mapping[str, int]],
    shares: Mapping[str, float] | None = None,
) -> list[FeedRows]:
    """Each feed's rows beside its usual. `before`: rows by feed of earlier days, the latest first;
    `shares`: how much of a full session a feed's market had today, 0 where it was shut."""
    feeds = sorted({*today, *(feed for rows in before for feed in rows)})
    known = shares or {}
    return [_compared(f, today.get(f, 0), before, known.get(f, 1.0)) for f in feeds]


def _compared(feed: str, rows: int, before: Sequence[Mapping[str, int]], share: float) -> FeedRows:
    known = [r[feed] for r in before if r.get(feed)]
    if share <= 0:
        return FeedRows(feed, rows, None, len(known), "closed")
    # A feed that was given up weeks ago is missing on purpose.
    if len(known) < LEAST_DAYS or (not rows and not any(r.get(feed) for r in before[:2])):
        return FeedRows(feed, rows, None, len(known), "not enough days to compare")
    usual = median(known)
    expected = usual * share
    verdict: Verdict = "as usual"
    if rows < FAR_TOO_FEW * expected:
        verdict = "far too few"
    elif rows < FEW * expected:
        verdict = "few"
    elif rows > MANY * usual:
        verdict = "many"
    return FeedRows(feed, rows, usual, len(known), verdict)
