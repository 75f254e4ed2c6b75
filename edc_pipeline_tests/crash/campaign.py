"""kill -9 at random instants, many times over, then account for every frame.

    python -m edc_pipeline_tests.crash.campaign --kills 200 --seed 1

A simulated exchange runs in a process of its own. Collectors are forked one after the other onto
one spool and killed in the middle of whatever they do: connecting, committing, flushing, renaming,
archiving, recovering; some lives consolidate instead. Each collector marks every frame it receives
in a memory map, which outlives it, so that what it had when it died is known exactly. At the end
one collector lives on, drains, and the spool is held against the marks and the exchange's truth.

The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import random
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from edc_pipeline.capture import intake
from edc_pipeline.capture import run as capture_run
from edc_pipeline.capture.journal import writer
from edc_pipeline.capture.journal.writer import Journal
from edc_pipeline.capture.run import run_capture
from edc_pipeline.durable_file import fsync_path
from edc_pipeline.settings import Settings
from edc_pipeline.spool.layout import days_in
from edc_pipeline_tests import dice
from edc_pipeline_tests.cli.calling import environment
from edc_pipeline_tests.crash.account import (
    COMMIT_S,
    FIRST_MARK,
    KEPT_SYNCS,
    MARK,
    MARKS,
    SYMBOLS,
    SYNC,
    SYNCS,
    Account,
    Life,
    account_for,
)
from edc_pipeline_tests.crash.noise import LOOP, Look

RATE: Final = 4_000
# A life is looked at so often, and remembered so many looks before its kill.
_STEP_S: Final = 0.005
_LOOKS: Final = 200


def campaign(folder: Path, kills: int, seed: int, say: Callable[[str], None]) -> Account:
    chance = random.Random(seed)
    truth = folder / "truth.jsonl"
    lives: list[Life] = []
    account = Account()
    with exchange(truth, seed) as port:
        settings = settings_of(folder, port)
        for number in range(kills):
            if chance.random() < 0.1:
                _kill_after(chance.uniform(0.02, 1.2), partial(_consolidate, settings))
            else:
                life = Life(folder / f"marks-{number}")
                lives.append(life)
                collect = partial(_collect, settings, life.marks)
                _kill_after(chance.uniform(0.02, 0.7), collect, life)
            account.kills += 1
            if account.kills % 50 == 0:
                say(f"{account.kills} kills")
        last = Life(folder / "marks-last")
        lives.append(last)
        last.killed_at = 2**62
        _live_out(lambda: _collect(settings, last.marks, for_seconds=1.5), last)
    account_for(settings, lives, truth, account)
    return account


class exchange:  # noqa: N801 - read as a verb
    def __init__(self, truth: Path, seed: int, rate: int = RATE, rubbish: str = "0.05%") -> None:
        words = ["--port", "0", "--rate", str(rate), "--seed", str(seed), "--json"]
        words += ["--resend", "200", "--truth", str(truth), "--symbols", ",".join(SYMBOLS)]
        words += ["--chaos", f"rubbish={rubbish},cut=60/h,seed={seed}"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edc_pipeline", "simulate", *words],
            stdout=subprocess.PIPE,
            env=environment(),
            text=True,
        )

    def __enter__(self) -> int:
        assert self.process.stdout is not None
        return int(json.loads(self.process.stdout.readline())["port"])

    def __exit__(self, *error: object) -> None:
        self.process.terminate()
        self.process.communicate(timeout=30)


def settings_of(folder: Path, port: int) -> Settings:
    iex = {"vendor": "tiingo", "feed": "iex", "url": f"ws://127.0.0.1:{port}/iex"}
    everything: dict[str, Any] = {"symbols": SYMBOLS, "options": {"threshold_level": 0}}
    reference: dict[str, Any] = {"symbols": SYMBOLS, "options": {"threshold_level": 6}}
    return Settings(
        data_dir=folder,
        feeds={"stocks": {**iex, **everything}, "reference": {**iex, **reference}},  # type: ignore[dict-item]
        capture={  # type: ignore[arg-type]
            "flush_seconds": 0.15,
            "commit_seconds": COMMIT_S,
            "segment_mib": 0.05,
            "drain_seconds": 60,
        },
    )


# Lives


def _kill_after(seconds: float, live: Callable[[], None], life: Life | None = None) -> None:
    """Fork a life and kill it with SIGKILL after so long. Notes when, and what this machine kept
    from it in the last moments before: by how much we overslept here, and for how long its threads
    stood in line for a core. That is not the journal's doing.
    """
    child = _fork(live)
    end, looks = time.monotonic() + seconds, deque[Look](maxlen=_LOOKS)
    while (now := time.monotonic()) < end:
        step = min(_STEP_S, end - now)
        time.sleep(step)
        overslept_ms = (time.monotonic() - now - step) * 1e3
        looks.append(Look(time.time_ns(), overslept_ms, _stood_in_line(child)))
    at = time.time_ns()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    if life is not None:
        life.killed_at, life.looks = at, looks


def _stood_in_line(process: int) -> dict[int, int]:
    """By thread, 0 for the first, for how long it was ready to run and another ran (ns); empty
    where the system does not tell."""
    found = {}
    for thread in Path(f"/proc/{process}/task").glob("*/schedstat"):
        number = int(thread.parent.name)
        with suppress(OSError):
            found[LOOP if number == process else number] = int(thread.read_text().split()[1])
    return found


def _live_out(live: Callable[[], None], last: Life) -> None:
    _, status = os.waitpid(_fork(live), 0)
    if status:
        why = last.marks.with_suffix(".stderr").read_text()
        raise SystemExit(f"the last life ended with status {status}:\n{why}")


def _fork(live: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        live()
        code = 0
    finally:
        os._exit(code)


def mark_frames(marks: Path) -> None:
    """Have this process's collector mark each frame as it is received, and as it is durable."""
    with marks.open("w+b") as file:
        file.truncate(FIRST_MARK + MARKS * MARK.size)
        page = mmap.mmap(file.fileno(), 0)
    append, done, name = Journal.append_many, Journal._done, capture_run.new_collector_name
    number = 0

    def timed(on_disk: Callable[..., None]) -> Callable[..., None]:
        def timing(*words: Any) -> None:
            nonlocal number
            SYNC.pack_into(page, SYNCS, threading.get_native_id(), number)
            at, began = SYNCS + SYNC.size * (1 + number % KEPT_SYNCS), time.time_ns()
            SYNC.pack_into(page, at, began, 0)
            try:
                on_disk(*words)
            finally:
                SYNC.pack_into(page, at, began, time.time_ns())
                number += 1

        return timing

    def marked_append(
        journal: Journal, line: int, received_at: int, payloads: Sequence[bytes], size: int
    ) -> int:
        first = append(journal, line, received_at, payloads, size)
        for frame, payload in enumerate(payloads, first):
            MARK.pack_into(
                page, FIRST_MARK + frame * MARK.size, received_at, zlib.crc32(payload), 0
            )
        return first

    def marked_done(journal: Journal, taken: Any) -> None:
        done(journal, taken)
        first = taken[0].first_frame
        for frame in range(first, journal.committed_frame + 1):
            struct.pack_into("<i", page, FIRST_MARK + frame * MARK.size + 12, 1)

    def marked_name(now: int) -> str:
        made = name(now)
        page[: len(made)] = made.encode()
        return made

    # Every other life takes the frames of a read together even where they are few.
    setattr(intake, "_MANY", 2 if zlib.crc32(marks.name.encode()) % 2 else intake._MANY)  # noqa: B010
    setattr(writer, "fsync_path", timed(fsync_path))  # noqa: B010
    setattr(writer._OpenSegment, "append", timed(writer._OpenSegment.append))  # noqa: B010
    setattr(Journal, "append_many", marked_append)  # noqa: B010 - this process is the fork's own
    setattr(Journal, "_done", marked_done)  # noqa: B010
    setattr(capture_run, "new_collector_name", marked_name)  # noqa: B010


