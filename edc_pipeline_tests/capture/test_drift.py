"""Payload drift: told once, over restarts too, whatever is sent; nothing where nothing changed."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edc_pipeline.capture import drift as drift_module
from edc_pipeline.capture.collector import Collector
from edc_pipeline.capture.drift import FEED_LEARNED, LEARNED, LOOK_EVERY, Drift, Shapes, shapes_of
from edc_pipeline.capture.figures import SAMPLE_EVERY
from edc_pipeline.simulator.exchange import Exchange
from edc_pipeline_tests.capture.test_collector import STOCKS, run, scripted, settings_for, until
from edc_pipeline_tests.vendors.fixtures_of import FOLDER

Q = "messageType A, service iex, data[0] Q"
NOON = 1_769_101_200_000_000_000


def row(*values: Any, kind: str = "A", **more: Any) -> bytes:
    return json.dumps({"messageType": kind, "service": "iex", "data": values, **more}).encode()


QUOTE = row("Q", "2026", 1, "spy", 1.0)
REFERENCE = row("2026-01-22T12:00:00", "spy", 1.0)


def taught(*frames: bytes) -> Drift:
    drift = Drift()
    for _ in range(FEED_LEARNED):
        for frame in frames or (QUOTE, REFERENCE):
            assert drift.understood(frame) == []
    return drift


def test_what_is_always_the_same_is_no_drift() -> None:
    drift = taught()
    for _ in range(1000):
        assert drift.understood(QUOTE) == drift.understood(REFERENCE) == []


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (row("Q", "2026", 1, "spy", 1.0, 2.0), f"new in {Q}: data[5]"),
        (row("Q", "2026", 1, "spy"), f"no longer in {Q}: data[4]"),
        (row("Q", "2026", 1, "spy", 1.0, seq=5), f"new in {Q}: seq"),
        (row("T", "2026"), "new message type: messageType A, service iex, data[0] T"),
        (row("2026", "spy", 1.0, 2), "new message type: messageType A, service iex, data of 4"),
        (row("Q", kind="Z"), "new message type: messageType Z, service iex, data[0] Q"),
    ],
    ids=["position", "vanished", "key", "tag", "length", "type"],
)  # fmt: skip
def test_a_change_is_told_once_and_not_again_after_a_restart(frame: bytes, words: str) -> None:
    drift = taught()
    assert drift.understood(frame) == [words]
    assert [drift.understood(f) for _ in range(200) for f in (frame, QUOTE, REFERENCE)] == [
        []
    ] * 600
    again = Drift(msgspec.json.decode(msgspec.json.encode(drift.known), type=Shapes))
    assert again.understood(frame) == []
    assert again.quarantined(frame, NOON) == []


def test_a_quarantined_frame_tells_and_does_not_teach() -> None:
    drift = taught()
    before = msgspec.json.encode(drift.known.types)
    assert drift.quarantined(row("Q", kind="N"), NOON)[0].startswith("unknown message type")
    assert drift.quarantined(row("Q", "2026", 1, "spy", 1.0, 2.0), NOON)[0].startswith("new in")
    assert drift.quarantined(b'{"torn', NOON) == []
    assert msgspec.json.encode(drift.known.types) == before
    # At the very start nothing is known; an unknown type is told all the same.
    assert Drift().quarantined(row("Q", kind="N"), NOON) != []


def test_optional_fields_are_no_drift() -> None:
    drift = Drift()
    frames = [b'{"e":"trade","p":1}', b'{"e":"trade","p":1,"m":true}']
    assert [drift.understood(frames[i % 2]) for i in range(500)] == [[]] * 500
    assert drift.understood(b'{"e":"trade","m":true}') == ["no longer in e trade: p"]


def test_a_symbol_in_a_tag_makes_no_types() -> None:
    drift = Drift()
    frames = (f'{{"topic":"trade.S{i}","data":[{{"p":1,"v":2}}]}}'.encode() for i in range(500))
    assert [drift.understood(frame) for frame in frames] == [[]] * 500
    assert list(drift.known.types) == ["topic trade"]
    assert drift.understood(b'{"topic":"trade.X","data":[{"p":1,"v":2,"w":3}]}') == [
        "new in topic trade: data[].w"
    ]


def test_the_fixtures_of_a_vendor_have_types() -> None:
    for path in FOLDER.rglob("*-level*.frames"):
        for frame in path.read_bytes().splitlines():
            (found,) = shapes_of(frame)
            assert found[0].startswith("messageType"), frame


@given(st.lists(st.binary(max_size=300), max_size=30))
def test_whatever_is_sent_nothing_is_raised(frames: list[bytes]) -> None:
    drift = Drift()
    for frame in frames:
        drift.understood(frame)
        drift.quarantined(frame, NOON)


def test_a_hostile_vendor_fills_neither_memory_nor_log() -> None:
    drift = taught()
    told: list[str] = []
    for i in range(3000):
        names = {f"k{i}-{j}\n": 1 for j in range(500)}
        frame = json.dumps({"messageType": f"X{i}", **names}).encode()
        told += drift.understood(frame) + drift.quarantined(frame, NOON)
    assert len(told) == 51
    assert "no more are told" in told[-1]
    assert all(words.isprintable() and len(words) < 400 for words in told)
    assert len(msgspec.json.encode(drift.known)) < 1_000_000
    began = time.perf_counter()
    for _ in range(5000):
        drift.quarantined(b"[" * 60_000, NOON)
    assert time.perf_counter() - began < 2  # most were not looked at


def test_a_look_costs_microseconds() -> None:
    """Some 12 µs on a quiet machine; of what is well known one frame in `LOOK_EVERY` is."""
    drift, frame = taught(), row("T", "2026-01-22", 1, "spy", *[1.5] * 12)
    best = min(_seconds(drift, frame) for _ in range(5))
    assert best / LOOK_EVERY < 1e-7
    while not drift.known.seen >= 512:
        drift.understood(frame)
    assert sum(map(drift.wants, range(1, 1 + 10 * LOOK_EVERY, SAMPLE_EVERY))) == 10


def _seconds(drift: Drift, frame: bytes) -> float:
    began = time.perf_counter()
    for _ in range(200):
        drift.understood(frame)
    return (time.perf_counter() - began) / 200


def test_a_collector_tells_it_once_and_remembers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(drift_module, "FEED_LEARNED", 4)

    async def scenario() -> None:
        for name in ("c1", "c2"):
            async with Exchange(scripted(2000, 1, "rubbish@iex:700")) as exchange:
                settings = settings_for(exchange, tmp_path, stocks=STOCKS)
                collector, stop = Collector(settings, name), asyncio.Event()
                capturing = asyncio.create_task(collector.run(stop))
                await until(lambda c=collector: sum(c.report().events.values()) == 2000)  # type: ignore[misc]
                (state,) = collector._states
                unknown = b'{"messageType":"Z","service":"iex","data":["Q",1]}'
                for _ in range(50):
                    collector._intake._tell_drift(state, state.drift.quarantined(unknown, NOON))
                stop.set()
                await capturing
                (feed,) = collector.report().feeds
                assert feed.drifts >= 1
                assert any("messageType Z" in words for words in feed.drift)

    run(scenario)
    told = [r.getMessage() for r in caplog.records if "messageType Z" in r.getMessage()]
    assert len(told) == 1
    assert told[0].startswith("stocks: payload drift: unknown message type")
    kept = json.loads((tmp_path / "spool" / "_shapes.json").read_bytes())
    assert kept["stocks tiingo/iex"]["seen"] > LEARNED / 2
