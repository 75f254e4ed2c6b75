"""What the daily files of earlier days say of their rows."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from edc_pipeline.consolidation import NoCertificate, daily_file, read_certificate
from edc_pipeline.day_report.usual import FeedRows, compared, such_days
from edc_pipeline.events import AssetClass, EventType
from edc_pipeline.market_day import day_bounds
from edc_pipeline.market_hours import session_of
from edc_pipeline.vendors import VENDORS

# A day that is traded in full, to measure a short one against: any Wednesday without a holiday.
_FULL_DAY = dt.date(2026, 1, 21)


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


def asset_class_of(feed: str) -> AssetClass | None:
    """Of `vendor/feed`, as far as we know the vendor."""
    vendor, _, name = feed.partition("/")
    known = VENDORS.get(vendor)
    spec = known.feeds.get(name) if known else None
    return spec.asset_class if spec else None


def session_in(feed: str, day: dt.date) -> tuple[int, int] | None:
    """When a feed's market is open on a day, extended hours included; all day for one unknown."""
    asset_class = asset_class_of(feed)
    return day_bounds(day) if asset_class is None else session_of(asset_class, day, extended=True)


def share_of_session(feed: str, day: dt.date) -> float:
    """How much of a full session a feed's market has on a day: 0 on holidays, 1 as a rule."""
    asset_class = asset_class_of(feed)
    if asset_class in {None, "crypto", "future"}:
        return 1.0
    assert asset_class is not None
    session, full = session_of(asset_class, day), session_of(asset_class, _FULL_DAY)
    if session is None or full is None:
        return 0.0
    # A currencies' Friday is the same short day every week: only stocks have short days.
    return 1.0 if asset_class == "fx" else min(1.0, _length(session) / _length(full))


def _length(span: tuple[int, int]) -> int:
    return span[1] - span[0]
