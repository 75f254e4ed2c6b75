"""The rule against its plain twin, and the cases that a reader would ask about."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docs.make_identity import PAGE, page
from edc_pipeline.consolidation.certificate import FeedCounts
from edc_pipeline.consolidation.content_hash import content_hash, digest_of
from edc_pipeline.consolidation.identity import Rules, counts_of, identity_rules
from edc_pipeline.consolidation.identity import settle as settle_rows
from edc_pipeline.consolidation.layout import widths_of
from edc_pipeline.consolidation.records import Records
from edc_pipeline.consolidation.rows import TEXTS, Rows, assemble, part_of
from edc_pipeline.events import COLUMNS, EVENT_TYPES, EventType
from edc_pipeline.spool.tables import SCHEMAS, rows_to_table
from edc_pipeline.vendors.contract import IdentityRule
from edc_pipeline_tests.consolidation.reference import Answer, consolidated, number
from edc_pipeline_tests.consolidation.spools import OPEN, Row, event, frames
from edc_pipeline_tests.dice import examples

BY_ID: Rules = {
    **{("byid", "tape", t): IdentityRule("id", "id") for t in EVENT_TYPES},
    **{("polled", "tape", t): IdentityRule("content", "all") for t in EVENT_TYPES},
}
NAN = float("nan")


class Settled(NamedTuple):
    rows: pl.DataFrame
    feeds: dict[str, FeedCounts]
    content_hash: str


def frame_of(rows: list[Row], event_type: EventType = "trade") -> pl.DataFrame:
    table = (
        rows_to_table(
            event_type,
            [r.event for r in rows],
            [r.connection for r in rows],
            [r.frame for r in rows],
        )
        if rows
        else SCHEMAS[event_type].empty_table()
    )
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame


def in_memory(frame: pl.DataFrame, event_type: EventType) -> Rows:
    table = frame.to_arrow().cast(SCHEMAS[event_type])
    # In three parts, whose words have other codes.
    size = max(1, -(-len(table) // 3))
    return assemble(
        [part_of(table.slice(at, size)) for at in range(0, len(table), size)], event_type
    )


def settle(frame: pl.DataFrame, event_type: EventType, rules: Rules) -> Settled:
    rows = in_memory(frame, event_type)
    found = settle_rows(rows, rules)
    kept = rows.take(found.order)
    kept.numbers["occurrence"] = found.occurrence
    table = kept.to_arrow([c.name for c in COLUMNS[event_type]])
    shown = pl.from_arrow(table)
    assert isinstance(shown, pl.DataFrame)
    longest = {n: max(map(len, rows.texts[n].words), default=0) for n in TEXTS[event_type]}
    records = Records(event_type, widths_of(longest))
    chunks = [*records.add(rows, found.order, found.occurrence), *records.rest()]
    digests = map(digest_of, chunks)
    return Settled(
        shown.with_columns(pl.col(pl.Categorical).cast(pl.String)),
        counts_of(found.feeds, {}, event_type, rules),
        content_hash(event_type, "time", records.dtype, len(found.order), digests),
    )


def plain(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return [{k: number(v) for k, v in row.items()} for row in frame.iter_rows(named=True)]


# Few values, so that everything collides with everything.
@st.composite
def delivered(draw: st.DrawFn, event_type: EventType) -> list[Row]:
    floats = st.sampled_from([0.0, -0.0, NAN, 1.5])
    numbers: dict[EventType, dict[str, st.SearchStrategy[Any]]] = {
        "trade": {"price": floats, "size": floats},
        "quote": {"bid_price": floats, "ask_size": floats},
        "ref_px": {"price": floats, "kind": st.sampled_from(["last", "mid"])},
    }
    few = st.fixed_dictionaries(
        {
            "ts_event": st.sampled_from([OPEN, OPEN + 1]),
            "ts_source": st.sampled_from(["vendor", "receive"]),
            "vendor": st.sampled_from(["acme", "byid", "polled"]),
            "event_id": st.sampled_from(["", "7"]),
            "seq": st.sampled_from([-1, 3]),
            "origin": st.sampled_from(["live", "snapshot"]),
            "status": st.sampled_from(["LIVE", "STALE"]),
            "created_at": st.integers(OPEN, OPEN + 3),
            **numbers[event_type],
        }
    )
    rows: list[Row] = []
    contents = draw(st.lists(st.lists(few, min_size=1, max_size=4), max_size=8))
    for at, fields in enumerate(contents):
        connections = draw(st.sets(st.sampled_from("abc"), min_size=1))
        for connection in sorted(connections):
            again = [event(event_type, **f) for f in fields]
            rows += frames([again], connection, draw(st.integers(at, at + 2)))
    twice = draw(st.lists(st.sampled_from(rows), max_size=4)) if rows else []
    return draw(st.permutations([*rows, *twice]))


@pytest.mark.parametrize("event_type", EVENT_TYPES)
@given(data=st.data(), seed=st.integers())
@settings(max_examples=examples(60), deadline=None)
def test_agrees_with_the_plain_rule_in_any_split_and_order(
    event_type: EventType, data: st.DataObject, seed: int
) -> None:
    rows = data.draw(delivered(event_type))
    frame = frame_of(rows, event_type)
    settled = settle(frame, event_type, BY_ID)
    expected: Answer = consolidated(
        list(frame.iter_rows(named=True)),
        event_type,
        {("byid", "tape"): True},
        {("polled", "tape")},
    )
    assert plain(settled.rows) == [{k: number(v) for k, v in row.items()} for row in expected.rows]
    feeds = settled.feeds.values()
    assert sum(f.duplicates.redelivered for f in feeds) == expected.redelivered
    assert sum(f.duplicates.other_connection for f in feeds) == expected.other_connection
    assert sum(f.duplicates.same_id for f in feeds) == expected.same_id
    assert all(f.rows_in == f.rows + f.duplicates.total for f in feeds)

    shuffled = rows.copy()
    random.Random(seed).shuffle(shuffled)
    again = settle(frame_of(shuffled, event_type), event_type, BY_ID)
    assert again.content_hash == settled.content_hash


@given(rows=delivered("trade"), names=st.permutations("abc"))
@settings(max_examples=examples(40), deadline=None)
def test_the_names_of_connections_never_reach_the_file(rows: list[Row], names: list[str]) -> None:
    renamed = [
        Row(r.event, dict(zip("abc", names, strict=True))[r.connection], r.frame) for r in rows
    ]
    assert settle(frame_of(renamed), "trade", BY_ID).rows.equals(
        settle(frame_of(rows), "trade", BY_ID).rows
    )


@given(rows=delivered("trade"))
@settings(max_examples=examples(40), deadline=None)
def test_no_two_rows_are_equal_without_created_at(rows: list[Row]) -> None:
    kept = settle(frame_of(rows), "trade", BY_ID).rows.drop("created_at", "origin", "status")
    assert kept.n_unique() == kept.height if kept.height else True


def kept(rows: list[Row]) -> pl.DataFrame:
    return settle(frame_of(rows), "trade", BY_ID).rows


def test_identical_prints_in_one_frame_are_genuine() -> None:
    rows = kept(frames([[event(), event(), event()]]))
    assert rows["occurrence"].to_list() == [0, 1, 2]


def test_identical_prints_in_two_frames_of_one_connection_are_genuine() -> None:
    assert kept(frames([[event()], [event(created_at=OPEN + 5_000_000)]])).height == 2


def test_the_most_that_any_connection_delivered_stays() -> None:
    rows = [
        *frames([[event(created_at=OPEN + 3)], [event(created_at=OPEN + 9)]], "a"),
        *frames([[event(created_at=OPEN + 2)] for _ in range(3)], "b"),
        *frames([[event(created_at=OPEN + 1)]], "c"),
    ]
    settled = settle(frame_of(rows), "trade", {})
    assert settled.rows["created_at"].to_list() == [OPEN + 1, OPEN + 2, OPEN + 2]
    assert settled.feeds["acme/tape"].duplicates.other_connection == 3


def test_a_recovered_row_is_the_same_row() -> None:
    rows = frames([[event(), event()]])
    settled = settle(frame_of([*rows, *rows]), "trade", {})
    assert settled.rows.height == 2
    assert settled.feeds["acme/tape"].duplicates.redelivered == 2


def test_an_id_makes_one_of_two_deliveries_on_one_connection() -> None:
    twice = frames([[event(vendor="byid", event_id="7")], [event(vendor="byid", event_id="7")]])
    settled = settle(frame_of(twice), "trade", BY_ID)
    assert settled.rows.height == 1
    assert settled.feeds["byid/tape"].duplicates.same_id == 1


def test_an_id_with_other_content_stays() -> None:
    rows = frames(
        [[event(vendor="byid", event_id="7")], [event(vendor="byid", event_id="7", price=2.0)]]
    )
    assert settle(frame_of(rows), "trade", BY_ID).rows.height == 2


def test_our_own_clock_is_no_content() -> None:
    """A second connection receives the same a millisecond later, and stamps it so."""
    rows = [
        *frames([[event(ts_source="receive", ts_event=OPEN)]], "a"),
        *frames([[event(ts_source="receive", ts_event=OPEN + 1_000_000)]], "b"),
    ]
    assert kept(rows)["ts_event"].to_list() == [OPEN]


def test_arrival_decides_between_events_of_one_stamp() -> None:
    rows = frames([[event(price=9.0)], [event(price=5.0)]])
    assert kept(rows)["price"].to_list() == [9.0, 5.0]


def test_what_is_stated_again_on_one_connection_is_the_same_statement() -> None:
    stated = [[event(vendor="polled")], [event(vendor="polled")], [event(vendor="polled", price=2)]]
    settled = settle(frame_of(frames(stated)), "trade", BY_ID)
    assert settled.rows.height == 2
    assert settled.feeds["polled/tape"].duplicates.same_id == 1
    assert settled.feeds["polled/tape"].near_duplicates == 0


def test_what_is_stated_without_a_time_is_counted() -> None:
    stated = [[event(vendor="polled", ts_source="receive", ts_event=OPEN + n)] for n in range(2)]
    assert settle(frame_of(frames(stated)), "trade", BY_ID).rows.height == 2


def test_the_page_of_identities_is_that_of_the_vendors() -> None:
    """`python -m docs.make_identity` writes it."""
    assert PAGE.read_text(encoding="utf-8") == page()
    for (vendor, feed, event_type), rule in identity_rules().items():
        line = f"`{feed}` | {event_type} | `{rule.kind}` | {rule.columns} |"
        assert line in page(), vendor
