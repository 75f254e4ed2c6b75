"""Is a daily file what it says? Re-reads everything, with no trust in whoever wrote it.

The rows are read with h5py, not with the library that wrote them; identity is checked by another
road than the one that settled it; the time index is asked through PyTables, as pandas does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from edc_pipeline.consolidation.balance import imbalances
from edc_pipeline.consolidation.certificate import (
    Certificate,
    Duplicates,
    NoCertificate,
    certificate_in,
)
from edc_pipeline.consolidation.content_hash import ContentHash
from edc_pipeline.consolidation.h5_read import blocks, open_daily, table_in
from edc_pipeline.consolidation.layout import table_dtype, text_columns
from edc_pipeline.consolidation.names import parse_daily_file
from edc_pipeline.consolidation.plan import describe, read_ledger
from edc_pipeline.consolidation.seal import broken_seal
from edc_pipeline.events import COLUMNS, SCHEMA_VERSION, EventType, content_columns
from edc_pipeline.market_day import day_bounds, parse_day
from edc_pipeline.spool.layout import batch_files

Severity = Literal["error", "warning"]

_NAMED = 3  # so many examples are named in a finding
_INDEX_PROBES = 64


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


class _Unreadable(Exception):
    pass


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
            rows = _read_table(table_in(file, found.certificate.event_type), found)
    except NoCertificate as error:
        found.error("certificate", str(error))
        return found
    # A damaged HDF5 file makes h5py raise nearly anything, so nothing narrower would do.
    except Exception as error:
        found.error("file", f"{path.name} cannot be read: {_one_line(error)}")
        return found
    certificate = found.certificate
    if rows is not None:
        _check_identity(rows, certificate, found)
        _check_counts(rows, certificate, found)
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


def _read_table(table: Any, found: Verification) -> pl.DataFrame | None:
    """Stream the rows through the checks that need no more than a block; None if misshapen."""
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
    content = ContentHash(event_type)
    order = _Order(found)
    parts = [_frame(np.empty(0, table.dtype), event_type)]
    for block in blocks(table):
        content.update(block)
        order.take(block)
        try:
            parts.append(_frame(block, event_type))
        except UnicodeDecodeError as error:
            found.error("content", f"a text is not UTF-8: {error}")
            return None
    if content.result() != certificate.content_hash:
        found.error(
            "content",
            f"its rows hash to {content.result()}, its certificate says"
            f" {certificate.content_hash}: they are not the rows that were written",
        )
    return pl.concat(parts)


class _Order:
    """The index counts from 0; rows go by (ts_event, seq, created_at); all lie in the day."""

    def __init__(self, found: Verification) -> None:
        assert found.certificate is not None
        self._found = found
        self._day = parse_day(found.certificate.day)
        self._bounds = day_bounds(self._day)
        self._last: npt.NDArray[Any] | None = None
        self._rows = 0
        self._said: set[str] = set()

    def take(self, block: npt.NDArray[Any]) -> None:
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
        keys = block[["ts_event", "seq", "created_at"]]
        if self._last is not None:
            keys = np.concatenate([self._last, keys])
            start -= 1
        back = np.flatnonzero(_follows_late(keys))
        if len(back):
            self._say("order", f"row {start + back[0] + 1} should come before the one above it")
        self._last = keys[-1:]

    def _say(self, check: str, message: str) -> None:
        if check not in self._said:
            self._said.add(check)
            self._found.error(check, message)


def _follows_late(keys: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    late = np.zeros(len(keys) - 1, dtype=bool)
    tied = np.ones(len(keys) - 1, dtype=bool)
    for name in ("ts_event", "seq", "created_at"):
        before, after = keys[name][:-1], keys[name][1:]
        late |= tied & (after < before)
        tied &= after == before
    return late


def _frame(block: npt.NDArray[Any], event_type: EventType) -> pl.DataFrame:
    columns = {}
    for column in COLUMNS[event_type]:
        values = np.ascontiguousarray(block[column.name])
        if column.stored == "text":
            columns[column.name] = _text(values)
        else:
            columns[column.name] = pl.Series(values)
    return pl.DataFrame(columns)


def _text(values: npt.NDArray[np.bytes_]) -> pl.Series:
    distinct, at = np.unique(values, return_inverse=True)
    text = pa.array([value.decode("utf-8") for value in distinct.tolist()], pa.string())
    series = pl.from_arrow(text.take(pa.array(at)))
    assert isinstance(series, pl.Series)
    return series


# Identities under which no content stands twice.
_ONCE: Final = ("id", "content")


def _check_identity(rows: pl.DataFrame, certificate: Certificate, found: Verification) -> None:
    """No two rows are equal without `created_at`, and copies are numbered 0, 1, 2 … in order."""
    stamp = pl.when(pl.col("ts_source") != "receive").then(pl.col("ts_event")).alias("_stamp")
    key = ["_stamp", *content_columns(certificate.event_type)[1:]]
    rows = rows.with_row_index("_row").with_columns(stamp)
    shared = pl.col("_stamp").is_null() | pl.col("_stamp").is_duplicated()
    numbered = rows.filter(shared | (pl.col("occurrence") != 0)).with_columns(
        pl.int_range(pl.len(), dtype=pl.Int32).over(key).alias("_copy")
    )
    wrong = numbered.filter(pl.col("_copy") != pl.col("occurrence"))
    for row in wrong.head(_NAMED).iter_rows(named=True):
        found.error(
            "identity",
            f"row {row['_row']} ({row['symbol']}) is copy {row['_copy']} of its content and says"
            f" occurrence {row['occurrence']}: a duplicate, or a copy that is missing",
        )
    if wrong.height > _NAMED:
        found.error("identity", f"and {wrong.height - _NAMED} more rows like these")
    feed = pl.concat_str("vendor", pl.lit("/"), "feed")
    kinds = {k: [f for f, n in certificate.feeds.items() if n.identity == k] for k in _ONCE}
    repeated = rows.filter(
        (
            (feed.is_in(kinds["id"]) & (pl.col("event_id") != ""))
            | (feed.is_in(kinds["content"]) & (pl.col("ts_source") != "receive"))
        )
        & (pl.col("occurrence") > 0)
    )
    if repeated.height:
        found.error(
            "identity",
            f"row {repeated['_row'][0]} and {repeated.height - 1} more repeat the id and the"
            " content of another row",
        )


def _check_counts(rows: pl.DataFrame, certificate: Certificate, found: Verification) -> None:
    by_feed = {
        f"{vendor}/{feed}": n
        for vendor, feed, n in rows.group_by("vendor", "feed").len().iter_rows()
    }
    facts: list[tuple[str, object, object]] = [
        ("rows", rows.height, certificate.rows),
        ("symbols", rows["symbol"].n_unique(), certificate.symbols),
        ("first event", rows["ts_event"].min(), certificate.first_event),
        ("last event", rows["ts_event"].max(), certificate.last_event),
        (
            "rows by feed",
            by_feed,
            {feed: n.rows for feed, n in certificate.feeds.items() if n.rows},
        ),
    ]
    for name, fact, certified in facts:
        if fact != certified:
            found.error("counts", f"{name}: {fact} in the table, {certified} in the certificate")


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
    path: Path, rows: pl.DataFrame, certificate: Certificate, found: Verification
) -> None:
    """pandas' metadata and the time index: damage there changes answers and not rows."""
    import pandas as pd  # noqa: PLC0415
    import tables  # noqa: PLC0415

    event_type = certificate.event_type
    try:
        head = pd.read_hdf(path, start=0, stop=5)
        assert isinstance(head, pd.DataFrame)
        wanted = [c.name for c in COLUMNS[event_type]]
        if list(head.columns) != wanted or len(head) != min(5, rows.height):
            found.error("readers", f"pandas sees {len(head)} rows of {list(head.columns)}")
        if rows.height:
            with tables.open_file(path) as file:
                check_index(file.get_node(f"/{event_type}/table"), rows["ts_event"], found)
    # As in `verify`: damage shows as any exception of two libraries.
    except Exception as error:
        found.error("readers", f"pandas or PyTables cannot read it: {_one_line(error)}")


def check_index(table: Any, stamps: pl.Series, found: Verification) -> None:
    if not table.cols.ts_event.is_indexed:
        found.error("readers", "there is no index on ts_event: reading a time range is slow")
        return
    times = stamps.to_numpy()
    if np.any(times[1:] < times[:-1]):
        return  # out of order, which is said already
    probes = np.unique(times[np.linspace(0, len(times) - 1, _INDEX_PROBES).astype(np.int64)])
    for first, end in zip(probes, [*probes[1:], times[-1] + 1], strict=True):
        got = table.get_where_list(
            "(ts_event >= first) & (ts_event < end)",
            condvars={"first": first, "end": end},
            sort=True,
        )
        low, high = np.searchsorted(times, [first, end])
        if not np.array_equal(got, np.arange(low, high)):
            found.error("readers", "the index on ts_event gives other rows than the table holds")
            return


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
    late = sorted(there.keys() - {s.name for s in certificate.set_aside})
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


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
