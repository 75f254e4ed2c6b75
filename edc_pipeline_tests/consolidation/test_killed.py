"""kill -9 at any instant, and two at once: the former file stands, or the new one does."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from edc_pipeline.consolidation import consolidate, daily_file, verify
from edc_pipeline.consolidation.names import version_files
from edc_pipeline_tests.consolidation.spools import DAY, OPEN, event, frames, split, write_batches

KILLS = 10

# Says when it begins, so that a kill falls into the work and not into a second of imports.
WORK = """
import sys
from pathlib import Path
from edc_pipeline.consolidation import consolidate
from edc_pipeline.market_day import parse_day
print("begin", flush=True)
consolidate(Path(sys.argv[1]), Path(sys.argv[2]), "trade", parse_day(sys.argv[3]), rules={})
print("end", flush=True)
"""


def test_killed_at_random_instants(spool: Path, out: Path) -> None:
    dice = random.Random(3)
    known: set[str] = set()
    took = 0.2
    for number in range(KILLS):
        rows = frames(
            [
                [event(ts_event=OPEN + number * 10**9 + i, symbol=f"S{i % 9}", price=i / 7)]
                for i in range(1500)
            ],
            first_frame=number * 1500,
        )
        write_batches(spool, split(rows, 8), first_number=number * 8)
        # What a whole run would make, so that the file is known to be the former or this one.
        whole = consolidate(spool, out.with_name("whole"), "trade", DAY, rules={})
        known.add(whole.certificate.content_hash)
        took = sum(whole.seconds.values())
        with subprocess.Popen(
            [sys.executable, "-c", WORK, spool, out, DAY.isoformat()],
            stdout=subprocess.PIPE,
            text=True,
        ) as worker:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "begin\n"
            time.sleep(dice.uniform(0, 1.3 * took))
            worker.send_signal(signal.SIGKILL)
        path = daily_file(out, "trade", DAY)
        if path.exists():
            verified = verify(path)
            assert verified.ok, verified.findings
            assert verified.certificate is not None
            assert verified.certificate.content_hash in known
    # Whoever comes next finishes the work and clears up.
    last = consolidate(spool, out, "trade", DAY, rules={})
    assert last.certificate.content_hash == whole.certificate.content_hash
    assert verify(last.path, spool).findings == []
    assert [p.name for p in out.iterdir() if p.name.endswith(".tmp")] == []
    assert len({p.stat().st_ino for p in [last.path, *version_files(last.path)]}) == 1 + len(
        version_files(last.path)
    )


def test_two_processes_at_once(spool: Path, out: Path) -> None:
    rows = frames([[event(ts_event=OPEN + i, price=i / 7)] for i in range(20_000)])
    write_batches(spool, split(rows, 8))
    call = [sys.executable, "-c", WORK, str(spool), str(out), DAY.isoformat()]
    workers = [subprocess.Popen(call, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [w.communicate()[0] for w in workers] == ["begin\nend\n"] * 3
    path = daily_file(out, "trade", DAY)
    assert verify(path, spool).findings == []
    assert version_files(path) == []  # the others found it made, and did not touch it
