"""Is a daily file what it says? Re-reads everything, with no trust in whoever wrote it.

The rows are read with h5py, not with the library that wrote them, block by block; identity is
checked by another road than the one that settled it; the time index is asked through PyTables, as
pandas does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from edc_pipeline.consolidation.balance import imbalances
from edc_pipeline.consolidation.certificate import (
    Certificate,
    Duplicates,
    NoCertificate,
    certificate_in,
    misnamed,
)
from edc_pipeline.consolidation.findings import Verification
from edc_pipeline.consolidation.h5_read import StoredTable, open_daily, table_in
from edc_pipeline.consolidation.names import NEAR_DUPLICATES, SYMBOLS
from edc_pipeline.consolidation.near_duplicates import near_duplicates
from edc_pipeline.consolidation.read_back import index_fault, some_stamps
from edc_pipeline.consolidation.rows_verified import RowsSeen, read_rows
from edc_pipeline.consolidation.same_files import of_same_files
from edc_pipeline.consolidation.seal import broken_seal, wrong_checksums
from edc_pipeline.consolidation.still_in_spool import check_spool
from edc_pipeline.events import COLUMNS, SCHEMA_VERSION


def verify(path: Path, spool: Path | None = None) -> Verification:
    """What is wrong with a daily file, in words; with its spool, whether that still agrees.

    Never raises for what is in the file: torn, foreign and damaged files are findings.
    """
    return of_same_files(lambda: _verify(path, spool), path)


def _verify(path: Path, spool: Path | None) -> Verification:
    found = Verification(path=str(path))
    broken = broken_seal(path)
    if broken:
        # No further: HDF5 may crash on what is in it.
        found.error("file", f"{path}: {broken}")
        return found
    if (wrong := wrong_checksums(path)) is not None:
        found.error("file", f"{path}: {wrong}")
        return found
    try:
        with open_daily(path) as file:
            found.certificate = certificate_in(file, path.name)
            _check_name(path, found.certificate, found)
            rows = read_rows(table_in(file, found.certificate.event_type), found)
            if rows is not None:
                _check_counts(rows, found.certificate, found)
                near = _check_lists(file, rows, found.certificate, found)
        if rows is not None:
            _check_near(path, near, rows.count, found.certificate, found)
    except NoCertificate as error:
        found.error("certificate", str(error))
        return found
    # A damaged HDF5 file makes h5py raise nearly anything, so nothing narrower would do.
    except Exception as error:
        found.error("file", f"{path.name} cannot be read: {_one_line(error)}")
        return found
    certificate = found.certificate
    if rows is not None:
        _check_readers(path, rows, certificate, found)
    _check_numbers(certificate, found)
    if spool is not None:
        check_spool(path, spool, certificate, found)
    return found


def _check_name(path: Path, certificate: Certificate, found: Verification) -> None:
    if other := misnamed(path, certificate):
        found.error("file", other)
    if certificate.schema_version != SCHEMA_VERSION:
        found.warn(
            "certificate",
            f"schema version {certificate.schema_version}; this code knows {SCHEMA_VERSION}",
        )


def _check_counts(rows: RowsSeen, certificate: Certificate, found: Verification) -> None:
    facts: list[tuple[str, object, object]] = [
        ("rows", rows.count, certificate.rows),
        ("symbols", len(rows.symbols), certificate.symbols),
        ("first event", rows.first, certificate.first_event),
        ("last event", rows.last, certificate.last_event),
        (
            "rows by feed",
            rows.by_feed,
            {feed: n.rows for feed, n in certificate.feeds.items() if n.rows},
        ),
    ]
    for name, fact, certified in facts:
        if fact != certified:
            found.error("counts", f"{name}: {fact} in the table, {certified} in the certificate")


def _check_lists(file: Any, rows: RowsSeen, certificate: Certificate, found: Verification) -> Any:
    """The lists beside the table: where each symbol's rows are; that of near duplicates is given
    back, None where the file is older than it."""
    if certificate.certificate_version < 2:
        return None
    listed = {bytes(name): (int(n), int(first)) for name, n, first in file[SYMBOLS][()].tolist()}
    if listed != rows.symbols:
        found.error("counts", "the list of symbols does not agree with the table")
    return file[NEAR_DUPLICATES][()] if NEAR_DUPLICATES in file else np.empty(0, np.int64)


def _check_near(
    path: Path, listed: Any, rows: int, certificate: Certificate, found: Verification
) -> None:
    """Each row listed as a near duplicate is looked at, and has to bear the id of another one that
    is listed; together they have to be as many as were counted, of each feed."""
    if listed is None:
        return
    if listed.dtype != np.int64 or listed.ndim != 1:
        found.error("counts", "the list of near duplicates is no list of rows")
        return
    ordered = bool(np.all(listed[1:] > listed[:-1]))
    if len(listed) and not (ordered and listed[0] >= 0 and listed[-1] < rows):
        found.error(
            "counts",
            f"the list of near duplicates does not name rows of the {rows} in the table, in order",
        )
        return
    with StoredTable(path, certificate.event_type) as table:
        are, more = near_duplicates(table, listed)
    if len(alone := np.setdiff1d(listed, are)):
        found.error(
            "counts",
            f"row {alone[0]} is listed as a near duplicate, and no other that is listed has its id",
        )
    if {f"{vendor}/{feed}": n for (vendor, feed), n in more.items()} != {
        feed: n.near_duplicates for feed, n in certificate.feeds.items() if n.near_duplicates
    }:
        found.error(
            "counts",
            f"{len(listed)} rows are listed as near duplicates, {more.total()} beyond the first of"
            f" their id; the certificate counts {certificate.near_duplicates}",
        )


def _check_numbers(certificate: Certificate, found: Verification) -> None:
    """The certificate against itself: sums, and whether its ledger balances."""
    feeds = certificate.feeds.values()
    sums: list[tuple[str, object, object]] = [
        ("rows in", sum(f.rows_in for f in feeds), certificate.rows_in),
        ("rows in", sum(i.rows for i in certificate.inputs), certificate.rows_in),
        ("rows", sum(f.rows for f in feeds), certificate.rows),
        ("duplicates", sum((f.duplicates for f in feeds), Duplicates()), certificate.duplicates),
        ("near duplicates", sum(f.near_duplicates for f in feeds), certificate.near_duplicates),
    ]
    for name, total, certified in sums:
        if total != certified:
            found.error("certificate", f"{name}: its parts add up to {total}, not to {certified}")
    reasons = imbalances(
        certificate.feeds, certificate.events_out, certificate.frames, certificate.set_aside
    )
    if certificate.balanced and reasons:
        found.error("ledger", "its certificate says that the ledger balances, and it does not")
    for reason in reasons if certificate.balanced else certificate.reasons:
        found.error("ledger", reason)
    for aside in certificate.set_aside:
        found.warn("inputs", f"{aside.name} was set aside: {aside.reason}")
    if certificate.near_duplicates:
        found.warn(
            "identity",
            f"{certificate.near_duplicates} rows have the id of another row with other content",
        )
    for gap in certificate.gaps:
        if gap.state != "filled":
            found.warn("gaps", f"{gap.name}: gap {gap.state} ({gap.reason})")


def _check_readers(
    path: Path, rows: RowsSeen, certificate: Certificate, found: Verification
) -> None:
    """pandas' metadata and the time index: damage there changes answers and not rows."""
    import pandas as pd  # noqa: PLC0415
    import tables  # noqa: PLC0415

    event_type = certificate.event_type
    try:
        head = pd.read_hdf(path, event_type, start=0, stop=5)
        assert isinstance(head, pd.DataFrame)
        wanted = [c.name for c in COLUMNS[event_type]]
        if list(head.columns) != wanted or len(head) != min(5, rows.count):
            found.error("readers", f"pandas sees {len(head)} rows of {list(head.columns)}")
        if rows.count and certificate.order == "time":
            with StoredTable(path, event_type) as stored:
                stretches = some_stamps(stored)
            with tables.open_file(path) as file:
                fault = index_fault(file.get_node(f"/{event_type}/table"), stretches)
            if fault:
                found.error("readers", fault)
    # As in `verify`: damage shows as any exception of three libraries.
    except Exception as error:
        found.error("readers", f"pandas or PyTables cannot read it: {_one_line(error)}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
