"""I1 as a state machine: journal, queues, flush, ledger and recovery against a plain list.

The model is the list of frames that were ever received and how many of them were committed. A
crash may come anywhere: between commits, inside a flush after any number of its files, inside a
recovery. After the next recovery each committed frame is in exactly one place.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from edc_pipeline.capture import flush as flush_module
from edc_pipeline.capture import recovery
from edc_pipeline.capture.admission import Admission
from edc_pipeline.capture.flush import flush
from edc_pipeline.capture.journal import writer
from edc_pipeline.capture.journal.archive import read_archive, retire_segment
from edc_pipeline.capture.journal.blocks import Line
from edc_pipeline.capture.journal.writer import Journal
from edc_pipeline.capture.queues import Queues
from edc_pipeline.capture.recovery import recover
from edc_pipeline.market_day import market_day
from edc_pipeline.settings import Capture
from edc_pipeline.spool.layout import batch_files, days_in, journal_folder, segment_files
from edc_pipeline.spool.ledger import Ledger, Source
from edc_pipeline.spool.micro_batch import read_micro_batch
from edc_pipeline.spool.quarantine import read_quarantine
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import Subscription
from edc_pipeline_tests.dice import examples

NOON = 1_769_101_200_000_000_000
HOUR = 3_600 * 10**9
SOURCE = Source("stocks", "tiingo", "iex")
RULES = Capture(horizon_days=30, flush_rows=7)


class Crash(BaseException):
    """The process is gone: nothing below it may clean up."""


def frame_bytes(kind: str, number: int) -> bytes:
    ns = NOON + number * 7 * HOUR % (3 * 24 * HOUR)
    match kind:
        case "trade":
            row: list[Any] = ["T", "", ns, "spy", *[None] * 5, 1.0 + number, 1, None, 0, 0, 0, 0]
        case "quote":
            row = ["Q", "", ns, "spy", 1, 2.0, 2.5, 3.0 + number, 4]
        case "rubbish":
            return b'{"messageType":"A","torn' + b"%d" % number
        case _:
            return b'{"response":{"code":200,"message":"HeartBeat"},"messageType":"H"}'
    return json.dumps({"messageType": "A", "service": "iex", "data": row}).encode()


alive = precondition(lambda self: bool(self.collector))
dead = precondition(lambda self: not self.collector)


class Spool(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="edc-machine-"))
        self.loop = asyncio.new_event_loop()
        self.numbers = itertools.count()
        self.received: dict[str, list[bytes]] = {}
        self.committed: dict[str, int] = {}
        self.collector = ""
        self.begin()

    def teardown(self) -> None:
        try:
            if self.collector:
                self.die(b"")
            recover(self.folder, RULES, lambda: NOON)
            self.check()
        finally:
            self.loop.close()
            shutil.rmtree(self.folder)

    def begin(self) -> None:
        self.collector = f"c{len(self.received)}"
        self.received[self.collector] = []
        self.committed[self.collector] = 0
        Ledger(self.folder).collector_started(self.collector, NOON)
        self.journal = Journal(self.folder, self.collector, segment_bytes=600)
        self.connection = f"{self.collector}/stocks/0.0"
        self.journal.new_line(
            Line(number=0, name="stocks", vendor="tiingo", feed="iex", connection=self.connection)
        )
        self.queues, self.admission = Queues(), Admission(30)
        self.session = VENDORS["tiingo"].open_session(Subscription("iex"), "")
        self.sealed: list[Any] = []

    def note_commit(self) -> None:
        self.committed[self.collector] = self.journal.committed_frame + 1

    @alive
    @rule(kinds=st.lists(st.sampled_from(["trade", "quote", "rubbish", "heartbeat"]), max_size=8))
    def frames_arrive(self, kinds: list[str]) -> None:
        for kind in kinds:
            payload = frame_bytes(kind, next(self.numbers))
            ordinal = self.journal.append(0, NOON, payload)
            reading = self.admission.read(self.session, payload, NOON)
            self.queues.put(ordinal, SOURCE, self.connection, reading, payload, NOON)
            self.received[self.collector].append(payload)

    @alive
    @rule()
    def commit(self) -> None:
        self.loop.run_until_complete(self.journal.commit())
        self.note_commit()

    @alive
    @rule()
    def a_commit_is_refused(self) -> None:
        """All its bytes are written, then its sync is refused, and the cut behind it too."""
        sync, refusals = os.fdatasync, [OSError(errno.EIO, "no")]

        def refused_once(descriptor: int) -> None:
            if refusals:
                raise refusals.pop()
            sync(descriptor)

        self.frames_arrive(["trade"])
        self.commit()  # mostly into a segment that goes on
        self.frames_arrive(["quote"])
        with (
            mock.patch.object(os, "fdatasync", refused_once),
            mock.patch.object(os, "ftruncate", side_effect=OSError(errno.EIO, "no")),
            mock.patch.object(writer, "_RETRY_S", 0.0),
        ):
            self.commit()

    @alive
    @rule()
    def flush(self) -> None:
        self.commit()
        taken = self.queues.take()
        if not taken.empty:
            flush(self.folder, self.collector, taken, NOON)
            self.sealed += self.journal.take_sealed()
            for segment in [s for s in self.sealed if s.last_frame <= taken.last_frame]:
                retire_segment(self.folder, self.collector, segment, keep_days=7)
                self.sealed.remove(segment)

    @alive
    @rule(files=st.integers(0, 4), torn=st.binary(max_size=30))
    def crash_inside_a_flush(self, files: int, torn: bytes) -> None:
        self.commit()
        taken = self.queues.take()
        with _crash_after(files, flush_module), suppress(Crash):
            if not taken.empty:
                flush_module.flush(self.folder, self.collector, taken, NOON)
        self.die(torn)

    @alive
    @rule(torn=st.binary(max_size=30))
    def crash(self, torn: bytes) -> None:
        self.die(torn)

    def die(self, torn: bytes) -> None:
        """What was not committed is gone; the last segment may end in rubbish."""
        segments = segment_files(journal_folder(self.folder, self.collector))
        if segments:
            with segments[-1].open("ab") as file:
                file.write(torn)
        self.received[self.collector] = self.received[self.collector][
            : self.committed[self.collector]
        ]
        self.collector = ""

    @dead
    @rule(files=st.integers(0, 3))
    def recovery_crashes_too(self, files: int) -> None:
        with _crash_after(files, recovery), suppress(Crash):
            recover(self.folder, RULES, lambda: NOON)

    @dead
    @rule()
    def start_again(self) -> None:
        recover(self.folder, RULES, lambda: NOON)
        self.check()
        self.begin()

    def check(self) -> None:
        rows: Counter[Any] = Counter()
        for event_type, day in days_in(self.folder):
            for path in batch_files(self.folder, event_type, day):
                table = read_micro_batch(path, event_type)
                rows.update(
                    (r["connection"], r["frame"])
                    for r in table.select(["connection", "frame"]).to_pylist()
                )
        quarantined = read_quarantine(self.folder, market_day(NOON))
        rows.update((q.connection, q.frame) for q in quarantined)
        wanted = Counter(
            (f"{collector}/stocks/0.0", ordinal)
            for collector, payloads in self.received.items()
            for ordinal, payload in enumerate(payloads)
            if b"HeartBeat" not in payload
        )
        assert rows == wanted
        counts = Ledger(self.folder).frames().get(SOURCE)
        total = sum(map(len, self.received.values()))
        assert (counts.received if counts else 0) == total
        assert counts is None or counts.balanced
        archived: dict[str, list[bytes]] = {}
        for segment in read_archive(self.folder):
            assert not segment.torn
            for block in segment.frames:
                collector = segment.lines[block.lines[0]].connection.split("/")[0]
                kept = archived.setdefault(collector, [])
                assert block.first_frame == len(kept)
                kept += block.payloads
        assert archived == {c: frames for c, frames in self.received.items() if frames}


def _crash_after(files: int, module: Any) -> ExitStack:
    """The process dies after so many files of a flush (or flushes of a recovery)."""
    names = [n for n in ("write_micro_batch", "write_quarantine", "flush") if hasattr(module, n)]
    names = ["flush"] if module is recovery else [n for n in names if n != "flush"]
    left = [files]

    def dying(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            if left[0] == 0:
                raise Crash
            left[0] -= 1
            return real(*args, **named)

        return call

    stack = ExitStack()
    for name in names:
        stack.enter_context(mock.patch.object(module, name, dying(getattr(module, name))))
    return stack


Spool.TestCase.settings = settings(max_examples=examples(60), stateful_step_count=25, deadline=None)
TestSpool = Spool.TestCase


def test_a_damaged_segment_is_a_gap_and_no_silence(tmp_path: Path) -> None:
    async def scenario() -> None:
        journal = Journal(tmp_path, "c", segment_bytes=1)
        connection = "c/stocks/0.0"
        journal.new_line(
            Line(number=0, name="stocks", vendor="tiingo", feed="iex", connection=connection)
        )
        for i in range(6):
            journal.append(0, NOON + i, frame_bytes("trade", i))
            await journal.commit()
        await journal.close()

    asyncio.run(scenario())
    segments = segment_files(journal_folder(tmp_path, "c"))
    assert len(segments) == 6
    damaged = bytearray(segments[2].read_bytes())
    damaged[-1] ^= 1
    segments[2].write_bytes(damaged)
    (done,) = recover(tmp_path, RULES, lambda: NOON)
    assert done.frames == 5
    assert (len(done.damaged), done.torn, done.lost) == (1, [], 1)
    (gap,) = Ledger(tmp_path).gaps()
    assert gap.state == "unfillable"
    assert "1 frames" in gap.reason
    assert (gap.from_ns, gap.to_ns) == (NOON + 1, NOON + 3)
    assert Ledger(tmp_path).frames()[SOURCE].received == 5


def test_recovery_of_nothing_is_nothing(tmp_path: Path) -> None:
    assert recover(tmp_path, RULES, lambda: NOON) == []
    assert list(tmp_path.iterdir()) == []
