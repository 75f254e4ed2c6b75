"""What waits for the disk: rows by event type and day, frames for the quarantine, and the counts
that belong to them. All of it is taken at once, at a frame's edge, so that one flush holds exactly
the frames since the flush before."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass, field

from edc_pipeline.events import AnyEvent, EventType
from edc_pipeline.market_day import DayFinder
from edc_pipeline.spool.ledger import FrameCounts, Gap, Source
from edc_pipeline.spool.quarantine import QuarantinedFrame
from edc_pipeline.vendors.contract import Reading


@dataclass(slots=True)
class Rows:
    """Rows of one event type and day; three lists of one length."""

    events: list[AnyEvent] = field(default_factory=list)
    connections: list[str] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Waiting:
    """All that the frames `first_frame … last_frame` came to."""

    first_frame: int
    last_frame: int
    rows: dict[tuple[EventType, dt.date], Rows] = field(default_factory=lambda: defaultdict(Rows))
    quarantine: dict[dt.date, list[QuarantinedFrame]] = field(
        default_factory=lambda: defaultdict(list)
    )
    frame_counts: dict[tuple[Source, dt.date], FrameCounts] = field(
        default_factory=lambda: defaultdict(FrameCounts)
    )
    event_counts: dict[tuple[Source, EventType, dt.date], int] = field(
        default_factory=lambda: defaultdict(int)
    )
    gaps: list[Gap] = field(default_factory=list)
    row_count: int = 0
    byte_count: int = 0  # of quarantined frames: they wait with their bytes

    @property
    def empty(self) -> bool:
        return self.last_frame < self.first_frame and not self.gaps


class Queues:
    """Filled by the event loop, emptied by the flush. Not for two threads at once."""

    def __init__(self, first_frame: int = 0) -> None:
        self._day_of = DayFinder()
        self.waiting = Waiting(first_frame=first_frame, last_frame=first_frame - 1)

    def put(
        self,
        frame: int,
        source: Source,
        connection: str,
        reading: Reading,
        payload: bytes,
        received_at: int,
    ) -> None:
        """Enter one frame under its ordinal in the journal; ordinals come one after the other."""
        waiting = self.waiting
        assert frame == waiting.last_frame + 1
        waiting.last_frame = frame
        received_on = self._day_of(received_at)
        counts = waiting.frame_counts[source, received_on]
        counts.received += 1
        counts.bytes += len(payload)
        match reading.outcome:
            case "events":
                counts.with_events += 1
            case "control":
                counts.control += 1
            case "quarantined":
                counts.quarantined += 1
        if reading.faults or reading.outcome == "quarantined":
            reason = "; ".join(reading.faults) or "the vendor's reader found nothing in it"
            waiting.quarantine[received_on].append(
                QuarantinedFrame(
                    source,
                    connection,
                    frame,
                    received_at,
                    reason[:1000],
                    payload,
                    len(reading.events),
                )
            )
            waiting.byte_count += len(payload)
        for event in reading.events:
            day = self._day_of(event.ts_event)
            rows = waiting.rows[event.event_type, day]
            rows.events.append(event)
            rows.connections.append(connection)
            rows.frames.append(frame)
            waiting.event_counts[source, event.event_type, day] += 1
        waiting.row_count += len(reading.events)

    def take(self) -> Waiting:
        """All that waits; what comes next starts anew behind it."""
        taken = self.waiting
        self.waiting = Waiting(first_frame=taken.last_frame + 1, last_frame=taken.last_frame)
        return taken
