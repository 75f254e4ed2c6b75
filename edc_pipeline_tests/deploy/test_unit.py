"""The systemd unit agrees with the settings and with systemd."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from edc_pipeline.settings import Capture

UNIT = Path(__file__).parents[2] / "deploy" / "edc-capture.service"


def service() -> configparser.SectionProxy:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(UNIT.read_text())
    return unit["Service"]


def test_it_drains_reloads_and_keeps_the_key_out_of_the_unit() -> None:
    said = service()
    assert float(said["TimeoutStopSec"]) > Capture().drain_seconds
    assert said["KillSignal"] == "SIGTERM"
    assert "-HUP" in said["ExecReload"]
    assert said["RestartPreventExitStatus"] == "2"
    assert "EnvironmentFile" in said
    assert "TOKEN" not in "".join(said.values())


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_takes_it(tmp_path: Path) -> None:
    """With a program and a user that are on this machine."""
    text = UNIT.read_text().replace("/opt/edc/bin/edc capture", shutil.which("true") or "")
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace("=edc\n", "=root\n"))
    done = subprocess.run(
        ["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False
    )
    ours = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert (done.returncode, ours) == (0, [])
