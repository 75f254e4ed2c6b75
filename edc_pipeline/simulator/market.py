"""A believable synthetic market: pure, seeded, reproducible. The clock is handed in.

Ticks are made in time steps, whole columns at once, and handed out in the order of `at_ns`. The
steps lie on a grid that depends on the start alone, so the same seed and start give the same
ticks whether one asks once or a thousand times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edc_pipeline.market_day import NS_PER_SECOND
from edc_pipeline.simulator.activity import Bursts, session_progress, stock_activity
from edc_pipeline.simulator.instruments import FACTORS, Instrument

QUOTE: Final = 0
TRADE: Final = 1
BREAK: Final = 2  # a prior trade is declared void: its own time, price and size once more

TICK_DTYPE: Final = np.dtype(
    [
        ("at_ns", np.int64),  # when the exchange sends it
        ("ts_ns", np.int64),  # what its stamp says: mostly a little earlier, now and then later
        ("instrument", np.int32),
        ("venue", np.int32),
        ("kind", np.int8),
        ("bid", np.float64),  # NaN: no such side of the book
        ("bid_size", np.float64),
        ("ask", np.float64),
        ("ask_size", np.float64),
        ("price", np.float64),
        ("size", np.float64),
        ("halted", np.bool_),
        ("after_hours", np.bool_),
        ("sweep", np.bool_),
        ("odd_lot", np.bool_),
        ("exempt", np.bool_),
    ]
)
Ticks = NDArray[np.void]  # of TICK_DTYPE
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Said:
    """What a recorded tick tells besides; a vendor's protocol says it again where it can.

    Prices and sizes are floats read correctly rounded, so their shortest text (`repr`) is the
    source's own decimal up to 15 digits.
    """

    venue: str = ""
    event_id: str = ""  # the recorded vendor's own
    seq: int = -1
    side: str = ""  # the aggressor's: buy, sell
    conditions: str = ""


class Tick(NamedTuple):
    """One row of `Ticks`; a quote has no price and size, a trade carries the book it met."""

    at_ns: int
    ts_ns: int
    instrument: int
    venue: int
    kind: int
    bid: float
    bid_size: float
    ask: float
    ask_size: float
    price: float
    size: float
    halted: bool
    after_hours: bool
    sweep: bool
    odd_lot: bool
    exempt: bool
    said: Said | None = None  # None: a synthetic tick


assert Tick._fields == (*(TICK_DTYPE.names or ()), "said")


def rows(ticks: Ticks) -> list[Tick]:
    return [Tick(*row) for row in ticks.tolist()]


class TickSource(Protocol):
    """Where ticks come from: the synthetic market here, a recorded day elsewhere."""

    @property
    def instruments(self) -> Sequence[Instrument]: ...
    def until(self, ns: int) -> Ticks:
        """Every tick before `ns` that was not handed out yet."""
        ...

    def take(self, count: int) -> Ticks:
        """The next `count` ticks, whenever they are due; fewer only at the end of the source."""
        ...

    def jump_to(self, ns: int) -> None:
        """Leave out what lies before `ns`."""
        ...


@runtime_checkable
class TellsMore(Protocol):
    """A source whose ticks bear more than the columns of `TICK_DTYPE`."""

    def rows(self, ticks: Ticks) -> list[Tick]:
        """The ticks last handed out, one by one, with what they say besides."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How much happens. `rate` is ticks per second over all instruments, on average."""

    rate: float = 200.0
    floor: float = 0.5  # stocks outside 9:30 to 16:00, as a share of their daytime rate
    burstiness: float = 1.0  # 0: a steady stream
    # 1,274 of 24,293 IBM trades of a real day repeat (ms, price, size, exchange, condition).
    repeat_share: float = 0.05
    one_sided_share: float = 0.004
    break_share: float = 0.0002  # of trades in stocks
    halts_per_hour: float = 0.05  # per stock

    def __post_init__(self) -> None:
        if not 0 < self.rate <= 10_000_000:
            raise ValueError(f"rate: {self.rate} is not between 0 and 10,000,000 ticks a second")
        if self.floor < 0 or self.burstiness < 0:
            raise ValueError("floor and burstiness must not be negative")


