"""What is a duplicate, and in which order rows lie. Pure: rows in, the order of those kept out.

Content is what the vendor said (`events.content_columns`), without `ts_event` where that is our
own receive time. Numbers are compared by value: −0.0 is 0.0, and NaN equals NaN.

1. Rows equal in connection, frame, content and occurrence are one physical row, stored twice.
2. Under an `id` rule, rows with an id and the same content are one event, whoever delivered it.
   Rows with the same id and other content all stay, and are counted as near duplicates.
   Under a `content` rule the same holds of all rows with the vendor's own time.
3. Else copies are counted: on each connection the copies of one content are numbered as they
   came; copy number j of two connections is the same event. So the copies that stay are the most
   that any single connection delivered.

Of rows that are the same event, the one received first stays; among those received in the same
nanosecond, the lower frame, and then the lesser of what a reader can see. The name of a
connection decides only between rows that a reader cannot tell apart, so no name and no split or
order of inputs can change a daily file.

Rows that share their content share their stamp, so a day may be settled slice by slice of time.
Rows without a vendor's time do not: `slices` brings those of one content together first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl

from edc_pipeline.consolidation.certificate import Duplicates, FeedCounts
from edc_pipeline.consolidation.rows import Array, Rows
from edc_pipeline.consolidation.sorting import order_by, stable_order, starts
from edc_pipeline.events import EventType, content_columns
from edc_pipeline.vendors.contract import Identity, IdentityRule

Rules = Mapping[tuple[str, str, EventType], IdentityRule]  # (vendor, feed, event type) → rule

_ROW: Final = "_row"  # where the row stands among all rows in
_CONTENT: Final = "_content"  # equal exactly for rows of equal content
_BY_ID: Final = "_by_id"
_COPY: Final = "_copy"

# Who stays, of rows that are one event. Only the last is invisible in the daily file.
_FIRST_RECEIVED: Final = ("created_at", "frame", "ts_event", "origin", "status", "connection")
_ORDER: Final = ("ts_event", "seq", "created_at", "frame")


@dataclass(slots=True)
class Tally:
    """What became of the rows of one product."""

    rows_in: int = 0
    rows: int = 0
    redelivered: int = 0
    other_connection: int = 0
    same_id: int = 0

    def add(self, other: Tally) -> None:
        self.rows_in += other.rows_in
        self.rows += other.rows
        self.redelivered += other.redelivered
        self.other_connection += other.other_connection
        self.same_id += other.same_id


@dataclass(frozen=True)
class Settled:
    """The places of the rows that stay, in the order of the daily file, and their numbers."""

    order: Array
    occurrence: Array  # int32, for each of `order`
    feeds: dict[tuple[str, str], Tally] = field(default_factory=dict)


def identity_rules() -> Rules:
    """The rules of every vendor known, for `settle`."""
    # Imported here: a caller who hands in rules of his own needs no vendor.
    import edc_pipeline.vendors as known  # noqa: PLC0415

    return {
        (vendor.name, feed.name, event_type): rule
        for vendor in getattr(known, "VENDORS", {}).values()
        for feed in vendor.feeds.values()
        for event_type, rule in feed.identity.items()
    }


def settle(rows: Rows, rules: Rules, *, settled_from: int | None = None) -> Settled:
    """Leave out duplicates, number the copies that stay, and order the rows.

    Rows from place `settled_from` on were settled before: they stay, with their numbers.
    """
    fresh = rows.count if settled_from is None else settled_from
    occurrence = rows.numbers["occurrence"].copy()
    occurrence[:fresh] = 0
    kept = np.ones(rows.count, bool)
    order = _by_arrival(rows)
    suspects = _suspects(rows, order, fresh)
    feeds = _Feeds(rows, fresh)
    feeds.count("rows_in", None)
    if suspects is not None:
        _resolve(suspects, rows, rules, kept, occurrence, feeds)
    feeds.count("rows", kept[:fresh])
    order = order[kept[order]]
    order = _break_ties(rows, order, occurrence)
    return Settled(order, occurrence[order], feeds.tallies)


def counts_of(
    tallies: Mapping[tuple[str, str], Tally],
    near: Mapping[tuple[str, str], int],
    event_type: EventType,
    rules: Rules,
) -> dict[str, FeedCounts]:
    feeds = {}
    for (vendor, feed), n in sorted(tallies.items()):
        rule = rules.get((vendor, feed, event_type))
        feeds[f"{vendor}/{feed}"] = FeedCounts(
            identity=rule.kind if rule else "counted",
            rows_in=n.rows_in,
            rows=n.rows,
            duplicates=Duplicates(
                redelivered=n.redelivered,
                other_connection=n.other_connection,
                same_id=n.same_id,
            ),
            near_duplicates=near.get((vendor, feed), 0),
        )
    return feeds


class _Feeds:
    """Counts rows by product."""

    def __init__(self, rows: Rows, fresh: int) -> None:
        vendors, feeds = rows.texts["vendor"], rows.texts["feed"]
        self.tallies: dict[tuple[str, str], Tally] = {}
        self._product: Array | None = None
        self._width = len(feeds.words)
        self._names = [(v.decode(), f.decode()) for v in vendors.words for f in feeds.words]
        if len(self._names) > 1:
            width = np.int32(self._width)
            self._product = (rows.codes("vendor") * width + rows.codes("feed"))[:fresh]
        self._fresh = fresh

    def count(self, what: str, at: Array | None, sign: int = 1) -> None:
        """Add the rows at these places (a mask or places; None: all)."""
        if self._product is None:
            n = self._fresh if at is None else int(at.sum()) if at.dtype == bool else len(at)
            numbers = {0: n}
        else:
            product = self._product if at is None else self._product[at]
            found = np.bincount(product, minlength=len(self._names))
            numbers = {i: int(n) for i, n in enumerate(found) if n}
        for i, n in numbers.items():
            if n:
                tally = self.tallies.setdefault(self._names[i], Tally())
                setattr(tally, what, getattr(tally, what) + sign * n)


def _by_arrival(rows: Rows) -> Array:
    """The places of the rows by `_ORDER`. Few share a stamp, so the rest of it is for those."""
    order = order_by([rows.numbers["ts_event"]])
    new = starts([rows.numbers["ts_event"][order]])
    if new.all():
        return order
    tied = ~new
    tied[:-1] |= ~new[1:]
    places = order[tied]
    group = np.cumsum(new[tied])
    order[tied] = places[order_by([group, *(rows.numbers[n][places] for n in _ORDER[1:])])]
    return order


def _suspects(rows: Rows, order: Array, fresh: int) -> tuple[Array, Array] | None:
    """(places of rows whose content another row has, a number for each such content).

    Rows of equal content share their stamp, so the stamp alone clears most rows of a day stamped
    in nanoseconds; a hash of the content clears all but real repeats. It only clears: equality is
    decided column by column.
    """
    if fresh < rows.count:
        order = order[order < fresh]
    stamp = rows.numbers["ts_event"][order]
    if len(rows.texts["ts_source"].words) > 1 or rows.texts["ts_source"].words == [b"receive"]:
        # Our own clock is no part of what the vendor said.
        own = rows.says("ts_source", b"receive")[order]
        if own.any():
            stamp = np.where(own, np.iinfo(np.int64).min, stamp)
            again = stable_order(stamp)
            order, stamp = order[again], stamp[again]
    new = starts([stamp])
    shared = ~new
    shared[:-1] |= ~new[1:]
    near = order[shared]
    if not len(near):
        return None
    group = np.cumsum(new[shared], dtype=np.int64)
    columns = _content_of(rows, near)
    digest = _mixed([group, *columns])
    by_digest = np.argsort(digest)
    same = ~starts([digest[by_digest]])
    if not same.any():
        return None
    twins = same.copy()
    twins[:-1] |= same[1:]
    places, first = by_digest[twins], ~same[twins]
    exact = starts([group[places], *(column[places] for column in columns)])
    if not np.array_equal(exact, first):  # two contents of one hash: once in 2^64 pairs
        places = places[np.lexsort([*(column[places] for column in columns), group[places]])]
        exact = starts([group[places], *(column[places] for column in columns)])
    return near[places], np.cumsum(exact)


def _content_of(rows: Rows, at: Array) -> list[Array]:
    """The columns of content but the stamp, as integers that are equal when the values are."""
    columns = []
    for name in content_columns(rows.event_type)[1:]:
        if name in rows.numbers:
            columns.append(rows.numbers[name][at].view(np.int64))
        elif (codes := rows.texts[name].codes) is not None:
            columns.append(codes[at])
    return columns


def _mixed(columns: Sequence[Array]) -> Array:
    """64 bits a row, scattered (the finisher of MurmurHash3 between any two columns)."""
    digest = np.zeros(len(columns[0]), np.uint64)
    for column in columns:
        digest ^= column.astype(np.int64, copy=False).view(np.uint64)
        digest *= np.uint64(0xFF51AFD7ED558CCD)
        digest ^= digest >> np.uint64(33)
        digest *= np.uint64(0xC4CEB9FE1A85EC53)
        digest ^= digest >> np.uint64(29)
    return digest


def _resolve(
    suspects: tuple[Array, Array],
    rows: Rows,
    rules: Rules,
    kept: Array,
    occurrence: Array,
    feeds: _Feeds,
) -> None:
    """Decide between rows of equal content: a frame of nothing but integers, since sorting that
    is several times faster than sorting the rows."""
    places, content = suspects
    frame = pl.DataFrame(
        {
            _ROW: places,
            _CONTENT: content,
            **{n: rows.numbers[n][places] for n in ("ts_event", "created_at", "frame")},
            "occurrence": rows.numbers["occurrence"][places],
            **{n: _alphabetical(rows, n, places) for n in ("origin", "status", "connection")},
            _BY_ID: _once_by_content(rows, rules, places),
        }
    )
    once = _firsts(frame, [_CONTENT, "connection", "frame", "occurrence"], _FIRST_RECEIVED)
    with_id, without = once.filter(_BY_ID), once.filter(~pl.col(_BY_ID))
    by_id = _firsts(with_id, [_CONTENT], _FIRST_RECEIVED)
    counted = _counted(without)
    copies = _numbered(pl.concat([by_id, counted]))
    kept[places] = False
    stays = copies[_ROW].to_numpy()
    kept[stays] = True
    occurrence[stays] = copies[_COPY].to_numpy()
    for what, more, fewer in (
        ("redelivered", frame, once),
        ("same_id", with_id, by_id),
        ("other_connection", without, counted),
    ):
        if more.height != fewer.height:
            feeds.count(what, more[_ROW].to_numpy())
            feeds.count(what, fewer[_ROW].to_numpy(), -1)


def _alphabetical(rows: Rows, name: str, at: Array) -> Array:
    """Words as integers that sort as the words do."""
    text = rows.texts[name]
    return np.zeros(len(at), np.int32) if text.codes is None else text.ranks()[text.codes[at]]


def under_id_rule(rows: Rows, rules: Rules, at: Array) -> Array:
    """Which of the rows at these places are known by their vendor's id."""
    found = _under("id", rows, rules, at)
    if found.any():
        ids = np.array([word != b"" for word in rows.texts["event_id"].words])
        found &= ids[rows.codes("event_id")[at]]
    return found


