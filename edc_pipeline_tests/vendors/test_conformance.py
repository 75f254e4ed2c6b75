"""What every vendor is held to. A new vendor adds a fixture folder and gets all of this."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edc_pipeline.capture.admission import Admission
from edc_pipeline.events import COLUMNS, EVENT_CLASSES, EVENT_TYPES
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import Reading, Subscription
from edc_pipeline_tests.vendors.fixtures_of import RECEIVED_AT, Case, all_cases, full

CASES = all_cases()


def read(case: Case, frame: bytes, *, told_feed: bool = True) -> Reading:
    asked = Subscription(case.feed if told_feed else "", case.symbols)
    decode = VENDORS[case.vendor].decoder(asked)
    return Admission(horizon_days=None).admit(decode(frame, RECEIVED_AT), RECEIVED_AT)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_frame_is_what_its_fixture_says(case: Case) -> None:
    reading = read(case, case.frame)
    match case.expected:
        case {"events": events}:
            found = json.loads(msgspec.json.encode(reading.events))
            assert found == [full(event, case.vendor) for event in events]
            assert not reading.faults
            assert reading.outcome == "events"
        case {"control": kind}:
            assert reading.outcome == "control"
            assert reading.control is not None
            assert reading.control.kind == kind
        case {"quarantined": reason}:
            assert reading.outcome == "quarantined"
            assert reason in "; ".join(reading.faults)


@pytest.mark.parametrize("vendor", VENDORS)
def test_every_feed_and_event_type_has_a_fixture(vendor: str) -> None:
    shown = {
        (case.feed, event["event_type"])
        for case in CASES
        if case.vendor == vendor
        for event in case.expected.get("events", [])
    }
    promised = {(f.name, t) for f in VENDORS[vendor].feeds.values() for t in f.event_types}
    assert shown >= promised


@pytest.mark.parametrize("vendor", VENDORS)
def test_every_event_type_says_what_its_identity_rests_on(vendor: str) -> None:
    for feed in VENDORS[vendor].feeds.values():
        assert set(feed.identity) == set(feed.event_types)
        assert all(rule.columns for rule in feed.identity.values())
        assert feed.check_options({}) == []
        assert feed.check_options({"no such option": 1})


def test_events_stand_in_the_columns_order() -> None:
    for event_type in EVENT_TYPES:
        assert EVENT_CLASSES[event_type].__struct_fields__ == tuple(
            column.name for column in COLUMNS[event_type]
        )


def _well_formed(reading: Reading) -> None:
    assert reading.outcome in {"events", "control", "quarantined"}
    assert reading.events or reading.faults or reading.control
    for event in reading.events:
        columns = COLUMNS[event.event_type]
        kinds: dict[str, Any] = {
            "time": int,
            "int64": int,
            "int32": int,
            "float64": (float, int),
            "text": str,
        }
        for column in columns:
            value = getattr(event, column.name)
            assert isinstance(value, kinds[column.stored]), column
            if column.stored == "int64":
                assert -1 <= value < 2**63, column
        assert event.created_at == RECEIVED_AT


def _mutations(value: Any) -> list[Any]:
    """The value with each part in turn replaced by something of every other type, or gone."""
    strange: list[Any] = [None, True, -1, 1e308, 2**70, "", "\x00", "x" * 300, [], {}, [[]], "1.5"]
    found: list[Any] = list(strange)
    if isinstance(value, dict):
        for key in value:
            found.append({k: v for k, v in value.items() if k != key})
            found += [{**value, key: other} for other in _mutations(value[key])]
    elif isinstance(value, list):
        for i in range(len(value)):
            found.append(value[:i] + value[i + 1 :])
            found += [[*value[:i], other, *value[i + 1 :]] for other in _mutations(value[i])]
    return found


def _is_json(case: Case) -> bool:
    try:
        json.loads(case.frame)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("case", [c for c in CASES if _is_json(c)], ids=str)
def test_every_type_change_is_read_or_quarantined(case: Case) -> None:
    for mutated in _mutations(json.loads(case.frame)):
        _well_formed(read(case, json.dumps(mutated).encode()))
        _well_formed(read(case, json.dumps(mutated).encode(), told_feed=False))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_truncation_is_read_or_quarantined(case: Case) -> None:
    for length in range(len(case.frame)):
        _well_formed(read(case, case.frame[:length]))


@given(data=st.data())
@settings(max_examples=400, deadline=None)
def test_any_damage_is_read_or_quarantined(data: st.DataObject) -> None:
    case = data.draw(st.sampled_from(CASES))
    frame = bytearray(case.frame)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(frame)))
        match data.draw(st.sampled_from(["flip", "insert", "cut", "repeat"])):
            case "flip" if at < len(frame):
                frame[at] ^= 1 << data.draw(st.integers(0, 7))
            case "insert":
                frame[at:at] = data.draw(st.binary(max_size=8))
            case "cut":
                del frame[at : at + data.draw(st.integers(1, 8))]
            case "repeat":
                frame[at:at] = frame[max(0, at - 9) : at]
    _well_formed(read(case, bytes(frame)))


@given(frame=st.binary(max_size=200) | st.text(max_size=100).map(lambda t: t.encode()))
@settings(max_examples=300, deadline=None)
@pytest.mark.parametrize("vendor", VENDORS)
def test_any_bytes_at_all_are_read_or_quarantined(vendor: str, frame: bytes) -> None:
    for feed in ("", *VENDORS[vendor].feeds):
        decode = VENDORS[vendor].decoder(Subscription(feed))
        _well_formed(decode(frame, RECEIVED_AT))


@pytest.mark.parametrize("vendor", VENDORS)
@pytest.mark.parametrize("bracket", [b"[", b'{"a":', b'{"messageType":"A","data":' + b"["])
def test_deep_nesting_is_quarantined(vendor: str, bracket: bytes) -> None:
    decode = VENDORS[vendor].decoder(Subscription(""))
    assert decode(bracket * 200_000, RECEIVED_AT).outcome == "quarantined"


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_session_never_shows_its_secret(vendor: str) -> None:
    secret = "hush-9f3a"
    for feed in VENDORS[vendor].feeds.values():
        symbol = "AAPL" if VENDORS[vendor].check_symbol(feed.name, "AAPL") is None else "EUR/USD"
        session = VENDORS[vendor].open_session(Subscription(feed.name, (symbol,)), secret)
        session.opening()
        assert secret not in repr(session)
        for case in CASES:
            if case.vendor == vendor:
                assert secret not in repr(session.read(case.frame, RECEIVED_AT))
