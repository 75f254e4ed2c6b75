"""What the capture run tells Dagster: every few minutes, what has landed on disk for each day."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import dagster as dg

from edc_pipeline.defs.partitions import key_of
from edc_pipeline.events import EVENT_TYPES, EventType
from edc_pipeline.market_day import market_day
from edc_pipeline.settings import Settings
from edc_pipeline.spool.layout import batch_files
from edc_pipeline.spool.ledger import Ledger, Source

if TYPE_CHECKING:
    from edc_pipeline.capture.report import FeedReport, Report

MICRO_BATCHES: Final = dg.AssetKey("micro_batches")
_FEEDS_SHOWN: Final = 30


class MicroBatchReporter:
    """Reports a partition when its ledger has grown since it was reported last.

    One event-log entry costs 24 to 180 ms and 9 kB for ever, so there is at most one for each
    event type and day in a report, and none for a micro-batch. Called in a thread.
    """

    def __init__(self, context: dg.OpExecutionContext, settings: Settings) -> None:
        self._context = context
        self._spool = settings.spool
        self._ledger = Ledger(settings.spool)
        self._reported: dict[tuple[EventType, dt.date], int] = {}

    def __call__(self, report: Report) -> None:
        today = market_day(report.at)
        for day in (today - dt.timedelta(days=1), today):
            for event_type in EVENT_TYPES:
                events = sum(self._ledger.events_out(event_type, day).values())
                before = self._reported.get((event_type, day))
                if before is None and day != today:
                    # What an earlier collector left is reported already.
                    self._reported[event_type, day] = events
                elif events and events != before:
                    self._tell(report, event_type, day, events - (before or 0))
                    self._reported[event_type, day] = events
        self._context.log.info(_line(report))

    def _tell(self, report: Report, event_type: EventType, day: dt.date, new: int) -> None:
        by_feed = self._ledger.events_out(event_type, day)
        quarantined = sum(f.quarantined for f in self._ledger.frames(day).values())
        value = dg.MetadataValue
        metadata: dict[str, dg.MetadataValue] = {
            "events": value.int(sum(by_feed.values())),
            "events_since_last_report": value.int(new),
            "micro_batches": value.int(len(batch_files(self._spool, event_type, day))),
            "quarantined_frames": value.int(quarantined),
            "collector": value.text(report.collector),
            "by_feed": value.md(_feeds_table(report.feeds, by_feed)),
        }
        self._context.log_event(
            dg.AssetMaterialization(
                MICRO_BATCHES,
                description="On disk so far, as reported by capture.",
                metadata=metadata,
                partition=key_of(day, event_type),
            )
        )


def _feeds_table(feeds: list[FeedReport], events: Mapping[Source, int]) -> str:
    """As Markdown: as Dagster's own table, whose columns each bring a schema, three of these took
    35 kB a report, twice stored, and kept for ever."""
    by_name = {source.name: n for source, n in events.items()}
    rows = [
        f"|{f.name}|{f.state}|{by_name.get(f.name, 0):,}|{f.quarantined:,}|{f.reconnects:,}|"
        f"{_plain(f.last_problem)}|"
        for f in feeds[:_FEEDS_SHOWN]
    ]
    more = [f"|and {len(feeds) - _FEEDS_SHOWN} more||||||"] if len(feeds) > _FEEDS_SHOWN else []
    head = "|feed|state|events|quarantined|reconnects|last problem|"
    return "\n".join([head, "|-|-|-|-|-|-|", *rows, *more])


def _plain(words: str) -> str:
    """Nothing that Markdown would take for a sign of its own."""
    return re.sub(r"[^\w .,:/()-]", " ", words)[:60]


def _line(report: Report) -> str:
    events = sum(report.events.values())
    live = sum(f.connections > 0 for f in report.feeds)
    return (
        f"{live} of {len(report.feeds)} feeds connected, {events:,} events"
        f" ({report.per_second(events):,.0f}/s), {report.micro_batches} micro-batches,"
        f" {sum(f.quarantined for f in report.feeds)} frames quarantined"
    )
