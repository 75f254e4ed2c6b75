"""Which deliveries of a webhook's source came already, within a window; kept across restarts.

A sender that got no answer in time sends again, and a signed request can be replayed as long as its
time stamp is good. Either is answered like the first, and is no second frame.

Bounded: the source's own rate times the window is the most that can come, so nothing that is still
in its window is ever forgotten. Only what is durable in the journal is kept in the file: a key
whose frame died with the process must not make us turn the sender's next try away. What came in the
last seconds before a `kill -9` is therefore not remembered; sent again it is a frame on another
connection, which identity absorbs.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from edc_pipeline.durable_file import write_whole
from edc_pipeline.spool.layout import DELIVERED

# A stamp may be 5 minutes old or ahead: a request stays good for twice that.
WINDOW_S: Final = 600.0
_DIGEST_BYTES: Final = 16

Waits = asyncio.Future[None]


@dataclass(slots=True)
class _Known:
    until_ns: int
    durable: Waits | None  # None: it was, before this start


Look = list[tuple[bytes, _Known]]


@dataclass(slots=True)
class Delivered:
    """One source's."""

    most: int
    remembered: int = 0  # so far
    _known: dict[bytes, _Known] = field(default_factory=dict)  # the oldest first

    def find(self, keys: Sequence[str], now_ns: int) -> _Known | None:
        self._forget(now_ns)
        return next((k for key in keys if (k := self._known.get(_digest(key)))), None)

    def remember(self, keys: Sequence[str], durable: Waits, now_ns: int) -> None:
        self.remembered += len(keys)
        for key in keys:
            self._known[_digest(key)] = _Known(now_ns + int(WINDOW_S * 1e9), durable)
        while len(self._known) > self.most:
            del self._known[next(iter(self._known))]

    def _forget(self, now_ns: int) -> None:
        while self._known:
            key = next(iter(self._known))
            if self._known[key].until_ns > now_ns:
                return
            del self._known[key]

    def look(self) -> Look:
        """All that is known now. In C, 10 ms for 600,000: the rest of the keeping is a thread's."""
        return list(self._known.items())

    def recall(self, kept: Mapping[bytes, int]) -> None:
        for key, until_ns in sorted(kept.items(), key=lambda item: item[1]):
            self._known.setdefault(key, _Known(until_ns, None))


def durable_of(look: Look) -> dict[bytes, int]:
    """What may be kept: until when, by key."""
    return {
        key: known.until_ns
        for key, known in look
        if known.durable is None or (known.durable.done() and not known.durable.cancelled())
    }


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()


def read_kept(spool: Path) -> dict[str, dict[bytes, int]]:
    """By source; nothing where there is no file, or it can't be read: it only saves work."""
    with suppress(OSError, msgspec.MsgspecError):
        return msgspec.msgpack.decode(
            (spool / DELIVERED).read_bytes(), type=dict[str, dict[bytes, int]]
        )
    return {}


def write_kept(spool: Path, kept: Mapping[str, Mapping[bytes, int]]) -> None:
    write_whole(spool / DELIVERED, msgspec.msgpack.encode(kept))
