"""A day replayed as Tiingo's frames through a real socket: rate and memory into daily files, and
how exactly it is paced at 1 and 10 times its speed.

    python benchmarks/replay_day.py
    python benchmarks/replay_day.py --feed iex --symbol IBM --from 2013-10-07T09:30-04:00 \
        --ticks ibm_trades.zip:trades.yaml --ticks ibm_quotes.zip:quotes.yaml

The exchange is a process of its own. Pacing is measured at the client, after the socket, beside
the noise of the machine's own timer: how late an event loop wakes when asked to at random moments.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect

from edc_pipeline.capture.collector import Collector
from edc_pipeline.consolidation.errors import CannotConsolidate
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.events import EVENT_TYPES
from edc_pipeline.settings import Settings
from edc_pipeline.spool.layout import days_in

EDC = [sys.executable, "-m", "edc_pipeline"]
DAY = "2026-01-22"


@contextmanager
def exchange(words: Sequence[str]) -> Iterator[tuple[dict[str, str], list[dict[str, Any]]]]:
    """`(addresses, its last words once it has ended)`."""
    process = subprocess.Popen(
        [*EDC, "simulate", "--json", "--port", "0", *words], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    told: list[dict[str, Any]] = []
    try:
        yield json.loads(process.stdout.readline())["urls"], told
    finally:
        process.terminate()
        told += [json.loads(line) for line in process.stdout]
        process.wait(20)


async def through_the_pipeline(url: str, asked: argparse.Namespace, folder: Path) -> None:
    settings = Settings(
        data_dir=folder,
        capture={"horizon_days": 36_500},  # type: ignore[arg-type]
        feeds={
            "day": {  # type: ignore[dict-item]
                "vendor": "tiingo",
                "feed": asked.feed,
                "url": url,
                "symbols": [asked.symbol],
                "options": {"threshold_level": {"iex": 0, "fx": 5, "crypto": 2}[asked.feed]},
            }
        },
    )
    collector, stop = Collector(settings, "c1"), asyncio.Event()
    capturing = asyncio.create_task(collector.run(stop))
    began_s = began_cpu = 0.0
    frames = before = 0
    quiet_since = time.monotonic()
    while frames == 0 or time.monotonic() - quiet_since < 2.0:
        await asyncio.sleep(0.02)
        frames = sum(feed.frames for feed in collector.report().feeds)
        if frames != before:
            if not before:
                began_s, began_cpu = time.monotonic(), time.process_time()
            before, quiet_since = frames, time.monotonic()
    took, cpu = quiet_since - began_s, time.process_time() - began_cpu
    stop.set()
    await capturing
    print(f"{frames:,} frames in {took:.2f} s: {frames / took:,.0f}/s; capture's CPU {cpu:.2f} s")
    began_s = time.monotonic()
    rows = 0
    for day in sorted({day for _, day in days_in(settings.spool)}):
        for event_type in EVENT_TYPES:
            try:
                made = consolidate(settings.spool, settings.daily, event_type, day)
            except CannotConsolidate:
                continue
            rows += made.certificate.rows
            assert made.certificate.balanced, made.certificate.reasons
    print(f"{rows:,} rows in daily files after another {time.monotonic() - began_s:.2f} s")


async def lateness(
    url: str, asked: argparse.Namespace, speed: float, seconds: float
) -> list[float]:
    """Seconds by which each frame came later than its stamp says, the earliest taken for 0."""
    level = {"iex": 0, "fx": 5, "crypto": 2}[asked.feed]
    ticker = asked.symbol.lower().replace("/", "").replace(".", "-")
    message = {"thresholdLevel": level, "tickers": [ticker]}
    came: list[tuple[float, int]] = []
    async with connect(url, max_queue=None) as websocket:
        await websocket.send(
            json.dumps({"eventName": "subscribe", "authorization": "x", "eventData": message})
        )
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                async with asyncio.timeout(end - time.monotonic()):
                    frame = json.loads(await websocket.recv())
            except TimeoutError:
                break
            if frame["messageType"] == "A" and asked.feed == "iex":
                came.append((time.monotonic(), frame["data"][2]))
    first = min(at - ns / 1e9 / speed for at, ns in came)
    return [at - ns / 1e9 / speed - first for at, ns in came]


async def timer_noise(samples: int = 1_000) -> list[float]:
    loop, late = asyncio.get_running_loop(), []
    for _ in range(samples):
        due = loop.time() + random.uniform(0.001, 0.01)
        woken = loop.create_future()
        loop.call_at(due, woken.set_result, None)
        await woken
        late.append(loop.time() - due)
    return late


def quantiles(values: list[float]) -> str:
    ordered = sorted(values)
    p50, p99 = (ordered[int(share * (len(ordered) - 1))] * 1000 for share in (0.5, 0.99))
    return f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, worst {ordered[-1] * 1000:.2f} ms"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--ticks", action="append", default=[])
    options.add_argument("--feed", default="iex", choices=("iex", "fx", "crypto"))
    options.add_argument("--symbol", default="SPY")
    options.add_argument("--from", dest="begin", help="where the paced part begins")
    options.add_argument("--seconds", type=float, default=20.0)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = [word for ticks in asked.ticks for word in ("--ticks", ticks)]
        if not source:
            made = ["--synthetic", "--events", "200000", "--symbols", asked.symbol]
            subprocess.run(
                [*EDC, "replay", *made, "--into", str(folder / "made")],
                check=True,
                capture_output=True,
            )
            source = ["--replay", DAY, "--daily", str(folder / "made" / "daily")]
            asked.begin = asked.begin or f"{DAY}T09:30-05:00"
        with exchange(source) as (urls, _):
            asyncio.run(through_the_pipeline(urls[asked.feed], asked, folder / "again"))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        others = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"peak memory: capture and consolidation {peak:,.0f} MB, exchange {others:,.0f} MB")
        if asked.feed != "iex":
            return
        for speed in (1, 10):
            begin = ["--from", asked.begin] if asked.begin else []
            with exchange([*source, *begin, "--speed", str(speed)]) as (urls, _):
                noise = asyncio.run(timer_noise())
                late = asyncio.run(lateness(urls["iex"], asked, speed, asked.seconds))
            print(f"{speed:>2}×: {len(late):,} frames late by {quantiles(late)}")
            print(f"     the timer alone: {quantiles(noise)}")


if __name__ == "__main__":
    main()
