"""How often what is mute is connected anew: at once, and if that does not help, ever more rarely.
It may be the vendor's trouble, and vendors limit reconnects. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class ReconnectPace:
    first_s: float
    at_most_every_s: float
    _due_s: float = 0.0
    _wait_s: float = 0.0

    def __post_init__(self) -> None:
        self._wait_s = self.first_s

    def is_due(self, now_s: float) -> bool:
        """If so, the next is due later."""
        if now_s < self._due_s:
            return False
        self._due_s = now_s + self._wait_s
        self._wait_s = min(2 * self._wait_s, self.at_most_every_s)
        return True

    def speaks(self, now_s: float, for_s: float) -> None:
        """It is not mute; what was is forgotten when nothing was asked for so long."""
        if now_s - self._due_s > for_s:
            self._wait_s = self.first_s
