"""Takes the picture in README.md from a real running UI.

    make picture            # needs Chromium; runs for about a minute

Starts `edc dev` on a home of its own, lets it capture from the simulated exchange, materialises
today, and photographs the partition's page with headless Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Final

from edc_pipeline.market_day import market_day
from edc_pipeline_tests.defs.control_room import REPOSITORY, ControlRoom, await_

# The path of the file stands in the picture: a neutral one.
HOME: Final = Path("/tmp/edc")  # made by mkdir, which refuses one that exists
CAPTURE_S: Final = 40
SIZE: Final = "1440,900"
FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--timeout=30000",
    "--virtual-time-budget=30000",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "docs" / "ui.png")
    parser.add_argument("--page", default="", help="another page of the UI, e.g. asset-groups")
    asked = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no Chromium here: apt-get install chromium")
    HOME.mkdir()
    feeds = (REPOSITORY / "feeds.example.yaml").read_text()
    feeds = feeds.replace("{ SPY: etf, QQQ: etf }", "{{ SPY: etf, QQQ: etf }}")
    feeds = feeds.replace("127.0.0.1:8765", "127.0.0.1:{port}")
    feeds = feeds.replace("data_dir: data", "data_dir: {data}").replace(
        "flush_seconds: 60", "flush_seconds: 5"
    )
    room = ControlRoom(HOME, feeds)
    try:
        await_("the UI", 120, room.ui_answers)
        await_("a collector", 60, room.collector)
        time.sleep(CAPTURE_S)
        day = market_day(time.time_ns())
        for event_type in ("quote", "ref_px", "trade"):
            run = room.materialise(f"{day}|{event_type}")
            await_(f"the run for {event_type}", 60, partial(room.ended, run))
        page = asked.page or (f"assets/consolidated_feeds?view=partitions&partition={day}%7Ctrade")
        photograph(chromium, f"http://127.0.0.1:{room.port}/{page}", asked.out)
    finally:
        room.interrupt(60)
        shutil.rmtree(HOME)
    print(f"{asked.out}: {asked.out.stat().st_size:,} bytes")


def photograph(chromium: str, url: str, out: Path) -> None:
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                chromium,
                *FLAGS,
                f"--user-data-dir={profile}",
                f"--window-size={SIZE}",
                f"--screenshot={out}",
                url,
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )


if __name__ == "__main__":
    main()
