"""Capture for a long time at a steady rate: is memory flat, are handles given back, is every frame
accounted for?

Two servers send frames rendered beforehand over TLS on loopback, each to one feed of a real
`edc capture`. Every few seconds its memory, file handles and threads are read from /proc. In the
end it is told to stop; then what the servers sent, the ledger, the footers of the micro-batches and
the raw archive must agree.

    python benchmarks/soak.py [--minutes 30] [--rate 20000] [--plot soak.svg] [--keep FOLDER]

The last line is one JSON object. Exit 1: something is not accounted for.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import yaml
from capture_server import make_certificate, serve
from capture_styles import STYLES

FEEDS = {"crypto": "tiingo crypto trades", "quotes": "tiingo iex quotes"}
CHECKOUT = Path(__file__).resolve().parents[1]
# Caches fill and allocators settle in the first part; growth is judged by what follows.
WARM_UP = 0.25


class Sample(NamedTuple):
    at_s: float
    rss_mb: float
    handles: int
    threads: int


def sample(pid: int, began_s: float) -> Sample:
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return Sample(
        time.monotonic() - began_s,
        int(status["VmRSS"].split()[0]) / 1024,
        len(os.listdir(f"/proc/{pid}/fd")),
        int(status["Threads"]),
    )


def settings(folder: Path, ports: dict[str, int], count: int, rate: int) -> Path:
    feeds = {}
    for name, style_name in FEEDS.items():
        style = STYLES[style_name]
        feeds[name] = {
            "vendor": style.vendor,
            "feed": style.feed,
            "symbols": list(style.symbols),
            "options": dict(style.options),
            "url": f"wss://127.0.0.1:{ports[name]}/{count}"
            f"?style={quote(style_name)}&rate={rate // len(FEEDS)}",
        }
    path = folder / "feeds.yaml"
    path.write_text(yaml.safe_dump({"data_dir": str(folder / "data"), "feeds": feeds}))
    return path


def soak(folder: Path, minutes: float, rate: int, every_s: float) -> dict[str, Any]:
    certificate, key = make_certificate(folder)
    servers, ports, queue = [], {}, multiprocessing.Queue()
    for name, style in FEEDS.items():
        words = (certificate, key, queue, [style])
        server = multiprocessing.Process(target=serve, args=words, daemon=True)
        server.start()
        servers.append(server)
        ports[name] = queue.get(timeout=120)
    count = int(minutes * 60 * rate / len(FEEDS))
    config = settings(folder, ports, count, rate)
    capture = subprocess.Popen(
        [sys.executable, "-m", "edc_pipeline", "capture", "--config", str(config)],
        cwd=CHECKOUT,
        env={**os.environ, "SSL_CERT_FILE": certificate},
        stdout=subprocess.DEVNULL,
        stderr=(folder / "capture.log").open("w"),
    )
    try:
        samples = watch(capture, folder, minutes, every_s, count * len(FEEDS))
        capture.send_signal(signal.SIGTERM)
        ended = capture.wait(60)
    finally:
        for process in (capture, *servers):
            process.kill()
    return {"exit": ended, "samples": samples, "sent": count * len(FEEDS)}


def watch(
    capture: subprocess.Popen[bytes], folder: Path, minutes: float, every_s: float, sent: int
) -> list[Sample]:
    """Until all was received, or long after it should have been."""
    began_s, samples = time.monotonic(), []
    while time.monotonic() - began_s < minutes * 60 * 1.5 + 60:
        time.sleep(every_s)
        if capture.poll() is not None:
            raise SystemExit(f"capture ended with {capture.returncode}: {folder / 'capture.log'}")
        if not (received := received_by(folder)):
            continue  # it starts, or says so
        samples.append(sample(capture.pid, began_s))
        print(f"{samples[-1].at_s:7.0f} s  {received:>12,} frames  {samples[-1].rss_mb:.0f} MB")
        if received >= sent:
            break
    if not samples:
        raise SystemExit(f"capture received nothing: {folder / 'capture.log'}")
    return samples


def received_by(folder: Path) -> int:
    try:
        told = json.loads((folder / "data/spool/_status.json").read_text())
    except (OSError, ValueError):
        return 0
    return sum(feed["frames"] for feed in told["feeds"])


def account(folder: Path) -> dict[str, int]:
    """The same number, from four places that are written apart."""
    from edc_pipeline.capture.journal.archive import read_archive  # noqa: PLC0415
    from edc_pipeline.spool.layout import batch_files, days_in  # noqa: PLC0415
    from edc_pipeline.spool.ledger import Ledger  # noqa: PLC0415
    from edc_pipeline.spool.micro_batch import read_footer  # noqa: PLC0415

    spool = folder / "data/spool"
    counts = list(Ledger(spool).frames().values())
    return {
        "ledger": sum(c.received for c in counts),
        "unbalanced": sum(not c.balanced for c in counts),
        "rows": sum(
            read_footer(path).rows
            for event_type, day in days_in(spool)
            for path in batch_files(spool, event_type, day)
        ),
        "archive": sum(read.frame_count for read in read_archive(spool)),
        "gaps": len(Ledger(spool).gaps()),
    }


def judged(told: dict[str, Any], numbers: dict[str, int]) -> dict[str, Any]:
    samples: list[Sample] = told["samples"]
    settled = samples[int(len(samples) * WARM_UP) :]
    half = len(settled) // 2
    first, second = settled[:half] or settled, settled[half:]
    highest = [max(s.rss_mb for s in part) for part in (first, second)]
    sent = told["sent"]
    return {
        "seconds": round(samples[-1].at_s),
        "frames_sent": sent,
        **numbers,
        "accounted": numbers["ledger"] == numbers["rows"] == numbers["archive"] == sent
        and not numbers["unbalanced"],
        "rss_mb_first_half": round(highest[0], 1),
        "rss_mb_second_half": round(highest[1], 1),
        "handles": [min(s.handles for s in settled), max(s.handles for s in settled)],
        "threads": max(s.threads for s in settled),
        "exit": told["exit"],
    }


def plot(samples: list[Sample], path: Path) -> None:
    """Memory over time: one line, its scale from zero."""
    width, height, left = 720, 240, 50
    last_s, most = samples[-1].at_s, max(s.rss_mb for s in samples) * 1.2
    points = " ".join(
        f"{left + s.at_s / last_s * (width - left):.1f},{height - s.rss_mb / most * height:.1f}"
        for s in samples
    )
    marks = "".join(
        f'<text x="2" y="{height - part * height + 4:.0f}">{most * part:.0f} MB</text>'
        f'<path d="M{left} {height - part * height:.0f}H{width}" stroke="#ddd"/>'
        for part in (0.25, 0.5, 0.75)
    )
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height + 24}"'
        f' font-family="sans-serif" font-size="11">{marks}'
        f'<polyline points="{points}" fill="none" stroke="#1f6feb" stroke-width="1.5"/>'
        f'<text x="{left}" y="{height + 16}">0</text>'
        f'<text x="{width - 90}" y="{height + 16}">{last_s / 60:.0f} minutes</text></svg>'
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=int, default=20_000, help="events a second, all feeds")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between samples")
    parser.add_argument("--plot", type=Path, help="write memory over time as SVG")
    parser.add_argument("--keep", type=Path, help="work in this folder and leave it there")
    told = parser.parse_args()
    folder = told.keep or Path(tempfile.mkdtemp(prefix="edc-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        soaked = soak(folder, told.minutes, told.rate, told.every)
        result = judged(soaked, account(folder))
        if told.plot:
            plot(soaked["samples"], told.plot)
    finally:
        if told.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(result))
    return 0 if result["accounted"] and result["exit"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
