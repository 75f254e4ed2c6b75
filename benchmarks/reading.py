"""Reading a daily file beside pandas and PyTables alone: one symbol's day, and the whole of it.

Makes its own day (`consolidation_day`), consolidates it in both orders, and holds each answer
against that of `pd.read_hdf` before anything is timed. Then they take turns in one process: ours is
`edc_pipeline.read`; plain is `pd.read_hdf(path, where=…)`; where it can answer, PyTables'
`read_where` stands beside them, which gives records of bytes and no frame.

Prints a table and, as its last line, one JSON object. Ratios are of CPU time, since the machine may
have other work; the times of the clock are the best of the rounds.

    python benchmarks/reading.py [--rows 10000000] [--rounds 5] [--folder DIR]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))
import h5py
import pandas as pd
import tables
from consolidation_day import DAY, make_day, peak_rss_mb

import edc_pipeline
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.consolidation.names import ORDERS

Read = Callable[[], Any]
RARE_RANK = 1_000  # the busiest symbol but 999: some hundred rows in a million


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("--rows", type=int, default=10_000_000)
    asked.add_argument("--rounds", type=int, default=5)
    asked.add_argument("--folder", type=Path, help="where to work; a temporary folder if not given")
    options = asked.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        run(Path(folder), options.rows, options.rounds)


def run(folder: Path, rows: int, rounds: int) -> None:
    spool = folder / "spool"
    make_day(spool, "trade", rows, max(1, rows // 5_000))
    files = {}
    for order in ORDERS:
        (folder / order).mkdir()
        (folder / order / "spool").symlink_to(spool)
        made = consolidate(spool, folder / order / "daily", "trade", DAY, rules={}, order=order)
        files[order] = made.path
        rows = made.certificate.rows
    told: dict[str, Any] = {}
    print(f"{'':26} {'rows':>9} {'ours':>9} {'CPU':>8} {'plain CPU':>10} {'times less':>11}")
    for name, symbol in zip(("frequent", "rare"), chosen(files["time"]), strict=True):
        for order in ORDERS:
            what = f"{name} symbol, by {order}"
            ways = {
                "ours": ours(folder / order, symbols=symbol),
                "plain": by_pandas(files[order], where=f"symbol == {symbol!r}"),
                "pytables": by_pytables(files[order], symbol),
            }
            told[what] = compared(what, ways, rounds)
    ways = {"ours": ours(folder / "time"), "plain": by_pandas(files["time"])}
    told["whole day"] = compared("whole day", ways, 1 if rows > 2_000_000 else rounds)
    print(
        json.dumps(
            {
                "rows": rows,
                "bytes_a_row": round(files["time"].stat().st_size / rows, 1),
                "equal_to_plain": True,
                "peak_rss_mb": round(peak_rss_mb()),
                "reads": told,
            }
        )
    )


def chosen(path: Path) -> tuple[str, str]:
    with h5py.File(path) as file:
        listed = file["symbols"][()]
    by_rows = sorted(listed.tolist(), key=lambda s: -s[1])
    return by_rows[0][0].decode(), by_rows[min(RARE_RANK, len(by_rows)) - 1][0].decode()


def ours(data: Path, **asked: Any) -> Read:
    return lambda: edc_pipeline.read("trade", DAY, data=data, **asked)


def by_pandas(path: Path, **asked: Any) -> Read:
    return lambda: pd.read_hdf(path, **asked)


def by_pytables(path: Path, symbol: str) -> Read:
    def read() -> Any:
        with tables.open_file(path) as file:
            return file.root.trade.table.read_where(f"symbol == {symbol.encode()!r}")

    return read


def compared(what: str, ways: dict[str, Read], rounds: int) -> dict[str, Any]:
    """The first time they are held against each other, and warm the caches."""
    frame, plain = ways["ours"](), ways["plain"]()
    refuse_other_rows(what, frame, plain)
    rows = len(frame)
    del frame, plain
    wall: dict[str, list[float]] = {name: [] for name in ways}
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, read in ways.items():
            began, used = time.perf_counter(), time.process_time()
            read()
            wall[name].append(time.perf_counter() - began)
            cpu[name].append(time.process_time() - used)
    taken = {name: statistics.median(seconds) for name, seconds in cpu.items()}
    told: dict[str, Any] = {"rows": rows}
    for name in ways:
        prefix = "" if name == "ours" else f"{name}_"
        told[f"{prefix}seconds"] = round(min(wall[name]), 4)
        told[f"{prefix}cpu_seconds"] = round(taken[name], 4)
    told["vs_plain"] = round(taken["plain"] / taken["ours"], 1)
    print(
        f"{what:26} {rows:9,} {told['seconds']:7.3f} s {taken['ours']:6.3f} s"
        f" {taken['plain']:8.2f} s {told['vs_plain']:11.1f}",
        flush=True,
    )
    return told


def refuse_other_rows(what: str, frame: pd.DataFrame, plain: pd.DataFrame) -> None:
    for name in plain.columns:
        kind = plain[name].dtype
        text = not pd.api.types.is_numeric_dtype(kind) and not isinstance(kind, pd.DatetimeTZDtype)
        a, b = frame[name], plain[name].reset_index(drop=True)
        if text:
            a, b = a.astype(object), b.astype(object)
        if not a.equals(b):
            print(json.dumps({"equal_to_plain": False, "read": what, "column": name}))
            raise SystemExit(1)


if __name__ == "__main__":
    main()
