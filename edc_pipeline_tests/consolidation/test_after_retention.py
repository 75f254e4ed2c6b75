"""Micro-batches are retired, and what lies in the place of their daily file does not hold them."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import edc_pipeline
from edc_pipeline.cli.backfill import backfill
from edc_pipeline.cli.status import status
from edc_pipeline.consolidation.errors import CannotConsolidate, NoSuchData, RowsMissing
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.consolidation.names import daily_file, version_files
from edc_pipeline.consolidation.retention import retire
from edc_pipeline.consolidation.verification import verify
from edc_pipeline.day_report.the_day import files_of
from edc_pipeline.defs.due_days import due_days
from edc_pipeline.market_day import midnight_ns
from edc_pipeline.spool.compaction import compact
from edc_pipeline.spool.layout import batch_files, day_folder
from edc_pipeline.spool.ledger import Ledger
from edc_pipeline.spool.retired import retired
from edc_pipeline_tests.consolidation.spools import DAY, OPEN, event, frames, write_batches

LATER = midnight_ns(DAY) + 10 * 86_400 * 10**9
ROWS = frames([[event(ts_event=OPEN + i, price=i / 7)] for i in range(200)])
BATCHES = [ROWS[i : i + 10] for i in range(0, 200, 10)]


def make(spool: Path, out: Path) -> Path:
    return consolidate(spool, out, "trade", DAY, rules={}, now_ns=LATER).path


@pytest.fixture
def path(spool: Path, out: Path) -> Path:
    """Made of ten, then of twenty, which are gone."""
    Ledger(spool).collector_started("one", OPEN)
    write_batches(spool, BATCHES[:10])
    make(spool, out)
    write_batches(spool, BATCHES[10:], first_number=10)
    path = make(spool, out)
    Ledger(spool).flushed("one", through_frame=10**6, at=OPEN, frames={}, events={})
    return path


def put_older_in_place(path: Path) -> Path:
    """The right one is kept beside."""
    right = path.with_name("kept.h5")
    path.rename(right)
    (version,) = version_files(path)
    version.rename(path)
    return right


LACKS = r"it lacks 10 of them of 100 rows \(one-000000010000-000000010999.parquet, "


def test_an_older_version_is_not_taken_for_the_file(path: Path, spool: Path, out: Path) -> None:
    assert len(retire(spool, out, "trade", DAY).removed) == 20
    right = put_older_in_place(path)
    with pytest.raises(CannotConsolidate, match=LACKS + ".*no version in .* holds all of them"):
        make(spool, out)
    with pytest.warns(RowsMissing, match=LACKS):
        day = edc_pipeline.read("trade", DAY, data=out.parent)
    assert len(day) == 100
    told = day.attrs["days"][str(DAY)]
    assert (told["state"], told["balanced"]) == ("provisional", False)
    assert "it lacks 10" in told["why"]
    with pytest.warns(RowsMissing, match=LACKS):
        list(edc_pipeline.read("trade", DAY, data=out.parent, blocks=60))
    said = [f.message for f in verify(path, spool).findings if f.severity == "error"]
    assert "it lacks 10 of them" in said[0]
    # The version that holds them is found, and named.
    version = out / "versions" / path.name.replace(".h5", ".0007.h5")
    right.rename(version)
    with pytest.raises(CannotConsolidate, match=f"{version.name} holds them all, copy it to"):
        make(spool, out)
    shutil.copy(version, path)
    assert consolidate(spool, out, "trade", DAY, rules={}, now_ns=LATER).unchanged
    assert len(edc_pipeline.read("trade", DAY, data=out.parent)) == 200


def test_everybody_who_looks_at_the_day_says_so(
    path: Path, spool: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    retire(spool, out, "trade", DAY)
    put_older_in_place(path)
    due = due_days(spool, out, DAY + dt.timedelta(days=3), look_back_days=4)
    assert (DAY, "trade", "missed") in list(due)
    (trades,) = (f for f in files_of(spool, out, DAY) if f.event_type == "trade")
    assert trades.wrong
    assert "it lacks 10 of them" in trades.in_words
    monkeypatch.setenv("EDC_DATA_DIR", str(out.parent))
    assert "it lacks 10 of them" in CliRunner().invoke(status, ["--days", "36500", "--json"]).output
    call = ["--from", str(DAY), "--to", str(DAY), "--type", "trade", "--json"]
    assert "it lacks 10 of them" in CliRunner().invoke(backfill, call).output


def test_without_a_file_nothing_is_read_that_came_later(path: Path, spool: Path, out: Path) -> None:
    retire(spool, out, "trade", DAY)
    path.unlink()
    write_batches(spool, [frames([[event(symbol="LATE")]], "z", 10**7)], first_number=900)
    with pytest.raises(NoSuchData, match="20 micro-batches of trade of 2026-01-22 were retired"):
        edc_pipeline.read("trade", DAY, data=out.parent)


def test_what_was_compacted_before_it_went_is_known_by_what_it_was(
    path: Path, spool: Path, out: Path
) -> None:
    compact(spool, "trade", DAY)
    assert len(retire(spool, out, "trade", DAY).removed) == 1
    assert consolidate(spool, out, "trade", DAY, rules={}, now_ns=LATER).unchanged
    put_older_in_place(path)
    with pytest.raises(CannotConsolidate, match="it lacks 1 of them of 200 rows"):
        make(spool, out)


def test_what_is_brought_back_is_retired_no_more(path: Path, spool: Path, out: Path) -> None:
    images = {p: p.read_bytes() for p in batch_files(spool, "trade", DAY)}
    retire(spool, out, "trade", DAY)
    path.unlink()
    for micro_batch, image in images.items():
        micro_batch.write_bytes(image)
    assert consolidate(spool, out, "trade", DAY, rules={}, now_ns=LATER).certificate.rows == 200


def test_a_list_of_an_older_version_and_a_damaged_one(path: Path, spool: Path, out: Path) -> None:
    retire(spool, out, "trade", DAY)
    noted = day_folder(spool, "trade", DAY) / "_retired.json"
    names = [b.name for b in retired(spool, "trade", DAY)]
    noted.write_text(str(names).replace("'", '"'))
    assert consolidate(spool, out, "trade", DAY, rules={}, now_ns=LATER).unchanged
    put_older_in_place(path)
    with pytest.raises(CannotConsolidate, match="it lacks 10 of them \\(one-"):
        make(spool, out)
    noted.write_text('["one')
    with pytest.raises(CannotConsolidate, match="the list of what was retired, is damaged"):
        make(spool, out)
    assert "is damaged" in " ".join(f.message for f in verify(path, spool).findings)
    daily_file(out, "trade", DAY).unlink()
    with pytest.raises(NoSuchData, match="is damaged"):
        edc_pipeline.read("trade", DAY, data=out.parent)