_STEP_TICKS: Final = 64  # below some 50 rows the cost of a step is numpy's call overhead alone
_STEP_S_MIN, _STEP_S_MAX = 0.02, 0.5
_YEAR_S: Final = 365 * 86_400.0
_PULL_S: Final = 5 * 86_400.0  # prices drift back to their start, so that a long run stays sane
_HALT_S: Final = (5.0, 60.0)
_RECENT_TRADES: Final = 256


class Market:
    """Correlated prices, clustered arrivals, a book per instrument and venue, trades at its touch.

    A "line" is one book: an instrument on one venue. Its arrays are indexed by line.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        *,
        start_ns: int,
        seed: int = 0,
        pace: Pace | None = None,
    ) -> None:
        self.instruments = tuple(instruments)
        self.pace = pace or Pace()
        self._random = np.random.default_rng(seed)
        step_s = min(_STEP_S_MAX, max(_STEP_S_MIN, _STEP_TICKS / self.pace.rate))
        self._step_ns = int(step_s * NS_PER_SECOND)
        self._next_ns = start_ns
        self._pending: Ticks = np.empty(0, TICK_DTYPE)

        listed = self.instruments
        self._is_stock = np.array([i.asset_class in ("equity", "etf") for i in listed])
        loadings = np.array([i.loadings for i in listed])
        volatility = np.array([i.volatility for i in listed])
        self._factor_loading = loadings * volatility[:, None]
        own_share = np.sqrt(np.maximum(0.0, 1 - (loadings**2).sum(axis=1)))
        self._own_volatility = volatility * own_share
        self._start_log = np.log([i.start_price for i in listed])
        self._log_price = self._start_log.copy()
        self._bursts = Bursts(len(listed), self.pace.burstiness)
        self._halted_until = np.zeros(len(listed), np.int64)
        self._latency_s = 0.004

        venues = np.array([i.venues for i in listed])
        self._instrument_of = np.repeat(np.arange(len(listed)), venues)
        self._venue_of = np.concatenate([np.arange(v) for v in venues])
        of = self._instrument_of
        activity = (np.array([i.activity for i in listed]) / venues)[of]
        self._weight = activity / activity.sum()
        self._ticks_per_unit = np.array([float(i.ticks_per_unit) for i in listed])[of]
        self._spread = np.array([i.spread_ticks for i in listed])[of]
        self._trade_share = np.array([i.trade_share for i in listed])[of]
        self._typical_size = np.array([i.typical_size for i in listed])[of]
        self._line_is_stock = self._is_stock[of]
        self._line_is_coin = np.array([i.asset_class == "crypto" for i in listed])[of]
        # Venues disagree a little, always in the same direction.
        self._venue_log = np.where(venues[of] > 1, (self._venue_of - 1.5) * 3e-5, 0.0)
        self._book = self._first_book()
        self._recent_trades: Ticks = np.empty(0, TICK_DTYPE)

    # -- what callers ask ---------------------------------------------------------------------

    def until(self, ns: int) -> Ticks:
        made = [self._pending]
        while self._next_ns < ns:
            made.append(self._step())
        self._pending = np.concatenate(made)
        return self._hand_out(int(np.searchsorted(self._pending["at_ns"], ns)))

    def take(self, count: int) -> Ticks:
        made = [self._pending]
        have = len(self._pending)
        while have < count:
            made.append(self._step())
            have += len(made[-1])
        self._pending = np.concatenate(made)
        return self._hand_out(count)

    def jump_to(self, ns: int) -> None:
        self._pending = self._pending[self._pending["at_ns"] >= ns]
        self._next_ns = max(self._next_ns, ns)

    def _hand_out(self, count: int) -> Ticks:
        ticks, self._pending = self._pending[:count], self._pending[count:]
        return ticks

    # -- one time step ------------------------------------------------------------------------

    def _step(self) -> Ticks:
        start_ns, dt_s = self._next_ns, self._step_ns / NS_PER_SECOND
        self._next_ns += self._step_ns
        busy = self._bursts.activity(dt_s, self._random)
        old_log, new_log = self._move_prices(dt_s, busy)
        halted = self._halts(start_ns, dt_s)

        clock = np.where(self._is_stock, stock_activity(start_ns, self.pace.floor), 1.0)
        expected = self.pace.rate * dt_s * self._weight * (busy * clock)[self._instrument_of]
        line = np.repeat(np.arange(len(expected)), self._random.poisson(expected))
        ticks = np.zeros(len(line), TICK_DTYPE)
        moment = self._random.random(len(line))
        moment = moment[np.lexsort((moment, line))]  # by line, then in the order of time
        ticks["instrument"] = of = self._instrument_of[line]
        ticks["venue"] = self._venue_of[line]
        ticks["at_ns"] = start_ns + (moment * self._step_ns).astype(np.int64)
        ticks["ts_ns"] = ticks["at_ns"] - self._latency_ns(len(line))
        ticks["after_hours"] = self._line_is_stock[line] & (session_progress(start_ns) is None)
        ticks["halted"] = halted[of]
        is_trade = (self._random.random(len(line)) < self._trade_share[line]) & ~halted[of]
        ticks["kind"] = np.where(is_trade, TRADE, QUOTE)

        log_price = old_log[of] + (new_log - old_log)[of] * moment + self._venue_log[line]
        self._quote(ticks, line, log_price)
        self._stand_on_last_quote(ticks, line)
        self._trade(ticks, line, is_trade)
        copies = 1 + (is_trade & (self._random.random(len(line)) < self.pace.repeat_share))
        ticks = np.concatenate([np.repeat(ticks, copies), self._breaks(start_ns, is_trade.sum())])
        self._remember_trades(ticks)
        return ticks[np.argsort(ticks["at_ns"], kind="stable")]

    def _move_prices(self, dt_s: float, busy: Floats) -> tuple[Floats, Floats]:
        years = dt_s / _YEAR_S
        causes = self._random.standard_normal(len(FACTORS))
        own = self._random.standard_normal(len(busy))
        moves = self._factor_loading @ causes + self._own_volatility * own * np.sqrt(busy)
        old = self._log_price
        pull = (self._start_log - old) * (dt_s / _PULL_S)
        self._log_price = old + moves * np.sqrt(years) + pull
        return old, self._log_price

    def _halts(self, start_ns: int, dt_s: float) -> NDArray[np.bool_]:
        starts = self._random.random(len(self._is_stock)) < (
            self.pace.halts_per_hour * dt_s / 3600 * self._is_stock
        )
        if starts.any():
            lasts_s = self._random.uniform(*_HALT_S, len(starts))
            ends = start_ns + (lasts_s * NS_PER_SECOND).astype(np.int64)
            self._halted_until = np.where(starts, ends, self._halted_until)
        halted: NDArray[np.bool_] = self._halted_until > start_ns
        return halted

    def _latency_ns(self, count: int) -> NDArray[np.int64]:
        """Stamp to sending: some ms that wander slowly; 1 in 100 is stamped after it was sent.

        Recordings show receive times 4 to 76 ms before the event's own time: clocks disagree.
        """
        wander = self._random.normal(0.004, 0.001)
        self._latency_s = max(0.0005, 0.9 * self._latency_s + 0.1 * wander)
        latency = self._latency_s + self._random.random(count) * 0.0002
        odd = self._random.random(count)
        latency = np.where(odd < 0.01, -0.010 * self._random.random(count), latency)
        latency = np.where(odd > 0.998, latency + 0.25 * self._random.random(count), latency)
        return (latency * NS_PER_SECOND).astype(np.int64)

    def _quote(self, ticks: Ticks, line: NDArray[np.intp], log_price: Floats) -> None:
        count = len(line)
        per_unit = self._ticks_per_unit[line]
        widening = self._random.geometric(0.75, count) - 1 + 2 * ticks["after_hours"]
        spread = self._spread[line] + widening
        bid = np.maximum(1.0, np.round(np.exp(log_price) * per_unit - spread / 2))
        ask = bid + spread
        if count:  # an empty side is told by NaN
            gone = self._random.random(count)
            bid[gone < self.pace.one_sided_share / 2] = np.nan
            ask[gone > 1 - self.pace.one_sided_share / 2] = np.nan
        # Dividing whole ticks gives the correctly rounded decimal: 24835 / 100 prints 248.35.
        ticks["bid"], ticks["ask"] = bid / per_unit, ask / per_unit
        for side in ("bid", "ask"):
            size = self._book_sizes(line)
            ticks[f"{side}_size"] = np.where(np.isnan(ticks[side]), np.nan, size)

    def _book_sizes(self, line: NDArray[np.intp]) -> Floats:
        lots = self._random.geometric(0.3, len(line)) * self._typical_size[line]
        fraction = np.round(lots * self._random.random(len(line)), 8)
        size: Floats = np.where(self._line_is_coin[line], np.maximum(fraction, 1e-8), lots)
        return size

    def _stand_on_last_quote(self, ticks: Ticks, line: NDArray[np.intp]) -> None:
        """Give each trade the book of the last quote before it, from an earlier step if need be."""
        lines = len(self._book)
        order = np.lexsort(
            (
                np.concatenate([np.zeros(lines), np.ones(len(line))]),
                np.concatenate([np.arange(lines), line]),
            )
        )
        rows_of = np.concatenate([self._book, ticks])[order]
        position = np.arange(len(rows_of))
        # Each line's stretch begins with its book so far, hence no quote leaks to the next line.
        last = np.maximum.accumulate(np.where(rows_of["kind"] == QUOTE, position, 0))
        is_new = order >= lines
        for column in ("bid", "bid_size", "ask", "ask_size"):
            rows_of[column] = rows_of[column][last]
            ticks[column] = rows_of[column][is_new]
        ends = np.append(np.flatnonzero(order < lines)[1:] - 1, len(rows_of) - 1)
        self._book = rows_of[ends]
        self._book["kind"] = QUOTE

    def _trade(self, ticks: Ticks, line: NDArray[np.intp], is_trade: NDArray[np.bool_]) -> None:
        count = len(line)
        buys = self._random.random(count) < 0.5
        touch = np.where(buys, ticks["ask"], ticks["bid"])
        other = np.where(buys, ticks["bid"], ticks["ask"])
        price = np.where(np.isnan(touch), other, touch)
        stock = self._line_is_stock[line]
        # Close to half of the prints of a stock are odd lots; the rest are round, few of them big.
        odd = np.floor(1 + 99 * self._random.random(count) ** 2)
        lots = 100.0 * self._random.geometric(0.55, count)
        shares = np.where(self._random.random(count) < 0.45, odd, lots)
        coins = self._typical_size[line] * self._random.standard_exponential(count) + 1e-8
        size = np.where(stock, shares, np.round(coins, 8))
        ticks["price"] = np.where(is_trade, price, np.nan)
        ticks["size"] = np.where(is_trade, size, np.nan)
        stock_trade = is_trade & stock
        ticks["odd_lot"] = stock_trade & (size < 100)
        ticks["sweep"] = stock_trade & (self._random.random(count) < 0.3)
        ticks["exempt"] = stock_trade & (self._random.random(count) < 0.01)

    def _breaks(self, start_ns: int, trades: int) -> Ticks:
        count = min(int(self._random.poisson(self.pace.break_share * trades)), 8)
        if not count or not len(self._recent_trades):
            return np.empty(0, TICK_DTYPE)
        chosen = self._random.integers(0, len(self._recent_trades), count)
        broken: Ticks = self._recent_trades[chosen].copy()
        broken["kind"] = BREAK
        broken["at_ns"] = start_ns + self._random.integers(0, self._step_ns, count)
        return broken

    def _remember_trades(self, ticks: Ticks) -> None:
        fresh = ticks[(ticks["kind"] == TRADE) & self._is_stock[ticks["instrument"]]]
        if len(fresh):
            both = np.concatenate([self._recent_trades, fresh[-_RECENT_TRADES:]])
            self._recent_trades = both[-_RECENT_TRADES:]

    def _first_book(self) -> Ticks:
        line = np.arange(len(self._instrument_of))
        book = np.zeros(len(line), TICK_DTYPE)
        book["instrument"], book["venue"] = self._instrument_of, self._venue_of
        self._quote(book, line, self._log_price[self._instrument_of] + self._venue_log)
        return book
