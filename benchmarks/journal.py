"""The journal's block format beside an Arrow IPC stream and SQLite, per frame of 180 bytes.

Each writes the same groups of 1,000 frames (50 ms at 20,000 a second) to a file and makes each
group durable with fdatasync, or SQLite's own of a full commit. What counts is CPU time per frame,
user and system; the wait for the disk is the same for all. Bytes are what a frame takes on disk.
Prints a table and, as its last line, one JSON object.

    python benchmarks/journal.py [--groups 100] [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from edc_pipeline.capture.journal.blocks import Reads

GROUP = 1_000
READ = 20  # frames that a socket brings at once
RECEIVED_AT = 1_769_101_200_000_000_000
TRADE = (
    b'{"messageType":"A","service":"iex","data":["T","2026-01-22T12:00:00.%09d-05:00",'
    b'1769101200%09d,"s%03d",null,null,null,null,null,%d.%02d,%d,null,0,0,%d,0],"_":"%s"}'
)

Groups = Sequence[Sequence[bytes]]


def frames(groups: int) -> Groups:
    """Trades that differ as real ones do, filled up to 180 bytes."""
    made = []
    for n in range(groups * GROUP):
        told = (n * 50_000, n * 50_000, n * 7 % 500, 100 + n * 37 % 90, n % 100, n % 300, n % 2)
        body = TRADE % (*told, b"")
        made.append(TRADE % (*told, b"%0*d" % (180 - len(body), n * 2_654_435_761)))
    return [made[start : start + GROUP] for start in range(0, len(made), GROUP)]


def ours(path: Path, groups: Groups) -> None:
    with path.open("wb", buffering=0) as file:
        for number, payloads in enumerate(groups):
            reads = Reads()
            for start in range(0, len(payloads), READ):
                read = payloads[start : start + READ]
                reads.add(0, RECEIVED_AT + number, read, sum(map(len, read)))
            file.write(reads.encode(number * GROUP))
            os.fdatasync(file.fileno())


def arrow_ipc(path: Path, groups: Groups) -> None:
    schema = pa.schema([("at", pa.int64()), ("line", pa.uint32()), ("payload", pa.binary())])
    options = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1))
    with path.open("wb", buffering=0) as file:
        stream = pa.ipc.new_stream(file, schema, options=options)
        for number, payloads in enumerate(groups):
            columns = [
                pa.array([RECEIVED_AT + number] * len(payloads), pa.int64()),
                pa.array([0] * len(payloads), pa.uint32()),
                pa.array(payloads, pa.binary()),
            ]
            stream.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
            os.fdatasync(file.fileno())
        stream.close()


def sqlite(path: Path, groups: Groups) -> None:
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE frames (frame INTEGER PRIMARY KEY, at INTEGER, line INTEGER, p BLOB)")
    for number, payloads in enumerate(groups):
        first, at = number * GROUP, RECEIVED_AT + number
        rows = [(first + i, at, 0, payload) for i, payload in enumerate(payloads)]
        with db:
            db.executemany("INSERT INTO frames VALUES (?, ?, ?, ?)", rows)
    db.close()


FORMATS: dict[str, Callable[[Path, Groups], None]] = {
    "our blocks": ours,
    "Arrow IPC": arrow_ipc,
    "SQLite": sqlite,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--groups", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    told = parser.parse_args()
    groups = frames(told.groups)
    pa.array(["warm"])  # imports pandas
    used: dict[str, list[float]] = {name: [] for name in FORMATS}
    size = {}
    for number in range(told.rounds + 1):
        for name, write in FORMATS.items():
            with tempfile.TemporaryDirectory(prefix="edc-bench-") as folder:
                path = Path(folder) / "journal"
                began_s = time.process_time()
                write(path, groups)
                if number:  # the first round warms up
                    used[name].append((time.process_time() - began_s) / told.groups / GROUP * 1e6)
                size[name] = path.stat().st_size / told.groups / GROUP
    medians = {name: statistics.median(times) for name, times in used.items()}
    print(f"{'per frame':<14}{'CPU µs':>8}{'bytes':>8}")
    for name, median in medians.items():
        print(f"{name:<14}{median:>8.2f}{size[name]:>8.0f}")
    figures = {
        name: {"cpu_us": round(m, 3), "bytes": round(size[name])} for name, m in medians.items()
    }
    print(json.dumps({**figures, "rounds": told.rounds}))


if __name__ == "__main__":
    main()
