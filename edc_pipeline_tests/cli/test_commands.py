"""The commands as processes: capture and its ends, status, gaps, doctor, demo."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from edc_pipeline.cli import COMMANDS
from edc_pipeline.spool.layout import days_in
from edc_pipeline.spool.ledger import Gap, Ledger, Source
from edc_pipeline.spool.owner import current_owner
from edc_pipeline_tests.cli.calling import Said, edc, start

FEEDS = """\
data_dir: data
feeds:
  stocks:
    vendor: tiingo
    feed: iex
    symbols: [SPY, AAPL]
    options: {{threshold_level: 0}}
    url: ws://127.0.0.1:{port}/iex
  currencies:
    vendor: tiingo
    feed: fx
    symbols: [EUR/USD]
    url: ws://127.0.0.1:{port}/fx
capture:
  flush_seconds: 1
"""


def until(what: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come to that in time"
        time.sleep(0.05)


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[int]:
    """A simulated exchange of its own process; its port."""
    words = ("--port", "0", "--rate", "400", "--for", "60", "--json")
    process = start("simulate", *words, cwd=tmp_path)
    assert process.stdout is not None
    yield int(json.loads(process.stdout.readline())["port"])
    process.terminate()
    process.communicate(timeout=10)


@pytest.fixture
def home(tmp_path: Path, exchange: int) -> Path:
    (tmp_path / "feeds.yaml").write_text(FEEDS.format(port=exchange))
    return tmp_path


def capturing(home: Path) -> subprocess.Popen[str]:
    """A capture that has already flushed once: the ledger's entry comes last."""
    process = start("capture", cwd=home)
    spool = home / "data" / "spool"

    def counted() -> bool:  # files come first: killed in between, they count for nothing yet
        return any(Ledger(spool).events_out(*found) for found in days_in(spool))

    until(lambda: process.poll() is not None or counted())
    assert process.poll() is None, process.communicate()
    return process


def rows_and_ledger_agree(spool: Path) -> int:
    from edc_pipeline.spool.inventory import inventory  # noqa: PLC0415

    rows = 0
    for found in inventory(spool):
        assert not found.unreadable
        assert sum(Ledger(spool).events_out(found.event_type, found.day).values()) == found.rows
        rows += found.rows
    assert all(counts.balanced for counts in Ledger(spool).frames().values())
    return rows


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)], ids=["Ctrl-C", "SIGTERM"]
)
def test_a_signal_drains_capture(home: Path, number: signal.Signals, code: int) -> None:
    process = capturing(home)
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == code, err
    assert "Traceback" not in err
    spool = home / "data" / "spool"
    assert current_owner(spool) == (False, None)
    status = json.loads(edc("status", "--json", cwd=home).out)
    heard = sum(sum(f["events"].values()) for f in status["collector"]["feeds"])
    # All that was heard is on disk: nothing was lost in the drain.
    assert rows_and_ledger_agree(spool) == heard > 0
    assert status["collector"]["waiting_rows"] == 0
    assert not list((home / "data").rglob("*.tmp"))


def test_after_kill_9_every_file_is_whole_and_the_next_collector_starts(home: Path) -> None:
    process = capturing(home)
    process.kill()
    process.communicate(timeout=20)
    spool = home / "data" / "spool"
    assert current_owner(spool)[0] is False
    before = rows_and_ledger_agree(spool)
    again = start("capture", "--for", "2", "--json", cwd=home)
    out, err = again.communicate(timeout=30)
    assert again.returncode == 0, err
    assert json.loads(out)["why"] == "its 2 s are over"
    assert rows_and_ledger_agree(spool) > before
    said = edc("gaps", cwd=home)
    assert said.code == 1
    assert "no collector was running" in said.out


