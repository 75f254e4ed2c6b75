"""Gaps in a vendor's numbers, counted per feed, and how many of them are told one by one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edc_pipeline.spool.ledger import Gap

# Told one by one of a feed in an hour, 150 bytes each in the ledger: 36 MB a day at the most. A
# vendor whose numbers are not contiguous though it says so would make every message a gap.
MOST_AN_HOUR: Final = 10_000
# And at once: what one flush has to write.
MOST_AT_ONCE: Final = 5_000
_HOUR_NS: Final = 3_600_000_000_000


@dataclass(slots=True)
class NumberGaps:
    """One feed's, since capture started."""

    count: int = 0
    messages: int = 0  # that are missing in them, where it is known how many
    _hour: int = 0
    _told: int = 0

    def add(self, gap: Gap) -> bool:
        """Whether it is told by itself; else it belongs to the rest of its flush."""
        self.count += 1
        self.messages += gap.size or 0
        hour = (gap.to_ns or gap.from_ns) // _HOUR_NS
        if hour > self._hour:
            self._hour, self._told = hour, 0
        self._told += 1
        return self._told <= MOST_AN_HOUR
