"""What is told and when: the rule, with the clock in hand."""

from __future__ import annotations

from functools import partial

import msgspec
import pytest

from edc_pipeline.alerts.notices import Memory, Notice, look, remember
from edc_pipeline.alerts.troubles import (
    Trouble,
    disk_short,
    mute_feeds,
    troubles_of_capture,
)
from edc_pipeline.market_hours import any_open
from edc_pipeline.settings_of_days import Alerts
from edc_pipeline.settings_of_feeds import Feed
from edc_pipeline_tests.defs.test_keep_capture_running import report

RULES = Alerts(patience_minutes=1, cool_down_minutes=10)
MUTE = Trouble("feed_mute", "stocks", "stocks: silent for 60 s")
FX = Trouble("feed_mute", "fx", "fx: connecting")
RED = Trouble("check_red", "gaps 2026-01-22|trade", "gaps: much is missing")


def failed(run: str) -> Trouble:
    return Trouble("run_failed", run, f"run {run} failed", happened=True)


class Desk:
    """Looks at minutes; remembers as the sensor does, by JSON."""

    def __init__(self, rules: Alerts = RULES) -> None:
        self.rules = rules
        self.memory = Memory()

    def at(self, minute: float, *troubles: Trouble) -> list[Notice]:
        memory, notices = look(self.memory, troubles, self.rules, 60 * minute)
        self.memory = msgspec.json.decode(msgspec.json.encode(memory), type=Memory)
        return notices


def titles(notices: list[Notice]) -> list[str]:
    return [n.title.removeprefix("edc: ") for n in notices]


def test_a_trouble_that_lasts_is_told_once() -> None:
    desk = Desk()
    assert desk.at(0, MUTE) == []
    (notice,) = desk.at(1, MUTE)
    assert (notice.tone, notice.body) == ("failure", "- stocks: silent for 60 s")
    assert [desk.at(n, MUTE) for n in (2, 20, 2000)] == [[], [], []]


def test_what_is_over_before_patience_ends_wakes_nobody() -> None:
    desk = Desk()
    assert desk.at(0, MUTE) == desk.at(0.5) == desk.at(2) == []


def test_its_end_is_told_at_once() -> None:
    desk = Desk()
    desk.at(0, MUTE)
    desk.at(1, MUTE)
    (over,) = desk.at(2)
    assert (over.tone, over.title) == ("success", "edc: over: feeds are mute")
    assert desk.at(3) == []


def test_a_second_of_its_kind_waits_for_the_cool_down() -> None:
    desk = Desk()
    desk.at(0, MUTE)
    desk.at(1, MUTE)
    assert [desk.at(n, MUTE, FX) for n in (2, 5, 10.9)] == [[], [], []]
    (notice,) = desk.at(11, MUTE, FX)
    assert notice.body == "- fx: connecting"


def test_kinds_do_not_hold_each_other_up() -> None:
    desk = Desk()
    desk.at(0, MUTE, RED)
    assert titles(desk.at(1, MUTE, RED)) == [
        "feeds are mute",
        "checks are red: do not trade on these files",
    ]


def test_runs_that_fail_again_and_again_are_one_message() -> None:
    desk = Desk()
    assert [n.body for n in desk.at(0, failed("a"))] == ["- run a failed"]
    assert desk.at(1, failed("b")) == desk.at(2, failed("c")) == desk.at(3) == []
    assert [n.body for n in desk.at(10)] == ["- run b failed\n- run c failed"]
    assert desk.at(30) == []  # nothing is over: it had happened


def test_a_storm_is_bounded() -> None:
    desk = Desk()
    desk.at(0, failed("first"))
    for n in range(1000):
        desk.at(1, failed(str(n)))
    (notice,) = desk.at(20)
    assert len(notice.body.splitlines()) == 21
    assert notice.body.endswith("and 180 more")


def test_what_nobody_wants_to_hear_of() -> None:
    desk = Desk(Alerts(patience_minutes=0, mute=frozenset({"feed_mute"})))
    assert titles(desk.at(0, MUTE, RED)) == ["checks are red: do not trade on these files"]


