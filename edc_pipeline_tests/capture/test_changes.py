"""What counts as news in a poll's answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from edc_pipeline.capture.changes import Changes
from edc_pipeline.capture.polled import opening_hours
from edc_pipeline.events import AnyEvent, AssetClass
from edc_pipeline.polling_plan import PollHours
from edc_pipeline.vendors.contract import (
    Authorization,
    Polling,
    Reading,
    control,
    quarantined,
)
from edc_pipeline_tests.market import NOON, quote, ref_px

POLLING = Polling(requests=lambda _: [], authorize=lambda _: Authorization(), every_s=1.0)
DAY = 86_400 * 10**9


class Told:
    """A session that says what a test wrote."""

    acknowledged = True

    def __init__(self, answers: Sequence[Reading]) -> None:
        self._answers = list(answers)

    def opening(self) -> Sequence[str]:
        return ()

    def read(self, frame: bytes, received_at: int) -> Reading:
        return self._answers.pop(0)


def heard(*answers: Sequence[AnyEvent], every_poll: bool = False) -> list[int]:
    """How many events each answer brought."""
    changes = Changes(
        Told([Reading(list(events)) for events in answers]), POLLING, every_poll=every_poll
    )
    return [len(changes.read(b"", NOON + n).events) for n, _ in enumerate(answers)]


def price(at: int = NOON, kind: str = "last", **told: Any) -> AnyEvent:
    return ref_px(ts_event=at, kind=kind, **told)


def test_the_same_again_is_no_news_and_a_new_time_is() -> None:
    assert heard([price()], [price()], [price(NOON + 1)], [price(NOON + 1)]) == [1, 0, 1, 0]


def test_each_symbol_kind_and_type_is_news_of_its_own() -> None:
    both = [price(), price(symbol="IBM"), price(kind="reference"), quote()]
    assert heard(both, both, [*both, quote(bid_price=1.0)]) == [4, 0, 1]


def test_caches_that_disagree_tell_the_last_two_once_each() -> None:
    new, old = [price(NOON + 1, price=2.0)], [price()]
    assert heard(old, new, old, new, old) == [1, 1, 0, 0, 0]


def test_without_a_time_a_price_that_comes_back_is_news() -> None:
    def told(value: float) -> list[AnyEvent]:
        return [price(ts_source="receive", price=value)]

    assert heard(told(1.0), told(1.0), told(2.0), told(1.0)) == [1, 0, 1, 1]


def test_a_days_price_is_news_when_it_changes_or_the_day_does() -> None:
    def told(at: int, value: float = 5.0) -> list[AnyEvent]:
        return [price(at, "prev_close", price=value)]

    stated = [told(NOON), told(NOON + 1), told(NOON + 2, 6.0), told(NOON + DAY, 6.0)]
    assert heard(*stated) == [1, 0, 1, 1]


@pytest.mark.parametrize("kind", ["open", "last"])
def test_every_poll_makes_each_answer_events_of_their_own(kind: str) -> None:
    answers = [Reading([price(kind=kind)]), Reading([price(kind=kind)])]
    changes = Changes(Told(answers), POLLING, every_poll=True)
    ids = [changes.read(b"", NOON + n).events[0].event_id for n in range(2)]
    assert len(set(ids)) == 2


def test_an_answer_without_news_is_control_and_one_with_faults_is_not() -> None:
    faulty = Reading([price()], faults=["one row"])
    changes = Changes(Told([Reading([price()]), Reading([price()]), faulty]), POLLING)
    assert changes.read(b"", NOON).outcome == "events"
    unchanged = changes.read(b"", NOON)
    assert unchanged.control is not None
    assert unchanged.control.kind == "unchanged"
    assert changes.read(b"", NOON).outcome == "quarantined"
    assert changes.unreadable


def test_what_the_vendor_said_is_remembered_for_the_asking() -> None:
    changes = Changes(Told([control("transient", "limit"), quarantined("rubbish")]), POLLING)
    changes.read(b"", NOON)
    assert changes.said is not None
    assert changes.said.detail == "limit"
    changes.read(b"", NOON)
    assert not changes.said
    assert changes.unreadable


@pytest.mark.parametrize(
    ("classes", "wanted", "at", "told"),
    [
        # Over the change of the clocks, by New York's: 2026-03-06 and 2026-03-09 at 9:29:59 + 1 s.
        ({"equity"}, "regular", 1_772_807_400, (True, 1_772_830_800)),
        ({"equity"}, "regular", 1_773_063_000, (True, 1_773_086_400)),
        ({"equity"}, "regular", 1_773_062_999, (False, 1_773_063_000)),
        ({"etf"}, "extended", 1_773_043_200, (True, 1_773_100_800)),
        # Thanksgiving; the day after it closes at 13:00.
        ({"equity"}, "regular", 1_795_705_200, (False, 1_795_789_800)),
        ({"equity"}, "regular", 1_795_789_800, (True, 1_795_802_400)),
        # A feed of stocks and currencies is open while either is.
        ({"equity", "fx"}, "regular", 1_773_043_200, (True, 1_773_063_000)),
    ],
)
def test_a_feed_is_asked_in_the_hours_of_its_market(
    classes: set[AssetClass], wanted: PollHours, at: int, told: tuple[bool, int]
) -> None:
    hours = opening_hours(frozenset(classes), wanted)
    assert hours is not None
    is_open, until_ns = hours(at * 10**9)
    assert (is_open, until_ns) == (told[0], told[1] * 10**9)


def test_what_never_closes_is_always_asked() -> None:
    assert opening_hours(frozenset({"crypto"}), "regular") is None
    assert opening_hours(frozenset({"equity"}), "always") is None
