"""Each single call of a piece of work is refused once: the first write, the second, the third …

    python -m edc_pipeline_tests.faults.each_call

Flush, recovery, consolidation, what polling spends and what webhooks deliver are done in a process
of their own below which the shim is. That process sets its rules itself: they are lifted while it
looks at what was left. It prints how many calls were refused, and what was wrong after any of them.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Final

from edc_pipeline.capture.admission import Admission
from edc_pipeline.capture.flush import flush
from edc_pipeline.capture.journal.archive import read_archive
from edc_pipeline.capture.journal.blocks import Line, Reads, encode_line
from edc_pipeline.capture.queues import Queues
from edc_pipeline.capture.recovery import recover
from edc_pipeline.cli import main as edc
from edc_pipeline.consolidation.certificate import read_certificate
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.consolidation.names import daily_file
from edc_pipeline.consolidation.seal import broken_seal
from edc_pipeline.consolidation.verification import verify
from edc_pipeline.settings import Capture
from edc_pipeline.spool.layout import batch_files, days_in, journal_folder, segment_name
from edc_pipeline.spool.ledger import FrameCounts, Ledger, Source
from edc_pipeline.spool.micro_batch import read_micro_batch
from edc_pipeline.spool.quarantine import read_quarantine
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import Subscription
from edc_pipeline_tests.cli.calling import environment
from edc_pipeline_tests.consolidation.spools import DAY, OPEN, event, frames, write_batches
from edc_pipeline_tests.faults.called_and_polled import Deliver, Spend
from edc_pipeline_tests.faults.shim import Fault, Faults, build, room_for_rules, why_not
from edc_pipeline_tests.faults.work import EVERY_CALL, Work

MOST: Final = 400  # calls of a kind; none of this makes as many
SOURCE: Final = Source("stocks", "tiingo", "iex")
COLLECTOR: Final = "20260122T143000Z-aaaaaa"
CONNECTION: Final = f"{COLLECTOR}/stocks/0"


def messages() -> list[bytes]:
    """Thirty trades, and among them one frame that is unreadable and one that is control."""
    rows = [["T", "", OPEN + i, "spy", *[None] * 5, 100 + i, 1, None, *[0] * 4] for i in range(30)]
    good = [
        json.dumps({"messageType": "A", "service": "iex", "data": row}).encode() for row in rows
    ]
    beat = b'{"response":{"code":200,"message":"HeartBeat"},"messageType":"H"}'
    return [*good[:10], b"rubbish", *good[10:], beat]


class Flush(Work):
    calls: ClassVar = dict.fromkeys(("/_ledger.sqlite", "/event_type=", "/_quarantine"), EVERY_CALL)

    def prepare(self) -> None:
        Ledger(self.folder).collector_started(COLLECTOR, OPEN)
        self.queues, admission = Queues(), Admission(36_500)
        decode = VENDORS["tiingo"].decoder(Subscription("iex", ("SPY",)))
        for number, payload in enumerate(messages()):
            reading = admission.admit(decode(payload, OPEN + number), OPEN + number)
            self.queues.put(number, SOURCE, CONNECTION, reading, payload, OPEN + number)
        self.waiting = self.queues.take()

    def do(self) -> str:
        try:
            flush(self.folder, COLLECTOR, self.waiting, OPEN)
        except Exception as error:  # the flusher takes any, and tries again
            return f"{type(error).__name__}: {error}"
        return ""

    def wrong_after_refusal(self, words: str) -> str:
        named = any(name in words for name in (str(self.folder), "_ledger.sqlite"))
        return "" if named else f"it does not say where: {words}"

    def wrong_in_the_end(self) -> str:
        return wrong_in(self.folder)


def wrong_in(spool: Path) -> str:
    """The spool holds all of `messages` once, and nothing else."""
    ledger, number = Ledger(spool), len(messages())
    counts = ledger.frames()[SOURCE]
    size = sum(map(len, messages()))
    if counts != FrameCounts(number, number - 2, 1, 1, size):
        return f"frames: {counts}"
    rows = sorted(
        row["frame"]
        for event_type, day in days_in(spool)
        for path in batch_files(spool, event_type, day)
        for row in read_micro_batch(path, event_type).to_pylist()
    )
    if rows != [i for i in range(number - 1) if i != 10]:
        return f"rows: {rows}"
    if ledger.events_out("trade", DAY) != {SOURCE: number - 2}:
        return f"events: {ledger.events_out('trade', DAY)}"
    if [q.payload for q in read_quarantine(spool, DAY)] != [b"rubbish"]:
        return "quarantine"
    left = [str(path) for path in spool.rglob(".*.tmp")]
    return f"left behind: {left}" if left else ""


class Recover(Work):
    """What a collector that died left in its journal: four segments of eight frames. The first
    ends with the second's as well, whose commit was refused there and could not be cut off."""

    calls: ClassVar = {"/again/spool/": tuple(c for c in EVERY_CALL if c != "unlink")}

    def prepare(self) -> None:
        self.spool = self.folder / "spool"
        Ledger(self.spool).collector_started(COLLECTOR, OPEN)
        line = Line(
            number=0,
            name=SOURCE.name,
            vendor=SOURCE.vendor,
            feed=SOURCE.feed,
            connection=CONNECTION,
            symbols=("SPY",),
            options={"threshold_level": 0},
            asset_classes={},
        )
        received = messages()
        folder = journal_folder(self.spool, COLLECTOR)
        folder.mkdir(parents=True)
        blocks = [_block(received, first) for first in range(0, len(received), 8)]
        behind = [blocks[1], *(len(blocks) - 2) * [b""], b"torn"]
        for number, block in enumerate(blocks):
            path = folder / segment_name(8 * number)
            path.write_bytes(encode_line(line) + block + behind[number])

    def do(self) -> str:
        try:
            recover(self.spool, Capture(horizon_days=36_500, flush_rows=5), lambda: OPEN)
        except Exception as error:  # told by `edc`, and done again at the next start
            return f"{type(error).__name__}: {error}"
        return ""

    def wrong_in_the_end(self) -> str:
        if journal_folder(self.spool, COLLECTOR).exists():
            return "the journal's folder is still there"
        kept = [
            payload
            for segment in read_archive(self.spool)
            for block in segment.frames
            for payload in block.payloads
        ]
        if kept != messages():
            return f"archive: {len(kept)} frames"
        return wrong_in(self.spool)


