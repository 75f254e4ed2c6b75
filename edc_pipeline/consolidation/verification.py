"""Is a daily file what it says? Re-reads everything, with no trust in whoever wrote it.

The rows are read with h5py, not with the library that wrote them, block by block; identity is
checked by another road than the one that settled it; the time index is asked through PyTables, as
pandas does.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from edc_pipeline.consolidation.balance import imbalances
from edc_pipeline.consolidation.certificate import (
    Certificate,
    Duplicates,
    NoCertificate,
    certificate_in,
)
from edc_pipeline.consolidation.content_hash import ContentHash, FirstContentHash
from edc_pipeline.consolidation.h5_read import StoredTable, blocks, open_daily, table_in
from edc_pipeline.consolidation.layout import table_dtype, text_columns
from edc_pipeline.consolidation.names import NEAR_DUPLICATES, SYMBOLS, parse_daily_file
from edc_pipeline.consolidation.plan import describe, not_held, read_ledger
from edc_pipeline.consolidation.read_back import index_fault, some_stamps, wrong_order
from edc_pipeline.consolidation.rows import Array
from edc_pipeline.consolidation.same_rows import SameRows
from edc_pipeline.consolidation.seal import broken_seal
from edc_pipeline.consolidation.words import factorized
from edc_pipeline.events import COLUMNS, SCHEMA_VERSION
from edc_pipeline.market_day import day_bounds, parse_day
from edc_pipeline.spool.layout import batch_files
from edc_pipeline.spool.micro_batch import UnreadableBatch, read_footer

Severity = Literal["error", "warning"]

_NAMED = 3  # so many examples are named in a finding


class Finding(msgspec.Struct, frozen=True):
    severity: Severity
    check: str  # file, certificate, table, content, order, day, identity, counts, ledger, …
    message: str


class Verification(msgspec.Struct, kw_only=True):
    path: str
    certificate: Certificate | None = None
    rows: int = 0
    findings: list[Finding] = msgspec.field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not any(f.severity == "error" for f in self.findings)

    def error(self, check: str, message: str) -> None:
        self.findings.append(Finding("error", check, message))

    def warn(self, check: str, message: str) -> None:
        self.findings.append(Finding("warning", check, message))


def verify(path: Path, spool: Path | None = None) -> Verification:
    """What is wrong with a daily file, in words; with its spool, whether that still agrees.

    Never raises for what is in the file: torn, foreign and damaged files are findings.
    """
    found = Verification(path=str(path))
    broken = broken_seal(path)
    if broken:
        # No further: HDF5 may crash on what is in it.
        found.error("file", f"{path}: {broken}")
        return found
    try:
        with open_daily(path) as file:
            found.certificate = certificate_in(file, path.name)
            _check_name(path, found.certificate, found)
            rows = _read_rows(table_in(file, found.certificate.event_type), found)
            if rows is not None:
                _check_counts(rows, found.certificate, found)
                _check_lists(file, rows, found.certificate, found)
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
        _check_spool(spool, certificate, found)
    return found


def _check_name(path: Path, certificate: Certificate, found: Verification) -> None:
    says = parse_daily_file(path)
    if says is not None and says != (certificate.event_type, parse_day(certificate.day)):
        found.error(
            "file",
            f"its name says {says[0]} of {says[1]}, its certificate {certificate.event_type}"
            f" of {certificate.day}",
        )
    if certificate.schema_version != SCHEMA_VERSION:
        found.warn(
            "certificate",
            f"schema version {certificate.schema_version}; this code knows {SCHEMA_VERSION}",
        )


class _Rows:
    """What the rows of a table come to, block by block."""

    def __init__(self) -> None:
        self.count = 0
        self.first: int | None = None
        self.last: int | None = None
        self.by_feed: dict[str, int] = {}
        self.symbols: dict[bytes, tuple[int, int]] = {}  # symbol → (rows, first row)

    def take(self, block: Array) -> None:
        stamps = block["ts_event"]
        low, high = int(stamps.min()), int(stamps.max())
        self.first = low if self.first is None else min(self.first, low)
        self.last = high if self.last is None else max(self.last, high)
        vendors, vendor = factorized(block["vendor"])
        feeds, feed = factorized(block["feed"])
        product = vendor.astype(np.int64) * len(feeds) + feed
        for at, n in enumerate(np.bincount(product, minlength=len(vendors) * len(feeds)).tolist()):
            if n:
                name = f"{vendors[at // len(feeds)].decode()}/{feeds[at % len(feeds)].decode()}"
                self.by_feed[name] = self.by_feed.get(name, 0) + n
        names, codes = factorized(block["symbol"])
        counts = np.bincount(codes, minlength=len(names)).tolist()
        first = np.zeros(len(names), np.int64)
        first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
        for name_, n, at in zip(names, counts, first.tolist(), strict=True):
            before = self.symbols.get(name_, (0, self.count + at))
            self.symbols[name_] = (before[0] + n, before[1])
        self.count += len(block)


def _read_rows(table: Any, found: Verification) -> _Rows | None:
    """Stream the rows through all checks; None if they are misshapen."""
    certificate = found.certificate
    assert certificate is not None
    event_type = certificate.event_type
    found.rows = len(table)
    fields = table.dtype.fields or {}
    widths = {n: fields[n][0].itemsize for n in text_columns(event_type) if n in fields}
    if len(widths) < len(text_columns(event_type)) or table.dtype != table_dtype(
        event_type, widths
    ):
        found.error("table", f"its columns are {table.dtype}, not those of {event_type}")
        return None
    now = certificate.content_hash.startswith("edc2:")
    content = ContentHash(event_type, certificate.order)
    first_content = FirstContentHash(event_type)
    order = _Order(found)
    same = SameRows(event_type, table.dtype)
    rows = _Rows()
    for block in blocks(table):
        (content if now else first_content).update(block)
        order.take(block)
        same.take(block)
        rows.take(block)
        if (fault := _not_utf8(block, widths)) is not None:
            found.error("content", fault)
            return None
    hashed = content.result(table.dtype) if now else first_content.result()
    if hashed != certificate.content_hash:
        found.error(
            "content",
            f"its rows hash to {hashed}, its certificate says"
            f" {certificate.content_hash}: they are not the rows that were written",
        )
    _check_identity(same, certificate, found)
    return rows


def _not_utf8(block: Array, widths: dict[str, int]) -> str | None:
    for name in widths:
        values = np.ascontiguousarray(block[name])
        # ASCII is UTF-8, and nearly all there is.
        if (values.view(np.uint8) < 128).all():
            continue
        for word in factorized(values)[0]:
            try:
                word.decode()
            except UnicodeDecodeError as error:
                return f"a text is not UTF-8: {error}"
    return None


class _Order:
    """The index counts from 0; rows go in the order certified; all lie in the day."""

    def __init__(self, found: Verification) -> None:
        assert found.certificate is not None
        self._found = found
        self._order = found.certificate.order
        self._day = parse_day(found.certificate.day)
        self._bounds = day_bounds(self._day)
        self._last: Array | None = None
        self._rows = 0
        self._said: set[str] = set()

    def take(self, block: Array) -> None:
        start = self._rows
        self._rows += len(block)
        if not np.array_equal(block["index"], np.arange(start, self._rows)):
            self._say("table", "the index does not count the rows from 0")
        first, end = self._bounds
        outside = np.flatnonzero((block["ts_event"] < first) | (block["ts_event"] >= end))
        if len(outside):
            self._say(
                "day",
                f"row {start + outside[0]} and {len(outside) - 1} more of its block happened"
                f" outside {self._day} in New York",
            )
        if self._last is not None and len(
            wrong_order(np.concatenate([self._last, block[:1]]), self._order)
        ):
            self._say("order", f"row {start} should come before the one above it")
        back = wrong_order(block, self._order)
        if len(back):
            self._say("order", f"row {start + back[0]} should come before the one above it")
        self._last = block[-1:].copy()

    def _say(self, check: str, message: str) -> None:
        if check not in self._said:
            self._said.add(check)
            self._found.error(check, message)


def _check_identity(same: SameRows, certificate: Certificate, found: Verification) -> None:
    """No two rows are equal without `created_at`, and copies are numbered 0, 1, 2 … in order."""
    same.finish()
    for row in same.wrong[:_NAMED]:
        found.error(
            "identity",
            f"row {row.row} ({row.symbol}) is copy {row.copy} of its content and says"
            f" occurrence {row.occurrence}: a duplicate, or a copy that is missing",
        )
    if same.wrong_rows > _NAMED:
        found.error("identity", f"and {same.wrong_rows - _NAMED} more rows like these")
    # Identities under which no content stands twice.
    once = {"id": same.repeated_ids, "content": same.repeated_stamps}
    repeated = [once[n.identity][f] for f, n in certificate.feeds.items() if n.identity in once]
    if sum(repeated):
        found.error(
            "identity", f"{sum(repeated)} rows repeat the id and the content of another row"
        )


def _check_counts(rows: _Rows, certificate: Certificate, found: Verification) -> None:
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


def _check_lists(file: Any, rows: _Rows, certificate: Certificate, found: Verification) -> None:
    """The lists beside the table: where each symbol's rows are, and the near duplicates."""
    if certificate.certificate_version < 2:
        return
    listed = {bytes(name): (int(n), int(first)) for name, n, first in file[SYMBOLS][()].tolist()}
    if listed != rows.symbols:
        found.error("counts", "the list of symbols does not agree with the table")
    near = len(file[NEAR_DUPLICATES]) if NEAR_DUPLICATES in file else 0
    if bool(near) != bool(certificate.near_duplicates) or near < certificate.near_duplicates:
        found.error(
            "counts",
            f"{near} rows are listed as near duplicates, the certificate counts"
            f" {certificate.near_duplicates}",
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


def _check_readers(path: Path, rows: _Rows, certificate: Certificate, found: Verification) -> None:
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


def _check_spool(spool: Path, certificate: Certificate, found: Verification) -> None:
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
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
