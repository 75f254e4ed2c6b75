"""How far a day may be relied on. A pure rule: the clock is handed in.

provisional   the day is not over, its sealing time has not come, or it can't be sealed
sealed        past its sealing time, its ledger balances, and every gap has an end
restated      changed after it was sealed; it says what changed
"""

from __future__ import annotations

import datetime as dt
from typing import Final

from edc_pipeline.consolidation.certificate import Certificate, StateOfDay
from edc_pipeline.market_day import MARKET_ZONE, NS_PER_SECOND, midnight_ns, parse_day

SEALING_TIME: Final = "00:20"  # of New York, on the day after


def sealing_ns(day: dt.date, at: str = SEALING_TIME) -> int:
    """When a day may be sealed: `at` o'clock in New York on the day after."""
    hour, minute = map(int, at.split(":"))
    after = day + dt.timedelta(days=1)
    moment = dt.datetime(after.year, after.month, after.day, hour, minute, tzinfo=MARKET_ZONE)
    return max(int(moment.timestamp()) * NS_PER_SECOND, midnight_ns(after))


def state_of_day(
    new: Certificate, standing: Certificate | None, now_ns: int, sealing_at: str = SEALING_TIME
) -> StateOfDay:
    """The state of a day whose file is about to say `new`, in the place of `standing`.

    Sealed once, a day never becomes provisional again: what changes after that is a restatement,
    and an unchanged restatement goes on saying what it changed.
    """
    before = standing.state if standing else StateOfDay()
    if standing is not None and before.state != "provisional":
        if standing.content_hash == new.content_hash and standing.balanced == new.balanced:
            return before
        return StateOfDay(state="restated", why=_what_changed(standing, new))
    if why := _why_not_sealed(new, now_ns, sealing_at):
        return StateOfDay(why=why)
    return StateOfDay(state="sealed")


def _why_not_sealed(new: Certificate, now_ns: int, sealing_at: str) -> str:
    if now_ns < sealing_ns(parse_day(new.day), sealing_at):
        return f"before {sealing_at} of the day after"
    if not new.balanced:
        return "its ledger does not balance"
    endless = sorted({gap.name for gap in new.gaps if gap.to_ns is None})
    return f"a gap has no end yet: {', '.join(endless)}" if endless else ""


def _what_changed(standing: Certificate, new: Certificate) -> str:
    more = len(new.inputs) - len(standing.inputs)
    parts = [
        f"rows {standing.rows:,} → {new.rows:,}",
        f"duplicates {standing.duplicates.total:,} → {new.duplicates.total:,}",
        f"micro-batches {more:+d}",
    ]
    if standing.balanced != new.balanced:
        parts.append("its ledger balances" + (" now" if new.balanced else " no more"))
    return ", ".join(parts)
