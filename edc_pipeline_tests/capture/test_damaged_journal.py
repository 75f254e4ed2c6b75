"""Damage to a journal costs the blocks that it hits and no other, and is named; a torn tail is not
damage."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import shutil
import struct
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edc_pipeline.capture import recovery
from edc_pipeline.capture.admission import Admission
from edc_pipeline.capture.flush import flush
from edc_pipeline.capture.journal.archive import read_archive, read_set_aside
from edc_pipeline.capture.journal.blocks import (
    HEAD_BYTES,
    Frames,
    Line,
    Reads,
    decode,
    encode_line,
)
from edc_pipeline.capture.journal.damage import Damage, Unfinished, walk
from edc_pipeline.capture.journal.reader import UNKNOWN, SegmentRead, read_collector, read_segment
from edc_pipeline.capture.journal.writer import Journal
from edc_pipeline.capture.past_sessions import PastSessions
from edc_pipeline.capture.queues import Queues
from edc_pipeline.capture.recovery import recover
from edc_pipeline.market_day import market_day
from edc_pipeline.replay.recorded_frames import spans_of
from edc_pipeline.settings import Capture
from edc_pipeline.spool.layout import (
    JOURNAL,
    RAW,
    batch_files,
    days_in,
    journal_folder,
    quarantine_days,
    segment_files,
)
from edc_pipeline.spool.ledger import Ledger, Source
from edc_pipeline.spool.micro_batch import read_micro_batch
from edc_pipeline.spool.quarantine import read_quarantine
from edc_pipeline_tests.capture.test_recovery import NOON, Crash, frame_bytes
from edc_pipeline_tests.cli.calling import edc
from edc_pipeline_tests.dice import examples

COLLECTOR = "20260122T170000Z-abc123"
LINES = [
    Line(number=n, name=name, vendor="tiingo", feed="iex", connection=f"{COLLECTOR}/{name}/0.0")
    for n, name in enumerate(("stocks", "more"))
]
SOURCES = {Source(line.name, line.vendor, line.feed) for line in LINES}
COMMITS, FRAMES_A_COMMIT, COMMITS_A_SEGMENT = 9, 4, 3
KEEP_ALL = Capture(horizon_days=30, flush_rows=7)
KEEP_NONE = KEEP_ALL.model_copy(update={"raw_archive": "0d"})


class Kept(NamedTuple):
    connection: str
    received_at: int
    payload: bytes


def sent() -> dict[int, Kept]:
    kinds = ("trade", "quote", "rubbish", "heartbeat")
    return {
        n: Kept(LINES[n % 2].connection, NOON + n, frame_bytes(kinds[n % 5 % 4], n))
        for n in range(COMMITS * FRAMES_A_COMMIT)
    }


def write_journal(spool: Path) -> None:
    """Three segments of three commits of four frames, of two feeds."""

    async def scenario() -> None:
        journal = Journal(spool, COLLECTOR)
        for line in LINES:
            journal.new_line(line)
        for n, frame in sent().items():
            journal.append(n % 2, frame.received_at, frame.payload)
            if n % FRAMES_A_COMMIT == FRAMES_A_COMMIT - 1:
                await journal.commit()
            if n % (FRAMES_A_COMMIT * COMMITS_A_SEGMENT) == FRAMES_A_COMMIT * COMMITS_A_SEGMENT - 1:
                await journal.close()

    asyncio.run(scenario())
    Ledger(spool).collector_started(COLLECTOR, NOON - 1)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spool = tmp_path_factory.mktemp("written") / "spool"
    write_journal(spool)
    return spool


def segments_in(spool: Path) -> list[Path]:
    return segment_files(journal_folder(spool, COLLECTOR))


def blocks_of(segment: bytes) -> list[tuple[int, int, Frames | Line]]:
    """`(first byte, end, what)` of a sound segment."""
    found = list(decode(memoryview(segment)))
    starts = [0, *(end for end, _ in found[:-1])]
    return [(start, end, block) for start, (end, block) in zip(starts, found, strict=True)]


class Hit(NamedTuple):
    frames: set[int]
    lines: set[int]  # of which no copy in the segment is left


def hit_by(sound: bytes, damaged: bytes) -> Hit:
    frames: set[int] = set()
    named: set[int] = set()
    left: set[int] = set()
    for start, end, block in blocks_of(sound):
        changed = sound[start:end] != damaged[start:end]
        if isinstance(block, Frames):
            if changed:
                frames.update(range(block.first_frame, block.first_frame + len(block)))
            continue
        named.add(block.number)
        if not changed:
            left.add(block.number)
    return Hit(frames, named - left)


def frames_in(reads: Sequence[SegmentRead]) -> Iterator[tuple[int, Kept]]:
    for read in reads:
        for block in read.frames:
            rows = zip(block.received_at, block.lines, block.payloads, strict=True)
            for frame, (at, number, payload) in enumerate(rows, block.first_frame):
                yield frame, Kept(read.lines[number].connection, at, payload)


class Damaging(NamedTuple):
    segment: int
    at: float  # of its bytes
    length: int  # 0: one bit
    bit: int
    fill: int

    def __call__(self, sound: bytes) -> bytes:
        damaged = bytearray(sound)
        at = min(int(self.at * len(sound)), len(sound) - 1)
        if not self.length:
            damaged[at] ^= 1 << self.bit
            return bytes(damaged)
        run = min(self.length, len(sound) - at)
        damaged[at : at + run] = bytes([self.fill]) * run
        return bytes(damaged)


damagings = st.builds(
    Damaging,
    st.integers(0, COMMITS // COMMITS_A_SEGMENT - 1),
    st.floats(0, 1, exclude_max=True),
    st.just(0) | st.integers(1, 2_000),
    st.integers(0, 7),
    st.sampled_from([0, 0, 0xFF, ord("E")]),
)


def test_every_flipped_bit_costs_its_block_alone(written: Path) -> None:
    """And never passes for a torn tail, at the end of a segment neither."""
    sound = segments_in(written)[0].read_bytes()
    blocks = blocks_of(sound)
    for bit in range(len(sound) * 8):
        damaged = bytearray(sound)
        damaged[bit // 8] ^= 1 << bit % 8
        start, end, hit = next(b for b in blocks if b[0] <= bit // 8 < b[1])
        found = list(walk(memoryview(damaged)))
        (damage,) = [f for _, f in found if isinstance(f, Damage)]
        assert (damage.first_byte, damage.end_byte) == (start, end)
        assert not any(isinstance(f, Unfinished) for _, f in found)
        assert [e for e, _ in found] == [e for _, e, _ in blocks]
        others = [plain(f) for _, f in found if f is not damage]
        assert others == [plain(block) for _, _, block in blocks if block is not hit]


def plain(block: object) -> object:
    if isinstance(block, Frames):
        return block.first_frame, block.received_at, block.lines, list(block.payloads)
    return block


@given(st.lists(damagings, min_size=1, max_size=2))
@settings(max_examples=examples(150), deadline=None)
def test_what_no_damage_hit_is_read_once(written: Path, how: list[Damaging]) -> None:
    with tempfile.TemporaryDirectory() as place:
        spool = Path(place, "spool")
        shutil.copytree(written, spool)
        lost = damage(spool, how)
        reads = list(read_collector(journal_folder(spool, COLLECTOR)))
    found = list(frames_in(reads))
    assert [frame for frame, _ in found] == sorted(sent().keys() - lost)
    for frame, kept in found:
        whole = sent()[frame]
        unknown = f"{COLLECTOR}/{UNKNOWN}/{frame % 2}"
        assert kept in (whole, whole._replace(connection=unknown))
        if {d.segment for d in how} != {0, 1, 2}:  # an undamaged segment names every line
            assert kept == whole
    assert not any(read.torn for read in reads)
    assert any(read.damages for read in reads) == any(
        (written / p.relative_to(spool)).read_bytes() != data for p, data in _then.items()
    )


_then: dict[Path, bytes] = {}


def damage(spool: Path, how: Sequence[Damaging]) -> set[int]:
    """Do it; returns the frames of the blocks that it hit."""
    lost: set[int] = set()
    _then.clear()
    for number, path in enumerate(segments_in(spool)):
        sound = damaged = path.read_bytes()
        for one in how:
            damaged = one(damaged) if one.segment == number else damaged
        path.write_bytes(damaged)
        _then[path] = damaged
        lost |= hit_by(sound, damaged).frames
    return lost


def flush_first(spool: Path, frames: int, *, die_before_the_ledger: bool = False) -> None:
    """What a collector does with its first frames."""
    if frames:
        flush_some(spool, 0, frames, die_before_the_ledger=die_before_the_ledger)


def flush_some(spool: Path, first: int, end: int, *, die_before_the_ledger: bool = False) -> None:
    queues, sessions, admission = Queues(first), PastSessions(), Admission(30)
    for n, frame in list(sent().items())[first:end]:
        line = LINES[n % 2]
        session = sessions.of(line)
        assert session is not None
        reading = admission.read(session, frame.payload, frame.received_at)
        source = Source(line.name, line.vendor, line.feed)
        queues.put(n, source, line.connection, reading, frame.payload, frame.received_at)
    ledger = Ledger(spool)
    before = ledger.path.read_bytes()
    flush(spool, COLLECTOR, queues.take(), NOON + end, LINES)
    if die_before_the_ledger:
        ledger.path.write_bytes(before)


def frames_kept(spool: Path) -> Counter[int]:
    """The ordinals in micro-batches and in quarantine, each once for a file."""
    found: Counter[int] = Counter()
    for event_type, day in days_in(spool):
        for path in batch_files(spool, event_type, day):
            found.update(read_micro_batch(path, event_type)["frame"].to_pylist())
    for day in quarantine_days(spool):
        found.update(frame.frame for frame in read_quarantine(spool, day))
    return found


def all_kept(spool: Path) -> list[bytes]:
    return [path.read_bytes() for path in (spool / RAW).rglob("*.wal")]


def not_heartbeats(frames: set[int]) -> Counter[int]:
    return Counter(n for n in frames if b"HeartBeat" not in sent()[n].payload)


@given(
    st.lists(damagings, min_size=1, max_size=2),
    st.sampled_from([0, 0, 2, 5, 16, 36]),
    st.booleans(),
    st.sampled_from([KEEP_ALL, KEEP_NONE]),
)
@settings(max_examples=30, deadline=None)
def test_recovery_loses_the_damaged_blocks_alone_and_says_so(
    written: Path, how: list[Damaging], flushed: int, dies: bool, rules: Capture
) -> None:
    with tempfile.TemporaryDirectory() as place:
        spool = Path(place, "spool")
        shutil.copytree(written, spool)
        flush_first(spool, flushed, die_before_the_ledger=dies)
        hit = damage(spool, how)
        damaged = [_then[p] for p in _then if next(filter_damages(p), None)]
        every = list(_then.values())
        counted = set() if dies else set(range(flushed))
        lost = hit - counted
        (done,) = recover(spool, rules, lambda: NOON + 1_000)
        left = sent().keys() - lost
        assert frames_kept(spool) == not_heartbeats(left)
        ledger = Ledger(spool)
        assert sum(c.received for c in ledger.frames().values()) == len(left)
        assert all(c.balanced for c in ledger.frames().values())
        told = {gap.reason: gap for gap in ledger.gaps()}
        assert named(told) == lost
        assert done.lost <= len(lost)
        for gap in told.values():
            assert gap.state == "unfillable"
            assert {g.source for g in ledger.gaps() if g.reason == gap.reason} == SOURCES
            assert gap.to_ns is not None
            assert gap.from_ns <= gap.to_ns
        # Every byte of a damaged segment is there, and where the archive takes all, all are.
        assert not list((spool / JOURNAL).iterdir())
        kept = all_kept(spool)
        assert all(segment in kept for segment in (damaged if rules is KEEP_NONE else every))
        if rules is KEEP_ALL:
            reads = [*read_archive(spool), *read_set_aside(spool)]
            assert sorted(n for n, _ in frames_in(reads)) == sorted(sent().keys() - hit)
            replayed_all(spool, sent().keys() - hit)
        assert recover(spool, rules, lambda: NOON + 1_000) == []


def filter_damages(segment: Path) -> Iterator[Damage]:
    return iter(read_segment(segment).damages)


def named(reasons: Iterable[str]) -> set[int]:
    """The ordinals that gaps name; of an end of unknown length, all from there on."""
    found: set[int] = set()
    for reason in reasons:
        said = re.search(r"frames (?:from (\d+) on|\((\d+) to (\d+)\))", reason)
        assert said, reason
        first, last = int(said[1] or said[2]), int(said[3] or len(sent()) - 1)
        found.update(range(first, last + 1))
    return found


def replayed_all(spool: Path, whole: set[int]) -> None:
    if any(read_archive(spool)):
        frames = [
            received.frame
            for span in spans_of(spool, market_day(NOON))
            for belongs, received in span.frames()
            if belongs
        ]
        assert frames == sorted(n for n in whole if frames[0] <= n <= frames[-1])


@pytest.mark.parametrize("step", ["flush", "retire_recovered"])
def test_a_recovery_that_dies_and_is_done_again_names_each_loss_once(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A hole within a segment, and at the journal's end, of unknown length."""
    how = [Damaging(0, 0.75, 0, 0, 0), Damaging(2, 0.55, 3_000, 0, 0)]
    found = []
    for dies_at in range(1, 6):
        spool = tmp_path / f"{step}-{dies_at}"
        shutil.copytree(written, spool)
        lost = damage(spool, how)
        real, calls = getattr(recovery, step), itertools.count(1)

        def dying(*args: Any, **named: Any) -> Any:
            if next(calls) == dies_at:  # noqa: B023
                raise Crash
            return real(*args, **named)  # noqa: B023

        with monkeypatch.context() as here, suppress(Crash):
            here.setattr(recovery, step, dying)
            recover(spool, KEEP_ALL, lambda: NOON + 1_000)
        recover(spool, KEEP_ALL, lambda: NOON + 1_000)
        assert frames_kept(spool) == not_heartbeats(sent().keys() - lost)
        found.append({(g.source.name, g.from_ns, g.reason) for g in Ledger(spool).gaps()})
        assert len(found[-1]) == len(Ledger(spool).gaps()) == 2 * len(SOURCES)
        assert sorted(all_kept(spool)) == sorted(_then.values())
    assert all(gaps == found[0] for gaps in found)


