"""Our capture as it is run: picows, journal with fdatasync, archive, micro-batches, ledger.

    python benchmarks/capture_ours.py URL STYLE EVENTS FOLDER [--delays]

Prints the CPU time per event from the first frames until all is in the spool, the part of it that
was the journal's, and the longest stall of the event loop. With --delays also what a frame waited
from its receipt until it was handed to the queues, and until it was durable; that costs CPU time
of its own, so the two are not measured in one run.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import resource
import time
from bisect import bisect_left
from pathlib import Path
from typing import Any

from capture_styles import STYLES

from edc_pipeline.capture.collector import Collector
from edc_pipeline.capture.journal.writer import Journal
from edc_pipeline.capture.live import Subscriber
from edc_pipeline.capture.run import _warm_up
from edc_pipeline.settings import Settings

BEAT_S = 0.005
# Of every so many frames one delay is noted.
EACH = 16
# Frames that a busy socket brings in one read.
READ_FRAMES = 100


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Heartbeat:
    """A task that wants to run every 5 ms: how late it came is how long the loop was held."""

    def __init__(self) -> None:
        self.longest_s = 0.0

    async def beat(self) -> None:
        due_s = time.monotonic() + BEAT_S
        while True:
            await asyncio.sleep(due_s - time.monotonic())
            now_s = time.monotonic()
            self.longest_s = max(self.longest_s, now_s - due_s)
            due_s = now_s + BEAT_S


class Delays:
    """Notes when sampled frames were handed to the queues, and when commits ended."""

    def __init__(self, collector: Collector) -> None:
        self._published: list[int] = []  # ns after receipt
        self._received: list[tuple[int, int]] = []  # (ordinal, ns) of the same frames
        self._commits: list[tuple[int, int]] = []  # (last ordinal, ns)
        journal, take, number = collector._journal, collector.take, 0
        done = journal._done

        def noting_take(*told: Any) -> Any:
            nonlocal number
            heard = take(*told)
            payloads, received_at = told[3], told[4]
            waited = time.time_ns() - received_at
            for frame in range(number, number + len(payloads), EACH):
                self._published.append(waited)
                self._received.append((frame, received_at))
            number += len(payloads)
            return heard

        def noting_done(taken: Any) -> None:
            done(taken)
            self._commits.append((journal.committed_frame, time.time_ns()))

        collector.take = noting_take
        journal._done = noting_done  # type: ignore[method-assign]

    def figures(self) -> dict[str, float]:
        durable = [
            self._commits[bisect_left(self._commits, (ordinal, 0))][1] - received_at
            for ordinal, received_at in self._received
        ]
        return {
            f"{name}_{percent}_ms": sorted(waits)[len(waits) * percent // 100] / 1e6
            for name, waits in (("published", self._published), ("durable", durable))
            for percent in (50, 99)
        }


def journal_cpu_s(count: int, payload: bytes) -> float:
    """What the event loop spends to queue so many frames for the journal."""
    journal = Journal(Path("unused"), "bench")
    payloads = [payload] * READ_FRAMES
    began_s = time.thread_time()
    for _ in range(count // READ_FRAMES):
        journal.append_many(0, 0, payloads, len(payloads) * len(payload))
        if len(journal._queued.reads) >= 1000:
            journal._queued = type(journal._queued)(0)
    return time.thread_time() - began_s


async def ours(asked: argparse.Namespace) -> dict[str, Any]:
    url, count, folder, style = asked.url, asked.events, asked.folder, STYLES[asked.style]
    feed = {"vendor": style.vendor, "feed": style.feed, "url": url}
    told = feed | {"symbols": style.symbols, "options": dict(style.options)}
    collector = Collector(Settings(data_dir=Path(folder), feeds={"bench": told}), "bench")
    noted = Delays(collector) if asked.delays else None
    writing_s = 0.0
    journal = collector._journal
    write = journal._write

    def timed_write(taken: Any) -> None:
        nonlocal writing_s
        began_s = time.thread_time()
        write(taken)
        writing_s += time.thread_time() - began_s

    journal._write = timed_write  # type: ignore[method-assign]
    heartbeat, stop = Heartbeat(), asyncio.Event()
    capturing = asyncio.create_task(collector.run(stop))
    (state,) = collector._states
    while not state.frames.received:  # noqa: ASYNC110 - nothing tells of the first frame
        await asyncio.sleep(0.001)
    beating = asyncio.create_task(heartbeat.beat())
    listening = asyncio.create_task(listen(collector.subscribe())) if asked.subscribed else None
    began_s, began_wall_s, before = cpu_s(), time.monotonic(), sum(state.events.values())
    while state.frames.received < count // style.each:
        await asyncio.sleep(BEAT_S)
        assert not capturing.done()
    took_s = time.monotonic() - began_wall_s
    stop.set()
    await capturing
    used_s, events = cpu_s() - began_s, count - before
    beating.cancel()
    if listening:
        assert 0 < await listening <= count
    assert sum(state.events.values()) == count, "not every frame was read"
    queueing_s = journal_cpu_s(events // style.each, style.row(1, time.time_ns()))
    return {
        "cpu_us": used_s / events * 1e6,
        "journal_share": (writing_s + queueing_s) / used_s,
        "stall_ms": heartbeat.longest_s * 1e3,
        "rate": events / took_s,
        **(noted.figures() if noted else {}),
    }


async def listen(subscriber: Subscriber) -> int:
    heard = 0
    async for _ in subscriber:
        heard += 1
    return heard + subscriber.lost


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("style")
    parser.add_argument("events", type=int)
    parser.add_argument("folder")
    parser.add_argument("--delays", action="store_true")
    parser.add_argument("--subscribed", action="store_true")
    _warm_up()
    gc.collect()
    gc.freeze()  # as `capture.run` does before it begins
    print(json.dumps(asyncio.run(ours(parser.parse_args()))))


if __name__ == "__main__":
    main()
