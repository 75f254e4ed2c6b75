"""What the exchange asks of a vendor's protocol: a session per connection, without any I/O.

A new vendor is one file beside `tiingo.py` with a `Vendor` and its `Session`, and one line in
`speakers.py`; the market, the faults, the truth and the server stay as they are.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Literal, Protocol

from edc_pipeline.simulator.instruments import Instrument
from edc_pipeline.simulator.market import Tick


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What this exchange lets a client do. A vendor's protocol looks at what it knows of."""

    token: str | None = None  # None: any that is not empty
    iex_agreement: bool = True  # Tiingo: without it, levels 0 and 5 of /iex are refused
    connections: int | None = None  # of one key; None: as many as the vendor allows
    symbols: int | None = None  # of one connection; None: as many as the vendor allows


# A snapshot repeats, to one who subscribes, what was told before.
ReplyKind = Literal["info", "heartbeat", "error", "snapshot"]


@dataclass(frozen=True, slots=True)
class Reply:
    """A frame that is no tick of the market."""

    kind: ReplyKind
    body: str | bytes


class Session(Protocol):
    """The server's half of one connection's conversation."""

    @property
    def service(self) -> str: ...
    @property
    def subscription(self) -> Hashable | None:
        """None before anything is subscribed; equal for two connections that asked for the same."""
        ...

    refused: bool  # True when the vendor would now close the connection, once its replies are out

    def greeting(self) -> list[Reply]:
        """What the vendor says before it is asked anything."""
        ...

    def on_message(self, message: str | bytes) -> list[Reply]: ...
    def on_tick(self, tick: Tick) -> str | bytes | Sequence[str | bytes] | None:
        """The data frames for this tick, or None when this subscription does not get it."""
        ...

    def heartbeat(self) -> Reply | None: ...


@dataclass(frozen=True, slots=True)
class Asked:
    """The address that a client came to, and who is here already.

    A vendor that allows so many connections looks at `standing`, the oldest first. It may refuse
    the newcomer, or set `refused` of another: either is closed once its replies are out.
    """

    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    standing: Sequence[Session] = ()


class Vendor(Protocol):
    @property
    def paths(self) -> Mapping[str, str]:
        """URL path → service. A path that ends in / takes all that begin with it."""
        ...

    def refusal(self, asked: Asked) -> HTTPStatus | None:
        """What the handshake is answered with, where it is not let in."""
        ...

    def session(self, service: str, ordinal: int, asked: Asked) -> Session:
        """A session for the `ordinal`-th connection to this service, counted from 1."""
        ...


class Speaks(Protocol):
    """Makes a vendor's protocol over these instruments."""

    def __call__(
        self, instruments: Sequence[Instrument], *, terms: Terms | None = None, seed: int = 0
    ) -> Vendor: ...
