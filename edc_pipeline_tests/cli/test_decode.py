"""`edc decode`: one JSON event a line, reasons on standard error, exit 1 if there was any."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from pathlib import Path

import pytest

from edc_pipeline.events import COLUMNS
from edc_pipeline.vendors import VENDORS
from edc_pipeline_tests.cli.calling import edc
from edc_pipeline_tests.vendors.fixtures_of import all_cases, full
from edc_pipeline_tests.vendors.recordings import recording

TRADE = (
    b'{"messageType":"A","service":"iex","data":["T","2019-01-30T13:33:45.594808294-05:00",'
    b'1548873225594808294,"wes",null,null,null,null,null,50.285,200,null,0,0,0,0]}\n'
)
HEARTBEAT = b'{"response":{"code":200,"message":"HeartBeat"},"messageType":"H"}\n'


def test_every_fixture_at_once(tmp_path: Path) -> None:
    # A response does not tell its feed by itself.
    feeds = VENDORS["tiingo"].feeds
    frames_of = {name for name, feed in feeds.items() if feed.way_in == "websocket"}
    cases = [c for c in all_cases() if c.vendor == "tiingo" and c.feed in frames_of]
    frames = tmp_path / "frames"
    frames.write_bytes(b"".join(c.frame + b"\n" for c in cases))
    times = tmp_path / "times"
    times.write_text("".join(f"{1_790_000_000 + i}.000000001\n" for i in range(len(cases))))
    said = edc("decode", "--vendor", "tiingo", "--receive-times", times, frames, cwd=tmp_path)
    expected = [
        full({**event, "created_at": (1_790_000_000 + i) * 10**9 + 1}, "tiingo")
        for i, case in enumerate(cases)
        for event in case.expected.get("events", [])
    ]
    assert [json.loads(line) for line in said.out.splitlines()] == expected
    told = [json.loads(line) for line in said.err.splitlines()]
    unreadable = [i + 1 for i, c in enumerate(cases) if "quarantined" in c.expected]
    assert [t["line"] for t in told] == unreadable
    assert all(t["reason"] for t in told)
    assert said.code == 1


def test_columns_stand_in_order_with_null_for_nan(tmp_path: Path) -> None:
    said = edc("decode", "--vendor", "tiingo", cwd=tmp_path, stdin=TRADE + HEARTBEAT)
    assert said.code == 0
    assert said.err == ""
    (line,) = said.out.splitlines()
    assert list(json.loads(line)) == ["event_type", *(c.name for c in COLUMNS["trade"])]


def test_base64_lines_are_frames_of_bytes(tmp_path: Path) -> None:
    frames = base64.b64encode(TRADE.strip()) + b"\n" + base64.b64encode(b"\xff\xfe\x00\x01") + b"\n"
    said = edc("decode", "--vendor", "tiingo", "--feed", "iex", cwd=tmp_path, stdin=frames)
    assert len(said.out.splitlines()) == 1
    assert json.loads(said.err)["line"] == 2
    assert said.code == 1


def test_a_line_that_is_both_json_and_base64_is_json(tmp_path: Path) -> None:
    said = edc("decode", "--vendor", "tiingo", cwd=tmp_path, stdin=b"null\n")
    assert json.loads(said.err)["frame"] == "null"


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1634000000.123456", 1634000000123456000),
        ("1634000000", 1634000000000000000),
        ("1634000000123456789", 1634000000123456789),
        ("1.634e9", 1634000000000000000),
    ],
)
def test_receive_times_are_seconds_or_nanoseconds(tmp_path: Path, text: str, ns: int) -> None:
    times = tmp_path / "times"
    times.write_text(text + "\n")
    said = edc("decode", "--vendor", "tiingo", "--receive-times", times, cwd=tmp_path, stdin=TRADE)
    assert json.loads(said.out)["created_at"] == ns


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--vendor", "tingo"), "tiingo"),
        (("--vendor", "tiingo", "--feed", "iexx"), "boats, crypto, "),
        (("--vendor", "tiingo", "/nowhere"), "/nowhere"),
        ((), "--vendor"),
    ],
)
def test_a_wrong_call_is_told_and_ends_with_2(
    tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    said = edc("decode", *words, cwd=tmp_path)
    assert said.code == 2
    assert told in said.err
    assert "Traceback" not in said.err


def test_too_few_receive_times_are_told(tmp_path: Path) -> None:
    times = tmp_path / "times"
    times.write_text("1634000000\nsoon\n")
    for frames, told in ((TRADE * 3, "'soon'"), (TRADE, None)):
        said = edc(
            "decode", "--vendor", "tiingo", "--receive-times", times, cwd=tmp_path, stdin=frames
        )
        assert said.code == (2 if told else 0)
        assert (told or "") in said.err


@pytest.mark.parametrize(
    ("vendor", "name", "events"),
    [
        ("binance", "binance_spot_20211012.jsonl", 86),
        ("binance", "binance_mixed.jsonl", 10),
        ("coinbase", "coinbase_exchange_mixed.jsonl", 2),
    ],
)
def test_a_recording_is_read_whole(tmp_path: Path, vendor: str, name: str, events: int) -> None:
    said = edc("decode", "--vendor", vendor, recording(name), cwd=tmp_path)
    assert (said.code, said.err) == (0, "")
    assert len(said.out.splitlines()) == events


def test_a_book_ticker_without_a_time_has_the_recorded_time_of_receipt(tmp_path: Path) -> None:
    frames = recording("binance_spot_20211012.jsonl")
    times = recording("binance_spot_20211012.recv")
    said = edc("decode", "--vendor", "binance", "--receive-times", times, frames, cwd=tmp_path)
    found = [json.loads(line) for line in said.out.splitlines()]
    received = times.read_text().split()
    expected = [
        int(Decimal(at) * 10**9)
        for at, frame in zip(received, frames.read_bytes().splitlines(), strict=True)
        if b"@bookTicker" in frame
    ]
    of_receipt = [e for e in found if e["ts_source"] == "receive"]
    assert [e["ts_event"] for e in of_receipt] == expected
    assert [e["created_at"] for e in of_receipt] == expected
    assert all(e["event_type"] == "quote" for e in of_receipt)
