"""What `edc dev` says when it can't start, and what it chooses; no Dagster is started here."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edc_pipeline.cli.dev import _NOISE, HOST, LOCK, dev
from edc_pipeline.cli.dev_processes import HomeIsTaken, hold_lock
from edc_pipeline_tests.defs.conftest import write_feeds
from edc_pipeline_tests.defs.control_room import REPOSITORY, free_port


@pytest.fixture(autouse=True)
def _stays_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)  # `edc dev` goes there; the test comes back


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as somebody:
        somebody.bind((HOST, 0))
        somebody.listen()
        yield somebody.getsockname()[1]


def called(*arguments: str) -> Result:
    return CliRunner().invoke(dev, arguments)


def test_a_taken_port_is_told_with_the_remedy(data: Path, tmp_path: Path, taken_port: int) -> None:
    said = called("--port", str(taken_port), "--home", str(tmp_path / "home"))
    assert said.exit_code == 2
    assert f"port {taken_port} on 127.0.0.1 is taken" in said.output
    assert f"edc dev --port {taken_port + 1}" in said.output


def test_a_taken_home_is_told_with_the_remedy(data: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with hold_lock(home / LOCK):
        said = called("--port", str(free_port()), "--home", str(home))
    assert said.exit_code == 2
    assert "another `edc dev`" in said.output
    assert "--home" in said.output


def test_a_missing_key_is_told(data: Path, tmp_path: Path) -> None:
    write_feeds(tmp_path, "wss://api.tiingo.com/iex")
    said = called("--home", str(tmp_path / "home"))
    assert said.exit_code == 2
    assert "EDC_TIINGO_TOKEN is not set" in said.output


def test_wrong_settings_are_told(data: Path, tmp_path: Path) -> None:
    (tmp_path / "feeds.yaml").write_text("feeds: {stocks: {vendor: tingo, feed: iex}}\n")
    said = called("--home", str(tmp_path / "home"))
    assert said.exit_code == 2
    assert "did you mean 'tiingo'" in said.output


def test_a_lock_ends_with_its_holder(tmp_path: Path) -> None:
    with hold_lock(tmp_path / LOCK), pytest.raises(HomeIsTaken), hold_lock(tmp_path / LOCK):
        pass
    with hold_lock(tmp_path / LOCK):
        pass


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("2026-01-22 09:30:00 +0000 - dagster - DEBUG - capture - RUN_START", False),
        ("2026-01-22 09:30:00 +0000 - dagster - ERROR - capture - RUN_FAILURE", True),
        ('  File "op.py", line 1', False),
        ("dagster._core.definitions.events.Failure: no micro-batches of trade", True),
        ("2026-01-22 09:30:00,000 WARNING stocks: closed with code 1006", True),
        ("SensorDaemon - INFO - Sensor keep_capture_running skipped: capture is live", False),
        ("SensorDaemon - INFO - Sensor keep_capture_running skipped: capture can't start", True),
        ("SensorDaemon - INFO - Sensor tell_what_is_wrong skipped: nothing is wrong. EDC_", False),
        ("SensorDaemon - INFO - Sensor tell_what_is_wrong skipped: nobody captures", True),
    ],
)
def test_the_log_is_readable(line: str, shown: bool) -> None:
    assert (_NOISE.search(line) is None) is shown
