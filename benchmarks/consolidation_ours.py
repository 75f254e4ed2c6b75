"""Ours, in a process of its own: spool → verified daily file, and once more, unchanged."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from consolidation_day import DAY, peak_rss_mb

from edc_pipeline.consolidation.make import consolidate


def main(spool: Path, out: Path, event_type: str, memory: str) -> None:
    started, cpu = time.perf_counter(), time.process_time()
    made = consolidate(spool, out, event_type, DAY, rules={}, memory=memory)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = peak_rss_mb()
    started = time.perf_counter()
    again = consolidate(spool, out, event_type, DAY, rules={}, memory=memory)
    assert again.unchanged
    print(
        json.dumps(
            {
                "seconds": seconds,
                "cpu_seconds": cpu,
                "peak_rss_mb": peak,
                "rows": made.certificate.rows,
                "stages": {name: round(s, 3) for name, s in made.seconds.items()},
                "unchanged_seconds": time.perf_counter() - started,
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4])
