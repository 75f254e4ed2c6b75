"""Which day it is, for what is removed by its age. Pure, the clocks handed in.

A wall clock may be wrong for a while: a machine that starts, a time server that lies, an operator's
slip. To one that was 30 days ahead for four seconds the whole raw archive was too old.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

SETTLES_S: Final = 3600.0


class SettledDay:
    """The latest day that the wall clock has named, it or a later one, at each look for an hour by
    the steady clock."""

    def __init__(self) -> None:
        # Since when each day holds: days and times rise.
        self._holds: list[tuple[float, dt.date]] = []

    def look(self, today: dt.date, now_s: float) -> dt.date | None:
        """`today` as the wall clock says; None: nothing has held for an hour yet."""
        holds = self._holds
        since_s = now_s
        while holds and holds[-1][1] >= today:
            since_s, _ = holds.pop()
        holds.append((since_s, today))
        settled = [place for place, (since, _) in enumerate(holds) if now_s - since >= SETTLES_S]
        if not settled:
            return None
        del holds[: settled[-1]]
        return holds[0][1]
