"""Frames over a websocket: connect, listen, notice death, connect again. Knows no vendor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from edc_pipeline.transports.address import NotAnAddress
from edc_pipeline.transports.backoff import Backoff
from edc_pipeline.transports.contract import GaveUp, Listener, Speech
from edc_pipeline.transports.conversation import Conversation
from edc_pipeline.transports.endpoint import Endpoint
from edc_pipeline.transports.handshake import NoConnection, reach
from edc_pipeline.waiting import wait_at_most

__all__ = ["Endpoint", "keep_connected"]


async def keep_connected(
    endpoint: Endpoint | Callable[[], Endpoint],
    listener: Listener,
    *,
    stop: asyncio.Event,
    backoff: Backoff | None = None,
    clock: Callable[[], int] = time.time_ns,
    speech: Speech | None = None,
) -> None:
    """Stay connected until `stop` is set. `GaveUp` when no reconnect will help.

    An endpoint that may change meanwhile is asked for anew at each connect.

    After `stop` the connection is closed properly, and what had arrived by then is still heard, so
    long as the listener has room and the vendor answers within `close_timeout_s`.

    No redirect is followed. Compression is not offered. A proxy is taken from the environment
    (`https_proxy` for wss, `http_proxy` or `https_proxy` for ws, `socks_proxy` before either,
    unless `no_proxy` names the host): HTTP and HTTPS ones by CONNECT, SOCKS4 and SOCKS5, with name
    and password where the proxy's address carries them.
    """
    backoff = backoff or Backoff()
    while not stop.is_set():
        now = endpoint() if callable(endpoint) else endpoint
        reason, wait_s = await _one_connection(now, listener, stop, backoff, clock, speech)
        listener.closed(reason)
        if not stop.is_set():
            await wait_at_most(stop, max(wait_s, backoff.next_wait_s()))


async def _one_connection(
    endpoint: Endpoint,
    listener: Listener,
    stop: asyncio.Event,
    backoff: Backoff,
    clock: Callable[[], int],
    speech: Speech | None,
) -> tuple[str, float]:
    """One connection from handshake to end: why it ended, and how long the vendor asked us to stay
    away. Never shows the URL: it may carry a key."""
    conversation = Conversation(endpoint, listener, backoff, clock, speech)
    try:
        if not await reach(endpoint, conversation, stop, clock):
            return "stopped while connecting", 0.0
    except NotAnAddress:
        raise GaveUp("the address is not a websocket address") from None
    except NoConnection as none:
        if none.status not in endpoint.fatal_statuses:
            return str(none), none.wait_s
        reason = f"the vendor answered HTTP {none.status} to the handshake"
        listener.closed(reason)
        raise GaveUp(reason) from None
    reason = await conversation.hold(stop)
    if conversation.give_up:
        listener.closed(conversation.give_up)
        raise GaveUp(conversation.give_up)
    return reason, 0.0
