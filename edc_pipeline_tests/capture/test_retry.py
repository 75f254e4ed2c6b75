"""The quarantine read again: what a mended parser can read moves once, whenever it is killed."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edc_pipeline.capture import past_sessions, recovery
from edc_pipeline.capture import retry as retry_module
from edc_pipeline.capture.admission import Admission
from edc_pipeline.capture.flush import flush
from edc_pipeline.capture.journal.blocks import Line
from edc_pipeline.capture.queues import Queues
from edc_pipeline.capture.retry import (
    Retried,
    RetryUnderWay,
    retry_quarantine,
    undo_unfinished_retry,
)
from edc_pipeline.durable_file import write_durably
from edc_pipeline.market_day import market_day
from edc_pipeline.settings import Capture
from edc_pipeline.spool.layout import RETRY_LOCK, batch_files, days_in, frames_of
from edc_pipeline.spool.ledger import Ledger, Source
from edc_pipeline.spool.micro_batch import read_footer, read_micro_batch
from edc_pipeline.spool.owner import Owner, hold_lock
from edc_pipeline.spool.quarantine import read_quarantine, read_quarantine_file
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import Reading, Session, Subscription, control, quarantined
from edc_pipeline_tests.cli.calling import edc, environment

NOON = 1_769_101_200_000_000_000
HOUR = 3_600 * 10**9
DAY = market_day(NOON)
RULES = Capture(horizon_days=7)
TIINGO = VENDORS["tiingo"]
SOURCE = Source("stocks", "tiingo", "iex")
LINE = Line(
    number=0,
    name="stocks",
    vendor="tiingo",
    feed="iex",
    connection="c0/stocks/0.0",
    symbols=("SPY", "BRK.B"),
    asset_classes={"SPY": "etf"},
)


class Mended:
    """Tiingo's reader as of tomorrow: it knows the type N, two rows in one frame, and X."""

    acknowledged = True

    def __init__(self, asked: Subscription, secret: str) -> None:
        self._session = TIINGO.open_session(asked, secret)

    def opening(self) -> list[str]:
        return []

    def read(self, frame: bytes, received_at: int) -> Reading:
        return read_mended(self._session, frame, received_at)


def read_mended(session: Session, frame: bytes, received_at: int) -> Reading:
    try:
        message = json.loads(frame)
    except ValueError:
        return session.read(frame, received_at)
    match message["messageType"]:
        case "X":
            return control("notice", "the vendor's new goodbye")
        case "N":
            events = []
            for row in message["data"]:
                one = json.dumps({**message, "messageType": "A", "data": row}).encode()
                events += session.read(one, received_at).events
            return Reading(events=events)
    return session.read(frame, received_at)


class HalfBlind(Mended):
    """Reads the first row of an N only, and says so: the frame is in both places."""

    def read(self, frame: bytes, received_at: int) -> Reading:
        reading = super().read(frame, received_at)
        if b'"N"' in frame and b"both" in frame:
            return Reading(events=reading.events[:1], faults=["a row could not be read"])
        return self._session.read(frame, received_at)


