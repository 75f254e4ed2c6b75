"""What is taken off a loss as the machine's noise, and what is not."""

from __future__ import annotations

from edc_pipeline_tests.crash.noise import LOOP, Look, noise_ms, slow_disk_ms

MS = 1_000_000
JOURNAL, OTHER = 7, 8


def look(at_ms: int, overslept_ms: float = 0, **in_line_ms: float) -> Look:
    threads = {"loop": LOOP, "journal": JOURNAL, "other": OTHER}
    return Look(
        at_ms * MS, overslept_ms, {threads[t]: int(ms * MS) for t, ms in in_line_ms.items()}
    )


def test_only_what_came_since_the_frame_is_taken_off() -> None:
    looks = [look(0, 70, loop=100), look(10, 1, loop=103), look(20, 2, loop=104)]
    assert noise_ms(looks, 0, JOURNAL) == 4
    assert noise_ms(looks, 15 * MS, JOURNAL) == 2
    assert noise_ms(looks, 20 * MS, JOURNAL) == 0
    assert noise_ms(looks, -1, JOURNAL) == 104  # all of its life


def test_the_threads_that_bring_a_frame_to_the_disk_count_and_no_other() -> None:
    looks = [look(0), look(10, 1, loop=2, journal=3, other=90)]
    assert noise_ms(looks, 0, JOURNAL) == 3
    assert noise_ms(looks, 0, OTHER) == 90
    assert noise_ms([], 0, JOURNAL) == 0


def test_a_slow_disk_is_what_each_sync_took_beyond_its_share() -> None:
    syncs = [(0, 0), (1 * MS, 90 * MS), (100 * MS, 120 * MS), (130 * MS, 0)]
    assert slow_disk_ms(syncs, 50 * MS, 200 * MS, 25) == (89 - 25) + (70 - 25)
    assert slow_disk_ms(syncs, 95 * MS, 200 * MS, 25) == 70 - 25
    assert slow_disk_ms(syncs, 95 * MS, 140 * MS, 25) == 0
