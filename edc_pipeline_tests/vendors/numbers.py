"""Frames through a vendor's decoder into the gaps that capture would tell."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edc_pipeline.capture.continuity import Continuity
from edc_pipeline.capture.journal.blocks import Line
from edc_pipeline.spool.ledger import Gap, Source
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import Subscription


def gaps(vendor: str, feed: str, frames: Iterable[str]) -> list[tuple[str, int, int | None]]:
    """(symbol, first missing number, how many) of frames of one connection, which are the same
    however many of them a read holds."""
    told = [frame.encode() for frame in frames]
    found, _ = heard(vendor, feed, told, 1)
    for size in (2, 3, len(told)):
        assert heard(vendor, feed, told, size)[0] == found
    return [(gap.symbol, gap.first_seq, gap.size) for gap in found]


def heard(
    vendor: str, feed: str, frames: Sequence[bytes], size: int
) -> tuple[list[Gap], list[bool]]:
    """The gaps, and whether each read of so many frames was heard together."""
    rules, asked = VENDORS[vendor], Subscription(feed)
    continuity = Continuity(Source("name", vendor, feed), rules.feeds[feed].sequence)
    decode, read_many = rules.decoder(asked), rules.reader_of_many(asked)
    line = Line(number=1, name="name", vendor=vendor, feed=feed, connection="name/1.0")
    found: list[Gap] = []
    together: list[bool] = []
    for first in range(0, len(frames), max(size, 1)):
        read = frames[first : first + size]
        columns = read_many(read, 1) if read_many and size > 1 else None
        together.append(columns is not None and continuity.goes_on(line, columns, 1))
        for frame in read if not together[-1] else ():
            reading = decode(frame, 1)
            assert not reading.faults
            found += continuity.hear(line, reading, 1)
    found += continuity.settle(None)
    found += continuity.connection_ended("name/1.0")
    return sorted(found, key=lambda gap: (gap.symbol, gap.first_seq)), together
