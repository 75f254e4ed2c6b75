"""What every vendor implements. Pure: bytes in, events out, the receive time handed in.

A vendor is one file or folder that exports `VENDOR: Vendor`, and one folder of fixtures. It opens
no socket, reads no clock and keeps no state beyond its `Session`, which lives as long as one
connection. The conformance suite in `edc_pipeline_tests/vendors` holds every vendor to this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import msgspec

from edc_pipeline.events import EVENT_TYPES, AnyEvent, AssetClass, EventType

Outcome = Literal["events", "control", "quarantined"]

ControlKind = Literal[
    "heartbeat",  # alive, nothing to say
    "acknowledged",  # a subscription or login was accepted
    "refused",  # a subscription was refused, the connection lives on: an alarm
    "transient",  # an error that a reconnect may mend
    "fatal",  # an error that no reconnect mends: a bad key, no entitlement
    "not_wanted",  # known data that is no event type of ours
    "notice",  # anything else that the vendor documents
]


class Control(msgspec.Struct, frozen=True):
    """A frame that the vendor documents and that carries no event."""

    kind: ControlKind
    detail: str = ""


class Reading(msgspec.Struct, gc=False):
    """What one frame turned out to be.

    A vendor whose frames hold several messages may find events and faults in one frame: the
    events count, and the frame is kept in quarantine as well, for the part that is missing.
    `gc=False`: one is made for every frame, and it can't be part of a cycle.
    """

    events: list[AnyEvent] = msgspec.field(default_factory=list)
    control: Control | None = None
    faults: list[str] = msgspec.field(default_factory=list)
    replies: tuple[str, ...] = ()
    seq: int = -1  # the frame's own number, where the vendor numbers a connection's messages
    refused: tuple[AnyEvent, ...] = ()  # numbered events that admission sent to quarantine

    @property
    def outcome(self) -> Outcome:
        if self.events:
            return "events"
        return "quarantined" if self.faults or self.control is None else "control"


def quarantined(reason: str) -> Reading:
    return Reading(faults=[reason])


def control(kind: ControlKind, detail: str = "") -> Reading:
    return Reading(control=Control(kind, detail))


@dataclass(frozen=True, slots=True)
class Subscription:
    """What one connection asks for, in our spelling; the vendor translates."""

    feed: str
    symbols: tuple[str, ...] = ()  # empty: all that the vendor sends
    options: Mapping[str, Any] = field(default_factory=dict)
    asset_classes: Mapping[str, AssetClass] = field(default_factory=dict)  # where the feed's differ


# (frame, receive time in ns) → what it is. Never raises; same bytes, same answer.
Decode = Callable[[bytes, int], Reading]


class Session(Protocol):
    """One connection's side of the vendor's protocol, without the connection."""

    def opening(self) -> Sequence[str]:
        """The messages to send as soon as the connection stands."""
        ...

    def read(self, frame: bytes, received_at: int) -> Reading:
        """Read one frame. Never raises, whatever the bytes; what can't be read is a fault."""
        ...

    @property
    def acknowledged(self) -> bool:
        """Whether the vendor has accepted all that was asked for; only looked at where the feed
        says that its vendor acknowledges (`FeedSpec.acknowledges_within_s`)."""
        ...


Identity = Literal["id", "counted"]


@dataclass(frozen=True, slots=True)
class IdentityRule:
    """What makes two events of a feed the same one.

    `id`: the vendor's `event_id` tells; a second row with the same content is a duplicate.
    `counted`: no id; identical content on one connection is that many genuine prints, and what
    another connection delivers of them again is a duplicate.
    """

    kind: Identity
    columns: str  # the vendor's own fields that it rests on, for a reader to check


@dataclass(frozen=True, slots=True)
class SequenceRule:
    """What the vendor's numbers (`seq`) count.

    `symbol`: the exchange's own numbers, one run for each symbol over all of `event_types`, the
    same on every connection. `connection`: the messages of one connection, anew on each; the
    number stands in `Reading.seq`, or in the events where only they bear one.
    """

    counts: Literal["symbol", "connection"]
    contiguous: bool = True  # a missing number is a missing message; else numbers only increase
    event_types: tuple[EventType, ...] = EVENT_TYPES
    wraps_after: int | None = None  # the last number before 0 comes again


@dataclass(frozen=True, slots=True)
class FeedSpec:
    """One product of a vendor. Every number has its unit in its name."""

    name: str
    title: str
    url: str
    asset_class: AssetClass
    event_types: tuple[EventType, ...]
    identity: Mapping[EventType, IdentityRule]
    check_options: Callable[[Mapping[str, Any]], list[str]]  # what is wrong with them, in words
    options_help: str = ""
    heartbeat_s: float | None = None  # how often the vendor speaks when it has nothing to say
    stale_after_s: float = 60.0  # no frame for so long: the connection is taken for dead
    sequence: tuple[SequenceRule, ...] = ()  # empty: the vendor numbers nothing
    acknowledges_within_s: float | None = None  # None: the vendor confirms no subscription
    max_frame_bytes: int = 1 << 20
    ways_in: tuple[Literal["websocket", "polling", "webhook"], ...] = ("websocket",)


@dataclass(frozen=True, slots=True)
class Vendor:
    name: str
    title: str
    feeds: Mapping[str, FeedSpec]
    # What was asked for → a reader of frames. The feed may be "" where the frame tells by itself
    # (`edc decode` without --feed).
    decoder: Callable[[Subscription], Decode]
    open_session: Callable[[Subscription, str], Session]  # the second is the secret
    check_symbol: Callable[[str, str], str | None]  # (feed, our symbol) → what is wrong with it
    secret: str | None = None  # name of the environment variable, never its value
    fatal_statuses: frozenset[int] = frozenset({401, 403})  # of the HTTP handshake
    limits: str = ""
