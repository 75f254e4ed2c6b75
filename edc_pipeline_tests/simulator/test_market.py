"""The synthetic market: reproducible, plausible, and as varied as real days are."""

from __future__ import annotations

import datetime as dt
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edc_pipeline.market_day import MARKET_ZONE, NS_PER_SECOND
from edc_pipeline.simulator.activity import Bursts, session_progress, stock_activity
from edc_pipeline.simulator.instruments import LISTED, invented, listing
from edc_pipeline.simulator.market import (
    BREAK,
    QUOTE,
    TICK_DTYPE,
    TRADE,
    Market,
    Pace,
    Ticks,
    rows,
)


def new_york(day: int, hour: int, minute: int = 0, second: int = 0) -> int:
    """In January 2026; the 22nd is a Thursday."""
    moment = dt.datetime(2026, 1, day, hour, minute, second, tzinfo=MARKET_ZONE)
    return int(moment.timestamp()) * NS_PER_SECOND


NOON = new_york(22, 12)


def market(seed: int = 0, *symbols: str, start_ns: int = NOON, **pace: float) -> Market:
    return Market(listing(symbols or None), start_ns=start_ns, seed=seed, pace=Pace(**pace))


def same(one: Ticks, other: Ticks) -> bool:
    return one.tobytes() == other.tobytes()


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    rate=st.sampled_from([5.0, 300.0, 40_000.0]),
    pieces=st.lists(st.floats(0.001, 1.5), min_size=1, max_size=6),
)
def test_same_seed_and_start_give_the_same_ticks_however_often_one_asks(
    seed: int, rate: float, pieces: list[float]
) -> None:
    at_once, piecewise = market(seed, rate=rate), market(seed, rate=rate)
    now, parts = NOON, []
    for piece in pieces:
        now += int(piece * 0.2 * NS_PER_SECOND)
        parts.append(piecewise.until(now))
        assert np.all(parts[-1]["at_ns"] < now)
    assert same(np.concatenate(parts), at_once.until(now))
    assert same(piecewise.take(20), at_once.take(20))


def test_another_seed_gives_another_market() -> None:
    assert not same(market(1).take(100), market(2).take(100))


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    symbols=st.lists(st.sampled_from([*LISTED, "ZZZZ", "NOK/SEK", "DOGE/USD"]), min_size=1),
)
def test_every_tick_is_sound(seed: int, symbols: list[str]) -> None:
    instruments = listing(symbols)
    ticks = market(seed, *symbols, rate=5_000, one_sided_share=0.05).take(3_000)
    assert ticks.dtype == TICK_DTYPE
    assert np.all(np.diff(ticks["at_ns"]) >= 0)
    # What a client calls late or early: stamps lie around the time of sending.
    assert np.all(np.abs(ticks["at_ns"] - ticks["ts_ns"])[ticks["kind"] != BREAK] < NS_PER_SECOND)
    with np.errstate(invalid="ignore"):
        for column in ("bid", "ask", "price", "bid_size", "ask_size", "size"):
            assert not np.any(ticks[column] <= 0)
            assert not np.any(np.isinf(ticks[column]))
        assert not np.any(ticks["bid"] >= ticks["ask"])
    assert not np.any(np.isnan(ticks["bid"]) & np.isnan(ticks["ask"]))
    trades = ticks[ticks["kind"] == TRADE]
    assert np.all((trades["price"] == trades["bid"]) | (trades["price"] == trades["ask"]))
    per_unit = np.array([i.ticks_per_unit for i in instruments])[ticks["instrument"]]
    for column in ("bid", "ask", "price"):
        whole = ticks[column] * per_unit
        given_ = ~np.isnan(whole)
        assert np.allclose(whole[given_], np.round(whole[given_]), atol=1e-4)


def test_a_trade_stands_on_the_last_quote_before_it() -> None:
    book: dict[tuple[int, int], tuple[float, float]] = {}
    checked = 0
    for tick in rows(market(3, rate=400).take(8_000)):
        line = (tick.instrument, tick.venue)
        shown = (tick.bid, tick.ask)
        if tick.kind == QUOTE:
            book[line] = shown
        elif tick.kind == TRADE and line in book:
            assert str(book[line]) == str(shown)  # as text, since NaN differs from itself
            checked += 1
    assert checked > 1_000


def test_stocks_move_together_and_coins_less_so() -> None:
    made = market(5, "SPY", "QQQ", "BTC/USD", rate=300).until(NOON + 600 * NS_PER_SECOND)
    paths = []
    for number in range(3):
        mine = made[(made["instrument"] == number) & (made["venue"] == 0)]
        mid = (mine["bid"] + mine["ask"]) / 2
        grid = NOON + np.arange(1, 120) * 5 * NS_PER_SECOND
        paths.append(np.diff(np.log(mid[np.searchsorted(mine["at_ns"], grid) - 1])))
    correlation = np.corrcoef([np.nan_to_num(path) for path in paths])
    assert correlation[0, 1] > 0.6
    assert correlation[0, 2] < correlation[0, 1] - 0.2


def test_about_one_print_in_twenty_is_a_genuine_twin() -> None:
    ticks = market(7, rate=20_000).take(100_000)
    trades = ticks[ticks["kind"] == TRADE]
    same_print = Counter((t.instrument, t.venue, t.ts_ns, t.price, t.size) for t in rows(trades))
    share = sum(n - 1 for n in same_print.values()) / len(trades)
    assert 0.03 < share < 0.07


