"""Faults come and go at random below a collector that takes frames; then every frame is accounted
for.

    python -m edc_pipeline_tests.faults.campaign --seconds 60 --seed 1

A simulated exchange runs in a process of its own; deliveries come to a webhook, and a REST server
is asked. One `edc capture` after the other lives on one spool, a shim between it and the C library:
writes, syncs, renames and reads of SQLite, Arrow and Python are refused, cut short or held up, some
of them, at some files, for some tenths of a second. A life ends by SIGTERM, in the middle of a
fault or not, or by SIGKILL; some files are consolidated in between. At the end one collector lives
and drains in peace, and the spool is held against what each had marked as received, against what
was sent and delivered, and what was asked against the budget.

What is found follows from the seed as far as clocks allow. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from edc_pipeline.settings import Settings
from edc_pipeline.spool.layout import days_in
from edc_pipeline_tests import dice
from edc_pipeline_tests.cli.calling import environment
from edc_pipeline_tests.crash.account import Account, account_for
from edc_pipeline_tests.crash.campaign import exchange, settings_of
from edc_pipeline_tests.faults import shim
from edc_pipeline_tests.faults.capturing import Capturing, right
from edc_pipeline_tests.faults.outside import Outside
from edc_pipeline_tests.faults.shim import CALLS, Fault, Faults, Struck

RATE: Final = 1_000
PATHS: Final = (
    *(3 * ("_ledger.sqlite", "/event_type=", "/_journal/", "{}/spool/")),
    *("_budgets.json", "_budgets.json", "_delivered.msgpack"),
    *("/_quarantine/", "/_raw/", "_status.json", "_shapes.json", "_collector.lock", "{}/daily/"),
)
# A start in the middle of a fault may end in a message: that life has taken nothing.
_START_S: Final = 20.0


@dataclass(slots=True)
class Found:
    """What the lives had to say; the account of their frames is beside it."""

    lives: int = 0
    killed: int = 0
    refused_to_start: int = 0
    consolidations: int = 0
    faults: int = 0
    calls_struck: int = 0
    delivered: int = 0
    asked: int = 0
    most_asked_in_a_minute: int = 0  # of 18
    wrong: list[str] = field(default_factory=list)  # a traceback, an end nobody asked for


class _Weather:
    """Faults that come and go."""

    def __init__(self, folder: Path, faults: Faults, chance: random.Random, found: Found) -> None:
        self._folder = folder
        self._faults = faults
        self._chance = chance
        self._found = found
        self._now: list[tuple[float, Struck]] = []  # until when (monotonic)

    def turn(self) -> None:
        """Lift what is over, and let come what may."""
        now = time.monotonic()
        for until, struck in [one for one in self._now if one[0] <= now]:
            self._lift(until, struck)
        if len(self._now) < 3 and self._chance.random() < 0.1:
            struck = self._faults.begin(self._fault())
            self._found.faults += 1
            self._now.append((now + self._chance.uniform(0.05, 0.8), struck))

    def clear(self) -> None:
        for until, struck in list(self._now):
            self._lift(until, struck)

    @property
    def log(self) -> str:
        return ", ".join(str(struck.fault) for _, struck in self._now) or "none"

    def _lift(self, until: float, struck: Struck) -> None:
        self._faults.lift(struck)
        self._found.calls_struck += struck.times
        self._now.remove((until, struck))

    def _fault(self) -> Fault:
        chance = self._chance
        calls = tuple(chance.sample(sorted(CALLS), chance.choice((1, 1, 2, len(CALLS)))))
        return Fault(
            chance.choice(("EIO", "ENOSPC", "short", "slow")),
            calls,
            chance.choice(PATHS).format(self._folder.name),
            after=chance.choice((0, 0, chance.randrange(30))),
            times=chance.choice((0, 0, 1, chance.randrange(1, 20))),
            share=chance.choice((1.0, 0.5, 0.1)),
            delay_ms=chance.randrange(1, 60),
            seed=chance.getrandbits(63),
        )


def campaign(
    folder: Path, faults: Faults, seconds: float, seed: int, say: Callable[[str], None]
) -> tuple[Account, Found]:
    chance, truth = random.Random(seed), folder / "truth.jsonl"
    account, found, lives = Account(), Found(), []
    weather = _Weather(folder, faults, chance, found)
    with exchange(truth, seed, RATE, rubbish="0.5%") as port, Outside() as outside:
        settings = outside.feeds(settings_of(folder, port))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found.lives and chance.random() < 0.3:
                _consolidate(settings, faults, weather, found)
            with Capturing(settings, folder, found.lives, faults) as capturing:
                lives.append(capturing.life)
                found.lives += 1
                _live(capturing, weather, chance, found)
            say(f"{found.lives} lives, {found.faults} faults")
        with Capturing(settings, folder, found.lives, faults) as last:
            lives.append(last.life)
            found.lives += 1
            last.until(lambda: last.status.get("micro_batches"), "the last life")
            outside.finish()
            last.asked_to_end()
            _note(last, last.ended(), "none", found)
    account_for(settings, lives, truth, account)
    found.wrong += outside.wrong(settings)
    found.delivered = len(outside.posted.accepted)
    found.asked, found.most_asked_in_a_minute = outside.asked, outside.most
    return account, found


def _live(capturing: Capturing, weather: _Weather, chance: random.Random, found: Found) -> None:
    process, lasts_s = capturing.process, chance.uniform(1.0, 8.0)
    calm = chance.random() < 0.7  # at its start
    end = time.monotonic() + _START_S
    while not capturing.frames and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
        if not calm:
            weather.turn()
    end = time.monotonic() + lasts_s
    while time.monotonic() < end and process.poll() is None:
        time.sleep(0.01)
        weather.turn()
    there = weather.log
    if process.poll() is not None:
        if capturing.has_received:
            found.wrong.append(f"ended by itself under {there}: {capturing.said[-1500:]}")
        found.refused_to_start += 1
    elif not capturing.has_received or chance.random() < 0.4:
        capturing.killed()
        found.killed += 1
    else:
        capturing.asked_to_end()
        end = time.monotonic() + chance.uniform(0.0, 1.0)
        while time.monotonic() < end and process.poll() is None:
            time.sleep(0.01)
            weather.turn()
        weather.clear()
        _note(capturing, capturing.ended(), there, found)
    weather.clear()
    found.wrong += [f"under {there}: {words}" for words in capturing.tracebacks()]


def _note(capturing: Capturing, code: int, under: str, found: Found) -> None:
    if code:
        found.wrong.append(f"exit {code} under {under}: {capturing.said[-1500:]}")


def _consolidate(settings: Settings, faults: Faults, weather: _Weather, found: Found) -> None:
    for event_type, day in days_in(settings.spool):
        words = [
            "--spool",
            settings.spool,
            "--out",
            settings.daily,
            "--day",
            day,
            "--type",
            event_type,
        ]
        process = subprocess.Popen(
            [sys.executable, "-m", "edc_pipeline", "consolidate", *map(str, words)],
            env=environment(**faults.environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        while process.poll() is None:
            time.sleep(0.01)
            weather.turn()
        there, said = weather.log, process.communicate()[0]
        weather.clear()
        found.consolidations += 1
        if process.returncode not in (0, 1) or "Traceback" in said:
            found.wrong.append(f"consolidate, {process.returncode} under {there}: {said[-1500:]}")
        return  # one of them: the lives are what this is about


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=dice.seed())
    asked = parser.parse_args()
    if why := shim.why_not():
        sys.exit(why)
    print(f"seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="edc-faults-") as name:
        folder = Path(name)
        faults = Faults(shim.build(folder), shim.room_for_rules(folder / "rules"))
        account, found = campaign(
            folder, faults, asked.seconds, asked.seed, lambda told: print(told, flush=True)
        )
    figures = {**asdict(account), **asdict(found)}
    for of_kills in ("kills", "longest_loss_ms", "most_noise_ms"):
        del figures[of_kills]
    print(json.dumps({**figures, "seed": asked.seed}))
    sys.exit(0 if right(account) and not found.wrong else 1)


if __name__ == "__main__":
    main()
