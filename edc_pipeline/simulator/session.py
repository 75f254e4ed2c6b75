"""What the exchange asks of a vendor's protocol: a session per connection, without any I/O.

A new vendor is one file beside `tiingo.py` with a `Vendor` and its `Session`; the market, the
faults, the truth and the server stay as they are.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from edc_pipeline.simulator.market import Tick

ReplyKind = Literal["info", "heartbeat", "error"]


@dataclass(frozen=True, slots=True)
class Reply:
    """One control frame."""

    kind: ReplyKind
    body: str


class Session(Protocol):
    """The server's half of one connection's conversation."""

    @property
    def service(self) -> str: ...
    @property
    def subscription(self) -> Hashable | None:
        """None before anything is subscribed; equal for two connections that asked for the same."""
        ...

    @property
    def refused(self) -> bool:
        """True when the vendor would now close the connection, once its replies are out."""
        ...

    def on_message(self, message: str | bytes) -> list[Reply]: ...
    def on_tick(self, tick: Tick) -> str | None:
        """The data frame for this tick, or None when this subscription does not get it."""
        ...

    def heartbeat(self) -> Reply | None: ...


class Vendor(Protocol):
    @property
    def paths(self) -> Mapping[str, str]:
        """URL path → service."""
        ...

    def session(self, service: str, ordinal: int) -> Session:
        """A session for the `ordinal`-th connection to this service, counted from 1."""
        ...
