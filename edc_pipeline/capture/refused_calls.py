"""A listener that can take no more connections, for want of file handles: asyncio says so some
hundred times a second, each with a traceback. Said once a minute it is enough."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any, Final

log = logging.getLogger(__name__)

_ACCEPT: Final = "socket.accept() out of system resource"
_AGAIN_S: Final = 60.0


class RefusedCalls:
    """An event loop's handler of what nobody awaits."""

    def __init__(self) -> None:
        self._silent_until = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if context.get("message") != _ACCEPT:
            loop.default_exception_handler(context)
            return
        now = time.monotonic()
        if now >= self._silent_until:
            self._silent_until = now + _AGAIN_S
            log.error(
                "a listener takes no more connections: %s; let this process have more open files"
                " (ulimit -n, LimitNOFILE=)",
                context.get("exception"),
            )
