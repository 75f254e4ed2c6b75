"""Does the spool still hold what a daily file was made from, and nothing that came later?"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from edc_pipeline.consolidation.certificate import Certificate
from edc_pipeline.consolidation.findings import NAMED, Verification
from edc_pipeline.consolidation.plan import describe, not_held, read_ledger
from edc_pipeline.market_day import parse_day
from edc_pipeline.spool.layout import batch_files
from edc_pipeline.spool.micro_batch import UnreadableBatch, read_footer


def check_spool(spool: Path, certificate: Certificate, found: Verification) -> None:
    if not spool.is_dir():
        found.error("spool", f"there is no spool at {spool}")
        return
    day, event_type = parse_day(certificate.day), certificate.event_type
    there = {path.name: path for path in batch_files(spool, event_type, day)}
    gone, changed = [], []
    for certified in certificate.inputs:
        path = there.pop(certified.name, None)
        try:
            if path is None:
                gone.append(certified.name)
            elif describe(path, certified.rows) != certified:
                changed.append(certified.name)
        except OSError as error:
            changed.append(f"{certified.name} ({error.strerror})")
    late, gone = _but_compacted(certificate, spool, gone)
    if changed:
        found.error("spool", f"changed since: {_some(changed)}")
    if gone:
        found.warn("spool", f"no longer in the spool: {_some(gone)}")
    if late:
        found.error("spool", f"came later and are not in the file: {_some(late)}")
    ledger = read_ledger(spool, event_type, day)
    if ledger.fault:
        found.error("spool", ledger.fault)
    elif ledger.events_out != certificate.events_out:
        found.error("spool", "the ledger counts other events now than the certificate says")
    elif (ledger.frames, ledger.gaps) != (certificate.frames, certificate.gaps):
        found.warn("spool", "the ledger's frames or gaps of that day have changed since")


def _but_compacted(
    certificate: Certificate, spool: Path, gone: list[str]
) -> tuple[list[str], list[str]]:
    """(what came later, what is gone): a compacted micro-batch is neither, nor what it holds."""
    late = {path.name for path in not_held(certificate, spool)}
    held: set[str] = set()
    for path in batch_files(spool, certificate.event_type, parse_day(certificate.day)):
        if path.name not in late:
            with suppress(UnreadableBatch, OSError):
                held |= set(read_footer(path).replaces)
    return sorted(late), [name for name in gone if name not in held]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
