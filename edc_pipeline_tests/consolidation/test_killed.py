"""kill -9 at any instant, and two at once: the former file stands, or the new one does."""

from __future__ import annotations

import multiprocessing
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from edc_pipeline.consolidation import growth
from edc_pipeline.consolidation.certificate import read_certificate
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.consolidation.names import daily_file, version_files
from edc_pipeline.consolidation.verification import verify
from edc_pipeline_tests.consolidation.spools import DAY, OPEN, event, frames, split, write_batches

# 0.3 s each on a quiet machine; EDC_CONSOLIDATION_KILLS=2000 for a campaign.
KILLS = int(os.environ.get("EDC_CONSOLIDATION_KILLS", "200" if "CI" in os.environ else "40"))

# Says when it begins, so that a kill falls into the work and not into a second of imports.
WORK = """
import sys
from pathlib import Path
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.market_day import parse_day
print("begin", flush=True)
consolidate(Path(sys.argv[1]), Path(sys.argv[2]), "trade", parse_day(sys.argv[3]), rules={})
print("end", flush=True)
"""


def _consolidate(spool: Path, out: Path) -> None:
    consolidate(spool, out, "trade", DAY, rules={})


@pytest.mark.timeout(900)
def test_killed_at_random_instants(tmp_path: Path) -> None:
    """Two spools by turns, so that every run has something to write and a former file to keep."""
    rows = frames(
        [[event(ts_event=OPEN + i, symbol=f"S{i % 9}", price=i / 7)] for i in range(40_000)]
    )
    out, spools, known, took = tmp_path / "daily", [], {}, 0.0
    for number, day in enumerate((rows[:30_000], rows)):
        spool = tmp_path / f"spool{number}"
        write_batches(spool, split(day, 8))
        whole = consolidate(spool, tmp_path / f"whole{number}", "trade", DAY, rules={})
        known[whole.certificate.content_hash] = spool
        took = max(took, sum(whole.seconds.values()))
        spools.append(spool)
    # Forked from a process that has imported all and begun nothing: 0.05 s a kill instead of 1.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["edc_pipeline.consolidation.make", "pandas"])
    dice = random.Random(3)
    path, seen = daily_file(out, "trade", DAY), Counter[str]()
    for number in range(KILLS):
        worker = context.Process(target=_consolidate, args=(spools[number % 2], out))
        worker.start()
        worker.join(dice.uniform(0, 2.0 * took))
        worker.kill()
        worker.join()
        seen["finished" if worker.exitcode == 0 else "killed"] += 1
        if path.exists():
            # The seal speaks for every byte.
            assert read_certificate(path).content_hash in known
            if number % 25 == 0:
                assert verify(path).ok
    assert seen["killed"] > KILLS / 10, seen
    # Whoever comes next finishes the work and clears up.
    last = consolidate(spools[1], out, "trade", DAY, rules={})
    assert known[last.certificate.content_hash] == spools[1]
    assert [f for f in verify(last.path, spools[1]).findings if f.severity == "error"] == []
    assert [p.name for p in out.iterdir() if p.name.endswith((".tmp", ".scratch"))] == []
    inodes = {p.stat().st_ino for p in [last.path, *version_files(last.path)]}
    assert len(inodes) == 1 + len(version_files(last.path))


def _grow(spool: Path, out: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(growth, "GROWN_ROWS", 0)
        consolidate(spool, out, "trade", DAY, rules={}, now_ns=OPEN)


@pytest.mark.timeout(900)
def test_killed_while_a_day_grows(spool: Path, out: Path, tmp_path: Path) -> None:
    """The former file, of which the new one is made, stands until that does."""
    rows = frames(
        [[event(ts_event=OPEN + i, symbol=f"S{i % 9}", price=i / 7)] for i in range(60_000)]
    )
    write_batches(spool, [rows[i : i + 5_000] for i in range(0, 50_000, 5_000)])
    former = consolidate(spool, out, "trade", DAY, rules={}, now_ns=OPEN)
    path, before = former.path, former.path.read_bytes()
    write_batches(spool, [rows[50_000:]], first_number=10)
    whole = consolidate(spool, tmp_path / "whole", "trade", DAY, rules={}, now_ns=OPEN)
    known = {former.certificate.content_hash, whole.certificate.content_hash}
    took = sum(whole.seconds.values())
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["edc_pipeline.consolidation.make", "pandas"])
    dice, seen = random.Random(5), Counter[str]()
    for number in range(KILLS // 2):
        worker = context.Process(target=_grow, args=(spool, out))
        worker.start()
        worker.join(dice.uniform(0, 2.0 * took))
        worker.kill()
        worker.join()
        seen["finished" if worker.exitcode == 0 else "killed"] += 1
        assert read_certificate(path).content_hash in known
        if number % 25 == 0:
            assert verify(path).ok
        if worker.exitcode == 0:
            path.write_bytes(before)
    assert seen["killed"] > KILLS / 20, seen
    _grow(spool, out)
    assert read_certificate(path) == whole.certificate
    assert [f for f in verify(path, spool).findings if f.severity == "error"] == []
    assert [p.name for p in out.iterdir() if p.name.endswith((".tmp", ".scratch"))] == []


def test_two_processes_at_once(spool: Path, out: Path) -> None:
    rows = frames([[event(ts_event=OPEN + i, price=i / 7)] for i in range(20_000)])
    write_batches(spool, split(rows, 8))
    call = [sys.executable, "-c", WORK, str(spool), str(out), DAY.isoformat()]
    workers = [subprocess.Popen(call, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [w.communicate()[0] for w in workers] == ["begin\nend\n"] * 3
    path = daily_file(out, "trade", DAY)
    assert verify(path, spool).findings == []
    assert version_files(path) == []  # the others found it made, and did not touch it