def test_the_journal_of_a_killed_collector_can_be_read(home: Path) -> None:
    process = capturing(home)
    process.kill()
    process.communicate(timeout=20)
    segments = [json.loads(line) for line in edc("journal", "list", "--json", cwd=home).out.split()]
    assert sum(s["frames"] for s in segments) > 10
    assert edc("journal", "verify", cwd=home).code == 0
    frames = edc("journal", "cat", segments[0]["path"], cwd=home)
    assert len(frames.out.splitlines()) == segments[0]["frames"]
    decoded = edc("decode", "--vendor", "tiingo", cwd=home, stdin=frames.out.encode())
    assert decoded.code == 0
    assert "edc journal" in edc("journal", "--help", cwd=home).out
    segment = Path(segments[0]["path"])
    torn = home / segment
    torn.write_bytes(torn.read_bytes()[:-3])
    assert edc("journal", "verify", cwd=home).code == 0
    (torn.parent / "999999999999.wal").write_bytes(b"no segment")
    said = edc("journal", "verify", cwd=home)
    assert said.code == 1
    assert "lacks its last 3 bytes" in said.out


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Said]:
    """One demo for all who look at what it leaves."""
    home = tmp_path_factory.mktemp("demo")
    return home, edc("demo", cwd=home)


def test_the_quarantine_gives_the_bytes_back(demo: tuple[Path, Said]) -> None:
    tmp_path = demo[0]
    listed = edc("quarantine", "list", "--json", cwd=tmp_path, EDC_DATA_DIR="demo")
    assert listed.code == 1
    frame = json.loads(listed.out)
    assert "not a Tiingo message" in frame["reason"]
    shown = edc("quarantine", "show", str(frame["frame"]), cwd=tmp_path, EDC_DATA_DIR="demo")
    assert shown.code == 0
    assert shown.out.startswith("{")
    assert edc("quarantine", "show", "999999", cwd=tmp_path, EDC_DATA_DIR="demo").code == 1
    said = edc("quarantine", "list", cwd=tmp_path, EDC_DATA_DIR="demo")
    assert "stocks" in said.out
    of_a_day = ("quarantine", "list", "--day", "2020-01-01")
    assert edc(*of_a_day, cwd=tmp_path, EDC_DATA_DIR="demo").code == 0


def test_a_second_collector_is_told_who_the_first_is(home: Path) -> None:
    process = capturing(home)
    try:
        said = edc("capture", cwd=home)
        assert said.code == 2
        assert str(process.pid) in said.err
        assert "Traceback" not in said.err
        shown = edc("status", cwd=home)
        assert shown.code == 0
        assert f"process {process.pid}" in shown.out
        assert "stocks" in shown.out
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert edc("status", cwd=home).code == 1


def test_capture_says_what_is_missing(tmp_path: Path) -> None:
    assert "no feeds" in edc("capture", cwd=tmp_path).err
    feeds = FEEDS.format(port=1).replace("ws://127.0.0.1:1/iex", "wss://api.tiingo.com/iex")
    (tmp_path / "feeds.yaml").write_text(feeds)
    said = edc("capture", cwd=tmp_path)
    assert said.code == 2
    assert "EDC_TIINGO_TOKEN" in said.err
    (tmp_path / "feeds.yaml").write_text(feeds.replace("tiingo\n", "tingo\n"))
    said = edc("capture", cwd=tmp_path)
    assert said.code == 2
    assert "feeds.yaml line 4" in said.err
    assert "Traceback" not in said.err


def test_a_refused_key_ends_capture_with_the_vendors_word(tmp_path: Path) -> None:
    process = start(
        "simulate", "--port", "0", "--for", "30", "--json", "--token", "right", cwd=tmp_path
    )
    try:
        assert process.stdout is not None
        port = json.loads(process.stdout.readline())["port"]
        (tmp_path / "feeds.yaml").write_text(FEEDS.format(port=port))
        said = edc("capture", cwd=tmp_path, EDC_TIINGO_TOKEN="wrong-8c1f")
        assert said.code == 1
        assert "refused" in said.err
        assert "wrong-8c1f" not in said.err + said.out
        kept = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
        assert b"wrong-8c1f" not in kept
    finally:
        process.terminate()
        process.communicate(timeout=10)


def test_status_and_gaps_of_nothing(tmp_path: Path) -> None:
    said = edc("status", cwd=tmp_path)
    assert said.code == 1
    assert "nothing was ever captured" in said.out
    for words in (("gaps",), ("quarantine", "list"), ("journal", "list")):
        said = edc(*words, cwd=tmp_path)
        assert said.code == 2
        assert "there is no spool at data/spool" in said.err
    for day in ("22.1.2026", "9999-12-31", "0001-01-01"):
        assert edc("gaps", "--day", day, cwd=tmp_path).code == 2


