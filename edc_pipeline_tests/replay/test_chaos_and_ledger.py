"""What the replay's report says was left out, the ledger says is missing: where a vendor numbers
its messages every gap that was made is found, named and sized, and nothing else is."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.replay.synthetic_day import SyntheticDay
from edc_pipeline.replay.tick_source import RecordedDay
from edc_pipeline.settings import Settings
from edc_pipeline.simulator.exchange import Exchange, ExchangeConfig
from edc_pipeline.simulator.faults import Chaos
from edc_pipeline.simulator.instruments import listing
from edc_pipeline.spool.ledger import Ledger
from edc_pipeline_tests.capture.test_collector import capture_all

DAY = dt.date(2026, 1, 22)
COINS = ("BTC/USD", "ETH/USD", "SHIB/USD")
CHAOS = "drop=1%,drop@1500:30,duplicate=1%,reorder=1%,delay=0.5%:20ms,cut@2500,rubbish=0.5%,seed=4"

Numbered = tuple[str, int]  # symbol, number


def of_binance(frame: Any) -> Iterable[Numbered]:
    return [(str(frame["s"]).replace("USD", "/USD"), frame["t"])]


def of_kraken(frame: Any) -> Iterable[Numbered]:
    return [(trade["symbol"], trade["trade_id"]) for trade in frame["data"]]


def of_coinbase(frame: Any) -> Iterable[Numbered]:
    return [(frame["product_id"].replace("-", "/"), frame["trade_id"])]


VENDORS: dict[str, tuple[str, str, dict[str, Any], Callable[[Any], Iterable[Numbered]]]] = {
    "binance": ("spot", "spot", {"streams": ["trade"]}, of_binance),
    "kraken": ("spot", "spot", {"channels": ["trade"], "snapshot": False}, of_kraken),
    "coinbase": ("exchange", "exchange", {"channels": ["matches"]}, of_coinbase),
}


def captured(
    tmp_path: Path, vendor: str, chaos: str, events: int = 16_000
) -> tuple[Settings, Exchange]:
    feed, service, options, _ = VENDORS[vendor]

    async def scenario() -> tuple[Settings, Exchange]:
        source = RecordedDay([SyntheticDay(DAY, listing(COINS), events, seed=3)])
        first = source.first_ns()
        assert first is not None
        config = ExchangeConfig(vendor=vendor, script_start_ns=first, chaos=Chaos.parse(chaos))
        async with Exchange(config, source=source) as exchange:
            wanted = Settings(
                data_dir=tmp_path,
                capture={"horizon_days": 36_500},  # type: ignore[arg-type]
                feeds={
                    "coins": {  # type: ignore[dict-item]
                        "vendor": vendor,
                        "feed": feed,
                        "symbols": COINS,
                        "options": options,
                        "url": exchange.url(service),
                    }
                },
            )
            await capture_all(exchange, wanted)
            return wanted, exchange

    return asyncio.run(asyncio.wait_for(scenario(), 90))


def runs(numbers: Iterable[Numbered]) -> set[tuple[str, int, int]]:
    """`(symbol, first, how many)` of numbers that follow one another."""
    found = set()
    ordered = sorted(set(numbers))
    for _, run in groupby(enumerate(ordered), key=lambda at: (at[1][0], at[1][1] - at[0])):
        together = [entry for _, entry in run]
        found.add((*together[0], len(together)))
    return found


@pytest.mark.parametrize("vendor", VENDORS)
def test_every_gap_that_was_made_is_found_and_nothing_else(tmp_path: Path, vendor: str) -> None:
    numbers = VENDORS[vendor][3]
    # Coinbase is asked for each product by itself: after a cut some trades of the others pass
    # before they are subscribed again, and those are missing as well.
    chaos = CHAOS.replace("cut@2500,", "") if vendor == "coinbase" else CHAOS
    settings, exchange = captured(tmp_path, vendor, chaos)
    counts = exchange.trouble.counts
    assert all(counts[f] > 5 for f in ("drop", "duplicate", "reorder", "delay", "rubbish"))
    dropped = [
        n
        for done in exchange.trouble.report
        if done.fault == "drop"
        for n in numbers(json.loads(done.body))
    ]
    sent = [n for f in exchange.truth.frames if f.fault != "rubbish" for n in numbers(of(f.body))]
    last = {symbol: max(n for s, n in sent if s == symbol) for symbol, _ in sent}
    # Of what comes behind the last that was sent, nobody can know.
    missing = {(symbol, n) for symbol, n in dropped if n < last[symbol]}
    made = runs(missing)
    assert len(made) > 20
    assert max(size for *_, size in made) > 5  # thirty in a row, over three symbols
    ledger = Ledger(settings.spool).gaps()
    told = {(g.symbol, g.first_seq, g.size) for g in ledger if g.first_seq >= 0}
    assert told == made
    # The one silence besides is that of the cut.
    assert len([g for g in ledger if g.first_seq < 0]) == counts["cut"] == ("cut" in chaos)
    # What was sent twice is there once, and what was sent is there.
    certificate = consolidate(settings.spool, settings.daily, "trade", DAY).certificate
    assert certificate.balanced, certificate.reasons
    # Coinbase begins each subscription with the product's last match, made before it.
    before = len(COINS) if vendor == "coinbase" else 0
    assert 0 <= certificate.rows - len(set(sent)) <= before
    assert 0 <= certificate.duplicates.total - counts["duplicate"] <= before


def of(body: str | bytes) -> Any:
    return json.loads(body)


@pytest.mark.parametrize("vendor", VENDORS)
def test_without_faults_nothing_is_missing(tmp_path: Path, vendor: str) -> None:
    settings, exchange = captured(tmp_path, vendor, "duplicate=2%,reorder=2%", 4_000)
    assert exchange.trouble.counts["reorder"] > 5
    assert Ledger(settings.spool).gaps() == []
