"""The state of the market at an instant, for who asks instead of listening. Pure: ticks in."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import Final

from edc_pipeline.market_day import NS_PER_SECOND
from edc_pipeline.simulator.instruments import Instrument
from edc_pipeline.simulator.market import QUOTE, TRADE, TellsMore, Tick, TickSource, rows

NAN: Final = float("nan")
BAR_NS: Final = 60 * NS_PER_SECOND
_BARS_KEPT: Final = 500  # minutes


@dataclass(slots=True)
class Bar:
    """One minute's trades."""

    start_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass(slots=True)
class Book:
    """The latest of one venue. NaN: no such side, or nothing yet."""

    bid: float = NAN
    bid_size: float = NAN
    ask: float = NAN
    ask_size: float = NAN
    quote_ns: int = 0
    last: float = NAN
    last_size: float = NAN
    trade_ns: int = 0


@dataclass(slots=True)
class Listing:
    """All that is known of one instrument. Prices of what has no trades are mids."""

    instrument: Instrument
    top: Book = field(default_factory=Book)  # the latest of any venue
    venues: dict[int, Book] = field(default_factory=dict)
    open: float = NAN
    high: float = NAN
    low: float = NAN
    volume: float = 0.0
    bars: deque[Bar] = field(default_factory=lambda: deque(maxlen=_BARS_KEPT))

    @property
    def previous_close(self) -> float:
        return self.instrument.start_price

    @property
    def mid(self) -> float:
        return (self.top.bid + self.top.ask) / 2

    @property
    def price(self) -> float:
        """The last trade's, or the mid where there are no trades."""
        return self.mid if isnan(self.top.last) else self.top.last

    @property
    def changed_ns(self) -> int:
        return max(self.top.quote_ns, self.top.trade_ns)

    def hear(self, tick: Tick) -> None:
        for book in (self.top, self.venues.setdefault(tick.venue, Book())):
            if tick.kind == QUOTE:
                book.bid, book.bid_size = tick.bid, tick.bid_size
                book.ask, book.ask_size = tick.ask, tick.ask_size
                book.quote_ns = tick.ts_ns
            elif tick.kind == TRADE:
                book.last, book.last_size, book.trade_ns = tick.price, tick.size, tick.ts_ns
        if tick.kind == TRADE:
            self.volume += tick.size
            self._print(tick.price, tick.size, tick.ts_ns)
        elif tick.kind == QUOTE and not self.instrument.trade_share and not isnan(self.mid):
            self._print(self.mid, 0.0, tick.ts_ns)

    def _print(self, price: float, size: float, ts_ns: int) -> None:
        if isnan(self.open):
            self.open = self.high = self.low = price
        self.high, self.low = max(self.high, price), min(self.low, price)
        start = ts_ns - ts_ns % BAR_NS
        if not self.bars or self.bars[-1].start_ns < start:
            self.bars.append(Bar(start, price, price, price, price, size))
            return
        bar = self.bars[-1]
        bar.high, bar.low = max(bar.high, price), min(bar.low, price)
        bar.close, bar.volume = price, bar.volume + size


class Board:
    """Every instrument's latest. Fed tick by tick by an exchange, or from a source of its own."""

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        self.listings = tuple(Listing(instrument) for instrument in instruments)
        self._of = {listing.instrument.symbol: listing for listing in self.listings}

    def hear(self, tick: Tick) -> None:
        self.listings[tick.instrument].hear(tick)

    def advance(self, source: TickSource, to_ns: int) -> None:
        tell = source.rows if isinstance(source, TellsMore) else rows
        for tick in tell(source.until(to_ns)):
            self.hear(tick)

    def of(self, symbol: str) -> Listing | None:
        return self._of.get(symbol)

    def listed(self, asset_classes: Iterable[str]) -> list[Listing]:
        wanted = frozenset(asset_classes)
        return [li for li in self.listings if li.instrument.asset_class in wanted]
