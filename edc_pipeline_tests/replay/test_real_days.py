"""Real days as Tiingo's frames: a real socket, capture, spool, consolidation, and what comes out is
the file that went in, row by row, as ten lines that share nothing with us read it."""

from __future__ import annotations

import asyncio
import csv
import datetime as dt
import io
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from edc_pipeline.capture.collector import Collector
from edc_pipeline.consolidation.certificate import Certificate
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.events import EventType
from edc_pipeline.replay.tick_source import EventSource, RecordedDay
from edc_pipeline.settings import Settings
from edc_pipeline.simulator.exchange import Exchange, ExchangeConfig
from edc_pipeline.simulator.faults import Chaos
from edc_pipeline_tests.capture.test_collector import until
from edc_pipeline_tests.replay.days import DAYS, IBM_DAY, eurusd, ibm, recorded

pytestmark = [recorded, pytest.mark.timeout(300)]

NAN = float("nan")
Row = tuple[float, ...]


# -- the independent reader: nothing of ours ------------------------------------------------------


def source_rows(name: str, midnight_utc: str) -> list[list[str]]:
    """Rows of a zip's csv, the time made nanoseconds since 1970 in UTC."""
    with zipfile.ZipFile(DAYS / name) as archive:
        text = archive.read(archive.namelist()[0]).decode()
    start = int(dt.datetime.fromisoformat(midnight_utc).timestamp()) * 1000
    return [[str((start + int(r[0])) * 10**6), *r[1:]] for r in csv.reader(io.StringIO(text))]


def ibm_trades() -> list[Row]:
    rows = source_rows("lean_equity_usa_ibm_20131007_trade.zip", "2013-10-07T04:00:00+00:00")
    return [(int(r[0]), int(r[1]) / 10_000, float(r[2])) for r in rows]


def ibm_quotes() -> list[Row]:
    rows = source_rows("lean_equity_usa_ibm_20131007_quote.zip", "2013-10-07T04:00:00+00:00")
    some = [[float(x) or NAN for x in r[1:5]] for r in rows]
    return [
        (int(r[0]), b / 10_000, bs, a / 10_000, s)
        for r, (b, bs, a, s) in zip(rows, some, strict=True)
    ]


def eurusd_quotes() -> list[Row]:
    rows = source_rows("lean_forex_oanda_eurusd_20140502_quote.zip", "2014-05-02T00:00:00+00:00")
    return [(int(r[0]), float(r[1]), NAN, float(r[2]), NAN) for r in rows]


# -- the whole way --------------------------------------------------------------------------------

NUMBERS = {
    "trade": ["price", "size"],
    "quote": ["bid_price", "bid_size", "ask_price", "ask_size"],
}


def file_rows(path: Path, event_type: str) -> list[Row]:
    frame: Any = pd.read_hdf(path, event_type)
    columns = [frame["ts_event"].dt.tz_convert("UTC").astype("int64").tolist()]
    columns += [frame[name].tolist() for name in NUMBERS[event_type]]
    return list(zip(*columns, strict=True))


def alike(rows: Sequence[Row]) -> list[str]:
    """For comparing: NaN equals NaN, and 1 is not 1.0000000001."""
    return [repr(row) for row in rows]


async def capture(
    sources: Sequence[EventSource],
    settings: Settings,
    config: ExchangeConfig,
) -> tuple[Exchange, Collector]:
    exchange = Exchange(config, source=RecordedDay(sources))
    async with exchange:
        feeds = {
            name: feed.model_copy(update={"url": exchange.url(feed.feed)})
            for name, feed in settings.feeds.items()
        }
        wanted = Settings(data_dir=settings.data_dir, feeds=feeds, capture=settings.capture)
        collector, stop = Collector(wanted, "c1"), asyncio.Event()
        capturing = asyncio.create_task(collector.run(stop))
        await exchange.finished(patience_s=60)
        sent = exchange.truth.data.total()
        await until(
            lambda: sum(f.with_events + f.quarantined for f in collector.report().feeds) >= sent, 60
        )
        stop.set()
        await capturing
    return exchange, collector


def replayed(
    sources: Sequence[EventSource], tmp_path: Path, feed: dict[str, Any], **told: Any
) -> tuple[Exchange, Settings]:
    connections = feed.get("connections", 1)
    chaos = Chaos.parse(told.pop("chaos", ""))
    config = ExchangeConfig(
        script_start_ns=0, chaos=chaos, audience=connections, keep_frames=1, **told
    )
    settings = Settings(
        data_dir=tmp_path,
        capture={"horizon_days": 36_500},  # type: ignore[arg-type]
        feeds={"day": {"vendor": "tiingo", **feed}},  # type: ignore[dict-item]
    )
    exchange, _ = asyncio.run(capture(sources, settings, config))
    return exchange, settings


