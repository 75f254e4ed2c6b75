"""How long to wait before the next try to connect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random


@dataclass(slots=True)
class Backoff:
    """Doubling, capped, jittered; starts anew only after data.

    A vendor that accepts the connection and the login and then closes it (Massive does, at its
    connection limit) must not be stormed: neither counts as a success.
    """

    first_s: float = 0.5
    cap_s: float = 30.0
    # Half of each wait is random, so that many clients cut off together do not return together.
    jitter: float = 0.5
    random: Random = field(default_factory=Random)
    tries: int = 0
    heard: Callable[[], None] | None = None  # told when a connection begins to deliver

    def next_wait_s(self) -> float:
        # The exponent is bounded: after a weekend of tries 2.0 ** tries would overflow.
        whole = min(self.cap_s, self.first_s * 2.0 ** min(self.tries, 32))
        self.tries += 1
        return whole * (1 - self.jitter + self.jitter * self.random.random())

    def delivered(self) -> None:
        self.tries = 0
        if self.heard is not None:
            self.heard()
