"""A disk that keeps refusing below `edc consolidate`: the former file stays, and the reason is told
in a line; when the disk takes and gives again, the next try makes the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.consolidation.names import daily_file
from edc_pipeline.consolidation.verification import verify
from edc_pipeline_tests.cli.calling import Said, edc
from edc_pipeline_tests.consolidation.spools import DAY, OPEN, event, frames, write_batches
from edc_pipeline_tests.faults.shim import Fault, Faults

REFUSALS = [
    (Fault("ENOSPC", ("write",), "/daily/."), "No space left on device"),
    (Fault("EIO", ("sync",), "/daily/."), "Input/output error"),
    (Fault("EIO", ("rename",), "/daily/consol"), "Input/output error"),
    (Fault("EIO", ("read",), "/daily/."), "Input/output error"),
    (Fault("EIO", ("read",), "/one-000000001000"), "Input/output error"),
]
NUISANCES = [
    Fault("short", ("write", "read"), "/daily/", share=0.5),
    Fault("slow", ("write", "sync"), "/daily/", delay_ms=5),
]


def two_batches(folder: Path) -> tuple[Path, Path]:
    """A spool of two micro-batches, and the daily file of the first alone."""
    spool, daily = folder / "spool", folder / "daily"
    rows = frames([[event(ts_event=OPEN + i, price=i / 7)] for i in range(400)])
    write_batches(spool, [rows[:200]])
    consolidate(spool, daily, "trade", DAY)
    write_batches(spool, [rows[200:]], first_number=1)
    return spool, daily


def called(spool: Path, daily: Path, faults: Faults) -> Said:
    return edc(
        *("consolidate", "--spool", spool, "--out", daily, "--day", str(DAY), "--type", "trade"),
        cwd=spool.parent,
        LD_PRELOAD=faults.environ["LD_PRELOAD"],
        FAULTS_RULES=faults.environ["FAULTS_RULES"],
    )


@pytest.mark.parametrize(("fault", "why"), REFUSALS, ids=[str(f) for f, _ in REFUSALS])
def test_the_former_file_stays_and_the_next_try_makes_the_new_one(
    tmp_path: Path, faults: Faults, fault: Fault, why: str
) -> None:
    spool, daily = two_batches(tmp_path)
    path = daily_file(daily, "trade", DAY)
    former = path.read_bytes()
    with faults.inject(fault) as [struck]:
        said = called(spool, daily, faults)
    assert struck.times
    assert said.code == 1, said
    assert why in " ".join((said.out + said.err).split()), said
    assert "Traceback" not in said.err
    assert path.read_bytes() == former
    made = consolidate(spool, daily, "trade", DAY)
    assert made.certificate.rows == 400
    assert verify(path, spool).ok
    assert not [p.name for p in daily.iterdir() if p.name.endswith((".tmp", ".scratch"))]


@pytest.mark.parametrize("fault", NUISANCES, ids=str)
def test_what_is_no_refusal_changes_nothing(tmp_path: Path, faults: Faults, fault: Fault) -> None:
    spool, daily = two_batches(tmp_path)
    with faults.inject(fault) as [struck]:
        said = called(spool, daily, faults)
    assert struck.times
    assert said.code == 0, said
    found = verify(daily_file(daily, "trade", DAY), spool)
    assert found.ok, found.findings
