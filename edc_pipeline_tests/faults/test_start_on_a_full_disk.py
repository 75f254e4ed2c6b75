"""A disk that is full when a collector begins, or takes the spool over: it waits for room."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from edc_pipeline.settings import Settings
from edc_pipeline_tests.crash.account import Account, account_for
from edc_pipeline_tests.crash.campaign import exchange, settings_of
from edc_pipeline_tests.faults.capturing import Capturing, right
from edc_pipeline_tests.faults.shim import Fault, Faults

RATE = 400
WAITS = "can't recover what a collector left, trying again: "
Life = Callable[..., AbstractContextManager[Capturing]]


def full(error: str = "ENOSPC") -> Fault:
    return Fault(error, ("create", "write"), "/event_type=")


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    return tmp_path / "truth.jsonl"


def settings_for(folder: Path, port: int) -> Settings:
    """Nothing is flushed before the end, so that there is something to recover."""
    settings = settings_of(folder, port)
    waits = settings.capture.model_copy(update={"flush_seconds": 300.0})
    return settings.model_copy(update={"capture": waits})


def ends_well(life: Capturing) -> None:
    life.asked_to_end()
    assert life.ended() == 0, life.said[-2000:]


def holds_all(settings: Settings, lives: list[Capturing], truth: Path) -> None:
    """Once the exchange has told all that it sent."""
    assert not [words for life in lives for words in life.tracebacks()]
    account = Account()
    account_for(settings, [life.life for life in lives], truth, account)
    assert right(account), account


def test_a_collector_that_has_to_recover_waits_for_room(
    tmp_path: Path, truth: Path, faults: Faults
) -> None:
    with exchange(truth, 11, RATE) as port:
        settings = settings_for(tmp_path, port)
        life = partial(Capturing, settings, tmp_path)
        with life(1, faults) as killed:
            killed.until(lambda: killed.frames > 100, "it began")
            killed.killed()
        with faults.inject(full("EIO")), life(2, faults) as told:
            assert told.ended() == 1  # nobody knows that it will pass
            assert "event_type=" in told.said.splitlines()[-1], told.said
        with life(3, faults) as last:
            with faults.inject(full()):
                last.until(lambda: WAITS in last.said, "it waits")
            last.until(lambda: last.frames > 100, "room again")
            assert last.said.count(WAITS) == 1
            assert "recovered" in last.said
            ends_well(last)
    holds_all(settings, [killed, told, last], truth)


def test_a_newcomer_whose_owner_died_waits_for_room_and_hears_meanwhile(
    tmp_path: Path, truth: Path, faults: Faults
) -> None:
    with exchange(truth, 12, RATE) as port:
        settings = settings_for(tmp_path, port)
        life = partial(Capturing, settings, tmp_path)
        with life(1, faults) as owner:
            owner.until(lambda: owner.frames > 100, "it began")
            refusing = faults.begin(full("EIO"))
            with life(2, faults, "--take-over") as newcomer:
                newcomer.until(lambda: "stocks: connected" in newcomer.said, "it hears")
                owner.killed()
                newcomer.until(lambda: WAITS in newcomer.said, "it waits")
                newcomer.until(lambda: newcomer.frames > 100, "it hears on")
                newcomer.asked_to_end()
                newcomer.until(lambda: "stopping: " in newcomer.said, "told while it waits")
                faults.lift(refusing)
                ends_well(newcomer)
    holds_all(settings, [owner, newcomer], truth)


def test_an_owner_keeps_the_spool_while_its_disk_refuses(
    tmp_path: Path, truth: Path, faults: Faults
) -> None:
    with exchange(truth, 13, RATE) as port:
        settings = settings_for(tmp_path, port)
        life = partial(Capturing, settings, tmp_path)
        with life(1, faults) as owner:
            owner.until(lambda: owner.frames > 100, "it began")
            refusing = faults.begin(Fault("ENOSPC", ("write",), "/_journal/"))
            owner.until(lambda: "journal: " in owner.status.get("disk_problem", ""), "full")
            with life(2, faults, "--take-over") as newcomer:
                owner.until(lambda: "asks for the spool: not now, journal" in owner.said, "kept")
                faults.lift(refusing)
                assert owner.ended() == 0, owner.said[-2000:]
                newcomer.until(lambda: newcomer.frames > 100, "room again")
                ends_well(newcomer)
    holds_all(settings, [owner, newcomer], truth)