def test_a_damaged_ledger_and_a_file_in_the_way_are_told_in_words(tmp_path: Path) -> None:
    spool = tmp_path / "data" / "spool"
    spool.mkdir(parents=True)
    (spool / "_ledger.sqlite").write_text("garbage, whatever its name says" * 40)
    (tmp_path / "file").touch()
    for data in ("data", "file"):
        for words in (("gaps",), ("status",), ("doctor", "--offline")):
            said = edc(*words, cwd=tmp_path, EDC_DATA_DIR=data)
            assert said.code in (1, 2)
            assert "Traceback" not in said.err
    assert "wrong   spool" in edc("doctor", "--offline", cwd=tmp_path).out
    assert edc("doctor", "--port", "99999", cwd=tmp_path).code == 2


def test_doctor_tells_each_fault_and_its_remedy(tmp_path: Path) -> None:
    (tmp_path / "feeds.yaml").write_text(
        FEEDS.format(port=1).replace("ws://127.0.0.1:1/iex", "wss://api.tiingo.com/iex")
    )
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = edc("doctor", "--json", "--offline", "--port", str(port), cwd=tmp_path)
    found = {(f["what"], f["state"]): f for f in map(json.loads, said.out.splitlines())}
    assert said.code == 1
    assert "export EDC_TIINGO_TOKEN=" in found["key", "wrong"]["remedy"]
    assert f"--port {port + 1}" in found["port", "warning"]["remedy"]
    assert "edc simulate --port 1" in found["address", "warning"]["remedy"]
    (tmp_path / "feeds.yaml").write_text("feeds: {a: {vendor: x}}\ncapture: {flush: 1}\n")
    said = edc("doctor", "--offline", cwd=tmp_path)
    assert said.code == 1
    assert said.out.count("wrong   settings") == 3
    assert "feeds.yaml line 2" in said.out


def test_the_demo_balances_and_its_lines_work_as_pasted(demo: tuple[Path, Said]) -> None:
    tmp_path, said = demo
    assert said.code == 0, said.out + said.err
    assert said.out.count("   balances") == 8
    assert "SHORT" not in said.out
    assert "1 cut, 1 torn, 300 sent again" in said.out
    lines = [line.strip() for line in said.out.splitlines() if "pd.read_hdf" in line]
    assert len(lines) == 3
    frames = [eval(line, {"pd": pd}) for line in lines]  # as a person would paste them
    assert all(isinstance(frame, pd.DataFrame) and len(frame) for frame in frames)
    assert set(frames[1]["symbol"]) == {"SPY"}
    # What is not a demo's is never removed, in a demo's folder neither.
    (tmp_path / "demo" / "mine.yaml").touch()
    assert edc("demo", cwd=tmp_path).code == 2
    assert (tmp_path / "demo" / "mine.yaml").exists()
    assert (tmp_path / "demo" / "daily").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    assert edc("demo", "--dir", "mine", cwd=tmp_path).code == 2
    assert (tmp_path / "mine" / "file").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(tmp_path: Path, command: str) -> None:
    said = edc(command, "--help", cwd=tmp_path)
    assert said.code == 0
    assert "Example" in said.out


def test_an_unknown_command_is_told(tmp_path: Path) -> None:
    said = edc("captur", cwd=tmp_path)
    assert said.code == 2
    assert "captur" in said.err


def test_what_a_vendor_named_does_not_steer_the_terminal(tmp_path: Path) -> None:
    """An older ledger may hold it."""
    (tmp_path / "feeds.yaml").write_text(FEEDS.format(port=1))
    spool, now = tmp_path / "data" / "spool", time.time_ns()
    stored = "X\x1b[31mEVIL\n2026-01-01 INFO fake\u202e"
    source = Source("stocks", "tiingo", "iex")
    gaps = [Gap(source, stored, now, now + 1, 1, "closed", stored, n) for n in range(3)]
    Ledger(spool).flushed("c1", through_frame=-1, at=1, frames={}, events={}, gaps=gaps)
    told = edc("gaps", cwd=tmp_path)
    assert told.code == 1
    assert all(line.isprintable() for line in told.out.splitlines())
    assert len(told.out.splitlines()) == 4
    status = json.loads(edc("status", "--json", cwd=tmp_path).out)
    assert (status["gaps_today"], status["open_gaps"]) == (3, 0)
