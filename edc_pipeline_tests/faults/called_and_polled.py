"""What webhooks and polling keep on the disk, for `each_call`: whichever call is refused, who hears
200 can rely on it, what came is there once, and no budget is overspent."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Final

from edc_pipeline.capture.journal.archive import read_archive
from edc_pipeline.capture.journal.blocks import Frames, Torn, decode
from edc_pipeline.capture.recovery import recover
from edc_pipeline.capture.spent import Spent
from edc_pipeline.simulator.senders import Post, Signed
from edc_pipeline.transports.budget import Limit
from edc_pipeline_tests.capture.calling import (
    SIGNED,
    SIGNED_SECRET,
    capturing,
    post,
    settings_for,
    url_of,
)
from edc_pipeline_tests.capture.test_collector import ledger_adds_up, rows_in
from edc_pipeline_tests.faults.life import hurry
from edc_pipeline_tests.faults.work import EVERY_CALL, Work

_BUDGET: Final = Limit(1_000, "month")
_DELIVERIES: Final = 4
_NOON_MS: Final = 1_769_101_200_000
_TRIES: Final = 100


class Spend(Work):
    """Requests of two lives; those of the first are in the file when the second begins."""

    calls: ClassVar = {"/again": EVERY_CALL}

    def prepare(self) -> None:
        hurry()
        self.counted = 0
        asyncio.run(self._life())

    def do(self) -> str:
        asyncio.run(self._life())
        return ""

    async def _life(self) -> None:
        """Two at once, then one of which the feed is let go, then another."""
        spent = Spent(self.folder, time.time_ns)
        await spent.read()
        meter = spent.meter("key", [_BUDGET])

        async def ask() -> None:
            number = meter.begin(time.time_ns())
            self.counted += 1
            try:
                await spent.keep()
                await asyncio.sleep(0.001)  # it is sent, and answered
            finally:
                meter.end(number, time.time_ns())

        await asyncio.gather(ask(), ask())
        let_go = asyncio.create_task(ask())
        await asyncio.sleep(0)
        let_go.cancel()
        await asyncio.gather(let_go, return_exceptions=True)
        await ask()

    def wrong_in_the_end(self) -> str:
        spent = Spent(self.folder, time.time_ns)
        asyncio.run(spent.read())
        left = spent.meter("key", [_BUDGET]).left(time.time_ns())["month"]
        if left != _BUDGET.requests - self.counted:
            return f"{left} requests are left, after {self.counted} of {_BUDGET.requests}"
        behind = [path.name for path in self.folder.glob(".*.tmp")]
        return f"left behind: {behind}" if behind else ""


class Deliver(Work):
    """Deliveries to a collector, each until it hears 200; the first is sent twice."""

    calls: ClassVar = {
        "_delivered.msgpack": EVERY_CALL,
        # What is on the disk is read in between.
        "/_journal/": tuple(call for call in EVERY_CALL if call not in {"read", "close"}),
    }

    def prepare(self) -> None:
        hurry()
        self.settings = settings_for(self.folder, {"fills": SIGNED})
        self.synced: dict[str, int] = {}
        self.lives = 0
        sender, now = Signed(SIGNED_SECRET), time.time_ns()
        self.deliveries = [
            sender.sign(
                {"id": f"e{i}", "items": [{"s": "SPY", "p": i + 1, "q": 1, "t": _NOON_MS + i}]}, now
            )
            for i in range(_DELIVERIES)
        ]

    def do(self) -> str:
        with self._noting_syncs():
            asyncio.run(self._life([*self.deliveries, self.deliveries[0]]))
        return ""

    @contextmanager
    def _noting_syncs(self) -> Iterator[None]:
        real = os.fdatasync

        def noting(descriptor: int) -> None:
            real(descriptor)
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            self.synced[path] = os.fstat(descriptor).st_size

        setattr(os, "fdatasync", noting)  # noqa: B010 - this process is for this alone
        try:
            yield
        finally:
            setattr(os, "fdatasync", real)  # noqa: B010

    async def _life(self, deliveries: list[Post]) -> None:
        self.lives += 1
        async with capturing(self.settings, f"c{self.lives}"):
            for delivery in deliveries:
                await self._until_heard(delivery)

    async def _until_heard(self, delivery: Post) -> None:
        for _ in range(_TRIES):
            status, *_ = await post(
                url_of(self.settings, "fills"), delivery.body, **delivery.headers
            )
            if status == 200:
                assert self.lives > 1 or delivery.body in self._durable(), "200, and it is nowhere"
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"never taken: {status}")

    def _durable(self) -> set[bytes]:
        """The frames of the journal, as far as it was synced."""
        found: set[bytes] = set()
        for path in self.settings.spool.rglob("*.wal"):
            data = memoryview(path.read_bytes())[: self.synced.get(str(path), 0)]
            try:
                for _, block in decode(data):
                    if isinstance(block, Frames):
                        found.update(block.payloads)
            except Torn:
                continue
        return found

    def wrong_in_the_end(self) -> str:
        """After another life, to which all of them are sent once more."""
        recover(self.settings.spool, self.settings.capture, time.time_ns)
        asyncio.run(self._life(self.deliveries))
        ledger_adds_up(self.settings)
        rows = Counter((row["connection"], row["price"]) for _, row in rows_in(self.settings.spool))
        if {price for _, price in rows} != {float(i + 1) for i in range(_DELIVERIES)}:
            return f"rows: {rows}"
        # What the file that was refused did not keep comes again, on another connection.
        if rows.most_common(1)[0][1] > 1:
            return f"twice on one connection: {rows}"
        kept = Counter(
            (segment.lines[block.lines[0]].connection, payload)
            for segment in read_archive(self.settings.spool)
            for block in segment.frames
            for payload in block.payloads
        )
        if sorted(kept.values()) != sorted(rows.values()):
            return f"archive: {len(kept)} frames, {len(rows)} rows"
        left = [path.name for path in self.settings.spool.rglob(".*.tmp")]
        return f"left behind: {left}" if left else ""
