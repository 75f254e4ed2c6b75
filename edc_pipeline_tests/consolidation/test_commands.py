"""`edc consolidate`, `edc verify`, `edc show`: what they print and how they exit."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edc_pipeline.cli.consolidate import _CODECS, consolidate
from edc_pipeline.cli.show import show
from edc_pipeline.cli.verify import verify
from edc_pipeline.consolidation import make
from edc_pipeline.consolidation.names import CODECS
from edc_pipeline_tests.consolidation.spools import DAY, OPEN, event, frames, write_batches


def run(spool: Path, out: Path, *more: str) -> Result:
    return CliRunner().invoke(
        consolidate, ["--spool", str(spool), "--out", str(out), "--day", str(DAY), *more]
    )


@pytest.fixture
def made(spool: Path, out: Path) -> Path:
    rows = frames([[event(ts_event=OPEN + i, symbol=f"S{i % 30}")] for i in range(90)])
    write_batches(spool, [rows])
    assert run(spool, out).exit_code == 0
    return out / "consol_feeds_trade_2026_01_22.h5"


def test_consolidate(made: Path, spool: Path, out: Path) -> None:
    again = run(spool, out)
    assert again.exit_code == 0
    assert "unchanged" in again.output
    assert "quote: no micro-batches of quote of 2026-01-22" in again.output.replace("\n", " ")
    told = json.loads(run(spool, out, "--json").stdout)
    assert told["files"][0]["certificate"]["rows"] == 90
    assert told["files"][0]["path"] == str(made)
    assert set(told["not_made"]) == {"quote", "ref_px"}


def test_consolidate_falls_short(made: Path, spool: Path, out: Path) -> None:
    assert run(spool, out, "--type", "quote").exit_code == 1
    write_batches(spool, [frames([[event(symbol="X")]])], ledger=False, first_number=7)
    short = run(spool, out)
    assert short.exit_code == 1
    assert "the collectors gave out 90 events" in short.output


def test_events_that_are_nowhere_fall_short(made: Path, spool: Path, out: Path) -> None:
    quotes = write_batches(spool, [frames([[event("quote")]])], event_type="quote")
    quotes[0].unlink()
    short = run(spool, out)
    assert short.exit_code == 1
    assert "though its ledger says" in " ".join(short.output.split())


@pytest.mark.parametrize(
    "wrong",
    [
        ("--day", "22.1.2026"),
        ("--day", "0001-01-01"),
        ("--day", "9999-12-31"),
        ("--type", "bar"),
        ("--codec", "lzo"),
        ("--versions", "-1"),
        ("--memory", "7MiB"),
    ],
)
def test_consolidate_called_wrongly(spool: Path, out: Path, wrong: tuple[str, str]) -> None:
    spool.mkdir()
    result = run(spool, out, *wrong)
    assert result.exit_code == 2
    assert wrong[1].strip("-") in result.output


def test_consolidate_without_a_spool(spool: Path, out: Path) -> None:
    assert run(spool, out).exit_code == 2


def test_interrupted(spool: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    write_batches(spool, [frames([[event()]])])
    monkeypatch.setattr(make, "make_plan", interrupted)
    assert run(spool, out).exit_code == 130


def test_verify(made: Path, spool: Path) -> None:
    sound = CliRunner().invoke(verify, [str(made), "--spool", str(spool)])
    assert sound.exit_code == 0
    assert "sound, 90 rows" in sound.output
    made.write_bytes(made.read_bytes()[:-9])
    result = CliRunner().invoke(verify, [str(made), "--json"])
    assert result.exit_code == 1
    told = json.loads(result.stdout)["files"][0]
    assert not told["ok"]
    assert told["findings"][0]["severity"] == "error"
    assert CliRunner().invoke(verify, []).exit_code == 2
    assert CliRunner().invoke(verify, ["absent.h5"]).exit_code == 2


def test_show(made: Path, tmp_path: Path) -> None:
    shown = CliRunner().invoke(show, [str(made), "--symbols", "3"])
    assert shown.exit_code == 0
    for words in ("90 trade rows of 2026-01-22", "and 27 more symbols", "balances"):
        assert words in shown.output
    told = json.loads(CliRunner().invoke(show, [str(made), "--symbols", "3", "--json"]).stdout)
    assert (told["rows"], len(told["symbols"]), told["symbols_count"]) == (90, 3, 30)
    assert len(told["rate"]) == 48
    foreign = tmp_path / "foreign.h5"
    foreign.write_bytes(b"no")
    wrong = CliRunner().invoke(show, [str(foreign)])
    assert wrong.exit_code == 1
    assert "no readable daily file" in wrong.output


@pytest.mark.parametrize("command", ["consolidate", "verify", "show"])
def test_help_has_an_example_and_loads_nothing_heavy(command: str) -> None:
    code = (
        f"import sys; from edc_pipeline.cli.{command} import {command} as c\n"
        "try: c(['--help'])\n"
        "finally: print({'polars', 'pandas', 'tables', 'h5py', 'rich'} & set(sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert f"Example: edc {command}" in " ".join(told.stdout.split())
    assert told.stdout.strip().endswith("set()")


def test_the_codecs_offered_are_those_there_are() -> None:
    assert _CODECS == CODECS
