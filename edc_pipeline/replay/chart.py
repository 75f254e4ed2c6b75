"""What a day looked like: one symbol's price by the minute, in a terminal or as SVG.

Fed with blocks as they are played; what it keeps is one bar a minute. Trades make the price; a
symbol without any (a currency) is drawn by the middle of its quotes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from edc_pipeline.market_day import MARKET_ZONE, NS_PER_SECOND
from edc_pipeline.replay.records import KINDS, Block, Labels

MINUTE_NS: Final = 60 * NS_PER_SECOND
# A column of a terminal is two dots wide and four high: U+2800 and a bit for each dot.
_DOTS: Final = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


@dataclass(slots=True)
class Bar:
    open: float
    high: float
    low: float
    close: float
    events: int

    def add(self, later: Bar) -> None:
        self.high, self.low = max(self.high, later.high), min(self.low, later.low)
        self.close = later.close
        self.events += later.events


class Chart:
    """One symbol: the one named, or else the one with the most trades in the first block."""

    def __init__(self, labels: Labels, symbol: str | None = None) -> None:
        self.symbol = symbol
        self._labels = labels
        self._trades: dict[int, Bar] = {}
        self._quotes: dict[int, Bar] = {}

    def hear(self, block: Block) -> None:
        if self.symbol is None:
            self.symbol = self._busiest(block)
        mine = np.array([label.symbol == self.symbol for label in self._labels.known])
        rows = block[mine[block["label"]]]
        trades = rows[rows["type"] == KINDS["trade"]]
        quotes = rows[rows["type"] == KINDS["quote"]]
        _into(self._trades, trades["ts_event"], trades["price"])
        _into(self._quotes, quotes["ts_event"], (quotes["price"] + quotes["ask_price"]) / 2)

    def _busiest(self, block: Block) -> str:
        trades = block[block["type"] == KINDS["trade"]]
        counted = trades if len(trades) else block
        by_symbol: dict[str, int] = {}
        for code, n in enumerate(np.bincount(counted["label"]).tolist()):
            name = self._labels.known[code].symbol
            by_symbol[name] = by_symbol.get(name, 0) + n
        return max(by_symbol, key=lambda name: by_symbol[name])

    @property
    def bars(self) -> list[tuple[int, Bar]]:
        """`(start of the minute in ns, bar)`, in order."""
        return sorted((self._trades or self._quotes).items())

    def as_text(self, columns: int = 78, lines: int = 16) -> str:
        bars = self.bars
        if not bars:
            return f"nothing of {self.symbol or 'any symbol'} to draw"
        width = max(20, columns - 12)
        spans = _squeezed(bars, width * 2)
        low, high = min(b.low for b in spans if b), max(b.high for b in spans if b)
        height = lines * 4
        scale = (height - 1) / ((high - low) or 1.0)
        cells = [[0] * width for _ in range(lines)]
        for x, bar in enumerate(spans):
            if bar is None:
                continue
            top, bottom = (round((high - price) * scale) for price in (bar.high, bar.low))
            for y in range(top, bottom + 1):
                cells[y // 4][x // 2] |= _DOTS[y % 4][x % 2]
        rows = []
        for number, row in enumerate(cells):
            price = high - (high - low) * number / max(lines - 1, 1)
            drawn = "".join(chr(0x2800 + bits) if bits else " " for bits in row)
            rows.append(f"{_shown(price, high - low):>10} ┤{drawn.rstrip()}")
        first, last = bars[0][0], bars[-1][0] + MINUTE_NS
        ends = f"{_clock(first)}{_clock(last):>{width - 5}}"
        return "\n".join((self.title, *rows, f"{'':>11} {ends}"))

    @property
    def title(self) -> str:
        bars = self.bars
        day = dt.datetime.fromtimestamp(bars[0][0] // NS_PER_SECOND, MARKET_ZONE).date()
        opened, closed = bars[0][1].open, bars[-1][1].close
        change = (closed / opened - 1) * 100 if opened else 0.0
        span = max(b.high for _, b in bars) - min(b.low for _, b in bars)
        events = sum(b.events for _, b in bars)
        what = "trades" if self._trades else "quotes"
        return (
            f"{self.symbol}  {day}  {_shown(opened, span)} → {_shown(closed, span)}"
            f"  {change:+.2f} %  {events:,} {what}"
        )

    def as_svg(self, width: int = 960, height: int = 420) -> str:
        """Candles by the minute or wider; needs nothing but a browser."""
        bars = self.bars
        if not bars:
            raise ValueError(f"nothing of {self.symbol or 'any symbol'} to draw")
        left, right, top, bottom = 16, 84, 44, 34
        inner, tall = width - left - right, height - top - bottom
        candles = _squeezed(bars, min(len(bars), inner // 5))
        low, high = min(b.low for b in candles if b), max(b.high for b in candles if b)
        reach = (high - low) or 1.0
        step = inner / len(candles)

        def y(price: float) -> float:
            return top + (high - price) / reach * tall

        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'font-family="sans-serif" font-size="12" role="img">',
            f"<title>{escape(self.title)}</title>",
            f'<rect width="{width}" height="{height}" fill="#fff"/>',
            f'<text x="{left}" y="26" font-size="16" fill="#222">{escape(self.title)}</text>',
        ]
        for n in range(5):
            price = low + reach * n / 4
            parts.append(
                f'<path d="M{left} {y(price):.1f}H{width - right}" stroke="#e3e3e3"/>'
                f'<text x="{width - right + 8}" y="{y(price) + 4:.1f}" fill="#555">'
                f"{_shown(price, reach)}</text>"
            )
        for n, bar in enumerate(candles):
            if bar is None:
                continue
            x = left + step * (n + 0.5)
            colour = "#1a7f4b" if bar.close >= bar.open else "#c0392b"
            upper, lower = y(max(bar.open, bar.close)), y(min(bar.open, bar.close))
            body = max(1.0, step * 0.7)
            parts.append(
                f'<path d="M{x:.1f} {y(bar.high):.1f}V{y(bar.low):.1f}" stroke="{colour}"/>'
                f'<rect x="{x - body / 2:.1f}" y="{upper:.1f}" width="{body:.1f}" '
                f'height="{max(1.0, lower - upper):.1f}" fill="{colour}"/>'
            )
        first, last = bars[0][0], bars[-1][0] + MINUTE_NS
        for n in range(6):
            at = first + (last - first) * n // 5
            parts.append(
                f'<text x="{left + inner * n / 5:.0f}" y="{height - 12}" fill="#555" '
                f'text-anchor="middle">{_clock(at)}</text>'
            )
        return "\n".join((*parts, "</svg>\n"))


def _into(bars: dict[int, Bar], times: NDArray[np.int64], prices: NDArray[np.float64]) -> None:
    sound = ~np.isnan(prices)
    times, prices = times[sound], prices[sound]
    if not len(times):
        return
    minutes = times // MINUTE_NS
    starts = np.flatnonzero(np.concatenate(([True], minutes[1:] != minutes[:-1])))
    ends = np.append(starts[1:], len(times)) - 1
    high, low = np.maximum.reduceat(prices, starts), np.minimum.reduceat(prices, starts)
    columns = (minutes[starts], prices[starts], high, low, prices[ends], ends - starts + 1)
    for minute, *values in zip(*(c.tolist() for c in columns), strict=True):
        bar = Bar(*values)
        known = bars.setdefault(minute * MINUTE_NS, bar)
        if known is not bar:
            known.add(bar)


def _squeezed(bars: Sequence[tuple[int, Bar]], columns: int) -> list[Bar | None]:
    """So many columns of equal time; None where nothing was traded."""
    first = bars[0][0]
    span = bars[-1][0] - first + MINUTE_NS
    made: list[Bar | None] = [None] * max(1, columns)
    for at, bar in bars:
        place = (at - first) * len(made) // span
        there = made[place]
        if there is None:
            made[place] = Bar(bar.open, bar.high, bar.low, bar.close, bar.events)
        else:
            there.add(bar)
    return made


def _shown(price: float, span: float) -> str:
    decimals = 2
    while span and span < 10 ** (1 - decimals) and decimals < 8:
        decimals += 1
    return f"{price:,.{decimals}f}"


def _clock(ns: int) -> str:
    return f"{dt.datetime.fromtimestamp(ns // NS_PER_SECOND, MARKET_ZONE):%H:%M}"
