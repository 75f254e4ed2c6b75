"""Spool → daily file, end to end: what is kept, what is said, and when a file is touched."""

from __future__ import annotations

import datetime as dt
import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edc_pipeline.consolidation import attempt, standing
from edc_pipeline.consolidation.certificate import read_certificate
from edc_pipeline.consolidation.errors import CannotConsolidate
from edc_pipeline.consolidation.identity import Rules, identity_rules
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.consolidation.names import CODECS, daily_file, version_files
from edc_pipeline.consolidation.replacement import alone_with
from edc_pipeline.consolidation.verification import verify
from edc_pipeline.durable_file import temporary_beside
from edc_pipeline.events import EVENT_TYPES, EventType
from edc_pipeline.market_day import day_bounds
from edc_pipeline.spool.ledger import Gap, Ledger, Source
from edc_pipeline.spool.owner import Owner, own_spool
from edc_pipeline.vendors.contract import IdentityRule
from edc_pipeline_tests.consolidation.spools import (
    DAY,
    OPEN,
    Row,
    enter,
    event,
    frames,
    split,
    write_batches,
)

NO_RULES: Rules = {}


def two_connections(event_type: EventType = "trade", n: int = 60) -> list[Row]:
    """n frames of two events, the second connection a little later, one symbol in three other."""

    def once(late: int) -> list[list[object]]:
        return [
            [
                event(
                    event_type,
                    ts_event=OPEN + i * 1000,
                    symbol="SPY" if i % 3 else "BRK.B",
                    created_at=OPEN + i * 1000 + late,
                )
                for _ in range(2)
            ]
            for i in range(n)
        ]

    return [*frames(once(50), "a"), *frames(once(90), "b", first_frame=n)]  # type: ignore[arg-type]


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_a_day_from_two_connections(spool: Path, out: Path, event_type: EventType) -> None:
    write_batches(spool, split(two_connections(event_type), 5), event_type=event_type)
    made = consolidate(spool, out, event_type, DAY, rules=NO_RULES)
    c = made.certificate
    assert made.path == daily_file(out, event_type, DAY)
    assert made.path.name == f"consol_feeds_{event_type}_2026_01_22.h5"
    assert (c.rows_in, c.rows, c.duplicates.other_connection, c.symbols) == (240, 120, 120, 2)
    assert c.balanced
    assert c.reasons == []
    assert c.feeds["acme/tape"].identity == "counted"
    assert len(c.inputs) == 5
    assert made.preview(3)["created_at"].tolist()[0].nanosecond == 50
    assert read_certificate(made.path) == c
    assert verify(made.path, spool).findings == []


def test_every_split_and_order_gives_one_hash(tmp_path: Path) -> None:
    rows = two_connections()
    hashes = set()
    for at, parts in enumerate((1, 2, 7, 240)):
        spool = tmp_path / f"spool{at}"
        write_batches(spool, split(rows[::-1] if at % 2 else rows, parts), collector=f"c{at}")
        made = consolidate(spool, tmp_path / f"daily{at}", "trade", DAY, rules=NO_RULES)
        hashes.add(made.certificate.content_hash)
    assert len(hashes) == 1


def test_an_id_rule_is_applied_and_certified(spool: Path, out: Path) -> None:
    again = [[event(event_id="7")], [event(event_id="7")], [event(event_id="7", price=2.0)]]
    write_batches(spool, [frames(again)])
    rules: Rules = {("acme", "tape", "trade"): IdentityRule("id", "tradeId")}
    c = consolidate(spool, out, "trade", DAY, rules=rules).certificate
    assert (c.rows, c.duplicates.same_id, c.near_duplicates) == (2, 1, 1)
    assert c.feeds["acme/tape"].identity == "id"
    assert c.balanced
    # The rule is part of what the file was made from: with another, it is made again.
    counted = consolidate(spool, out, "trade", DAY, rules=NO_RULES)
    assert not counted.unchanged
    assert counted.certificate.rows == 3


def test_the_rules_of_the_vendors_known_are_the_default() -> None:
    assert all(len(key) == 3 for key in identity_rules())


# When a file is touched


def test_the_same_again_touches_nothing(spool: Path, out: Path) -> None:
    write_batches(spool, split(two_connections(), 3))
    first = consolidate(spool, out, "trade", DAY, rules=NO_RULES)
    before = first.path.stat()
    again = consolidate(spool, out, "trade", DAY, rules=NO_RULES)
    after = again.path.stat()
    assert again.unchanged
    assert again.certificate == first.certificate
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert version_files(first.path) == []


