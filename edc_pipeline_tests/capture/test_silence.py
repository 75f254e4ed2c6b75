"""A feed that is mute is flagged in time; a thin one, a closed market and a start are not."""

from __future__ import annotations

import random
from itertools import accumulate

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edc_pipeline.capture.silence import FEED, Rhythm, Silence, SymbolRhythms

NOON = 1_769_101_200_000_000_000  # a Thursday's noon in New York
S = 10**9


def listen(
    times: list[float],
    until_s: float,
    start_ns: int = NOON + 600 * S,
    *,
    known_to_be_open: bool = False,
) -> tuple[float, Silence] | None:
    """Look every second; the first silence that is flagged, and when. A newcomer is judged where
    its market is known to be open."""
    rhythm, place = Rhythm(FEED), 0
    for second in range(1, int(until_s) + 1):
        came = 0
        while place < len(times) and times[place] <= second:
            came, place = came + 1, place + 1
        now = second, start_ns + second * S
        if came:
            rhythm.spoke(*now, came)
            continue
        found = rhythm.silence(*now)
        if found is None and known_to_be_open:
            found = rhythm.silence_of_newcomer(25.0, second)
        if found is not None:
            return second, found
    return None


def arrivals(seed: int, per_s: float, seconds: float, burstiness: float = 0.0) -> list[float]:
    """Poisson, or with long-tailed pauses."""
    rng = random.Random(seed)
    pause = rng.expovariate if not burstiness else lambda r: rng.gammavariate(0.4, 2.5 / r)
    times = list(accumulate(pause(per_s) for _ in range(2 * int(per_s * seconds) + 99)))
    return [t for t in times if t < seconds]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    per_s=st.sampled_from([3.0, 10.0, 50.0]),
    seconds=st.integers(120, 1100),
)
def test_a_feed_that_speaks_often_is_flagged_within_30_s(
    seed: int, per_s: float, seconds: int
) -> None:
    times = arrivals(seed, per_s, seconds)
    flagged = listen(times, seconds + 60)
    assert flagged is not None
    at_s, silence = flagged
    assert 15 <= at_s - times[-1] <= 31
    assert silence.expected_per_s == pytest.approx(per_s, rel=0.8)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    per_s=st.sampled_from([0.01, 0.1, 0.5, 1.0, 2.0, 5.0]),
    burstiness=st.sampled_from([0.0, 1.0]),
)
@example(seed=418, per_s=0.01, burstiness=1.0)  # a dozen in a moment, then 16 minutes of nothing
def test_no_false_alarm_while_it_speaks_at_whatever_rate(
    seed: int, per_s: float, burstiness: float
) -> None:
    assert listen(arrivals(seed, per_s, 3600, burstiness), 3600) is None


@pytest.mark.parametrize("every_s", [20, 60, 300])
@pytest.mark.parametrize("burst", [10, 500])
def test_a_feed_that_speaks_in_bursts_is_known_to(every_s: int, burst: int) -> None:
    times = [t + n / 1000 for t in range(0, 3600, every_s) for n in range(burst)]
    assert listen(times, 3600) is None


def test_one_hiccup_does_not_make_it_deaf() -> None:
    flagged = listen([t / 10 for t in range(35_000) if not 20_000 < t < 20_120], 3700)
    assert flagged is not None
    assert flagged[0] - 3500 <= 31


@pytest.mark.parametrize("per_s", [3.0, 10.0, 50.0])
@pytest.mark.parametrize("seconds", [3, 10, 20, 30, 45, 59, 60, 61, 75])
def test_a_feed_that_falls_mute_within_its_first_minute_is_flagged_within_30_s(
    seconds: int, per_s: float
) -> None:
    for seed in range(20):
        times = arrivals(seed, per_s, seconds)
        if len(times) < FEED.missed_frames:
            continue  # less than any silence is measured by
        flagged = listen(times, seconds + 60, known_to_be_open=True)
        assert flagged is not None
        assert flagged[0] - times[-1] <= 30


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    per_s=st.sampled_from([0.01, 0.1, 0.5, 1.0, 2.0, 5.0]),
    snapshot=st.sampled_from([0, 1, 60, 3000]),
)
def test_a_newcomer_that_goes_on_speaking_is_not_flagged(
    seed: int, per_s: float, snapshot: int
) -> None:
    times = [0.5] * snapshot + [1 + t for t in arrivals(seed, per_s, 120)]
    assert listen(times, 120, known_to_be_open=True) is None


def test_a_snapshot_alone_says_nothing_of_a_rhythm() -> None:
    assert listen([n / 1000 for n in range(1900)], 600, known_to_be_open=True) is None


def test_a_start_is_no_silence() -> None:
    assert listen([], 3600) is None
    assert listen([n / 100 for n in range(500)], 7200) is None  # a snapshot, then a closed market


@pytest.mark.parametrize("last_s", [-4, 0, 0.5, 8, 29])
def test_a_session_ends_on_the_half_hour(last_s: float) -> None:
    """16:00 and 13:00 alike; the feed spoke ten times a second until then."""
    speaks_s = 1200 + last_s
    assert listen([n / 10 for n in range(int(speaks_s * 10))], 6000, NOON + 600 * S) is None


def test_the_night_is_no_pause_to_learn() -> None:
    day = [n / 10 for n in range(12_000)]
    night = 50_400  # after it, the feed speaks for two minutes and is cut off at 06:12
    morning = [night + n / 10 for n in range(1200)]
    flagged = listen([*day, *morning], night + 1300, NOON + 600 * S)
    assert flagged is not None
    assert flagged[0] - morning[-1] <= 31


def test_a_market_that_falls_to_a_trickle_at_its_close_is_not_mute() -> None:
    rng = random.Random(4)
    day = [n / 50 for n in range(60_000)]
    after = list(accumulate((rng.expovariate(1 / 20) for _ in range(150)), initial=1200.0))
    assert listen([*day, *after], 4000) is None


def test_what_was_not_listened_to_is_no_silence() -> None:
    rhythm = Rhythm(FEED)
    for second in range(300):
        rhythm.spoke(second, NOON + second * S, 10)
    rhythm.not_listening()
    assert rhythm.silence(900, NOON + 900 * S) is None
    for second in range(901, 931):
        rhythm.spoke(second, NOON + second * S, 10)
    assert rhythm.silence(940, NOON + 940 * S) is None
    assert rhythm.silence(946, NOON + 946 * S) is not None


def test_one_symbol_of_a_feed_that_speaks() -> None:
    symbols = SymbolRhythms()
    for second in range(1000):
        heard = {"SPY"} | ({"AAPL"} if second < 800 else set())
        symbols.spoke(heard | ({"THIN"} if second % 400 == 0 else set()), second, NOON + second * S)
    assert symbols.silent(850, NOON + 850 * S) == []
    assert symbols.silent(1000, NOON + 1000 * S) == ["AAPL"]
