"""Speed, pause, step and seek: what an event is told when it asks how long to wait."""

from __future__ import annotations

import asyncio
import math
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edc_pipeline.replay.pacing import LoopPacer, ThreadPacer
from edc_pipeline.replay.playback import LEAVE_OUT, NOW, Playback, parse_speed

SECOND = 10**9


def test_an_event_waits_for_its_time() -> None:
    playing = Playback(1.0)
    assert playing.wait_s(100 * SECOND, 7.0) == NOW  # the first one sets the clocks
    assert playing.wait_s(103 * SECOND, 7.0) == 3.0
    assert playing.wait_s(103 * SECOND, 9.5) == pytest.approx(0.5)
    assert playing.wait_s(103 * SECOND, 10.25) == NOW
    assert playing.behind_s == pytest.approx(0.25)
    assert playing.position_ns == 103 * SECOND


def test_a_change_of_speed_does_not_jump() -> None:
    playing = Playback(10.0)
    playing.wait_s(0, 0.0)
    assert playing.wait_s(10 * SECOND, 0.0) == pytest.approx(1.0)
    assert playing.wait_s(10 * SECOND, 1.0) == NOW
    playing.set_speed(1.0)
    assert playing.wait_s(11 * SECOND, 1.0) == NOW  # from here on by the new clock
    assert playing.wait_s(12 * SECOND, 1.0) == pytest.approx(1.0)
    playing.set_speed(None)
    assert playing.wait_s(10**9 * SECOND, 1.0) == NOW


def test_paused_nothing_goes_but_by_steps() -> None:
    playing = Playback(None)
    playing.pause()
    assert playing.wait_s(1, 0.0) == math.inf
    playing.step(2)
    assert [playing.wait_s(n, 0.0) for n in (1, 2, 3)] == [NOW, NOW, math.inf]
    playing.resume()
    assert playing.wait_s(3, 0.0) == NOW
    assert playing.played == 3


def test_a_pause_is_not_caught_up_with() -> None:
    playing = Playback(1.0)
    playing.wait_s(0, 0.0)
    playing.pause()
    assert playing.wait_s(1 * SECOND, 500.0) == math.inf
    playing.resume()
    assert playing.wait_s(1 * SECOND, 1000.0) == NOW
    assert playing.wait_s(2 * SECOND, 1000.0) == pytest.approx(1.0)


def test_a_seek_leaves_out_what_lies_before() -> None:
    playing = Playback(1.0)
    playing.wait_s(0, 0.0)
    playing.seek(60 * SECOND)
    assert [playing.wait_s(n * SECOND, 0.0) for n in (1, 59)] == [LEAVE_OUT, LEAVE_OUT]
    assert playing.wait_s(61 * SECOND, 0.0) == NOW
    assert playing.wait_s(62 * SECOND, 0.0) == pytest.approx(1.0)
    assert playing.left_out == 2
    playing.pause()
    playing.seek(70 * SECOND)
    assert playing.wait_s(65 * SECOND, 0.0) == LEAVE_OUT
    assert playing.wait_s(70 * SECOND, 0.0) == NOW  # shows where it stands
    assert playing.wait_s(71 * SECOND, 0.0) == math.inf


def test_back_nothing_goes_until_the_source_is_opened_again() -> None:
    playing = Playback(None)
    playing.pause()
    playing.rewind(10 * SECOND)
    assert [playing.wait_s(n * SECOND, 0.0) for n in (60, 61)] == [LEAVE_OUT, LEAVE_OUT]
    playing.rewound()
    assert playing.wait_s(10 * SECOND, 0.0) == NOW
    assert playing.wait_s(11 * SECOND, 0.0) == math.inf


@given(
    st.lists(st.integers(0, 100 * SECOND), min_size=1, max_size=50).map(sorted),
    st.floats(0.01, 1000.0),
)
def test_whoever_waits_as_told_is_never_early_and_never_waits_twice(
    times: list[int], speed: float
) -> None:
    playing, now = Playback(speed), 5.0
    for at in times:
        wait = playing.wait_s(at, now)
        if wait:
            now += wait * (1 + 1e-12) + 1e-9
            assert playing.wait_s(at, now) == NOW
        assert now - 5.0 >= (at - times[0]) / SECOND / speed - 1e-6
    assert playing.played == len(times)
    assert playing.lateness_s(0.99) < 1e-3


@pytest.mark.parametrize(
    ("text", "speed"), [("1", 1.0), ("10x", 10.0), ("0.5", 0.5), ("max", None)]
)
def test_speeds(text: str, speed: float | None) -> None:
    assert parse_speed(text) == speed


@pytest.mark.parametrize("text", ["", "0", "-1", "fast", "1e9", "20000"])
def test_no_speeds(text: str) -> None:
    with pytest.raises(ValueError, match="is no speed"):
        parse_speed(text)


def test_a_thread_is_held_until_somebody_steps() -> None:
    pacer = ThreadPacer(Playback(None))
    pacer.do(Playback.pause)
    went: list[bool] = []
    player = threading.Thread(target=lambda: went.append(pacer.until(1)))
    player.start()
    player.join(0.1)
    assert player.is_alive()
    pacer.do(lambda p: p.step())
    player.join(10)
    assert went == [True]


def test_a_loop_is_held_until_it_is_time_or_somebody_seeks() -> None:
    async def body() -> None:
        pacer = LoopPacer(Playback(1.0))
        assert await pacer.until(0)
        began = time.monotonic()
        assert await pacer.until(SECOND // 20)
        assert time.monotonic() - began >= 0.045
        waiting = asyncio.create_task(pacer.until(3600 * SECOND))
        await asyncio.sleep(0.02)
        assert not waiting.done()
        await asyncio.to_thread(pacer.do, lambda p: p.seek(7200 * SECOND))
        async with asyncio.timeout(10):
            assert await waiting is False
            assert await pacer.until(7200 * SECOND)

    asyncio.run(body())
