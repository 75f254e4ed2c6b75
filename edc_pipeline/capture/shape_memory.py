"""The feeds' shapes over restarts: what was learned is read at the start and kept at a flush."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path

import msgspec

from edc_pipeline.capture.drift import Drift, Shapes
from edc_pipeline.capture.intake import FeedState
from edc_pipeline.spool.ledger import Source
from edc_pipeline.spool.shapes import read_shapes, write_shapes

log = logging.getLogger(__name__)


class ShapeMemory:
    def __init__(self, spool: Path) -> None:
        self._spool = spool
        self._kept: dict[str, Shapes] = {}

    async def recall(self, states: Iterable[FeedState]) -> None:
        """Before the first frame."""
        kept = await asyncio.to_thread(read_shapes, self._spool)
        try:
            self._kept = msgspec.convert(kept, dict[str, Shapes])
        except msgspec.ValidationError:
            self._kept = {}  # another version's: it is learned again
        for state in states:
            state.drift = self.of(state.source)

    def of(self, source: Source) -> Drift:
        return Drift(self._kept.get(_name(source)))

    async def keep(self, states: Iterable[FeedState]) -> None:
        changed = [state for state in states if state.drift.changed]
        if not changed:
            return
        for state in changed:
            state.drift.changed = False
            self._kept[_name(state.source)] = state.drift.known
        try:
            await asyncio.to_thread(write_shapes, self._spool, msgspec.json.encode(self._kept))
        except OSError as error:
            log.warning("can't keep the shapes of the feeds' messages: %s", error)


def _name(source: Source) -> str:
    return f"{source.name} {source.vendor}/{source.feed}"
