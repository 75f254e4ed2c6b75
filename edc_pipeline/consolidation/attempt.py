"""One making of a daily file out of a plan: write, certify, read back, put in its place."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from edc_pipeline import __version__
from edc_pipeline.consolidation.balance import imbalances
from edc_pipeline.consolidation.batch_rows import read_batch, sound_ones, why_none
from edc_pipeline.consolidation.certificate import Certificate, Duplicates, StateOfDay
from edc_pipeline.consolidation.content_hash import content_hash
from edc_pipeline.consolidation.errors import CannotConsolidate
from edc_pipeline.consolidation.growth import Growth
from edc_pipeline.consolidation.h5_read import chunks_in
from edc_pipeline.consolidation.h5_write import DailyFile, symbols_table
from edc_pipeline.consolidation.pipeline import Written, widths_of_plan, write_rows
from edc_pipeline.consolidation.plan import Plan
from edc_pipeline.consolidation.progress import Watch
from edc_pipeline.consolidation.read_back import read_back
from edc_pipeline.consolidation.replacement import SCRATCH_SUFFIX, prune_versions
from edc_pipeline.consolidation.replacement import replace as put_in_place
from edc_pipeline.consolidation.rows import TEXTS
from edc_pipeline.consolidation.seal import seal
from edc_pipeline.consolidation.slices import SetAsideWhileReading
from edc_pipeline.consolidation.standing import as_now, says_the_same
from edc_pipeline.consolidation.wish import Wish
from edc_pipeline.events import SCHEMA_VERSION
from edc_pipeline.spool.micro_batch import UnreadableBatch

StateInPlaceOf = Callable[[Certificate, Certificate | None], StateOfDay]
# HDF5, h5py and PyTables have many errors for a disk that refuses: a RuntimeError for a close or a
# walk, a NoSuchNodeError for what could not be read, an UnImplemented without columns.
_DISK_REFUSES: Final = (OSError, RuntimeError, LookupError, ValueError, AttributeError)


def attempt(
    plan: Plan,
    path: Path,
    standing: Certificate | None,
    state_in_place_of: StateInPlaceOf,
    wish: Wish,
    watch: Watch,
    grown: Growth | None = None,
) -> Certificate | None:
    """Make the file of a plan and put it in its place; None where it would say what stands.

    Raises `SetAsideWhileReading` when a micro-batch turns out to be none, and `NotGrown` when the
    day cannot be made as one that has `grown`.
    """
    made: list[Certificate] = []

    def write(temporary: Path) -> None:
        with _scratch(path) as scratch:
            try:
                written = _write(plan, temporary, scratch, wish, watch, certify_as, grown)
            except OSError as error:
                raise _not_written(path, error) from error
        with watch.stage("verify", written.rows):
            try:
                fault = read_back(
                    temporary,
                    plan.event_type,
                    plan.day,
                    written.digests,
                    wish.order,
                    written.taken_over,
                )
                if not fault:
                    seal(temporary, chunks_in(temporary))
            except _DISK_REFUSES as error:
                raise _not_written(path, error) from error
            if fault:
                raise _not_written(path, fault)
        if standing and says_the_same(standing, made[0]):
            raise _SaysTheSame

    def certify_as(written: Written) -> Certificate:
        certificate = certify(plan, written, wish)
        former = standing and as_now(standing, path)
        state = state_in_place_of(certificate, former)
        made.append(msgspec.structs.replace(certificate, state=state))
        return made[0]

    def worth_keeping() -> bool:
        # Only a file that says something else is worth keeping beside the new one.
        return standing is None or standing.content_hash != made[0].content_hash

    try:
        put_in_place(path, write, versions=wish.versions, keep=worth_keeping)
    except _SaysTheSame:
        prune_versions(path, wish.versions)
        return None
    return made[0]


class _SaysTheSame(Exception):
    """What was made says what the standing file says."""


def _write(
    plan: Plan,
    temporary: Path,
    scratch: Path,
    wish: Wish,
    watch: Watch,
    certify_as: Callable[[Written], Certificate],
    grown: Growth | None,
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
            grown=grown,
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


def without_damaged(plan: Plan, advance: Callable[[int], None]) -> Plan:
    """Those micro-batches that are none are set aside."""
    sound = sound_ones(plan, advance)
    if not sound.batches:
        raise CannotConsolidate(
            f"{why_none(sound)}. A daily file made before stays",
            events_missing=sum(s.events for s in plan.ledger.events_out),
        )
    return sound


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
