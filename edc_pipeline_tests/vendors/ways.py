"""The feeds that go the whole way (`test_whole_way`), and what the market's ticks mean for each.

To add a feed, add a line to `WAYS`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import isnan
from typing import Any, Final

from edc_pipeline.simulator.market import BREAK, QUOTE, TRADE, Tick
from edc_pipeline_tests.vendors import coins_told as coins

NOON: Final = 1_769_101_200_000_000_000
FRAMES: Final = 400

Key = tuple[Any, ...]  # event type, ts_event, symbol, and the numbers; None for NaN
Tells = Callable[[Tick, str], Iterable[Key]]


def trades(tick: Tick, symbol: str) -> Iterator[Key]:
    if tick.kind == TRADE:
        yield ("trade", tick.ts_ns, symbol, tick.price, tick.size)


def trades_and_breaks(tick: Tick, symbol: str) -> Iterator[Key]:
    if tick.kind in {TRADE, BREAK}:
        yield ("trade", tick.ts_ns, symbol, tick.price, tick.size)


def quotes(tick: Tick, symbol: str) -> Iterator[Key]:
    if tick.kind == QUOTE:
        yield ("quote", tick.ts_ns, symbol, tick.bid, tick.bid_size, tick.ask, tick.ask_size)


def quotes_without_sizes(tick: Tick, symbol: str) -> Iterator[Key]:
    if tick.kind == QUOTE:
        yield ("quote", tick.ts_ns, symbol, tick.bid, float("nan"), tick.ask, float("nan"))


def quotes_in_lots(tick: Tick, symbol: str) -> Iterator[Key]:
    if tick.kind == QUOTE:
        sizes = tick.bid_size / 100, tick.ask_size / 100
        yield ("quote", tick.ts_ns, symbol, tick.bid, sizes[0], tick.ask, sizes[1])


def last_prices(tick: Tick, symbol: str) -> Iterator[Key]:
    """Of what has no trades, the mids."""
    mid = (tick.bid + tick.ask) / 2
    if symbol not in FX and tick.kind == TRADE:
        yield ("ref_px", tick.ts_ns, symbol, tick.price)
    elif symbol in FX and not isnan(mid):
        yield ("ref_px", tick.ts_ns, symbol, mid)


def finnhub_trades(tick: Tick, symbol: str) -> Iterator[Key]:
    """Of a coin those of one exchange; of a currency the mids, with no volume."""
    if symbol in FX:
        for _, ts, _, mid in last_prices(tick, symbol):
            yield ("trade", ts, symbol, mid, 0.0)
    elif symbol not in COINS or tick.venue == 0:
        yield from trades(tick, symbol)


class Bars:
    """Massive's bars: told with the first trade after them, stamped with their end."""

    seconds = 60

    def __init__(self) -> None:
        self._bars: dict[str, list[float]] = {}
        self._began: dict[str, int] = {}

    def __call__(self, tick: Tick, symbol: str) -> Iterator[Key]:
        if tick.kind != TRADE:
            return
        length = self.seconds * 10**9
        began = in_ms(tick.ts_ns) // length * length
        prices = self._bars.get(symbol)
        if prices and began > self._began[symbol]:
            for price in (prices[0], max(prices), min(prices), prices[-1]):
                yield ("ref_px", self._began[symbol] + length, symbol, price)
            prices = None
        if not prices:
            self._began[symbol], self._bars[symbol] = began, [tick.price]
        else:
            prices.append(tick.price)


class SecondBars(Bars):
    seconds = 1


def in_ms(ts_ns: int) -> int:
    return ts_ns // 10**6 * 10**6


def in_seconds(ts_ns: int) -> int:
    return ts_ns // 10**9 * 10**9


def through_a_float(ts_ns: int) -> int:
    return int(float(ts_ns))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """One feed of one vendor, and what its server makes of the market."""

    vendor: str
    feed: str
    symbols: tuple[str, ...]
    tells: tuple[Tells | type[Bars], ...]  # what the daily files must hold of a tick
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    stamp: Callable[[int], int] = int  # what the vendor leaves of a nanosecond stamp
    heartbeats: bool = True
    # A symbol that the server does not have. "": it is accepted, and stays silent.
    refused: str = ""
    refusal: str = "refused"  # what the operator reads then
    needs_key: bool = True
    frames: int = FRAMES
    # The market waits for so many messages: all is subscribed then.
    messages: int = 1

    def __str__(self) -> str:
        return f"{self.vendor}-{self.feed}"


STOCKS: Final = ("SPY", "AAPL", "BRK.B")
FX: Final = ("EUR/USD", "USD/JPY")
COINS: Final = ("BTC/USD", "SHIB/USD")
TETHERED: Final = ("BTC/USDT", "ETH/USDT")

