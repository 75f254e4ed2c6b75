"""The systemd units agree with the settings and systemd; compose and Postgres with the code."""

from __future__ import annotations

import configparser
import itertools
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from edc_pipeline.settings import Capture

PROJECT = Path(__file__).parents[2]
DEPLOY = PROJECT / "deploy"
UNIT = DEPLOY / "edc-capture.service"
UNITS = ["edc-code", "edc-daemon", "edc-webserver"]


def service(path: Path = UNIT) -> configparser.SectionProxy:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(path.read_text())
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


@pytest.mark.parametrize("name", UNITS)
def test_the_control_room_stays_on_loopback(name: str) -> None:
    said = service(DEPLOY / f"{name}.service")
    assert said["User"] == "edc"
    assert "0.0.0.0" not in said["ExecStart"]
    assert "TOKEN" not in "".join(said.values())
    assert service(DEPLOY / "edc-code.service")["KillMode"] == "control-group"
    assert float(service(DEPLOY / "edc-code.service")["TimeoutStopSec"]) > Capture().drain_seconds


@pytest.mark.parametrize("name", UNITS)
def test_its_commands_are_dagsters(name: str) -> None:
    """Every option is one that this Dagster has."""
    program, *words = service(DEPLOY / f"{name}.service")["ExecStart"].split()
    options = [word for word in words if word.startswith("--")]
    words = list(itertools.takewhile(lambda word: not word.startswith("-"), words))
    command = [str(Path(sys.executable).with_name(Path(program).name)), *words, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert [option for option in options if option not in done.stdout] == []


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_takes_the_control_room(tmp_path: Path) -> None:
    for name in UNITS:
        text = (DEPLOY / f"{name}.service").read_text()
        text = re.sub(r"^ExecStart=\S+", f"ExecStart={shutil.which('true')}", text, flags=re.M)
        (tmp_path / f"{name}.service").write_text(text.replace("=edc\n", "=root\n"))
    shutil.copy(DEPLOY / "edc.target", tmp_path)
    paths = [tmp_path / f"{name}.service" for name in UNITS]
    done = subprocess.run(
        ["systemd-analyze", "verify", *paths], capture_output=True, text=True, check=False
    )
    ours = [line for line in done.stderr.splitlines() if any(name in line for name in UNITS)]
    assert (done.returncode, ours) == (0, [])


def test_one_code_location_and_one_port() -> None:
    (project,) = yaml.safe_load((PROJECT / "workspace.yaml").read_text())["load_from"]
    for name, host in (("workspace.yaml", "127.0.0.1"), ("workspace.compose.yaml", "code")):
        (location,) = yaml.safe_load((DEPLOY / name).read_text())["load_from"]
        server = location["grpc_server"]
        assert server["location_name"] == project["python_module"]["location_name"]
        assert server["host"] == host
        assert f"--port {server['port']}" in service(DEPLOY / "edc-code.service")["ExecStart"]


def test_compose_publishes_nothing_but_the_ui_on_loopback() -> None:
    composed = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert set(composed) == {"code", "daemon", "webserver", "postgres"}
    assert [s.get("ports") for s in composed.values() if "ports" in s] == [["127.0.0.1:3000:3000"]]
    for name in ("code", "daemon", "webserver"):
        for volume in composed[name]["volumes"]:
            source = volume.split(":")[0]
            # Of the project, or a volume; feeds.yaml is the operator's.
            assert (
                not source.startswith(".")
                or source == "../feeds.yaml"
                or (DEPLOY / source).exists()
            ), source


def test_compose_has_the_projects_dagster_yaml_with_postgres() -> None:
    """Make it anew: cat dagster.yaml deploy/postgres.yaml > deploy/dagster.compose.yaml"""
    wanted = (PROJECT / "dagster.yaml").read_text() + (DEPLOY / "postgres.yaml").read_text()
    assert (DEPLOY / "dagster.compose.yaml").read_text() == wanted
