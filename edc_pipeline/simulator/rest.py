"""What the simulator asks of a vendor's REST protocol: a question in, an answer out, no I/O.

A new vendor is one file beside `tiingo_rest.py` with a `RestVendor`, and one line in `speakers.py`.
`rest_server.py` brings it to a socket, with the faults of `rest_faults.py` and a limit on requests.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from edc_pipeline.simulator.board import Board
from edc_pipeline.simulator.instruments import Instrument
from edc_pipeline.simulator.session import Terms


@dataclass(frozen=True, slots=True)
class Question:
    """A GET as it came. Names of headers are in lower case."""

    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def in_json(value: object, status: int = 200, **headers: str) -> Answer:
    """An answer as most vendors write it; `retry_after="2"` is the header Retry-After."""
    named = {name.replace("_", "-").title(): text for name, text in headers.items()}
    body = json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
    return Answer(status, body, {"Content-Type": "application/json", **named})


class RestVendor(Protocol):
    """A vendor's answers over one board. Keys are checked here: each vendor has its own words."""

    base: str  # the path that the address of a feed ends in, where it ends in one

    def example(self, of: Instrument) -> str:
        """A question about it, behind `base`; the key is to follow."""
        ...

    def answer(self, question: Question, now_ns: int) -> Answer: ...

    def too_many(self, wait_s: float) -> Answer:
        """More requests than are allowed came; one more is allowed in so many seconds."""
        ...


class SpeaksRest(Protocol):
    """Makes a vendor's protocol over a board."""

    def __call__(
        self, board: Board, *, terms: Terms | None = None, seed: int = 0
    ) -> RestVendor: ...
