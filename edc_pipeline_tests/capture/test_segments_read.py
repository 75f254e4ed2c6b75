"""A segment is read block by block: what a vendor sends may compress a thousandfold, so that all of
a segment at once would be gigabytes."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from edc_pipeline.capture.journal.archive import read_archive, retire_segment
from edc_pipeline.capture.journal.blocks import MAX_ROWS, Line, Reads, Torn, decode
from edc_pipeline.capture.journal.reader import read_collector, read_segment
from edc_pipeline.capture.journal.writer import Journal, Segment
from edc_pipeline.capture.recovery import recover
from edc_pipeline.market_day import market_day
from edc_pipeline.replay.recorded_frames import days_recorded, spans_of
from edc_pipeline.settings import Capture
from edc_pipeline.spool.layout import journal_folder
from edc_pipeline.spool.ledger import Ledger, Source

NOON = 1_769_101_200_000_000_000
DAY = market_day(NOON)
LINE = Line(number=0, name="stocks", vendor="tiingo", feed="iex", connection="c/stocks/0.0")
SOURCE = Source("stocks", "tiingo", "iex")
RULES = Capture(horizon_days=30)
MB = 1 << 20
HEARTBEAT = b'{"messageType":"H","response":{"code":200,"message":"HeartBeat"},"pad":"%s"}'


def write_journal(
    spool: Path, commits: Iterable[list[bytes]], *, segment_bytes: int = 64 * MB
) -> list[Segment]:
    """A collector that dies after these commits; its segments, if it had drained instead."""

    async def scenario() -> list[Segment]:
        journal = Journal(spool, "c", segment_bytes=segment_bytes)
        journal.new_line(LINE)
        for frames in commits:
            for payload in frames:
                journal.append(0, NOON, payload)
            await journal.commit()
        await journal.close()
        return journal.take_sealed()

    Ledger(spool).collector_started("c", NOON - 1)
    return asyncio.run(scenario())


def peak_bytes(work: Callable[[], object]) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_recovery_holds_one_commit_of_a_segment_at_a_time(tmp_path: Path) -> None:
    """Padded heartbeats: 115 MB of them are 40 kB on the disk."""
    beat = HEARTBEAT % (b"x" * 900_000)
    (segment,) = write_journal(tmp_path, ([beat] * 4 for _ in range(32)))
    assert segment.path.stat().st_size < MB
    recovered = []
    # A commit as it is packed, and its frames cut out of it.
    assert peak_bytes(lambda: recovered.extend(recover(tmp_path, RULES, lambda: NOON))) < 24 * MB
    assert recovered[0].frames == 4 * 32
    assert Ledger(tmp_path).frames()[SOURCE].control == 4 * 32
    (read,) = read_archive(tmp_path)
    assert (read.first_frame, read.last_frame) == (0, 4 * 32 - 1)


def test_who_lists_or_replays_segments_holds_one_commit_at_a_time(tmp_path: Path) -> None:
    beat = HEARTBEAT % (b"x" * 900_000)
    write_journal(tmp_path, ([beat] * 4 for _ in range(32)))
    found: Counter[str] = Counter()

    def look() -> None:
        for read in read_collector(journal_folder(tmp_path, "c")):
            found["listed"] += read.frame_count
        assert days_recorded(tmp_path) == [DAY]
        for span in spans_of(tmp_path, DAY):
            found["replayed"] += sum(1 for _ in span.frames())

    assert peak_bytes(look) < 24 * MB
    assert found == {"listed": 4 * 32, "replayed": 4 * 32}


def test_a_segment_is_sealed_by_what_it_holds_uncompressed_too(tmp_path: Path) -> None:
    segments = write_journal(tmp_path, ([bytes(4_000)] for _ in range(100)), segment_bytes=5_000)
    assert all(s.whole_bytes < 5_000 for s in segments)
    counts = [s.last_frame - s.first_frame + 1 for s in segments]
    assert counts == [20] * 5  # of 4,000 bytes: sixteen times 5,000


def test_a_block_of_more_frames_than_any_read_brings_is_none_of_ours() -> None:
    reads = Reads()
    reads.add(0, NOON, (b"",) * (MAX_ROWS + 1), 0)
    with pytest.raises(Torn, match=f"claims {MAX_ROWS + 1} frames"):
        list(decode(memoryview(reads.encode(0))))


def test_a_segment_that_is_archived_while_it_is_read_is_read_to_its_end(tmp_path: Path) -> None:
    (segment,) = write_journal(tmp_path, [[b"%d" % n] for n in range(5)])
    read = read_segment(segment.path)
    blocks = iter(read.frames)
    found = [*next(blocks).payloads]
    retire_segment(tmp_path, "c", segment, keep_days=0)
    assert not segment.path.exists()
    for block in blocks:
        found += block.payloads
    assert found == [b"%d" % n for n in range(5)]


def test_a_block_that_changes_while_its_segment_is_read_is_an_error_of_the_disk(
    tmp_path: Path,
) -> None:
    """It was whole a moment ago: no damage, of which recovery would make a gap for good."""
    (segment,) = write_journal(tmp_path, [[b"%d" % n] for n in range(5)])
    read = read_segment(segment.path)
    data = bytearray(segment.path.read_bytes())
    data[-1] ^= 1
    segment.path.write_bytes(data)
    with pytest.raises(OSError, match="another than a moment ago") as caught:
        list(read.frames)
    assert caught.value.filename == str(segment.path)
