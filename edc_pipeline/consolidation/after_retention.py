"""A day whose micro-batches were retired: its daily file is all there is, and has to hold them all.

Any other file of that day, an older version put in its place, say, is whole and balances, and the
spool has nothing left to tell by but the list of what went.
"""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from pathlib import Path
from typing import Final

from edc_pipeline.consolidation.certificate import (
    Certificate,
    NoCertificate,
    read_certificate,
)
from edc_pipeline.consolidation.errors import CannotConsolidate
from edc_pipeline.consolidation.held import holds, not_held, rows_by_input
from edc_pipeline.consolidation.names import version_files
from edc_pipeline.consolidation.standing import certificate_of
from edc_pipeline.events import EventType
from edc_pipeline.market_day import parse_day
from edc_pipeline.spool.layout import batch_files
from edc_pipeline.spool.micro_batch import UnreadableBatch, read_footer
from edc_pipeline.spool.retired import RetiredBatch, retired

_NAMED: Final = 3


def gone(spool: Path, event_type: EventType, day: dt.date) -> list[RetiredBatch]:
    """What was retired of a day, and not brought back since. `UnreadableBatch` where the list of it
    is damaged."""
    noted = retired(spool, event_type, day)
    if not noted:
        return []
    back: dict[str, int] = {}
    for path in batch_files(spool, event_type, day):
        with suppress(UnreadableBatch, OSError):
            footer = read_footer(path)
            back[path.name] = footer.rows
            for name in footer.replaces:
                back.setdefault(name, 0)
    return [b for b in noted if b.name not in back and not holds(back, b.replaces, b.rows)]


def lacking(certificate: Certificate, batches: list[RetiredBatch]) -> list[RetiredBatch]:
    """Those of them that a daily file does not hold."""
    inputs, hashes = rows_by_input(certificate), {i.name: i.sha256 for i in certificate.inputs}
    put_together = {name for b in batches if b.name in inputs for name in b.replaces}
    return [
        b
        for b in batches
        if not (
            (b.name in inputs and b.sha256 in ("", hashes[b.name]))
            or (b.name not in inputs and b.name in put_together)
            or holds(inputs, b.replaces, b.rows)
        )
    ]


def what_it_lacks(certificate: Certificate, path: Path, spool: Path) -> str:
    """In words, what was retired from the spool and is not in the daily file at `path` either, and
    where it is; empty: nothing."""
    try:
        batches = gone(spool, certificate.event_type, parse_day(certificate.day))
    except UnreadableBatch as damaged:
        return str(damaged)
    return _in_words(certificate, path, batches)


def of_retired(
    spool: Path, path: Path, event_type: EventType, day: dt.date, batches: list[RetiredBatch]
) -> Certificate:
    """The certificate of a day whose micro-batches were retired, if its file holds them all."""
    standing, fault = certificate_of(path)
    if standing is None:
        raise CannotConsolidate(lost(spool, path, event_type, day, batches, fault))
    if lacks := _in_words(standing, path, batches):
        raise CannotConsolidate(lacks)
    if late := not_held(standing, spool):
        raise CannotConsolidate(
            f"{len(late)} micro-batches of {event_type} of {day} landed after those of its daily"
            f" file were retired: a file made of them alone would hold less. {path} stays, and they"
            " stay in the spool; to merge them, bring the retired ones back into it"
        )
    return standing


def lost(
    spool: Path,
    path: Path,
    event_type: EventType,
    day: dt.date,
    batches: list[RetiredBatch],
    fault: str = "",
) -> str:
    why = f" ({fault})" if fault else ""
    return (
        f"{len(batches)} micro-batches of {event_type} of {day} were retired from {spool}, and"
        f" {path}, which held them, is missing or damaged{why}: {_remedy(path, batches)}"
    )


def _in_words(certificate: Certificate, path: Path, batches: list[RetiredBatch]) -> str:
    lacks = lacking(certificate, batches)
    if not lacks:
        return ""
    rows = sum(b.rows or 0 for b in lacks)
    names = ", ".join(b.name for b in lacks[:_NAMED])
    more = f" and {len(lacks) - _NAMED} more" if len(lacks) > _NAMED else ""
    of = f" of {rows:,} rows" if all(b.rows is not None for b in lacks) else ""
    return (
        f"{path} is not the file that the micro-batches of {certificate.event_type} of"
        f" {certificate.day} were retired for: it lacks {len(lacks)} of them{of} ({names}{more}):"
        f" {_remedy(path, batches)}"
    )


def _remedy(path: Path, batches: list[RetiredBatch]) -> str:
    for version in reversed(version_files(path)):
        with suppress(NoCertificate):
            if not lacking(read_certificate(version), batches):
                return f"{version} holds them all, copy it to {path}"
    versions = path.parent / "versions"
    return f"bring it back from a copy; no version in {versions} holds all of them"
