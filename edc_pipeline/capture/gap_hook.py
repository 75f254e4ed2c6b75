"""Tells whoever wants to fill gaps, in a thread of its own: it can neither hold up nor end capture.

A gap is told once it stands in the ledger, which keeps what a slow or failing listener misses.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable
from typing import Final

from edc_pipeline.spool.ledger import Gap

log = logging.getLogger(__name__)

OnGap = Callable[[Gap], None]

# Gaps that may wait for a listener which asks a vendor's REST interface for each.
_MOST_WAITING: Final = 1_000


class GapHook:
    def __init__(self, on_gap: OnGap) -> None:
        self.missed = 0  # gaps that came while too many waited
        self._on_gap = on_gap
        self._waiting: queue.Queue[Gap] = queue.Queue(_MOST_WAITING)
        self._thread: threading.Thread | None = None

    def tell(self, gaps: Iterable[Gap]) -> None:
        for gap in gaps:
            if self._thread is None:
                # Daemon: a listener that hangs must not keep the process from ending.
                self._thread = threading.Thread(target=self._run, name="on-gap", daemon=True)
                self._thread.start()
            try:
                self._waiting.put_nowait(gap)
            except queue.Full:
                if not self.missed:
                    log.error("on_gap is too slow: gaps from here on are in the ledger alone")
                self.missed += 1

    def _run(self) -> None:
        while True:
            gap = self._waiting.get()
            try:
                self._on_gap(gap)
            except Exception:
                log.exception("on_gap failed for %s", gap)
