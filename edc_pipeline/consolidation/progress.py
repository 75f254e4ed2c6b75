"""How far a consolidation is, told to whoever asked: a bar in the terminal, lines in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

Progress = Callable[[str, int, int], None]  # stage, rows done, rows in all

# A line in Dagster's log costs 9 kB for ever; a day of 10M rows is made before the first.
EVERY_S: Final = 10.0


def told_every(
    tell: Callable[[str], object],
    every_s: float = EVERY_S,
    clock: Callable[[], float] = time.monotonic,
) -> Progress:
    """Progress as lines: stage, rows, rate and time left, at most one every `every_s` seconds."""
    begun: dict[str, float] = {}
    last = clock()

    def progress(stage: str, done: int, of: int) -> None:
        nonlocal last
        now = clock()
        begun.setdefault(stage, now)
        if now - last < every_s or not of:
            return
        last = now
        rate = done / max(now - begun[stage], 1e-9)
        left = f", {(of - done) / rate:.0f} s left" if rate else ""
        tell(f"{stage}: {done:,} of {of:,} rows, {rate:,.0f} rows/s{left}")

    return progress


class Watch:
    """Times the stages and passes progress on."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, rows: int) -> Iterator[Callable[[int], None]]:
        done = 0

        def advance(more: int) -> None:
            nonlocal done
            done += more
            self._progress(name, done, rows)

        self._progress(name, 0, rows)
        started = time.perf_counter()
        try:
            yield advance
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
        self._progress(name, rows, rows)
