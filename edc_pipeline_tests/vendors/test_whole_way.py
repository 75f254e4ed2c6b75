"""Each vendor the whole way: its adapter against the simulator's server over a real socket, through
journal and spool into daily files, which are compared with what the simulated market did.

The comparison never asks an adapter: prices, sizes and times are taken from the market's own ticks.
To add a feed, add a line to `WAYS`.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from math import isnan
from pathlib import Path
from typing import Any, Final

import pytest
import tables

from edc_pipeline import consolidation
from edc_pipeline.capture.collector import Collector
from edc_pipeline.events import EventType
from edc_pipeline.settings import Settings
from edc_pipeline.simulator.exchange import Exchange, ExchangeConfig
from edc_pipeline.simulator.instruments import listing
from edc_pipeline.simulator.market import BREAK, QUOTE, TRADE, Tick
from edc_pipeline.simulator.session import Asked, Reply, Session, Terms
from edc_pipeline.simulator.speakers import SPEAKERS
from edc_pipeline.spool.layout import days_in
from edc_pipeline.spool.ledger import Ledger
from edc_pipeline.vendors import VENDORS
from edc_pipeline_tests.capture.test_collector import until
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
ways = pytest.mark.parametrize("way", WAYS, ids=str)


class Market:
    """Listens to what the vendor's server is given to tell."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._tells = [tells() if isinstance(tells, type) else tells for tells in way.tells]
        self.told: Counter[Key] = Counter()

    def exchange(self, **more: Any) -> Exchange:
        instruments = listing(self._way.symbols)
        config = ExchangeConfig(
            **{"events": self._way.frames, "script_start_ns": NOON, "audience": 1, "seed": 7}
            | more,
            vendor=self._way.vendor,
            symbols=self._way.symbols,
        )
        vendor = SPEAKERS[self._way.vendor](instruments, terms=config.terms, seed=7)
        open_session = vendor.session

        def session(service: str, ordinal: int, asked: Asked) -> Session:
            return self._overheard(open_session(service, ordinal, asked))

        vendor.session = session  # type: ignore[method-assign]
        return Exchange(config, vendor=vendor)

    def _overheard(self, session: Session) -> Session:
        return Overheard(session, self._way.messages, self._tell)

    def _tell(self, tick: Tick) -> None:
        self.told.update(self._keys(tick))

    def _keys(self, tick: Tick) -> Iterator[Key]:
        symbol = self._way.symbols[tick.instrument]
        for tells in self._tells:
            for kind, ts, *rest in tells(tick, symbol):
                yield canonical(kind, None if ts is None else self._way.stamp(ts), *rest)


class Overheard:
    """A session that says what was told, and is subscribed once all was asked for."""

    def __init__(self, session: Session, messages: int, tell: Callable[[Tick], None]) -> None:
        self._session = session
        self._awaited = messages
        self._tell = tell
        self._waiting: list[Tick] = []  # a vendor may gather some before it sends a frame
        self.service = session.service

    @property
    def subscription(self) -> Hashable | None:
        return None if self._awaited > 0 else self._session.subscription

    @property
    def refused(self) -> bool:
        return self._session.refused

    @refused.setter
    def refused(self, value: bool) -> None:
        self._session.refused = value

    def greeting(self) -> list[Reply]:
        return self._session.greeting()

    def heartbeat(self) -> Reply | None:
        return self._session.heartbeat()

    def on_message(self, message: str | bytes) -> list[Reply]:
        self._awaited -= 1
        return self._session.on_message(message)

    def on_tick(self, tick: Tick) -> str | bytes | Sequence[str | bytes] | None:
        self._waiting.append(tick)
        frames = self._session.on_tick(tick)
        if frames is not None:
            for one in self._waiting:
                self._tell(one)
            self._waiting.clear()
        return frames


def canonical(*values: Any) -> Key:
    return tuple(None if isinstance(v, float) and isnan(v) else v for v in values)


def settings_for(way: Way, exchange: Exchange, folder: Path, *more_symbols: str) -> Settings:
    feed = {
        "vendor": way.vendor,
        "feed": way.feed,
        "symbols": (*way.symbols, *more_symbols),
        "options": dict(way.options),
        "url": exchange.url(way.feed),
    }
    return Settings(
        data_dir=folder,
        capture={"horizon_days": 36_500},  # type: ignore[arg-type]
        feeds={"feed": feed},  # type: ignore[dict-item]
    )


