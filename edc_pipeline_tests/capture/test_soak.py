"""The soak (`make soak`), bounded: a real `edc capture` at 20,000 events/s for a few seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(150)
def test_every_frame_is_accounted_for_and_handles_are_given_back(tmp_path: Path) -> None:
    plot = tmp_path / "soak.svg"
    words = ["--minutes", "0.1", "--every", "1", "--plot", str(plot), "--keep", str(tmp_path / "s")]
    ran = subprocess.run(
        [sys.executable, "benchmarks/soak.py", *words],
        cwd=CHECKOUT,
        env={"PYTHONPATH": str(CHECKOUT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=140,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told["frames_sent"] == told["ledger"] == told["rows"] == told["archive"] == 120_000
    assert told["gaps"] == 0
    lowest, highest = told["handles"]
    assert highest - lowest <= 5
    assert "<polyline" in plot.read_text()
