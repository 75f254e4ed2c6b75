"""Walks the Dagster UI as an operator does, and takes the pictures that stand in the docs.

    make pictures                                          # needs Chromium; some minutes
    python -m docs.take_pictures --walk /tmp/walk          # a picture of every step besides

Starts `edc dev` on a home of its own with three weeks of days in its spool, lets it capture from
the simulated exchange, and then goes through the UI with headless Chromium: the graph, a backfill
launched by hand, its page, a partition with its pictures, the checks, the sensor.
"""

from __future__ import annotations

import argparse
import datetime as dt
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from docs.browser import Browser
from edc_pipeline.events import EVENT_TYPES
from edc_pipeline.market_day import market_day
from edc_pipeline.market_hours import session_of
from edc_pipeline_tests.defs.busy_day import write_busy_day
from edc_pipeline_tests.defs.control_room import REPOSITORY, ControlRoom, await_

# The path of the file stands in the picture: a neutral one.
HOME: Final = Path("/tmp/edc")  # made by mkdir, which refuses one that exists
DOCS: Final = REPOSITORY / "docs"
ROWS: Final = 200_000
RUNS_S: Final = 180.0

Snap = Callable[[str], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=DOCS, help="where the pictures go")
    parser.add_argument("--walk", type=Path, help="a folder for a picture of every step")
    asked = parser.parse_args()
    HOME.mkdir()
    try:
        days = fill_spool(HOME / "data" / "spool")
        room = ControlRoom(HOME, feeds())
        try:
            await_("the UI", 120, room.ui_answers)
            await_("a collector", 60, room.collector)
            with Browser() as browser:
                walk(browser, room, days, asked.out, asked.walk)
        finally:
            room.interrupt(90)
    finally:
        shutil.rmtree(HOME)


def feeds() -> str:
    text = (REPOSITORY / "feeds.example.yaml").read_text()
    text = text.replace("{", "{{").replace("}", "}}")
    text = text.replace("127.0.0.1:8765", "127.0.0.1:{port}")
    text = text.replace("data_dir: data", "data_dir: {data}")
    return text.replace("flush_seconds: 60", "flush_seconds: 5")


def fill_spool(spool: Path) -> list[dt.date]:
    """The last five weeks' sessions of one weekday, and the latest two; returns those two."""
    today = market_day(time.time_ns())
    past = [today - dt.timedelta(days=n) for n in range(1, 40)]
    sessions = [day for day in past if session_of("equity", day)]
    latest = sessions[:2]
    for day in sessions:
        if day in latest or day.weekday() == latest[0].weekday():
            for event_type in EVENT_TYPES:
                rows = ROWS // 10 if event_type == "ref_px" else ROWS
                gap = day == latest[0] and event_type == "trade"
                write_busy_day(spool, day, event_type, rows, gap=gap)
    return latest


def walk(
    browser: Browser, room: ControlRoom, days: list[dt.date], out: Path, steps: Path | None
) -> None:
    ui = f"http://127.0.0.1:{room.port}"
    day, day_before = days
    out.mkdir(exist_ok=True)
    taken = 0

    def snap(name: str) -> None:
        nonlocal taken
        taken += 1
        if steps is not None:
            steps.mkdir(exist_ok=True)
            browser.picture(steps / f"{taken:02d}_{name}.png")

    _launch_backfill(browser, ui, day_before, day, snap)
    _await_backfill(browser, ui, snap)
    report = f"{ui}/assets/day_report?view=partitions&partition={day}"
    browser.open(report)
    # The report follows by itself, some minutes after the last file of the day.
    await_("the report of the day", 3 * RUNS_S, lambda: _says(browser, report, "by_event_type"), 5)
    snap("day_report")
    browser.open(f"{ui}/asset-groups", says="day_report")
    snap("asset_graph")
    browser.picture(out / "ui_graph.png", settle_s=3)
    partition = f"{ui}/assets/consolidated_feeds?view=partitions&partition={day}%7Ctrade"
    browser.open(partition, says="events_per_minute")
    snap("partition")
    _show_from(browser, "last_event")
    browser.picture(out / "ui.png")
    _show_from(browser, "preview")
    snap("preview")
    browser.click("[Show Markdown]")
    snap("large_pictures")
    browser.open(
        f"{ui}/assets/consolidated_feeds?view=checks&checkDetail=gaps", says="vendors_agree"
    )
    browser.wait("first_gaps")
    snap("checks")
    browser.picture(out / "ui_checks.png")
    browser.open(f"{ui}/assets/consolidated_feeds?view=overview", says="Columns")
    snap("asset_overview")
    sensor = f"{ui}/locations/edc_pipeline/sensors/keep_capture_running"
    browser.open(sensor, says="Frequency")
    snap("sensor")
    browser.open(f"{ui}/automation", says="daily_consolidation")
    snap("automation")
    browser.open(f"{ui}/runs", says="capture")
    snap("runs")
    for name in ("ui.png", "ui_graph.png", "ui_checks.png"):
        print(f"{out / name}: {(out / name).stat().st_size:,} bytes")


def _launch_backfill(browser: Browser, ui: str, first: dt.date, last: dt.date, snap: Snap) -> None:
    """Two days of all types, by the button and the dialog."""
    browser.open(f"{ui}/assets/consolidated_feeds?view=partitions", says="Partitions Selected")
    browser.click("Materialize…")
    browser.wait("Partition selection")
    # The dialog's field is the last of its kind: the page behind has one too.
    browser.fill("ex: 2025", f"{first}, {last}")
    browser.press_last("All")
    browser.wait("6 partitions")
    snap("materialise")
    browser.press_last("Launch backfill")
    browser.wait_gone("Launch runs to materialize")


def _await_backfill(browser: Browser, ui: str, snap: Snap) -> None:
    browser.open(f"{ui}/runs?view=backfills", says="consolidated_feeds")
    snap("backfill_begun")
    await_("the backfill", RUNS_S, lambda: "Success" in browser.text(), 1)
    snap("backfill_done")


def _says(browser: Browser, url: str, words: str) -> bool:
    browser.open(url)
    time.sleep(3)
    return words in browser.text()


def _show_from(browser: Browser, label: str) -> None:
    """Scroll a row of the metadata to the top."""
    browser.run(
        "[...document.querySelectorAll('td')].find(e => e.innerText.trim() === "
        f"'{label}').scrollIntoView()"
    )


if __name__ == "__main__":
    main()
