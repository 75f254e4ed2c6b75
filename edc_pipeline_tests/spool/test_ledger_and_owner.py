"""C5: numbers add up in the ledger. I5: one collector owns a spool."""

from __future__ import annotations

import datetime as dt
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edc_pipeline.events import EventType
from edc_pipeline.spool.ledger import FrameCounts, Gap, LastHeard, Ledger, Source
from edc_pipeline.spool.owner import Owner, SpoolIsOwned, current_owner, own_spool
from edc_pipeline.spool.quarantine import QuarantinedFrame, read_quarantine, write_quarantine

DAY = dt.date(2026, 1, 22)
NEXT = dt.date(2026, 1, 23)
STOCKS = Source("stocks", "tiingo", "iex")
COINS = Source("coins", "tiingo", "crypto")


def test_flushes_add_up_over_collectors_feeds_and_days(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for collector in ("a", "b"):
        ledger.collector_started(collector, 1)
        for flush in (1, 2):
            ledger.flushed(
                collector,
                through_frame=flush * 10,
                at=flush,
                frames={
                    (STOCKS, DAY): FrameCounts(10, 7, 2, 1, 100),
                    (COINS, NEXT): FrameCounts(5, 5, 0, 0, 50),
                },
                events={(STOCKS, "trade", DAY): 7, (COINS, "trade", DAY): 5},
            )
    assert ledger.frames(DAY) == {STOCKS: FrameCounts(40, 28, 8, 4, 400)}
    assert ledger.frames() == {
        STOCKS: FrameCounts(40, 28, 8, 4, 400),
        COINS: FrameCounts(20, 20, 0, 0, 200),
    }
    assert all(counts.balanced for counts in ledger.frames().values())
    assert ledger.events_out("trade", DAY) == {STOCKS: 28, COINS: 20}
    assert ledger.events_out("quote", DAY) == {}


def test_a_flush_that_is_told_again_is_counted_once(tmp_path: Path) -> None:
    """A commit that says EIO may stand: the flusher tells it again, and what comes behind it."""
    ledger = Ledger(tmp_path)
    ledger.collector_started("a", 1)
    counts, gap = FrameCounts(10, 7, 2, 1, 100), Gap(STOCKS, "", 100, 200, None, "closed", "cut")
    for through in (9, 9, 19, 9):
        ledger.flushed(
            "a",
            through_frame=through,
            at=through,
            frames={(STOCKS, DAY): counts},
            events={(STOCKS, "trade", DAY): 7},
            gaps=[gap],
        )
    assert ledger.frames() == {STOCKS: counts + counts}
    assert ledger.events_out("trade", DAY) == {STOCKS: 14}
    assert ledger.flushed_frame("a") == 19
    assert ledger.gaps() == [gap]


def test_a_gap_opens_and_closes_in_one_entry(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.collector_started("a", 1)
    opened = Gap(STOCKS, "", 100, None, None, "open", "cut")
    ledger.flushed("a", through_frame=0, at=1, frames={}, events={}, gaps=[opened])
    assert ledger.gaps() == [opened]
    closed = Gap(STOCKS, "", 100, 200, None, "closed", "cut")
    ledger.flushed("a", through_frame=0, at=1, frames={}, events={}, gaps=[closed])
    assert ledger.gaps() == [closed]
    assert ledger.gaps(0, 100) == []
    assert ledger.gaps(199, 300) == [closed]
    assert ledger.gaps(200, 300) == []


def test_a_collector_that_stops_takes_its_open_gaps_to_their_end(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    for collector in ("a", "b"):
        ledger.collector_started(collector, 1)
        gap = Gap(STOCKS, collector, 100, None, None, "open", "cut")
        ledger.flushed(collector, through_frame=0, at=1, frames={}, events={}, gaps=[gap])
    ledger.collector_stopped("a", 170, "stopped")
    found = {gap.symbol: (gap.to_ns, gap.state) for gap in ledger.gaps()}
    assert found == {"a": (170, "closed"), "b": (None, "open")}


def test_gaps_of_one_instant_differ_by_their_numbers(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.collector_started("a", 1)
    gaps = [Gap(STOCKS, "SPY", 100, 100, 2, "closed", "lacks", first) for first in (3, 9)]
    ledger.flushed("a", through_frame=0, at=1, frames={}, events={}, gaps=gaps)
    assert ledger.gaps() == gaps


def test_who_was_heard_last(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    assert ledger.last_heard(100) == {}
    assert ledger.last_flush() is None
    ledger.collector_started("a", 1)
    frames = {(STOCKS, DAY): FrameCounts(1, 1, 0, 0, 1)}
    ledger.flushed("a", through_frame=0, at=50, frames=frames, events={})
    assert ledger.last_heard(100) == {STOCKS: LastHeard(50, 50)}
    ledger.collector_stopped("a", 70, "stopped")
    assert ledger.last_heard(100) == {STOCKS: LastHeard(70, 70)}
    assert ledger.last_flush() == ("a", 50, 70)


def test_reading_makes_no_ledger(tmp_path: Path) -> None:
    assert Ledger(tmp_path).frames() == {}
    assert list(tmp_path.iterdir()) == []


IN_A_COMMIT = (
    "db = sqlite3.connect(ledger.path, isolation_level=None)\n"
    "db.execute('pragma cache_size=1'); db.execute('begin')\n"
    "rows = ((f'x{n}' * 50, 9 + n) for n in range(2000))\n"
    "db.executemany('insert into collectors (collector, started_at) values (?, ?)', rows)\n"
    "os._exit(9)\n"
)


@pytest.mark.parametrize("read_only", [False, True])
def test_what_a_process_left_that_was_killed_in_a_commit_is_taken_back(
    tmp_path: Path, read_only: bool
) -> None:
    spool = tmp_path / "spool"
    code = (
        "import os, sqlite3; from pathlib import Path\n"
        "from edc_pipeline.spool.ledger import Ledger\n"
        f"ledger = Ledger(Path({str(spool)!r}))\n"
        f"ledger.collector_started('a', 7)\n{IN_A_COMMIT}"
    )
    subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2])
    assert (spool / "_ledger.sqlite-journal").stat().st_size
    if not read_only:
        assert Ledger(spool).last_flush() == ("a", 7, None)
        return
    with read_only_mount(spool, tmp_path / "mounted") as mounted:
        assert Ledger(mounted).last_flush() == ("a", 7, None)


@contextmanager
def read_only_mount(folder: Path, place: Path) -> Iterator[Path]:
    place.mkdir()
    bind = ["mount", "--bind", str(folder), str(place)]
    if subprocess.run(bind, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount here")
    try:
        remount = ["mount", "-o", "remount,ro,bind", str(place)]
        subprocess.run(remount, check=True, capture_output=True)
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("left_by", ["a clean end", "a killed process"])
def test_a_ledger_on_a_read_only_disk_is_read(tmp_path: Path, left_by: str) -> None:
    spool = tmp_path / "spool"
    code = (
        "import os, sys; from pathlib import Path\n"
        "from edc_pipeline.spool.ledger import Ledger\n"
        f"ledger = Ledger(Path({str(spool)!r}))\n"
        "ledger.collector_started('a', 7)\n"
        "import sqlite3; keep = sqlite3.connect(ledger.path); keep.execute('select 1')\n"
        f"ledger.collector_started('b', 8); {left_by == 'a killed process'} and os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2])
    with read_only_mount(spool, tmp_path / "mounted") as mounted:
        before = {p.name: p.read_bytes() for p in spool.iterdir()}
        assert Ledger(mounted).last_flush() == ("b", 8, None)
        assert {p.name: p.read_bytes() for p in spool.iterdir()} == before


def test_many_threads_write_one_ledger(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    collectors = ("a", "b", "c", "d")

    def add(collector: str) -> None:
        ledger.collector_started(collector, 1)
        for frame in range(10):
            events: dict[tuple[Source, EventType, dt.date], int] = {(STOCKS, "trade", DAY): 1}
            ledger.flushed(collector, through_frame=frame, at=0, frames={}, events=events)

    threads = [threading.Thread(target=add, args=(name,)) for name in collectors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.events_out("trade", DAY) == {STOCKS: 40}


def test_the_second_owner_is_told_who_the_first_is(tmp_path: Path) -> None:
    first = Owner(collector="c1", pid=os.getpid(), started_at=1, run_id="run-7")
    assert current_owner(tmp_path) == (False, None)
    with own_spool(tmp_path, first):
        assert current_owner(tmp_path) == (True, first)
        with (
            pytest.raises(SpoolIsOwned, match=r"c1.*run-7") as told,
            own_spool(tmp_path, Owner(collector="c2", pid=1, started_at=2)),
        ):
            pytest.fail("two owners")
        assert told.value.owner == first
        assert current_owner(tmp_path) == (True, first)
    assert current_owner(tmp_path) == (False, None)
    with own_spool(tmp_path, first):
        pass


def test_the_kernel_lets_go_when_the_owner_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path\n"
        "from edc_pipeline.spool.owner import Owner, own_spool\n"
        f"with own_spool(Path({str(tmp_path)!r}), Owner(collector='x', pid=1, started_at=1)):\n"
        "    print('held', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        held, owner = current_owner(tmp_path)
        assert held
        assert owner is not None
        assert owner.collector == "x"
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    assert current_owner(tmp_path)[0] is False


def test_quarantine_keeps_the_bytes(tmp_path: Path) -> None:
    frames = [
        QuarantinedFrame(STOCKS, "c/stocks/0.0", 3, 99, "why", bytes(range(256))),
        QuarantinedFrame(COINS, "c/coins/0.0", 5, 101, "why not", b""),
    ]
    write_quarantine(tmp_path, day=DAY, collector="c", first_frame=0, last_frame=5, frames=frames)
    assert read_quarantine(tmp_path, DAY) == frames
    assert read_quarantine(tmp_path, NEXT) == []
