"""What was spent of the vendors' budgets, kept in the spool: a restart must not begin at nothing.

A request is in the file, fsynced, before it is sent. Several that come together share a write.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from edc_pipeline.durable_file import write_durably
from edc_pipeline.spool.layout import BUDGETS
from edc_pipeline.transports.budget import Limit, Meter

log = logging.getLogger(__name__)

_RETRY_DISK_S: Final = 2.0

_Spent = dict[str, dict[str, dict[int, int]]]  # key → period → slice → requests


class Spent:
    """Of one collector's spool. `read` it when the spool is ours."""

    def __init__(self, spool: Path) -> None:
        self._path = spool / BUDGETS
        self._known: _Spent = {}
        self._meters: dict[str, Meter] = {}
        self._wanted = 0
        self._written = 0
        self._lock = asyncio.Lock()

    def read(self) -> None:
        try:
            self._known = msgspec.json.decode(self._path.read_bytes(), type=_Spent)
        except FileNotFoundError:
            pass
        except (OSError, msgspec.MsgspecError, ValueError) as error:
            log.warning("%s can't be read, budgets begin anew: %s", self._path.name, error)

    def meter(self, key: str, limits: Sequence[Limit]) -> Meter:
        """The one meter of this key; another plan's limits take over what was spent."""
        known = self._meters.get(key)
        if known is not None:
            if known.limits == tuple(limits):
                return known
            self._known[key] = known.state()
        meter = self._meters[key] = Meter(limits, self._known.get(key))
        return meter

    async def keep(self, told: Callable[[str], None] = lambda _: None) -> None:
        """Returns when all that was spent so far is on the disk."""
        self._wanted += 1
        mine = self._wanted
        async with self._lock:
            while self._written < mine:
                covers = self._wanted
                state = {**self._known, **{key: m.state() for key, m in self._meters.items()}}
                try:
                    await asyncio.to_thread(self._write, msgspec.json.encode(state))
                except OSError as error:
                    told(f"can't keep what was spent of the budget: {error.strerror}")
                    await asyncio.sleep(_RETRY_DISK_S)
                else:
                    self._written = covers

    def _write(self, text: bytes) -> None:
        def write(path: Path) -> None:
            path.write_bytes(text)

        write_durably(self._path, write)
