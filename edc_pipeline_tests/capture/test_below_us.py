"""What lies below the collector misbehaves: a real small file system that fills up, a disk that
writes half, refuses or dawdles, a clock that jumps. Nothing is lost, and all of it is told.

The file systems are a tmpfs and an ext4 in a file, mounted where root may; short writes, EIO and
slow fsyncs are put between Python and the kernel (`os.pwrite`, `os.fdatasync`, `os.fsync`), so they
reach the journal and every durable file, and not the C code of SQLite and Arrow: for those, see
`edc_pipeline_tests/faults`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edc_pipeline.capture import flusher
from edc_pipeline.capture.collector import Collector
from edc_pipeline.capture.journal import writer
from edc_pipeline.capture.recovery import recover
from edc_pipeline.settings import Settings
from edc_pipeline.simulator.exchange import Exchange
from edc_pipeline_tests.capture.test_collector import (
    NOON,
    STOCKS,
    contents_of,
    expected_contents,
    ledger_adds_up,
    rows_in,
    run,
    scripted,
    settings_for,
    until,
)

FRAMES = 4_000
FLOOD = 30_000  # more than what may wait, and what sockets hold
SMALL_BYTES = 3 << 20


@contextmanager
def mounted(kind: str, folder: Path) -> Iterator[Path]:
    """A small file system of its own; skips where nobody may mount one."""
    place = folder / "small"
    place.mkdir()
    if kind == "tmpfs":
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_BYTES}", "tmpfs", str(place)]
    else:
        image = folder / "image"
        image.write_bytes(b"\0" * (4 * SMALL_BYTES))
        made = subprocess.run(["mkfs.ext4", "-q", str(image)], capture_output=True, check=False)
        if made.returncode:
            pytest.skip("no ext4 can be made here")
        mount = ["mount", "-o", "loop", str(image), str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip(f"no right to mount a {kind} here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(folder: Path, *, but: int) -> Path:
    """A file that leaves so many bytes free."""
    hog = folder / "hog"
    free = os.statvfs(folder)
    hog.write_bytes(b"\0" * max(0, free.f_bavail * free.f_frsize - but))
    return hog


async def heard(collector: Collector, capturing: asyncio.Task[None], wanted: int) -> None:
    """Until so many events were heard; what ended capture before that is raised."""
    await until(lambda: capturing.done() or sum(collector.report().events.values()) >= wanted, 40)
    if capturing.done():
        capturing.result()
        raise AssertionError("capture ended")


def quick(exchange: Exchange, folder: Path, **capture: Any) -> Settings:
    rules = {"flush_rows": 400, "flush_seconds": 0.2, "waiting_rows": 1_000, **capture}
    return settings_for(exchange, folder, stocks=STOCKS, capture=rules)


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_a_disk_that_fills_up_is_waited_out_and_nothing_is_lost(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flusher, "_RETRY_DISK_S", 0.1)
    monkeypatch.setattr(writer, "_RETRY_S", 0.1)

    async def scenario(small: Path) -> None:
        async with Exchange(scripted(FLOOD, 1)) as exchange:
            settings = quick(exchange, small)
            hog = fill(small, but=300_000)
            collector, stop = Collector(settings, "c1"), asyncio.Event()
            capturing = asyncio.create_task(collector.run(stop))
            # The journal and micro-batches say it so, SQLite so.
            full = ("No space", "disk is full")
            await until(lambda: any(told in collector.report().disk_problem for told in full))
            await asyncio.sleep(1.0)  # it stays full, and the sockets are not read
            held = sum(collector.report().events.values())
            assert held < FLOOD
            await asyncio.sleep(0.5)
            assert held == sum(collector.report().events.values())
            hog.unlink()
            await heard(collector, capturing, FLOOD)
            await until(lambda: not collector.report().disk_problem)
            stop.set()
            await capturing
            assert contents_of(rows_in(settings.spool)) == expected_contents(
                exchange, with_copies=True
            )
            ledger_adds_up(settings)
            assert not list(settings.spool.rglob(".*.tmp"))

    with mounted(kind, tmp_path) as small:
        run(lambda: scenario(small))


class FaultyDisk:
    """Writes half of it, refuses, or takes its time: each once at the first occasion, and from then
    on as its seed says. It counts what it did."""

    def __init__(self, seed: int, share: float) -> None:
        self.short = self.refused = self.slow = 0
        self._random = random.Random(seed)
        self._share = share
        self._pwrite, self._fdatasync, self._fsync = os.pwrite, os.fdatasync, os.fsync

    def strikes(self, before: int) -> bool:
        return self._random.random() < self._share or not before

    def pwrite(self, descriptor: int, data: Any, at: int) -> int:
        if self.strikes(self.refused):
            self.refused += 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if len(data) > 1 and (self._random.random() < 0.5 or not self.short):
            self.short += 1
            data = data[: self._random.randrange(1, len(data))]
        return self._pwrite(descriptor, data, at)

    def _sync(self, sync: Any, descriptor: int) -> None:
        if self.strikes(self.refused):
            self.refused += 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if self.strikes(self.slow):
            self.slow += 1
            time.sleep(0.2)
        sync(descriptor)

    def fdatasync(self, descriptor: int) -> None:
        self._sync(self._fdatasync, descriptor)

    def fsync(self, descriptor: int) -> None:
        self._sync(self._fsync, descriptor)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_short_writes_errors_and_slow_syncs_cost_no_frame(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flusher, "_RETRY_DISK_S", 0.05)
    monkeypatch.setattr(writer, "_RETRY_S", 0.02)
    disk = FaultyDisk(seed, share=0.15)

    async def scenario() -> None:
        async with Exchange(scripted(FRAMES, 1)) as exchange:
            settings = quick(exchange, tmp_path, segment_mib=0.05)
            collector, stop = Collector(settings, "c1"), asyncio.Event()
            capturing = asyncio.create_task(collector.run(stop))
            await heard(collector, capturing, 1)  # a start on a bad disk fails, and says so
            with monkeypatch.context() as below:
                for name in ("pwrite", "fdatasync", "fsync"):
                    below.setattr(os, name, getattr(disk, name))
                await heard(collector, capturing, FRAMES)
                await until(lambda: bool(disk.refused and disk.short and disk.slow))
            stop.set()
            await capturing
            recover(settings.spool, settings.capture, lambda: NOON)
            assert contents_of(rows_in(settings.spool)) == expected_contents(
                exchange, with_copies=True
            )
            ledger_adds_up(settings)

    run(scenario)


def test_a_clock_that_jumps_costs_no_frame(tmp_path: Path) -> None:
    """Back an hour, on two days, and back again: times of receipt are what the clock said."""
    jumps = [0, -3_600, 2 * 86_400, -60]
    jump_s = 0

    def clock() -> int:
        return NOON + jump_s * 10**9

    async def scenario() -> None:
        nonlocal jump_s
        async with Exchange(scripted(FRAMES, 1)) as exchange:
            settings = quick(exchange, tmp_path)
            collector, stop = Collector(settings, "c1", clock=clock), asyncio.Event()
            capturing = asyncio.create_task(collector.run(stop))
            for number, jump in enumerate(jumps, 1):
                jump_s = jump
                await heard(collector, capturing, FRAMES * number // len(jumps))
            stop.set()
            await capturing
            rows = rows_in(settings.spool)
            assert contents_of(rows) == expected_contents(exchange, with_copies=True)
            ledger_adds_up(settings)
            assert {row["created_at"] for _, row in rows} <= {NOON + j * 10**9 for j in jumps}
            assert len({row["created_at"] for _, row in rows}) > 1

    run(scenario)


@pytest.mark.parametrize("turns", range(6))
def test_a_flusher_that_is_woken_while_it_is_cancelled_ends(tmp_path: Path, turns: int) -> None:
    """`asyncio.wait_for` lost the cancel when the event came in the same turn of the loop: a drain
    then waited until its time was up."""

    async def scenario() -> None:
        flusher = Collector(Settings(data_dir=tmp_path, feeds={}), "c1")._flusher
        flushing = asyncio.create_task(flusher.flush_when_due())
        await asyncio.sleep(0.01)
        flusher._much_waits.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        flushing.cancel()
        await asyncio.wait({flushing}, timeout=5)
        assert flushing.cancelled()

    run(scenario)
