"""Consolidate one day of one event type: the shell around plan, identity and file."""

from __future__ import annotations

import datetime as dt
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import tables

from edc_pipeline import __version__
from edc_pipeline.consolidation.balance import imbalances
from edc_pipeline.consolidation.batch_rows import Read, read_rows
from edc_pipeline.consolidation.certificate import (
    Certificate,
    Duplicates,
    NoCertificate,
    StateOfDay,
    read_certificate,
)
from edc_pipeline.consolidation.content_hash import ContentHash
from edc_pipeline.consolidation.day_state import SEALING_TIME, state_of_day
from edc_pipeline.consolidation.errors import CannotConsolidate
from edc_pipeline.consolidation.h5_read import hash_of_table
from edc_pipeline.consolidation.h5_write import record_blocks, text_widths, write_h5
from edc_pipeline.consolidation.identity import Rules, Settled, identity_rules, settle
from edc_pipeline.consolidation.names import CODECS, Codec, daily_file
from edc_pipeline.consolidation.plan import Plan, make_plan, refuse_if_nothing
from edc_pipeline.consolidation.replacement import alone_with, prune_versions, replace
from edc_pipeline.consolidation.seal import seal
from edc_pipeline.events import EVENT_TYPES, SCHEMA_VERSION, EventType

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    Block = npt.NDArray[Any]

Progress = Callable[[str, int, int], None]  # stage, rows done, rows in all
StateInPlaceOf = Callable[[Certificate, Certificate | None], StateOfDay]

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
    versions: int = 3,
    progress: Progress | None = None,
    patience_s: float = PATIENCE_S,
    sealing_at: str = SEALING_TIME,
    now_ns: int | None = None,
) -> Consolidated:
    """Make `daily_file(out, event_type, day)` from the spool, or find that it stands already.

    The former file stays until the new one is written, read back and durable. `rules` defaults
    to those of the vendors known; `versions` superseded files are kept in `out/versions`. The day
    may be sealed from `sealing_at` of the next day on; `now_ns` is the clock's, if not given.
    Raises `CannotConsolidate` for what a person can mend.
    """
    if event_type not in EVENT_TYPES:
        raise CannotConsolidate(f"{event_type!r} is no event type: {', '.join(EVENT_TYPES)}")
    if codec not in CODECS:
        raise CannotConsolidate(f"{codec!r} is no codec: {', '.join(CODECS)}")
    if versions < 0:
        raise CannotConsolidate(f"versions: {versions} is below 0")
    watch = _Watch(progress or (lambda _stage, _done, _of: None))
    rules = identity_rules() if rules is None else rules
    now_ns = time.time_ns() if now_ns is None else now_ns
    state_in_place_of = partial(state_of_day, now_ns=now_ns, sealing_at=sealing_at)
    path = daily_file(out, event_type, day)
    refuse_if_nothing(spool, event_type, day)
    with alone_with(path, patience_s):
        with watch.stage("plan", 0):
            plan = make_plan(spool, event_type, day)
            standing = _standing(path)
        if (
            standing
            and _same_inputs(standing, plan, rules, codec)
            and state_in_place_of(standing, standing) == standing.state
        ):
            prune_versions(path, versions)
            return _unchanged(path, standing, watch)
        return _make(
            *(plan, path, standing, state_in_place_of),
            rules=rules,
            codec=codec,
            versions=versions,
            watch=watch,
        )


def _make(
    plan: Plan,
    path: Path,
    standing: Certificate | None,
    state_in_place_of: StateInPlaceOf,
    *,
    rules: Rules,
    codec: Codec,
    versions: int,
    watch: _Watch,
) -> Consolidated:
    with watch.stage("read", plan.rows) as advance:
        read = read_rows(plan, advance)
    if not read.inputs:
        first = read.set_aside[0]
        raise CannotConsolidate(
            f"none of the micro-batches of {plan.event_type} of {plan.day} in {plan.spool} can be"
            f" read; the first is {first.name}: {first.reason}. A daily file made before stays",
            events_missing=sum(s.events for s in plan.ledger.events_out),
        )
    with watch.stage("dedupe", read.rows.height):
        settled = settle(read.rows, plan.event_type, rules)
    widths = text_widths(settled.rows, plan.event_type)
    with watch.stage("hash", settled.rows.height) as advance:
        content = ContentHash(plan.event_type)
        for block in record_blocks(settled.rows, plan.event_type, widths):
            content.update(block)
            advance(len(block))
    certificate = certify(plan, read, settled, content.result(), codec)
    state = state_in_place_of(certificate, standing)
    certificate = msgspec.structs.replace(certificate, state=state)
    if standing and _says_the_same(standing, certificate):
        prune_versions(path, versions)
        return _unchanged(path, standing, watch)

    def write(temporary: Path) -> None:
        blocks = record_blocks(settled.rows, plan.event_type, widths)
        try:
            with watch.stage("write", settled.rows.height) as advance:
                write_h5(temporary, watch.counted(blocks, advance), widths, certificate)
        except (OSError, tables.HDF5ExtError) as error:
            raise _not_written(path, error) from error
        with watch.stage("verify", settled.rows.height):
            if hash_of_table(temporary, plan.event_type) != certificate.content_hash:
                raise _not_written(path, "what was read back is not what was written")
            seal(temporary)

    # Only a file that says something else is worth keeping beside the new one.
    keep = standing is None or standing.content_hash != certificate.content_hash
    replace(path, write, versions=versions, keep=keep)
    return Consolidated(
        path,
        certificate,
        unchanged=False,
        seconds=watch.seconds,
        warnings=_warnings(standing, certificate),
    )


