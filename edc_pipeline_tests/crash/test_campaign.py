"""The crash campaign, bounded: `make crash KILLS=2000` runs a longer one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edc_pipeline_tests.cli.calling import environment

KILLS = int(os.environ.get("KILLS", "200"))


@pytest.mark.timeout(600)
def test_no_frame_is_lost_or_twice_after_many_kills() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edc_pipeline_tests.crash.campaign", "--kills", str(KILLS)],
        cwd=Path(__file__).parents[2],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=590,
        check=False,
    )
    print(done.stdout)  # the seed, for whoever has to run it again
    account = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stderr[-2000:]
    assert account["kills"] == KILLS
    assert account["frames_received"] > 10 * KILLS
