"""C3: a commit is whole or not there; a torn tail costs itself and nothing before it."""

from __future__ import annotations

import asyncio
import datetime as dt
import errno
import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edc_pipeline.capture.journal.archive import (
    read_archive,
    retire_old_days,
    retire_recovered,
    retire_segment,
)
from edc_pipeline.capture.journal.blocks import Frames, Line, Reads, Torn, decode, encode_line
from edc_pipeline.capture.journal.reader import read_collector, read_segment
from edc_pipeline.capture.journal.writer import Journal, Segment
from edc_pipeline.market_day import midnight_ns
from edc_pipeline.spool.layout import raw_folder
from edc_pipeline_tests.capture.test_collector import until

LINE = Line(number=0, name="stocks", vendor="tiingo", feed="iex", connection="c/stocks/0.0")


def encode_frames(frames: Frames) -> bytes:
    """One block, of frames that may each be of another read."""
    reads = Reads()
    for received_at, line, payload in zip(
        frames.received_at, frames.lines, frames.payloads, strict=True
    ):
        reads.add(line, received_at, (payload,), len(payload))
    return reads.encode(frames.first_frame)


frames = st.builds(
    lambda first, rows: Frames(
        first, [r[0] for r in rows], [r[1] for r in rows], [r[2] for r in rows]
    ),
    st.integers(0, 2**62),
    st.lists(
        st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**32 - 1), st.binary()),
        max_size=20,
    ),
)


def as_tuples(block: Frames | Line) -> object:
    if isinstance(block, Line):
        return block
    rows = zip(block.received_at, block.lines, block.payloads, strict=True)
    return block.first_frame, list(rows)


def whole_blocks(segment: bytes) -> tuple[list[object], bool]:
    found = []
    try:
        for _, block in decode(memoryview(segment)):
            found.append(as_tuples(block))
    except Torn:
        return found, True
    return found, False


@given(st.lists(frames, max_size=4))
def test_blocks_come_back_as_they_were(blocks: list[Frames]) -> None:
    segment = encode_line(LINE) + b"".join(map(encode_frames, blocks))
    assert whole_blocks(segment) == ([LINE, *map(as_tuples, blocks)], False)


@given(st.lists(frames, min_size=1, max_size=3), st.data())
@settings(deadline=None)
def test_a_torn_tail_costs_only_itself(blocks: list[Frames], data: st.DataObject) -> None:
    parts = [encode_frames(block) for block in blocks]
    segment = b"".join(parts)
    keep = data.draw(st.integers(0, len(segment)))
    rubbish = data.draw(st.binary(max_size=40))
    ends = [sum(map(len, parts[: i + 1])) for i in range(len(parts))]
    whole = sum(end <= keep for end in ends)
    found, torn = whole_blocks(segment[:keep] + rubbish)
    assert found[:whole] == [as_tuples(block) for block in blocks[:whole]]
    assert torn or (keep in (0, *ends) and not rubbish) or segment[:keep] + rubbish == segment


