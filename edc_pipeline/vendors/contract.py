"""What every vendor implements. Pure: bytes in, events out, the receive time handed in.

A vendor is one file or folder that exports `VENDOR: Vendor`, and one folder of fixtures. It opens
no socket, reads no clock and keeps no state beyond its `Session`, which lives as long as one
connection. The conformance suite in `edc_pipeline_tests/vendors` holds every vendor to this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Any, Final, Literal, Protocol, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

from edc_pipeline.coded import Coded
from edc_pipeline.events import EVENT_TYPES, AnyEvent, AssetClass, EventType
from edc_pipeline.market_hours import HoursOf
from edc_pipeline.vendors.pairs import class_of_pair

Outcome = Literal["events", "control", "quarantined"]

ControlKind = Literal[
    "heartbeat",  # alive, nothing to say
    "acknowledged",  # a subscription or login was accepted
    "refused",  # a subscription was refused, the connection lives on: an alarm
    "transient",  # an error that a reconnect may mend
    "ending",  # the vendor is about to end this connection: another one is made beside it in time
    "fatal",  # an error that no reconnect mends: a bad key, no entitlement
    "not_wanted",  # known data that is no event type of ours
    "unchanged",  # a poll that says what the one before said
    "notice",  # anything else that the vendor documents
]


class Control(msgspec.Struct, frozen=True):
    """A frame that the vendor documents and that carries no event."""

    kind: ControlKind
    detail: str = ""

    def __post_init__(self) -> None:
        # The vendor's words go into logs and onto terminals: no line of its own making, no colours.
        if not self.detail.isprintable():
            shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in self.detail)
            msgspec.structs.force_setattr(self, "detail", shown)


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

    def __repr__(self) -> str:
        """Without what the replies say: a login holds the key."""
        return (
            f"Reading({self.outcome}, {len(self.events)} events, control={self.control!r},"
            f" faults={self.faults!r}, {len(self.replies)} replies, seq={self.seq})"
        )

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


def both(former: Subscription, latter: Subscription) -> Subscription:
    """Of a connection that asks for other symbols: what is under way is still of the former, and
    what its options say of them by name (Kite's tokens) is still so."""
    by_name = {
        name: {**said, **now} if isinstance(now := latter.options.get(name, {}), Mapping) else now
        for name, said in former.options.items()
        if isinstance(said, Mapping)
    }
    return replace(
        latter,
        symbols=tuple(dict.fromkeys((*latter.symbols, *former.symbols))),
        options={**latter.options, **by_name},
        asset_classes={**former.asset_classes, **latter.asset_classes},
    )


# (frame, receive time in ns) → what it is. Never raises; same bytes, same answer.
Decode = Callable[[bytes, int], Reading]


@dataclass(frozen=True, slots=True)
class Columns:
    """Events of one type, column by column: what the frames of one read hold, each at least one
    event.

    A column that is nowhere here has its default (`events.py`); `created_at` is added. Rows of one
    frame stand in the order in which it is read by itself.
    """

    event_type: EventType
    constants: Mapping[str, Any]  # of every row; the same object as long as they stay the same
    numbers: Mapping[str, NDArray[Any]]  # `ts_event` is one; an `event_id` may be, as int64
    coded: Mapping[str, Coded]  # texts of which few differ; `symbol` is one
    texts: Mapping[str, list[str]]  # as the vendor wrote them
    places: NDArray[np.int64]  # which frame of the read each row is from; they ascend
    # Where frames hold rows of several `Columns`, in all of these or in none: the order of all rows
    # of the read, one by one. Without it, rows of one frame stand in the order of their `Columns`.
    ranks: NDArray[np.int64] | None = field(default=None, kw_only=True)
    # Whether a frame may have several rows here, which may be copies: their `occurrence` is added.
    # Rows that could be copies of each other stand in the same `Columns`.
    several: bool = False
    # Where the vendor numbers a connection's messages (`Reading.seq`): the places of the frames
    # that these rows are from, none of which has rows elsewhere, and the number of each.
    frame_numbers: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None

    def some(self, rows: NDArray[np.bool_]) -> Columns:
        """Some of the rows, where the vendor does not number them."""
        assert self.frame_numbers is None
        return replace(
            self,
            numbers={name: values[rows] for name, values in self.numbers.items()},
            coded={name: Coded(c.words, c.codes[rows]) for name, c in self.coded.items()},
            texts={name: list(compress(said, rows.tolist())) for name, said in self.texts.items()},
            places=self.places[rows],
            ranks=None if self.ranks is None else self.ranks[rows],
        )


# (the frames of one read, its receive time) → the same events as reading them one by one gives,
# five times faster; None where any of them is not a plain new event, or may not be: then they are
# read one by one. Optional, for a vendor that sends very many frames.
ReadMany = Callable[[Sequence[bytes], int], "Sequence[Columns] | None"]


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


@runtime_checkable
class ChangesInPlace(Session, Protocol):
    """A `Session` whose vendor lets a connection ask for other symbols. Without it, a changed list
    of symbols means a new connection beside the old one."""

    def change(self, subscription: Subscription) -> Sequence[str] | None:
        """Read by this subscription from now on; what to send, or None: not this change, or not
        now. It differs in symbols, options or asset classes. `acknowledged` then speaks of it."""
        ...


Identity = Literal["id", "content", "counted"]


@dataclass(frozen=True, slots=True)
class IdentityRule:
    """What makes two events of a feed the same one.

    `id`: the vendor's `event_id` tells; a second row with the same content is a duplicate.
    `content`: the vendor states how things stand, with its own time; a second row with the same
    content is the same statement, whoever heard it and how often. For what is polled. Events
    without a time of the vendor's are counted.
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
    # What bears the number: `seq`, or (counting a symbol) the vendor's own id, where ids are
    # numbers without gaps and `seq` counts something else.
    borne_by: Literal["seq", "event_id"] = "seq"


WayIn = Literal["websocket", "polling", "webhook"]


@dataclass(frozen=True, slots=True)
class Websocket:
    """The customs of a vendor's websocket, beyond what a `Session` says. None: no limit known."""

    # What the address needs beside its path (a key in the query, for one). Never logged or shown.
    query: Callable[[Subscription, str], Mapping[str, str]] | None = None
    symbols_per_connection: int | None = None  # more symbols are sharded over connections
    connections: int | None = None  # at most, of one key
    messages_per_s: float | None = None  # that we may send
    keepalive: tuple[str, float] | None = None  # what to send, and every how many seconds
    lasts_s: float | None = None  # the vendor ends every connection then: hand over before


Period = Literal["second", "minute", "hour", "day", "month"]


@dataclass(frozen=True, slots=True)
class Budget:
    """So many requests in so long, as the vendor counts them. A day and a month are UTC's."""

    requests: int
    per: Period


@dataclass(frozen=True, slots=True)
class Request:
    """One GET of a polled feed, without the key.

    Its response is read by the decoder of a `Subscription` to `symbols` alone, and so it stands in
    the journal: a response that does not say whose it is (Finnhub's quote) can be read again.
    """

    path: str  # added to the feed's url
    query: Mapping[str, str]
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Authorization:
    """Where the key goes. Never logged or shown."""

    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict, repr=False)


