"""When the frames of a read are looked at together, and that it makes no difference to what waits
for the disk."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import pytest

from edc_pipeline.capture.admission import Admission
from edc_pipeline.capture.intake import FeedState, Intake
from edc_pipeline.capture.journal.blocks import Line
from edc_pipeline.capture.journal.writer import Journal
from edc_pipeline.capture.queues import Queues, Waiting
from edc_pipeline.spool.ledger import Source
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import Columns, ReadMany, Subscription
from edc_pipeline_tests.vendors.test_zerodha_many import DAY_S, FULL, NOON_S, SHARE, framed, packet

AT = NOON_S * 10**9 + 5
KITE = VENDORS["zerodha"]
ASKED = Subscription("ticker", ("INFY",), {"tokens": {"INFY": SHARE}})
SOURCE = Source("kite", "zerodha", "ticker")
LINE = Line(number=0, name="kite", vendor="zerodha", feed="ticker", connection="a")


def of_packets(count: int, *times: int) -> bytes:
    """Prices that grow, and times that take turns."""
    said = zip(range(count), cycle(times or (NOON_S,)), strict=False)
    return framed([packet(184, SHARE, [100 + n, *FULL[1:]], at) for n, at in said])


def taken(
    folder: Path, payloads: Sequence[bytes], read_many: ReadMany | None
) -> tuple[Waiting, FeedState]:
    queues, state = Queues(), FeedState(SOURCE)
    session = KITE.open_session(ASKED, "k:t")
    one = Intake(Journal(folder, "c1"), queues, Admission(7))
    assert one.take(state, LINE, session, payloads, AT, read_many).data
    return queues.waiting, state


@pytest.mark.parametrize(
    ("payloads", "is_together"),
    [
        ([of_packets(50)], True),
        ([of_packets(22)] * 2, False),  # 8,188 bytes
        ([of_packets(22)] * 2 + [of_packets(1)], True),
        ([of_packets(3)], False),
        ([of_packets(1)] * 7, False),
        ([of_packets(1)] * 8, True),
        ([of_packets(50, NOON_S, 0, NOON_S - DAY_S, 0)] * 2, True),
        ([of_packets(50, NOON_S, NOON_S - 9 * DAY_S)], True),  # and refused: beyond the horizon
        ([of_packets(50), b"\0"], False),  # not plain: one by one
    ],
    ids=lambda told: str(told) if isinstance(told, bool) else f"{len(told)} frames",
)
def test_many_frames_and_large_ones_are_read_together(
    tmp_path: Path, payloads: list[bytes], is_together: bool
) -> None:
    read_many = KITE.reader_of_many(ASKED)
    told: list[Sequence[Columns] | None] = []
    assert read_many is not None

    def watched(frames: Sequence[bytes], at: int) -> Sequence[Columns] | None:
        told.append(read_many(frames, at))
        return told[-1]

    waiting, state = taken(tmp_path, payloads, watched)
    expected, one_by_one = taken(tmp_path, payloads, None)
    assert any(found is not None for found in told) == is_together
    assert waiting.tables().keys() == expected.tables().keys()
    for key, table in waiting.tables().items():
        rows = table.to_pylist()
        assert repr(rows) == repr(expected.tables()[key].to_pylist())
    assert (waiting.event_counts, waiting.frame_counts) == (
        expected.event_counts,
        expected.frame_counts,
    )
    assert (state.frames, state.events) == (one_by_one.frames, one_by_one.events)
    assert state.symbols.names() == {"INFY"} == one_by_one.symbols.names()


@pytest.mark.parametrize("reads", [(100, 28, 1, 120, 8, 300, 1, 1), (1,) * 130, (600,)])
def test_one_frame_in_128_is_timed_whether_read_together_or_one_by_one(
    tmp_path: Path, reads: tuple[int, ...]
) -> None:
    # A read that ended on a full 128 was timed, and the frame after it again.
    queues, state = Queues(), FeedState(SOURCE)
    session, read_many = KITE.open_session(ASKED, "k:t"), KITE.reader_of_many(ASKED)
    one = Intake(Journal(tmp_path, "c1"), queues, Admission(7))
    for frames in reads:
        one.take(state, LINE, session, [of_packets(1)] * frames, AT, read_many)
    published = state.latencies.ways["receive_to_published"]
    assert sum(published.counts) == -(-sum(reads) // 128)
