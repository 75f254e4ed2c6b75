"""What Dagster costs: from Launch to finished for a million trades, and what stays on disk.

    python benchmarks/control_room.py            # some eight minutes

A real `edc dev`. Three times a day of a million trades is launched by GraphQL, as the UI's button
does; our share is what the asset says it spent (consolidate, check, examine), Dagster's is the
rest. Then capture runs with reports every 5 s instead of every 300 s, and what DAGSTER_HOME grows
by between two looks is divided by reports and by ticks, to be multiplied by those of a day.
"""

from __future__ import annotations

import argparse
import datetime as dt
import shutil
import sqlite3
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from edc_pipeline.market_day import market_day
from edc_pipeline_tests.defs.busy_day import write_busy_day
from edc_pipeline_tests.defs.control_room import REPOSITORY, ControlRoom, await_

ROWS = 1_000_000
_MADE = "ASSET_MATERIALIZATION"
REPORTS_A_DAY = 86_400 // 300
# keep_capture_running every 10 s and the daemon's own 5 s; alerts every 60 s, late and today every
# 120 s, reports every 240 s.
TICKS_A_DAY = 86_400 // 15 + 86_400 // 60 + 2 * (86_400 // 120) + 86_400 // 240
# A night makes three files and a report; every evening capture hands over.
NIGHTLY_RUNS = 5
RUN_BYTES = 270_000  # measured, where none is launched


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=4.0, help="of capture, for the growth")
    parser.add_argument("--launches", type=int, default=3)
    asked = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="edc_control_room_"))
    day = market_day(time.time_ns())
    days = [day - dt.timedelta(days=n + 1) for n in range(asked.launches)]
    for past in days:
        write_busy_day(home / "data" / "spool", past, "trade", ROWS, gap=False)
    feeds = (REPOSITORY / "feeds.example.yaml").read_text()
    feeds = feeds.replace("{", "{{").replace("}", "}}")
    feeds = feeds.replace("127.0.0.1:8765", "127.0.0.1:{port}")
    feeds = feeds.replace("data_dir: data", "data_dir: {data}")
    feeds = feeds.replace("\ndagster:\n", "\ndagster:\n  report_seconds: 5\n")
    feeds = feeds.replace("flush_seconds: 60", "flush_seconds: 2")
    room = ControlRoom(home, feeds)
    try:
        await_("the UI", 180, room.ui_answers)
        await_("a collector", 120, room.collector)
        for past in days:
            launch(room, f"{past}|trade")
        time.sleep(30)
        first = snapshot(home / "home")
        time.sleep(60 * asked.minutes)
        growth(first, snapshot(home / "home"), home / "home")
    finally:
        room.interrupt(120)
        shutil.rmtree(home)


def launch(room: ControlRoom, partition: str) -> None:
    began = time.monotonic()
    run = room.materialise(partition)
    status = await_("the run", 300, partial(room.ended, run), 0.05)
    seconds = time.monotonic() - began
    query = """query($id: ID!) { runOrError(runId: $id) { ... on Run { assetMaterializations {
        metadataEntries { label ... on FloatMetadataEntry { floatValue } } } } } }"""
    (made,) = room.graphql(query, {"id": run})["runOrError"]["assetMaterializations"]
    said = {e["label"]: e.get("floatValue") for e in made["metadataEntries"]}
    stages = {n: said[f"seconds_{n}"] for n in ("consolidate", "check", "examine")}
    ours = sum(stages.values())
    told = ", ".join(f"{name} {value:.2f}" for name, value in stages.items())
    print(
        f"{partition}: {status}, {seconds:.2f} s from Launch to finished: ours {ours:.2f} s"
        f" ({told}), Dagster's {seconds - ours:.2f} s",
        flush=True,
    )


Snapshot = dict[str, tuple[int, int]]


def snapshot(home: Path) -> Snapshot:
    """By what grows: how many there are, and the bytes that they take with all else in the file."""
    runs = home / "history" / "runs"
    capture = max(runs.glob("*-*.db"), key=lambda p: _count(p, "event_logs", _MADE), default=None)
    reports = 0 if capture is None else _count(capture, "event_logs", _MADE)
    logs = size_of(
        *runs.glob("index.db*"), *((capture.parent.glob(f"{capture.name}*")) if capture else ())
    )
    return {
        "report": (reports // 3, logs + size_of(*(home / "storage").rglob("*"))),
        "tick": (
            _count(home / "schedules" / "schedules.db", "job_ticks"),
            size_of(*(home / "schedules").rglob("*")),
        ),
    }


def growth(first: Snapshot, last: Snapshot, home: Path) -> None:
    """Slopes, so that what an empty database takes counts for nothing."""
    day = 0.0
    for what, number in (("report", REPORTS_A_DAY), ("tick", TICKS_A_DAY)):
        more = last[what][0] - first[what][0]
        each = (last[what][1] - first[what][1]) / max(more, 1)
        print(f"{what}: {more} more, {each:,.0f} bytes each; {number:,} a day")
        day += each * number
    runs = sorted((home / "history" / "runs").glob("*-*.db"), key=_count_of_events)
    made = [size_of(*p.parent.glob(f"{p.name}*")) for p in runs[:-1]]  # the last is capture's
    run = sum(made) / len(made) if made else RUN_BYTES
    print(f"run of a day: {run:,.0f} bytes each; {NIGHTLY_RUNS} a night")
    print(f"a day: {(day + NIGHTLY_RUNS * run) / 1e6:.1f} MB, ticks included, which are purged"
          " after a day")  # fmt: skip


def _count_of_events(path: Path) -> int:
    return _count(path, "event_logs")


def size_of(*paths: Path) -> int:
    return sum(p.stat().st_size for p in paths if p.is_file())


def _count(path: Path, table: str, event: str = "") -> int:
    where = " WHERE dagster_event_type = ?" if event else ""
    connection = sqlite3.connect(path)
    try:
        found: Any = connection.execute(
            f"SELECT count(*) FROM {table}{where}", (event,) if event else ()
        ).fetchone()
        return int(found[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()


if __name__ == "__main__":
    main()