def _once_by_content(rows: Rows, rules: Rules, at: Array) -> Array:
    """Of which rows equal content is enough to be one event."""
    stated = _under("content", rows, rules, at)
    if stated.any():
        stated &= ~rows.says("ts_source", b"receive")[at]
    return under_id_rule(rows, rules, at) | stated


def _under(kind: Identity, rows: Rows, rules: Rules, at: Array) -> Array:
    products = {
        (vendor.encode(), feed.encode())
        for (vendor, feed, of_type), rule in rules.items()
        if of_type == rows.event_type and rule.kind == kind
    }
    vendors, feeds = rows.texts["vendor"].words, rows.texts["feed"].words
    known = np.array([[(v, f) in products for f in feeds] for v in vendors])
    if not known.any():
        return np.zeros(len(at), bool)
    found: Array = known[rows.codes("vendor")[at], rows.codes("feed")[at]]
    return found


def _starts(same: Sequence[str]) -> pl.Expr:
    """Whether a row differs from the one above it."""
    return pl.any_horizontal(pl.col(c) != pl.col(c).shift(1) for c in same).fill_null(value=True)


def _firsts(rows: pl.DataFrame, same: Sequence[str], order: Sequence[str]) -> pl.DataFrame:
    """Of rows that agree in `same`, the first by `order`."""
    rest = [c for c in order if c not in same]
    return rows.sort([*same, *rest]).filter(_starts(same))