def _collect(settings: Settings, marks: Path, for_seconds: float = 60.0) -> None:
    mark_frames(marks)
    # Warnings of a life that is cut short are no news; why one ends by itself is.
    sys.stderr = marks.with_suffix(".stderr").open("w")
    try:
        run_capture(settings, for_seconds=for_seconds)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        raise


def _consolidate(settings: Settings) -> None:
    from edc_pipeline.consolidation.errors import CannotConsolidate  # noqa: PLC0415
    from edc_pipeline.consolidation.make import consolidate  # noqa: PLC0415

    for event_type, day in days_in(settings.spool):
        try:
            consolidate(settings.spool, settings.daily, event_type, day)
        except CannotConsolidate:
            continue


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=dice.seed())
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="edc-crash-") as folder:
        began = time.monotonic()
        account = campaign(Path(folder), asked.kills, asked.seed, lambda t: print(t, flush=True))
    figures = {name: getattr(account, name) for name in Account.__slots__}
    print(json.dumps({**figures, "seed": asked.seed, "seconds": round(time.monotonic() - began)}))
    wrong = account.lost_acknowledged or account.twice or account.torn or account.unaccounted
    sys.exit(1 if wrong or account.out_of_balance or account.lost_beyond_commit else 0)


if __name__ == "__main__":
    main()
