"""A frame longer than its feed's may be is kept with its bytes, and what follows is heard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edc_pipeline.capture.admission import SHORTEST_LIMIT, TAKEN_TIMES, Admission
from edc_pipeline.capture.collector import Collector
from edc_pipeline.capture.intake import FeedState, Intake
from edc_pipeline.capture.journal.blocks import Line, Reads, encode_line
from edc_pipeline.capture.journal.writer import Journal
from edc_pipeline.capture.queues import Queues
from edc_pipeline.capture.recovery import recover
from edc_pipeline.capture.retry import retry_quarantine
from edc_pipeline.settings import Capture, Settings
from edc_pipeline.spool.layout import journal_folder, quarantine_days, segment_name
from edc_pipeline.spool.ledger import Ledger, Source
from edc_pipeline.spool.quarantine import QuarantinedFrame, read_quarantine
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import Subscription
from edc_pipeline_tests.capture.numbered_vendor import sends, serving
from edc_pipeline_tests.capture.test_collector import ledger_adds_up, rows_in, run
from edc_pipeline_tests.capture.test_gaps import captured, events_of

NOON = 1_769_101_200_000_000_000
LINE = Line(number=0, name="stocks", vendor="tiingo", feed="iex", connection="c1/stocks/0",
            symbols=("SPY",), options={"threshold_level": 0})  # fmt: skip
RULES = Capture(horizon_days=36_500)


def trade(price: float, bytes_: int = 0) -> str:
    """Blanks between its columns are still JSON."""
    row: list[Any] = ["T", "", NOON, "spy", *[None] * 5, price, 1, None, 0, 0, 0, 0]
    said = json.dumps({"messageType": "A", "service": "iex", "data": row})
    return said[:-1] + " " * max(0, bytes_ - len(said)) + "}"


LARGE = trade(2.0, SHORTEST_LIMIT + 1)


def quarantine(spool: Path) -> list[QuarantinedFrame]:
    return [frame for day in quarantine_days(spool) for frame in read_quarantine(spool, day)]


def is_kept(spool: Path) -> None:
    (frame,) = quarantine(spool)
    assert frame.payload == LARGE.encode()
    assert frame.reason == "a frame of 1,048,577 bytes, and 1,048,576 are the most of this feed"


def test_it_is_kept_and_the_connection_goes_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(sends(trade(1.0), LARGE, trade(3.0))) as url:
            feed: Any = {"vendor": "tiingo", "feed": "iex", "symbols": ["SPY"], "url": url,
                         "options": {"threshold_level": 0}}  # fmt: skip
            settings = Settings(data_dir=tmp_path, feeds={"stocks": feed}, capture=RULES)
            collector = Collector(settings, "c1")
            await captured(collector, lambda: events_of(collector) == 2)
        assert collector.report().feeds[0].reconnects == 0
        assert sorted(row["price"] for _, row in rows_in(settings.spool)) == [1.0, 3.0]
        is_kept(settings.spool)
        ledger_adds_up(settings)
        again = retry_quarantine(settings.spool, RULES, lambda: NOON)
        assert len(again.moved) == 1
        assert sorted(row["price"] for _, row in rows_in(settings.spool)) == [1.0, 2.0, 3.0]

    run(scenario)


def test_one_beyond_all_measure_ends_the_connection_and_is_a_gap(tmp_path: Path) -> None:
    monster = trade(2.0, TAKEN_TIMES * SHORTEST_LIMIT + 1)

    async def scenario() -> None:
        async with serving(sends(trade(1.0), monster), sends(trade(3.0))) as url:
            feed: Any = {"vendor": "tiingo", "feed": "iex", "symbols": ["SPY"], "url": url}
            settings = Settings(data_dir=tmp_path, feeds={"stocks": feed}, capture=RULES)
            collector = Collector(settings, "c1")
            await captured(collector, lambda: events_of(collector) == 2)
        (gap,) = Ledger(settings.spool).gaps()
        assert "1009" in gap.reason
        assert not quarantine(settings.spool)

    run(scenario)


def test_a_collector_that_died_had_kept_it(tmp_path: Path) -> None:
    Ledger(tmp_path).collector_started("c1", NOON)
    reads = Reads()
    frames = [said.encode() for said in (trade(1.0), LARGE, trade(3.0))]
    reads.add(0, NOON, frames, sum(map(len, frames)))
    folder = journal_folder(tmp_path, "c1")
    folder.mkdir(parents=True)
    (folder / segment_name(0)).write_bytes(encode_line(LINE) + reads.encode(0))
    (recovered,) = recover(tmp_path, RULES, lambda: NOON)
    assert (recovered.frames, recovered.events) == (3, 2)
    is_kept(tmp_path)


def test_it_is_found_among_many_that_are_read_together(tmp_path: Path) -> None:
    queues, state = Queues(), FeedState(Source("stocks", "tiingo", "iex"))
    vendor, asked = VENDORS["tiingo"], Subscription("iex", ("SPY",), {"threshold_level": 0})
    intake = Intake(Journal(tmp_path, "c1"), queues, Admission(36_500))
    payloads = [trade(float(price)).encode() for price in range(1, 20)]
    payloads.insert(7, LARGE.encode())
    session, many = vendor.open_session(asked, ""), vendor.reader_of_many(asked)
    assert many is not None
    intake.take(state, LINE, session, payloads, NOON, many)
    assert (state.frames.received, state.frames.with_events, state.frames.quarantined) == (
        20,
        19,
        1,
    )
