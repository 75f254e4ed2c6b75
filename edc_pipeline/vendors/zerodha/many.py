"""The frames of one read at once, column by column: what `packets.py` reads, where all of it is
plain.

Plain is: every frame whole packets that are known and no byte besides, at least one of them with
an event. Packets of several modes, and with and without a time, may come in one read.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edc_pipeline.coded import Coded, Words
from edc_pipeline.events import EventType
from edc_pipeline.market_day import NS_PER_SECOND
from edc_pipeline.vendors.contract import Columns, ReadMany, Subscription
from edc_pipeline.vendors.reading import UNREADABLE, Fault
from edc_pipeline.vendors.together import (
    CodedTexts,
    Floats,
    Numbers,
    Places,
    Spelling,
    Times,
    quote_arrays,
)
from edc_pipeline.vendors.zerodha.packets import (
    BIDS_AT,
    DAY_PRICES,
    FEED,
    LEVELS_BYTES,
    SEGMENTS,
    TIME_AT,
    names_of,
)

Rows = NDArray[np.intp]

_HEAD: Final = struct.Struct(">HH")  # the number of packets, the length of the first
_LENGTH: Final = struct.Struct(">H")


def _layout(length: int, **more: tuple[str, int]) -> np.dtype[np.void]:
    """A packet with its length before it: each field's form, and where in the packet it is."""
    fields = {"length": (">u2", -2), "token": (">u4", 0), "last": (">i4", 4), **more}
    if length in TIME_AT:
        fields["time"] = ">u4", TIME_AT[length]
    if length in BIDS_AT:
        fields |= _depth(BIDS_AT[length], BIDS_AT[length] + LEVELS_BYTES)
    return np.dtype(
        {
            "names": list(fields),
            "formats": [form for form, _ in fields.values()],
            "offsets": [_LENGTH.size + at for _, at in fields.values()],
            "itemsize": _LENGTH.size + length,
        }
    )


def _depth(bids_at: int, asks_at: int) -> dict[str, tuple[str, int]]:
    return {
        "bid_size": (">u4", bids_at),
        "bid": (">i4", bids_at + 4),
        "ask_size": (">u4", asks_at),
        "ask": (">i4", asks_at + 4),
    }


_INDEX_DAY: Final = {"index_day": ("4>i4", 8)}  # high, low, open, close
_IN_OUR_ORDER: Final = [2, 0, 1, 3]
_QUOTE: Final = {"size": (">u4", 8), "day": ("4>i4", 28)}
_LAYOUTS: Final = {
    8: _layout(8),
    28: _layout(28, **_INDEX_DAY),
    32: _layout(32, **_INDEX_DAY),
    44: _layout(44, **_QUOTE),
    164: _layout(164, **_QUOTE),
    184: _layout(184, **_QUOTE),
}

# By the lowest byte of a token; a divisor of 0: no segment.
_DIVISORS: Final = np.zeros(256)
_VENUES: Final = Words()
_VENUE_CODES: Final = np.zeros(256, np.int32)
for _number, _segment in SEGMENTS.items():
    _DIVISORS[_number] = _segment.divisor
    _VENUE_CODES[_number] = _VENUES.number(_segment.venue)

_KINDS: Final = Words("last", *DAY_PRICES)
_EVENTS: Final = 2 + len(DAY_PRICES)  # of a packet at the most, its quote first
_SOURCES: Final = Words("receive", "vendor")
# The same object in every read: it goes on where the one before ended. So a column says whose each
# time is though mostly all are the vendor's: what was not traded yet has none, beside what was.
_CONSTANTS: Final = {"vendor": "zerodha", "feed": FEED}


class _Table(NamedTuple):
    """All packets of a read, a row each, in the order in which they came. 0: there is none."""

    places: Places
    tokens: NDArray[np.int64]
    seconds: Times
    prices: Floats  # last, open, high, low, close
    sizes: Floats  # of the last price
    sides: Floats  # (price and size, bid and ask, row)

    def put(self, at: Any, packets: NDArray[np.void]) -> None:
        """`at`: the rows of packets of one length."""
        fields = packets.dtype.names or ()
        self.tokens[at] = packets["token"]
        self.prices[at, 0] = packets["last"]
        if "day" in fields:
            self.sizes[at] = packets["size"]
            self.prices[at, 1:] = packets["day"]
        elif "index_day" in fields:
            self.prices[at, 1:] = packets["index_day"][:, _IN_OUR_ORDER]
        if "time" in fields:
            self.seconds[at] = packets["time"]
        if "bid" in fields:
            for number, name in enumerate(("bid", "ask")):
                self.sides[0, number, at] = packets[name]
                self.sides[1, number, at] = packets[f"{name}_size"]


