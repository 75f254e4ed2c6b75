"""A disk that fills at any point of the work: the former file stands, and the reason is told."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edc_pipeline.consolidation.disk import Disk
from edc_pipeline.consolidation.errors import CannotConsolidate
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.consolidation.names import Order, daily_file
from edc_pipeline.consolidation.verification import verify
from edc_pipeline_tests.consolidation.spools import DAY, OPEN, event, frames, write_batches

SIZES_KIB = (200, 260, 330, 420, 520, 640, 800, 1000, 1400, 3000)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, in memory, which can be made larger."""
    folder = tmp_path / "disk"
    folder.mkdir()
    call = ["mount", "-t", "tmpfs", "-o", f"size={SIZES_KIB[0]}k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(call, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount here")
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def resize(folder: Path, kib: int) -> None:
    call = ["mount", "-o", f"remount,size={kib}k", str(folder)]
    subprocess.run(call, check=True, capture_output=True)


@pytest.mark.parametrize("order", ["time", "symbol"])
def test_a_disk_that_fills(tmp_path: Path, small_disk: Path, order: Order) -> None:
    dice = np.random.default_rng(1)
    former, spool = tmp_path / "former", tmp_path / "spool"
    first = frames([[event(ts_event=OPEN + i, price=i / 7)] for i in range(300)])
    rest = frames(
        [
            [event(ts_event=OPEN + i * 997, price=float(p), size=float(s), symbol=f"S{i % 40}")]
            for i, (p, s) in enumerate(dice.random((25_000, 2)))
        ],
        "b",
        10**6,
    )
    write_batches(former, [first])
    write_batches(spool, [first, rest[:12_000], rest[12_000:]])
    path = daily_file(small_disk, "trade", DAY)
    consolidate(former, small_disk, "trade", DAY, rules={}, order=order)
    before = path.read_bytes()
    outcomes: Counter[str] = Counter()
    for kib in SIZES_KIB:
        resize(small_disk, kib)
        try:
            made = consolidate(spool, small_disk, "trade", DAY, rules={}, order=order)
        except CannotConsolidate as error:
            told = str(error)
            outcomes["told" if "No space left on device" in told else told] += 1
            outcomes["former stays"] += "A daily file made before stays" in told
            assert path.read_bytes() == before
            left = [p.name for p in small_disk.iterdir() if p.name.endswith((".tmp", ".scratch"))]
            assert left == []
        else:
            outcomes["made"] += 1
            assert made.certificate.rows == 25_300
            assert verify(path, spool).ok
    assert outcomes["told"] == outcomes["former stays"] >= 3, outcomes
    assert set(outcomes) == {"told", "former stays", "made"}


def test_nothing_is_written_after_a_refusal(small_disk: Path) -> None:
    """HDF5 is told that all is well, so that it closes in peace; whoever asks hears the truth."""
    path = small_disk / "x"
    path.touch()
    disk = Disk(path)
    room = bytes(100_000)
    for _ in range(5):
        assert disk.write(room) == len(room)
    assert disk.refusal is not None
    assert disk.seek(0) == 0
    assert disk.write(b"late") == 4
    with pytest.raises(OSError, match="No space left"):
        disk.check()
    disk.close()
    assert path.read_bytes()[:4] == bytes(4)