def test_every_truncation_of_the_last_segment_is_a_torn_tail(written: Path, tmp_path: Path) -> None:
    last = segments_in(written)[-1]
    data = last.read_bytes()
    ends = [end for _, end, _ in blocks_of(data)]
    for length in range(len(data)):
        found = [f for _, f in walk(memoryview(data)[:length])]
        assert not any(isinstance(f, Damage) for f in found)
        assert sum(isinstance(f, Frames | Line) for f in found) == sum(e <= length for e in ends)
        assert any(isinstance(f, Unfinished) for f in found) == (length not in (0, *ends))
    for number, length in enumerate((1, 100, ends[0] + 40, ends[-1] - 1)):
        spool = tmp_path / str(number)
        shutil.copytree(written, spool)
        (spool / last.relative_to(written)).write_bytes(data[:length])
        (done,) = recover(spool, KEEP_ALL, lambda: NOON + 1_000)
        assert (done.damaged, done.lost, len(done.torn)) == ([], 0, 1)
        assert Ledger(spool).gaps() == []
        assert not any(read.torn or read.damages for read in read_archive(spool))
        assert not list((spool / JOURNAL).iterdir())
        assert not list(read_set_aside(spool))


def as_written_before(segment: bytes) -> bytes:
    """The same blocks, as they were when heads had no check."""
    old = b""
    for start, end, _ in blocks_of(segment):
        head = segment[start : start + 5] + bytes(3) + segment[start + 8 : start + HEAD_BYTES - 4]
        body = segment[start + HEAD_BYTES : end]
        old += head + struct.pack("<I", zlib.crc32(body, zlib.crc32(head))) + body
    return old


