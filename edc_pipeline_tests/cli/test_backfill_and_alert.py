"""`edc backfill` over a spool, and `edc alert test` to a receiver on this machine."""

from __future__ import annotations

import datetime as dt
import io
import json
import os
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from edc_pipeline.cli import main
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.consolidation.names import daily_file
from edc_pipeline.events import EVENT_TYPES, EventType
from edc_pipeline.market_day import midnight_ns
from edc_pipeline_tests.alerts.receiver import Receiver
from edc_pipeline_tests.consolidation.spools import event, frames, write_batches

FIRST = dt.date(2026, 3, 6)
DAYS = [FIRST + dt.timedelta(days=n) for n in range(4)]  # the 8th has 23 hours


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [n for n in os.environ if n.startswith("EDC_")]:
        monkeypatch.delenv(name)
    path = tmp_path / "feeds.yaml"
    path.write_text(f"data_dir: {tmp_path / 'data'}\n")
    for day in DAYS:
        for event_type in EVENT_TYPES:
            captured(tmp_path / "data" / "spool", event_type, day)
    return path


def captured(spool: Path, event_type: EventType, day: dt.date, collector: str = "one") -> None:
    stamp = midnight_ns(day) + 10 * 3600 * 10**9
    events = [[event(event_type, ts_event=stamp + n, created_at=stamp + n)] for n in range(5)]
    write_batches(spool, [frames(events)], event_type=event_type, day=day, collector=collector)


class Result(NamedTuple):
    exit_code: int
    output: str


def called(*arguments: str) -> Result:
    """In this process: twenty starts of Python would cost as many seconds."""
    said = io.TextIOWrapper(io.BytesIO(), write_through=True)
    with redirect_stdout(said), redirect_stderr(said), pytest.raises(SystemExit) as ended:
        main(arguments)
    return Result(int(ended.value.code or 0), said.buffer.getvalue().decode())


def days(config: Path, *arguments: str) -> list[dict[str, Any]]:
    words = ["backfill", "--config", str(config), "--json"]
    words += ["--from", str(DAYS[0]), "--to", str(DAYS[-1]), *arguments]
    result = called(*words)
    assert result.exit_code == 0, result.output
    told: list[dict[str, Any]] = json.loads(result.output)["days"]
    return told


def test_a_span_is_made_and_not_made_again(config: Path, tmp_path: Path) -> None:
    first = days(config)
    assert [d["outcome"] for d in first] == ["made"] * 12
    assert {d["state"] for d in first} == {"sealed"}
    stamps = [p.stat().st_mtime_ns for p in sorted((tmp_path / "data" / "daily").glob("*.h5"))]
    assert [d["outcome"] for d in days(config)] == ["finished before"] * 12
    assert [d["outcome"] for d in days(config, "--again")] == ["unchanged"] * 12
    again = [p.stat().st_mtime_ns for p in sorted((tmp_path / "data" / "daily").glob("*.h5"))]
    assert again == stamps


def test_the_hashes_are_those_of_the_nightly_run(config: Path, tmp_path: Path) -> None:
    hashes = {(d["day"], d["event_type"]): d["content_hash"] for d in days(config)}
    for day in DAYS:
        made = consolidate(tmp_path / "data" / "spool", tmp_path / "nightly", "trade", day)
        assert hashes[str(day), "trade"] == made.certificate.content_hash


def test_it_goes_on_where_it_was(config: Path, tmp_path: Path) -> None:
    days(config, "--type", "trade")
    daily_file(tmp_path / "data" / "daily", "trade", DAYS[2]).unlink()
    captured(tmp_path / "data" / "spool", "trade", DAYS[3], "late")
    outcomes = [d["outcome"] for d in days(config, "--type", "trade")]
    assert outcomes == ["finished before", "finished before", "made", "made"]
    assert days(config, "--type", "trade")[3]["state"] in {"restated", "sealed"}


def test_a_day_that_cannot_be_made_stops_no_other(config: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "spool" / "event_type=trade" / f"day={DAYS[1]}"
    for path in folder.iterdir():
        path.write_bytes(b"torn")
    result = called(
        *("backfill", "--config", str(config), "--type", "trade"),
        *("--from", str(DAYS[0]), "--to", str(DAYS[-1])),
    )
    assert result.exit_code == 1
    assert "2/4  2026-03-07 trade   not made" in result.output
    assert "4/4  2026-03-09 trade   made" in result.output


def test_a_span_that_holds_nothing_or_runs_backwards(config: Path) -> None:
    empty = called(
        "backfill", "--config", str(config), "--from", "2025-05-01", "--to", "2025-05-02"
    )
    assert empty.exit_code == 1
    back = called("backfill", "--config", str(config), "--from", "2025-05-02", "--to", "2025-05-01")
    assert back.exit_code == 2
    assert "before --from" in back.output


# Alerts


def test_a_test_is_heard(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as receiver:
        monkeypatch.setenv("EDC_ALERT_URLS", f"json://127.0.0.1:{receiver.port}/a")
        result = called("alert", "test", "--config", str(config), "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["failed"] == []
    (heard,) = receiver.heard
    assert heard["title"] == "edc: a test"


def test_an_address_that_does_not_take_it(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as gone:
        pass
    monkeypatch.setenv("EDC_ALERT_URLS", f"json://:s3cret@127.0.0.1:{gone.port}/a")
    result = called("alert", "test", "--config", str(config))
    assert result.exit_code == 1
    assert "did not take it" in result.output
    assert "s3cret" not in result.output


@pytest.mark.parametrize("urls", ["", "nosuchscheme://tok3n@x"])
def test_wrong_addresses_are_told_without_their_secret(
    config: Path, monkeypatch: pytest.MonkeyPatch, urls: str
) -> None:
    monkeypatch.setenv("EDC_ALERT_URLS", urls)
    result = called("alert", "test", "--config", str(config))
    assert result.exit_code == 2
    assert "appriseit.com" in result.output
    assert "tok3n" not in result.output
