"""What a daily file says that another does not: rows added, removed, changed, and why.

Two rows are the same when they are equal in all that the vendor said and in `occurrence`; they are
changed when such rows differ in how they came to us (`created_at`, `origin`, `status`), or when
rows of one vendor's id differ in what was said. Both files are read in stretches of time, so that
two files of any size can be compared. What does not find its equal that way goes over the disk, and
so does a file in the order of symbols: what is found is the same for a file of any size. Only rows
of one id are held together, however many they are.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
import numpy as np
import polars as pl

from edc_pipeline.consolidation.certificate import Certificate, read_certificate
from edc_pipeline.consolidation.h5_read import StoredTable
from edc_pipeline.consolidation.record_heaps import RecordHeaps
from edc_pipeline.consolidation.row_digests import ContentDigests, digests_of_columns
from edc_pipeline.consolidation.rows import Array
from edc_pipeline.consolidation.same_files import of_same_files
from edc_pipeline.consolidation.stretches import Stretch, Timed, stretch_rows, stretches
from edc_pipeline.consolidation.words import factorized
from edc_pipeline.events import COLUMNS, EventType

What = Literal["added", "removed", "changed"]
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
    what: What
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
        ExitStack() as open_files,
    ):
        dtype = _wide_enough(first.dtype, second.dtype)
        left = Timed(first, dtype, a.order, open_files)
        right = Timed(second, dtype, b.order, open_files)
        compared = _Compared(found, dtype, open_files)
        for stretch in stretches(left, right):
            compared.take(stretch)
        compared.finish()
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


class _Compared:
    """Stretch by stretch. What has no equal in its own may have one in another, if it bears our
    own receive time or an id: such rows are kept until the end, on the disk if they are many."""

    def __init__(self, found: Difference, dtype: np.dtype[Any], open_files: ExitStack) -> None:
        self._found = found
        self._digests = ContentDigests(found.event_type, dtype)
        self._heaps = -(-max(found.rows) // stretch_rows())
        self._left, self._right = (
            open_files.enter_context(RecordHeaps(dtype, stretch_rows())) for _ in "ab"
        )

    def take(self, stretch: Stretch) -> None:
        left, right, split = stretch
        if split is not None:
            left, right = self._but_split(left, right, split)
        if len(left) and len(right):
            left, right = self._but_equal(left, right)
        self._keep_or_say(left, "removed")
        self._keep_or_say(right, "added")

    def finish(self) -> None:
        if not (self._left.on_disk or self._right.on_disk):
            self._settle(self._left.everything(), self._right.everything())
            return
        for heap in range(self._heaps):
            self._settle(self._left.take(heap), self._right.take(heap))

    def _but_split(self, left: Array, right: Array, split: int) -> tuple[Array, Array]:
        ends = [int(np.searchsorted(r["ts_event"], split, side="right")) for r in (left, right)]
        self._keep(left[: ends[0]], self._left)
        self._keep(right[: ends[1]], self._right)
        return left[ends[0] :], right[ends[1] :]

    def _but_equal(self, left: Array, right: Array) -> tuple[Array, Array]:
        both = self._keys(left).join(
            self._keys(right), on=["a", "b", "occurrence"], how="inner", suffix="_b"
        )
        at_left, at_right = both["at"].to_numpy(), both["at_b"].to_numpy()
        _changed(left, right, at_left, at_right, _HOW_IT_CAME, self._found)
        return np.delete(left, at_left), np.delete(right, at_right)

    def _keys(self, block: Array) -> pl.DataFrame:
        a, b = self._digests.of(block)
        occurrence = np.ascontiguousarray(block["occurrence"])
        return pl.DataFrame({"a": a, "b": b, "occurrence": occurrence, "at": np.arange(len(block))})

    def _keep_or_say(self, rows: Array, what: What) -> None:
        elsewhere = (rows["ts_source"] == b"receive") | (rows["event_id"] != b"")
        if elsewhere.any():
            self._keep(rows[elsewhere], self._left if what == "removed" else self._right)
            rows = rows[~elsewhere]
        _alone(rows, what, self._found)

    def _keep(self, rows: Array, heaps: RecordHeaps) -> None:
        """Rows of one id on one heap, and those of one content: these are of one id as well."""
        if not len(rows):
            return
        number = digests_of_columns(rows, _ID)[0]
        nameless = rows["event_id"] == b""
        if nameless.any():
            copies = rows["occurrence"][nameless].astype(np.uint64)
            number[nameless] = self._digests.of(rows[nameless])[0] + copies
        heaps.deal(rows, (number % np.uint64(self._heaps)).astype(np.int32))

    def _settle(self, left: Array, right: Array) -> None:
        if len(left) and len(right):
            left, right = self._but_equal(left, right)
            at_left, at_right = _of_one_id(left, right)
            names = tuple(c.name for c in COLUMNS[self._found.event_type])
            _changed(left, right, at_left, at_right, names, self._found)
            left, right = np.delete(left, at_left), np.delete(right, at_right)
        _alone(left, "removed", self._found)
        _alone(right, "added", self._found)


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


def _of_one_id(left: Array, right: Array) -> tuple[Array, Array]:
    """Places of rows that bear one id: the same event, said otherwise."""
    both = _ids(left).join(_ids(right), on=["a", "b", "number"], how="inner", suffix="_b")
    both = both.sort("at_b")
    return both["at"].to_numpy(), both["at_b"].to_numpy()


def _ids(block: Array) -> pl.DataFrame:
    at = np.flatnonzero(block["event_id"] != b"")
    a, b = digests_of_columns(block[at], _ID)
    number = pl.int_range(pl.len()).over("a", "b").alias("number")
    return pl.DataFrame({"a": a, "b": b, "at": at}).with_columns(number)


def _alone(rows: Array, what: What, found: Difference) -> None:
    if what == "added":
        found.added += len(rows)
        origins, codes = factorized(rows["origin"])
        for origin, n in zip(origins, np.bincount(codes).tolist(), strict=True):
            name = origin.decode()
            found.added_by_origin[name] = found.added_by_origin.get(name, 0) + n
    else:
        found.removed += len(rows)
    _by_symbol(rows, what, found)
    for row in rows[:_EXAMPLES]:
        _example(row, what, found, [])


def _by_symbol(rows: Array, what: What, found: Difference) -> None:
    names, codes = factorized(rows["symbol"])
    for name, n in zip(names, np.bincount(codes, minlength=len(names)).tolist(), strict=True):
        of = found.by_symbol.setdefault(name.decode("utf-8", "replace"), OfSymbol())
        setattr(of, what, getattr(of, what) + n)


def _example(row: Any, what: What, found: Difference, columns: list[str]) -> None:
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
