"""`edc status` says that the disk is full, while it is."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edc_pipeline_tests.capture.test_below_us import mounted
from edc_pipeline_tests.cli.calling import edc, start
from edc_pipeline_tests.cli.test_commands import FEEDS, exchange, until
from edc_pipeline_tests.spool.test_status import stuff

__all__ = ["exchange"]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with mounted("tmpfs", tmp_path) as place:
        yield place


def test_a_full_disk_is_told_while_it_is_full(small: Path, tmp_path: Path, exchange: int) -> None:
    feeds = FEEDS.format(port=exchange).replace("data_dir: data", f"data_dir: {small}/data")
    (tmp_path / "feeds.yaml").write_text(feeds)

    def said() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(edc("status", "--json", cwd=tmp_path).out)
        return found

    def problem() -> str:
        return str((said()["collector"] or {}).get("disk_problem", ""))

    process = start("capture", cwd=tmp_path)
    try:
        until(lambda: bool(said()["capturing"]))
        stuff(small)
        until(lambda: "No space" in problem() or "disk is full" in problem())
        at = said()["collector"]["at"]
        until(lambda: said()["collector"]["at"] > at)  # and says it again
        assert said()["capturing"]
        assert "is full" in said()["problem"]
        assert "the disk refuses:" in edc("status", cwd=tmp_path).out
        for hog in small.glob("hog*"):
            hog.unlink()
        until(lambda: not problem())
    finally:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=40)
    assert process.returncode == 0, err
