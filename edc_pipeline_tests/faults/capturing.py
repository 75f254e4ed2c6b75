"""`edc capture` in a process of its own, with a disk that a test can make refuse."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from edc_pipeline.settings import Settings
from edc_pipeline.spool.status import read_status
from edc_pipeline_tests.capture.calling import ENVIRON
from edc_pipeline_tests.cli.calling import environment
from edc_pipeline_tests.crash.account import FIRST_MARK, MARK, Account, Life
from edc_pipeline_tests.faults.shim import Faults

PATIENCE_S = 30.0


class Capturing:
    """One life. What it says goes to `log`."""

    def __init__(
        self, settings: Settings, folder: Path, number: int, faults: Faults, *more: str
    ) -> None:
        self.life = Life(folder / f"marks-{number}", killed_at=2**62)
        self.log = folder / f"log-{number}"
        self._spool = settings.spool
        self.folder = folder
        self.config = folder / "feeds.yaml"
        self.config.write_text(json.dumps(settings.model_dump(mode="json", exclude_defaults=True)))
        words = [str(self.life.marks), "capture", "--config", str(self.config), "--json", *more]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "edc_pipeline_tests.faults.life", *words],
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=environment(**ENVIRON, **faults.environ),
                cwd=folder,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    @property
    def said(self) -> str:
        return self.log.read_text()

    @property
    def status(self) -> dict[str, Any]:
        """Its own word, if it is the one who spoke last."""
        found = read_status(self._spool) or {}
        return found if found.get("pid") == self.process.pid else {}

    @property
    def frames(self) -> int:
        return sum(feed["frames"] for feed in self.status.get("feeds", ()))

    @property
    def has_received(self) -> bool:
        """By its marks, which no fault is below."""
        try:
            marks = self.life.marks.read_bytes()[FIRST_MARK : FIRST_MARK + MARK.size]
        except FileNotFoundError:
            return False
        return any(marks)

    def until(self, what: Callable[[], object], told: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while not what():
            assert self.process.poll() is None, f"{told}: it ended by itself:\n{self.said[-3000:]}"
            assert time.monotonic() < end, f"{told}: {PATIENCE_S:g} s\n{self.said[-3000:]}"
            time.sleep(0.01)

    def until_flushed(self, told: str) -> None:
        """Until a flush that began after this came through, and no disk is in the way."""
        for _ in range(2):  # one may be under way
            self._until_changed("flushed_at", told)
        self.until(lambda: self.status.get("disk_problem") == "", told)

    def _until_changed(self, name: str, told: str) -> None:
        was = self.status.get(name)
        self.until(lambda: self.status.get(name) != was, told)

    def asked_to_end(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def ended(self) -> int:
        """Its exit code."""
        return self.process.wait(PATIENCE_S * 3)

    def killed(self) -> None:
        self.process.kill()
        self.process.wait()
        # What was waiting for a disk that refused is lost with the process: by no promise of ours.
        self.life.killed_at, self.life.noise_ms = time.time_ns(), float("inf")

    def tracebacks(self) -> list[str]:
        return re.findall(r"Traceback.*?(?=\n\S*\d{4}-|\Z)", self.said, re.DOTALL)


def right(account: Account) -> bool:
    """Whether nothing is lost, twice, torn or unaccounted for."""
    counts = (account.lost_acknowledged, account.lost_beyond_commit, account.twice)
    return not (any(counts) or account.torn or account.unaccounted or account.out_of_balance)