def test_segments_without_a_check_in_their_heads_are_read_as_well(written: Path) -> None:
    data = as_written_before(segments_in(written)[0].read_bytes())
    blocks = blocks_of(data)
    starts = [start for start, _, _ in blocks]
    assert [plain(b) for _, b in walk(memoryview(data))] == [plain(b) for _, _, b in blocks]
    for bit in range(starts[-1] * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        found = [f for _, f in walk(memoryview(damaged))]
        whole = [plain(f) for f in found if isinstance(f, Frames | Line)]
        assert whole == [plain(b) for s, e, b in blocks if not s <= bit // 8 < e]
        assert sum(isinstance(f, Damage) for f in found) == 1
    for length in range(starts[-1], len(data)):
        found = [f for _, f in walk(memoryview(data)[:length])]
        assert not any(isinstance(f, Damage) for f in found)
    assert all(a < b for a, b in pairwise(starts))


def block(first: int, payload: bytes) -> bytes:
    reads = Reads()
    reads.add(0, NOON + first, (payload,), len(payload))
    return reads.encode(first)


def test_a_frame_that_looks_like_blocks_of_ours_is_none() -> None:
    """A vendor sends whole blocks, in what zstd leaves as it is; the block around them is torn, or
    damaged."""
    inside = block(7_000, random.Random(1).randbytes(2_000))
    around, after = block(0, inside), block(1, b"after")
    assert inside[:40] in around
    torn = [f for _, f in walk(memoryview(around)[:-1])]
    assert [type(f) for f in torn] == [Unfinished]
    for at in (HEAD_BYTES + 20, HEAD_BYTES - 1):  # in the body; in the checksum
        damaged = bytearray(around + after)
        damaged[at] ^= 1
        found = [f for _, f in walk(memoryview(damaged))]
        assert [f.first_frame for f in found if isinstance(f, Frames)] == [1]


def test_heads_that_claim_all_that_follows_are_soon_done_with() -> None:
    """Thousands of them in one frame, behind a damaged head: not all are summed."""
    false = [msgspec.json.encode(n) for n in range(3)]
    head = encode_line(LINES[0])[:HEAD_BYTES]
    unlike = head[:5] + bytes(3) + head[8:20] + struct.pack("<II", 400_000, 400_000) + b"none"
    segment = bytes(40) + unlike * 40_000 + b"".join(false)
    (found,) = [f for _, f in walk(memoryview(segment))]
    assert isinstance(found, Damage)
    assert (found.first_byte, found.end_byte, found.frames) == (0, len(segment), None)


def test_frames_of_a_line_that_no_segment_names_are_quarantined(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    line = LINES[0]
    damaged = bytearray(encode_line(line) + block(0, frame_bytes("trade", 0)))
    damaged[HEAD_BYTES + 5] ^= 1
    (path := journal_folder(spool, COLLECTOR) / "000000000000.wal").parent.mkdir(parents=True)
    path.write_bytes(damaged)
    (done,) = recover(spool, KEEP_ALL, lambda: NOON)
    assert (done.frames, done.lost, len(done.damaged)) == (1, 0, 1)
    (frame,) = read_quarantine(spool, market_day(NOON))
    assert frame.payload == frame_bytes("trade", 0)
    assert "whose frame" in frame.reason
    assert frame.connection == f"{COLLECTOR}/{UNKNOWN}/0"
    assert Ledger(spool).frames()[frame.source].quarantined == 1
    assert all_kept(spool) == [damaged]


def test_a_segment_of_which_nothing_is_whole_is_kept_and_is_a_gap(tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    Ledger(spool).collector_started(COLLECTOR, NOON - 5)
    (path := journal_folder(spool, COLLECTOR) / "000000000000.wal").parent.mkdir(parents=True)
    path.write_bytes(bytes(500))
    (done,) = recover(spool, KEEP_ALL, lambda: NOON)
    assert len(done.damaged) == 1
    (gap,) = Ledger(spool).gaps()
    assert (gap.source.name, gap.from_ns, gap.to_ns, gap.size) == (UNKNOWN, NOON - 5, NOON, None)
    assert "frames from 0 on" in gap.reason
    assert all_kept(spool) == [bytes(500)]
    assert len(list(read_set_aside(spool))) == 1


@pytest.mark.parametrize("gone", [0, 1, 2])
@pytest.mark.parametrize("dies_at", [1, 2, 3, 99])
def test_after_the_ledger_was_lost_what_the_journal_has_is_counted_once(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: int, dies_at: int
) -> None:
    """Flushes that the ledger knew are in files; the oldest segments are not in the journal any
    more. The recovery may die in the middle."""
    spool = tmp_path / "spool"
    shutil.copytree(written, spool)
    for first, end in pairwise((0, 5, 14, 20, 30)):
        flush_some(spool, first, end)
    for path in segments_in(spool)[:gone]:
        path.unlink()
    Ledger(spool).path.unlink()
    real, calls = flush, itertools.count(1)

    def dying(*args: Any, **named: Any) -> Any:
        if next(calls) == dies_at:
            raise Crash
        return real(*args, **named)

    with monkeypatch.context() as here, suppress(Crash):
        here.setattr(recovery, "flush", dying)
        recover(spool, KEEP_ALL, lambda: NOON + 1_000)
    recover(spool, KEEP_ALL, lambda: NOON + 1_000)
    assert frames_kept(spool) == not_heartbeats(set(sent()))
    begins = (0, 14, 30)[gone]  # behind the file that holds frames of a segment that is gone
    counts = Ledger(spool).frames().values()
    assert sum(c.received for c in counts) == len(sent()) - begins
    assert Ledger(spool).gaps() == []


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_ledger_of_a_backup_costs_no_file_that_the_journal_no_longer_has(
    written: Path, tmp_path: Path, gone: int
) -> None:
    spool = tmp_path / "spool"
    shutil.copytree(written, spool)
    flush_some(spool, 0, 5)
    backup = Ledger(spool).path.read_bytes()
    for first, end in pairwise((5, 14, 20, 30)):
        flush_some(spool, first, end)
    for path in segments_in(spool)[:gone]:
        path.unlink()
    Ledger(spool).path.write_bytes(backup)
    recover(spool, KEEP_ALL, lambda: NOON + 1_000)
    assert frames_kept(spool) == not_heartbeats(set(sent()))
    assert Ledger(spool).gaps() == []


def test_edc_journal_shows_damage_and_where(written: Path, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    shutil.copytree(written, spool)
    path = segments_in(spool)[-1]
    data = bytearray(path.read_bytes())
    *_, (start, end, _) = blocks_of(bytes(data))
    data[end - 1] ^= 1  # the last byte of the last block of the last segment
    path.write_bytes(data)
    for archive in ([], ["--archive"]):
        result = edc("journal", "verify", "--spool", spool, "--json", *archive, cwd=tmp_path)
        assert result.code == 1, result.err
        told = msgspec.json.decode(result.out.splitlines()[0])
        assert told["fault"] is True
        assert told["offset"] == start
        assert "000000000024" in told["segment"]
        assert f"from byte {start} to {end}, 4 frames" in told["said"]
        listed = edc("journal", "list", "--spool", spool, "--json", *archive, cwd=tmp_path).out
        assert [len(msgspec.json.decode(row)["damaged"]) for row in listed.splitlines()] == [
            0,
            0,
            1,
        ]
        if not archive:
            result = edc("journal", "cat", path, cwd=tmp_path)
            assert (result.code, len(result.out.splitlines())) == (1, 8)
            assert f"from byte {start}" in result.err
            recover(spool, KEEP_ALL, lambda: NOON + 1_000)
    assert edc("journal", "verify", "--spool", written, cwd=tmp_path).code == 0
