"""What a daily file says that another does not: rows added, removed, changed, and why.

Two rows are the same when they are equal in all that the vendor said and in `occurrence`; they are
changed when such rows differ in how they came to us (`created_at`, `origin`, `status`), or when
rows of one vendor's id differ in what was said. Both files are read in stretches of time, so that
two files of any size can be compared; one in the order of symbols goes over the disk for that.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import polars as pl

from edc_pipeline.consolidation.certificate import Certificate, read_certificate
from edc_pipeline.consolidation.h5_read import StoredTable
from edc_pipeline.consolidation.layout import CHUNK_ROWS
from edc_pipeline.consolidation.row_digests import ContentDigests
from edc_pipeline.consolidation.rows import Array
from edc_pipeline.consolidation.same_files import of_same_files
from edc_pipeline.consolidation.words import factorized
from edc_pipeline.events import COLUMNS, EventType

_STRETCH_CHUNKS: Final = 16
_ONE_OF: Final = 64  # stamps looked at, to cut a day into spans of as many rows
_EXAMPLES: Final = 10
_HOW_IT_CAME: Final = ("ts_event", "created_at", "origin", "status")
_ID: Final = ("vendor", "feed", "symbol", "venue", "event_id")


class NotComparable(ValueError):
    """The two files hold different things; the message says which."""


class OfSymbol(msgspec.Struct, kw_only=True):
    added: int = 0
    removed: int = 0
    changed: int = 0


class Example(msgspec.Struct, kw_only=True):
    what: str  # added, removed, changed
    symbol: str
    row: int  # in the second file; of a removed row, in the first
    columns: list[str] = []  # of a changed row
    ts_event: int


class Difference(msgspec.Struct, kw_only=True):
    event_type: EventType
    day: str
    rows: tuple[int, int]
    added: int = 0
    removed: int = 0
    changed: int = 0
    by_symbol: dict[str, OfSymbol] = {}
    added_by_origin: dict[str, int] = {}
    changed_columns: dict[str, int] = {}
    causes: list[str] = []
    examples: list[Example] = []

    @property
    def same(self) -> bool:
        return not (self.added or self.removed or self.changed)


def difference(former: Path, new: Path) -> Difference:
    """`NoCertificate` for what is no daily file, `NotComparable` for files of other things."""
    return of_same_files(lambda: _difference(former, new), former, new)


def _difference(former: Path, new: Path) -> Difference:
    a, b = read_certificate(former), read_certificate(new)
    if (a.event_type, a.day) != (b.event_type, b.day):
        raise NotComparable(
            f"{former} holds {a.event_type} of {a.day}, {new} {b.event_type} of {b.day}"
        )
    found = Difference(event_type=a.event_type, day=b.day, rows=(a.rows, b.rows))
    found.causes = causes(a, b)
    if a.content_hash == b.content_hash:
        return found
    with (
        StoredTable(former, a.event_type) as first,
        StoredTable(new, b.event_type) as second,
        tempfile.TemporaryDirectory(prefix="edc-diff-") as scratch,
    ):
        dtype = _wide_enough(first.dtype, second.dtype)
        left, right = (
            _Rows(table, dtype, None if of.order == "time" else Path(scratch) / name)
            for table, of, name in ((first, a, "former"), (second, b, "new"))
        )
        for before, after in _stretches(left, right):
            _compare(before, after, found)
    found.by_symbol = dict(sorted(found.by_symbol.items(), key=lambda s: (-_total(s[1]), s[0])))
    return found


def causes(a: Certificate, b: Certificate) -> list[str]:
    """What was otherwise when the second file was made, in words."""
    told = []
    before, after = {i.name: i for i in a.inputs}, {i.name: i for i in b.inputs}
    landed = [after[n].rows for n in after.keys() - before.keys()]
    gone = [before[n].rows for n in before.keys() - after.keys()]
    changed = [n for n in before.keys() & after.keys() if before[n].sha256 != after[n].sha256]
    if landed:
        told.append(f"{len(landed)} micro-batches more, of {sum(landed):,} rows")
    if gone:
        told.append(f"{len(gone)} micro-batches fewer, of {sum(gone):,} rows")
    if changed:
        told.append(f"{len(changed)} micro-batches of other content: {', '.join(changed[:3])}")
    aside = {s.name: s.reason for s in b.set_aside}
    for name in sorted(aside.keys() - {s.name for s in a.set_aside})[:3]:
        told.append(f"set aside: {name} ({aside[name]})")
    for feed in sorted(a.feeds.keys() & b.feeds.keys()):
        was, now = a.feeds[feed], b.feeds[feed]
        if was.identity != now.identity:
            told.append(f"{feed}: identity by {was.identity} before, by {now.identity} now")
    if a.order != b.order:
        told.append(f"in the order of {a.order} before, of {b.order} now")
    if a.code_version != b.code_version:
        told.append(f"made by version {a.code_version} and by {b.code_version}")
    return told


def _wide_enough(a: np.dtype[Any], b: np.dtype[Any]) -> np.dtype[Any]:
    """Records that hold the texts of both files, so that equal rows are equal bytes."""
    return np.dtype([(n, max(a[n], b[n], key=lambda d: d.itemsize)) for n in a.names or ()])


def _stretches(left: _Rows, right: _Rows) -> Iterator[tuple[Array, Array]]:
    """The rows of both of the same stretch of time, with the number of the row as `index`."""
    while (until := left.next_edge()) is not None:
        yield left.before(until), right.before(until)
    yield left.before(None), right.before(None)


class _Rows:
    """A table given out in order of time, up to an instant."""

    def __init__(self, table: StoredTable, dtype: np.dtype[Any], scratch: Path | None) -> None:
        blocks = table.each(lambda _chunk, block: block.astype(dtype))
        self._blocks = blocks if scratch is None else _in_time(table, blocks, dtype, scratch)
        self._held: Array = np.empty(0, dtype)

    def _more(self) -> bool:
        block = next(self._blocks, None)
        if block is None:
            return False
        self._held = np.concatenate([self._held, block])
        return True

    def next_edge(self) -> int | None:
        """The stamp of the last row of the next stretch, which is not in it."""
        for _ in range(_STRETCH_CHUNKS):
            if not self._more():
                return None
        return int(self._held["ts_event"][-1])

    def before(self, until: int | None) -> Array:
        while (until is None or not len(self._held) or self._held["ts_event"][-1] < until) and (
            self._more()
        ):
            pass
        cut = len(self._held)
        if until is not None:
            cut = int(np.searchsorted(self._held["ts_event"], until))
        given, self._held = self._held[:cut], self._held[cut:]
        return given


def _in_time(
    table: StoredTable, blocks: Iterator[Array], dtype: np.dtype[Any], scratch: Path
) -> Iterator[Array]:
    """Rows in another order, dealt out over spans of time on the disk, then span by span."""
    some = list(table.each(lambda _chunk, block: block["ts_event"][::_ONE_OF].copy()))
    sample = np.sort(np.concatenate([*some, np.empty(0, np.int64)]))
    spans = -(-table.rows // (_STRETCH_CHUNKS * CHUNK_ROWS))
    edges = sample[np.linspace(0, len(sample), spans, endpoint=False).astype(int)[1:]]
    scratch.mkdir()
    for block in blocks:
        span = np.searchsorted(edges, block["ts_event"], side="right")
        for number in np.unique(span).tolist():
            with (scratch / str(number)).open("ab") as file:
                file.write(block[span == number].tobytes())
    for number in range(spans):
        path = scratch / str(number)
        if path.exists():
            rows = np.fromfile(path, dtype)
            path.unlink()
            rows = rows[np.argsort(rows["ts_event"], kind="stable")]
            for start in range(0, len(rows), CHUNK_ROWS):
                yield rows[start : start + CHUNK_ROWS]


def _compare(left: Array, right: Array, found: Difference) -> None:
    a, b = _keys(left, found.event_type), _keys(right, found.event_type)
    both = a.join(b, on=["a", "b", "occurrence"], how="inner", suffix="_b")
    matched_left, matched_right = both["at"].to_numpy(), both["at_b"].to_numpy()
    _changed(left, right, matched_left, matched_right, _HOW_IT_CAME, found)
    alone_left = np.setdiff1d(np.arange(len(left)), matched_left)
    alone_right = np.setdiff1d(np.arange(len(right)), matched_right)
    pairs = _of_one_id(left[alone_left], right[alone_right])
    if len(pairs):
        _changed(
            left,
            right,
            alone_left[pairs[:, 0]],
            alone_right[pairs[:, 1]],
            tuple(c.name for c in COLUMNS[found.event_type]),
            found,
        )
        alone_left = np.delete(alone_left, pairs[:, 0])
        alone_right = np.delete(alone_right, pairs[:, 1])
    _alone(left[alone_left], "removed", found)
    _alone(right[alone_right], "added", found)


def _keys(block: Array, event_type: EventType) -> pl.DataFrame:
    if not len(block):
        kinds = {"a": pl.UInt64, "b": pl.UInt64, "occurrence": pl.Int32, "at": pl.Int64}
        return pl.DataFrame(schema=kinds)
    a, b = ContentDigests(event_type, block.dtype).of(block)
    occurrence = np.ascontiguousarray(block["occurrence"])
    return pl.DataFrame({"a": a, "b": b, "occurrence": occurrence, "at": np.arange(len(block))})


def _changed(
    left: Array,
    right: Array,
    at_left: Array,
    at_right: Array,
    names: tuple[str, ...],
    found: Difference,
) -> None:
    differs = np.zeros(len(at_left), bool)
    per_column = {}
    for name in names:
        one, other = left[name][at_left], right[name][at_right]
        other_value = one != other
        if one.dtype.kind == "f":
            other_value &= ~(np.isnan(one) & np.isnan(other))
        if other_value.any():
            per_column[name] = other_value
            differs |= other_value
    for name, which in per_column.items():
        found.changed_columns[name] = found.changed_columns.get(name, 0) + int(which.sum())
    rows = right[at_right[differs]]
    found.changed += len(rows)
    _by_symbol(rows, "changed", found)
    for i, row in zip(np.flatnonzero(differs)[:_EXAMPLES].tolist(), rows, strict=False):
        _example(row, "changed", found, [n for n, which in per_column.items() if which[i]])


def _of_one_id(left: Array, right: Array) -> Array:
    """Pairs of places of rows that bear one id: the same event, said otherwise."""
    by_id: dict[tuple[Any, ...], list[int]] = {}
    for at, key in zip(*_ids(left), strict=True):
        by_id.setdefault(key, []).append(at)
    pairs = [
        (by_id[key].pop(0), at) for at, key in zip(*_ids(right), strict=True) if by_id.get(key)
    ]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _ids(block: Array) -> tuple[list[int], list[tuple[Any, ...]]]:
    at = np.flatnonzero(block["event_id"] != b"")
    return at.tolist(), list(zip(*(block[name][at].tolist() for name in _ID), strict=True))


def _alone(rows: Array, what: str, found: Difference) -> None:
    if what == "added":
        found.added += len(rows)
        origins = Counter(origin.decode() for origin in rows["origin"].tolist())
        for origin, n in origins.items():
            found.added_by_origin[origin] = found.added_by_origin.get(origin, 0) + n
    else:
        found.removed += len(rows)
    _by_symbol(rows, what, found)
    for row in rows[:_EXAMPLES]:
        _example(row, what, found, [])


def _by_symbol(rows: Array, what: str, found: Difference) -> None:
    names, codes = factorized(rows["symbol"])
    for name, n in zip(names, np.bincount(codes, minlength=len(names)).tolist(), strict=True):
        of = found.by_symbol.setdefault(name.decode("utf-8", "replace"), OfSymbol())
        setattr(of, what, getattr(of, what) + n)


def _example(row: Any, what: str, found: Difference, columns: list[str]) -> None:
    if sum(e.what == what for e in found.examples) < _EXAMPLES:
        found.examples.append(
            Example(
                what=what,
                symbol=row["symbol"].decode("utf-8", "replace"),
                row=int(row["index"]),
                columns=columns,
                ts_event=int(row["ts_event"]),
            )
        )


def _total(of: OfSymbol) -> int:
    return of.added + of.removed + of.changed