def test_one_sided_books_odd_lots_and_breaks_occur() -> None:
    ticks = market(9, rate=20_000, break_share=0.01).take(60_000)
    quotes, trades = ticks[ticks["kind"] == QUOTE], ticks[ticks["kind"] == TRADE]
    assert 0 < np.isnan(quotes["bid"]).mean() < 0.02
    assert 0 < np.isnan(quotes["ask"]).mean() < 0.02
    assert trades["odd_lot"].any()
    assert trades["sweep"].any()
    told = {(t.instrument, t.ts_ns, t.price, t.size) for t in rows(trades)}
    broken = rows(ticks[ticks["kind"] == BREAK])
    assert broken
    assert all((t.instrument, t.ts_ns, t.price, t.size) in told for t in broken)


def test_a_halted_stock_is_quoted_and_not_traded() -> None:
    ticks = market(11, "SPY", "AAPL", rate=2_000, halts_per_hour=600).take(30_000)
    assert ticks["halted"].any()
    assert not np.any(ticks["halted"] & (ticks["kind"] == TRADE))


def test_some_stamps_lie_after_the_sending() -> None:
    ticks = market(13, rate=20_000).take(20_000)
    ahead = (ticks["ts_ns"] > ticks["at_ns"]).mean()
    assert 0.002 < ahead < 0.03


@pytest.mark.parametrize(
    ("ts_ns", "progress"),
    [
        (new_york(22, 9, 29, 59), None),
        (new_york(22, 9, 30), 0.0),
        (new_york(22, 12, 45), 0.5),
        (new_york(22, 16), None),
        (new_york(24, 12), None),  # a Saturday
    ],
)
def test_session(ts_ns: int, progress: float | None) -> None:
    assert session_progress(ts_ns) == progress


def test_the_bells_are_busy_and_the_night_is_not_asleep() -> None:
    opening, noon = stock_activity(new_york(22, 9, 31), 0.5), stock_activity(NOON, 0.5)
    closing, night = stock_activity(new_york(22, 15, 59), 0.5), stock_activity(NOON // 2, 0.5)
    assert opening > closing > 2 * noon
    assert night == 0.5
    session = [stock_activity(new_york(22, 9, 30) + m * 60 * 10**9, 0.0) for m in range(390)]
    assert np.mean(session) == pytest.approx(1.0, rel=0.02)
    at_three = market(1, "SPY", rate=100, start_ns=new_york(22, 3))
    ticks = at_three.until(new_york(22, 3, 1))
    assert len(ticks) > 500
    assert ticks["after_hours"].all()


def test_the_rate_holds_on_average_and_arrivals_come_in_bursts() -> None:
    seconds = 1_500
    end = NOON + seconds * NS_PER_SECOND
    # Coins alone, since they know no session.
    bursting = market(17, "BTC/USD", rate=50).until(end)
    steady = market(17, "BTC/USD", rate=50, burstiness=0).until(end)
    assert len(bursting) / seconds == pytest.approx(50, rel=0.3)
    assert len(steady) / seconds == pytest.approx(51, rel=0.05)

    def dispersion(ticks: Ticks) -> float:
        counts = np.bincount((ticks["at_ns"] - NOON) // NS_PER_SECOND, minlength=seconds)
        return float(counts.var() / counts.mean())

    assert dispersion(steady) < 2  # a Poisson stream has 1; twin prints add a little
    assert dispersion(bursting) > 4


def test_excitement_stays_bounded() -> None:
    bursts, random = Bursts(3, 1.0), np.random.default_rng(0)
    activity = np.array([bursts.activity(0.1, random) for _ in range(20_000)])
    assert activity.min() > 0
    assert activity.max() < 25
    assert activity.mean() == pytest.approx(1.0, rel=0.2)


def test_jumping_leaves_out_what_lies_between() -> None:
    jumped = market(19, rate=500)
    jumped.until(NOON + NS_PER_SECOND)
    jumped.jump_to(NOON + 3600 * NS_PER_SECOND)
    assert jumped.take(10)["at_ns"].min() >= NOON + 3600 * NS_PER_SECOND


@settings(deadline=None)
@given(st.from_regex(r"[A-Z]{1,5}(\.[AB])?", fullmatch=True))
def test_an_unlisted_symbol_gets_the_same_price_every_time(symbol: str) -> None:
    assert invented(symbol) == invented(symbol)
    assert invented(symbol).start_price > 1


def test_symbols_say_what_they_are() -> None:
    kinds = [i.asset_class for i in listing(["brk.b", " spy ", "EUR/USD", "BTC/USD", "XYZ/USD"])]
    assert kinds == ["equity", "etf", "fx", "crypto", "crypto"]
    assert len(listing(["SPY", "spy"])) == 1


@pytest.mark.parametrize("symbols", [[], [""], ["A/B/C"], ["SP Y"], ["/"], ['"']])
def test_symbols_that_are_none(symbols: list[str]) -> None:
    with pytest.raises(ValueError, match="symbols: "):
        listing(symbols)


@pytest.mark.parametrize("pace", [{"rate": 0.0}, {"rate": float("nan")}, {"floor": -1.0}])
def test_impossible_paces(pace: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"rate|floor"):
        Pace(**pace)
