"""Provisional, sealed, restated: the rule, and what the files and `edc status` say."""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path

import h5py
import msgspec
import numpy as np
import pytest

from edc_pipeline.consolidation.certificate import encode, head, read_certificate
from edc_pipeline.consolidation.day_state import sealing_ns
from edc_pipeline.consolidation.make import Consolidated, consolidate
from edc_pipeline.consolidation.seal import hdf5_bytes, seal
from edc_pipeline.consolidation.verification import verify
from edc_pipeline.market_day import MARKET_ZONE
from edc_pipeline.spool.ledger import Gap, Ledger, Source
from edc_pipeline_tests.consolidation.spools import DAY, OPEN, event, frames, write_batches

SEALING = sealing_ns(DAY)


def prints(spool: Path, first: int, number: int, collector: str = "one") -> None:
    rows = frames([[event(ts_event=OPEN + n, price=100.0 + n)] for n in range(first, number)])
    write_batches(spool, [rows], collector=collector)


def made(tmp_path: Path, now_ns: int) -> Consolidated:
    return consolidate(tmp_path / "spool", tmp_path / "daily", "trade", DAY, now_ns=now_ns)


def state(tmp_path: Path, now_ns: int) -> tuple[str, str]:
    told = made(tmp_path, now_ns).certificate.state
    assert read_certificate(tmp_path / "daily" / "consol_feeds_trade_2026_01_22.h5").state == told
    return told.state, told.why


@pytest.mark.parametrize("day", ["2026-01-22", "2026-03-08", "2026-11-01", "2026-10-31"])
def test_a_day_is_sealed_from_twenty_past_midnight_of_the_next(day: str) -> None:
    at = dt.datetime.fromtimestamp(sealing_ns(dt.date.fromisoformat(day)) / 1e9, MARKET_ZONE)
    assert at.date() - dt.date.fromisoformat(day) == dt.timedelta(days=1)
    assert f"{at:%H:%M}" == "00:20"


def test_provisional_until_its_time_and_then_sealed(tmp_path: Path) -> None:
    prints(tmp_path / "spool", 0, 3)
    assert state(tmp_path, SEALING - 1) == ("provisional", "before 00:20 of the day after")
    first = made(tmp_path, SEALING - 1)
    assert first.unchanged
    sealed = made(tmp_path, SEALING)
    assert (sealed.unchanged, sealed.certificate.state.state) == (False, "sealed")
    assert sealed.certificate.content_hash == first.certificate.content_hash
    assert made(tmp_path, SEALING + 1).unchanged
    assert verify(sealed.path).ok
    # The same content under another state is no version worth keeping.
    assert not (tmp_path / "daily" / "versions").exists()


def test_what_lands_after_sealing_restates(tmp_path: Path) -> None:
    prints(tmp_path / "spool", 0, 3)
    assert state(tmp_path, SEALING)[0] == "sealed"
    prints(tmp_path / "spool", 3, 5, collector="two")
    said = ("restated", "rows 3 → 5, duplicates 0 → 0, micro-batches +1")
    assert state(tmp_path, SEALING + 1) == said
    assert state(tmp_path, SEALING + 2) == said  # and goes on saying so


def test_what_lands_before_sealing_does_not_restate(tmp_path: Path) -> None:
    prints(tmp_path / "spool", 0, 3)
    made(tmp_path, SEALING - 2)
    prints(tmp_path / "spool", 3, 5, collector="two")
    assert state(tmp_path, SEALING - 1)[0] == "provisional"
    assert state(tmp_path, SEALING)[0] == "sealed"


def test_a_duplicate_that_lands_late_changes_nothing_one_trades_on(tmp_path: Path) -> None:
    prints(tmp_path / "spool", 0, 3)
    made(tmp_path, SEALING)
    again = frames([[event(ts_event=OPEN, price=100.0)]], connection="b")
    write_batches(tmp_path / "spool", [again], collector="two")
    told = made(tmp_path, SEALING + 1).certificate
    assert (told.duplicates.total, told.state.state) == (1, "sealed")


def test_a_ledger_that_does_not_balance_is_not_sealed(tmp_path: Path) -> None:
    prints(tmp_path / "spool", 0, 3)
    source = Source("acme-tape", "acme", "tape")
    Ledger(tmp_path / "spool").flushed(
        "one", through_frame=9, at=OPEN, frames={}, events={(source, "trade", DAY): 1}
    )
    assert state(tmp_path, SEALING) == ("provisional", "its ledger does not balance")


def test_a_gap_without_an_end_is_not_sealed(tmp_path: Path) -> None:
    prints(tmp_path / "spool", 0, 3)

    def tell(to_ns: int | None) -> None:
        gap = Gap(
            source=Source("acme-tape", "acme", "tape"),
            symbol="",
            from_ns=OPEN,
            to_ns=to_ns,
            size=None,
            state="open" if to_ns is None else "closed",
            reason="closed with code 1006",
        )
        Ledger(tmp_path / "spool").flushed(
            "one", through_frame=9, at=OPEN, frames={}, events={}, gaps=[gap]
        )

    tell(None)
    assert state(tmp_path, SEALING) == ("provisional", "a gap has no end yet: acme-tape")
    tell(OPEN + 10)
    assert state(tmp_path, SEALING)[0] == "sealed"


def test_a_file_made_before_there_were_states_is_read(tmp_path: Path) -> None:
    """A certificate of former code lacks the field: it agrees with itself, and is provisional."""
    prints(tmp_path / "spool", 0, 3)
    file = made(tmp_path, SEALING)
    fields = msgspec.json.decode(encode(file.certificate))
    del fields["state"]
    former = msgspec.json.encode(fields)
    body = file.path.read_bytes()[: hdf5_bytes(file.path)]
    file.path.write_bytes(body)
    with h5py.File(file.path, "r+") as h5:
        del h5["certificate"]
        h5["certificate"] = np.frombuffer(former, np.uint8)
        h5["trade"].attrs["certificate"] = head(former).decode()
        h5["trade"].attrs["certificate_sha256"] = hashlib.sha256(former).hexdigest()
    seal(file.path)
    assert read_certificate(file.path).state.state == "provisional"
    assert state(tmp_path, SEALING)[0] == "sealed"
