"""What the sensor makes of what it sees: is capture live, starting, draining, lost or down?

A pure rule, without Dagster and without a clock. The spool's lock is the truth about who collects;
runs are only what Dagster believes. A worker killed with everything around it leaves its run
STARTED for ever, and a code server killed alone leaves its worker collecting without a parent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from edc_pipeline.capture.report import Report
from edc_pipeline.market_day import MARKET_ZONE
from edc_pipeline.spool.owner import Owner

LIVE: Final = frozenset({"QUEUED", "NOT_STARTED", "STARTING", "STARTED", "CANCELING"})

# From launch to the lock: 4–7 s measured on two noisy cores; imports on a cold disk take longer.
STARTING_S: Final = 60.0
# From the last word of a drained collector to the end of its run: a report and a few log entries.
ENDING_S: Final = 30.0
# To connect, hear every feed, and wait for an owner that drains for as long as it may (10 min).
TAKING_OVER_S: Final = 720.0
# A live collector writes its status every 2 s; one killed leaves a word no older than that.
SILENT_S: Final = 5.0

# A run that lasted a minute had connected; shorter ones that fail in a row point at something
# that the next run will meet as well, a refused key first of all. Two tries are free.
_QUICK_S: Final = 60.0
_FREE_TRIES: Final = 2
_FIRST_WAIT_S: Final = 30.0
_LONGEST_WAIT_S: Final = 600.0

_ROTATION_WINDOW_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class HostRun:
    """A Dagster run of the job `capture`; times in seconds since 1970."""

    run_id: str
    status: str
    created_at: float
    started_at: float | None = None
    ended_at: float | None = None
    orphaned: bool = False  # its worker says that its code server has died
    takes_over: bool = False  # started to take the spool over from the run before

    @property
    def live(self) -> bool:
        return self.status in LIVE

    @property
    def name(self) -> str:
        return self.run_id[:8]


@dataclass(frozen=True, slots=True)
class Decision:
    say: str  # what capture is doing, for the tick's text
    start: bool = False
    take_over: bool = False  # the run that is started hears the feeds before the owner lets go
    lost: tuple[HostRun, ...] = ()  # believed live, but nobody collects for them
    hand_over: HostRun | None = None  # collects, but out of the reach of Terminate


def decide(
    held: bool,
    owner: Owner | None,
    report: Report | None,
    runs: Sequence[HostRun],
    now: float,
    rotate_at: str = "",
) -> Decision:
    """`runs`: the latest first. `report`: what the last collector said last. `rotate_at`: the time
    of day in New York at which a run hands over to the next."""
    owning = owner.run_id if held and owner else ""
    others = [r for r in runs if r.live and r.run_id != owning]
    lost = tuple(r for r in others if _is_lost(r, report, now, held=held))
    if held:
        mine = next((r for r in runs if r.run_id == owning), None)
        hand_over = mine if mine and mine.orphaned and mine.status == "STARTED" else None
        say = _who_collects(owner, report, runs)
        heirs = [r for r in others if r not in lost and r.takes_over]
        if heirs:
            return Decision(f"{say}; run {heirs[0].name} takes over", lost=lost)
        if mine and not hand_over and mine.status == "STARTED":
            tried = max((r.created_at for r in runs if r.takes_over and r != mine), default=0.0)
            if is_rotation_due(mine.started_at or mine.created_at, tried, now, rotate_at):
                return Decision(
                    f"{say}; a new run takes over, as every day at {rotate_at}",
                    start=True,
                    take_over=True,
                    lost=lost,
                )
        return Decision(say, lost=lost, hand_over=hand_over)
    pending = [r for r in others if r not in lost]
    if pending:
        return Decision(_what_is_pending(pending[0], report), lost=lost)
    # A run reported as lost just now is a failure that ends now.
    wait_s, failures = _back_off([r for r in runs if r not in lost], now)
    if wait_s > 0:
        last = runs[0].name
        return Decision(
            f"capture failed {failures} times in a row within a minute of its start;"
            f" next try in {wait_s:.0f} s. Run {last} says why",
            lost=lost,
        )
    return Decision("starting capture", start=True, lost=lost)


def is_rotation_due(began: float, tried: float, now: float, rotate_at: str) -> bool:
    """Whether a run that began before today's `rotate_at` should hand over now.

    Only within an hour of that time: later is no quiet moment, and tomorrow is early enough. And
    only once: a hand-over that did not come about leaves the owner where it is.
    """
    if not rotate_at:
        return False
    hour, minute = map(int, rotate_at.split(":"))
    here = datetime.fromtimestamp(now, MARKET_ZONE)
    moment = here.replace(hour=hour, minute=minute, second=0, microsecond=0).timestamp()
    return moment <= now < moment + _ROTATION_WINDOW_S and began < moment and tried < moment


def _is_lost(run: HostRun, report: Report | None, now: float, *, held: bool) -> bool:
    if run.status == "QUEUED":
        return False  # it waits for its turn, and nobody can say how long
    if run.takes_over and (held or (report and now <= report.at / 1e9 + SILENT_S)):
        # It says nothing and owns nothing until the owner has drained and let go.
        return now > (run.started_at or run.created_at) + TAKING_OVER_S
    if report is not None and report.run_id == run.run_id:
        return now > report.at / 1e9 + (ENDING_S if report.stopping else SILENT_S)
    return now > (run.started_at or run.created_at) + STARTING_S


def _what_is_pending(run: HostRun, report: Report | None) -> str:
    if run.status == "QUEUED":
        return f"capture is queued: run {run.name} waits for its turn"
    if run.status == "CANCELING" or (report and report.run_id == run.run_id):
        return f"capture is ending: run {run.name}"
    return f"capture is starting: run {run.name}"


def _who_collects(owner: Owner | None, report: Report | None, runs: Sequence[HostRun]) -> str:
    if owner is None:
        return "the spool is locked by a process that does not say who it is; nothing is started"
    if not owner.run_id:
        return (
            f"`edc capture` on the command line owns the spool (process {owner.pid}, since"
            f" {clock(owner.started_at)}); this sensor starts nothing until it ends"
        )
    run = next((r for r in runs if r.run_id == owner.run_id), None)
    who = f"run {owner.run_id[:8]}, process {owner.pid}"
    if run is None:
        return f"a run of another Dagster owns the spool ({who}); nothing is started here"
    if run.status == "CANCELING":
        return f"capture is draining ({who})"
    if run.orphaned:
        return f"capture is handed over to a new run, since its code server has died ({who})"
    if not run.live:
        return f"capture is about to drain: its run is {run.status} ({who})"
    return f"capture is live: {_in_short(report, owner)}{who}"


def _in_short(report: Report | None, owner: Owner) -> str:
    if report is None or report.collector != owner.collector:
        return ""
    feeds = len(report.feeds)
    parts = [f"{feeds} feed{'s' if feeds != 1 else ''}", f"{sum(report.events.values()):,} events"]
    parts += [f"{f.name} {f.state}" for f in report.feeds if f.state != "live"]
    if report.disk_problem:
        parts.append(f"the disk refuses: {report.disk_problem}")
    return ", ".join(parts) + ", "


def _back_off(runs: Sequence[HostRun], now: float) -> tuple[float, int]:
    """How long to wait before the next try (s), and after how many quick failures in a row."""
    failures, last_end = 0, 0.0
    for run in runs:
        ended = run.ended_at or run.created_at
        if run.status != "FAILURE" or ended - (run.started_at or run.created_at) >= _QUICK_S:
            break
        failures += 1
        last_end = max(last_end, ended)
    if failures <= _FREE_TRIES:
        return 0.0, failures
    wait_s = min(_FIRST_WAIT_S * 2 ** (failures - _FREE_TRIES - 1), _LONGEST_WAIT_S)
    return last_end + wait_s - now, failures


def clock(ns: int) -> str:
    return f"{datetime.fromtimestamp(ns / 1e9, MARKET_ZONE):%Y-%m-%d %H:%M:%S %Z}"
