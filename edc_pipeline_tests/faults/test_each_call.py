"""Whichever single call is refused: nothing half-made is left, and the next try does the work.

Flush, recovery and consolidation run in a process below which a shim says EIO, once: to the first
write, then to the second, and so on through every call of every kind that reaches a file of theirs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edc_pipeline_tests.cli.calling import environment
from edc_pipeline_tests.faults.shim import Faults


# All of recovery's 480 calls take half a minute of CPU: `make faults` refuses every one.
@pytest.mark.parametrize(
    ("work", "every", "at_least"), [("flush", 1, 60), ("recover", 17, 20), ("consolidate", 9, 20)]
)
def test_a_refused_call_leaves_nothing_half_made(
    tmp_path: Path, faults: Faults, work: str, every: int, at_least: int
) -> None:
    words = [work, str(tmp_path), str(every)]
    done = subprocess.run(
        [sys.executable, "-m", "edc_pipeline_tests.faults.each_call", *words],
        env=environment(**faults.environ),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["wrong"] == []
    assert found["refused"] >= at_least
