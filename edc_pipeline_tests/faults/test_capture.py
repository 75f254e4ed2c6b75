"""Every kind of fault at every place that capture writes to, below SQLite, Arrow and Python.

One collector, `edc capture` as a process, lives through all of them while frames flow. Each time it
says what refuses and where, and goes on by itself; at the end every frame is accounted for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edc_pipeline_tests.crash.account import Account, account_for
from edc_pipeline_tests.crash.campaign import exchange, settings_of
from edc_pipeline_tests.faults.capturing import Capturing, right
from edc_pipeline_tests.faults.shim import Fault, Faults

SEED = 3
RATE = 600


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
    ]


def test_a_fault_of_each_kind_at_each_place_is_told_waited_out_and_costs_no_frame(
    tmp_path: Path, faults: Faults
) -> None:
    truth, account = tmp_path / "truth.jsonl", Account()
    with exchange(truth, SEED, RATE, rubbish="2%") as port:
        settings = settings_of(tmp_path, port)
        often = settings.capture.model_copy(update={"segment_mib": 0.01})
        settings = settings.model_copy(update={"capture": often})
        with Capturing(settings, tmp_path, 1, faults) as capturing:
            capturing.until(lambda: capturing.status.get("micro_batches"), "it began")
            for place, fault in refusals():
                _is_told_and_waited_out(capturing, faults, place, fault)
            for fault in nuisances():
                _is_borne(capturing, faults, fault)
            capturing.asked_to_end()
            assert capturing.ended() == 0, capturing.said[-2000:]
    assert not capturing.tracebacks()
    account_for(settings, [capturing.life], truth, account)
    assert right(account), account
    assert account.frames_received > 1_000


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
