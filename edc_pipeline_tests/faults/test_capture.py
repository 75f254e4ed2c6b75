"""Every kind of fault at every place that capture writes to, below SQLite, Arrow and Python.

One collector, `edc capture` as a process, lives through all of them while frames flow. Each time it
says what refuses and where, and goes on by itself; at the end every frame is accounted for.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from edc_pipeline.transports.budget import Limit
from edc_pipeline_tests.cli.calling import edc
from edc_pipeline_tests.crash.account import Account, account_for
from edc_pipeline_tests.crash.campaign import exchange, settings_of
from edc_pipeline_tests.faults.capturing import Capturing, right
from edc_pipeline_tests.faults.outside import Outside
from edc_pipeline_tests.faults.shim import Fault, Faults

SEED = 3
RATE = 600
WAITING_ROWS = 1_500
STILL_S = 0.5


@dataclass(frozen=True, slots=True)
class Place:
    path: str
    calls: tuple[str, ...]  # that are made there
    told_as: str


PLACES = (
    Place("_ledger.sqlite", ("write", "sync", "truncate", "create"), "_ledger.sqlite: "),
    Place("/event_type=", ("create", "write", "sync", "rename"), "/event_type="),
    Place("/_quarantine/", ("create", "write", "sync", "rename"), "/_quarantine/"),
    Place("/_journal/", ("create", "write", "sync"), "journal: "),
    Place("_budgets.json", ("create", "write", "sync", "rename"), "budgets: "),
    Place("/_raw/", ("rename", "sync"), "archive of the journal: "),
)
ERRORS = ("EIO", "ENOSPC")
SLOW_MS = 30


def refusals() -> list[tuple[Place, Fault]]:
    """Each call at each place, with the one error or the other."""
    return [
        (place, Fault(ERRORS[number % 2], (call,), place.path))
        for place in PLACES
        for number, call in enumerate(place.calls, PLACES.index(place))
    ]


def nuisances() -> list[Fault]:
    """What is no refusal, and must not even be told."""
    return [
        *(Fault("short", ("write",), place.path) for place in PLACES[:4]),
        *(Fault("slow", ("write", "sync"), place.path, delay_ms=SLOW_MS) for place in PLACES[:4]),
        *(Fault("EIO", ("close",), place.path) for place in (PLACES[0], PLACES[3])),
        *(Fault(error, ("create", "write"), "/._status.json") for error in ERRORS),
        *(Fault(error, ("create", "write"), "/._delivered.msgpack") for error in ERRORS),
    ]


def at_its_end() -> list[Fault]:
    """What holds no frame: a collector that has drained ends in order whatever befalls it."""
    return [
        Fault("ENOSPC", ("write", "close"), "_collector.lock"),
        Fault("EIO", ("write", "create"), "_status.json"),
    ]


def test_a_fault_of_each_kind_at_each_place_is_told_waited_out_and_costs_no_frame(
    tmp_path: Path, faults: Faults
) -> None:
    truth, account = tmp_path / "truth.jsonl", Account()
    with (
        exchange(truth, SEED, RATE, rubbish="2%") as port,
        Outside(every_s=0.3, budget=Limit(10, "second")) as outside,
    ):
        settings = outside.feeds(settings_of(tmp_path, port))
        rules = {"segment_mib": 0.01, "waiting_rows": WAITING_ROWS, "flush_seconds": 0.05}
        settings = settings.model_copy(
            update={"capture": settings.capture.model_copy(update=rules)}
        )
        with Capturing(settings, tmp_path, 1, faults) as capturing:
            capturing.until(lambda: capturing.status.get("micro_batches"), "it began")
            for place, fault in refusals():
                _is_told_and_waited_out(capturing, faults, place, fault)
            for fault in nuisances():
                _is_borne(capturing, faults, fault)
            _takes_no_more_than_may_wait(capturing, faults)
            outside.finish()
            with faults.inject(*at_its_end()) as struck:
                capturing.asked_to_end()
                assert capturing.ended() == 0, capturing.said[-2000:]
            assert all(one.times for one in struck), [one.fault for one in struck]
    assert not capturing.tracebacks()
    account_for(settings, [capturing.life], truth, account)
    assert right(account), account
    assert not outside.wrong(settings)
    assert account.frames_received > 1_000
    assert outside.asked
    assert outside.posted.accepted


def _is_told_and_waited_out(
    capturing: Capturing, faults: Faults, place: Place, fault: Fault
) -> None:
    def shown() -> bool:
        return place.told_as in capturing.status.get("disk_problem", "")

    before = len(capturing.said)
    with faults.inject(fault):
        capturing.until(shown, f"{fault}: shown")
        assert place.told_as in capturing.said[before:], fault
    capturing.until_flushed(f"{fault}: lifted")
    assert "again" in capturing.said[before:], fault


def _is_borne(capturing: Capturing, faults: Faults, fault: Fault) -> None:
    before = len(capturing.said)
    with faults.inject(fault) as [struck]:
        capturing.until(lambda: struck.times, f"{fault}: strikes")
    capturing.until_flushed(f"{fault}: lifted")
    assert "ERROR" not in capturing.said[before:], fault


def _takes_no_more_than_may_wait(capturing: Capturing, faults: Faults) -> None:
    """A disk that takes no byte of the spool's: the sockets are no longer read, and `edc status`
    says why. When it takes some again, so does capture."""

    def stands_still() -> bool:
        frames = capturing.frames
        time.sleep(STILL_S)
        return capturing.frames == frames

    full = [
        Fault("ENOSPC", ("write",), f"/{name}") for name in ("event_type=", "_ledger", "_journal")
    ]
    with faults.inject(*full):
        capturing.until(lambda: "No space" in capturing.status.get("disk_problem", ""), "full")
        capturing.until(stands_still, "the intake stops")
        assert capturing.status["waiting_rows"] >= WAITING_ROWS
        shown = edc("status", cwd=capturing.folder, EDC_CONFIG=str(capturing.config))
        assert "the disk refuses: " in shown.out, shown
        frames = capturing.frames
    capturing.until(lambda: capturing.frames > frames, "the intake goes on")
    capturing.until_flushed("room again")
