"""What Dagster costs: from Launch to finished for a million trades, and what stays on disk.

    python benchmarks/control_room.py            # some eight minutes

A real `edc dev`. Three times a day of a million trades is launched by GraphQL, as the UI's button
does; our share is what the asset says it spent (consolidate, check, examine), Dagster's is the
rest. Then capture runs with reports every 5 s instead of every 300 s, and after the end the growth
of DAGSTER_HOME is divided by reports and by ticks, to be multiplied by those of a day.
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
REPORTS_A_DAY = 86_400 // 300
# keep_capture_running every 10 s; late, today, reports, alerts; the daemon looks every 5 s at most.
TICKS_A_DAY = 86_400 // 10 + 2 * (86_400 // 60) + 2 * (86_400 // 30)
# A night makes three files and a report; every evening capture hands over.
NIGHTLY_RUNS = 5


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
    feeds += "\ndagster: {{report_seconds: 5}}\n"
    room = ControlRoom(home, feeds)
    try:
        await_("the UI", 180, room.ui_answers)
        await_("a collector", 120, room.collector)
        for past in days:
            launch(room, f"{past}|trade")
        time.sleep(60 * asked.minutes)
    finally:
        room.interrupt(120)
        growth(home / "home")
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


def growth(home: Path) -> None:
    """Bytes for each report and each tick, from the databases as they lie after the end."""
    runs = [p for p in (home / "history" / "runs").glob("*.db") if p.stem != "index"]
    reports = [(p, n) for p in runs if (n := _count(p, "event_logs", "ASSET_MATERIALIZATION")) > 5]
    ticks = _count(home / "schedules" / "schedules.db", "job_ticks")
    index = home / "history" / "runs" / "index.db"
    entries = _count(index, "event_logs")
    tick_bytes = _size(home / "schedules") / max(ticks, 1)
    print(f"ticks: {ticks}, {tick_bytes:,.0f} bytes each, with an empty database's share")
    day = tick_bytes * TICKS_A_DAY
    for path, materialisations in reports:
        times = materialisations / 3
        each = _size_of(path) / times + _size_of(index) / max(entries, 1) * 3
        logs = sum(_size(p) for p in (home / "storage").glob(f"{path.stem}*"))
        print(f"capture: {times:.0f} reports, {each:,.0f} bytes each; {logs:,} bytes of its log")
        day += each * REPORTS_A_DAY
        break
    others = [p for p in runs if p not in [r for r, _ in reports]]
    if others:
        run = sum(_size_of(p) for p in others) / len(others)
        print(f"other runs: {len(others)}, {run:,.0f} bytes each in the event log")
        day += NIGHTLY_RUNS * run
    print(f"a day: {day / 1e6:.1f} MB; ticks that skipped are purged after two days")
    for path in sorted(home.rglob("*")):
        if path.is_file() and path.stat().st_size > 200_000:
            print(f"   {path.stat().st_size:>12,}  {path.relative_to(home)}")


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


def _size_of(path: Path) -> int:
    return sum(p.stat().st_size for p in path.parent.glob(f"{path.name}*"))


def _size(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


if __name__ == "__main__":
    main()
