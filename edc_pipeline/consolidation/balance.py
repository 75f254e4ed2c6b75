"""Whether the numbers add up: events given out = rows in micro-batches = rows kept + duplicates.

Pure: the numbers in, the reasons why not out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from edc_pipeline.consolidation.certificate import EventsOut, FeedCounts, Frames, SetAside


def imbalances(
    feeds: Mapping[str, FeedCounts],
    events_out: Sequence[EventsOut],
    frames: Sequence[Frames],
    set_aside: Sequence[SetAside],
    ledger_fault: str | None = None,
) -> list[str]:
    """In words, what does not add up; empty when everything does."""
    reasons = [] if ledger_fault is None else [ledger_fault]
    given: Counter[str] = Counter()
    for source in events_out:
        given[f"{source.vendor}/{source.feed}"] += source.events
    for product in sorted({*given, *feeds}):
        counts = feeds.get(product)
        reasons += _product(product, given.get(product), counts)
    if reasons and set_aside:
        names = ", ".join(f"{s.name} ({s.reason})" for s in set_aside[:3])
        more = f" and {len(set_aside) - 3} more" if len(set_aside) > 3 else ""
        reasons.append(f"set aside, {len(set_aside)} of the micro-batches: {names}{more}")
    reasons += [
        f"{f.name}: {f.received} frames received, but {f.with_events} with events"
        f" + {f.control} control + {f.quarantined} quarantined"
        for f in frames
        if f.received != f.with_events + f.control + f.quarantined
    ]
    return reasons


def _product(product: str, given: int | None, counts: FeedCounts | None) -> list[str]:
    rows_in = counts.rows_in if counts else 0
    reasons = []
    if given is None:
        reasons.append(f"no ledger entry for {product}: nobody says how many events it gave out")
    elif given != rows_in:
        few = "missing" if rows_in < given else "too many"
        reasons.append(
            f"{product}: the collectors gave out {given} events, the micro-batches hold {rows_in}:"
            f" {abs(given - rows_in)} {few}"
        )
    if counts and counts.rows_in != counts.rows + counts.duplicates.total:
        reasons.append(
            f"{product}: {counts.rows_in} rows in are not {counts.rows} kept"
            f" + {counts.duplicates.total} duplicates"
        )
    return reasons
