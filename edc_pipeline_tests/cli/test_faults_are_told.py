"""Damaged files and wrong calls: a line that says what and where, and the exit code that fits."""

from __future__ import annotations

import base64
import datetime as dt
import json
import socket
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edc_pipeline.spool.layout import STATUS, quarantine_folder
from edc_pipeline.spool.ledger import Source
from edc_pipeline.spool.quarantine import QuarantinedFrame, write_quarantine
from edc_pipeline_tests.cli.calling import edc

DAY = dt.date(2026, 1, 22)
BYTES = b"\xffnot a message"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A spool with one quarantined frame."""
    spool = tmp_path / "data" / "spool"
    frame = QuarantinedFrame(
        Source("stocks", "tiingo", "iex"), "c1/stocks/0.0", 7, 1769092200000000000, "torn", BYTES
    )
    write_quarantine(
        spool, day=DAY, collector="c1", first_frame=0, last_frame=9, frames=[frame], lines=[]
    )
    (spool / "event_type=trade").mkdir()
    return tmp_path


def test_a_quarantined_frame_is_shown_with_all_that_is_known(home: Path) -> None:
    said = edc("quarantine", "show", "7", "--json", cwd=home)
    assert said.code == 0
    told = json.loads(said.out)
    assert (told["source"], told["reason"], told["frame"]) == ("stocks", "torn", 7)
    assert base64.b64decode(told["payload"]) == BYTES
    assert edc("quarantine", "show", "8", "--json", cwd=home).code == 1


def test_a_torn_file_of_the_quarantine_does_not_hide_the_others(home: Path) -> None:
    folder = quarantine_folder(home / "data" / "spool", DAY)
    whole = next(folder.iterdir())
    torn = folder / whole.name.replace("c1", "c0")
    torn.write_bytes(whole.read_bytes()[:200])
    for words in (("list", "--json"), ("show", "7", "--json")):
        said = edc("quarantine", *words, cwd=home)
        assert said.code == 1
        assert json.loads(said.out)["frame"] == 7
        assert torn.name in said.err
        assert str(folder.name) in said.err


def test_a_foreign_file_in_the_quarantine_is_told_and_left_alone(home: Path) -> None:
    folder = quarantine_folder(home / "data" / "spool", DAY)
    foreign = folder / next(folder.iterdir()).name.replace("c1", "c0")
    pq.write_table(pa.table({"price": [1.0]}), foreign)
    for words in (("list",), ("show", "7", "--json"), ("retry",)):
        said = edc("quarantine", *words, cwd=home)
        assert f"{foreign.name}: its columns are price" in said.err, said
        assert "Traceback" not in said.err
    assert foreign.exists()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"at": "soon"}', "\x00"])
def test_a_damaged_status_file_is_named(home: Path, text: str) -> None:
    (home / "data" / "spool" / STATUS).write_text(text)
    said = edc("status", cwd=home)
    assert said.code == 1
    assert f"{STATUS} is damaged: " in said.out
    assert "Traceback" not in said.err
    told = json.loads(edc("status", "--json", cwd=home).out)
    assert told["collector"] is None
    assert STATUS in told["problem"]


def test_verify_against_what_is_no_spool_is_a_wrong_call(tmp_path: Path) -> None:
    (tmp_path / "file.h5").write_bytes(b"")
    said = edc("verify", "file.h5", "--spool", tmp_path, cwd=tmp_path)
    assert (said.code, "there is no spool at" in said.err) == (2, True)


def test_doctor_names_a_missing_file_and_a_taken_port(tmp_path: Path) -> None:
    said = edc("doctor", "--config", "/nope.yaml", cwd=tmp_path)
    assert (said.code, "/nope.yaml: there is no such file" in said.err) == (2, True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = edc("doctor", "--offline", cwd=tmp_path, EDC_CAPTURE__METRICS_PORT=str(port))
        assert f"127.0.0.1:{port} for the metrics: Address already in use" in said.out
    said = edc("doctor", "--offline", cwd=tmp_path, EDC_CAPTURE__METRICS_PORT=str(port))
    assert f"127.0.0.1:{port} is free for the metrics" in said.out
