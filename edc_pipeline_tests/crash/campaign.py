"""kill -9 at random instants, many times over, then account for every frame.

    python -m edc_pipeline_tests.crash.campaign --kills 200 --seed 1

A simulated exchange runs in a process of its own. Collectors are forked one after the other onto
one spool and killed in the middle of whatever they do: connecting, committing, flushing, renaming,
archiving, recovering; some lives consolidate instead. Each collector marks every frame it receives
in a memory map, which outlives it, so that what it had when it died is known exactly. At the end
one collector lives on, drains, and the spool is held against the marks and the exchange's truth.

The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from edc_pipeline.capture import intake
from edc_pipeline.capture import run as capture_run
from edc_pipeline.capture.admission import Admission
from edc_pipeline.capture.journal.archive import read_archive
from edc_pipeline.capture.journal.writer import Journal
from edc_pipeline.capture.run import run_capture
from edc_pipeline.events import content_key
from edc_pipeline.settings import Settings
from edc_pipeline.spool.layout import batch_files, days_in
from edc_pipeline.spool.ledger import Ledger
from edc_pipeline.spool.micro_batch import UnreadableBatch, read_footer, read_micro_batch
from edc_pipeline.spool.quarantine import read_quarantine
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import Subscription
from edc_pipeline_tests.cli.calling import environment

COMMIT_S: Final = 0.05
RATE: Final = 4_000
# How late the machine woke the campaign up in the last 100 ms before a kill is taken off.
_STEP_S: Final = 0.005
_NOISE_STEPS: Final = 20
SYMBOLS: Final = ("SPY", "AAPL", "MSFT", "BRK.B")

# A mark: when the frame was received (ns), its checksum, and whether its commit was acknowledged.
_MARK: Final = struct.Struct("<qIi")
_MARKS: Final = 200_000
# Before the marks: the collector's name, and since when an fdatasync is under way (ns, 0: none).
_IN_FLIGHT: Final = 56


@dataclass(slots=True)
class Life:
    """One collector: what it was, what it had received, when it was killed."""

    marks: Path
    collector: str = ""
    killed_at: int = 0
    noise_ms: float = 0.0  # how late this machine woke us up just before


@dataclass(slots=True)
class Account:
    """What the campaign found. All but the first three must be 0."""

    kills: int = 0
    frames_sent: int = 0
    frames_received: int = 0
    lost_acknowledged: int = 0  # durable by the journal's own word, and gone
    lost_beyond_commit: int = 0  # received longer than the interval before the kill, and gone
    twice: int = 0
    torn: int = 0
    unaccounted: int = 0  # rows or quarantined frames that no received frame explains, or lacks
    out_of_balance: list[str] = field(default_factory=list)
    longest_loss_ms: float = 0.0
    most_noise_ms: float = 0.0


def campaign(folder: Path, kills: int, seed: int, say: Callable[[str], None]) -> Account:
    chance = random.Random(seed)
    truth = folder / "truth.jsonl"
    lives: list[Life] = []
    account = Account()
    with _exchange(truth, seed) as port:
        settings = _settings(folder, port)
        for number in range(kills):
            if chance.random() < 0.1:
                _kill_after(chance.uniform(0.02, 1.2), partial(_consolidate, settings))
            else:
                life = Life(folder / f"marks-{number}")
                lives.append(life)
                life.killed_at, life.noise_ms = _kill_after(
                    chance.uniform(0.02, 0.7), partial(_collect, settings, life.marks)
                )
            account.kills += 1
            if account.kills % 50 == 0:
                say(f"{account.kills} kills")
        last = Life(folder / "marks-last")
        lives.append(last)
        last.killed_at = 2**62
        _live_out(lambda: _collect(settings, last.marks, for_seconds=1.5), last)
    for life in lives:
        _hold_against_marks(settings.spool, life, account)
    _hold_spool_together(settings, account)
    _hold_against_truth(settings.spool, truth, account)
    _hold_daily_files(settings, account)
    return account


class _exchange:  # noqa: N801 - read as a verb
    def __init__(self, truth: Path, seed: int) -> None:
        words = ["--port", "0", "--rate", str(RATE), "--seed", str(seed), "--json"]
        words += ["--resend", "200", "--truth", str(truth), "--symbols", ",".join(SYMBOLS)]
        words += ["--chaos", f"rubbish=0.05%,cut=60/h,seed={seed}"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edc_pipeline", "simulate", *words],
            stdout=subprocess.PIPE,
            env=environment(),
            text=True,
        )

    def __enter__(self) -> int:
        assert self.process.stdout is not None
        return int(json.loads(self.process.stdout.readline())["port"])

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.communicate(timeout=30)


def _settings(folder: Path, port: int) -> Settings:
    iex = {"vendor": "tiingo", "feed": "iex", "url": f"ws://127.0.0.1:{port}/iex"}
    everything: dict[str, Any] = {"symbols": SYMBOLS, "options": {"threshold_level": 0}}
    reference: dict[str, Any] = {"symbols": SYMBOLS, "options": {"threshold_level": 6}}
    return Settings(
        data_dir=folder,
        feeds={"stocks": {**iex, **everything}, "reference": {**iex, **reference}},  # type: ignore[dict-item]
        capture={  # type: ignore[arg-type]
            "flush_seconds": 0.15,
            "commit_seconds": COMMIT_S,
            "segment_mib": 0.05,
            "drain_seconds": 60,
        },
    )


# Lives


def _kill_after(seconds: float, live: Callable[[], None]) -> tuple[int, float]:
    """Fork a life, kill it with SIGKILL after so long; returns when it was killed (ns), and by how
    much this machine overslept in the last moments before (ms): its own noise, not the journal's.
    """
    child = _fork(live)
    end, late = time.monotonic() + seconds, deque([0.0], maxlen=_NOISE_STEPS)
    while (now := time.monotonic()) < end:
        step = min(_STEP_S, end - now)
        time.sleep(step)
        late.append(time.monotonic() - now - step)
    at = time.time_ns()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return at, sum(late) * 1000


def _live_out(live: Callable[[], None], last: Life) -> None:
    _, status = os.waitpid(_fork(live), 0)
    if status:
        why = last.marks.with_suffix(".stderr").read_text()
        raise SystemExit(f"the last life ended with status {status}:\n{why}")


def _fork(live: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        live()
        code = 0
    finally:
        os._exit(code)


def _collect(settings: Settings, marks: Path, for_seconds: float = 60.0) -> None:
    """A collector that marks each frame as it is received, and each commit as it is done."""
    with marks.open("w+b") as file:
        file.truncate(64 + _MARKS * _MARK.size)
        page = mmap.mmap(file.fileno(), 0)
    append, done, name = Journal.append_many, Journal._done, capture_run.new_collector_name
    fdatasync = os.fdatasync

    def marked_fdatasync(descriptor: int) -> None:
        struct.pack_into("<q", page, _IN_FLIGHT, time.time_ns())
        fdatasync(descriptor)
        struct.pack_into("<q", page, _IN_FLIGHT, 0)

    def marked_append(
        journal: Journal, line: int, received_at: int, payloads: Sequence[bytes], size: int
    ) -> int:
        first = append(journal, line, received_at, payloads, size)
        for frame, payload in enumerate(payloads, first):
            _MARK.pack_into(page, 64 + frame * _MARK.size, received_at, zlib.crc32(payload), 0)
        return first

    def marked_done(journal: Journal, taken: Any) -> None:
        done(journal, taken)
        first = taken[0].first_frame
        for frame in range(first, journal.committed_frame + 1):
            struct.pack_into("<i", page, 64 + frame * _MARK.size + 12, 1)

    def marked_name(now: int) -> str:
        made = name(now)
        page[: len(made)] = made.encode()
        return made

    # Every other life takes the frames of a read together even where they are few.
    setattr(intake, "_MANY", 2 if zlib.crc32(marks.name.encode()) % 2 else intake._MANY)  # noqa: B010
    setattr(os, "fdatasync", marked_fdatasync)  # noqa: B010
    setattr(Journal, "append_many", marked_append)  # noqa: B010 - this process is the fork's own
    setattr(Journal, "_done", marked_done)  # noqa: B010
    setattr(capture_run, "new_collector_name", marked_name)  # noqa: B010
    # Warnings of a life that is cut short are no news; why one ends by itself is.
    sys.stderr = marks.with_suffix(".stderr").open("w")
    try:
        run_capture(settings, for_seconds=for_seconds)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        raise


def _consolidate(settings: Settings) -> None:
    from edc_pipeline.consolidation import CannotConsolidate, consolidate  # noqa: PLC0415

    for event_type, day in days_in(settings.spool):
        try:
            consolidate(settings.spool, settings.daily, event_type, day)
        except CannotConsolidate:
            continue


# The account


def _raw_frames(spool: Path) -> dict[str, dict[int, tuple[dict[str, Any], bytes]]]:
    """Collector → ordinal → (its row, its bytes), from the raw archive."""
    found: dict[str, dict[int, tuple[dict[str, Any], bytes]]] = {}
    for segment in read_archive(spool):
        assert not segment.torn, segment.torn
        for block in segment.frames:
            rows = zip(block.received_at, block.lines, block.payloads, strict=True)
            for frame, (received_at, number, payload) in enumerate(rows, block.first_frame):
                connection = segment.lines[number].connection
                row = {"connection": connection, "received_at": received_at}
                found.setdefault(connection.split("/")[0], {})[frame] = row, payload
    return found


def _hold_against_marks(spool: Path, life: Life, account: Account) -> None:
    if not life.marks.exists():
        return
    marks = life.marks.read_bytes()
    if len(marks) < 64 + _MARKS * _MARK.size:
        return  # killed before there was room for marks: nothing was received
    life.collector = marks[:_IN_FLIGHT].rstrip(b"\0").decode()
    (syncing_since,) = struct.unpack_from("<q", marks, _IN_FLIGHT)
    if syncing_since:
        # Half the interval is the disk's; what it took beyond is its own noise.
        syncing_ms = (life.killed_at - syncing_since) / 1e6
        life.noise_ms += max(0.0, syncing_ms - COMMIT_S * 500)
    kept = _cached_raw(spool).get(life.collector, {})
    account.most_noise_ms = max(account.most_noise_ms, life.noise_ms)
    for frame in range(_MARKS):
        received_at, checksum, acknowledged = _MARK.unpack_from(marks, 64 + frame * _MARK.size)
        if not received_at:
            break
        account.frames_received += 1
        if frame in kept and zlib.crc32(kept[frame][1]) == checksum:
            continue
        account.lost_acknowledged += acknowledged
        age_ms = (life.killed_at - received_at) / 1e6
        account.longest_loss_ms = max(account.longest_loss_ms, age_ms)
        account.lost_beyond_commit += age_ms > COMMIT_S * 1000 + life.noise_ms


_raw_cache: dict[Path, dict[str, dict[int, tuple[dict[str, Any], bytes]]]] = {}


def _cached_raw(spool: Path) -> dict[str, dict[int, tuple[dict[str, Any], bytes]]]:
    if spool not in _raw_cache:
        _raw_cache[spool] = _raw_frames(spool)
    return _raw_cache[spool]


def _hold_spool_together(settings: Settings, account: Account) -> None:
    """Rows in micro-batches = what the kept frames decode to; the rest of them in quarantine."""
    spool, ledger = settings.spool, Ledger(settings.spool)
    rows: Counter[Any] = Counter()
    for event_type, day in days_in(spool):
        in_footers: Counter[str] = Counter()
        for path in batch_files(spool, event_type, day):
            try:
                in_footers.update(read_footer(path).rows_by_feed)
                table = read_micro_batch(path, event_type)
            except UnreadableBatch:
                account.torn += 1
                continue
            rows.update(
                (row["connection"], row["frame"], event_type, row["occurrence"])
                for row in table.select(["connection", "frame", "occurrence"]).to_pylist()
            )
        out: Counter[str] = Counter()
        for source, number in ledger.events_out(event_type, day).items():
            out[f"{source.vendor}/{source.feed}"] += number
        if out != in_footers:
            account.out_of_balance.append(f"{event_type} {day}: {dict(out)} {dict(in_footers)}")
    account.twice += sum(n - 1 for n in rows.values())
    expected, unreadable, frames = _what_the_frames_are(spool)
    account.unaccounted += len(rows.keys() ^ expected)
    quarantined = Counter((q.connection, q.frame) for q in _all_quarantined(spool))
    account.twice += sum(n - 1 for n in quarantined.values())
    account.unaccounted += len(quarantined.keys() ^ unreadable)
    received = sum(counts.received for counts in ledger.frames().values())
    if received != frames or not all(c.balanced for c in ledger.frames().values()):
        account.out_of_balance.append(f"frames: ledger {received}, archive {frames}")


def _what_the_frames_are(spool: Path) -> tuple[set[Any], set[Any], int]:
    decode = VENDORS["tiingo"].decoder(Subscription("iex", SYMBOLS))
    admission = Admission(7)
    expected, unreadable, frames = set(), set(), 0
    for kept in _cached_raw(spool).values():
        for frame, (row, payload) in kept.items():
            frames += 1
            reading = admission.admit(decode(payload, row["received_at"]), row["received_at"])
            for event in reading.events:
                expected.add((row["connection"], frame, event.event_type, event.occurrence))
            if reading.outcome == "quarantined":
                unreadable.add((row["connection"], frame))
    return expected, unreadable, frames


def _all_quarantined(spool: Path) -> list[Any]:
    days = [
        dt.date.fromisoformat(p.name.removeprefix("day="))
        for p in (spool / "_quarantine").glob("day=*")
    ]
    return [frame for day in days for frame in read_quarantine(spool, day)]


def _hold_against_truth(spool: Path, truth: Path, account: Account) -> None:
    """Nothing is kept that the exchange did not send."""
    import base64  # noqa: PLC0415

    sent = set()
    with truth.open() as lines:
        for line in lines:
            told = json.loads(line)
            body = told.get("body")
            sent.add(body.encode() if body is not None else base64.b64decode(told["body_base64"]))
            account.frames_sent += 1
    for kept in _cached_raw(spool).values():
        for _, payload in kept.values():
            if b'"messageType":"A"' in payload.replace(b" ", b"") and payload not in sent:
                account.unaccounted += 1


def _hold_daily_files(settings: Settings, account: Account) -> None:
    """Every content once in the daily file, and no temporary left."""
    from edc_pipeline.consolidation import consolidate, verify  # noqa: PLC0415

    decode = VENDORS["tiingo"].decoder(Subscription("iex", SYMBOLS))
    by_connection: dict[str, Counter[Any]] = {}
    for kept in _cached_raw(settings.spool).values():
        for row, payload in kept.values():
            contents = by_connection.setdefault(row["connection"], Counter())
            contents.update(map(content_key, decode(payload, row["received_at"]).events))
    wanted: Counter[Any] = Counter()
    for contents in by_connection.values():
        wanted |= contents  # the most that any one connection delivered
    per_type = Counter(dict.fromkeys(("trade", "quote", "ref_px"), 0))
    for key, number in wanted.items():
        per_type[key[0]] += number
    rows: Counter[str] = Counter()
    for event_type, day in days_in(settings.spool):
        made = consolidate(settings.spool, settings.daily, event_type, day)
        rows[event_type] += made.certificate.rows
        found = verify(made.path, settings.spool)
        if not found.ok or not made.certificate.balanced:
            account.out_of_balance += [f.message for f in found.findings]
            account.out_of_balance += made.certificate.reasons
    account.unaccounted += sum(abs(per_type[t] - rows[t]) for t in per_type)
    account.torn += len(list(settings.daily.rglob(".*.tmp")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="edc-crash-") as folder:
        began = time.monotonic()
        account = campaign(Path(folder), asked.kills, asked.seed, lambda t: print(t, flush=True))
    figures = {name: getattr(account, name) for name in Account.__slots__}
    print(json.dumps({**figures, "seed": asked.seed, "seconds": round(time.monotonic() - began)}))
    wrong = account.lost_acknowledged or account.twice or account.torn or account.unaccounted
    sys.exit(1 if wrong or account.out_of_balance or account.lost_beyond_commit else 0)


if __name__ == "__main__":
    main()
