"""What the daily files of earlier days say of their rows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

from edc_pipeline.consolidation.certificate import NoCertificate, read_certificate
from edc_pipeline.consolidation.names import daily_file
from edc_pipeline.day_report.usual import FeedRows, compared, such_days
from edc_pipeline.events import EventType
from edc_pipeline.market_day import day_bounds
from edc_pipeline.market_hours import Span, sessions_of
from edc_pipeline.vendors import VENDORS

_WEEK = dt.timedelta(weeks=1)


def usual_rows(
    daily: Path, event_type: EventType, day: dt.date, rows_by_feed: dict[str, int]
) -> list[FeedRows]:
    """Each feed's rows of a day beside those of the same weekday before, sessions considered."""
    earlier = [
        (before, rows)
        for before in such_days(day)
        if (rows := rows_of(daily_file(daily, event_type, before))) is not None
    ]
    feeds = {*rows_by_feed, *(feed for _, rows in earlier for feed in rows)}
    # Days on which a feed's market was shut or short say nothing of a usual one.
    before = [
        {f: n for f, n in rows.items() if share_of_session(f, then) >= 1.0}
        for then, rows in earlier
    ]
    return compared(rows_by_feed, before, {f: share_of_session(f, day) for f in feeds})


def rows_of(path: Path) -> dict[str, int] | None:
    """Rows by feed, as a daily file's certificate has them; None where there is no such file."""
    try:
        certificate = read_certificate(path)
    except (NoCertificate, OSError):
        return None
    return {feed: counts.rows for feed, counts in certificate.feeds.items()}


def sessions_in(feed: str, day: dt.date, *, extended: bool = True) -> tuple[Span, ...]:
    """When the market of `vendor/feed` is open on a day; all day for one unknown."""
    vendor, _, name = feed.partition("/")
    known = VENDORS.get(vendor)
    spec = known.feeds.get(name) if known else None
    if spec is None:
        return (day_bounds(day),)
    return sessions_of(spec.asset_class, day, extended=extended, hours_of=spec.hours_of)


def share_of_session(feed: str, day: dt.date) -> float:
    """How much of a full session a feed's market has on a day: 0 on holidays, 1 as a rule.

    Full is the longer one of a week before and after: Fridays are shorter every week where the
    market closes in the evening, or is open at night in New York.
    """
    sessions = sessions_in(feed, day, extended=False)
    if sessions == (day_bounds(day),):
        return 1.0
    length = length_of(sessions)
    beside = (length_of(sessions_in(feed, d, extended=False)) for d in (day - _WEEK, day + _WEEK))
    return length / max(length, *beside) if length else 0.0


def length_of(sessions: Sequence[Span]) -> int:
    return sum(closes - opens for opens, closes in sessions)
