"""The frames of a read, column by column, are the events that they are one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edc_pipeline.capture import rows as one_by_one
from edc_pipeline.capture.admission import Admission
from edc_pipeline.capture.live import Live
from edc_pipeline.events import COLUMNS, EVENT_CLASSES, EVENT_TYPES, AnyEvent, content_key
from edc_pipeline.market_day import market_day
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import Columns, Reading, Subscription
from edc_pipeline_tests.dice import examples
from edc_pipeline_tests.vendors.fixtures_of import RECEIVED_AT, Case, all_cases
from edc_pipeline_tests.vendors.test_conformance import _is_json, _mutations

# Where they change what a feed sends, or how it is told.
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "iex": [{}, {"threshold_level": 5}],
    "equity": [{}, {"threshold_level": 4}],
    "ticker": [{}, {"tokens": {"INFY": 408065, "NIFTY 50": 256265}}],
}
ASKED = [
    (vendor, asked)
    for vendor, rules in VENDORS.items()
    for feed in rules.feeds
    for asked in (Subscription(feed, (), options) for options in OPTIONS.get(feed, [{}]))
    if rules.reader_of_many(asked) is not None
]
CASES = [case for case in all_cases() if case.vendor in {vendor for vendor, _ in ASKED}]


def told(events: Sequence[Any]) -> bytes:
    return msgspec.json.encode(events)


Placed = tuple[int, AnyEvent]  # the second is of the frame at the first


def in_order(rows: Sequence[Placed]) -> list[Placed]:
    """By frame, and in each by type and day: the order among those is of no account."""
    return sorted(rows, key=lambda row: (row[0], row[1].event_type, market_day(row[1].ts_event)))


def rows_of(found: Sequence[Columns]) -> list[Placed]:
    rows: list[Placed] = []
    for columns in found:
        first = len(rows)
        values: dict[str, list[Any]] = {n: v.tolist() for n, v in columns.numbers.items()}
        if "event_id" in values:
            values["event_id"] = list(map(str, values["event_id"]))
        values |= {name: column.tolist() for name, column in columns.coded.items()}
        values |= columns.texts
        assert values.keys() <= {column.name for column in COLUMNS[columns.event_type]}
        assert all(len(v) == len(columns.places) for v in values.values())
        assert (np.diff(columns.places) >= (0 if columns.several else 1)).all()
        for number, place in enumerate(columns.places.tolist()):
            row = {name: value[number] for name, value in values.items()}
            made = EVENT_CLASSES[columns.event_type](
                **{**columns.constants, **row, "created_at": RECEIVED_AT}
            )
            rows.append((place, made))
        subscribed_to(columns, [event for _, event in rows[first:]])
    return in_order(rows)


def agree(vendor: str, asked: Subscription, frames: Sequence[bytes]) -> bool:
    """Whether they were read together; if so, as they are one by one."""
    rules, admission = VENDORS[vendor], Admission(None)
    read_many, decode = rules.reader_of_many(asked), rules.decoder(asked)
    assert read_many is not None
    found = read_many(frames, RECEIVED_AT)
    if found is None:
        return False
    readings = [decode(frame, RECEIVED_AT) for frame in frames]
    assert all(r.events and not (r.faults or r.replies or r.control) for r in readings)
    assert told(rows_of(found)) == told(events_of(readings))
    assert numbers_of(found) == {n: r.seq for n, r in enumerate(readings) if r.seq >= 0}
    admitted = admission.admit_many(found, RECEIVED_AT)
    if admitted is not None:
        readings = [admission.admit(reading, RECEIVED_AT) for reading in readings]
        assert not any(reading.faults for reading in readings)
        assert told(rows_of(admitted)) == told(events_of(readings))
        heard_in_order(admitted, readings)
    return True


def heard_in_order(admitted: Sequence[Columns], readings: Sequence[Reading]) -> None:
    """Subscribers hear the rows of a read in the order in which they hear frame after frame."""
    together, each = Live(), Live()
    of_together, of_each = (
        live.subscribe(EVENT_TYPES, None, limit=10**6) for live in (together, each)
    )
    together.publish_many("feed", "one", admitted, RECEIVED_AT)
    for reading in readings:
        each.publish("feed", "one", reading.events, RECEIVED_AT)
    assert str(of_together._waiting) == str(of_each._waiting)


def subscribed_to(columns: Columns, events: list[AnyEvent]) -> None:
    """What subscribers are given is the same."""
    rows = one_by_one.rows_of(columns, RECEIVED_AT)
    assert told(rows.events()) == told(events)
    assert rows.keys() == list(map(content_key, events))
    asked = {events[0].symbol}
    some = one_by_one.rows_of(columns, RECEIVED_AT, asked)
    assert told(some.events()) == told([event for event in events if event.symbol in asked])


def numbers_of(found: Sequence[Columns]) -> dict[int, int]:
    """By the frame's place."""
    numbered = [columns.frame_numbers for columns in found if columns.frame_numbers is not None]
    return {p: n for places, ns in numbered for p, n in zip(places.tolist(), ns, strict=True)}


def events_of(readings: Sequence[Reading]) -> list[Placed]:
    placed = [(place, event) for place, r in enumerate(readings) for event in r.events]
    return in_order(placed)


def mutations_of(case: Case) -> Iterator[bytes]:
    if _is_json(case):
        for mutated in _mutations(json.loads(case.frame)):
            yield json.dumps(mutated, separators=(",", ":")).encode()
        return
    frame = case.frame
    for at in range(len(frame)):
        yield frame[:at]
        yield frame[:at] + frame[at + 1 :]
        yield frame[: at + 1] + frame[at:]
        for bits in (1, 0x80, frame[at], 0xFF ^ frame[at]):  # to 0, to 255
            yield frame[:at] + bytes([frame[at] ^ bits]) + frame[at + 1 :]


@pytest.mark.parametrize(
    ("vendor", "asked"), ASKED, ids=lambda value: getattr(value, "feed", value)
)
def test_a_fixture_and_its_mutations_are_read_alike(vendor: str, asked: Subscription) -> None:
    together = 0
    for case in CASES:
        if case.vendor != vendor:
            continue
        together += agree(vendor, asked, [case.frame])
        if case.feed == asked.feed:
            for mutated in mutations_of(case):
                agree(vendor, asked, [mutated])
    assert together, "not one fixture is read together: a slow path that nobody would notice"


@given(data=st.data())
@settings(max_examples=examples(300), deadline=None)
def test_any_frames_of_a_read_are_read_alike(data: st.DataObject) -> None:
    vendor, asked = data.draw(st.sampled_from(ASKED))
    mine = [case for case in CASES if case.vendor == vendor and case.feed == asked.feed]
    plain = [case for case in mine if agree(vendor, asked, [case.frame])]
    cases: list[Case] = data.draw(st.lists(st.sampled_from(plain or mine), min_size=1, max_size=8))
    if data.draw(st.booleans()):
        cases.insert(data.draw(st.integers(0, len(cases))), data.draw(st.sampled_from(mine)))
    agree(vendor, asked, [case.frame for case in cases])
