"""A daily file of another day, or of another event type, under this day's name: whole, sealed and
balanced, and yet nobody may take it for this day's."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import edc_pipeline
from edc_pipeline.cli.diff import diff
from edc_pipeline.cli.show import show
from edc_pipeline.cli.status import status
from edc_pipeline.consolidation.errors import NoSuchData
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.consolidation.names import daily_file, version_files
from edc_pipeline.consolidation.retention import retire
from edc_pipeline.consolidation.verification import verify
from edc_pipeline.day_report.earlier import rows_of
from edc_pipeline.day_report.the_day import files_of
from edc_pipeline.defs.due_days import due_days
from edc_pipeline.events import EventType
from edc_pipeline.market_day import midnight_ns
from edc_pipeline.replay.daily_file import DailyFile, NotADailyFile
from edc_pipeline.spool.layout import batch_files
from edc_pipeline_tests.consolidation.spools import DAY, OPEN, event, frames, write_batches

THE_DAY_BEFORE = DAY - dt.timedelta(days=1)
LATER = midnight_ns(DAY) + 10 * 86_400 * 10**9
OTHERS: list[tuple[EventType, dt.date]] = [("trade", THE_DAY_BEFORE), ("quote", DAY)]


@pytest.fixture(params=OTHERS, ids=["another day", "another type"])
def path(request: pytest.FixtureRequest, tmp_path: Path, spool: Path, out: Path) -> Path:
    """That of the 22nd's trades, where something else lies."""
    for number, (event_type, day) in enumerate([("trade", DAY), *OTHERS]):
        opens = OPEN + midnight_ns(day) - midnight_ns(DAY)
        rows = [event(event_type, ts_event=opens + i) for i in range(50 + number)]
        write_batches(
            *(spool, [frames([rows])]), event_type=event_type, day=day, first_number=number
        )
        consolidate(spool, out, event_type, day, rules={}, now_ns=LATER)
    shutil.copy(daily_file(out, *request.param), daily_file(out, "trade", DAY))
    return daily_file(out, "trade", DAY)


def test_the_day_is_made_anew_and_that_is_told(path: Path, spool: Path, out: Path) -> None:
    made = consolidate(spool, out, "trade", DAY, rules={}, now_ns=LATER)
    assert not made.unchanged
    told = made.certificate
    assert (told.event_type, told.day, told.rows) == ("trade", DAY.isoformat(), 50)
    assert any("it is another file under this name" in warning for warning in made.warnings)
    assert len(version_files(path)) == 1
    assert verify(path, spool).ok
    assert len(edc_pipeline.read("trade", DAY, data=out.parent)) == 50


def test_nobody_reads_it_as_this_days(path: Path, out: Path) -> None:
    with pytest.raises(NoSuchData, match="its name says trade of 2026-01-22, its certificate"):
        edc_pipeline.read("trade", DAY, data=out.parent)
    assert rows_of(path) is None
    with pytest.raises(NotADailyFile, match="its name says trade of 2026-01-22"):
        DailyFile(path)


def called(command: object, *arguments: object) -> Result:
    assert callable(command)
    return CliRunner().invoke(command, [str(a) for a in arguments])  # type: ignore[arg-type]


def test_every_command_says_so(
    path: Path, spool: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = "its name says trade of 2026-01-22, its certificate"
    assert [says in f.message for f in verify(path).findings if f.severity == "error"] == [True]
    shown = called(show, path)
    assert shown.exit_code == 1
    assert says in " ".join(shown.output.split())
    compared = called(diff, path, path)
    assert compared.exit_code != 0
    assert says in " ".join(compared.output.split())
    assert says in retire(spool, out, "trade", DAY).kept_because
    assert len(batch_files(spool, "trade", DAY)) == 1
    monkeypatch.setenv("EDC_DATA_DIR", str(out.parent))
    looked = called(status, "--days", 36500, "--json")
    assert says in looked.output


def test_the_nightly_run_and_the_days_report_know_it_for_what_it_is(
    path: Path, spool: Path, out: Path
) -> None:
    due = due_days(spool, out, DAY + dt.timedelta(days=3), look_back_days=4)
    assert (DAY, "trade", "missed") in list(due)
    (trades,) = (f for f in files_of(spool, out, DAY) if f.event_type == "trade")
    assert trades.wrong
    assert "its name says trade of 2026-01-22" in trades.in_words


def test_a_version_is_held_against_its_name_too(path: Path, out: Path) -> None:
    version = out / "versions" / "consol_feeds_trade_2026_01_22.0001.h5"
    version.parent.mkdir()
    shutil.copy(path, version)
    compared = called(diff, version, version)
    assert "its name says trade of 2026-01-22" in " ".join(compared.output.split())