# The option of every polled feed that makes each answer an event, changed or not: a vendor's own
# options never see it.
EVERY_POLL: Final = "every_poll"

# Prices of a day so far, that a vendor states anew with each answer's time.
DAY_PRICES: Final = frozenset({"open", "high", "low", "close", "prev_close"})


@dataclass(frozen=True, slots=True)
class Polling:
    """How a vendor is asked.

    What a vendor brings: `requests`, the key's place, and a `decoder` that reads one response of
    2xx as it reads any frame, every event of it, changed or not. For a request it is made with a
    `Subscription` to the request's `symbols` alone. An error told under status 200 is a control
    frame of the decoder's: `transient` (the whole key is left alone for a while: limits),
    `refused` (this request is made once an hour), `fatal`.

    What it gets: every response of 2xx is journaled and read; events that say what an earlier
    response said are left out (`capture.changes`), and a response without news counts as control,
    `unchanged`. A response of another status is no frame: `refusal` tells what it means. ETag and
    Last-Modified are used where they are offered. Requests are spread, kept within `budgets` over
    restarts, and made while the market of the feed's asset class is open.

    `budgets` are those of the free plan; a feed's settings may state those of a better one.
    `FeedSpec.max_frame_bytes` bounds a response.
    """

    requests: Callable[[Subscription], Sequence[Request]]  # none: it can't be asked for all symbols
    authorize: Callable[[str], Authorization]
    every_s: float  # where the settings do not say
    budgets: tuple[Budget, ...] = ()
    # What a status other than 2xx and 304 means, where the vendor has customs of its own; None:
    # 401 and 403 are fatal, 429 and 5xx transient, every other a refusal of these symbols.
    refusal: Callable[[int, bytes], Control] | None = None
    # Kinds of ref_px whose stamp is the answer's own: news only where the price is, within a day.
    restated: frozenset[str] = DAY_PRICES
    # Of each symbol and kind so many statements are remembered: caches that disagree show the last
    # two in turn, and a response of 100 bars shows all of them each time.
    remembers: int = 4