def test_every_flipped_bit_is_noticed() -> None:
    blocks = [
        Frames(0, [1, 2], [0, 0], [b"first", b"second"]),
        Frames(2, [3], [0], [b"third" * 20]),
    ]
    segment = b"".join(map(encode_frames, blocks))
    sound = [as_tuples(block) for block in blocks]
    for bit in range(len(segment) * 8):
        damaged = bytearray(segment)
        damaged[bit // 8] ^= 1 << (bit % 8)
        found, torn = whole_blocks(bytes(damaged))
        assert torn
        assert found == sound[: len(found)]


def test_a_hostile_length_allocates_nothing() -> None:
    block = bytearray(encode_frames(Frames(0, [1], [0], [b"x"])))
    block[20:24] = b"\xff\xff\xff\xff"
    with pytest.raises(Torn, match="claims"):
        list(decode(memoryview(block)))


def append(journal: Journal, number: int, size: int = 10) -> None:
    for i in range(number):
        journal.append(0, i, b"%d" % i + b"x" * size)


def payload_count(folder: Path) -> int:
    ordinals = [
        frame
        for segment in read_collector(folder)
        for block in segment.frames
        for frame in range(block.first_frame, block.first_frame + len(block))
    ]
    assert ordinals == list(range(len(ordinals)))
    return len(ordinals)


def test_what_is_committed_is_on_disk_and_segments_follow_each_other(tmp_path: Path) -> None:
    async def scenario() -> None:
        journal = Journal(tmp_path, "c", segment_bytes=2_000)
        journal.new_line(LINE)
        for _ in range(20):
            append(journal, 100)
            await journal.commit()
            assert payload_count(journal.folder) == journal.committed_frame + 1
        await journal.close()
        assert journal.committed_frame == 1999
        assert journal.waiting_bytes == 0
        sealed = journal.take_sealed()
        assert len(sealed) > 3
        assert [s.first_frame for s in sealed][1:] == [s.last_frame + 1 for s in sealed[:-1]]
        # Each can be read alone: it names the line of its frames.
        assert all(read_segment(s.path).lines == {0: LINE} for s in sealed)

    asyncio.run(scenario())


def test_a_cancelled_commit_writes_nothing_twice(tmp_path: Path) -> None:
    async def scenario() -> None:
        journal = Journal(tmp_path, "c", commit_within_s=0.001)
        journal.new_line(LINE)
        for _ in range(30):
            append(journal, 20)
            task = asyncio.create_task(journal.commit_forever())
            await asyncio.sleep(0.002)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await journal.close()
        assert payload_count(journal.folder) == 600

    asyncio.run(scenario())


@pytest.mark.parametrize(("call", "every"), [("pwrite", 40), ("fdatasync", 3), ("open", 3)])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_refuses_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, every: int, number: int
) -> None:
    """A shim over `os`: some calls fail, and pwrite writes short."""
    real, calls = getattr(os, call), 0
    real_pwrite = os.pwrite

    def short_pwrite(fd: int, data: memoryview, at: int) -> int:
        return real_pwrite(fd, data[: max(1, len(data) // 2)], at)

    def refusing(*args: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls % every == 0:
            if call == "pwrite":
                real(args[0], args[1][:7], args[2])
            raise OSError(number, os.strerror(number))
        return (short_pwrite if call == "pwrite" else real)(*args, **named)

    async def scenario() -> None:
        journal = Journal(tmp_path, "c", segment_bytes=200)
        journal.new_line(LINE)
        append(journal, 5)
        await journal.commit()
        monkeypatch.setattr("edc_pipeline.capture.journal.writer._RETRY_S", 0.001)
        monkeypatch.setattr(os, call, refusing)
        for _ in range(12):
            append(journal, 50)
            await journal.commit()
        monkeypatch.undo()
        await journal.close()
        assert calls > 3
        assert payload_count(journal.folder) == 605
        assert journal.problem == ""

    asyncio.run(scenario())


def refused(*_: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


async def five_and_five(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, **refusals: Callable[..., Any]
) -> list[Segment]:
    """Two commits of five frames; the second one's first try is refused, and so is its cut."""
    journal.new_line(LINE)
    append(journal, 5)
    await journal.commit()
    append(journal, 5)
    with monkeypatch.context() as below:
        for call, refusal in {"ftruncate": refused, **refusals}.items():
            below.setattr(os, call, refusal)
        committing = asyncio.create_task(journal.commit())
        await until(lambda: bool(journal.problem))
    await committing
    await journal.close()
    return journal.take_sealed()


def test_what_could_not_be_cut_off_is_cut_when_it_is_archived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a commit reaches the disk, and the cut behind a failed commit fails as well."""
    real = os.pwrite

    def half(fd: int, data: memoryview, at: int) -> int:
        real(fd, data[: len(data) // 2], at)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    segments = asyncio.run(five_and_five(Journal(tmp_path, "c"), monkeypatch, pwrite=half))
    assert [read_segment(s.path).torn != "" for s in segments] == [True, False]
    for segment in segments:
        retire_segment(tmp_path, "c", segment, keep_days=7)
    kept = list(read_archive(tmp_path))
    assert [read.frame_count for read in kept] == [5, 5]
    assert not any(read.torn for read in kept)


def test_a_refused_commit_that_left_all_its_bytes_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written whole, not synced, not cut off again; then in the next segment, and the process dies
    before it has archived any."""
    journal = Journal(tmp_path, "c")
    segments = asyncio.run(five_and_five(journal, monkeypatch, fdatasync=refused))
    assert [read_segment(s.path).frame_count for s in segments] == [10, 5]
    assert payload_count(journal.folder) == 10
    for read in read_collector(journal.folder):
        retire_recovered(tmp_path, "c", read.outline, keep_days=7)
    assert [(r.first_frame, r.last_frame) for r in read_archive(tmp_path)] == [(0, 4), (5, 9)]


def test_what_a_refused_commit_left_is_kept_where_no_other_segment_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same, and the process dies in the middle of writing the next segment."""
    journal = Journal(tmp_path, "c")
    segments = asyncio.run(five_and_five(journal, monkeypatch, fdatasync=refused))
    os.truncate(segments[1].path, segments[1].whole_bytes - 1)
    assert payload_count(journal.folder) == 10
    for read in read_collector(journal.folder):
        retire_recovered(tmp_path, "c", read.outline, keep_days=7)
    assert [(r.first_frame, r.last_frame) for r in read_archive(tmp_path)] == [(0, 9)]
    assert not list(journal.folder.iterdir())


def test_who_looks_on_leaves_out_what_was_archived_since_it_was_listed(tmp_path: Path) -> None:
    async def scenario() -> tuple[Path, list[Segment]]:
        journal = Journal(tmp_path, "c", segment_bytes=1)
        journal.new_line(LINE)
        for _ in range(4):
            append(journal, 5)
            await journal.commit()
        await journal.close()
        return journal.folder, journal.take_sealed()

    folder, segments = asyncio.run(scenario())
    assert len(segments) == 4
    looked_at = read_collector(folder, of_another=True)
    seen = [next(looked_at).first_frame]
    for segment in segments[:2]:
        retire_segment(tmp_path, "c", segment, keep_days=7)
    seen += [read.first_frame for read in looked_at]
    assert seen == [0, 10, 15]
    as_owner = read_collector(folder)
    next(as_owner)
    retire_segment(tmp_path, "c", segments[3], keep_days=7)
    with pytest.raises(FileNotFoundError):
        next(as_owner)


def test_a_segment_whose_move_was_not_made_durable_is_archived_at_the_next_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> Segment:
        journal = Journal(tmp_path, "c")
        journal.new_line(LINE)
        append(journal, 5)
        await journal.close()
        (segment,) = journal.take_sealed()
        return segment

    segment = asyncio.run(scenario())
    spool = tmp_path / "archive"
    retire_segment(spool, "c", segment, keep_days=7)  # the folders are there now
    (moved,) = read_archive(spool)
    moved.path.rename(segment.path)

    real = os.fsync

    def of_folders_refused(descriptor: int) -> None:
        (refused if stat.S_ISDIR(os.fstat(descriptor).st_mode) else real)(descriptor)

    with monkeypatch.context() as below:
        below.setattr(os, "fsync", of_folders_refused)
        with pytest.raises(OSError, match="Input/output"):
            retire_segment(spool, "c", segment, keep_days=7)
    assert not segment.path.exists()
    retire_segment(spool, "c", segment, keep_days=7)
    assert [read.frame_count for read in read_archive(spool)] == [5]
    moved.path.unlink()
    with pytest.raises(FileNotFoundError):  # gone for good is no success
        retire_segment(spool, "c", segment, keep_days=7)


def test_a_real_full_disk_is_waited_out(tmp_path: Path) -> None:
    """A file system of 1 MB, where root may mount one."""
    import subprocess  # noqa: PLC0415

    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small file system here")
    try:
        hog = small / "hog"
        hog.write_bytes(b"\0" * 900_000)

        async def scenario() -> None:
            journal = Journal(small, "c")
            journal.new_line(LINE)
            for i in range(3_000):
                journal.append(0, i, os.urandom(200))
            committing = asyncio.create_task(journal.commit())
            await asyncio.sleep(0.3)
            assert not committing.done()
            assert "No space left" in journal.problem
            assert journal.waiting_bytes == 600_000
            hog.unlink()
            await asyncio.wait_for(committing, 10)
            await journal.close()
            assert payload_count(journal.folder) == 3_000

        asyncio.run(scenario())
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_slow_disk_does_not_hold_up_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set()

    def slow(fd: int) -> None:
        threads.add(threading.current_thread())
        time.sleep(0.2)

    monkeypatch.setattr(os, "fdatasync", slow)

    async def scenario() -> None:
        journal = Journal(tmp_path, "c")
        journal.new_line(LINE)
        append(journal, 10)
        committing = asyncio.create_task(journal.commit())
        beats, end = 0, time.monotonic() + 0.15
        while time.monotonic() < end:
            await asyncio.sleep(0.001)
            append(journal, 1)
            beats += 1
        assert beats > 20
        assert not committing.done()
        await committing
        await journal.close()
        assert payload_count(journal.folder) == 10 + beats
        assert threading.main_thread() not in threads

    asyncio.run(scenario())


def test_a_segment_holds_one_day_of_receipt_and_is_archived_under_it(tmp_path: Path) -> None:
    midnight = midnight_ns(dt.date(2026, 1, 23))
    received = [midnight - 2, midnight - 1, midnight, midnight + 1]

    async def scenario() -> list[Segment]:
        journal = Journal(tmp_path, "c")
        journal.new_line(Line(number=0, name="n", vendor="tiingo", feed="iex", connection="c/n/0"))
        for number, at in enumerate(received):
            journal.append(0, at, b"%d" % number)
        await journal.commit()
        await journal.close()
        return journal.take_sealed()

    for segment in asyncio.run(scenario()):
        retire_segment(tmp_path, "c", segment, keep_days=7)
    for day, wanted in ((22, [b"0", b"1"]), (23, [b"2", b"3"])):
        (read,) = read_archive(tmp_path, dt.date(2026, 1, day))
        assert [p for block in read.frames for p in block.payloads] == wanted
        assert not read.torn
    today = dt.date(2026, 1, 24)
    note = raw_folder(tmp_path, dt.date(2026, 1, 22)) / "why we keep this.txt"
    note.write_text("of somebody else")
    assert retire_old_days(tmp_path, today, keep_days=1) == [dt.date(2026, 1, 22)]
    assert len(list(read_archive(tmp_path))) == 1
    assert note.exists()
    note.unlink()
    retire_old_days(tmp_path, today, keep_days=1)
    assert not note.parent.exists()
