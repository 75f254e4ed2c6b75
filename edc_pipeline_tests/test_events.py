"""C1: the columns, what content is, and the gate that every event passes."""

from __future__ import annotations

import json
from collections import Counter
from operator import itemgetter

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edc_pipeline.coded import MAX_TEXT_LENGTH, Coded
from edc_pipeline.events import (
    COLUMNS,
    EVENT_TYPES,
    NAN,
    NS_MAX,
    AnyEvent,
    content_columns,
    content_key,
    first_fault,
    number_occurrences,
    occurrences,
)
from edc_pipeline_tests.market import NOON, events, quote, ref_px, trade

COMMON = [
    *("ts_event", "ts_source", "symbol", "asset_class", "vendor", "feed", "venue", "event_id"),
    *("seq", "occurrence", "origin", "status", "created_at"),
]


def test_the_columns_are_those_of_the_contract() -> None:
    names = {event_type: [c.name for c in COLUMNS[event_type]] for event_type in EVENT_TYPES}
    assert names == {
        "trade": [*COMMON, "price", "size", "side", "conditions"],
        "quote": [*COMMON, "bid_price", "bid_size", "ask_price", "ask_size"],
        "ref_px": [*COMMON, "price", "kind", "size"],
    }
    assert all(c.meaning for columns in COLUMNS.values() for c in columns)


def test_how_it_reached_us_is_no_content() -> None:
    for event_type in EVENT_TYPES:
        left_out = {c.name for c in COLUMNS[event_type]} - set(content_columns(event_type))
        assert left_out == {"created_at", "origin", "status", "occurrence"}


@given(events(), events())
def test_content_agrees_exactly_when_every_content_column_does(a: AnyEvent, b: AnyEvent) -> None:
    same = type(a) is type(b) and all(
        getattr(a, c) == getattr(b, c)
        or (getattr(a, c) != getattr(a, c) and getattr(b, c) != getattr(b, c))
        for c in content_columns(a.event_type)
        if not (c == "ts_event" and a.ts_source == "receive")
    )
    assert (content_key(a) == content_key(b)) == same


def test_nan_equals_nan_and_minus_zero_equals_zero() -> None:
    assert content_key(trade(size=NAN)) == content_key(trade(size=float("nan")))
    assert content_key(trade(price=-0.0)) == content_key(trade(price=0.0))


def test_our_own_receive_time_is_no_content() -> None:
    a, b = (quote(ts_event=ts, ts_source="receive", event_id="7") for ts in (1, 2))
    assert content_key(a) == content_key(b)
    assert content_key(quote(ts_event=1)) != content_key(quote(ts_event=2))


@given(st.lists(events(st.sampled_from([1, 2])), max_size=12))
def test_copies_in_one_frame_are_numbered_from_zero(frame: list[AnyEvent]) -> None:
    number_occurrences(frame)
    by_content: dict[object, list[int]] = {}
    for event in frame:
        by_content.setdefault(content_key(event), []).append(event.occurrence)
    assert all(found == list(range(len(found))) for found in by_content.values())
    assert Counter(map(content_key, frame)) == Counter(
        {key: len(found) for key, found in by_content.items()}
    )


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.sampled_from(["SPY", "QQQ"]),
            st.sampled_from([0.0, -0.0, 1.5, NAN, float("nan")]),
            st.integers(NOON, NOON + 1),
            st.sampled_from(["", "7"]),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_copies_are_numbered_in_columns_as_they_are_in_frames(
    rows: list[tuple[int, str, float, int, str]],
) -> None:
    rows.sort(key=itemgetter(0))
    placed = [
        (place, trade(symbol=symbol, size=size, ts_event=at, event_id=event_id))
        for place, symbol, size, at, event_id in rows
    ]
    for frame in range(3):
        number_occurrences([event for place, event in placed if place == frame])
    places, symbols, sizes, times, ids = map(list, zip(*rows, strict=True))
    numbers = {"ts_event": np.array(times), "size": np.array(sizes)}
    coded, texts = {"symbol": Coded.of(symbols)}, {"event_id": ids}
    found = occurrences(np.array(places), numbers, coded, texts)
    assert found.tolist() == [event.occurrence for _, event in placed]


@given(events())
def test_a_sound_event_passes_the_gate(event: AnyEvent) -> None:
    assert first_fault(event) is None


@pytest.mark.parametrize(
    ("event", "named"),
    [
        (trade(symbol=""), "symbol"),
        (trade(symbol="A\x00B"), "symbol"),
        (trade(symbol="A" * (MAX_TEXT_LENGTH + 1)), "symbol"),
        (trade(venue="x\ny"), "venue"),
        (trade(conditions="c" * 1000), "conditions"),
        (trade(event_id="\x7f"), "event_id"),
        (ref_px(kind="\x1b"), "kind"),
        (trade(price=float("inf")), "price"),
        (quote(ask_size=float("-inf")), "ask_size"),
        (ref_px(size=float("inf")), "size"),
        (trade(ts_event=NS_MAX + 1), "ts_event"),
    ],
)
def test_an_unsound_event_is_named(event: AnyEvent, named: str) -> None:
    fault = first_fault(event)
    assert fault is not None
    assert fault.startswith(f"{named}: ")


def test_json_names_the_type_first_and_nan_is_null() -> None:
    text = msgspec.json.encode(trade(size=NAN)).decode()
    assert text.startswith('{"event_type":"trade","ts_event":')
    assert list(json.loads(text)) == ["event_type", *(c.name for c in COLUMNS["trade"])]
    assert json.loads(text)["size"] is None
