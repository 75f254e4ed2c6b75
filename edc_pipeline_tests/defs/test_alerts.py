"""The sensor that tells: a real instance, real runs and checks, a real receiver."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.test_utils import instance_for_test

from edc_pipeline.capture.report import Report
from edc_pipeline.defs.alerts import tell_what_is_wrong
from edc_pipeline.spool.ledger import Ledger, Source
from edc_pipeline.spool.owner import own_spool
from edc_pipeline.spool.status import write_status
from edc_pipeline_tests.alerts.receiver import Receiver
from edc_pipeline_tests.consolidation.spools import DAY, OPEN
from edc_pipeline_tests.defs.test_consolidated_feeds import materialise, two_connections
from edc_pipeline_tests.defs.test_keep_capture_running import owner, report


class Desk:
    """Ticks of the sensor, one after another."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.cursor: str | None = None

    def tick(self) -> str:
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursor)
        answer = tell_what_is_wrong.evaluate_tick(context)
        self.cursor = answer.cursor
        return answer.skip_message or ""


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch, data: Path) -> Any:
    with Receiver() as receiver:
        monkeypatch.setenv("EDC_ALERT_URLS", f"json://127.0.0.1:{receiver.port}/alerts")
        monkeypatch.setenv("EDC_ALERTS__PATIENCE_MINUTES", "0")
        monkeypatch.setenv("EDC_ALERTS__DISK_FREE_GIB", "0")
        yield receiver


@pytest.fixture
def desk(instance: dg.DagsterInstance, receiver: Receiver) -> Desk:
    return Desk(instance)


@pytest.fixture
def stored(receiver: Receiver) -> Iterator[Desk]:
    """With the storage that an operator has: SQLite, a file for each run."""
    with instance_for_test() as instance:
        yield Desk(instance)


def live(spool: Path) -> Report:
    said = report("")
    said.at = time.time_ns()
    write_status(spool, said)
    return said


def test_capture_down_is_told_once_and_its_end(data: Path, desk: Desk, receiver: Receiver) -> None:
    assert desk.tick().startswith("told: edc: capture is down")
    assert desk.tick().startswith("nobody captures")
    with own_spool(data / "spool", owner("")):
        live(data / "spool")
        desk.tick()
    assert [h["title"] for h in receiver.heard] == [
        "edc: capture is down",
        "edc: over: capture is down",
    ]


def test_a_red_check_is_told_and_when_it_is_green_again(
    data: Path, stored: Desk, receiver: Receiver
) -> None:
    spool = data / "spool"
    two_connections(spool)
    stored.tick()
    source = Source("stocks", "acme", "tape")

    def given_out(events: int, frame: int) -> None:
        Ledger(spool).flushed(
            "two", through_frame=frame, at=OPEN, frames={}, events={(source, "trade", DAY): events}
        )

    Ledger(spool).collector_started("two", OPEN)
    given_out(2, frame=0)
    materialise(stored.instance)
    assert "checks are red" in stored.tick()
    assert "consolidated_feeds:ledger_balances 2026-01-22|trade" in receiver.heard[-1]["message"]
    assert "2 missing" in receiver.heard[-1]["message"]
    given_out(-2, frame=1)
    materialise(stored.instance)
    stored.tick()
    assert receiver.heard[-1]["title"].startswith("edc: over: checks are red")


def test_a_failed_run_is_told_with_its_reason(data: Path, stored: Desk, receiver: Receiver) -> None:
    stored.tick()
    (data / "spool").mkdir(parents=True, exist_ok=True)
    assert not materialise(stored.instance, "quote").success
    stored.tick()
    assert receiver.heard[-1]["title"] == "edc: runs failed"
    assert "2026-01-22" in receiver.heard[-1]["message"]
    heard = len(receiver.heard)
    stored.tick()
    assert len(receiver.heard) == heard


def test_what_had_failed_before_is_no_news(data: Path, desk: Desk, receiver: Receiver) -> None:
    (data / "spool").mkdir(parents=True, exist_ok=True)
    materialise(desk.instance)
    desk.tick()
    assert "edc: runs failed" not in [h["title"] for h in receiver.heard]


def test_a_receiver_that_refuses_is_tried_again(data: Path, desk: Desk, receiver: Receiver) -> None:
    receiver.status = 500
    assert "No address took the alert" in desk.tick()
    receiver.status = 200
    assert desk.tick().startswith("told: edc: capture is down")


def test_nobody_to_tell_is_said(
    data: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDC_ALERTS__DISK_FREE_GIB", "0")
    assert Desk(instance).tick() == (
        "nobody captures (it does not say why). EDC_ALERT_URLS is not set: nobody is told"
    )


def test_a_wrong_address_is_said_without_its_secret(
    data: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDC_ALERT_URLS", "nosuch://tok3n@host")
    monkeypatch.setenv("EDC_ALERTS__PATIENCE_MINUTES", "0")
    said = Desk(instance).tick()
    assert "address 1 of EDC_ALERT_URLS (nosuch://…)" in said
    assert "tok3n" not in said


def test_the_address_is_in_no_tick(
    data: Path, desk: Desk, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDC_ALERT_URLS", f"json://:tok3n@127.0.0.1:{receiver.port}/")
    receiver.status = 403
    assert "tok3n" not in desk.tick() + (desk.cursor or "")
