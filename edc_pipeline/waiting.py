"""Waiting for an event of the loop, and no longer than so long."""

from __future__ import annotations

import asyncio
from contextlib import suppress


async def wait_at_most(event: asyncio.Event, seconds: float) -> None:
    """Not `asyncio.wait_for`: in Python 3.11 it loses a cancellation that comes in the same turn of
    the loop as the event, and a drain then waits for its whole limit (once in 45 runs of a test).
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
