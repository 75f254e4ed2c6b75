"""How long to wait before the next try to connect."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

# A connection that delivers for so long was a success. One that brings a single event and is closed
# was none: 157 were made in 75 s. It is longer than the first four waits together (7.5 s at the
# most), and whoever cuts each connection just behind it is called 6 times a minute; the strictest
# limit that a vendor states is Binance's 300 connections in five minutes.
SETTLED_S: Final = 10.0


@dataclass(slots=True)
class Backoff:
    """Doubling, capped, jittered; starts anew only after data, and data for a while.

    A vendor that accepts the connection and the login and then closes it (Massive does, at its
    connection limit) must not be stormed: neither counts as a success.
    """

    first_s: float = 0.5
    cap_s: float = 30.0
    # Half of each wait is random, so that many clients cut off together do not return together.
    jitter: float = 0.5
    settled_s: float = SETTLED_S
    random: Random = field(default_factory=Random)
    tries: int = 0
    heard: Callable[[], None] | None = None  # told when a connection begins to deliver

    def next_wait_s(self) -> float:
        # The exponent is bounded: after a weekend of tries 2.0 ** tries would overflow.
        whole = min(self.cap_s, self.first_s * 2.0 ** min(self.tries, 32))
        self.tries += 1
        return whole * (1 - self.jitter + self.jitter * self.random.random())

    def begins_to_deliver(self) -> None:
        if self.heard is not None:
            self.heard()

    def delivered(self, for_s: float = math.inf) -> None:
        """What was tried delivered, for so long."""
        if for_s >= self.settled_s:
            self.tries = 0
