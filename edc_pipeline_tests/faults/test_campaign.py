"""The campaign of faults, bounded: `make faults SECONDS=600` runs a longer one."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from edc_pipeline_tests.cli.calling import environment
from edc_pipeline_tests.faults import shim

SECONDS = float(os.environ.get("SECONDS", "8"))


@pytest.mark.timeout(int(SECONDS) + 200)
def test_faults_that_come_and_go_cost_no_frame() -> None:
    if why := shim.why_not():
        pytest.skip(why)
    done = subprocess.run(
        [sys.executable, "-m", "edc_pipeline_tests.faults.campaign", "--seconds", str(SECONDS)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS + 190,
        check=False,
    )
    print(done.stdout)  # the seed, for whoever has to run it again
    assert done.returncode == 0, done.stderr[-2000:]
    account = json.loads(done.stdout.splitlines()[-1])
    assert account["faults"]
    assert account["frames_received"] > 500
