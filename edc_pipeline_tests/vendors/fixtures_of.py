"""Fixtures: raw frames exactly as sent (`<feed>-<case>.frames`, one a line; binary ones in base64:
`<feed>-<case>.b64frames`) beside what they are (`<feed>-<case>.expected.jsonl`). An expected event
names only what differs from a column's default. Where a frame does not say whose it is,
`<feed>-<case>.symbols` names what was asked for.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent / "fixtures"
RECEIVED_AT = 1_790_000_000_000_000_001

_DEFAULTS: dict[str, Any] = {
    "ts_source": "vendor",
    "venue": "",
    "event_id": "",
    "seq": -1,
    "occurrence": 0,
    "origin": "live",
    "status": "LIVE",
    "created_at": RECEIVED_AT,
}
_DEFAULTS_BY_TYPE: dict[str, dict[str, Any]] = {
    "trade": {"price": None, "size": None, "side": "", "conditions": ""},
    "quote": {"bid_price": None, "bid_size": None, "ask_price": None, "ask_size": None},
    "ref_px": {"price": None, "kind": "", "size": None},
}


class Case(NamedTuple):
    vendor: str
    feed: str
    name: str
    line: int
    frame: bytes
    expected: dict[str, Any]
    symbols: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.vendor}-{self.name}:{self.line}"


def all_cases() -> list[Case]:
    cases = []
    for frames in sorted((*FOLDER.glob("*/*.frames"), *FOLDER.glob("*/*.b64frames"))):
        expected = frames.with_suffix(".expected.jsonl").read_text().splitlines()
        lines = frames.read_bytes().splitlines()
        if frames.suffix == ".b64frames":
            lines = [base64.b64decode(line, validate=True) for line in lines]
        assert len(lines) == len(expected), f"{frames.name}: a line without its twin"
        vendor, feed = frames.parent.name, frames.stem.split("-")[0]
        named = frames.with_suffix(".symbols")
        symbols = tuple(named.read_text().split()) if named.exists() else ()
        for number, (line, told) in enumerate(zip(lines, expected, strict=True), 1):
            case = Case(vendor, feed, frames.stem, number, line, json.loads(told), symbols)
            cases.append(case)
    return cases


def full(event: dict[str, Any], vendor: str) -> dict[str, Any]:
    """An expected event with every column."""
    return {
        **_DEFAULTS,
        **_DEFAULTS_BY_TYPE[event["event_type"]],
        "vendor": vendor,
        **event,
    }
