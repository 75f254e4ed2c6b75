"""Capture as a process: one owner of the spool, signals that drain, a watchdog, and reports.

`edc capture` and the Dagster run call the same function.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

import msgspec

from edc_pipeline.capture.collector import Collector
from edc_pipeline.capture.exposition import CaptureFigures, registry_of
from edc_pipeline.capture.hand_over import take_over as take_spool_over
from edc_pipeline.capture.hang_up import HangUp
from edc_pipeline.capture.metrics import NoMetricsPort, metrics_endpoint
from edc_pipeline.capture.recovery import recover
from edc_pipeline.capture.refused_calls import RefusedCalls
from edc_pipeline.capture.report import Report
from edc_pipeline.capture.retry import undo_unfinished_retry
from edc_pipeline.durable_file import is_full
from edc_pipeline.settings import Settings
from edc_pipeline.spool.owner import Owner, own_spool, successor
from edc_pipeline.spool.replay_mark import refuse_replay
from edc_pipeline.spool.status import write_status

log = logging.getLogger(__name__)

_STATUS_EVERY_S: Final = 2.0
_WATCH_EVERY_S: Final = 5.0
_SUCCESSOR_EVERY_S: Final = 0.5
_RETRY_DISK_S: Final = 2.0
_LAST_S: Final = 1.0  # for a drain that is broken off


class CaptureFailed(Exception):
    """Capture ended though nobody asked it to; the message says why."""


class Ended(msgspec.Struct, kw_only=True, frozen=True):
    why: str
    report: Report


def new_collector_name(now_ns: int) -> str:
    """Sorts by start, unique among all that ever own this spool: `20260122T143000Z-4f2a9c`."""
    start = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC)
    return f"{start:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def run_capture(
    settings: Settings,
    *,
    run_id: str = "",
    for_seconds: float | None = None,
    may_go_on: Callable[[], str] | None = None,
    on_report: Callable[[Report], None] | None = None,
    reload: Callable[[], Settings] | None = None,
    hang_up: HangUp | None = None,
    take_over: bool = False,
    report_every_s: float = 300.0,
    watch_every_s: float = _WATCH_EVERY_S,
) -> Ended:
    """Capture until a signal, `for_seconds`, or a reason from `may_go_on` ("" means go on).

    `may_go_on` and `on_report` are called in a thread; neither may hold up the feeds. On SIGHUP
    `reload` reads the settings again: feeds added, removed or changed take effect. `take_over`
    asks a collector that has the spool to hand it over, see `capture.hand_over`. Raises
    `SpoolIsReplay` when a replay filled the spool, `SpoolIsOwned` when another collector has it,
    `NoMetricsPort` when the metrics' port is taken, `CaptureFailed` when all feeds gave up.
    """
    if reload is not None and hang_up is None:
        hang_up = HangUp()
        hang_up.listen()
    refuse_replay(settings.spool)
    collector = new_collector_name(time.time_ns())
    owner = Owner(collector=collector, pid=os.getpid(), started_at=time.time_ns(), run_id=run_id)
    _warm_up()
    process = _Process(settings, owner)
    with ExitStack() as held:
        if not take_over:
            held.enter_context(own_spool(settings.spool, owner))
            _recover_when_there_is_room(settings)
            held.enter_context(process.metrics())
        beside = _Beside(may_go_on, watch_every_s, on_report, report_every_s, reload, hang_up)
        return asyncio.run(process.run(for_seconds, beside, held if take_over else None))


def _recover(settings: Settings) -> None:
    """Bring what a collector that died had received to its place, before a new one begins."""
    for dead in recover(settings.spool, settings.capture, time.time_ns):
        log.warning(
            "recovered %d frames (%d events) of the collector %s, which died",
            dead.frames,
            dead.events,
            dead.collector,
        )
        if dead.damaged:
            log.error(
                "its journal is damaged in %d places, and %d frames are known to be lost: edc gaps;"
                " the damaged bytes are kept (edc journal verify --archive)",
                len(dead.damaged),
                dead.lost,
            )
    undo_unfinished_retry(settings.spool, time.time_ns())


def _recover_when_there_is_room(settings: Settings) -> None:
    """A disk that is full will have room again, and then nobody need start capture anew; whatever
    else it refuses, somebody has to look."""
    problem = ""
    while refused := _refusal_of_recovery(settings):
        if not is_full(refused):
            raise refused
        problem = _tell_refusal(refused, problem)
        time.sleep(_RETRY_DISK_S)


def _refusal_of_recovery(settings: Settings) -> Exception | None:
    try:
        _recover(settings)
    except (OSError, sqlite3.OperationalError) as refused:
        return refused
    return None


def _tell_refusal(refused: Exception, before: str) -> str:
    problem = f"{type(refused).__name__}: {refused}"
    if problem != before:  # told once, not at every try
        log.error("can't recover what a collector left, trying again: %s", problem)
    return problem


def _warm_up() -> None:
    """The first `pa.array` imports pandas, a stall of 0.4–0.9 s: have it before connecting."""
    import pyarrow as pa  # noqa: PLC0415

    pa.array(["warm"])
    # What is imported stays: the garbage collector need not walk through it in every full pass,
    # which holds the event loop (80 ms with pandas and Dagster loaded).
    gc.collect()
    gc.freeze()
    # A commit's thread asks for Python's lock some ten times, and waits so long for it each time
    # that the event loop is busy: with the usual 5 ms, frames at 50,000/s were durable after 110 to
    # 133 ms (p99), with 1 ms after 59 to 87.
    sys.setswitchinterval(0.001)


@dataclass(frozen=True, slots=True)
class _Beside:
    """What runs beside the collector."""

    may_go_on: Callable[[], str] | None
    watch_every_s: float
    on_report: Callable[[Report], None] | None
    report_every_s: float
    reload: Callable[[], Settings] | None
    hang_up: HangUp | None


class _Process:
    def __init__(self, settings: Settings, owner: Owner) -> None:
        self._settings = settings
        self._owner = owner
        self._owns = False
        self._collector = Collector(settings, owner.collector, run_id=owner.run_id)
        self._registry = registry_of(
            CaptureFigures(self._collector.totals, self._collector.latencies)
        )
        self._stop = asyncio.Event()
        self._why = ""
        # One thread: what is said last is written last, though the wait for another was given up.
        self._status_writer = ThreadPoolExecutor(1, thread_name_prefix="status")
        self._status_problem = ""
        self._reloading: set[asyncio.Task[None]] = set()

    def metrics(self) -> AbstractContextManager[None]:
        rules = self._settings.capture
        return metrics_endpoint(rules.metrics_host, rules.metrics_port, self._registry)

    async def run(
        self, for_seconds: float | None, wanted: _Beside, take_over: ExitStack | None
    ) -> Ended:
        self._owns = take_over is None
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(RefusedCalls())
        # asyncio.run alone lost the drain in one trial of two; a handler drained every time.
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._end, f"asked to stop by {number.name}")
        reload, hang_up = wanted.reload, wanted.hang_up
        if reload is not None and hang_up is not None:
            hang_up.answer(partial(loop.call_soon_threadsafe, self._reload_soon, reload))
        if for_seconds is not None:
            loop.call_later(for_seconds, self._end, f"its {for_seconds:g} s are over")
        beside = [
            asyncio.create_task(self._keep_status()),
            asyncio.create_task(self._hand_over()),
        ]
        may_go_on, on_report = wanted.may_go_on, wanted.on_report
        if may_go_on is not None:
            beside.append(asyncio.create_task(self._watch(may_go_on, wanted.watch_every_s)))
        if on_report is not None:
            beside.append(asyncio.create_task(self._report(on_report, wanted.report_every_s)))
        try:
            await self._collect(take_over)
        finally:
            if hang_up is not None:
                hang_up.ignore()
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
        report = self._collector.report()
        report.stopping = self._why or "; ".join(self._collector.gave_up)
        if self._owns:
            await self._write_status(report)
        if on_report is not None:
            await asyncio.to_thread(on_report, report)
        if not self._why:
            raise CaptureFailed("; ".join(self._collector.gave_up) or "every feed has ended")
        return Ended(why=self._why, report=report)

    def _end(self, why: str) -> None:
        if not self._why:
            self._why = why
            log.info("stopping: %s", why)
        self._stop.set()

    def _reload_soon(self, reload: Callable[[], Settings]) -> None:
        reloading = asyncio.get_running_loop().create_task(self._reload(reload))
        self._reloading.add(reloading)
        reloading.add_done_callback(self._reloading.discard)

    async def _reload(self, reload: Callable[[], Settings]) -> None:
        await self._collector.has_feeds.wait()
        try:
            new = await asyncio.to_thread(reload)
            wrong = new.missing_secrets() or ([] if new.enabled_feeds else ["no feeds are left"])
            if self._stop.is_set():
                return
            told = "" if wrong else self._collector.take_feeds(new)
        except Exception as error:  # whatever is wrong with the file, capture goes on as it was
            told, wrong = "", [str(error)]
        if wrong:
            log.error("the settings are wrong, nothing was changed: %s", "; ".join(wrong))
            return
        log.info("the settings were read again: %s", told or "the feeds are the same")
        if restart := self._settings.differs_beside_feeds(new):
            log.warning("takes effect when capture is started anew: %s", restart)

    async def _take_over(self, held: ExitStack) -> None:
        # The owner drains within its limit, which we take for ours, and has half a minute to end.
        patience_s = self._settings.capture.drain_seconds + 30.0
        spool, me = self._settings.spool, self._owner
        await take_spool_over(spool, me, held, self._collector.totals, patience_s)
        self._owns = True
        log.info("took the spool over")
        problem = ""
        while refused := await asyncio.to_thread(_refusal_of_recovery, self._settings):
            # The former owner has ended. What we hear waits, and at the limit the sockets do.
            problem = _tell_refusal(refused, problem)
            await asyncio.sleep(_RETRY_DISK_S)
        try:
            held.enter_context(self.metrics())
        except NoMetricsPort as taken:  # not worth the feeds that are heard already
            log.error("%s", taken)

    async def _hand_over(self) -> None:
        """End for a newcomer that hears the feeds already."""
        kept = False
        while True:
            await asyncio.sleep(_SUCCESSOR_EVERY_S)
            try:
                asks = await asyncio.to_thread(successor, self._settings.spool)
            except OSError:
                continue
            if asks is None or not self._owns or asks.pid == os.getpid():
                continue
            if refuses := self._collector.disk_problem:
                # Neither of us could write then what is in memory here.
                if not kept:
                    log.warning("process %d asks for the spool: not now, %s", asks.pid, refuses)
                kept = True
            else:
                self._end(f"handed over to collector {asks.collector}, process {asks.pid}")
                return

    async def _collect(self, held: ExitStack | None) -> None:
        own = None if held is None else partial(self._take_over, held)
        collecting = asyncio.create_task(self._collector.run(self._stop, own, lambda: self._owns))
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({collecting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        limit = self._settings.capture.drain_seconds
        done, _ = await asyncio.wait({collecting}, timeout=limit)
        if not done:
            collecting.cancel()
            # It still writes what it can in that time.
            await asyncio.wait({collecting}, timeout=_LAST_S)
            if not self._collector.drained:
                left = self._collector.undrained
                raise CaptureFailed(f"not drained within {limit:g} s: {left}")
            log.warning("the drain took longer than %g s; all of it is done", limit)
            return
        collecting.result()

    async def _keep_status(self) -> None:
        while True:
            if self._owns:
                await self._write_status(self._collector.report())
            await asyncio.sleep(_STATUS_EVERY_S)

    async def _write_status(self, report: Report) -> None:
        """It is no record: a disk that refuses it is told, and changes nothing else."""
        try:
            loop, spool = asyncio.get_running_loop(), self._settings.spool
            await loop.run_in_executor(self._status_writer, write_status, spool, report)
        except OSError as error:
            if str(error) != self._status_problem:  # told once, not every 2 s
                log.warning("can't write the status file: %s", error)
            self._status_problem = str(error)
        else:
            self._status_problem = ""

    async def _watch(self, may_go_on: Callable[[], str], every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            try:
                reason = await asyncio.to_thread(may_go_on)
            except Exception as error:
                log.warning("the watchdog could not look: %s", error)
                continue
            if reason:
                self._end(reason)
                return

    async def _report(self, on_report: Callable[[Report], None], every_s: float) -> None:
        # The first report comes early, so that a newcomer sees data without waiting.
        wait_s = min(15.0, every_s)
        while True:
            await asyncio.sleep(wait_s)
            wait_s = every_s
            try:
                await asyncio.to_thread(on_report, self._collector.report())
            except Exception as error:
                log.warning("could not report: %s", error)
