"""What was spent is on the disk before it is sent, whatever the disk does and whoever is let go."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
from pathlib import Path

import pytest

from edc_pipeline.capture import spent as spent_module
from edc_pipeline.capture.spent import Spent
from edc_pipeline.spool.layout import BUDGETS
from edc_pipeline.transports.budget import Limit
from edc_pipeline_tests.capture.test_collector import until

NOON = 1_769_101_200_000_000_000
LIMITS = [Limit(100, "day")]


def kept(spool: Path) -> int:
    """Requests, by the file."""
    (key,) = json.loads((spool / BUDGETS).read_bytes()).values()
    return sum(key["day"].values())


def test_a_feed_that_is_let_go_in_the_middle_of_a_write_does_not_undo_what_comes_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its write would come last, with what it knew, or meet the next one in one temporary file."""
    real, slow = Path.write_bytes, threading.Event()
    begun: list[Path] = []

    def write_bytes(path: Path, data: bytes) -> int:
        begun.append(path)
        if len(begun) == 1:
            slow.wait(20)
        return real(path, data)

    async def scenario() -> None:
        spent = Spent(tmp_path, lambda: NOON)
        await spent.read()
        meter = spent.meter("key", LIMITS)
        monkeypatch.setattr(Path, "write_bytes", write_bytes)
        meter.begin(NOON)
        let_go = asyncio.create_task(spent.keep())
        await until(lambda: bool(begun))
        let_go.cancel()
        meter.begin(NOON)
        asking = asyncio.create_task(spent.keep())
        await asyncio.sleep(0.1)
        slow.set()
        await asyncio.gather(let_go, asking, return_exceptions=True)
        assert asking.exception() is None
        await asyncio.get_running_loop().shutdown_default_executor()  # whatever still writes
        assert kept(tmp_path) == 2

    asyncio.run(scenario())


def test_a_file_that_can_not_be_read_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To begin at nothing would spend the budget twice."""
    monkeypatch.setattr(spent_module, "_RETRY_DISK_S", 0.01)
    real, refused = Path.read_bytes, True

    def read_bytes(path: Path) -> bytes:
        if refused and path.name == BUDGETS:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path)

    async def scenario() -> None:
        nonlocal refused
        before = Spent(tmp_path, lambda: NOON)
        before.meter("key", LIMITS).begin(NOON)
        await before.keep()
        spent = Spent(tmp_path, lambda: NOON)
        monkeypatch.setattr(Path, "read_bytes", read_bytes)
        reading = asyncio.create_task(spent.read())
        await until(lambda: "Input/output" in spent.problem)
        assert not reading.done()
        refused = False
        await reading
        assert spent.problem == ""
        assert spent.meter("key", LIMITS).left(NOON) == {"day": 99}

    asyncio.run(scenario())
