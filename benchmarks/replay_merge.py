"""Merging a day's sources, one a symbol, into global order: ours beside heapq.

    python benchmarks/replay_merge.py [--sources 500] [--rows 10000] [--repeats 3]

Both get the same blocks of rows and hand out every row in order; ours as blocks of columns, the
plain one as tuples, which is what `heapq.merge` takes. Best of the repeats, in one run.
"""

from __future__ import annotations

import argparse
import heapq
import resource
import time
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import Any

import numpy as np

from edc_pipeline.replay.merge import merge
from edc_pipeline.replay.records import Block, record_dtype

BLOCK_ROWS = 2_048
DAY_NS = 86_400 * 10**9


def source(number: int, rows: int, block_rows: int = BLOCK_ROWS) -> Iterator[Block]:
    """One symbol's day: rows at random times, more or less of them by symbol."""
    random = np.random.default_rng(number)
    rows = int(rows * random.uniform(0.5, 1.5))
    step = DAY_NS // max(rows, 1)
    for start in range(0, rows, block_rows):
        n = min(block_rows, rows - start)
        block = np.zeros(n, record_dtype())
        block["ts_event"] = (start + np.arange(n)) * step + random.integers(0, step, n)
        block["label"] = number
        block["price"] = random.random(n)
        yield block


def ours(sources: int, rows: int) -> int:
    return sum(len(block) for block in merge([source(n, rows) for n in range(sources)]))


def plain(sources: int, rows: int) -> int:
    def one_by_one(blocks: Iterator[Block]) -> Iterator[tuple[Any, ...]]:
        for block in blocks:
            yield from block.tolist()

    merged = heapq.merge(*(one_by_one(source(n, rows)) for n in range(sources)), key=itemgetter(0))
    return sum(1 for _ in merged)


def best(run: Callable[[int, int], int], sources: int, rows: int, repeats: int) -> float:
    """Rows a second of CPU."""
    rates = []
    for _ in range(repeats):
        began = time.process_time()
        count = run(sources, rows)
        rates.append(count / (time.process_time() - began))
    return max(rates)


def making(sources: int, rows: int) -> int:
    """The blocks alone: what either has to pay before it merges."""
    return sum(len(block) for n in range(sources) for block in source(n, rows))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--sources", type=int, default=500)
    options.add_argument("--rows", type=int, default=10_000)
    options.add_argument("--repeats", type=int, default=3)
    asked = options.parse_args()
    made = best(making, asked.sources, asked.rows, asked.repeats)
    rates = {}
    for rows in (asked.rows, 4 * asked.rows):
        rates[rows] = best(ours, asked.sources, rows, asked.repeats)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"ours   {asked.sources} sources × {rows:,} rows: {rates[rows] / 1e6:6.2f} M rows/s,"
            f" peak {peak:,.0f} MB"
        )
    few = asked.rows // 5
    slow = best(plain, asked.sources, few, 1)
    print(f"heapq  {asked.sources} sources × {few:,} rows: {slow / 1e6:6.2f} M rows/s")
    print(f"(making the blocks alone: {made / 1e6:.2f} M rows/s, in both figures)")
    print(f"ratio  {rates[asked.rows] / slow:.1f}")


if __name__ == "__main__":
    main()