@dataclass(frozen=True, slots=True)
class Delivery:
    """A webhook request as it came."""

    body: bytes
    headers: Mapping[str, str]  # names in lower case
    source: str  # the caller's address
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    path: str = field(default="", repr=False)  # what stands behind the source's own path


@dataclass(frozen=True, slots=True)
class Webhook:
    """How a caller proves who he is. Pure: the clock is handed in."""

    # (request, secret, now in ns, options) → why it is refused, None: it is the vendor's. The words
    # are counted by, so they hold nothing of the request and come from a short list.
    verify: Callable[[Delivery, str, int, Mapping[str, Any]], str | None]
    # What two deliveries of one message have in common: one of these is enough. Empty: nothing.
    idempotency_keys: Callable[[Delivery, Mapping[str, Any]], Sequence[str]]
    sources: tuple[str, ...] = ()  # addresses the vendor says it calls from; empty: any
    answer_within_s: float = 3.0
    # The variable that holds what is shared with the vendor, where it is not the vendor's key.
    secret: str | None = None


# (text, symbols, options) → the options with what was found, and asset classes. `ValueError` says
# in words what is wrong with the text.
ReadOptionFile = Callable[
    [str, Sequence[str], Mapping[str, Any]], tuple[Mapping[str, Any], Mapping[str, AssetClass]]
]


@dataclass(frozen=True, slots=True)
class FeedSpec:
    """One product of a vendor. Every number has its unit in its name."""

    name: str
    title: str
    url: str  # empty: the vendor gives each account its own
    asset_class: AssetClass
    event_types: tuple[EventType, ...]
    identity: Mapping[EventType, IdentityRule]
    check_options: Callable[[Mapping[str, Any]], list[str]]  # what is wrong with them, in words
    # What is wrong with the symbols and the options together.
    check_subscription: Callable[[Subscription], list[str]] | None = None
    # Options that name a file → what its text says about the symbols asked for.
    option_files: Mapping[str, ReadOptionFile] = field(default_factory=dict)
    options_help: str = ""
    heartbeat_s: float | None = None  # how often the vendor speaks when it has nothing to say
    stale_after_s: float = 60.0  # no frame for so long: the connection is taken for dead
    sequence: tuple[SequenceRule, ...] = ()  # empty: the vendor numbers nothing
    acknowledges_within_s: float | None = None  # None: the vendor confirms no subscription
    max_frame_bytes: int = 1 << 20
    hours_of: HoursOf = "us"  # whose hours its market keeps
    all_symbols: bool = True  # False: the vendor has to be asked symbol by symbol
    # Pairs of coins beside those of currencies, or the other way, whatever its asset class.
    any_pairs: bool = False
    websocket: Websocket = Websocket()
    polling: Polling | None = None  # set: this feed is polled
    webhook: Webhook | None = None  # set: the vendor calls us

    @property
    def way_in(self) -> WayIn:
        """A product that comes in two ways is two feeds: each has its own limits and identity."""
        if self.polling is not None:
            return "polling"
        return "websocket" if self.webhook is None else "webhook"

    def class_of(self, symbol: str) -> AssetClass:
        """What our spelling is here, where nobody says it: stocks' feeds have pairs as well."""
        only = {"crypto", "future"} if self.any_pairs else {"crypto", "future", "fx"}
        return class_of_pair(symbol, self.asset_class, only)


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
    spell: Callable[[str, str], str]  # (feed, our symbol) → the vendor's
    symbol_of: Callable[[str, str], str]  # (feed, the vendor's) → ours
    secret: str | None = None  # name of the environment variable, never its value
    key_form: str = ""  # where a key has parts: how it is written
    # What is wrong with how a key looks, without the key: it ends a sentence.
    check_secret: Callable[[str], str | None] | None = None
    fatal_statuses: frozenset[int] = frozenset({401, 403})  # of the HTTP handshake
    reader_of_many: Callable[[Subscription], ReadMany | None] = lambda _: None
    limits: str = ""
    free_plan: str = ""  # what it gives; empty: nothing
