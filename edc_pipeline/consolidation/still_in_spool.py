"""Does the spool still hold what a daily file was made from, and nothing that came later?"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from edc_pipeline.consolidation.after_retention import what_it_lacks
from edc_pipeline.consolidation.certificate import Certificate
from edc_pipeline.consolidation.findings import NAMED, Verification
from edc_pipeline.consolidation.held import InSpool, holds, in_spool, rows_by_input
from edc_pipeline.consolidation.plan import describe, read_ledger
from edc_pipeline.durable_file import Seen, seen
from edc_pipeline.market_day import parse_day
from edc_pipeline.spool.layout import day_folder
from edc_pipeline.spool.micro_batch import UnreadableBatch, read_footer
from edc_pipeline.spool.retired import RetiredBatch


class Checked(NamedTuple):
    """A micro-batch that the daily file holds: this very file, and what it was."""

    path: Path
    seen: Seen
    batch: RetiredBatch  # what to remember of it should it go


def check_spool(
    path: Path, spool: Path, certificate: Certificate, found: Verification
) -> list[Checked]:
    """What is wrong goes to the findings; given back is what the daily file holds beyond doubt."""
    if not spool.is_dir():
        found.error("spool", f"there is no spool at {spool}")
        return []
    day, event_type = parse_day(certificate.day), certificate.event_type
    lie = in_spool(certificate, spool)
    checked, gone, changed = _against(certificate, day_folder(spool, event_type, day), lie)
    if changed:
        found.error("spool", f"changed since: {_some(changed)}")
    if lacks := what_it_lacks(certificate, path, spool):
        found.error("spool", lacks)
    if gone:
        found.warn("spool", f"no longer in the spool: {_some(gone)}")
    if lie.late:
        late = [path.name for path in lie.late]
        found.error("spool", f"came later and are not in the file: {_some(late)}")
    ledger = read_ledger(spool, event_type, day)
    if ledger.fault:
        found.error("spool", ledger.fault)
    elif ledger.events_out != certificate.events_out:
        found.error("spool", "the ledger counts other events now than the certificate says")
    elif (ledger.frames, ledger.gaps) != (certificate.frames, certificate.gaps):
        found.warn("spool", "the ledger's frames or gaps of that day have changed since")
    return checked


def _against(
    certificate: Certificate, folder: Path, lie: InSpool
) -> tuple[list[Checked], list[str], list[str]]:
    """(what the file holds; what is no longer there; what has changed), by every file's hash."""
    checked: list[Checked] = []
    gone, changed = [], []
    for certified in certificate.inputs:
        path = folder / certified.name
        try:
            was = seen(path)
            if describe(path, certified.rows) != certified:
                changed.append(certified.name)
                continue
        except FileNotFoundError:
            gone += [certified.name] if certified.name not in lie.names else []
            continue
        except OSError as error:
            changed.append(f"{certified.name} ({error.strerror})")
            continue
        noted = RetiredBatch(name=certified.name, rows=certified.rows, sha256=certified.sha256)
        checked.append(Checked(path, was, noted))
    for path in lie.compacted:
        if (one := _compacted(path, certificate)) is not None:
            checked.append(one)
        else:
            changed.append(path.name)
    return checked, gone, changed


def _compacted(path: Path, certificate: Certificate) -> Checked | None:
    """Asked again, of the file as it was seen now."""
    try:
        was = seen(path)
        footer = read_footer(path)
        described = describe(path, footer.rows)
    except (UnreadableBatch, OSError):
        return None
    if not holds(rows_by_input(certificate), footer.replaces, footer.rows):
        return None
    return Checked(
        path,
        was,
        RetiredBatch(
            name=path.name, rows=footer.rows, sha256=described.sha256, replaces=footer.replaces
        ),
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
