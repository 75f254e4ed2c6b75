"""What is a duplicate, and in which order rows lie. Pure: polars frames in, a polars frame out.

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
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from edc_pipeline.consolidation.certificate import Duplicates, FeedCounts
from edc_pipeline.events import COLUMNS, EventType, content_columns
from edc_pipeline.vendors.contract import Identity, IdentityRule

Rules = Mapping[tuple[str, str, EventType], IdentityRule]  # (vendor, feed, event type) → rule

# ts_event, or null where it is our own clock and so no part of what the vendor said.
_STAMP: Final = "_stamp"
_ROW: Final = "_row"  # where the row stands among all rows in
_CONTENT: Final = "_content"  # equal exactly for rows of equal content
_BY_ID: Final = "_by_id"
_COPY: Final = "_copy"

# Who stays, of rows that are one event. Only the last is invisible in the daily file.
_FIRST_RECEIVED: Final = ("created_at", "frame", "ts_event", "origin", "status", "connection")


@dataclass(frozen=True)
class Settled:
    """The rows of a daily file, in its order, and what became of the others."""

    rows: pl.DataFrame
    feeds: dict[str, FeedCounts]


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


def settle(rows: pl.DataFrame, event_type: EventType, rules: Rules) -> Settled:
    """Leave out duplicates, number the copies that stay, and order the rows."""
    rows = _canonical(rows, event_type)
    alone, suspects = _suspects(rows, event_type, rules)
    once = _firsts(suspects, [_CONTENT, "connection", "frame", "occurrence"], _FIRST_RECEIVED)
    with_id, without = once.filter(_BY_ID), once.filter(~pl.col(_BY_ID))
    by_id = _firsts(with_id, [_CONTENT], _FIRST_RECEIVED)
    counted = _counted(without)
    copies = _numbered(pl.concat([by_id, counted]))
    kept = pl.concat(
        [
            rows[alone].with_columns(occurrence=pl.lit(0, pl.Int32)),
            rows[copies[_ROW]].with_columns(occurrence=copies[_COPY].cast(pl.Int32)),
        ]
    )
    feed = rows.select("vendor", "feed")
    stages = {
        "rows_in": feed,
        "rows": kept,
        "suspects": feed[suspects[_ROW]],
        "once": feed[once[_ROW]],
        "with_id": feed[with_id[_ROW]],
        "by_id": feed[by_id[_ROW]],
        "counted": feed[counted[_ROW]],
    }
    feeds = _tally(stages, event_type, rules)
    return Settled(_ordered(kept, event_type).select(c.name for c in COLUMNS[event_type]), feeds)


def _canonical(rows: pl.DataFrame, event_type: EventType) -> pl.DataFrame:
    """−0.0 + 0.0 is 0.0; one bit pattern for NaN."""
    floats = [c.name for c in COLUMNS[event_type] if c.stored == "float64"]
    return rows.with_columns(
        pl.when(pl.col(f).is_nan()).then(float("nan")).otherwise(pl.col(f) + 0.0).alias(f)
        for f in floats
    )


def _suspects(
    rows: pl.DataFrame, event_type: EventType, rules: Rules
) -> tuple[pl.Series, pl.DataFrame]:
    """(positions of rows whose content nobody shares, what decides between the others).

    Rows of equal content share their stamp, so the stamp alone clears most rows of a day stamped
    in nanoseconds; the hash clears all but real repeats. It only clears: equality is decided
    column by column. What is left is a frame of nothing but integers, since sorting that is
    several times faster than sorting the rows.
    """
    key = [_STAMP, *content_columns(event_type)[1:]]
    stamp = pl.when(pl.col("ts_source") != "receive").then(pl.col("ts_event")).alias(_STAMP)
    rows = rows.with_columns(stamp).with_row_index(_ROW)
    shared = rows.select(pl.col(_STAMP).is_null() | pl.col(_STAMP).is_duplicated()).to_series()
    near = rows.filter(shared)
    twins = near.select(pl.struct(key).hash(seed=0).is_duplicated()).to_series()
    suspects = near.filter(twins)
    alone = pl.concat([rows.filter(~shared)[_ROW], near.filter(~twins)[_ROW]])
    return alone, suspects.select(
        _ROW,
        # Equal content is known from here on by the first row that has it.
        pl.col(_ROW).first().over(key).alias(_CONTENT),
        *("ts_event", "created_at", "frame", "occurrence"),
        *(_alphabetical(suspects[name]) for name in ("origin", "status", "connection")),
        _once_by_content(event_type, rules).alias(_BY_ID),
    )


def _alphabetical(text: pl.Series) -> pl.Series:
    """Few distinct texts as integers that sort as the texts do."""
    return text.cast(pl.Enum(text.unique().sort())).to_physical()


def _under_id_rule(event_type: EventType, rules: Rules) -> pl.Expr:
    return _under("id", event_type, rules) & (pl.col("event_id") != "")


def _once_by_content(event_type: EventType, rules: Rules) -> pl.Expr:
    """Rows of which equal content is enough to be one event."""
    stated = _under("content", event_type, rules) & (pl.col("ts_source") != "receive")
    return _under_id_rule(event_type, rules) | stated


def _under(kind: Identity, event_type: EventType, rules: Rules) -> pl.Expr:
    feeds = [
        (pl.col("vendor") == vendor) & (pl.col("feed") == feed)
        for (vendor, feed, of_type), rule in rules.items()
        if of_type == event_type and rule.kind == kind
    ]
    return pl.any_horizontal(*feeds, pl.lit(value=False))


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


def _ordered(rows: pl.DataFrame, event_type: EventType) -> pl.DataFrame:
    """By (ts_event, seq, created_at, frame), then by all that is left: a total order.

    Sorting by some twenty columns is slow and few rows tie in the first four, so only those are
    sorted by all.
    """
    first = ["ts_event", "seq", "created_at", "frame"]
    rest = [c for c in content_columns(event_type) if c not in first]
    rows = rows.sort(first)
    follows = ~_starts(first)
    tied = rows.select((follows | follows.shift(-1, fill_value=False)).arg_true()).to_series()
    if tied.is_empty():
        return rows
    among = rows[tied].with_columns(tied.alias("_at")).sort([*first, *rest, "occurrence"])
    # Rows that tie lie side by side, so sorting them among themselves keeps them in their places.
    order = pl.int_range(rows.height, eager=True, dtype=pl.Int64).scatter(
        tied, among["_at"].cast(pl.Int64)
    )
    return rows[order]


def _tally(
    stages: Mapping[str, pl.DataFrame], event_type: EventType, rules: Rules
) -> dict[str, FeedCounts]:
    counts = {name: _by_feed(frame) for name, frame in stages.items()}
    near = _near_duplicates(stages["rows"].filter(_under_id_rule(event_type, rules)))
    feeds = {}
    for vendor, feed in sorted(counts["rows_in"]):
        n = {name: by_feed.get((vendor, feed), 0) for name, by_feed in counts.items()}
        rule = rules.get((vendor, feed, event_type))
        feeds[f"{vendor}/{feed}"] = FeedCounts(
            identity=rule.kind if rule else "counted",
            rows_in=n["rows_in"],
            rows=n["rows"],
            duplicates=Duplicates(
                redelivered=n["suspects"] - n["once"],
                other_connection=n["once"] - n["with_id"] - n["counted"],
                same_id=n["with_id"] - n["by_id"],
            ),
            near_duplicates=near.get((vendor, feed), 0),
        )
    return feeds


def _by_feed(rows: pl.DataFrame) -> dict[tuple[str, str], int]:
    return {(v, f): n for v, f, n in rows.group_by("vendor", "feed").len().iter_rows()}


def _near_duplicates(rows: pl.DataFrame) -> dict[tuple[str, str], int]:
    """Rows that stay beyond the first of their id: the same id with other content."""
    same_id = rows.group_by("vendor", "feed", "symbol", "venue", "event_id").len("n")
    more = (
        same_id.filter(pl.col("n") > 1).group_by("vendor", "feed").agg(pl.col("n").sum(), pl.len())
    )
    return {(v, f): n - ids for v, f, n, ids in more.iter_rows()}
