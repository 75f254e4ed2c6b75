"""What is wrong, seen from the collector's own word and the disk. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from edc_pipeline.capture.report import FeedReport, Report
from edc_pipeline.market_day import NS_PER_SECOND
from edc_pipeline.market_hours import MarketIsOpen
from edc_pipeline.settings_of_days import AlertKind

_GIB: Final = 1 << 30
# A collector writes its word every two seconds; one that is busy may be late.
_SPEAKS_WITHIN_NS: Final = 60 * NS_PER_SECOND


@dataclass(frozen=True, slots=True)
class Trouble:
    kind: AlertKind
    about: str  # which feed, run or check; the same trouble keeps its kind and its about
    words: str
    # What happened and is over when it is told: nothing to wait for, no recovery to tell.
    happened: bool = False

    @property
    def key(self) -> str:
        return f"{self.kind}|{self.about}"


def troubles_of_capture(
    wanted: bool, held: bool, report: Report | None, now_ns: int
) -> list[Trouble]:
    """`wanted`: there are feeds to capture; `held`: somebody owns the spool."""
    if not wanted:
        return []
    if not held:
        said = report.stopping if report and report.stopping else "it does not say why"
        return [Trouble("capture_down", "capture", f"nobody captures ({said})")]
    if report is None or now_ns - report.at > _SPEAKS_WITHIN_NS:
        return [Trouble("capture_down", "capture", "the collector has not spoken for a minute")]
    if report.disk_problem:
        return [Trouble("disk_short", "spool", f"the disk refuses: {report.disk_problem}")]
    return []


def mute_feeds(
    report: Report | None, markets: Mapping[str, MarketIsOpen], now_ns: int
) -> list[Trouble]:
    """Feeds that should speak and do not. A market that is shut has nothing to say; `markets` are
    those of the feeds, by name."""
    if report is None or now_ns - report.at > _SPEAKS_WITHIN_NS:
        return []
    return [
        Trouble("feed_mute", feed.name, f"{feed.name} ({feed.vendor}/{feed.feed}): {why}")
        for feed in report.feeds
        if (why := _why_mute(feed))
        and (feed.name not in markets or markets[feed.name](now_ns, extended=True))
    ]


def _why_mute(feed: FeedReport) -> str:
    if feed.state in {"live", "closed"}:  # closed: it is polled, and not in these hours
        return "; ".join(filter(None, [feed.subscription, *feed.mute]))
    return f"{feed.state}{': ' if feed.last_problem else ''}{feed.last_problem}"


def disk_short(free_bytes: int, least_gib: float, where: str) -> list[Trouble]:
    if free_bytes >= least_gib * _GIB:
        return []
    words = f"{free_bytes / _GIB:.1f} GiB are free at {where}, fewer than {least_gib:g}"
    return [Trouble("disk_short", where, words)]
