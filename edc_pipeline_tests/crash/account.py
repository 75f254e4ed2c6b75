"""What collectors received, by their own marks, against what is kept: every frame is accounted for.

Each collector marks every frame it receives in a memory map, which outlives it. The spool, the
ledger and the daily files are held against these marks, and against what the exchange sent.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import struct
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from edc_pipeline.capture.admission import Admission
from edc_pipeline.capture.journal.archive import read_archive
from edc_pipeline.capture.journal.blocks import Line
from edc_pipeline.capture.past_sessions import PastSessions
from edc_pipeline.events import content_key
from edc_pipeline.settings import Settings
from edc_pipeline.spool.layout import batch_files, days_in
from edc_pipeline.spool.ledger import Ledger
from edc_pipeline.spool.micro_batch import UnreadableBatch, read_footer, read_micro_batch
from edc_pipeline.spool.quarantine import read_quarantine
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import Reading
from edc_pipeline_tests.crash.noise import Look, noise_ms, slow_disk_ms

COMMIT_S: Final = 0.05
SYMBOLS: Final = ("SPY", "AAPL", "MSFT", "BRK.B")

# A mark: when the frame was received (ns), its checksum, and whether its commit was acknowledged.
MARK: Final = struct.Struct("<qIi")
MARKS: Final = 200_000
# Before the marks: the collector's name, the thread that syncs the journal, how many syncs there
# were, and of the last of them when the write began and when the sync ended (ns; 0: under way).
SYNCS: Final = 48
SYNC: Final = struct.Struct("<qq")
KEPT_SYNCS: Final = 32
FIRST_MARK: Final = SYNCS + SYNC.size * (1 + KEPT_SYNCS)


@dataclass(slots=True)
class Life:
    """One collector: what it was, what it had received, when it was killed."""

    marks: Path
    collector: str = ""
    killed_at: int = 0
    looks: Sequence[Look] = ()  # at it, in the last moments before
    noise_ms: float = 0.0  # what kept its frames from the disk besides


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
    told: list[str] = field(default_factory=list)  # of the first that are unaccounted for
    longest_loss_ms: float = 0.0
    most_noise_ms: float = 0.0  # that was taken off a loss older than the interval


def account_for(settings: Settings, lives: list[Life], truth: Path, account: Account) -> None:
    """Hold all that is kept against all that was received and sent."""
    account.twice += _twice_in_archive(settings.spool)
    for life in lives:
        _hold_against_marks(settings.spool, life, account)
    _hold_spool_together(settings, account)
    _hold_against_truth(settings.spool, truth, account)
    _hold_daily_files(settings, account)


def _raw_frames(spool: Path) -> dict[str, dict[int, tuple[dict[str, Any], bytes]]]:
    """Collector → ordinal → (its row, its bytes), from the raw archive."""
    found: dict[str, dict[int, tuple[dict[str, Any], bytes]]] = {}
    for segment in read_archive(spool):
        assert not segment.torn, segment.torn
        for block in segment.frames:
            rows = zip(block.received_at, block.lines, block.payloads, strict=True)
            for frame, (received_at, number, payload) in enumerate(rows, block.first_frame):
                connection = segment.lines[number].connection
                line = segment.lines[number]
                row = {"connection": connection, "received_at": received_at, "line": line}
                found.setdefault(connection.split("/")[0], {})[frame] = row, payload
    return found


def _hold_against_marks(spool: Path, life: Life, account: Account) -> None:
    if not life.marks.exists():
        return
    marks = life.marks.read_bytes()
    if len(marks) < FIRST_MARK + MARKS * MARK.size:
        return  # killed before there was room for marks: nothing was received
    life.collector = marks[:SYNCS].rstrip(b"\0").decode()
    kept = _cached_raw(spool).get(life.collector, {})
    for frame in range(MARKS):
        mark = MARK.unpack_from(marks, FIRST_MARK + frame * MARK.size)
        received_at, checksum, acknowledged = mark
        if not received_at:
            break
        account.frames_received += 1
        if frame in kept and zlib.crc32(kept[frame][1]) == checksum:
            continue
        account.lost_acknowledged += acknowledged
        age_ms = (life.killed_at - received_at) / 1e6
        account.longest_loss_ms = max(account.longest_loss_ms, age_ms)
        if age_ms > COMMIT_S * 1000:
            noise_ms = _noise_ms(life, marks, received_at)
            account.most_noise_ms = max(account.most_noise_ms, noise_ms)
            account.lost_beyond_commit += age_ms > COMMIT_S * 1000 + noise_ms


def _noise_ms(life: Life, marks: bytes, since: int) -> float:
    thread, _ = SYNC.unpack_from(marks, SYNCS)
    syncs = SYNC.iter_unpack(marks[SYNCS + SYNC.size : FIRST_MARK])
    # Half the interval is the disk's.
    slow_ms = slow_disk_ms(syncs, since, life.killed_at, COMMIT_S * 500)
    return life.noise_ms + noise_ms(life.looks, since, thread) + slow_ms


def _twice_in_archive(spool: Path) -> int:
    """A collector's frames are in its segments one after the other, each in one of them."""
    twice, last = 0, dict[str, int]()
    for segment in read_archive(spool):
        for block in segment.frames:
            collector = segment.lines[block.lines[0]].connection.split("/")[0]
            end = block.first_frame + len(block)
            behind = last.get(collector, 0)
            twice += max(0, min(end, behind) - block.first_frame)
            last[collector] = max(end, behind)
    return twice


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
    said = _what_the_frames_are(spool)
    _explain(account, "rows that no frame gives", rows.keys() - said.rows - said.restated)
    _explain(account, "rows that are nowhere", said.rows - rows.keys())
    quarantined = Counter((q.connection, q.frame) for q in _all_quarantined(spool))
    account.twice += sum(n - 1 for n in quarantined.values())
    _explain(account, "quarantined, or not", quarantined.keys() ^ said.unreadable)
    received = sum(counts.received for counts in ledger.frames().values())
    if received != said.frames or not all(c.balanced for c in ledger.frames().values()):
        account.out_of_balance.append(f"frames: ledger {received}, archive {said.frames}")


