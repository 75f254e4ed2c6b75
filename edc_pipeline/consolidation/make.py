"""Consolidate one day of one event type: find that its file stands, or make it until it does."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edc_pipeline.consolidation.after_retention import gone, of_retired
from edc_pipeline.consolidation.attempt import StateInPlaceOf, attempt, without_damaged
from edc_pipeline.consolidation.certificate import Certificate
from edc_pipeline.consolidation.day_state import SEALING_TIME, state_of_day
from edc_pipeline.consolidation.errors import CannotConsolidate
from edc_pipeline.consolidation.growth import Growth, NotGrown, growth_of
from edc_pipeline.consolidation.identity import Rules, identity_rules
from edc_pipeline.consolidation.names import CODECS, ORDERS, Codec, Order, daily_file
from edc_pipeline.consolidation.plan import Plan, make_plan, refuse_if_nothing
from edc_pipeline.consolidation.progress import Progress, Watch
from edc_pipeline.consolidation.replacement import alone_with, prune_versions
from edc_pipeline.consolidation.slices import SetAsideWhileReading
from edc_pipeline.consolidation.standing import certificate_of, is_made_of_this
from edc_pipeline.consolidation.wish import MEMORY, Wish, bytes_of
from edc_pipeline.events import EVENT_TYPES, EventType
from edc_pipeline.market_day import storable_day
from edc_pipeline.spool.micro_batch import UnreadableBatch
from edc_pipeline.spool.retired import RetiredBatch

if TYPE_CHECKING:
    import pandas as pd

# A day of 100M rows takes a minute or two; who waits longer than this waits for something stuck.
PATIENCE_S: Final = 600.0


@dataclass(frozen=True)
class Consolidated:
    path: Path
    certificate: Certificate
    unchanged: bool  # the file stood already, and was not touched
    seconds: dict[str, float] = field(default_factory=dict)  # by stage
    warnings: list[str] = field(default_factory=list)

    def preview(self, rows: int = 10) -> pd.DataFrame:
        """The first rows, as pandas reads them."""
        import pandas as pd  # noqa: PLC0415

        frame = pd.read_hdf(self.path, self.certificate.event_type, start=0, stop=rows)
        assert isinstance(frame, pd.DataFrame)
        return frame


def consolidate(
    spool: Path,
    out: Path,
    event_type: EventType,
    day: dt.date,
    *,
    rules: Rules | None = None,
    codec: Codec = "blosc2-lz4",
    order: Order = "time",
    memory: int | str = MEMORY,
    versions: int = 3,
    progress: Progress | None = None,
    patience_s: float = PATIENCE_S,
    sealing_at: str = SEALING_TIME,
    now_ns: int | None = None,
) -> Consolidated:
    """Make `daily_file(out, event_type, day)` from the spool, or find that it stands already.

    The former file stays until the new one is written, read back and durable. `rules` defaults
    to those of the vendors known; `versions` superseded files are kept in `out/versions`. About
    `memory` bytes (or `"1GiB"`) are used, however large the day; what does not fit goes over the
    disk. The day may be sealed from `sealing_at` of the next day on; `now_ns` is the clock's, if
    not given. Raises `CannotConsolidate` for what a person can mend.
    """
    if event_type not in EVENT_TYPES:
        raise CannotConsolidate(f"{event_type!r} is no event type: {', '.join(EVENT_TYPES)}")
    try:
        storable_day(day)
    except ValueError as error:
        raise CannotConsolidate(str(error)) from None
    if codec not in CODECS:
        raise CannotConsolidate(f"{codec!r} is no codec: {', '.join(CODECS)}")
    if order not in ORDERS:
        raise CannotConsolidate(f"{order!r} is no order: {', '.join(ORDERS)}")
    if versions < 0:
        raise CannotConsolidate(f"versions: {versions} is below 0")
    watch = Watch(progress or (lambda _stage, _done, _of: None))
    rules = identity_rules() if rules is None else rules
    wish = Wish(rules, codec, order, bytes_of(memory), versions)
    now_ns = time.time_ns() if now_ns is None else now_ns
    state_in_place_of = partial(state_of_day, now_ns=now_ns, sealing_at=sealing_at)
    path = daily_file(out, event_type, day)
    if not _gone(spool, event_type, day):
        refuse_if_nothing(spool, event_type, day)
    with alone_with(path, patience_s):
        if retired := _gone(spool, event_type, day):  # perhaps while we waited
            return _unchanged(path, of_retired(spool, path, event_type, day, retired), watch)
        with watch.stage("plan", 0):
            standing, fault = certificate_of(path)
            if (
                standing
                and is_made_of_this(standing, spool, wish)
                and state_in_place_of(standing, standing) == standing.state
            ):
                prune_versions(path, versions)
                return _unchanged(path, standing, watch)
            plan = make_plan(spool, event_type, day)
            grown = growth_of(plan, path, standing, wish) if standing else None
        made = _make(plan, path, standing, grown, state_in_place_of, wish, watch)
        if fault:
            kept = f". It is kept in {path.parent / 'versions'}" if versions else ""
            made.warnings.append(f"what stood in its place was not to be believed: {fault}{kept}")
        return made


def _gone(spool: Path, event_type: EventType, day: dt.date) -> list[RetiredBatch]:
    try:
        return gone(spool, event_type, day)
    except UnreadableBatch as damaged:
        raise CannotConsolidate(f"{damaged}. A daily file made before stays") from None


def _make(
    plan: Plan,
    path: Path,
    standing: Certificate | None,
    grown: Growth | None,
    state_in_place_of: StateInPlaceOf,
    wish: Wish,
    watch: Watch,
) -> Consolidated:
    """Again and again, without the micro-batches that turn out to be none; then in full."""
    while True:
        try:
            made = attempt(plan, path, standing, state_in_place_of, wish, watch, grown)
            break
        except NotGrown:
            grown = None
        except SetAsideWhileReading as bad:
            grown = None
            if not bad.batch.path.exists():  # compacted meanwhile, or removed: look again
                plan = make_plan(plan.spool, plan.event_type, plan.day)
                continue
            with watch.stage("look for damage", plan.rows) as advance:
                plan = without_damaged(plan, advance)
    if made is None:
        assert standing is not None
        return _unchanged(path, standing, watch)
    return Consolidated(
        path,
        made,
        unchanged=False,
        seconds=watch.seconds,
        warnings=_warnings(standing, made),
    )


def _unchanged(path: Path, standing: Certificate, watch: Watch) -> Consolidated:
    return Consolidated(
        path,
        standing,
        unchanged=True,
        seconds=watch.seconds,
        warnings=_warnings(None, standing),
    )


def _warnings(standing: Certificate | None, new: Certificate) -> list[str]:
    warnings = [f"{s.name} was set aside: {s.reason}" for s in new.set_aside]
    if standing and new.rows < standing.rows:
        gone = {i.name for i in standing.inputs} - {i.name for i in new.inputs}
        warnings.append(
            f"the former file held {standing.rows} rows, this one {new.rows}; {len(gone)} of the"
            f" {len(standing.inputs)} micro-batches it was made from are not in the spool or not"
            " readable now. It is kept in versions/"
        )
    return warnings
