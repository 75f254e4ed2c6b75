"""What capture says of itself, for a person, the Dagster UI or a machine."""

from __future__ import annotations

from typing import Final

import msgspec

from edc_pipeline.capture.figures import OfLate
from edc_pipeline.capture.intake import FeedState
from edc_pipeline.events import EventType

_DRIFT_SHOWN: Final = 5
SILENT_SYMBOLS_SHOWN: Final = 20


class FeedReport(msgspec.Struct, kw_only=True):
    name: str
    vendor: str
    feed: str
    state: str
    connections: int
    reconnects: int
    frames: int
    with_events: int
    control: int
    quarantined: int
    bytes: int
    events: dict[EventType, int]
    symbols: int
    last_frame_at: int | None
    last_problem: str
    gaps: int = 0  # begun: times in which it was not heard, and gaps in the vendor's numbers
    gaps_open: int = 0  # that last; a gap in numbers is over when it is known
    missing_messages: int = 0  # in gaps of numbers, where it is known how many
    drifts: int = 0
    drift: list[str] = []  # the latest of them
    of_late: OfLate = msgspec.field(default_factory=OfLate)
    subscription: str = ""  # refused, or not acknowledged in time; empty: nothing is the matter
    # Symbols asked for and never heard, or that used to speak and do not, though the feed does.
    silent_symbols: list[str] = []  # the first of them; all in number:
    silent_symbol_count: int = 0
    refused_calls: dict[str, int] = {}  # by the reason
    delivered_again: int = 0  # calls with what had come already
    late_copies: int = 0  # events that live subscribers had from another connection already
    symbols_beyond: int = 0  # how often one was heard that is beyond those remembered
    mute: list[str] = []  # connections that say nothing while the feed's others do, in words


class Report(msgspec.Struct, kw_only=True):
    collector: str
    pid: int
    run_id: str
    started_at: int
    at: int
    feeds: list[FeedReport]
    waiting_rows: int
    micro_batches: int
    flushed_at: int | None
    disk_problem: str
    stopping: str
    journal_waiting_bytes: int = 0
    waiting_bytes: int = 0  # of frames that wait for the quarantine
    commits: int = 0
    commit_interval_s: float = 0.0
    commit_worst_s: float = 0.0
    stray_calls: int = 0  # to no source of ours, or that were no HTTP
    subscribers: int = 0
    lost_by_subscribers: int = 0  # events, oldest first, that slow subscribers did not take
    running_s: float = 0.0  # by the steady clock: the wall clock may be set

    def per_second(self, number: int) -> float:
        """Since capture started."""
        return number / self.running_s if self.running_s > 0 else 0.0

    @property
    def events(self) -> dict[EventType, int]:
        totals: dict[EventType, int] = {}
        for feed in self.feeds:
            for event_type, number in feed.events.items():
                totals[event_type] = totals.get(event_type, 0) + number
        return totals


def report_feed(
    state: FeedState, *, stopping: bool, of_late: OfLate | None = None, late_copies: int = 0
) -> FeedReport:
    return FeedReport(
        name=state.source.name,
        vendor=state.source.vendor,
        feed=state.source.feed,
        state="stopped" if stopping and not state.gave_up else state.word,
        connections=state.connections,
        reconnects=state.reconnects,
        frames=state.frames.received,
        with_events=state.frames.with_events,
        control=state.frames.control,
        quarantined=state.frames.quarantined,
        bytes=state.frames.bytes,
        events=dict(state.events),
        symbols=len(state.symbols.names() | state.symbols_before),
        last_frame_at=state.last_frame_at,
        last_problem=state.gave_up or state.last_problem,
        gaps=state.gaps_begun,
        missing_messages=state.number_gaps.messages,
        drifts=len(state.drift.known.told),
        drift=state.drift.known.told[-_DRIFT_SHOWN:],
        gaps_open=len(state.gaps),
        of_late=of_late or OfLate(),
        subscription=state.subscription,
        silent_symbols=state.silent_symbols[:SILENT_SYMBOLS_SHOWN],
        silent_symbol_count=len(state.silent_symbols),
        refused_calls=dict(state.refused),
        delivered_again=state.delivered_again,
        late_copies=late_copies,
        symbols_beyond=state.symbols_beyond,
        mute=[] if state.removed or state.gave_up else list(state.mute),
    )