WAYS: Final = (
    Way(
        vendor="tiingo",
        feed="iex",
        symbols=STOCKS,
        options={"threshold_level": 0},
        tells=(trades_and_breaks, quotes),
    ),
    Way(
        vendor="binance",
        feed="spot",
        symbols=COINS,
        tells=(coins.trades(coins.BINANCE, coins.MS), coins.quotes(coins.BINANCE, None)),
        heartbeats=False,
        needs_key=False,
    ),
    Way(
        vendor="binance",
        feed="spot",
        symbols=TETHERED,
        options={"streams": ["aggTrade"], "combined": True, "time_unit": "microsecond"},
        tells=(coins.trades(coins.BINANCE, coins.US),),
        heartbeats=False,
        needs_key=False,
        messages=2,
    ),
    Way(
        vendor="binance",
        feed="usdm",
        symbols=TETHERED,
        tells=(coins.trades(coins.BINANCE, coins.MS),),
        heartbeats=False,
        needs_key=False,
    ),
    Way(
        vendor="binance",
        feed="usdm_public",
        symbols=TETHERED,
        options={"streams": ["bookTicker", "trade"]},
        tells=(
            coins.trades(coins.BINANCE, coins.MS),
            coins.quotes(coins.BINANCE, coins.MS),
        ),
        heartbeats=False,
        needs_key=False,
    ),
    Way(
        vendor="binance",
        feed="coinm",
        symbols=("BTC/USD-PERP", "DOT/USD-260925"),
        tells=(
            coins.trades(coins.BINANCE, coins.MS),
            coins.quotes(coins.BINANCE, coins.MS),
        ),
        heartbeats=False,
        needs_key=False,
    ),
    Way(
        vendor="coinbase",
        feed="exchange",
        symbols=COINS,
        tells=(
            coins.trades(coins.COINBASE, coins.US),
            coins.quotes(coins.COINBASE, coins.US, TRADE),
        ),
        refused="FOO/USD",
        needs_key=False,
        messages=2,
    ),
    Way(
        vendor="coinbase",
        feed="advanced",
        symbols=COINS,
        tells=(
            coins.trades(coins.COINBASE, coins.US),
            coins.quotes(coins.COINBASE, 1, TRADE),
        ),
        refused="FOO/USD",
        needs_key=False,
        messages=5,
    ),
    Way(
        vendor="kraken",
        feed="spot",
        symbols=COINS,
        tells=(
            coins.trades(coins.KRAKEN, coins.US),
            coins.quotes(coins.KRAKEN, coins.US),
        ),
        refused="FOO/USD",
        needs_key=False,
        messages=2,
    ),
    Way(
        vendor="massive",
        feed="stocks",
        symbols=STOCKS,
        tells=(trades, quotes_in_lots),
        stamp=in_ms,
        heartbeats=False,
        refused="ZZZZ",
    ),
    Way(
        vendor="massive",
        feed="stocks",
        symbols=STOCKS,
        options={"channels": ["A", "AM"]},
        tells=(Bars, SecondBars),
        heartbeats=False,
        frames=150,
    ),
    Way(
        vendor="massive",
        feed="forex",
        symbols=FX,
        tells=(quotes_without_sizes,),
        stamp=in_ms,
        heartbeats=False,
        refused="XXX/YYY",
    ),
    Way(
        vendor="massive",
        feed="crypto",
        symbols=COINS,
        tells=(trades, quotes),
        stamp=in_ms,
        heartbeats=False,
    ),
    Way(
        vendor="finnhub",
        feed="trades",
        symbols=(*STOCKS, *FX, *COINS),
        tells=(finnhub_trades,),
        stamp=in_ms,
        messages=7,
    ),
    Way(
        vendor="finage",
        feed="stocks",
        symbols=("AAPL", "BRK.B"),
        tells=(quotes,),
        stamp=in_ms,
        heartbeats=False,
    ),
    Way(
        vendor="finage",
        feed="etf",
        symbols=("SPY",),
        tells=(quotes,),
        stamp=in_seconds,
        heartbeats=False,
    ),
    Way(
        vendor="finage",
        feed="forex",
        symbols=FX,
        tells=(quotes_without_sizes,),
        stamp=in_ms,
        heartbeats=False,
    ),
    Way(
        vendor="finage",
        feed="crypto",
        symbols=COINS,
        tells=(trades,),
        stamp=in_ms,
        heartbeats=False,
    ),
    Way(
        vendor="fmp",
        feed="stocks",
        symbols=STOCKS,
        tells=(trades_and_breaks, quotes),
        stamp=through_a_float,
        refused="ZZZZ",
    ),
    Way(vendor="fmp", feed="forex", symbols=FX, tells=(quotes,), stamp=through_a_float),
    Way(vendor="fmp", feed="crypto", symbols=COINS, tells=(trades, quotes), stamp=through_a_float),
    Way(
        vendor="twelve_data",
        feed="price",
        symbols=("SPY", "BRK.B", "EUR/USD", "BTC/USD"),
        tells=(last_prices,),
        stamp=in_seconds,
        refused="ZZZZ",
    ),
)
