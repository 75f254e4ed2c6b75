"""SIGHUP: the settings are to be read again.

Heard from the first moment of a capture to its last. It starts with imports and perhaps with a long
recovery, and ends after its event loop: whoever sent the signal then would have ended it instead,
and `Restart=on-failure` takes that end for a clean one.
"""

from __future__ import annotations

import signal
from collections.abc import Callable


class HangUp:
    """Belongs to the main thread, which alone can hear signals."""

    def __init__(self) -> None:
        self._asked = False
        self._then: Callable[[], object] | None = None

    def listen(self) -> None:
        signal.signal(signal.SIGHUP, lambda *_: self._hear())
        signal.siginterrupt(signal.SIGHUP, False)  # calls that it falls into go on

    def answer(self, then: Callable[[], object]) -> None:
        """What is to be done, also if it was asked for already."""
        self._then = then
        if self._asked:
            then()

    def ignore(self) -> None:
        """It is too late for it. Python takes its own handlers back before the process ends."""
        self._then = None
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _hear(self) -> None:
        self._asked = True
        if self._then is not None:
            self._then()