class Mends:
    """Swaps the vendor's reader wherever sessions are opened."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch

    def __call__(self, session: Callable[[Subscription, str], Session]) -> None:
        mended = replace(TIINGO, open_session=session)
        self._patch.setattr(past_sessions, "VENDORS", {"tiingo": mended})


@pytest.fixture
def mend(monkeypatch: pytest.MonkeyPatch) -> Mends:
    return Mends(monkeypatch)


def row(number: int, ns: int = NOON, ticker: str = "brk-b") -> list[Any]:
    return ["T", "", ns, ticker, *[None] * 5, 100.0 + number, 1 + number, None, 0, 0, 0, 0]


def message(kind: str, data: Any, **more: Any) -> bytes:
    return json.dumps({"messageType": kind, "service": "iex", "data": data, **more}).encode()


# Two event days in a new frame; a goodbye; rubbish; beyond the horizon; read half at once.
FRAMES = [
    message("A", row(0)),
    message("N", [row(1), row(2, NOON + 14 * HOUR, "spy")]),
    message("X", []),
    b'{"messageType":"A","torn',
    message("N", [row(3, NOON - 30 * 24 * HOUR)]),
    message("N", [row(4), row(4)], note="both"),
    message("A", row(5)),
    message("N", [row(6), row(6), row(7, ticker="spy")]),
]
MOVE = {1, 2, 5, 7}
NEW_EVENTS = 2 + 1 + 3  # of the frame that was read half, the other half


def make_spool(spool: Path, frames: int = len(FRAMES)) -> None:
    """Two flushes, of which the second holds the last frame."""
    ledger = Ledger(spool)
    ledger.collector_started("c0", NOON)
    session, admission, queues = HalfBlind(Subscription("iex"), ""), Admission(7), Queues()
    for number, payload in enumerate(FRAMES[:frames]):
        reading = admission.read(session, payload, NOON)
        queues.put(number, SOURCE, LINE.connection, reading, payload, NOON)
        if number == 6:
            flush(spool, "c0", queues.take(), NOON, [LINE])
    flush(spool, "c0", queues.take(), NOON, [LINE])


def retry(spool: Path, **told: Any) -> Retried:
    return retry_quarantine(spool, RULES, lambda: NOON + 1, **told)


def rows_of(spool: Path) -> list[dict[str, Any]]:
    return [
        {**found, "day": day}
        for event_type, day in days_in(spool)
        for path in batch_files(spool, event_type, day)
        for found in read_micro_batch(path, event_type).to_pylist()
    ]


def adds_up(spool: Path) -> None:
    """Received = with events + control + quarantined; given out = rows, by feed, type and day."""
    (counts,) = Ledger(spool).frames().values()
    assert counts.balanced
    assert counts.received == len(FRAMES)
    kept = read_quarantine(spool, DAY)
    assert counts.quarantined == sum(not frame.events for frame in kept)
    for event_type, day in days_in(spool):
        held = sum(read_footer(p).rows for p in batch_files(spool, event_type, day))
        assert sum(Ledger(spool).events_out(event_type, day).values()) == held


def moved_once(spool: Path) -> None:
    rows = rows_of(spool)
    by_frame = Counter(r["frame"] for r in rows)
    assert by_frame == {0: 1, 1: 2, 5: 2, 6: 1, 7: 3}
    assert {f.frame for f in read_quarantine(spool, DAY)} == {3, 4}
    counts = Ledger(spool).frames()[SOURCE]
    assert (counts.with_events, counts.control, counts.quarantined) == (5, 1, 2)
    assert {r["connection"] for r in rows} == {LINE.connection}
    assert {r["created_at"] for r in rows} == {NOON}
    spy = [r for r in rows if r["symbol"] == "SPY"]
    assert {r["asset_class"] for r in spy} == {"etf"}
    assert {r["symbol"] for r in rows} == {"SPY", "BRK.B"}
    assert {r["day"] for r in spy} == {DAY, DAY + dt.timedelta(days=1)}
    # Equal rows of one frame are genuine copies, numbered as if all had been read at once.
    assert sorted(r["occurrence"] for r in rows if r["frame"] == 5) == [0, 1]
    adds_up(spool)
    assert not list(spool.rglob("*.tmp"))


def test_what_parses_moves_once(tmp_path: Path, mend: Mends) -> None:
    make_spool(tmp_path)
    adds_up(tmp_path)
    mend(TIINGO.open_session)
    assert retry(tmp_path).moved == []  # nothing was mended yet
    mend(Mended)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*.parquet")}
    told = retry(tmp_path, dry_run=True)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*.parquet")} == before
    done = retry(tmp_path)
    assert done == told
    assert {m.frame for m in done.moved} == MOVE
    assert done.events.total() == NEW_EVENTS
    assert {f.frame: why for f, why in done.stay}.keys() == {3, 4}
    assert "more than 7 days" in {f.frame: why for f, why in done.stay}[4]
    moved_once(tmp_path)
    again = retry(tmp_path)
    assert again.moved == []
    assert len(again.stay) == 2
    moved_once(tmp_path)
    assert retry(tmp_path, day=DAY + dt.timedelta(days=9)) == Retried()


def test_what_was_read_at_once_and_reads_otherwise_today_stays(tmp_path: Path, mend: Mends) -> None:
    class Otherwise(Mended):
        def read(self, frame: bytes, received_at: int) -> Reading:
            reading = super().read(frame, received_at)
            for event in reading.events:
                event.venue = "V"
            return reading

    make_spool(tmp_path)
    mend(Otherwise)
    done = retry(tmp_path)
    assert {m.frame for m in done.moved} == MOVE - {5}
    assert "otherwise" in {f.frame: why for f, why in done.stay}[5]
    adds_up(tmp_path)


def test_a_flush_that_is_not_in_the_ledger_is_left_alone(
    tmp_path: Path, mend: Mends, monkeypatch: pytest.MonkeyPatch
) -> None:
    mend(Mended)
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "flushed", lambda *_, **__: None)
        make_spool(tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*.parquet")}
    done = retry(tmp_path)
    assert (done.moved, done.later) == ([], 6)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*.parquet")} == before


def test_a_file_that_a_recovery_may_have_written_anew_meanwhile_is_left_alone(
    tmp_path: Path, mend: Mends, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read before the recovery, moved after it: what the recovery could read would be there twice.
    The recovery ends, its flush in the ledger, at the instant after the file was read."""
    mend(Mended)
    ends: dict[int, Callable[[], None]] = {}
    real = Ledger.flushed

    def not_yet(*args: Any, through_frame: int, **fields: Any) -> None:
        ends[through_frame] = lambda: real(*args, through_frame=through_frame, **fields)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "flushed", not_yet)
        make_spool(tmp_path)

    def read_then_recovered(path: Path) -> Any:
        kept, named = read_quarantine_file(path), frames_of(path)
        assert named is not None
        ends.pop(named[2])()
        return kept

    monkeypatch.setattr(retry_module, "read_quarantine_file", read_then_recovered)
    done = retry(tmp_path)
    assert (done.moved, done.later) == ([], 6)


