"""Consolidate one day of one event type: the shell around plan, identity and file."""

from __future__ import annotations

import datetime as dt
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from edc_pipeline import __version__
from edc_pipeline.consolidation.balance import imbalances
from edc_pipeline.consolidation.batch_rows import read_batch
from edc_pipeline.consolidation.certificate import (
    Certificate,
    Duplicates,
    NoCertificate,
    StateOfDay,
    read_certificate,
)
from edc_pipeline.consolidation.content_hash import content_hash
from edc_pipeline.consolidation.day_state import SEALING_TIME, state_of_day
from edc_pipeline.consolidation.errors import CannotConsolidate
from edc_pipeline.consolidation.h5_read import hash_as_now
from edc_pipeline.consolidation.h5_write import DailyFile, symbols_table
from edc_pipeline.consolidation.identity import Rules, identity_rules
from edc_pipeline.consolidation.names import CODECS, ORDERS, Codec, Order, daily_file
from edc_pipeline.consolidation.pipeline import Written, widths_of_plan, write_rows
from edc_pipeline.consolidation.plan import (
    Plan,
    is_what_was_read,
    make_plan,
    not_held,
    put_aside,
    read_ledger,
    refuse_if_nothing,
)
from edc_pipeline.consolidation.progress import Progress
from edc_pipeline.consolidation.read_back import read_back
from edc_pipeline.consolidation.replacement import (
    SCRATCH_SUFFIX,
    alone_with,
    prune_versions,
)
from edc_pipeline.consolidation.replacement import (
    replace as put_in_place,
)
from edc_pipeline.consolidation.rows import TEXTS
from edc_pipeline.consolidation.seal import seal
from edc_pipeline.consolidation.slices import SetAsideWhileReading
from edc_pipeline.events import EVENT_TYPES, SCHEMA_VERSION, EventType
from edc_pipeline.spool.layout import RETIRED, day_folder
from edc_pipeline.spool.micro_batch import UnreadableBatch
from edc_pipeline.spool.retired import retired

if TYPE_CHECKING:
    import pandas as pd

StateInPlaceOf = Callable[[Certificate, Certificate | None], StateOfDay]

# A day of 100M rows takes a minute or two; who waits longer than this waits for something stuck.
PATIENCE_S: Final = 600.0
MEMORY: Final = "1GiB"
LEAST_MEMORY: Final = 512 << 20
_UNITS: Final = {"MiB": 1 << 20, "GiB": 1 << 30, "MB": 10**6, "GB": 10**9}


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


@dataclass(frozen=True)
class Wish:
    """How the file is to be made."""

    rules: Rules
    codec: Codec
    order: Order
    memory: int
    versions: int


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
    if codec not in CODECS:
        raise CannotConsolidate(f"{codec!r} is no codec: {', '.join(CODECS)}")
    if order not in ORDERS:
        raise CannotConsolidate(f"{order!r} is no order: {', '.join(ORDERS)}")
    if versions < 0:
        raise CannotConsolidate(f"versions: {versions} is below 0")
    watch = _Watch(progress or (lambda _stage, _done, _of: None))
    rules = identity_rules() if rules is None else rules
    wish = Wish(rules, codec, order, bytes_of(memory), versions)
    now_ns = time.time_ns() if now_ns is None else now_ns
    state_in_place_of = partial(state_of_day, now_ns=now_ns, sealing_at=sealing_at)
    path = daily_file(out, event_type, day)
    gone = retired(spool, event_type, day) if spool.is_dir() else []
    if not gone:
        refuse_if_nothing(spool, event_type, day)
    with alone_with(path, patience_s):
        if gone:
            return _unchanged(path, _of_retired(spool, path, event_type, day, gone), watch)
        with watch.stage("plan", 0):
            standing = _standing(path)
            if (
                standing
                and _same_inputs(standing, spool, wish)
                and state_in_place_of(standing, standing) == standing.state
            ):
                prune_versions(path, versions)
                return _unchanged(path, standing, watch)
            plan = make_plan(spool, event_type, day)
        return _make(plan, path, standing, state_in_place_of, wish, watch)


