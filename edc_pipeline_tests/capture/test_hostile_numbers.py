"""A vendor that numbers rubbish: nothing that is in quarantine is followed, no symbol reaches a log
or the ledger unchecked, and however many gaps there are, what is told of them is bounded."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from edc_pipeline.capture import intake as intake_module
from edc_pipeline.capture import number_gaps
from edc_pipeline.capture.admission import Admission
from edc_pipeline.capture.collector import Collector
from edc_pipeline.capture.continuity import Continuity
from edc_pipeline.capture.exposition import CaptureFigures, registry_of
from edc_pipeline.capture.intake import FeedState, Intake
from edc_pipeline.capture.journal.blocks import Line
from edc_pipeline.capture.journal.writer import Journal
from edc_pipeline.capture.queues import Queues
from edc_pipeline.events import Trade
from edc_pipeline.spool.ledger import Gap, Ledger, Source
from edc_pipeline.vendors.contract import Reading, SequenceRule
from edc_pipeline_tests.capture.numbered_vendor import made_vendor, message, sends, serving
from edc_pipeline_tests.capture.test_collector import run
from edc_pipeline_tests.capture.test_gaps import captured, events_of, feed_of, made, numbered

EVIL = "X\x1b[31mEVIL\n2026-01-01 00:00:00,000 INFO fake: line\u202eUSDT"
FEED = Source("f", "made", "numbered")


def test_what_is_in_quarantine_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made(monkeypatch, made_vendor(SequenceRule("symbol")))
    hostile = [message("T", s, n) for n in (1, 9, 17) for s in (EVIL, "A" * 3000, "")]
    good = [message("T", "SPY", n) for n in (1, 2)]
    caplog.set_level(logging.INFO)

    async def scenario() -> None:
        async with serving(sends(*hostile, *good)) as url:
            settings = numbered(tmp_path, url)
            collector = Collector(settings, "c1")
            await captured(collector, lambda: events_of(collector) == 2)
            assert feed_of(collector).quarantined == len(hostile)
            assert feed_of(collector).gaps == 0
        assert Ledger(settings.spool).gaps() == []
        assert not any("gap:" in told for told in caplog.messages)

    run(scenario)


def trade(symbol: str, seq: int, price: float = 1.0) -> Trade:
    return Trade(ts_event=1, symbol=symbol, asset_class="crypto", vendor="made", feed="numbered",
                 seq=seq, created_at=1, price=price, size=1.0)  # fmt: skip


def line(gap: int = 0) -> Line:
    return Line(number=0, name="f", vendor="made", feed="numbered", connection="c", symbols=(),
                options={}, asset_classes={}, gap=gap, shard=None, from_frame=0)  # fmt: skip


def test_a_number_in_quarantine_is_not_taken_for_missing() -> None:
    continuity = Continuity(FEED, [SequenceRule("symbol")])
    admission = Admission(None)

    def hear(*trades: Trade) -> list[Gap]:
        return continuity.hear(line(), admission.admit(Reading(events=[*trades]), 1), 1)

    hear(trade("SPY", 1))
    hear(trade("SPY", 2, float("inf")))
    hear(trade("SPY", 3))
    assert continuity.settle(None) == []


def test_what_is_in_quarantine_makes_nothing_known() -> None:
    continuity = Continuity(FEED, [SequenceRule("symbol")])
    admission = Admission(None)
    statuses = []
    for price in (float("inf"), 1.0, 1.0):
        reading = admission.admit(Reading(events=[trade("SPY", 1, price)]), 1)
        continuity.hear(line(gap=1), reading, 1)
        statuses += [event.status for event in reading.events]
    assert statuses == ["STALE", "LIVE"]


def gap_of(source: Source, number: int) -> Gap:
    return Gap(source, "SPY", number, number + 1, 2, "closed", f"lacks {number}", number)


def test_gaps_beyond_what_is_told_one_by_one_are_told_as_one_of_their_feed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "MOST_AT_ONCE", 10)
    monkeypatch.setattr(number_gaps, "MOST_AN_HOUR", 15)
    queues = Queues()
    intake = Intake(Journal(tmp_path, "c1"), queues, Admission(None))
    states = [FeedState(FEED), FeedState(Source("g", "made", "numbered"))]
    for number in range(100):
        for state in states:
            intake.tell(state, [gap_of(state.source, 10 * number)])
    taken = queues.take()
    assert len(taken.gaps) == 10 + len(states)
    for state in states:
        rest = [g for g in taken.gaps if g.source == state.source and not g.symbol]
        assert [(g.to_ns, g.size) for g in rest] == [(991, 2 * 95)]
        assert (state.gaps_begun, state.number_gaps.messages) == (100, 200)
    # Of the hour nothing is left after fifteen; in the next one there is.
    intake.tell(states[0], [gap_of(FEED, 1000)])
    hour = 3600 * 10**9
    intake.tell(states[0], [gap_of(FEED, hour)])
    assert [g.reason for g in queues.take().gaps] == [
        f"lacks {hour}",
        "more gaps than can be told one by one",
    ]


def test_gaps_in_numbers_are_in_the_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(monkeypatch, made_vendor(SequenceRule("symbol")))
    lossy = [message("T", "SPY", 3 * n) for n in range(200)]

    async def scenario() -> None:
        async with serving(sends(*lossy)) as url:
            collector = Collector(numbered(tmp_path, url), "c1")
            await captured(collector, lambda: events_of(collector) == 200)
            feed = feed_of(collector)
            registry = registry_of(CaptureFigures(collector.totals, collector.latencies))
            told = [
                registry.get_sample_value(
                    name, {"feed": "made", "vendor": "made", "product": "numbered"}
                )
                for name in ("edc_gaps_total", "edc_missing_messages_total", "edc_gaps_open")
            ]
        gaps = Ledger(tmp_path / "spool").gaps()
        assert len(gaps) == 199
        assert (feed.gaps, feed.missing_messages) == (199, 398)
        assert told == [199, 398, 0]

    run(scenario)
