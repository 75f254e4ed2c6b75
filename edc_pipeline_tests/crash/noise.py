"""What this machine kept from a life before it was killed: that is not the journal's doing.

Pure. Three things hold a frame up on its way to the disk: whoever kills oversleeps; the thread of
the loop or of the journal stands in line for a core; the disk takes longer than its half of the
interval. Of the first two the longer counts, for they may be the same moment; the disk's comes on
top. Only what fell between a frame's arrival and the kill excuses its loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

LOOP: Final = 0  # the thread of the loop is a process's first


class Look(NamedTuple):
    """At a life, by whoever will kill it."""

    at_ns: int
    overslept_ms: float  # since the look before
    in_line_ns: dict[int, int]  # by thread, so far


def noise_ms(looks: Sequence[Look], since_ns: int, journal_thread: int) -> float:
    """Since `since_ns`, by looks in order of time; the one before it is where counting begins."""
    within = [look for look in looks if look.at_ns > since_ns]
    if not within:
        return 0.0
    before = looks[-len(within) - 1].in_line_ns if len(within) < len(looks) else {}
    in_line = [
        (within[-1].in_line_ns.get(thread, 0) - before.get(thread, 0)) / 1e6
        for thread in (LOOP, journal_thread)
    ]
    return max(sum(look.overslept_ms for look in within), *in_line)


def slow_disk_ms(
    syncs: Iterable[tuple[int, int]], since_ns: int, killed_at: int, allowed_ms: float
) -> float:
    """What writes and syncs took beyond what each is allowed; one ended at 0 is under way."""
    slow = 0.0
    for began, ended in syncs:
        taken_ms = (min(ended or killed_at, killed_at) - began) / 1e6
        if began and (ended or killed_at) > since_ns:
            slow += max(0.0, taken_ms - allowed_ms)
    return slow
