"""The three event types: their columns, how each is stored, and what makes two events the same.

This is the only such table. The struct classes below *are* the table: a field's annotation says
how it is stored and what it means, and everything else (parquet schema, HDF5 layout, column docs
in the Dagster UI, `edc decode` output) is derived from `COLUMNS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isinf, isnan
from operator import attrgetter
from typing import Annotated, Any, ClassVar, Final, Literal, get_args, get_type_hints

import msgspec
import numpy as np
from numpy.typing import NDArray

from edc_pipeline.coded import MAX_TEXT_LENGTH, Coded

SCHEMA_VERSION: Final = 1

EventType = Literal["trade", "quote", "ref_px"]
EVENT_TYPES: Final[tuple[EventType, ...]] = get_args(EventType)

AssetClass = Literal["equity", "etf", "fx", "crypto", "future", "option", "index"]
ASSET_CLASSES: Final[tuple[AssetClass, ...]] = get_args(AssetClass)

Stored = Literal["time", "int64", "int32", "float64", "text"]

NAN: Final = float("nan")

# int64 nanoseconds since 1970 reach from 1677-09-21 to 2262-04-11; the lowest value is NaT.
NS_MIN: Final = -(2**63) + 1
NS_MAX: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Column:
    """How one column is stored and what it means."""

    name: str
    stored: Stored
    meaning: str
    unit: str = ""
    content: bool = True  # part of what the vendor said; False for what we added on the way


def _as(stored: Stored, meaning: str, unit: str = "", *, content: bool = True) -> Column:
    return Column("", stored, meaning, unit, content)


class Event(msgspec.Struct, kw_only=True, gc=False, tag_field="event_type"):
    """What every event carries, in this order. `gc=False`: rows hold only atoms, so no cycles."""

    ts_event: Annotated[int, _as("time", "when it happened, by the vendor's clock", "ns UTC")]
    ts_source: Annotated[
        Literal["vendor", "receive"], _as("text", "whose clock ts_event is: vendor or receive")
    ] = "vendor"
    symbol: Annotated[str, _as("text", "upper case, e.g. BRK.B, EUR/USD, BTC/USD")]
    asset_class: Annotated[AssetClass, _as("text", "equity etf fx crypto future option index")]
    vendor: Annotated[str, _as("text", "who sent it, e.g. tiingo")]
    feed: Annotated[str, _as("text", "the vendor's product, e.g. iex")]
    venue: Annotated[str, _as("text", "exchange code, empty where the vendor names none")] = ""
    event_id: Annotated[str, _as("text", "the vendor's own id, empty where it sends none")] = ""
    seq: Annotated[int, _as("int64", "the vendor's sequence number, -1 where none")] = -1
    occurrence: Annotated[
        int, _as("int32", "0, 1, 2 … over genuine copies of identical content", content=False)
    ] = 0
    origin: Annotated[
        Literal["live", "snapshot", "backfill"],
        _as("text", "how it reached us: live, snapshot or backfill", content=False),
    ] = "live"
    status: Annotated[
        Literal["LIVE", "STALE"],
        _as("text", "STALE between a detected gap and its end, else LIVE", content=False),
    ] = "LIVE"
    created_at: Annotated[int, _as("time", "when we received it", "ns UTC", content=False)]


class Trade(Event, kw_only=True, gc=False, tag="trade"):
    event_type: ClassVar[EventType] = "trade"

    price: Annotated[float, _as("float64", "price of one unit, NaN where not given", "quote ccy")]
    size: Annotated[float, _as("float64", "units traded, NaN where not given", "units")]
    side: Annotated[
        Literal["buy", "sell", ""], _as("text", "the aggressor's side, empty where unknown")
    ] = ""
    conditions: Annotated[str, _as("text", "the vendor's conditions, separated by spaces")] = ""


class Quote(Event, kw_only=True, gc=False, tag="quote"):
    event_type: ClassVar[EventType] = "quote"

    bid_price: Annotated[float, _as("float64", "best bid, NaN where not given", "quote ccy")]
    bid_size: Annotated[float, _as("float64", "units bid, NaN where not given", "units")]
    ask_price: Annotated[float, _as("float64", "best ask, NaN where not given", "quote ccy")]
    ask_size: Annotated[float, _as("float64", "units asked, NaN where not given", "units")]


class RefPx(Event, kw_only=True, gc=False, tag="ref_px"):
    event_type: ClassVar[EventType] = "ref_px"

    price: Annotated[float, _as("float64", "the reference price", "quote ccy")]
    kind: Annotated[
        str, _as("text", "what the price is: reference last mid open high low close prev_close …")
    ]
    size: Annotated[float, _as("float64", "units, NaN where not given", "units")] = NAN


AnyEvent = Trade | Quote | RefPx
EVENT_CLASSES: Final[dict[EventType, type[Trade] | type[Quote] | type[RefPx]]] = {
    "trade": Trade,
    "quote": Quote,
    "ref_px": RefPx,
}


def _columns_of(event_class: type[Event]) -> tuple[Column, ...]:
    hints = get_type_hints(event_class, include_extras=True)
    columns = []
    for name in event_class.__struct_fields__:
        spec: Column = hints[name].__metadata__[0]
        columns.append(Column(name, spec.stored, spec.meaning, spec.unit, spec.content))
    return tuple(columns)


COLUMNS: Final[dict[EventType, tuple[Column, ...]]] = {
    event_type: _columns_of(event_class) for event_type, event_class in EVENT_CLASSES.items()
}

# A micro-batch row carries these two besides; the daily file leaves them out. They lead from a
# row back to the vendor's bytes, and counted dedupe needs to know which connection delivered what.
LINEAGE_COLUMNS: Final[tuple[Column, ...]] = (
    Column("connection", "text", "the connection that delivered the frame", content=False),
    Column("frame", "int64", "the frame's ordinal in its collector's journal", content=False),
)


# What a column says where nothing else is said of it.
DEFAULTS: Final[dict[EventType, dict[str, Any]]] = {
    event_type: {
        field.name: field.default
        for field in msgspec.structs.fields(event_class)
        if field.default is not msgspec.NODEFAULT
    }
    for event_type, event_class in EVENT_CLASSES.items()
}


def content_columns(event_type: EventType) -> tuple[str, ...]:
    """The columns that say what the vendor said: two events that agree in all are the same content.

    `ts_event` belongs to them unless it is our own receive time (`ts_source == "receive"`); then
    it is no more part of the content than `created_at` is.
    """
    return tuple(c.name for c in COLUMNS[event_type] if c.content)


_CONTENT_OF: Final[dict[EventType, Callable[[Any], tuple[Any, ...]]]] = {
    event_type: attrgetter(*content_columns(event_type)) for event_type in EVENT_TYPES
}
assert all(content_columns(event_type)[0] == "ts_event" for event_type in EVENT_TYPES)


def content_key(event: AnyEvent) -> tuple[object, ...]:
    """A hashable key, equal exactly when two events say the same: NaN equals NaN, −0.0 equals 0.0.

    Floats are told apart by value, never by spelling, so this agrees with the consolidation.
    """
    values = [
        None if isinstance(v, float) and isnan(v) else v
        for v in _CONTENT_OF[event.event_type](event)
    ]
    if event.ts_source == "receive":
        values[0] = None
    return (event.event_type, *values)


def number_occurrences(events: Sequence[AnyEvent]) -> None:
    """Number identical events of one frame 0, 1, 2 …, in place: they are genuine copies."""
    if len(events) < 2:
        return
    seen: dict[tuple[object, ...], int] = {}
    for event in events:
        key = content_key(event)
        event.occurrence = seen.get(key, 0)
        seen[key] = event.occurrence + 1


def occurrences(
    places: NDArray[np.int64],
    numbers: Mapping[str, NDArray[Any]],
    coded: Mapping[str, Coded],
    texts: Mapping[str, list[str]],
) -> NDArray[np.int32]:
    """What `number_occurrences` gives, of columns without infinities: `places`, which ascend, tell
    of which frame each row is. Constant columns, whatever they are, make no difference."""
    count = len(places)
    found = np.zeros(count, np.int32)
    if not (places[1:] == places[:-1]).any():
        return found
    floats = np.array([values for values in numbers.values() if values.dtype.kind == "f"])
    # Nothing else is infinite, so that stands for NaN, which equals nothing; −0.0 + 0.0 is 0.0.
    floats[np.isnan(floats)] = np.inf
    floats += 0.0
    whole = [values for values in numbers.values() if values.dtype.kind != "f"]
    whole += [column.codes for column in coded.values()]
    columns = [places, *whole, *floats.view(np.int64)]
    # Nearly every row differs from all others in these, and so in one number made of them.
    mixed = places
    for values in columns[1:]:
        mixed = mixed * _MIXES + values
    ordered = np.sort(mixed)
    if not (ordered[1:] == ordered[:-1]).any():
        return found
    order = mixed.argsort(stable=True)
    ordered = mixed[order]
    alike = ordered[1:] == ordered[:-1]
    ones, others = order[1:][alike], order[:-1][alike]
    pairs = list(zip(ones.tolist(), others.tolist(), strict=True))
    if all((values[ones] == values[others]).all() for values in columns) and all(
        said[one] == said[other] for said in texts.values() for one, other in pairs
    ):
        numbered = np.arange(count)
        first = np.where(np.concatenate(([True], ~alike)), numbered, 0)
        found[order] = numbered - np.maximum.accumulate(first)
        return found
    seen: dict[tuple[object, ...], int] = {}
    for row in sorted({row for pair in pairs for row in pair}):
        key = *(int(v[row]) for v in columns), *(said[row] for said in texts.values())
        found[row] = copies = seen.get(key, 0)
        seen[key] = copies + 1
    return found


# Odd, and large: what is added to it times another number seldom comes to the same.
_MIXES: Final = np.int64(0x9E3779B97F4A7C15 - (1 << 64))


def first_fault(event: AnyEvent) -> str | None:
    """Why this event must not be stored, or None. The last gate before the spool.

    All is looked at in one go, so that nearly every event costs 0.3 µs here. What does not pass
    is looked at piece by piece (1.0 µs): it has a fault, or its texts are long only together.
    """
    texts = event.symbol + event.venue + event.event_id
    if isinstance(event, Quote):
        infinite = (
            isinf(event.bid_price)
            or isinf(event.bid_size)
            or isinf(event.ask_price)
            or isinf(event.ask_size)
        )
    else:
        infinite = isinf(event.price) or isinf(event.size)
        texts += event.conditions if isinstance(event, Trade) else event.kind
    if (
        infinite
        or len(texts) > MAX_TEXT_LENGTH
        or not event.symbol
        or not texts.isprintable()
        or not NS_MIN <= event.ts_event <= NS_MAX
        or not -1 <= event.seq <= NS_MAX
    ):
        return _fault(event)
    return None


def all_storable(
    constants: Mapping[str, Any],
    numbers: Mapping[str, NDArray[Any]],
    coded: Mapping[str, Coded],
    texts: Mapping[str, list[str]],
) -> bool:
    """Whether every row of these columns, whose times int64 holds, passes `first_fault`.

    False may be said of rows that pass: then they are looked at one by one.
    """
    floats = [values for values in numbers.values() if values.dtype.kind == "f"]
    if np.isinf(np.concatenate(floats)).any():
        return False
    seqs = numbers.get("seq")
    if seqs is not None and seqs.min() < -1:
        return False
    symbols = coded["symbol"]
    if (empty := symbols.words.empty) >= 0 and empty in symbols.codes:
        return False
    said = "".join(value for value in constants.values() if isinstance(value, str))
    for column in texts.values():
        if max(map(len, column)) > MAX_TEXT_LENGTH:
            return False
        said += "".join(column)
    return said.isprintable()


def _fault(event: AnyEvent) -> str | None:
    if not event.symbol:
        return "symbol: empty"
    for name, text in _texts(event):
        if len(text) > MAX_TEXT_LENGTH:
            return f"{name}: {len(text)} characters, at most {MAX_TEXT_LENGTH} are allowed"
        if not text.isprintable():
            return f"{name}: {text!r:.60} holds characters that do not print"
    if not NS_MIN <= event.ts_event <= NS_MAX:
        return f"ts_event: {event.ts_event} ns is outside what int64 holds (1677 to 2262)"
    if not -1 <= event.seq <= NS_MAX:
        return f"seq: {event.seq!r:.40} is no number that int64 holds"
    for name, value in _numbers(event):
        if isinf(value):
            return f"{name}: {value} is not a finite number"
    return None


def _texts(event: AnyEvent) -> Iterable[tuple[str, str]]:
    texts = [("symbol", event.symbol), ("venue", event.venue), ("event_id", event.event_id)]
    if isinstance(event, Trade):
        texts.append(("conditions", event.conditions))
    elif isinstance(event, RefPx):
        texts.append(("kind", event.kind))
    return [(name, text) for name, text in texts if text]


def _numbers(event: AnyEvent) -> Iterable[tuple[str, float]]:
    if isinstance(event, Trade):
        return (("price", event.price), ("size", event.size))
    if isinstance(event, RefPx):
        return (("price", event.price), ("size", event.size))
    return (
        ("bid_price", event.bid_price),
        ("bid_size", event.bid_size),
        ("ask_price", event.ask_price),
        ("ask_size", event.ask_size),
    )