def _block(received: list[bytes], first: int) -> bytes:
    reads = Reads()
    for number, payload in enumerate(received[first : first + 8], first):
        reads.add(0, OPEN + number, (payload,), len(payload))
    return reads.encode(first)


class Consolidate(Work):
    """A day's file anew, where a former one stands."""

    calls: ClassVar = {"/again/daily/": EVERY_CALL, "/again/spool/": ("read",)}

    def prepare(self) -> None:
        self.spool, self.daily = self.folder / "spool", self.folder / "daily"
        rows = frames([[event(ts_event=OPEN + i, price=i / 7)] for i in range(400)])
        write_batches(self.spool, [rows[:200]])
        consolidate(self.spool, self.daily, "trade", DAY)
        write_batches(self.spool, [rows[200:]], first_number=1)
        self.path = daily_file(self.daily, "trade", DAY)
        self.former = self.path.read_bytes()

    def do(self) -> str:
        words = f"consolidate --spool {self.spool} --out {self.daily} --day {DAY} --type trade"
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                edc(words.split())
            except SystemExit as ended:
                self.code = ended.code or 0
        return said.getvalue() if self.code else ""

    def wrong_after_refusal(self, words: str) -> str:
        if self.code != 1:
            return f"exit {self.code}: {words}"
        if len(words.split()) < 3:
            return f"it does not say why: {words!r}"
        if self.path.read_bytes() == self.former:
            return ""
        if not broken_seal(self.path) and read_certificate(self.path).rows == 400:
            return ""  # it was in place already, whole; or the ledger alone could not be read
        return f"the former file is gone: {words}"

    def wrong_in_the_end(self) -> str:
        found = verify(self.path, self.spool)
        if not found.ok or read_certificate(self.path).rows != 400:
            return f"{[f.message for f in found.findings]}"
        left = [p.name for p in self.daily.iterdir() if p.name.endswith((".tmp", ".scratch"))]
        return f"left behind: {left}" if left else ""


def each_call(
    make: Callable[[Path], Work], folder: Path, faults: Faults, every: int
) -> Iterator[dict[str, Any]]:
    for path, calls in make(folder).calls.items():
        for call in calls:
            for number in range(MOST):
                fault = Fault("EIO", (call,), path, after=number * every, times=1)
                found = once(make(folder / "again"), fault, faults)
                if found is None:
                    break
                yield {"fault": f"{call} {number * every + 1} of *{path}*", "wrong": found}


def once(work: Work, fault: Fault, faults: Faults) -> str | None:
    """What is wrong after this fault; None where it strikes nothing."""
    shutil.rmtree(work.folder, ignore_errors=True)
    work.folder.mkdir()
    work.prepare()
    with faults.inject(fault) as [struck]:
        try:
            refused = work.do()
        except Exception:
            return traceback.format_exc()
    if not struck.times:
        return None
    wrong = ""
    if refused:
        wrong = work.wrong_after_refusal(refused)
        again = work.do()
        wrong = wrong or (again and f"not on the next try: {again}")
    return wrong or work.wrong_in_the_end()


WORKS: Final[dict[str, Callable[[Path], Work]]] = {
    "flush": Flush,
    "consolidate": Consolidate,
    "recover": Recover,
    "spend": Spend,
    "deliver": Deliver,
}


def refuse_each(work: str, folder: Path, every: int) -> Any:
    """Do it in a process below which the shim is; returns what that found."""
    faults = Faults(build(folder), room_for_rules(folder / "rules"))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "edc_pipeline_tests.faults.each_call",
            work,
            str(folder),
            str(every),
        ],
        env=environment(**faults.environ),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return json.loads(done.stdout.splitlines()[-1])


def _below_the_shim(work: str, folder: Path, every: int) -> None:
    logging.disable()
    faults = Faults(Path(os.environ["LD_PRELOAD"]), Path(os.environ["FAULTS_RULES"]))
    refused, wrong = 0, []
    for found in each_call(WORKS[work], folder, faults, every):
        refused += 1
        wrong += [f"{found['fault']}: {found['wrong']}"] if found["wrong"] else []
    print(json.dumps({"refused": refused, "wrong": wrong}))


def main() -> None:
    if len(sys.argv) > 1:
        work, folder, every = sys.argv[1:]
        _below_the_shim(work, Path(folder), int(every))
        return
    if why := why_not():
        sys.exit(why)
    wrong = 0
    for work in WORKS:
        with tempfile.TemporaryDirectory(prefix="edc-each-call-") as folder:
            found = refuse_each(work, Path(folder), 1)
        print(f"{work}: {found['refused']} calls refused, wrong: {found['wrong']}", flush=True)
        wrong += len(found["wrong"])
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