def _numbers(same: Sequence[str]) -> pl.Expr:
    """0, 1, 2 … over the rows that agree in `same`, which lie side by side."""
    at = pl.int_range(pl.len(), dtype=pl.Int64)
    return (at - pl.when(_starts(same)).then(at).forward_fill()).alias(_COPY)


def _counted(rows: pl.DataFrame) -> pl.DataFrame:
    one = [_CONTENT, "connection"]
    as_they_came = rows.sort([*one, "created_at", "frame", "occurrence"])
    numbered = as_they_came.with_columns(_numbers(one))
    return _firsts(numbered, [_CONTENT, _COPY], _FIRST_RECEIVED).drop(_COPY)


def _numbered(rows: pl.DataFrame) -> pl.DataFrame:
    in_order = ("ts_event", *(c for c in _FIRST_RECEIVED if c != "ts_event"))
    return rows.sort([_CONTENT, *in_order]).with_columns(_numbers([_CONTENT]))


def _break_ties(rows: Rows, order: Array, occurrence: Array) -> Array:
    """Rows that tie in (ts_event, seq, created_at, frame) by all that is left: a total order."""
    follows = ~starts([rows.numbers[name][order] for name in _ORDER])
    if not follows.any():
        return order
    tied = follows.copy()
    tied[:-1] |= follows[1:]
    places = order[tied]
    group = np.cumsum(~follows[tied])
    rest = [c for c in content_columns(rows.event_type) if c not in _ORDER]
    keys = [
        rows.numbers[name][places] if name in rows.numbers else _alphabetical(rows, name, places)
        for name in rest
        if name in rows.numbers or rows.texts[name].codes is not None
    ]
    # lexsort takes the last key first; NaN sorts as the largest.
    among = np.lexsort([occurrence[places], *reversed(keys), group])
    order = order.copy()
    # Rows that tie lie side by side, so sorting them among themselves keeps them in their places.
    order[tied] = places[among]
    return order
