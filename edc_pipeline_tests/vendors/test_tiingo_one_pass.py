"""The short way of Tiingo's reader says of every frame what the long way says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edc_pipeline.vendors.contract import Decode, Reading, Subscription
from edc_pipeline.vendors.tiingo import VENDOR, asked_level, decoder, reader_of_any_frame
from edc_pipeline.vendors.tiingo.rows import RowReader
from edc_pipeline_tests.vendors.fixtures_of import RECEIVED_AT, Case, all_cases
from edc_pipeline_tests.vendors.test_conformance import _is_json, _mutations

# What is polled is read in one way only.
FEEDS = [name for name, feed in VENDOR.feeds.items() if feed.way_in == "websocket"]
CASES = [case for case in all_cases() if case.vendor == "tiingo" and case.feed in FEEDS]
# Level 6 of IEX and equity has rows of its own; the other levels are read alike.
ASKED = [Subscription(feed, (), {"threshold_level": level}) for feed in FEEDS for level in (5, 6)]
READERS: list[tuple[Decode, Decode]] = [(decoder(a), reader_of_any_frame(a)) for a in ASKED]


def told(reading: Reading) -> bytes:
    return msgspec.json.encode(reading)


def agree(frame: bytes) -> None:
    for short, long in READERS:
        assert told(short(frame, RECEIVED_AT)) == told(long(frame, RECEIVED_AT)), frame


def spellings(case: Case) -> Iterator[bytes]:
    """A fixture's frame as it is, and with each of its parts changed."""
    yield case.frame
    yield from (case.frame[:length] for length in range(len(case.frame)))
    if _is_json(case):
        for mutated in _mutations(json.loads(case.frame)):
            yield json.dumps(mutated).encode()


@pytest.mark.parametrize("case", CASES, ids=str)
def test_fixtures_and_their_mutations_are_read_alike(case: Case) -> None:
    for frame in spellings(case):
        agree(frame)


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_frames_of_any_row_are_read_alike(data: st.DataObject) -> None:
    text = st.sampled_from(
        ["Q", "T", "B", "spy", "gdax", "2026-01-22T16:00:00-05:00", "2026-01-22T16:00:00.5+00:00"]
    )
    atom = text | st.none() | st.integers(-(2**65), 2**65) | st.floats() | st.booleans()
    row = data.draw(st.lists(atom, max_size=18))
    frame = {
        "messageType": data.draw(st.sampled_from(["A", "U", "D", "I", 5])),
        "service": data.draw(st.sampled_from(["iex", "fx", "crypto_data", "cons", "boats", None])),
        "data": row,
        **data.draw(st.sampled_from([{}, {"response": {"code": 200}}, {"response": 5}, {"x": 1}])),
    }
    agree(json.dumps(frame).encode())


def test_what_a_feed_sends_takes_the_short_way() -> None:
    """Else all would still be right, and slow."""
    rows = RowReader(Subscription(""))
    for case in CASES:
        if "events" not in case.expected or b'"messageType":"A"' not in case.frame:
            continue
        short_ways = [rows.one_pass(a.feed, asked_level(a)) for a in ASKED if a.feed == case.feed]
        assert any(short is not None and _reads(short[0], case.frame) for short in short_ways), case


def _reads(short: msgspec.json.Decoder[Any], frame: bytes) -> bool:
    try:
        short.decode(frame)
    except msgspec.MsgspecError:
        return False
    return True
