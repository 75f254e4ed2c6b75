"""The collector's figures under the names that Prometheus sees.

Times are in seconds, sizes in bytes, totals since this collector started: a restart sets them to
zero, which Prometheus' `rate` knows how to read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from edc_pipeline.capture.figures import Latencies, Way
from edc_pipeline.capture.report import FeedReport, Report

_FEED: Final = ("feed", "vendor", "product")

_FEED_TOTALS: Final[dict[str, tuple[str, Callable[[FeedReport], float]]]] = {
    "edc_frames": ("Frames received.", lambda f: f.frames),
    "edc_frames_with_events": ("Frames that held events.", lambda f: f.with_events),
    "edc_frames_control": ("Frames of the vendor's protocol, without events.", lambda f: f.control),
    "edc_frames_quarantined": ("Frames that could not be read.", lambda f: f.quarantined),
    "edc_received_bytes": ("Bytes of the frames received.", lambda f: f.bytes),
    "edc_reconnects": ("Connections made after the first.", lambda f: f.reconnects),
    "edc_gaps": (
        "Gaps begun: times in which the feed was not heard, and gaps in the vendor's numbers.",
        lambda f: f.gaps,
    ),
    "edc_missing_messages": (
        "Messages missing by the vendor's numbers, where it is known how many.",
        lambda f: f.missing_messages,
    ),
    "edc_delivered_again": (
        "Webhook calls with what had come already.",
        lambda f: f.delivered_again,
    ),
    "edc_symbols_beyond": (
        "How often a symbol was heard that is beyond the most that are remembered.",
        lambda f: f.symbols_beyond,
    ),
    "edc_drift": ("Changes in what the vendor sends, also before this start.", lambda f: f.drifts),
}
_FEED_LEVELS: Final[dict[str, tuple[str, Callable[[FeedReport], float]]]] = {
    "edc_connections": ("Connections that stand.", lambda f: f.connections),
    "edc_mute_connections": (
        "Connections that say nothing while the feed's others do.",
        lambda f: len(f.mute),
    ),
    "edc_gaps_open": (
        "Gaps that last; one in numbers is over when it is known.",
        lambda f: f.gaps_open,
    ),
    "edc_last_frame_timestamp_seconds": (
        "When the last frame came; 0 before the first.",
        lambda f: (f.last_frame_at or 0) / 1e9,
    ),
}
_TOTALS: Final[dict[str, tuple[str, Callable[[Report], float]]]] = {
    "edc_commits": ("Group commits of the journal.", lambda r: r.commits),
    "edc_stray_calls": ("Webhook calls to no feed, or that were no HTTP.", lambda r: r.stray_calls),
    "edc_micro_batches": ("Micro-batches written.", lambda r: r.micro_batches),
}
_LEVELS: Final[dict[str, tuple[str, Callable[[Report], float]]]] = {
    "edc_waiting_rows": ("Rows that wait for the disk.", lambda r: r.waiting_rows),
    "edc_waiting_bytes": (
        "Bytes of memory, for frames that wait for the quarantine.",
        lambda r: r.waiting_bytes,
    ),
    "edc_journal_waiting_bytes": (
        "Bytes of frames that are not durable yet.",
        lambda r: r.journal_waiting_bytes,
    ),
    "edc_commit_interval_seconds": (
        "How long a frame may wait to be durable, as set.",
        lambda r: r.commit_interval_s,
    ),
    "edc_commit_wait_worst_seconds": (
        "How long a frame did wait to be durable, at the worst.",
        lambda r: r.commit_worst_s,
    ),
    "edc_disk_problem": ("1 while the disk refuses writes.", lambda r: bool(r.disk_problem)),
    "edc_started_timestamp_seconds": ("When capture started.", lambda r: r.started_at / 1e9),
}
_WAYS: Final[dict[Way, tuple[str, str]]] = {
    "vendor_to_receive": (
        "edc_vendor_to_receive_seconds",
        "Vendor's time of the event to our receipt, sampled by frame; below zero where the"
        " vendor's clock is ahead.",
    ),
    "receive_to_published": (
        "edc_receive_to_published_seconds",
        "Receipt to the event's queue, sampled by frame.",
    ),
    "receive_to_durable": (
        "edc_receive_to_durable_seconds",
        "Receipt to the journal's fdatasync, sampled by commit.",
    ),
}


class CaptureFigures(Collector):
    def __init__(
        self, report: Callable[[], Report], latencies: Callable[[], Mapping[str, Latencies]]
    ) -> None:
        self._report = report
        self._latencies = latencies

    def collect(self) -> Iterator[Metric]:
        report = self._report()
        yield InfoMetricFamily("edc_collector", "Who captures.", {"collector": report.collector})
        for name, (told, total) in _TOTALS.items():
            yield CounterMetricFamily(name, told, value=total(report))
        for name, (told, level) in _LEVELS.items():
            yield GaugeMetricFamily(name, told, value=level(report))
        yield from self._feeds(report)

    def _feeds(self, report: Report) -> Iterator[Metric]:
        feeds = [((f.name, f.vendor, f.feed), f) for f in report.feeds]
        families: list[CounterMetricFamily | GaugeMetricFamily] = []
        for name, (told, value) in _FEED_TOTALS.items():
            families.append(CounterMetricFamily(name, told, labels=_FEED))
            for labels, feed in feeds:
                families[-1].add_metric(labels, value(feed))
        for name, (told, value) in _FEED_LEVELS.items():
            families.append(GaugeMetricFamily(name, told, labels=_FEED))
            for labels, feed in feeds:
                families[-1].add_metric(labels, value(feed))
        events = CounterMetricFamily(
            "edc_events", "Events given out.", labels=(*_FEED, "event_type")
        )
        for labels, feed in feeds:
            for event_type, number in feed.events.items():
                events.add_metric((*labels, event_type), number)
        refused = CounterMetricFamily(
            "edc_refused_calls", "Webhook calls refused.", labels=(*_FEED, "reason")
        )
        for labels, feed in feeds:
            for reason, number in feed.refused_calls.items():
                refused.add_metric((*labels, reason), number)
        yield from (*families, events, refused)
        latencies = self._latencies()
        for way, (name, told) in _WAYS.items():
            family = HistogramMetricFamily(name, told, labels=_FEED)
            for labels, feed in feeds:
                _add_histogram(family, labels, latencies[feed.name], way)
            yield family


def _add_histogram(
    family: HistogramMetricFamily, labels: tuple[str, str, str], of: Latencies, way: Way
) -> None:
    histogram = of.ways[way]
    edges = [*map(str, map(float, histogram.edges_s)), "+Inf"]
    below = accumulate(list(histogram.counts))
    family.add_metric(labels, list(zip(edges, below, strict=True)), histogram.sum_s)


def registry_of(figures: CaptureFigures) -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(figures)
    return registry
