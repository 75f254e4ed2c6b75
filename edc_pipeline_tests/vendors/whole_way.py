"""A feed from the simulator's server over a real socket into daily files, and what must be in them.

Prices, sizes and times are taken from the market's own ticks, never from an adapter.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from math import isnan
from pathlib import Path
from typing import Any, Final

import pytest
import tables

from edc_pipeline.capture.collector import Collector
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.events import EventType
from edc_pipeline.settings import Settings
from edc_pipeline.simulator.exchange import Exchange, ExchangeConfig
from edc_pipeline.simulator.instruments import listing
from edc_pipeline.simulator.market import Tick
from edc_pipeline.simulator.session import Asked, Reply, Session
from edc_pipeline.simulator.speakers import SPEAKERS
from edc_pipeline.spool.layout import days_in
from edc_pipeline.vendors import VENDORS
from edc_pipeline_tests.capture.test_collector import until
from edc_pipeline_tests.vendors.ways import NOON, Key, Way


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
        made = consolidate(settings.spool, settings.daily, event_type, day)
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
