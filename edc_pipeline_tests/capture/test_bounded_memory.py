"""What waits for the spool takes a bounded part of memory, in capture and in recovery, however
large or small the frames are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from edc_pipeline.capture import flush as flush_module
from edc_pipeline.capture import flusher as flusher_module
from edc_pipeline.capture.collector import Collector
from edc_pipeline.capture.exposition import CaptureFigures, registry_of
from edc_pipeline.capture.flush import FLUSH_BYTES, flush
from edc_pipeline.capture.queues import Queues, Waiting
from edc_pipeline.capture.recovery import recover
from edc_pipeline.cli.status import _of_late
from edc_pipeline.settings import Settings
from edc_pipeline.spool.layout import batch_name, quarantine_files
from edc_pipeline.spool.ledger import Ledger
from edc_pipeline.spool.quarantine import read_quarantine_file
from edc_pipeline.vendors.contract import quarantined
from edc_pipeline_tests.capture.test_collector import run, until
from edc_pipeline_tests.capture.test_segments_read import (
    DAY,
    LINE,
    MB,
    NOON,
    RULES,
    SOURCE,
    peak_bytes,
    write_journal,
)


def rubbish(number: int, size: int = 2_000) -> bytes:
    return b'{"torn' + b"%d" % number + b"y" * size


def put(queues: Queues, frames: Iterable[bytes]) -> None:
    for payload in frames:
        frame = queues.waiting.last_frame + 1
        reading = quarantined(f"the JSON ends at byte {frame}: a value is missing")
        queues.put(frame, SOURCE, LINE.connection, reading, payload, NOON)


@pytest.mark.parametrize("undone", [0, 150])
def test_recovery_flushes_at_the_bytes_at_which_a_collector_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undone: int
) -> None:
    """But does a flush that was interrupted again as one, so that its file replaces itself."""
    frames = [rubbish(n) for n in range(400)]
    write_journal(tmp_path, [frames[:200], frames[200:]])
    if undone:
        queues = Queues()
        put(queues, frames[:undone])
        with monkeypatch.context() as here:
            here.setattr(Ledger, "flushed", lambda *_, **__: None)
            flush(tmp_path, "c", queues.take(), NOON, [LINE])
    monkeypatch.setattr(flush_module, "FLUSH_BYTES", 100_000)
    (done,) = recover(tmp_path, RULES, lambda: NOON)
    assert done.frames == 400
    files = quarantine_files(tmp_path, DAY)
    kept = [read_quarantine_file(path).frames for path in files]
    assert [f.payload for one in kept for f in one] == frames
    if undone:
        assert files.pop(0).name == batch_name("c", 0, undone - 1)
        assert len(kept.pop(0)) == undone
    sizes = [sum(len(f.payload) for f in one) for one in kept]
    assert len(sizes) > 4
    assert all(size < 100_000 + len(frames[-1]) for size in sizes)
    assert Ledger(tmp_path).frames()[SOURCE].quarantined == 400


@pytest.mark.parametrize("size", [4, 100_000])
def test_frames_that_wait_for_the_quarantine_are_counted_as_they_lie_in_memory(size: int) -> None:
    number, queues = 40 * MB // (size + 800), Queues()
    taken = peak_bytes(lambda: put(queues, (rubbish(n, size) for n in range(number))))
    assert 0.9 * taken < queues.waiting.byte_count < 1.2 * taken


def figure(name: str, registry: CollectorRegistry) -> str:
    lines = generate_latest(registry).decode().splitlines()
    (told,) = [line for line in lines if line.startswith(f"{name} ")]
    return told.split()[1]


def test_sockets_are_not_read_while_the_quarantine_can_not_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is being written counts with what waits behind it."""
    refuses, flushes = True, list[Waiting]()

    def stubborn(spool: Path, collector: str, taken: Waiting, *rest: object) -> list[Path]:
        flushes.append(taken)
        if refuses:
            raise OSError(5, "Input/output error")
        return flush(spool, collector, taken, NOON, [LINE])

    monkeypatch.setattr(flusher_module, "flush", stubborn)
    monkeypatch.setattr(flusher_module, "_RETRY_DISK_S", 0.01)

    async def scenario() -> None:
        nonlocal refuses
        collector = Collector(Settings(data_dir=tmp_path, feeds={}), "c")
        flusher, queues = collector._flusher, collector._queues
        flushing, sent = asyncio.create_task(flusher.flush_when_due()), 0
        while flusher.has_room():
            put(queues, [rubbish(sent, MB)])
            sent += 1
            if sent == FLUSH_BYTES // MB:  # the flush begins before its time, and is refused
                await until(lambda: bool(flushes))
        assert not flusher.reading
        assert flushes[0].last_frame == sent // 2 - 1
        assert sent == 2 * FLUSH_BYTES // MB
        told = collector.report()
        assert (told.waiting_rows, told.waiting_bytes // MB) == (0, 64)
        assert "Input/output" in told.disk_problem
        assert "67.1 MB for the quarantine wait" in str(_of_late(msgspec.to_builtins(told)).title)
        registry = registry_of(CaptureFigures(collector.totals, collector.latencies))
        assert float(figure("edc_waiting_bytes", registry)) == told.waiting_bytes
        refuses = False
        await asyncio.wait_for(flusher.room(), 20)
        flushing.cancel()
        await asyncio.gather(flushing, return_exceptions=True)
        await flusher.finish()
        await flusher.flush()
        assert collector.report().waiting_bytes == 0
        kept = [read_quarantine_file(p).frames for p in quarantine_files(tmp_path / "spool", DAY)]
        assert sum(map(len, kept)) == sent

    run(scenario)
