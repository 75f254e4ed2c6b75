"""What the exchange sent, byte for byte: a capture is held against it."""

from __future__ import annotations

import base64
import json
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, TextIO

KEEP_FRAMES: Final = 200_000  # some 200 bytes each


@dataclass(frozen=True, slots=True)
class SentFrame:
    """One data frame as it went out. `fault` is empty, or what makes it differ from a good day:
    duplicate, delay, reorder, slow, rubbish, corrupt, resend."""

    connection: int  # of its service, from 1
    service: str
    n: int  # of the data frame on its connection; a copy bears its original's
    at_ns: int
    body: str | bytes
    fault: str = ""

    @property
    def is_original(self) -> bool:
        """Neither a copy of an earlier frame nor spoiled: what a perfect capture keeps."""
        return self.fault in ("", "delay", "reorder", "slow")


class Truth:
    """Counts everything; remembers the last `keep` frames; writes all to a file where given."""

    def __init__(self, *, keep: int = KEEP_FRAMES) -> None:
        self.frames: deque[SentFrame] = deque(maxlen=keep)
        self.data: Counter[str] = Counter()  # data frames sent, by service
        self.originals_by_service: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()  # data frames sent that bear a fault, by fault
        self.control: Counter[str] = Counter()  # info, heartbeat, error frames sent
        self.lost: Counter[str] = Counter()  # made, never sent, by reason: drop, mute, slow …
        self.connections: Counter[str] = Counter()  # accepted, by service
        self.ended: Counter[str] = Counter()  # by reason: cut, expired, slow, left …
        self._file: TextIO | None = None

    def write_to(self, file: TextIO) -> None:
        self._file = file

    def sent(self, frame: SentFrame) -> None:
        self.frames.append(frame)
        self.data[frame.service] += 1
        if frame.is_original:
            self.originals_by_service[frame.service] += 1
        if frame.fault:
            self.faults[frame.fault] += 1
        if self._file is not None:
            self._file.write(_line(frame))

    def originals(self, service: str | None = None) -> Iterator[SentFrame]:
        """Each frame that a perfect capture holds once, in the order sent."""
        if self.forgotten:
            raise LookupError(
                f"{self.forgotten} frames are no longer remembered; raise keep_frames, "
                "or read the truth file"
            )
        return (f for f in self.frames if f.is_original and service in (None, f.service))

    @property
    def forgotten(self) -> int:
        return self.data.total() - len(self.frames)

    def summary(self) -> dict[str, Any]:
        return {
            "data_frames": self.data.total(),
            "original_frames": self.originals_by_service.total(),
            "by_service": dict(self.data),
            "faults": dict(self.faults),
            "control_frames": dict(self.control),
            "not_sent": dict(+self.lost),
            "connections": dict(self.connections),
            "ended": dict(self.ended),
        }


def _line(frame: SentFrame) -> str:
    line: dict[str, Any] = {
        "connection": frame.connection,
        "service": frame.service,
        "n": frame.n,
        "at_ns": frame.at_ns,
        "fault": frame.fault,
    }
    if isinstance(frame.body, str):
        line["body"] = frame.body
    else:
        line["body_base64"] = base64.b64encode(frame.body).decode()
    return json.dumps(line, separators=(",", ":")) + "\n"
