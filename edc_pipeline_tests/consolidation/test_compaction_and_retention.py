"""Fewer files and then none, and never a row less."""

from __future__ import annotations

import json
import os
import shutil
import threading
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from click.testing import CliRunner

import edc_pipeline
from edc_pipeline.cli.compact import compact as compact_command
from edc_pipeline.cli.retain import retain
from edc_pipeline.consolidation import retention
from edc_pipeline.consolidation.errors import CannotConsolidate
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.consolidation.retention import retire
from edc_pipeline.consolidation.verification import verify
from edc_pipeline.events import EventType
from edc_pipeline.market_day import midnight_ns
from edc_pipeline.spool import compaction
from edc_pipeline.spool.compaction import compact
from edc_pipeline.spool.layout import batch_files, day_folder
from edc_pipeline.spool.ledger import Ledger
from edc_pipeline.spool.micro_batch import read_footer, read_micro_batch, write_micro_batch
from edc_pipeline.spool.retired import note_retired
from edc_pipeline_tests.consolidation.spools import DAY, OPEN, event, frames, write_batches

LATER = midnight_ns(DAY) + 10 * 86_400 * 10**9
TRADE: EventType = "trade"


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    spool = tmp_path / "spool"
    rows = frames([[event(ts_event=OPEN + i, price=i / 7)] for i in range(600)])
    Ledger(spool).collector_started("one", OPEN)
    write_batches(spool, [rows[i : i + 20] for i in range(0, 600, 20)])
    counted(spool, 10**6)
    return spool


def counted(spool: Path, through_frame: int) -> None:
    Ledger(spool).flushed("one", through_frame=through_frame, at=OPEN, frames={}, events={})


def held(spool: Path) -> pa.Table:
    parts = [read_micro_batch(p, TRADE) for p in batch_files(spool, TRADE, DAY)]
    return pa.concat_tables(parts).sort_by([("frame", "ascending"), ("occurrence", "ascending")])


def made(spool: Path, out: Path) -> str:
    return consolidate(spool, out, TRADE, DAY, rules={}, now_ns=LATER).certificate.content_hash


def test_compaction_keeps_every_row_and_ordinal(spool: Path, out: Path) -> None:
    before, content = held(spool), made(spool, out)
    done = compact(spool, TRADE, DAY)
    assert (done.files_before, done.files_after, done.rows) == (30, 1, 600)
    assert held(spool).equals(before)
    footer = read_footer(batch_files(spool, TRADE, DAY)[0])
    assert (footer.collector, footer.first_frame, footer.last_frame) == ("one", 0, 29_999)
    path = out / "consol_feeds_trade_2026_01_22.h5"
    assert [f.message for f in verify(path, spool).findings] == []
    assert made(spool, out) == content
    assert compact(spool, TRADE, DAY).written == []


def test_what_recovery_may_ask_for_is_left_alone(spool: Path) -> None:
    Ledger(spool).path.unlink()
    Ledger(spool).collector_started("one", OPEN)
    counted(spool, 15_999)
    done = compact(spool, TRADE, DAY)
    assert (done.files_after, done.rows) == (15, 320)


def test_a_death_before_the_removing_counts_nothing_twice(spool: Path, out: Path) -> None:
    images = {p: p.read_bytes() for p in batch_files(spool, TRADE, DAY)}
    content = made(spool, out)
    compact(spool, TRADE, DAY)
    for path, image in images.items():
        path.write_bytes(image)
    again = consolidate(spool, out, TRADE, DAY, rules={}, now_ns=LATER).certificate
    assert (again.content_hash, again.rows_in, again.balanced) == (content, 600, True)
    assert len(compact(spool, TRADE, DAY).removed) == 30
    assert len(batch_files(spool, TRADE, DAY)) == 1


