"""A crypto exchange's own books: every trade has a number, every change of the book another.

One tape serves all connections and runs on while nobody listens, so that what a client missed
shows as a gap in the numbers.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Final, NamedTuple, Protocol, runtime_checkable

from edc_pipeline.simulator.instruments import Instrument
from edc_pipeline.simulator.market import QUOTE, TRADE, Tick

# What vendors send again to one who subscribes: Kraken the last 50, Coinbase Advanced some.
_TRADES_KEPT: Final = 50


class Printed(NamedTuple):
    """A trade with its number."""

    number: int
    tick: Tick

    @property
    def buyer_came(self) -> bool:
        """Whether the buyer was the aggressor; the seller's order lay in the book."""
        said = self.tick.said
        if said is not None and said.side:
            return said.side == "buy"
        return self.tick.price >= self.tick.ask


@dataclass(slots=True)
class _Book:
    trades: int
    changes: int
    last: deque[Printed]
    quote: Tick | None = None


class Tape:
    """Of the coins among these instruments, as traded on one of the market's venues."""

    def __init__(self, instruments: Sequence[Instrument], *, venue: int) -> None:
        self._venue = {
            number: min(venue, instrument.venues - 1)
            for number, instrument in enumerate(instruments)
            if instrument.asset_class == "crypto"
        }
        # As if each had been listed for a while, one longer than the other.
        self._books = {
            number: _Book(
                4_000_000 + 7919 * number, 90_000_000 + number, deque(maxlen=_TRADES_KEPT)
            )
            for number in self._venue
        }
        self._latest: Tick | None = None
        self._latest_is_here = False

    def hear(self, tick: Tick) -> bool:
        """Number a tick, once, whoever asks first; whether it happened here at all."""
        if tick is self._latest:
            return self._latest_is_here
        self._latest = tick
        # A recorded day is served whole, wherever it was recorded.
        at = tick.venue if tick.said is None else self._venue.get(tick.instrument)
        here = self._venue.get(tick.instrument, -1) == at and tick.kind in (TRADE, QUOTE)
        self._latest_is_here = here
        if here:
            book = self._books[tick.instrument]
            # Several orders come and go between two changes that are told.
            book.changes += 1 + tick.at_ns % 5
            if tick.kind == TRADE:
                book.trades = _number_told(tick) or book.trades + 1
                book.last.append(Printed(book.trades, tick))
            else:
                book.quote = tick
        return here

    def trades(self, instrument: int) -> Sequence[Printed]:
        """The last ones, oldest first."""
        return self._books[instrument].last

    def changes(self, instrument: int) -> int:
        return self._books[instrument].changes

    def quote(self, instrument: int) -> Tick | None:
        return self._books[instrument].quote


def _number_told(tick: Tick) -> int:
    """The number that a recorded trade had; 0: it had none, and gets the next one."""
    said = tick.said
    if said is None or not (said.event_id.isascii() and said.event_id.isdigit()):
        return 0
    return int(said.event_id)


@runtime_checkable
class KeepsTape(Protocol):
    """A vendor whose tape is to hear every tick, also those that nobody listens to."""

    tape: Tape


def decimal(value: float) -> str:
    """A price or size as these exchanges write them; an empty side of the book is 0."""
    return "0.00000000" if isnan(value) else f"{value:.8f}"


class MessageLimit:
    """So many messages in any second, or the client is sent away."""

    def __init__(self, per_s: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._times: deque[float] = deque(maxlen=per_s + 1)

    def exceeded(self) -> bool:
        """To be asked at each message."""
        self._times.append(self._clock())
        return len(self._times) == self._times.maxlen and self._times[-1] - self._times[0] < 1.0