def _explain(account: Account, words: str, which: AbstractSet[Any]) -> None:
    account.unaccounted += len(which)
    account.told += [f"{words}: {one}" for one in sorted(which)[:3]]


def _readings(spool: Path) -> Iterator[tuple[str, int, Reading]]:
    """Of every kept frame, its connection and ordinal, and what it says."""
    for kept in _cached_raw(spool).values():
        sessions = PastSessions()
        for frame, (row, payload) in kept.items():
            session = sessions.of(row["line"])
            assert session is not None
            yield row["connection"], frame, _ADMISSION.read(session, payload, row["received_at"])


_ADMISSION: Final = Admission(7)


@dataclass(slots=True)
class _Said:
    """By the kept frames: rows (connection, frame, type, copy), and unreadable frames."""

    frames: int = 0
    rows: set[Any] = field(default_factory=set)
    # Rows that may be as well: an answer to a poll says what is new since the answers before, and
    # recovery has only those that a segment still held. The daily file has each once.
    restated: set[Any] = field(default_factory=set)
    unreadable: set[Any] = field(default_factory=set)


def _what_the_frames_are(spool: Path) -> _Said:
    said = _Said()
    for connection, frame, reading in _readings(spool):
        said.frames += 1
        said.rows |= _rows_of(connection, frame, reading)
        if reading.outcome == "quarantined":
            said.unreadable.add((connection, frame))
    for kept in _cached_raw(spool).values():
        for frame, (row, payload) in kept.items():
            line: Line = row["line"]
            if VENDORS[line.vendor].feeds[line.feed].polling is not None:
                session = PastSessions().of(line)
                assert session is not None
                reading = _ADMISSION.read(session, payload, row["received_at"])
                said.restated |= _rows_of(line.connection, frame, reading)
    return said


def _rows_of(connection: str, frame: int, reading: Reading) -> set[Any]:
    return {(connection, frame, event.event_type, event.occurrence) for event in reading.events}


def _all_quarantined(spool: Path) -> list[Any]:
    days = [
        dt.date.fromisoformat(p.name.removeprefix("day="))
        for p in (spool / "_quarantine").glob("day=*")
    ]
    return [frame for day in days for frame in read_quarantine(spool, day)]


def _hold_against_truth(spool: Path, truth: Path, account: Account) -> None:
    """Nothing is kept that the exchange did not send."""
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
                _explain(account, "a frame that nobody sent", {payload})


def _hold_daily_files(settings: Settings, account: Account) -> None:
    """Every content once in the daily file, and no temporary left."""
    from edc_pipeline.consolidation.make import consolidate  # noqa: PLC0415
    from edc_pipeline.consolidation.verification import verify  # noqa: PLC0415

    by_connection: dict[str, Counter[Any]] = {}
    for connection, _, reading in _readings(settings.spool):
        contents = by_connection.setdefault(connection, Counter())
        contents.update(map(content_key, reading.events))
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
    for kind, number in per_type.items():
        if number != rows[kind]:
            account.unaccounted += abs(number - rows[kind])
            account.told.append(f"daily {kind}: {rows[kind]} rows of {number}")
    account.torn += len(list(settings.daily.rglob(".*.tmp")))