def test_damage_is_not_made_to_look_sound(spool: Path) -> None:
    path = batch_files(spool, TRADE, DAY)[3]
    image = bytearray(path.read_bytes())
    image[len(image) // 3] ^= 1
    path.write_bytes(image)
    assert compact(spool, TRADE, DAY, fewest_files=2).written == []
    assert len(batch_files(spool, TRADE, DAY)) == 30


def test_a_dry_run_changes_nothing(spool: Path) -> None:
    told = CliRunner().invoke(compact_command, ["--spool", str(spool), "--dry-run", "--json"])
    day = json.loads(told.stdout)["days"][0]
    assert (day["files_before"], day["files_after"]) == (30, 1)
    assert len(batch_files(spool, TRADE, DAY)) == 30


def test_retention_removes_what_a_sound_file_holds(spool: Path, out: Path) -> None:
    content = made(spool, out)
    call = ["--spool", str(spool), "--out", str(out), "--before", "2026-02-01"]
    told = CliRunner().invoke(retain, [*call, "--dry-run", "--json"])
    assert told.exit_code == 0, told.output
    assert len(json.loads(told.stdout)["days"][0]["removed"]) == 30
    assert len(batch_files(spool, TRADE, DAY)) == 30
    assert CliRunner().invoke(retain, call).exit_code == 0
    assert batch_files(spool, TRADE, DAY) == []
    # Asked again, the day is as it was; and what lands now makes no file that holds less.
    again = consolidate(spool, out, TRADE, DAY, rules={}, now_ns=LATER)
    assert again.unchanged
    assert again.certificate.content_hash == content
    late = frames([[event(symbol="LATE")]], "z", 10**7)
    write_batches(spool, [late], first_number=900)
    with pytest.raises(CannotConsolidate, match="a file made of them alone would hold less"):
        consolidate(spool, out, TRADE, DAY, rules={}, now_ns=LATER)
    assert retire(spool, out, TRADE, DAY).kept_because != ""
    again.path.unlink()
    with pytest.raises(CannotConsolidate, match="is missing or damaged: bring it back"):
        consolidate(spool, out, TRADE, DAY, rules={}, now_ns=LATER)


def test_retention_keeps_what_is_not_safe(spool: Path, out: Path) -> None:
    assert retire(spool, out, TRADE, DAY).kept_because == "there is no daily file"
    path = consolidate(spool, out, TRADE, DAY, rules={}, now_ns=OPEN).path
    assert "the day is provisional" in retire(spool, out, TRADE, DAY).kept_because
    made(spool, out)
    write_batches(spool, [frames([[event(symbol="L")]], "z", 10**7)], first_number=900)
    assert "came later and are not in the file" in retire(spool, out, TRADE, DAY).kept_because
    made(spool, out)
    path.write_bytes(path.read_bytes()[:-1])
    assert "is not sound: file" in retire(spool, out, TRADE, DAY).kept_because
    assert len(batch_files(spool, TRADE, DAY)) == 31
    assert not (day_folder(spool, TRADE, DAY) / "_retired.json").exists()


def landing_at(number: int, late: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A micro-batch takes its place right after a folder was listed for the n-th time."""
    listed, real = [0], os.listdir

    def listdir(path: Any = ".") -> list[str]:
        found = real(path)
        if Path(path) == folder:
            listed[0] += 1
            if listed[0] == number:
                shutil.copy(late, folder)
        return found

    monkeypatch.setattr(os, "listdir", listdir)
    return listed


def test_what_lands_while_retention_is_at_work_stays(
    spool: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(spool, out)
    # The ledger does not tell of it: a collector enters it after it has put it in its place.
    (late,) = write_batches(
        tmp_path / "other", [frames([[event(symbol="LATE")]], "z", 10**7)], first_number=900
    )
    outcomes = set()
    for number in count(1):
        here = tmp_path / f"landing{number}"
        shutil.copytree(spool, here / "spool")
        shutil.copytree(out, here / "daily")
        folder = day_folder(here / "spool", TRADE, DAY)
        with monkeypatch.context() as landing:
            listed = landing_at(number, late, folder, landing)
            done = retire(here / "spool", here / "daily", TRADE, DAY)
        if listed[0] < number:
            break
        assert (folder / late.name).exists(), f"removed after listing {number}: {done}"
        assert len(batch_files(here / "spool", TRADE, DAY)) == 31 - len(done.removed)
        outcomes.add(len(done.removed))
    # Seen in time, nothing goes; landed after the last look, it alone stays.
    assert outcomes == {0, 30}


def test_retention_removes_the_very_files_that_it_checked(
    spool: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(spool, out)
    other = batch_files(spool, TRADE, DAY)[7]

    def replaced_meanwhile(*args: Any) -> None:
        note_retired(*args)
        write_batches(spool, [frames([[event(symbol="NEW")]])], first_number=7, ledger=False)

    monkeypatch.setattr(retention, "note_retired", replaced_meanwhile)
    done = retire(spool, out, TRADE, DAY)
    assert done.kept_because == "1 micro-batches changed meanwhile"
    assert (len(done.removed), batch_files(spool, TRADE, DAY)) == (29, [other])


def test_retention_leaves_all_if_the_daily_file_is_replaced_meanwhile(
    spool: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(spool, out)
    path = out / "consol_feeds_trade_2026_01_22.h5"

    def replaced_meanwhile(*args: Any) -> None:
        note_retired(*args)
        path.write_bytes(b"")

    monkeypatch.setattr(retention, "note_retired", replaced_meanwhile)
    done = retire(spool, out, TRADE, DAY)
    assert "replaced meanwhile" in done.kept_because
    assert len(batch_files(spool, TRADE, DAY)) == 30


def test_compaction_removes_the_very_files_that_it_read(
    spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = batch_files(spool, TRADE, DAY)[7]

    def replaced_meanwhile(*args: Any, **fields: Any) -> Any:
        written = write_micro_batch(*args, **fields)
        write_batches(spool, [frames([[event(symbol="NEW")]])], first_number=7, ledger=False)
        return written

    monkeypatch.setattr(compaction, "write_micro_batch", replaced_meanwhile)
    done = compact(spool, TRADE, DAY)
    assert len(done.removed) == 29
    assert set(batch_files(spool, TRADE, DAY)) == {other, other.with_name(done.written[0])}


def test_one_compaction_of_a_day_waits_for_another(
    spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else two that have listed other files put the same rows into two."""
    waits: list[bool] = []

    def second_at_work(*args: Any, **fields: Any) -> Any:
        second = threading.Thread(target=compact, args=(spool, TRADE, DAY))
        second.start()
        second.join(0.5)
        waits.append(second.is_alive())
        written = write_micro_batch(*args, **fields)
        threads.append(second)
        return written

    threads: list[threading.Thread] = []
    before = held(spool)
    monkeypatch.setattr(compaction, "write_micro_batch", second_at_work)
    compact(spool, TRADE, DAY)
    for thread in threads:
        thread.join(60)
    assert waits == [True]
    assert held(spool).equals(before)


def test_a_file_compacted_again_is_held_by_a_file_of_what_it_was_at_first(
    spool: Path, out: Path
) -> None:
    content = made(spool, out)
    path = out / "consol_feeds_trade_2026_01_22.h5"
    compact(spool, TRADE, DAY, largest_rows=300)
    assert len(batch_files(spool, TRADE, DAY)) == 2
    compact(spool, TRADE, DAY, fewest_files=2)
    (again,) = batch_files(spool, TRADE, DAY)
    assert len(read_footer(again).replaces) == 32
    assert [f.message for f in verify(path, spool).findings] == []
    # Nor is what a compaction that died has left beside it a late one, to a file made of it.
    assert made(spool, out) == content
    first = [frames([[event(ts_event=OPEN + i, price=i / 7)] for i in range(20)])]
    (left_over,) = write_batches(spool, first, ledger=False)
    assert verify(path, spool).ok
    assert "left over by a compaction" in retire(spool, out, TRADE, DAY).kept_because
    assert compact(spool, TRADE, DAY).removed == [left_over.name]
    assert retire(spool, out, TRADE, DAY).removed == [again.name]


def test_compaction_takes_no_row_from_a_day_that_has_grown(spool: Path, out: Path) -> None:
    made(spool, out)
    late = frames([[event(ts_event=OPEN + 1000 + i)] for i in range(100)], "z", 10**5)
    write_batches(spool, [late[i : i + 10] for i in range(0, 100, 10)], first_number=100)
    for _ in range(2):
        day = edc_pipeline.read(TRADE, DAY, data=out.parent)
        assert (len(day), day.attrs["days"][str(DAY)]["state"]) == (700, "live")
        compact(spool, TRADE, DAY)
    (together,) = batch_files(spool, TRADE, DAY)
    kept = retire(spool, out, TRADE, DAY).kept_because
    assert f"came later and are not in the file: {together.name}" in kept
    assert consolidate(spool, out, TRADE, DAY, rules={}, now_ns=LATER).certificate.rows == 700
