"""A day that has grown, made out of its former file and what is new, beside the same made in full.

Makes a day (`consolidation_day`), holds back the last micro-batches, consolidates, brings them
back, and consolidates again: as grown and in full, in turns, each in a process of its own. Both
have to give one certificate.

Prints one line for each part of the day that was new and, as its last line, one JSON object.

    python benchmarks/consolidation_growth.py [--rows 10000000] [--files 2000] [--type trade]
                                              [--new 0.01,0.1] [--rounds 3] [--folder DIR]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
from consolidation_day import DAY, make_day, peak_rss_mb

HERE = Path(__file__).parent
GROWN, IN_FULL = "grown", "in full"


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("--rows", type=int, default=10_000_000)
    asked.add_argument("--files", type=int, default=2_000)
    asked.add_argument("--type", dest="event_type", default="trade", choices=("trade", "quote"))
    asked.add_argument("--new", default="0.01,0.1", help="parts of the day, with commas")
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--folder", type=Path, help="where to work; a temporary folder if not given")
    asked.add_argument("--once", nargs=3, metavar=("HOW", "SPOOL", "OUT"), help=argparse.SUPPRESS)
    options = asked.parse_args()
    if options.once:
        how, spool, out = options.once
        print(json.dumps(once(how, Path(spool), Path(out), options.event_type)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        told = [compared(options, Path(folder), float(new)) for new in options.new.split(",")]
    print(json.dumps({"rows": options.rows, "files": options.files, "grown": told}))


def compared(options: argparse.Namespace, folder: Path, new: float) -> dict[str, Any]:
    spool, out, held_back = folder / "spool", folder / "out", folder / "held_back"
    if not spool.exists():
        make_day(spool, options.event_type, options.rows, options.files)
    batches = sorted((spool / f"event_type={options.event_type}" / f"day={DAY}").iterdir())
    late = batches[-max(1, round(len(batches) * new)) :]
    held_back.mkdir(exist_ok=True)
    for path in late:
        path.rename(held_back / path.name)
    shutil.rmtree(out, ignore_errors=True)
    given = ("--type", options.event_type, "--once")
    timed(*given, IN_FULL, spool, out)
    for path in late:
        (held_back / path.name).rename(path)
    runs: dict[str, list[dict[str, Any]]] = {GROWN: [], IN_FULL: []}
    for _ in range(options.rounds):
        for how, of_it in runs.items():
            shutil.rmtree(folder / "again", ignore_errors=True)
            shutil.copytree(out, folder / "again")
            of_it.append(timed(*given, how, spool, folder / "again"))
    assert len({run["certificate"] for of_it in runs.values() for run in of_it}) == 1
    told: dict[str, Any] = {"new": new, "new_files": len(late)}
    for how, of_it in runs.items():
        name = how.replace(" ", "_")
        for what in ("seconds", "cpu_seconds", "peak_rss_mb"):
            told[f"{name}_{what}"] = round(statistics.median(run[what] for run in of_it), 3)
    told["times"] = round(told["in_full_seconds"] / told["grown_seconds"], 2)
    told["times_cpu"] = round(told["in_full_cpu_seconds"] / told["grown_cpu_seconds"], 2)
    print(
        f"{new:.0%} new: grown {told['grown_seconds']:.2f} s, in full"
        f" {told['in_full_seconds']:.2f} s: {told['times']:.1f} times,"
        f" {told['times_cpu']:.1f} of CPU",
        flush=True,
    )
    return told


def timed(*arguments: Any) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, __file__, *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)])},
    )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def once(how: str, spool: Path, out: Path, event_type: Any) -> dict[str, Any]:
    from edc_pipeline.consolidation import growth  # noqa: PLC0415
    from edc_pipeline.consolidation.certificate import encode  # noqa: PLC0415
    from edc_pipeline.consolidation.make import consolidate  # noqa: PLC0415

    growth.GROWN_ROWS = 0 if how == GROWN else sys.maxsize  # type: ignore[misc]
    started, cpu = time.perf_counter(), time.process_time()
    made = consolidate(spool, out, event_type, DAY, rules={}, now_ns=0)
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
        "peak_rss_mb": peak_rss_mb(),
        "certificate": hashlib.sha256(encode(made.certificate)).hexdigest(),
    }


if __name__ == "__main__":
    main()
