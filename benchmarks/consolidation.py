"""Consolidation beside plain pandas, and its growth with the size of the day.

Makes its own day (`consolidation_day`), holds ours against a slow and plain reference, row by row,
before anything is timed, and then times both in processes of their own: from micro-batches to a
daily file that is verified, ours; to `to_hdf(format="table", data_columns=True)`, plain pandas.

Prints the cost against the size and, as its last line, one JSON object. Ratios can be compared
between machines; the times cannot.

    python benchmarks/consolidation.py [--rows 10000000] [--files 2000] [--type trade]
                                       [--memory 1GiB] [--rounds 3] [--sizes 100000,1000000]
                                       [--no-plain] [--small-files 20000] [--plot FILE]
                                       [--folder DIR]

`--small-files N` puts the same rows into N files as well and says what a file costs, in
`ms_per_small_file` and `cpu_ms_per_small_file`: the time added by a file, verification included.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
from consolidation_day import DAY, make_day
from consolidation_plot import plot
from consolidation_reference import differs_from_reference

HERE = Path(__file__).parent
# Above this plain pandas needs more memory than the machine has; its time is then stated as that of
# the largest size that fits, times the ratio of the rows.
PLAIN_MOST = 12_000_000
CHECKED_ROWS = 1_000_000


def timed(what: str, spool: Path, out: Path, *more: str) -> dict[str, Any]:
    """One run in a process of its own, with its peak of memory."""
    shutil.rmtree(out, ignore_errors=True)
    done = subprocess.run(
        [sys.executable, HERE / f"consolidation_{what}.py", spool, out, *more],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)])},
    )
    if done.returncode:
        raise SystemExit(f"{what} failed:\n{done.stderr[-2000:]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def best(what: str, rounds: int, *more: Any) -> dict[str, Any]:
    return min((timed(what, *more) for _ in range(rounds)), key=lambda r: r["seconds"])


def cost_of_a_file(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The same rows in few files and in many, in turns; the difference, by the file."""
    spools = {n: folder / f"in{n}" for n in (options.files, options.small_files)}
    for files, spool in spools.items():
        make_day(spool, options.event_type, options.rows, files)
    told: dict[int, list[dict[str, Any]]] = {files: [] for files in spools}
    for _ in range(options.rounds):
        for files, spool in spools.items():
            given = (spool, folder / "out", options.event_type, options.memory)
            told[files].append(timed("ours", *given))
    for spool in spools.values():
        shutil.rmtree(spool)
    few, many = (
        {what: statistics.median(one[what] for one in told[files]) for what in _TIMES}
        for files in spools
    )
    more = options.small_files - options.files
    return {
        "small_files": options.small_files,
        "ms_per_small_file": round((many["seconds"] - few["seconds"]) / more * 1e3, 4),
        "cpu_ms_per_small_file": round((many["cpu_seconds"] - few["cpu_seconds"]) / more * 1e3, 4),
        "small_files_seconds": round(many["seconds"], 3),
        "small_files_peak_rss_mb": round(many["peak_rss_mb"]),
        "small_files_unchanged_seconds": round(many["unchanged_seconds"], 3),
    }


_TIMES = ("seconds", "cpu_seconds", "unchanged_seconds", "peak_rss_mb")


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("--rows", type=int, default=10_000_000)
    asked.add_argument("--files", type=int, default=2_000)
    asked.add_argument("--type", dest="event_type", default="trade", choices=("trade", "quote"))
    asked.add_argument("--memory", default="1GiB")
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--sizes", default="", help="more sizes for the curve, with commas")
    asked.add_argument("--no-plain", action="store_true")
    asked.add_argument("--small-files", type=int, default=0, help="the same rows in so many files")
    asked.add_argument("--plot", type=Path, help="draw the curve, as SVG")
    asked.add_argument("--folder", type=Path, help="where to work; a temporary folder if not given")
    options = asked.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        run(options, Path(folder))


def run(options: argparse.Namespace, folder: Path) -> None:
    checked = min(options.rows, CHECKED_ROWS)
    spool = folder / "checked"
    files = max(1, options.files * checked // options.rows)
    make_day(spool, options.event_type, checked, files)
    timed("ours", spool, folder / "out", options.event_type, options.memory)
    difference = differs_from_reference(spool, folder / "out", options.event_type)
    print(f"{checked:,} rows against the reference, {difference or 'equal'}", flush=True)
    if difference:
        print(json.dumps({"rows": checked, "equal_to_reference": False, "why": difference}))
        raise SystemExit(1)
    shutil.rmtree(spool)

    plain_a_row = None
    curve = []
    sizes = sorted({*(int(s) for s in options.sizes.split(",") if s), options.rows})
    print(
        f"{'rows':>12} {'files':>7} {'ours':>8} {'ns a row':>9} {'MB':>6} {'plain':>8} {'times':>6}"
    )
    for rows in sizes:
        files = max(1, options.files * rows // options.rows)
        spool = folder / f"spool{rows}"
        make_day(spool, options.event_type, rows, files)
        ours = best(
            "ours", options.rounds, spool, folder / "out", options.event_type, options.memory
        )
        plain: dict[str, Any] = {}
        if not options.no_plain and rows <= PLAIN_MOST:
            plain = timed("plain", spool, folder / "plain", options.event_type)
            plain_a_row = plain["seconds"] / rows
        plain_seconds = plain_a_row and plain_a_row * rows
        told = {
            "rows": rows,
            "files": files,
            "seconds": round(ours["seconds"], 3),
            "plain_seconds": plain_seconds and round(plain_seconds, 2),
            "vs_plain": plain_seconds and round(plain_seconds / ours["seconds"], 2),
            # On a machine that others use as well, this says more than the time.
            "cpu_seconds": round(ours["cpu_seconds"], 3),
            "plain_cpu_seconds": plain.get("cpu_seconds") and round(plain["cpu_seconds"], 2),
            "peak_rss_mb": round(ours["peak_rss_mb"]),
            "plain_peak_rss_mb": plain.get("peak_rss_mb") and round(plain["peak_rss_mb"]),
            "unchanged_seconds": round(ours["unchanged_seconds"], 3),
            "stages": ours["stages"],
        }
        curve.append(told)
        plainly = f"{plain_seconds:8.1f} {told['vs_plain']:6.1f}" if plain_seconds else ""
        print(
            f"{rows:12,} {files:7,} {told['seconds']:8.2f} {told['seconds'] / rows * 1e9:9.0f}"
            f" {told['peak_rss_mb']:6} {plainly}",
            flush=True,
        )
        shutil.rmtree(spool)
    if options.plot:
        plot(curve, options.plot)
    wanted = next(c for c in curve if c["rows"] == options.rows)
    small = cost_of_a_file(options, folder) if options.small_files > options.files else {}
    if small:
        print(
            f"{small['small_files']:,} files instead of {options.files:,}:"
            f" {small['ms_per_small_file']:.3f} ms a file,"
            f" {small['cpu_ms_per_small_file']:.3f} ms of CPU"
        )
    print(
        json.dumps(
            {
                **wanted,
                **small,
                "event_type": options.event_type,
                "day": DAY.isoformat(),
                "plain_extrapolated": options.rows > PLAIN_MOST,
                "equal_to_reference": True,
                "curve": curve,
            }
        )
    )


if __name__ == "__main__":
    main()
