"""What one would write first: read all, concat, drop duplicates, sort, `to_hdf`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pandas as pd
from consolidation_day import DAY, peak_rss_mb


def main(spool: Path, out: Path, event_type: str) -> None:
    started, cpu = time.perf_counter(), time.process_time()
    out.mkdir(parents=True)
    folder = spool / f"event_type={event_type}" / f"day={DAY.isoformat()}"
    parts = [pd.read_parquet(path) for path in sorted(folder.iterdir())]
    day = pd.concat(parts, ignore_index=True)
    del parts
    ours = ["occurrence", "origin", "status", "created_at", "connection", "frame"]
    # Genuine repeats go with the others: without counting them nothing better can be done.
    day = day.drop_duplicates([c for c in day.columns if c not in ours])
    day = day.sort_values("ts_event").reset_index(drop=True)
    text = day.select_dtypes(exclude="number").columns
    day[text] = day[text].astype(object)  # pandas 3 refuses to store its own text type
    for name in ("ts_event", "created_at"):
        day[name] = pd.to_datetime(day[name], utc=True).dt.tz_convert("America/New_York")
    day.to_hdf(out / "day.h5", key=event_type, format="table", data_columns=True)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = peak_rss_mb()
    told = {"seconds": seconds, "cpu_seconds": cpu, "peak_rss_mb": peak, "rows": len(day)}
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