def _of_retired(
    spool: Path, path: Path, event_type: EventType, day: dt.date, gone: list[str]
) -> Certificate:
    """The certificate of a day whose micro-batches were retired; its file is all there is."""
    standing = _standing(path)
    if standing is None:
        raise CannotConsolidate(
            f"{len(gone)} micro-batches of {event_type} of {day} were retired from {spool}, and"
            f" {path}, which held them, is missing or damaged: bring it back from a copy or from"
            f" {path.parent / 'versions'}"
        )
    if late := not_held(standing, spool):
        raise CannotConsolidate(
            f"{len(late)} micro-batches of {event_type} of {day} landed after those of its daily"
            f" file were retired: a file made of them alone would hold less. {path} stays, and they"
            " stay in the spool; to merge them, bring the retired ones back and remove"
            f" {day_folder(spool, event_type, day) / RETIRED}"
        )
    return standing


def bytes_of(memory: int | str) -> int:
    """`"1GiB"` → 1,073,741,824; at least 512 MiB, which the libraries and a slice need."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(MiB|GiB|MB|GB)", str(memory))
    size = memory if isinstance(memory, int) else 0
    if found:
        size = int(float(found[1]) * _UNITS[found[2]])
    if size < LEAST_MEMORY:
        raise CannotConsolidate(
            f"memory: {memory!r} is no size of at least 512MiB; write it as 1GiB or 1500MB"
        )
    return size


def _make(
    plan: Plan,
    path: Path,
    standing: Certificate | None,
    state_in_place_of: StateInPlaceOf,
    wish: Wish,
    watch: _Watch,
) -> Consolidated:
    """Again and again, without the micro-batches that turn out to be none."""
    while True:
        try:
            return _attempt(plan, path, standing, state_in_place_of, wish, watch)
        except SetAsideWhileReading as bad:
            if not bad.batch.path.exists():  # compacted meanwhile, or removed: look again
                plan = make_plan(plan.spool, plan.event_type, plan.day)
                continue
            with watch.stage("look for damage", plan.rows) as advance:
                plan = _without_damaged(plan, advance)


def _attempt(
    plan: Plan,
    path: Path,
    standing: Certificate | None,
    state_in_place_of: StateInPlaceOf,
    wish: Wish,
    watch: _Watch,
) -> Consolidated:
    made: list[Certificate] = []

    def write(temporary: Path) -> None:
        with _scratch(path) as scratch:
            try:
                written = _write(plan, temporary, scratch, wish, watch, certify_as)
            except OSError as error:
                raise _not_written(path, error) from error
        with watch.stage("verify", written.rows):
            fault = read_back(temporary, plan.event_type, plan.day, written.digests, wish.order)
            if fault:
                raise _not_written(path, fault)
            try:
                seal(temporary)
            except OSError as error:
                raise _not_written(path, error) from error
        if standing and _says_the_same(standing, made[0]):
            raise _SaysTheSame

    def certify_as(written: Written) -> Certificate:
        certificate = certify(plan, written, wish)
        former = standing and _as_now(standing, path)
        state = state_in_place_of(certificate, former)
        made.append(msgspec.structs.replace(certificate, state=state))
        return made[0]

    def worth_keeping() -> bool:
        # Only a file that says something else is worth keeping beside the new one.
        return standing is None or standing.content_hash != made[0].content_hash

    try:
        put_in_place(path, write, versions=wish.versions, keep=worth_keeping)
    except _SaysTheSame:
        assert standing is not None
        prune_versions(path, wish.versions)
        return _unchanged(path, standing, watch)
    return Consolidated(
        path,
        made[0],
        unchanged=False,
        seconds=watch.seconds,
        warnings=_warnings(standing, made[0]),
    )


class _SaysTheSame(Exception):
    """What was made says what the standing file says."""


def _write(
    plan: Plan,
    temporary: Path,
    scratch: Path,
    wish: Wish,
    watch: _Watch,
    certify_as: Callable[[Written], Certificate],
) -> Written:
    done: list[Written] = []

    def finish(file: DailyFile, written: Written) -> None:
        done.append(written)
        width = written.dtype["symbol"].itemsize
        file.finish(
            certify_as(written),
            symbols_table(written.symbols, width),
            written.near_duplicates,
            written.index,
        )

    widths = widths_of_plan(plan, lambda: _longest_texts(plan))
    with watch.stage("read and write", plan.rows) as advance:
        write_rows(
            plan,
            temporary,
            scratch,
            rules=wish.rules,
            widths=widths,
            codec=wish.codec,
            order=wish.order,
            memory=wish.memory,
            advance=advance,
            finish=finish,
        )
    return done[0]


def _longest_texts(plan: Plan) -> dict[str, int]:
    """By looking at every text: what micro-batches of before `text_bytes` cost."""
    longest = dict.fromkeys(TEXTS[plan.event_type], 0)
    for batch in plan.batches:
        try:
            part, _ = read_batch(batch, plan.event_type, plan.day)
        except (UnreadableBatch, OSError) as error:
            raise SetAsideWhileReading(batch, error) from error
        for name in longest:
            words = part.arrays[name].dictionary.to_pylist() if name in part.arrays else ()
            words = words or [part.constants.get(name, "")]
            longest[name] = max(longest[name], *(len(word.encode()) for word in words))
    return longest


def _without_damaged(plan: Plan, advance: Callable[[int], None]) -> Plan:
    """Read every micro-batch for itself; those that are none are set aside."""
    sound, set_aside = [], list(plan.set_aside)
    for batch in plan.batches:
        try:
            read_batch(batch, plan.event_type, plan.day)
            sound.append(batch)
        except (UnreadableBatch, OSError) as error:
            set_aside.append(put_aside(batch.path, error, batch.footer.rows))
        advance(batch.footer.rows)
    if not sound:
        first = set_aside[0]
        raise CannotConsolidate(
            f"none of the micro-batches of {plan.event_type} of {plan.day} in {plan.spool} can be"
            f" read; the first is {first.name}: {first.reason}. A daily file made before stays",
            events_missing=sum(s.events for s in plan.ledger.events_out),
        )
    return replace(plan, batches=sound, set_aside=sorted(set_aside, key=lambda s: s.name))


@contextmanager
def _scratch(path: Path) -> Iterator[Path]:
    """A folder for what does not fit into memory, beside the file and gone with the work."""
    folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=SCRATCH_SUFFIX, dir=path.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


def certify(plan: Plan, written: Written, wish: Wish) -> Certificate:
    reasons = imbalances(
        written.feeds,
        plan.ledger.events_out,
        plan.ledger.frames,
        plan.set_aside,
        plan.ledger.fault,
    )
    feeds = written.feeds.values()
    return Certificate(
        schema_version=SCHEMA_VERSION,
        code_version=__version__,
        event_type=plan.event_type,
        day=plan.day.isoformat(),
        codec=wish.codec,
        order=wish.order,
        rows_in=written.rows_in,
        rows=written.rows,
        duplicates=sum((f.duplicates for f in feeds), Duplicates()),
        near_duplicates=sum(f.near_duplicates for f in feeds),
        content_hash=content_hash(
            plan.event_type, wish.order, written.dtype, written.rows, written.digests
        ),
        symbols=len(written.symbols),
        first_event=written.first_event,
        last_event=written.last_event,
        feeds=written.feeds,
        balanced=not reasons,
        reasons=reasons,
        events_out=plan.ledger.events_out,
        frames=plan.ledger.frames,
        gaps=plan.ledger.gaps,
        set_aside=plan.set_aside,
        inputs=written.inputs,
    )


def _standing(path: Path) -> Certificate | None:
    """The certificate of the file that stands, if that is still as it was written."""
    try:
        return read_certificate(path)
    except NoCertificate:
        return None


def _as_now(standing: Certificate, path: Path) -> Certificate:
    """With the hash that the file would have today, so that a new way of hashing is no change."""
    if standing.certificate_version > 1:
        return standing
    now = hash_as_now(path, standing.event_type)
    return standing if now is None else msgspec.structs.replace(standing, content_hash=now)


def _same_inputs(standing: Certificate, spool: Path, wish: Wish) -> bool:
    """Whether the standing file was made by this code from exactly this: no row need be read."""
    event_type, day = standing.event_type, dt.date.fromisoformat(standing.day)
    known = {
        f"{vendor}/{feed}": rule.kind
        for (vendor, feed, of_type), rule in wish.rules.items()
        if of_type == event_type
    }
    made_so = (standing.code_version, standing.codec, standing.order)
    if made_so != (__version__, wish.codec, wish.order) or any(
        known.get(feed, "counted") != n.identity for feed, n in standing.feeds.items()
    ):
        return False
    ledger = read_ledger(spool, event_type, day)
    return (
        standing.events_out == ledger.events_out
        and standing.frames == ledger.frames
        and standing.gaps == ledger.gaps
        and ledger.fault is None
        and is_what_was_read(standing, spool)
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
