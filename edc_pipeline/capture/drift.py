"""Payload drift: a vendor begins to send what it did not, or no longer sends what it did.

Pure: a frame in, what is new about it out, in words, once. A frame's shape is its message type and
its fields: keys of objects, positions of arrays. The type is told by the words that vendors tag
their messages with (`"messageType": "A"`, `"e": "trade"`, `["T", …]`), and for an array without a
tag by its length. Nothing is known of any vendor here.

What a feed's reader understood teaches: until a type was seen `LEARNED` times its fields are taken
as they come. After that a new field is told, and so is one that never failed to come and now does.
A type is told when it is new though the feed was seen `FEED_LEARNED` times, or when the reader did
not understand it. A look takes 12 µs, so one frame in `LOOK_EVERY` is looked at (12 ns a frame),
more often while there is little known, and every quarantined frame, but `QUARANTINED_LOOKS` a
minute at the most: a flood of rubbish is no drift.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

LEARNED: Final = 32
FEED_LEARNED: Final = 64
LOOK_EVERY: Final = 1024
_WELL_KNOWN: Final = 512
QUARANTINED_LOOKS: Final = 600

# Against what a hostile vendor sends: no more is remembered, and no more is said.
_MOST_TYPES: Final = 64
_MOST_FIELDS: Final = 128
_MOST_TOLD: Final = 50
_MOST_MESSAGES: Final = 16  # of one frame
_MOST_BYTES: Final = 64 << 10
_WORD: Final = 40

# Keys whose short text says what a message is.
_TAGS: Final = ("messageType", "service", "type", "T", "ev", "e", "event", "channel", "topic")
_BEFORE_A_SYMBOL: Final = re.compile(r"[.@:/]")
_MINUTE_NS: Final = 60_000_000_000


class Shape(msgspec.Struct):
    """What is known of one message type."""

    seen: int = 0
    fields: dict[str, int] = {}  # how often each came


class Shapes(msgspec.Struct):
    """What is known of one feed."""

    seen: int = 0
    types: dict[str, Shape] = {}
    told: list[str] = []


def shapes_of(payload: bytes) -> Iterator[tuple[str, frozenset[str]]]:
    """`(message type, fields)` of each message of a frame; none where it is no JSON."""
    if len(payload) > _MOST_BYTES:
        return
    try:
        frame = msgspec.json.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return
    several = isinstance(frame, list) and any(isinstance(one, dict) for one in frame)
    for message in frame[:_MOST_MESSAGES] if several else [frame]:
        if isinstance(message, dict | list):
            yield _shape(message)


def _shape(message: dict[str, Any] | list[Any]) -> tuple[str, frozenset[str]]:
    tags: list[str] = []
    fields: set[str] = set()
    if isinstance(message, list):
        _walk_list("", message, tags, fields)
    else:
        for tag in _TAGS:
            if isinstance(word := message.get(tag), str):
                # `trade.BTCUSDT`, `btcusdt@trade`: what comes behind may be a symbol.
                tags.append(f"{tag} {_plain(_BEFORE_A_SYMBOL.split(word, 1)[0])}")
        for key, value in message.items():
            name = _plain(key)
            fields.add(name)
            if isinstance(value, dict):
                fields.update(f"{name}.{_plain(inner)}" for inner in value)
            elif isinstance(value, list):
                _walk_list(name, value, tags, fields)
    return ", ".join(tags) or "(untagged)", frozenset(list(fields)[:_MOST_FIELDS])


def _walk_list(name: str, values: list[Any], tags: list[str], fields: set[str]) -> None:
    """A row by position; a list of objects by the keys of the first."""
    if not values:
        return
    if isinstance(values[0], dict):
        fields.update(f"{name}[].{_plain(key)}" for key in values[0])
        return
    if isinstance(values[0], list):
        fields.update(f"{name}[][{i}]" for i in range(min(len(values[0]), _MOST_FIELDS)))
        return
    first = values[0]
    if isinstance(first, str) and 0 < len(first) <= 2 and first.isalpha():
        tags.append(f"{name}[0] {_plain(first)}")
    else:
        tags.append(f"{name} of {len(values)}")
    fields.update(f"{name}[{i}]" for i in range(min(len(values), _MOST_FIELDS)))


def _plain(word: str) -> str:
    shown = word[:_WORD]
    return shown if shown.isprintable() else ascii(shown)


class Drift:
    """One feed's shapes. `changed` says that they are worth keeping."""

    def __init__(self, known: Shapes | None = None) -> None:
        self.known: Final = known or Shapes()
        self.changed = False
        self._minute = 0
        self._looks = 0

    def wants(self, received: int) -> bool:
        """Whether to look at the frame that is the feed's `received`-th, of those sampled."""
        return self.known.seen < _WELL_KNOWN or received % LOOK_EVERY == 1

    def understood(self, payload: bytes) -> list[str]:
        """A frame that the reader understood: it teaches; what is new about it, in words."""
        told: list[str] = []
        for kind, fields in shapes_of(payload):
            self.known.seen += 1
            # Worth a write when it is twice what was kept: a restart forgets half at the most.
            self.changed |= self.known.seen.bit_count() == 1
            shape = self.known.types.get(kind)
            if shape is None:
                if len(self.known.types) >= _MOST_TYPES:
                    continue
                shape = self.known.types[kind] = Shape()
                self.changed = True
                if self.known.seen > FEED_LEARNED:
                    told += self._tell(f"new message type: {kind}")
            told += self._compare(kind, shape, fields)
            shape.seen += 1
            for name in fields:
                if name in shape.fields:
                    shape.fields[name] += 1
                elif len(shape.fields) < _MOST_FIELDS:
                    shape.fields[name] = 1
                    self.changed = True
        return told

    def quarantined(self, payload: bytes, received_at: int) -> list[str]:
        """A frame that the reader did not understand: it is compared, and teaches nothing."""
        minute = received_at // _MINUTE_NS
        if minute != self._minute:
            self._minute, self._looks = minute, 0
        self._looks += 1
        if self._looks > QUARANTINED_LOOKS:
            return []
        told: list[str] = []
        for kind, fields in shapes_of(payload):
            shape = self.known.types.get(kind)
            if shape is None:
                told += self._tell(f"unknown message type: {kind}")
            else:
                told += self._compare(kind, shape, fields)
        return told

    def _compare(self, kind: str, shape: Shape, fields: frozenset[str]) -> list[str]:
        if shape.seen < LEARNED:
            return []
        told: list[str] = []
        if new := sorted(fields - shape.fields.keys()):
            told += self._tell(f"new in {kind}: {', '.join(new)[:200]}")
        always = {name for name, number in shape.fields.items() if number == shape.seen}
        if gone := sorted(always - fields):
            told += self._tell(f"no longer in {kind}: {', '.join(gone)[:200]}")
        return told

    def _tell(self, words: str) -> list[str]:
        """Once, also over restarts; and no more than so many in all."""
        told = self.known.told
        if words in told or len(told) > _MOST_TOLD:
            return []
        self.changed = True
        if len(told) == _MOST_TOLD:
            words = f"more than {_MOST_TOLD} changes: no more are told"
        told.append(words)
        return [words]
