"""The last gate before the queues: what a vendor's reader said, held to the rules of all vendors.

Pure: a frame or a reading in, a reading out.
"""

from __future__ import annotations

import logging
from typing import Final

from edc_pipeline.events import first_fault, number_occurrences
from edc_pipeline.market_day import DayFinder
from edc_pipeline.vendors.contract import Reading, Session

log = logging.getLogger(__name__)


class Admission:
    """Numbers genuine copies, sends faulty events to quarantine, and holds the horizon of C2."""

    def __init__(self, horizon_days: int | None) -> None:
        self._horizon_days: Final = horizon_days  # None: no horizon (`edc decode` of old frames)
        self._day_of: Final = DayFinder()

    def read(self, session: Session, payload: bytes, received_at: int) -> Reading:
        """Read a frame and admit what it holds. A vendor's bug must not cost the frame."""
        try:
            return self.admit(session.read(payload, received_at), received_at)
        except Exception as error:
            log.exception("a vendor's reader failed; the frame goes to quarantine")
            return Reading(faults=[f"the reader failed: {type(error).__name__}"])

    def admit(self, reading: Reading, received_at: int) -> Reading:
        if not reading.events:
            return reading
        admitted = []
        for event in reading.events:
            fault = first_fault(event) or self._beyond_horizon(event.ts_event, received_at)
            if fault is None:
                admitted.append(event)
            else:
                reading.faults.append(fault)
                if event.seq >= 0:  # it came: its number must not be taken for missing
                    reading.refused += (event,)
        number_occurrences(admitted)
        reading.events = admitted
        return reading

    def _beyond_horizon(self, ts_event: int, received_at: int) -> str | None:
        if self._horizon_days is None:
            return None
        day, received = self._day_of(ts_event), self._day_of(received_at)
        if abs((day - received).days) <= self._horizon_days:
            return None
        return (
            f"ts_event: {day} is more than {self._horizon_days} days from its receipt on {received}"
        )