def test_no_recovery_where_it_is_not_wanted() -> None:
    desk = Desk(Alerts(patience_minutes=0, recovery=False))
    assert len(desk.at(0, MUTE)) == 1
    assert desk.at(1) == []


def test_what_could_not_be_sent_is_told_later() -> None:
    """The network is down: neither a trouble, nor a run, nor a recovery gets lost."""
    desk = Desk()
    desk.at(0, MUTE)
    desk.at(1, MUTE)
    unsent = remember(desk.memory, [FX, failed("a")], RULES, 120)
    assert titles(look(unsent, [FX], RULES, 60 * 12)[1]) == [
        "over: feeds are mute",
        "feeds are mute",
        "runs failed",
    ]


# What is wrong

NOON = 1_769_101_200 * 10**9  # Thursday, 2026-01-22, 12:00 in New York
SATURDAY = NOON + 2 * 86_400 * 10**9
STOCKS = partial(any_open, ("equity",), "us")
COINS = partial(any_open, ("crypto",), "us")


def test_capture_is_down_only_where_it_is_wanted() -> None:
    assert troubles_of_capture(False, False, None, NOON) == []
    (down,) = troubles_of_capture(True, False, None, NOON)
    assert down.kind == "capture_down"


def test_a_collector_that_says_nothing_is_down() -> None:
    said = report()
    said.at = NOON - 61 * 10**9
    assert [t.kind for t in troubles_of_capture(True, True, said, NOON)] == ["capture_down"]
    said.at = NOON - 10**9
    assert troubles_of_capture(True, True, said, NOON) == []
    said.disk_problem = "No space left on device"
    assert [t.kind for t in troubles_of_capture(True, True, said, NOON)] == ["disk_short"]


@pytest.mark.parametrize(("now", "number"), [(NOON, 1), (SATURDAY, 0)])
def test_a_feed_is_mute_only_while_its_market_is_open(now: int, number: int) -> None:
    said = report()
    said.at = now
    assert mute_feeds(said, {"stocks": STOCKS}, now) == []
    said.feeds[0].state = "silent"
    assert len(mute_feeds(said, {"stocks": STOCKS}, now)) == number
    assert len(mute_feeds(said, {"stocks": COINS}, now)) == len(mute_feeds(said, {}, now)) == 1


@pytest.mark.parametrize(
    ("now", "number"),
    [
        (1_772_769_000, 1),  # Friday, 2026-03-06, 9:20 in India: 22:50 in New York
        (1_773_114_600, 1),  # Tuesday, 2026-03-10, 9:20 in India: 23:50 in New York by then
        (1_773_113_400, 1),  # its pre-open
        (1_773_112_800 - 60, 0),  # 8:49
        (1_773_137_400, 0),  # 15:40
        (1_773_158_400, 0),  # noon in New York
    ],
)
def test_kite_is_mute_only_while_indias_market_is_open(now: int, number: int) -> None:
    options = {"tokens": {"INFY": 408065}}
    kite = Feed(vendor="zerodha", feed="ticker", symbols=("INFY",), options=options)
    said = report()
    said.at = now * 10**9
    said.feeds[0].state = "silent"
    assert len(mute_feeds(said, {"stocks": kite.market}, said.at)) == number


def test_a_polled_feed_is_not_mute_in_hours_in_which_it_is_not_asked() -> None:
    said = report()
    said.at = NOON
    said.feeds[0].state = "closed"
    assert mute_feeds(said, {"stocks": STOCKS}, NOON) == []
    said.feeds[0].subscription = "refused"
    assert len(mute_feeds(said, {"stocks": STOCKS}, NOON)) == 1


def test_a_disk_is_short_below_its_limit() -> None:
    gib = 1 << 30
    assert disk_short(10 * gib, 10, "data") == []
    (short,) = disk_short(9 * gib, 10, "data")
    assert "9.0 GiB are free at data" in short.words
