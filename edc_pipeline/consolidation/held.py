"""Which micro-batches of a day its daily file holds.

By name, and a compacted one by the names of those whose rows it has: the file holds it if it holds
as many rows of these. Whoever believes that a row is in a file asks here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from edc_pipeline.consolidation.certificate import Certificate
from edc_pipeline.market_day import parse_day
from edc_pipeline.spool.layout import batch_files, batch_names
from edc_pipeline.spool.micro_batch import UnreadableBatch, read_footer
from edc_pipeline.spool.replaced import damaged_beside_theirs, replaced_in


@dataclass(frozen=True)
class InSpool:
    """The micro-batches of a day, held against the certificate of its file."""

    late: list[Path] = field(default_factory=list)  # the file does not hold every row of them
    compacted: list[Path] = field(default_factory=list)  # put together of what the file holds
    # Whose rows are there, in whichever file; none where all files are named by the certificate.
    names: set[str] = field(default_factory=set)


def in_spool(certificate: Certificate, spool: Path) -> InSpool:
    day, event_type = parse_day(certificate.day), certificate.event_type
    known = {i.name for i in certificate.inputs} | {s.name for s in certificate.set_aside}
    # Most often there are no others, and whoever reads a symbol waits for this.
    if not batch_names(spool, event_type, day, but=known):
        return InSpool()
    there, inputs = batch_files(spool, event_type, day), rows_by_input(certificate)
    footers = {}
    for path in there:
        with suppress(UnreadableBatch, OSError):
            footers[path] = read_footer(path)
    replaced = replaced_in(footers, damaged_beside_theirs(footers))
    found = InSpool(names={path.name for path in there} | replaced)
    for path in there:
        # What a compacted one replaces is left over beside it, and counts no more.
        if path.name in known or path.name in replaced:
            continue
        footer = footers.get(path)
        held = footer is not None and holds(inputs, footer.replaces, footer.rows)
        (found.compacted if held else found.late).append(path)
    return found


def not_held(certificate: Certificate, spool: Path) -> list[Path]:
    """The micro-batches of a day whose rows its daily file does not hold: those that came later.

    One that was compacted out of files that it holds is none of them.
    """
    return in_spool(certificate, spool).late


def rows_by_input(certificate: Certificate) -> dict[str, int]:
    return {i.name: i.rows for i in certificate.inputs}


def holds(inputs: Mapping[str, int], replaces: Sequence[str], rows: int | None) -> bool:
    """Whether a file made of these inputs holds so many rows, put together of what they replace.

    One compacted twice names the first compaction, and what that replaced: a file is made of the
    one or of the other, so that its rows tell.
    """
    return bool(replaces) and rows == sum(inputs.get(name, 0) for name in set(replaces))