def test_a_connection_that_the_file_does_not_tell_is_read_as_the_feed_is_set_now(
    tmp_path: Path, mend: Mends
) -> None:
    from edc_pipeline.settings_of_feeds import Feed  # noqa: PLC0415

    ledger, queues = Ledger(tmp_path), Queues()
    ledger.collector_started("c0", NOON)
    queues.put(0, SOURCE, LINE.connection, quarantined("new"), FRAMES[7], NOON)
    flush(tmp_path, "c0", queues.take(), NOON)
    mend(Mended)
    feed = Feed(vendor="tiingo", feed="iex", symbols=("SPY", "BRK.B"), asset_classes={"SPY": "etf"})
    retry(tmp_path, feeds={"stocks": feed})
    assert {(r["symbol"], r["asset_class"]) for r in rows_of(tmp_path)} == {
        ("SPY", "etf"),
        ("BRK.B", "equity"),
    }


def test_two_retries_exclude_each_other(tmp_path: Path, mend: Mends) -> None:
    make_spool(tmp_path)
    mend(Mended)
    me = Owner(collector="", pid=4242, started_at=NOON)
    with hold_lock(tmp_path / RETRY_LOCK, me), pytest.raises(RetryUnderWay, match="4242"):
        retry(tmp_path)
    retry(tmp_path)
    moved_once(tmp_path)


def test_a_retried_file_is_no_interrupted_flush(tmp_path: Path, mend: Mends) -> None:
    """Recovery looks for files of the frames behind the last flush, by name."""
    make_spool(tmp_path)
    mend(Mended)
    retry(tmp_path)
    retried = [p for t, d in days_in(tmp_path) for p in batch_files(tmp_path, t, d)]
    named = [found for p in retried if (found := frames_of(p)) and "retried" in found[0]]
    assert len(named) == 3
    assert all(recovery._uncounted_flushes(tmp_path, "c0", n) == [] for n in range(8, 20))
    assert recovery._uncounted_flushes(tmp_path, "c0", 0)[0] == (0, 6)


# kill -9 at each durable step. The steps are counted, so that a new one is killed at as well.


def die_at(step: int) -> Callable[[], None]:
    left = [step]

    def count() -> None:
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1

    return count


def retry_and_die(spool: Path, step: int) -> None:
    """In a process of its own: killed before the `step`-th durable operation."""
    count = die_at(step)

    def around(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            count()
            return real(*args, **named)

        return call

    mended = {"tiingo": replace(TIINGO, open_session=Mended)}
    past_sessions.VENDORS = mended  # type: ignore[attr-defined]
    for name in ("write_micro_batch", "write_quarantine", "fsync_path"):
        setattr(retry_module, name, around(getattr(retry_module, name)))
    from edc_pipeline.spool import micro_batch  # noqa: PLC0415

    micro_batch.write_durably = around(write_durably)  # type: ignore[attr-defined]
    Path.unlink = around(Path.unlink)  # type: ignore[method-assign]
    for name in ("retry_begins", "retried", "retry_undone"):
        setattr(Ledger, name, around(getattr(Ledger, name)))
    retry(spool)


def killed_at(spool: Path, step: int) -> bool:
    code = (
        "import sys, pathlib; from edc_pipeline_tests.capture.test_retry import retry_and_die;"
        "retry_and_die(pathlib.Path(sys.argv[1]), int(sys.argv[2]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, spool, str(step)],
        env=environment(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode != 0


def test_killed_at_any_step_and_asked_again_it_moves_once(tmp_path: Path, mend: Mends) -> None:
    mend(Mended)
    step = 0
    while True:
        spool = tmp_path / str(step)
        make_spool(spool)
        killed = killed_at(spool, step)
        if killed and step % 3 == 2:  # the repeat is killed as well
            killed_at(spool, step // 2)
        # The next collector's start alone makes the books right.
        undo_unfinished_retry(spool, NOON)
        assert sum(
            n for t, d in days_in(spool) for n in Ledger(spool).events_out(t, d).values()
        ) == len(rows_of(spool))
        retry(spool)
        moved_once(spool)
        if not killed:
            break
        step += 1
    assert step > 10


def test_the_command_tells_what_it_would_do_and_does_it(tmp_path: Path) -> None:
    spool = tmp_path / "data" / "spool"
    make_spool(spool)
    said = edc("quarantine", "retry", "--dry-run", cwd=tmp_path)
    assert said.code == 1
    assert "would move 0 frames" in said.out
    told = json.loads(edc("quarantine", "retry", "--json", cwd=tmp_path).out)
    assert (told["frames_moved"], told["frames_that_stay"]) == (0, 6)
    adds_up(spool)
    empty = tmp_path / "empty"
    empty.mkdir()
    assert edc("quarantine", "retry", cwd=empty).code == 0
    assert list(empty.iterdir()) == []
