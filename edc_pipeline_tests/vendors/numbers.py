"""Frames through a vendor's decoder into the gaps that capture would tell."""

from __future__ import annotations

from collections.abc import Iterable

from edc_pipeline.capture.continuity import Continuity
from edc_pipeline.capture.journal.blocks import Line
from edc_pipeline.spool.ledger import Source
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import Subscription


def gaps(vendor: str, feed: str, frames: Iterable[str]) -> list[tuple[str, int, int | None]]:
    """(symbol, first missing number, how many) of frames of one connection."""
    continuity = Continuity(Source("name", vendor, feed), VENDORS[vendor].feeds[feed].sequence)
    decode = VENDORS[vendor].decoder(Subscription(feed))
    line = Line(number=1, name="name", vendor=vendor, feed=feed, connection="name/1.0")
    found = []
    for at, frame in enumerate(frames, 1):
        reading = decode(frame.encode(), at)
        assert not reading.faults
        found += continuity.hear(line, reading, at)
    found += continuity.settle(None)
    found += continuity.connection_ended("name/1.0")
    return [(gap.symbol, gap.first_seq, gap.size) for gap in found]
