"""Hand-over without a hole: the newcomer hears the feeds before the owner lets go of the spool.

1. The newcomer connects and keeps what it hears in memory, bounded as ever: at the limit the
   sockets are no longer read. It writes nothing; one collector owns the spool (I5).
2. When every feed is connected and delivers, it holds `_successor.lock`. The owner looks for that
   twice a second; seeing it held by a live process it drains and ends.
3. The newcomer takes the spool's lock, recovers what there is to recover, and writes what it kept.

What both heard is a duplicate by identity, as from two connections of one feed. Killed before 3,
the newcomer leaves nothing; the owner that has seen the lock by then is gone, and the next
collector's start tells the gap. An owner that does not let go in time stays the owner.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from edc_pipeline.capture.connection import QUIET_S
from edc_pipeline.capture.report import Report
from edc_pipeline.capture.supply import Supply
from edc_pipeline.durable_file import make_durable_folder
from edc_pipeline.spool.layout import SUCCESSOR
from edc_pipeline.spool.owner import LockIsHeld, Owner, SpoolIsOwned, hold_lock, own_spool

log = logging.getLogger(__name__)

# A feed that can't be connected must not keep the others from being handed over.
_READY_WITHIN_S: Final = 20.0
_LOOK_EVERY_S: Final = 0.05


async def hear_first(
    supply: Supply,
    own: Callable[[], Awaitable[None]],
    is_ours: Callable[[], bool],
    stop: asyncio.Event,
) -> bool:
    """Hear the feeds while `own` gets the spool; False when told to stop before that. Once the
    spool is ours, its former owner has ended, and what was heard has to be written."""
    owning = asyncio.ensure_future(own())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({owning, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if is_ours():
            await asyncio.wait({owning})
        if owning.done():
            owning.result()
            return True
        return False
    finally:
        stopping.cancel()
        if not owning.done() or owning.cancelled() or owning.exception():
            owning.cancel()
            await supply.let_go()


async def take_over(
    spool: Path, me: Owner, held: ExitStack, report: Callable[[], Report], patience_s: float
) -> None:
    """Ask the owner to let go once all is heard here; the lock is then in `held`.

    `SpoolIsOwned` when it did not let go within the patience, or somebody else takes over.
    """
    make_durable_folder(spool)
    await _until_heard(report)
    with ExitStack() as asking:
        try:
            asking.enter_context(hold_lock(spool / SUCCESSOR, me))
        except LockIsHeld as other:
            raise SpoolIsOwned(spool, other.holder) from None
        end = time.monotonic() + patience_s
        while True:
            try:
                held.enter_context(own_spool(spool, me, patience_s=0.0))
            except SpoolIsOwned:
                if time.monotonic() >= end:
                    raise
                await asyncio.sleep(_LOOK_EVERY_S)
            else:
                return


async def _until_heard(report: Callable[[], Report]) -> None:
    began = time.monotonic()
    connected: dict[str, float] = {}
    while (now := time.monotonic()) - began < _READY_WITHIN_S:
        feeds = [feed for feed in report().feeds if feed.state not in {"gave up", "waiting"}]
        for feed in feeds:
            if feed.connections:
                connected.setdefault(feed.name, now)
            else:
                connected.pop(feed.name, None)
        if all(
            f.name in connected and (f.events or now - connected[f.name] >= QUIET_S) for f in feeds
        ):
            return
        await asyncio.sleep(_LOOK_EVERY_S)
    late = sorted(feed.name for feed in report().feeds if not feed.connections)
    log.warning("taking over though not connected: %s", ", ".join(late))