_NUMBERS: Final[dict[EventType, tuple[str, ...]]] = {
    "trade": ("price", "size"),
    "quote": ("bid_price", "bid_size", "ask_price", "ask_size"),
    "ref_px": ("price",),
}


def in_daily_files(settings: Settings) -> Counter[Key]:
    """Consolidate all that is in the spool, and read the files as anyone would."""
    found: Counter[Key] = Counter()
    for event_type, day in days_in(settings.spool):
        made = consolidation.consolidate(settings.spool, settings.daily, event_type, day)
        assert made.certificate.balanced, made.certificate.reasons
        with tables.open_file(made.path) as file:
            rows = file.root[event_type].table.read()
        for row in rows:
            numbers = (float(row[name]) for name in _NUMBERS[event_type])
            # Our own clock tells nothing of the market.
            stamp = None if row["ts_source"] == b"receive" else int(row["ts_event"])
            symbol = row["symbol"].decode()
            found[canonical(event_type, stamp, symbol, *numbers)] += 1
    return found


async def heard_all(exchange: Exchange, collector: Collector) -> None:
    await asyncio.wait_for(exchange.finished(), 30)
    sent = exchange.truth.data.total()
    await until(
        lambda: sum(f.with_events + f.quarantined for f in collector.report().feeds) >= sent
    )


def run(scenario: Callable[[], Any]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 60)

    asyncio.run(bounded())


def hurry(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said every so many seconds is said often, and waited for shortly."""
    feeds = VENDORS[way.vendor].feeds
    spec = feeds[way.feed]
    customs = spec.websocket
    if customs.keepalive is not None:
        customs = dataclasses.replace(customs, keepalive=(customs.keepalive[0], 0.05))
    within_s = None if spec.acknowledges_within_s is None else 0.5
    quick = dataclasses.replace(spec, acknowledges_within_s=within_s, websocket=customs)
    monkeypatch.setitem(feeds, way.feed, quick)


@ways
def test_the_daily_files_hold_what_the_market_did(
    way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(way, monkeypatch)

    async def scenario() -> None:
        market = Market(way)
        async with market.exchange(heartbeat_s=0.05) as exchange:
            settings = settings_for(way, exchange, tmp_path)
            collector, stop = Collector(settings, "c1"), asyncio.Event()
            capturing = asyncio.create_task(collector.run(stop))
            await heard_all(exchange, collector)
            if way.heartbeats:
                await until(lambda: exchange.truth.control["heartbeat"] >= 2)
                await until(lambda: collector.report().feeds[0].control >= 2)
            (feed,) = collector.report().feeds
            stop.set()
            await capturing
            assert feed.quarantined == 0
            assert feed.subscription == ""
            assert feed.with_events == way.frames
            assert all(c.balanced for c in Ledger(settings.spool).frames().values())
            assert Ledger(settings.spool).gaps() == []
            assert market.told.total() >= way.frames
            assert in_daily_files(settings) == market.told

    run(scenario)


@ways
def test_a_refused_key_ends_the_feed_and_is_told(way: Way, tmp_path: Path) -> None:
    if not way.needs_key:
        pytest.skip("this feed asks for no key")

    async def scenario() -> None:
        async with Market(way).exchange(terms=Terms(token="the right one")) as exchange:
            settings = settings_for(way, exchange, tmp_path)
            collector = Collector(settings, "c1")
            await collector.run(asyncio.Event())
            (feed,) = collector.report().feeds
            assert feed.state == "gave up"
            assert feed.last_problem
            assert settings.secret(settings.feeds["feed"]) not in feed.last_problem
            assert exchange.truth.data.total() == 0

    run(scenario)


@pytest.mark.parametrize("way", [w for w in WAYS if w.refused], ids=str)
def test_a_refused_symbol_is_told_and_the_others_come(
    way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(way, monkeypatch)

    async def scenario() -> None:
        async with Market(way).exchange() as exchange:
            settings = settings_for(way, exchange, tmp_path, way.refused)
            collector, stop = Collector(settings, "c1"), asyncio.Event()
            capturing = asyncio.create_task(collector.run(stop))
            await heard_all(exchange, collector)
            await until(lambda: way.refusal in collector.report().feeds[0].subscription)
            (feed,) = collector.report().feeds
            stop.set()
            await capturing
            assert feed.with_events == way.frames
            assert feed.quarantined == 0

    run(scenario)