def test_newer_code_with_the_same_result_touches_nothing(
    spool: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_batches(spool, [two_connections()])
    first = consolidate(spool, out, "trade", DAY, rules=NO_RULES)
    inode = first.path.stat().st_ino
    monkeypatch.setattr(standing, "__version__", "99")
    again = consolidate(spool, out, "trade", DAY, rules=NO_RULES)
    assert again.unchanged
    assert "read and write" in again.seconds  # it did look
    assert first.path.stat().st_ino == inode


def test_a_damaged_file_is_made_again_from_the_same_inputs(spool: Path, out: Path) -> None:
    write_batches(spool, [two_connections(n=3000)])
    path = consolidate(spool, out, "trade", DAY, rules=NO_RULES).path
    sound = path.read_bytes()
    # Past the metadata that pandas and PyTables keep at the front, among the compressed rows.
    path.write_bytes(sound[:40_000] + bytes(64) + sound[40_064:])
    assert not verify(path).ok
    assert not consolidate(spool, out, "trade", DAY, rules=NO_RULES).unchanged
    assert verify(path, spool).ok


def test_late_micro_batches_make_a_new_version(spool: Path, out: Path) -> None:
    rows = two_connections()
    hashes = []
    for number, part in enumerate(split(rows[:120], 6)):
        write_batches(spool, [part], first_number=number)
        made = consolidate(spool, out, "trade", DAY, rules=NO_RULES)
        assert not made.unchanged
        assert made.certificate.balanced
        hashes.append(made.certificate.content_hash)
    kept = version_files(made.path)
    assert [p.name[-7:] for p in kept] == ["0003.h5", "0004.h5", "0005.h5"]
    assert [read_certificate(p).content_hash for p in kept] == hashes[2:5]
    consolidate(spool, out, "trade", DAY, rules=NO_RULES, versions=1)
    assert version_files(made.path) == kept[2:]


@pytest.mark.parametrize("links", [True, False])
def test_an_attempt_that_ends_before_the_replacement_leaves_no_version(
    spool: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    """The former has its second name by then, but nothing took its place."""
    write_batches(spool, [two_connections()])
    stands = consolidate(spool, out, "trade", DAY, rules=NO_RULES)
    other = tmp_path / "other"
    write_batches(other, [two_connections(n=90)])

    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    def end(source: Path, target: Path) -> None:
        if Path(target) == stands.path:
            raise OSError(errno.EIO, "Input/output error", str(target))
        rename(source, target)

    rename = os.replace
    with monkeypatch.context() as patch:
        if not links:
            patch.setattr(Path, "hardlink_to", refuse)
        patch.setattr(os, "replace", end)
        with pytest.raises(OSError, match="Input/output error"):
            consolidate(other, out, "trade", DAY, rules=NO_RULES)
    assert len(version_files(stands.path)) == 1
    assert consolidate(spool, out, "trade", DAY, rules=NO_RULES).unchanged
    assert version_files(stands.path) == []
    assert verify(stands.path, spool).ok


def test_another_codec_says_the_same(spool: Path, out: Path) -> None:
    write_batches(spool, [two_connections()])
    made = [consolidate(spool, out, "trade", DAY, rules=NO_RULES, codec=c) for c in CODECS]
    assert not any(m.unchanged for m in made)
    assert len({m.certificate.content_hash for m in made}) == 1
    assert version_files(made[0].path) == []  # it says the same, so nothing was superseded


def test_a_copied_micro_batch_counts_once_and_the_ledger_notices(spool: Path, out: Path) -> None:
    path = write_batches(spool, [two_connections()])[0]
    path.with_name("copy-000000000000-000000000999.parquet").write_bytes(path.read_bytes())
    c = consolidate(spool, out, "trade", DAY, rules=NO_RULES).certificate
    assert (c.rows_in, c.rows, c.duplicates.redelivered) == (480, 120, 240)
    assert c.reasons == [
        "acme/tape: the collectors gave out 240 events, the micro-batches hold 480: 240 too many"
    ]


def test_fewer_rows_than_before_are_warned_of_and_the_former_is_kept(
    spool: Path, out: Path
) -> None:
    paths = write_batches(spool, split(two_connections(), 4))
    former = consolidate(spool, out, "trade", DAY, rules=NO_RULES).certificate
    for path in paths[1:]:
        path.unlink()
    made = consolidate(spool, out, "trade", DAY, rules=NO_RULES)
    assert not made.certificate.balanced
    assert "the former file held 120 rows, this one 30" in made.warnings[0]
    assert read_certificate(version_files(made.path)[0]) == former


# The ledger


def test_without_a_ledger_nothing_balances(spool: Path, out: Path) -> None:
    write_batches(spool, [two_connections()], ledger=False)
    c = consolidate(spool, out, "trade", DAY, rules=NO_RULES).certificate
    assert not c.balanced
    assert c.reasons[0].startswith("no ledger entry for acme/tape")


def test_an_unreadable_ledger_is_a_reason(spool: Path, out: Path) -> None:
    write_batches(spool, [two_connections()])
    Ledger(spool).path.write_bytes(b"no database, whatever its name says" * 40)
    c = consolidate(spool, out, "trade", DAY, rules=NO_RULES).certificate
    assert not c.balanced
    assert c.reasons[0].startswith("the ledger _ledger.sqlite cannot be read")


def test_gaps_of_the_day_are_stated(spool: Path, out: Path) -> None:
    write_batches(spool, [two_connections()])
    source = Source("acme-tape", "acme", "tape")
    first, end = day_bounds(DAY)
    for at in (first - 10**9, OPEN, end):
        gap = Gap(source, "", at, at + 1, None, "closed", f"cut at {at}")
        Ledger(spool).flushed("one", through_frame=0, at=at, frames={}, events={}, gaps=[gap])
    c = consolidate(spool, out, "trade", DAY, rules=NO_RULES).certificate
    assert [g.reason for g in c.gaps] == [f"cut at {OPEN}"]
    assert [f.check for f in verify(daily_file(out, "trade", DAY)).findings] == ["gaps"]


def test_a_live_collector_is_given_time_for_its_ledger_entry(spool: Path, out: Path) -> None:
    rows = two_connections()
    write_batches(spool, [rows], ledger=False)
    with own_spool(spool, Owner(collector="one", pid=1, started_at=0)):
        entry = threading.Timer(0.3, enter, (spool, rows))
        entry.start()
        c = consolidate(spool, out, "trade", DAY, rules=NO_RULES).certificate
        entry.join()
    assert c.balanced


# What a person can mend


def test_no_spool(tmp_path: Path, out: Path) -> None:
    with pytest.raises(CannotConsolidate, match=r"there is no spool at .*nowhere: give the folder"):
        consolidate(tmp_path / "nowhere", out, "trade", DAY, rules=NO_RULES)
    assert not out.exists()


def test_no_micro_batches_of_that_day(spool: Path, out: Path) -> None:
    write_batches(spool, [two_connections()])
    with pytest.raises(CannotConsolidate, match=r"2026-01-23.*it has trade from 2026-01-22") as e:
        consolidate(spool, out, "trade", DAY + dt.timedelta(1), rules=NO_RULES)
    assert e.value.nothing_there


def test_a_full_disk_leaves_the_former(spool: Path, out: Path) -> None:
    """A limit on the size of files stands for the full disk: writes fail in the same place."""
    write_batches(spool, [two_connections()])
    path = consolidate(spool, out, "trade", DAY, rules=NO_RULES).path
    before = path.read_bytes()
    write_batches(spool, [frames([[event(price=float(i))] for i in range(5000)])], first_number=1)
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from edc_pipeline.consolidation.errors import CannotConsolidate\n"
        "from edc_pipeline.consolidation.make import consolidate\n"
        "from edc_pipeline_tests.consolidation.spools import DAY\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try: consolidate(Path(sys.argv[1]), Path(sys.argv[2]), 'trade', DAY, rules={})\n"
        "except CannotConsolidate as error: print(error)"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, spool, out], check=True, capture_output=True, text=True
    )
    assert "could not be written" in told.stdout
    assert "A daily file made before stays" in told.stdout
    assert path.read_bytes() == before
    assert [p.name for p in out.iterdir() if p.name.endswith(".tmp")] == []
    assert consolidate(spool, out, "trade", DAY, rules=NO_RULES).certificate.rows == 5120