def _not_written(path: Path, reason: object) -> CannotConsolidate:
    free = shutil.disk_usage(path.parent).free
    return CannotConsolidate(
        f"{path} could not be written ({' '.join(str(reason).split())[:200]}); {free:,} bytes are"
        " free there. A daily file made before stays"
    )


def _unchanged(path: Path, standing: Certificate, watch: _Watch) -> Consolidated:
    return Consolidated(
        path,
        standing,
        unchanged=True,
        seconds=watch.seconds,
        warnings=_warnings(None, standing),
    )


def certify(
    plan: Plan, read: Read, settled: Settled, content_hash: str, codec: Codec
) -> Certificate:
    rows = settled.rows
    reasons = imbalances(
        settled.feeds,
        plan.ledger.events_out,
        plan.ledger.frames,
        read.set_aside,
        plan.ledger.fault,
    )
    feeds = settled.feeds.values()
    return Certificate(
        schema_version=SCHEMA_VERSION,
        code_version=__version__,
        event_type=plan.event_type,
        day=plan.day.isoformat(),
        codec=codec,
        rows_in=read.rows.height,
        rows=rows.height,
        duplicates=sum((f.duplicates for f in feeds), Duplicates()),
        near_duplicates=sum(f.near_duplicates for f in feeds),
        content_hash=content_hash,
        symbols=rows["symbol"].n_unique(),
        first_event=rows["ts_event"][0] if rows.height else None,
        last_event=rows["ts_event"][-1] if rows.height else None,
        feeds=settled.feeds,
        balanced=not reasons,
        reasons=reasons,
        events_out=plan.ledger.events_out,
        frames=plan.ledger.frames,
        gaps=plan.ledger.gaps,
        set_aside=read.set_aside,
        inputs=read.inputs,
    )


def _standing(path: Path) -> Certificate | None:
    """The certificate of the file that stands, if that is still as it was written."""
    try:
        return read_certificate(path)
    except NoCertificate:
        return None


def _same_inputs(standing: Certificate, plan: Plan, rules: Rules, codec: Codec) -> bool:
    """Whether the standing file was made by this code from exactly this: no row need be read."""
    known = {
        f"{vendor}/{feed}": rule.kind
        for (vendor, feed, of_type), rule in rules.items()
        if of_type == plan.event_type
    }
    return (
        (standing.code_version, standing.codec) == (__version__, codec)
        # A file that was set aside on reading counts as planned: it has to be read again.
        and standing.inputs == [batch.input for batch in plan.batches]
        and standing.set_aside == plan.set_aside
        and standing.events_out == plan.ledger.events_out
        and standing.frames == plan.ledger.frames
        and standing.gaps == plan.ledger.gaps
        and all(known.get(f, "counted") == n.identity for f, n in standing.feeds.items())
        and plan.ledger.fault is None
    )


def _says_the_same(standing: Certificate, new: Certificate) -> bool:
    """Newer code that comes to the same result is no reason to touch a file."""
    return msgspec.structs.replace(standing, code_version=new.code_version) == new


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


class _Watch:
    """Times the stages and passes progress on."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, rows: int) -> Iterator[Callable[[int], None]]:
        done = 0

        def advance(more: int) -> None:
            nonlocal done
            done += more
            self._progress(name, done, rows)

        self._progress(name, 0, rows)
        started = time.perf_counter()
        try:
            yield advance
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
        self._progress(name, rows, rows)

    @staticmethod
    def counted(blocks: Iterable[Block], advance: Callable[[int], None]) -> Iterator[Block]:
        for block in blocks:
            yield block
            advance(len(block))