def _table(frames: Sequence[bytes]) -> _Table:
    counts: list[int] = []  # by frame
    runs: list[tuple[int, int]] = []  # packets of one length: it, how many
    parts: defaultdict[int, list[bytes]] = defaultdict(list)  # by length
    for frame in frames:
        if len(frame) < _HEAD.size or frame[:1] == b"{":
            raise Fault("no packets")
        count, length = _HEAD.unpack_from(frame)
        counts.append(count)
        if len(frame) == _LENGTH.size + count * (_LENGTH.size + length):
            runs.append((length, count))  # if all are as long as the first; looked at below
            parts[length].append(frame[_LENGTH.size :])
            continue
        at = _LENGTH.size
        for _ in range(count):
            if at + _LENGTH.size > len(frame):
                raise Fault("ends before its last packet")
            (length,) = _LENGTH.unpack_from(frame, at)
            begin, at = at, at + _LENGTH.size + length
            runs.append((length, 1))
            parts[length].append(frame[begin:at])
        if at != len(frame):
            raise Fault("another length than its packets'")
    if not parts.keys() <= _LAYOUTS.keys():
        raise Fault("packets of another length")
    rows = sum(counts)
    prices = 1 + len(DAY_PRICES) if parts.keys() != {8} else 1
    table = _Table(
        np.arange(len(frames)).repeat(counts),
        np.empty(rows, np.int64),
        np.zeros(rows, np.int64),
        np.zeros((rows, prices)),
        np.full(rows, np.nan),
        np.zeros((2, 2, rows)),
    )
    lengths = np.repeat(*np.array(runs).T) if len(parts) > 1 else None
    for length, some in parts.items():
        packets = np.frombuffer(b"".join(some), _LAYOUTS[length])
        if (packets["length"] != length).any():
            raise Fault("a frame whose packets only look as long as the first")
        table.put(slice(None) if lengths is None else lengths == length, packets)
    return table


def reader_of_many(subscription: Subscription) -> ReadMany:
    name = names_of(subscription)
    symbols = Spelling(lambda token: name(token)[0])
    asset_classes = Spelling(lambda token: name(token)[1] or SEGMENTS[token & 0xFF].asset_class)

    def read_many(frames: Sequence[bytes], received_at: int) -> Sequence[Columns] | None:
        try:
            found = columns(_table(frames), received_at)
        except UNREADABLE:
            return None
        heard = np.zeros(len(frames), np.bool_)
        for some in found:
            heard[some.places] = True
        return found if heard.all() else None

    def columns(table: _Table, received_at: int) -> list[Columns]:
        segments = table.tokens & 0xFF
        divisors = _DIVISORS[segments]
        if not divisors.all():
            raise Fault("a segment whose prices nobody can read")
        table.prices[:] /= divisors[:, None]
        table.sides[0] /= divisors
        is_price, is_quote = table.prices != 0, table.sides[0].any(axis=0)
        told = table.seconds != 0
        times = np.where(told, table.seconds * NS_PER_SECOND, received_at)
        tokens = table.tokens.tolist()
        about = {
            "symbol": symbols(tokens),
            "asset_class": asset_classes(tokens),
            "venue": Coded(_VENUES, _VENUE_CODES[segments]),
            "ts_source": Coded(_SOURCES, told.astype(np.int32)),
        }

        def made(
            kind: EventType, rows: Rows, numbers: Numbers, more: CodedTexts, ranks: Rows
        ) -> Columns:
            coded = {name: Coded(said.words, said.codes[rows]) for name, said in about.items()}
            return Columns(
                kind,
                _CONSTANTS,
                numbers,
                coded | more,
                {},
                table.places[rows],
                ranks=ranks,
                several=True,
            )

        found = []
        rows = np.flatnonzero(is_quote)
        if len(rows):
            numbers = quote_arrays(times[rows], *table.sides[:, :, rows])
            found.append(made("quote", rows, numbers, {}, rows * _EVENTS))
        rows, kinds = np.nonzero(is_price)
        if len(rows):
            sizes = np.where(kinds == 0, table.sizes[rows], np.nan)
            numbers = {"ts_event": times[rows], "price": table.prices[is_price], "size": sizes}
            kind = Coded(_KINDS, kinds.astype(np.int32))
            found.append(made("ref_px", rows, numbers, {"kind": kind}, rows * _EVENTS + 1 + kinds))
        return found

    return read_many
