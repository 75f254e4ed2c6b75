"""The last gate before the queues: what a vendor's reader said, held to the rules of all vendors.

Pure: a frame or a reading in, a reading out.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from edc_pipeline.capture.journal.blocks import Line
from edc_pipeline.events import (
    NS_MAX,
    NS_MIN,
    AnyEvent,
    all_storable,
    first_fault,
    number_occurrences,
    occurrences,
)
from edc_pipeline.market_day import DayFinder, day_bounds, midnight_ns
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import Columns, Reading, Session, quarantined
from edc_pipeline.vendors.reading import add_fault

log = logging.getLogger(__name__)

# Of the rows of one type in a read, told apart. Kite's first frame states each instrument as of its
# latest trade; with the usual horizon of seven days that may be fifteen.
_MOST_DAYS: Final = 16


# A frame that is longer than its feed's frames may be is taken all the same, up to so many times
# that length, and goes to quarantine with its bytes: cut off instead, a vendor that begins with a
# long snapshot would never be heard. What is longer still ends the connection, as a gap.
TAKEN_TIMES: Final = 4
# No feed's frames may be less.
SHORTEST_LIMIT: Final = min(f.max_frame_bytes for v in VENDORS.values() for f in v.feeds.values())


def too_large(line: Line, payload: bytes) -> Reading | None:
    """What a frame is, then, whatever is in it; None: it is not."""
    vendor = VENDORS.get(line.vendor)
    spec = vendor.feeds.get(line.feed) if vendor else None
    if spec is None or len(payload) <= spec.max_frame_bytes:
        return None
    most = spec.max_frame_bytes
    return quarantined(f"a frame of {len(payload):,} bytes, and {most:,} are the most of this feed")


class Admission:
    """Numbers genuine copies, sends faulty events to quarantine, and holds the horizon of C2."""

    def __init__(self, horizon_days: int | None) -> None:
        self._horizon_days: Final = horizon_days  # None: no horizon (`edc decode` of old frames)
        self._day_of: Final = DayFinder()
        # While frames are received between these two instants …
        self._received_from = 0
        self._received_before = 0
        # … events between these two are within the horizon.
        self._from = NS_MIN
        self._before = NS_MAX + 1

    def read(
        self, session: Session, payload: bytes, received_at: int, line: Line | None = None
    ) -> Reading:
        """Read a frame and admit what it holds. A vendor's bug must not cost the frame. With the
        line that it came by, it is held to the length of that feed's frames."""
        if (
            line is not None
            and len(payload) > SHORTEST_LIMIT
            and (large := too_large(line, payload))
        ):
            return large
        try:
            return self.admit(session.read(payload, received_at), received_at)
        except Exception as error:
            log.exception("a vendor's reader failed; the frame goes to quarantine")
            return Reading(faults=[f"the reader failed: {type(error).__name__}"])

    def admit(self, reading: Reading, received_at: int) -> Reading:
        events = reading.events
        if not events:
            return reading
        if not self._received_from <= received_at < self._received_before:
            self._look_up(received_at)
        for event in events:
            if not self._from <= event.ts_event < self._before or first_fault(event):
                reading.events = self._without_faulty(reading, received_at)
                break
        if len(reading.events) > 1:
            number_occurrences(reading.events)
        return reading

    def admit_many(self, found: Sequence[Columns], received_at: int) -> list[Columns] | None:
        """The same for the frames of one read, what is of two days apart from each other. None: not
        all is admitted as it is."""
        if not self._received_from <= received_at < self._received_before:
            self._look_up(received_at)
        admitted: list[Columns] = []
        for columns in found:
            by_day = self._by_day(columns, alone=len(found) == 1)
            if by_day is None:
                return None
            admitted += map(_with_occurrences, by_day) if columns.several else by_day
        return admitted

    def _by_day(self, found: Columns, *, alone: bool) -> list[Columns] | None:
        times = found.numbers["ts_event"]
        first, last = int(times.min()), int(times.max())
        if not (
            self._from <= first <= last < self._before
            and all_storable(found.constants, found.numbers, found.coded, found.texts)
        ):
            return None
        if self._day_of(first) == self._day_of(last):
            return [found]
        if found.frame_numbers is not None:
            return None  # these rows have to stay together; once a midnight
        if alone and found.ranks is None:
            found = replace(found, ranks=np.arange(len(times)))
        parts: list[Columns] = []
        while len(parts) < _MOST_DAYS:
            of_first = times < day_bounds(self._day_of(first))[1]
            parts.append(found.some(of_first))
            if of_first.all():
                return parts
            found = found.some(~of_first)
            times = found.numbers["ts_event"]
            first = int(times.min())
        return None

    def _look_up(self, received_at: int) -> None:
        """The bounds of the day of receipt and of the horizon around it: once a day."""
        day = self._day_of(received_at)
        self._received_from, self._received_before = day_bounds(day)
        days = self._horizon_days
        if days is None:
            return
        # As ordinals: a wide horizon reaches beyond the dates that Python knows.
        first, last = day.toordinal() - days, day.toordinal() + days + 1
        knows = first >= dt.date.min.toordinal(), last <= dt.date.max.toordinal()
        self._from = midnight_ns(dt.date.fromordinal(first)) if knows[0] else NS_MIN
        self._before = midnight_ns(dt.date.fromordinal(last)) if knows[1] else NS_MAX + 1

    def _without_faulty(self, reading: Reading, received_at: int) -> list[AnyEvent]:
        admitted: list[AnyEvent] = []
        refused: list[AnyEvent] = []
        for event in reading.events:
            fault = first_fault(event)
            if fault is None and not self._from <= event.ts_event < self._before:
                fault = self._beyond_horizon(event.ts_event, received_at)
            if fault is None:
                admitted.append(event)
            else:
                add_fault(reading.faults, fault)
                if event.seq >= 0:  # it came: its number must not be taken for missing
                    refused.append(event)
        reading.refused += tuple(refused)
        return admitted

    def _beyond_horizon(self, ts_event: int, received_at: int) -> str:
        day, received = self._day_of(ts_event), self._day_of(received_at)
        return (
            f"ts_event: {day} is more than {self._horizon_days} days from its receipt on {received}"
        )


def _with_occurrences(found: Columns) -> Columns:
    numbered = occurrences(found.places, found.numbers, found.coded, found.texts)
    return replace(found, numbers={**found.numbers, "occurrence": numbered})