def test_events_given_out_and_not_there(spool: Path, out: Path) -> None:
    for path in write_batches(spool, [two_connections()]):
        path.unlink()
    with pytest.raises(CannotConsolidate, match="its ledger says that 240 events") as e:
        consolidate(spool, out, "trade", DAY, rules=NO_RULES)
    assert e.value.events_missing == 240
    assert not e.value.nothing_there


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"codec": "lzo"}, "'lzo' is no codec: blosc2-lz4"),
        ({"order": "price"}, "'price' is no order: time, symbol"),
        ({"memory": "1 PB"}, "memory: '1 PB' is no size of at least 512MiB"),
        ({"memory": 10**6}, "memory: 1000000 is no size"),
        ({"versions": -1}, "versions: -1"),
    ],
)
def test_a_wrong_setting(spool: Path, out: Path, setting: dict[str, object], message: str) -> None:
    with pytest.raises(CannotConsolidate, match=message):
        consolidate(spool, out, "trade", DAY, **setting)  # type: ignore[arg-type]
    with pytest.raises(CannotConsolidate, match="'bar' is no event type"):
        consolidate(spool, out, "bar", DAY)  # type: ignore[arg-type]


# Two at once, and what the dead leave behind


def test_two_at_once_take_turns(spool: Path, out: Path) -> None:
    write_batches(spool, [two_connections()])
    path = daily_file(out, "trade", DAY)
    with (
        alone_with(path, 1.0),
        pytest.raises(CannotConsolidate, match=r"is being consolidated by process [0-9]+"),
    ):
        consolidate(spool, out, "trade", DAY, rules=NO_RULES, patience_s=0.1)
    assert not path.exists()
    assert consolidate(spool, out, "trade", DAY, rules=NO_RULES).certificate.rows == 120


