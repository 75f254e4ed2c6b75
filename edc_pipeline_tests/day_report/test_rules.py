"""Sane prices, agreement of vendors, usual rows, time missed: rules, and over real daily files."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.day_report.earlier import sessions_in, share_of_session, usual_rows
from edc_pipeline.day_report.examine import Examined, examine
from edc_pipeline.day_report.missed import missed
from edc_pipeline.day_report.usual import compared, such_days
from edc_pipeline.events import AnyEvent, EventType
from edc_pipeline.market_day import day_bounds, midnight_ns
from edc_pipeline_tests.consolidation.spools import DAY, OPEN, event, frames, write_batches
from edc_pipeline_tests.day_report.test_pictures import told

MINUTE = 60 * 10**9
NAN = float("nan")


def examined(tmp_path: Path, events: list[AnyEvent], event_type: EventType = "trade") -> Examined:
    rows = frames([[e] for e in events])
    write_batches(tmp_path / "spool", [rows], event_type=event_type)
    made = consolidate(tmp_path / "spool", tmp_path / "daily", event_type, DAY)
    return examine(made.path, made.certificate)


# Prices


def test_a_jump_is_found_and_a_drift_is_not(tmp_path: Path) -> None:
    walk = [100.0 + 0.01 * (n % 7) + 0.002 * n for n in range(200)]
    walk[120] *= 1.05
    found = examined(tmp_path, [event(ts_event=OPEN + n, price=p) for n, p in enumerate(walk)])
    assert found.insane.by_fault["jump"] == 2  # there, and back
    assert [row.row for row in found.insane.shown] == [120, 121]
    assert not found.insane.untradable


def test_another_symbols_price_is_no_jump(tmp_path: Path) -> None:
    events = [
        event(ts_event=OPEN + n, symbol=s, price=p)
        for n in range(100)
        for s, p in (("SPY", 100.0), ("BRK.A", 700_000.0))
    ]
    assert examined(tmp_path, events).insane.rows == 0


def test_a_jump_across_blocks_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("edc_pipeline.consolidation.h5_read.blocks.__defaults__", (64,))
    prices = [100.0] * 64 + [200.0] * 64
    found = examined(tmp_path, [event(ts_event=OPEN + n, price=p) for n, p in enumerate(prices)])
    assert [row.row for row in found.insane.shown] == [64]


@pytest.mark.parametrize(
    ("fault", "fields"),
    [
        ("non_positive", {"bid_price": 0.0}),
        ("non_positive", {"ask_price": -1.0}),
        ("crossed", {"bid_price": 102.0}),
        ("locked", {"bid_price": 101.0}),
        ("negative_size", {"ask_size": -5.0}),
    ],
)
def test_quotes_that_cannot_be_meant(tmp_path: Path, fault: str, fields: dict[str, float]) -> None:
    quotes = [event("quote", ts_event=OPEN + n) for n in range(20)]
    quotes.append(event("quote", ts_event=OPEN + 20, **fields))
    found = examined(tmp_path, quotes, "quote").insane
    assert (found.by_fault[fault], found.rows) == (1, 1)
    assert fault.replace("_", " ") in found.in_words


def test_what_is_not_given_is_no_fault(tmp_path: Path) -> None:
    quotes = [event("quote", ts_event=OPEN, bid_price=NAN, bid_size=NAN)]
    assert examined(tmp_path, quotes, "quote").insane.rows == 0


def test_many_faults_make_a_file_untradable(tmp_path: Path) -> None:
    few = [event(ts_event=OPEN + n, price=-1.0 if n < 5 else 100.0) for n in range(1000)]
    assert not examined(tmp_path / "few", few).insane.untradable
    many = [event(ts_event=OPEN + n, price=-1.0 if n < 15 else 100.0) for n in range(1000)]
    assert examined(tmp_path / "many", many).insane.untradable


# Agreement


def two_vendors(tmp_path: Path, ratio: float, minutes: int = 10) -> Examined:
    events = [
        event(ts_event=OPEN + n * MINUTE + k, vendor=vendor, price=100.0 * (ratio if k else 1.0))
        for n in range(minutes)
        for k, vendor in enumerate(("acme", "zeta"))
    ]
    return examined(tmp_path, events)


@pytest.mark.parametrize(
    ("ratio", "apart", "another"), [(1.004, 0, False), (1.01, 10, False), (2.0, 10, True)]
)
def test_vendors_apart(tmp_path: Path, ratio: float, apart: int, another: bool) -> None:
    agreement = two_vendors(tmp_path, ratio).agreement
    assert (agreement.compared, agreement.apart) == (10, apart)
    assert bool(agreement.another_market) is another
    if apart:
        (pair,) = agreement.pairs
        assert (pair.symbol, pair.vendors) == ("SPY", ("acme", "zeta"))
        assert pair.middle == pytest.approx(ratio - 1)


def test_one_vendor_agrees_with_itself(tmp_path: Path) -> None:
    prices = [event(ts_event=OPEN + n, price=100.0 + n) for n in range(10)]
    agreement = examined(tmp_path, prices).agreement
    assert (agreement.compared, agreement.pairs) == (0, [])


def test_the_last_price_of_a_minute_counts(tmp_path: Path) -> None:
    events = [
        event(ts_event=OPEN + 1, vendor="acme", price=50.0),
        event(ts_event=OPEN + 2, vendor="acme", price=100.0),
        event(ts_event=OPEN + 3, vendor="zeta", price=100.0),
    ]
    assert examined(tmp_path, events).agreement.apart == 0


# Figures


def test_what_is_counted(tmp_path: Path) -> None:
    events = [
        event(ts_event=OPEN + n * MINUTE, created_at=OPEN + n * MINUTE + 20_000_000)
        for n in range(3)
    ]
    figures = examined(tmp_path, events).figures
    counts = figures.per_minute["acme"]
    assert counts[570:573].tolist() == [1, 1, 1]  # 9:30, 9:31, 9:32
    assert (int(counts.sum()), len(counts)) == (3, 1440)
    (hour,) = np.flatnonzero(figures.latency["acme"].sum(axis=1))
    assert hour == 9


def test_figures_do_not_depend_on_the_blocks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rng = np.random.default_rng(3)
    events = [
        event(
            ts_event=OPEN + int(t),
            symbol=str(s),
            vendor=str(v),
            price=float(p),
            created_at=OPEN + int(t) + 10**6,
        )
        for t, s, v, p in zip(
            np.sort(rng.integers(0, 90 * MINUTE, 500)),
            rng.choice(["SPY", "QQQ", "IBM"], 500),
            rng.choice(["acme", "zeta"], 500),
            rng.uniform(99, 101, 500),
            strict=True,
        )
    ]
    whole = examined(tmp_path, events)
    monkeypatch.setattr("edc_pipeline.consolidation.h5_read.blocks.__defaults__", (37,))
    parts = examined(tmp_path, events)
    assert parts.agreement == whole.agreement
    assert {v: c.tolist() for v, c in parts.figures.per_minute.items()} == {
        v: c.tolist() for v, c in whole.figures.per_minute.items()
    }
    assert parts.figures.rows_of_symbol.tolist() == whole.figures.rows_of_symbol.tolist()
    assert parts.figures.prices is not None
    assert whole.figures.prices is not None
    assert parts.figures.prices.price.tolist() == whole.figures.prices.price.tolist()


# Usual rows


def verdicts(rows: int, before: list[int], share: float = 1.0) -> str:
    (feed,) = compared({"a/b": rows}, [{"a/b": n} for n in before], {"a/b": share})
    return feed.verdict


@pytest.mark.parametrize(
    ("rows", "before", "share", "verdict"),
    [
        (100, [100, 110, 90], 1.0, "as usual"),
        (100, [100, 110], 1.0, "not enough days to compare"),
        (40, [100, 110, 90], 1.0, "few"),
        (20, [100, 110, 90], 1.0, "far too few"),
        (0, [100, 110, 90], 1.0, "far too few"),
        (400, [100, 110, 90], 1.0, "many"),
        (45, [100, 110, 90, 100, 1], 1.0, "few"),  # a half day among them moves no median
        (45, [100, 110, 90], 0.5, "as usual"),  # a short day
        (0, [100, 110, 90], 0.0, "closed"),
        (0, [0, 0, 100, 100, 100], 1.0, "not enough days to compare"),  # given up weeks ago
    ],
)
def test_rows_beside_the_usual(rows: int, before: list[int], share: float, verdict: str) -> None:
    assert verdicts(rows, before, share) == verdict


def test_a_feed_that_is_missing_altogether_is_told() -> None:
    before = [{"a/b": 100, "c/d": 50}] * 3
    assert [f.verdict for f in compared({"a/b": 100}, before)] == ["as usual", "far too few"]


def test_it_is_compared_with_the_same_weekday() -> None:
    assert {d.weekday() for d in such_days(DAY)} == {DAY.weekday()}
    assert such_days(DAY)[0] == dt.date(2026, 1, 15)


def test_rows_of_the_files_that_stand(tmp_path: Path) -> None:
    for week in (1, 2, 3):
        day = DAY - dt.timedelta(weeks=week)
        stamp = midnight_ns(day) + 10 * 3600 * 10**9
        rows = frames([[event(ts_event=stamp + n)] for n in range(10 * week)])
        write_batches(tmp_path / "spool", [rows], day=day)
        consolidate(tmp_path / "spool", tmp_path / "daily", "trade", day)
    (feed,) = usual_rows(tmp_path / "daily", "trade", DAY, {"acme/tape": 4})
    assert (feed.usual, feed.days, feed.verdict) == (20, 3, "far too few")


# Time missed, and markets that were shut


def test_gaps_that_cover_each_other_count_once() -> None:
    hour = 3600
    (feed,) = missed(told([(10 * hour, 11 * hour), (10 * hour, 12 * hour), (11 * hour, 13 * hour)]))
    assert feed.seconds == 3 * hour
    assert feed.share == pytest.approx(3 / 16)  # of 4:00 to 20:00
    assert feed.too_much


def test_a_gap_outside_of_the_session_costs_nothing() -> None:
    (night,) = missed(told([(0, 3 * 3600)]))
    assert (night.gaps, night.seconds) == (0, 0.0)
    saturday = told([(10 * 3600, 12 * 3600)], dt.date(2026, 1, 24))
    assert [m.gaps for m in missed(saturday)] == [0]


def test_kites_session_lies_around_new_yorks_midnight() -> None:
    """In winter 22:30, the pre-open, to 5:00."""
    hour = 3600
    certificate = told([(4 * hour, 10 * hour), (12 * hour, 14 * hour), (20 * hour, 24 * hour)])
    gaps = [replace(gap, vendor="zerodha", feed="ticker") for gap in certificate.gaps]
    (kite,) = missed(replace(certificate, gaps=gaps))
    assert (kite.gaps, kite.seconds) == (2, 2.5 * hour)
    assert kite.share == pytest.approx(2.5 / 6.5)


def test_a_session_is_measured_by_those_a_week_before_and_after() -> None:
    kite, friday, sunday = "zerodha/ticker", dt.date(2026, 2, 6), dt.date(2026, 2, 8)
    assert [share_of_session(kite, day) for day in (friday, sunday, DAY)] == [1.0, 1.0, 1.0]
    assert share_of_session(kite, dt.date(2026, 2, 7)) == 0
    republic_day = dt.date(2026, 1, 26)
    assert share_of_session(kite, republic_day) == pytest.approx(1.25 / 6.25)
    for short in (dt.date(2026, 3, 8), dt.date(2026, 11, 1)):  # days of 23 and 25 hours
        assert share_of_session("tiingo/crypto", short) == 1
        assert share_of_session("tiingo/fx", short) == 1


def test_sessions_by_feed() -> None:
    thanksgiving, short = dt.date(2026, 11, 26), dt.date(2026, 11, 27)
    assert share_of_session("tiingo/iex", thanksgiving) == 0
    assert share_of_session("tiingo/iex", short) == pytest.approx(3.5 / 6.5)
    assert share_of_session("tiingo/crypto", thanksgiving) == 1
    assert share_of_session("nobody/knows", thanksgiving) == 1
    assert sessions_in("tiingo/iex", thanksgiving) == ()
    assert sessions_in("nobody/knows", thanksgiving) == (day_bounds(thanksgiving),)
