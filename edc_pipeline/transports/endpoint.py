"""Where to connect and what to bear."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Every limit has its unit in its name."""

    # Both may carry a key: shown nowhere.
    url: str = field(repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)  # added to the url's own
    # No message for so long: dead. Pongs do not count, or a mute feed would never be noticed; nor
    # does the time in which we had no room and did not read.
    stale_after_s: float = 60.0
    max_frame_bytes: int = 1 << 20  # of a whole message, in however many fragments
    open_timeout_s: float = 10.0  # name, TCP, TLS and handshake together
    close_timeout_s: float = 5.0
    # Our own pings find a half-open connection even where the vendor is silent by custom.
    ping_every_s: float = 20.0
    ping_timeout_s: float = 20.0
    messages_per_s: float | None = None  # that we may send; None: as fast as they come up
    keepalive: tuple[str, float] | None = None  # a text, and every how many seconds it is sent
    fatal_statuses: frozenset[int] = frozenset({401, 403})
    tls: ssl.SSLContext | None = None  # None: the platform's trust store, for wss