IEX = {"feed": "iex", "symbols": ("IBM",), "options": {"threshold_level": 0}}


def made(settings: Settings, event_type: EventType, day: dt.date) -> tuple[list[Row], Certificate]:
    done = consolidate(settings.spool, settings.daily, event_type, day)
    assert done.certificate.balanced, done.certificate.reasons
    return file_rows(done.path, event_type), done.certificate


def test_ibm_comes_out_as_it_went_in(tmp_path: Path) -> None:
    exchange, settings = replayed(ibm(), tmp_path, IEX)
    assert exchange.truth.data == {"iex": 24_293 + 109_067}
    for event_type, source in (("trade", ibm_trades()), ("quote", ibm_quotes())):
        rows, certificate = made(settings, event_type, IBM_DAY)  # type: ignore[arg-type]
        assert alike(rows) == alike(source)  # row by row, in the file's own order
        assert certificate.duplicates.total == 0
    repeats = Counter(alike(ibm_trades()))
    assert sum(n - 1 for n in repeats.values()) > 1_274  # without venue and condition: more


def test_ibm_with_two_connections_and_chaos_is_the_same_day(tmp_path: Path) -> None:
    chaos = (
        "drop@5000:20,corrupt@7000,cut@20000,cut@60000,rubbish=0.01%,delay=0.1%:50ms,"
        "reorder=0.1%,slow@90000:5s,seed=3"
    )
    exchange, settings = replayed(ibm(), tmp_path, {**IEX, "connections": 2}, chaos=chaos)
    done = exchange.trouble.counts
    assert done["drop"] == 20
    assert done["cut"] == 2
    assert done["corrupt"] == 1
    rows_in = kept = 0
    for event_type, source in (("trade", ibm_trades()), ("quote", ibm_quotes())):
        rows, certificate = made(settings, event_type, IBM_DAY)  # type: ignore[arg-type]
        assert sorted(alike(rows)) == sorted(alike(source))
        rows_in, kept = rows_in + certificate.rows_in, kept + certificate.rows
    # Twice the day, but for what was dropped and broken on one of the two.
    assert rows_in == 2 * (24_293 + 109_067) - 20 - 1
    assert kept == 24_293 + 109_067


def test_ibm_cut_and_resent_on_one_connection_is_the_same_day(tmp_path: Path) -> None:
    exchange, settings = replayed(
        ibm(), tmp_path, IEX, chaos="cut@30000,cut@40000", resend_on_subscribe=300
    )
    assert exchange.trouble.counts == {"cut": 2}
    duplicates = 0
    for event_type, source in (("trade", ibm_trades()), ("quote", ibm_quotes())):
        rows, certificate = made(settings, event_type, IBM_DAY)  # type: ignore[arg-type]
        assert sorted(alike(rows)) == sorted(alike(source))
        duplicates += certificate.duplicates.total
    assert duplicates == exchange.truth.faults["resend"] == 600


FX = {"feed": "fx", "symbols": ("EUR/USD",), "options": {"threshold_level": 5}}
# A day of UTC is two of New York's.
FX_DAYS = (dt.date(2014, 5, 1), dt.date(2014, 5, 2))


def test_eurusd_comes_out_as_it_went_in(tmp_path: Path) -> None:
    exchange, settings = replayed(eurusd(), tmp_path, FX)
    assert exchange.truth.data == {"fx": 49_341}
    rows = [row for day in FX_DAYS for row in made(settings, "quote", day)[0]]
    assert alike(rows) == alike(eurusd_quotes())


def test_eurusd_with_two_connections_and_chaos_is_the_same_day(tmp_path: Path) -> None:
    chaos = "drop@4000:10,corrupt@9000,cut@15000,cut@30000,delay=0.1%:50ms,reorder=0.1%,seed=5"
    exchange, settings = replayed(eurusd(), tmp_path, {**FX, "connections": 2}, chaos=chaos)
    done = exchange.trouble.counts
    assert (done["drop"], done["corrupt"], done["cut"]) == (10, 1, 2)
    days = [made(settings, "quote", day) for day in FX_DAYS]
    rows = [row for made_rows, _ in days for row in made_rows]
    assert sorted(alike(rows)) == sorted(alike(eurusd_quotes()))
    assert sum(certificate.rows_in for _, certificate in days) == 2 * 49_341 - 10 - 1
