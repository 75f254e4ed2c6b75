"""Ours, in a process of its own: spool → verified daily file, and once more, unchanged."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from consolidation_day import DAY

from edc_pipeline.consolidation import consolidate


def main(spool: Path, out: Path, event_type: str, memory: str) -> None:
    started = time.perf_counter()
    made = consolidate(spool, out, event_type, DAY, rules={}, memory=memory)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.perf_counter()
    again = consolidate(spool, out, event_type, DAY, rules={}, memory=memory)
    assert again.unchanged
    print(
        json.dumps(
            {
                "seconds": seconds,
                "peak_rss_mb": peak,
                "rows": made.certificate.rows,
                "stages": {name: round(s, 3) for name, s in made.seconds.items()},
                "unchanged_seconds": time.perf_counter() - started,
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4])