def test_leftovers_of_the_dead_are_cleared(spool: Path, out: Path) -> None:
    write_batches(spool, [two_connections()])
    out.mkdir()
    path = daily_file(out, "trade", DAY)
    leftover = temporary_beside(path).with_name(f".{path.name}.999999.tmp")
    other = leftover.with_name(leftover.name.replace("trade", "quote"))
    for file in (leftover, other):
        file.write_bytes(b"half")
    consolidate(spool, out, "trade", DAY, rules=NO_RULES)
    assert not leftover.exists()
    assert other.exists()  # another partition's: somebody may be writing it


def test_a_failed_read_back_leaves_the_former(
    spool: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = two_connections()
    write_batches(spool, [rows[:100]])
    made = consolidate(spool, out, "trade", DAY, rules=NO_RULES)
    before = made.path.read_bytes()
    write_batches(spool, [rows[100:]], first_number=1)
    monkeypatch.setattr(
        attempt, "read_back", lambda *_: "what was read back is not what was written"
    )
    with pytest.raises(CannotConsolidate, match="what was read back is not what was written"):
        consolidate(spool, out, "trade", DAY, rules=NO_RULES)
    assert made.path.read_bytes() == before
    assert [p.name for p in out.iterdir() if p.name.endswith(".tmp")] == []


@pytest.mark.parametrize(
    ("day", "hours"), [(dt.date(2026, 3, 8), 23), (dt.date(2026, 11, 1), 25), (DAY, 24)]
)
def test_days_of_23_24_and_25_hours(spool: Path, out: Path, day: dt.date, hours: int) -> None:
    first, end = day_bounds(day)
    assert end - first == hours * 3_600 * 10**9
    stamps = [*range(first, end, 1_800 * 10**9), end - 1]
    write_batches(spool, [frames([[event(ts_event=t)] for t in stamps])], day=day)
    made = consolidate(spool, out, "trade", day, rules=NO_RULES)
    assert (made.certificate.first_event, made.certificate.last_event) == (first, end - 1)
    shown = made.preview(len(stamps))["ts_event"]
    assert str(shown.dt.tz) == "America/New_York"
    assert set(shown.dt.date) == {day}
    assert [t.value for t in shown] == stamps
    assert verify(made.path, spool).findings == []


def test_the_plan_looks_once_when_no_collector_lives(
    spool: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copied spool without ledger must not cost a second of waiting for an entry."""
    write_batches(spool, [two_connections()], ledger=False)
    monkeypatch.setattr(time, "sleep", lambda _s: pytest.fail("waited for nobody"))
    consolidate(spool, out, "trade", DAY, rules=NO_RULES)
