"""Capture, everything on, beside a plain implementation and cryptofeed's bare callback.

One server process sends frames rendered beforehand over TLS on loopback to one client process at a
time; what counts is the CPU time that the client spends per event, user and system, on all its
threads: from the first frame until all is in parquet. Then our own delays at set rates: from the
receipt of a frame (the read that brought it) until it was handed to the queues, and until it was
durable in the journal; and how long the event loop was held at most. The machine's own noise is
measured in a loop that idles in another process at the same time, and taken off.

Prints tables and, as its last line, one JSON object. Ratios can be compared between machines; the
times cannot.

    python benchmarks/capture.py [--rounds 3] [--events 200000] [--seconds 3]
                                 [--only TEXT]           styles with it in their name
                                 [--cryptofeed PYTHON]   an interpreter that can import it
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from capture_ours import Heartbeat
from capture_server import make_certificate, serve
from capture_styles import SINGLE_FRAMES, STYLES

from edc_pipeline.vendors import VENDORS

HERE = Path(__file__).parent
RATES = (10_000, 50_000, 100_000)  # events a second
# The vendors' keys, for a server that asks for none.
KEYS = {key for style in STYLES.values() if (key := VENDORS[style.vendor].secret)}
# The plain implementation takes ten times as long per event; a fifth of the events is enough.
PLAIN_PART = 5


class Bench(NamedTuple):
    port: int
    certificate: str

    async def _client(self, words: Sequence[str]) -> tuple[dict[str, Any], float]:
        """What a client process printed, and the longest stall of an idle loop meanwhile (ms)."""
        heartbeat = Heartbeat()
        beating = asyncio.create_task(heartbeat.beat())
        client = await asyncio.create_subprocess_exec(
            *words,
            stdout=asyncio.subprocess.PIPE,
            env={
                **os.environ,
                **dict.fromkeys(KEYS, "bench"),
                "SSL_CERT_FILE": self.certificate,
                "PYTHONWARNINGS": "ignore",
            },
        )
        said, _ = await client.communicate()
        beating.cancel()
        if client.returncode:
            raise RuntimeError(f"{' '.join(words[1:3])} ended with {client.returncode}")
        return json.loads(said.splitlines()[-1]), heartbeat.longest_s * 1e3

    def run(
        self, words: Sequence[str], style: str, count: int, rate: int = 0
    ) -> tuple[dict[str, Any], float]:
        """`count` and `rate` are of events."""
        each = STYLES[style].each if style in STYLES else 1
        count -= count % each
        frames = f"{count // each}?style={quote(style)}&rate={rate // each}"
        url = f"wss://127.0.0.1:{self.port}/{frames}"
        with tempfile.TemporaryDirectory(prefix="edc-bench-") as folder:
            script, *options = words[1:]
            told = [words[0], str(HERE / script), *options]
            at = 3 if options[:1] in (["plain"], ["cryptofeed"]) else 2
            told[at:at] = [url, style, str(count), folder]
            return asyncio.run(self._client(told))

    def ours(
        self, style: str, count: int, rate: int = 0, *, subscribed: bool = False
    ) -> tuple[dict[str, Any], float]:
        options = ["--delays"] * bool(rate) + ["--subscribed"] * subscribed
        return self.run([sys.executable, "capture_ours.py", *options], style, count, rate)

    def plain(self, style: str, count: int) -> float:
        words = [sys.executable, "capture_plain.py", "plain"]
        return float(self.run(words, style, count)[0]["cpu_us"])

    def cryptofeed(self, python: str, count: int) -> float:
        words = [python, "capture_plain.py", "cryptofeed"]
        return float(self.run(words, "cryptofeed", count)[0]["cpu_us"])


def can_import_cryptofeed(python: str) -> bool:
    tried = subprocess.run([python, "-c", "import cryptofeed"], check=False, capture_output=True)
    return tried.returncode == 0


def compare_styles(
    bench: Bench, styles: Sequence[str], rounds: int, events: int
) -> dict[str, dict[str, float]]:
    """By style, the medians; the two take turns, so that the machine's moods meet both."""
    print(
        f"{'CPU µs per event':<24}{'ours':>8}{'plain':>8}{'ratio':>8}{'journal':>9}{'stall ms':>10}"
    )
    found = {}
    for style in styles:
        ours, plain = [], []
        for _ in range(rounds):
            ours.append(bench.ours(style, events))
            plain.append(bench.plain(style, events // PLAIN_PART))
        row = {
            "ours": statistics.median(told["cpu_us"] for told, _ in ours),
            "plain": statistics.median(plain),
            "journal": statistics.median(told["journal_share"] for told, _ in ours),
            "stall_ms": statistics.median(max(0.0, t["stall_ms"] - idle) for t, idle in ours),
        }
        row["ratio"] = row["plain"] / row["ours"]
        found[style] = row
        print(
            f"{style:<24}{row['ours']:>8.2f}{row['plain']:>8.2f}{row['ratio']:>7.1f}×"
            f"{row['journal']:>9.1%}{row['stall_ms']:>10.1f}",
            flush=True,
        )
    return found


def delays_at_rates(bench: Bench, seconds: float) -> dict[int, dict[str, float]]:
    print("\nms, p50 / p99           received → queues   received → durable   longest stall")
    found = {}
    for rate in RATES:
        told, idle_ms = bench.ours(SINGLE_FRAMES, int(rate * seconds), rate)
        told["idle_stall_ms"] = idle_ms
        told["reached"] = told["rate"] >= 0.95 * rate
        found[rate] = told
        published = f"{told['published_50_ms']:.2f} / {told['published_99_ms']:.2f}"
        durable = f"{told['durable_50_ms']:.1f} / {told['durable_99_ms']:.1f}"
        reached = "" if told["reached"] else f"  (reached {told['rate']:,.0f})"
        print(
            f"{rate:>9,} events/s     {published:>17}   {durable:>18}"
            f"   {told['stall_ms']:.1f}, of an idle loop {idle_ms:.1f}{reached}",
            flush=True,
        )
    return found


def compare(told: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = make_certificate(Path(folder))
        ports: Any = multiprocessing.Queue()
        server = multiprocessing.Process(target=serve, args=(certificate, key, ports), daemon=True)
        server.start()
        try:
            bench = Bench(ports.get(timeout=30), certificate)
            names = [name for name in STYLES if told.only in name or name == SINGLE_FRAMES]
            styles = compare_styles(bench, names, told.rounds, told.events)
            subscribed = [
                bench.ours(SINGLE_FRAMES, told.events, subscribed=True) for _ in range(told.rounds)
            ]
            subscribed_us = statistics.median(row["cpu_us"] for row, _ in subscribed)
            print(f"{SINGLE_FRAMES + ', and heard':<24}{subscribed_us:>8.2f}")
            cryptofeed_us = None
            if can_import_cryptofeed(told.cryptofeed):
                count = told.events // PLAIN_PART
                cryptofeed_us = statistics.median(
                    bench.cryptofeed(told.cryptofeed, count) for _ in range(told.rounds)
                )
                print(f"{'cryptofeed, callback':<24}{'':>8}{cryptofeed_us:>8.2f}")
            rates = delays_at_rates(bench, told.seconds)
        finally:
            server.terminate()
            server.join()
    ours_us = statistics.mean(row["ours"] for row in styles.values())
    single = styles[SINGLE_FRAMES]
    return {
        "vs_plain": round(single["ratio"], 2),
        "vs_plain_by_vendor": {style: round(row["ratio"], 2) for style, row in styles.items()},
        "vs_cryptofeed": round(cryptofeed_us / single["ours"], 2) if cryptofeed_us else None,
        "journal_share": round(statistics.mean(row["journal"] for row in styles.values()), 4),
        "events_per_core_second": round(1e6 / ours_us),
        "subscribed_us": round(subscribed_us, 2),
        "ours_us": {style: round(row["ours"], 2) for style, row in styles.items()},
        "plain_us": {style: round(row["plain"], 2) for style, row in styles.items()},
        "stall_ms": round(
            max(
                *(row["stall_ms"] for row in styles.values()),
                *(max(0.0, row["stall_ms"] - row["idle_stall_ms"]) for row in rates.values()),
            ),
            1,
        ),
        "at_rate": {
            str(rate): {
                name: round(value, 3) for name, value in row.items() if name.endswith("_ms")
            }
            | {"reached": row["reached"]}
            for rate, row in rates.items()
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--events", type=int, default=150_000, help="of ours, in each round")
    parser.add_argument("--only", default="", metavar="TEXT", help="styles with it in their name")
    parser.add_argument("--seconds", type=float, default=3.0, help="at each rate")
    parser.add_argument("--cryptofeed", default=sys.executable, metavar="PYTHON")
    told = parser.parse_args()
    # A stuck server must not hold up a build.
    limit_s = 60 + told.rounds * len(STYLES) * (8 + told.events / 50_000) + 10 * told.seconds
    watchdog = threading.Timer(limit_s, lambda: os._exit(3))
    watchdog.daemon = True
    watchdog.start()
    print(json.dumps(compare(told)))


if __name__ == "__main__":
    main()
