"""Any loss from a numbered stream is found, with its size and its place, and nothing else is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edc_pipeline.capture.sequence import (
    ANEW_MESSAGES,
    LATE_MESSAGES,
    LATE_NS,
    Missing,
    Numbering,
    Numbers,
)
from edc_pipeline.coded import Coded
from edc_pipeline.events import AnyEvent, Quote, Trade
from edc_pipeline.vendors.contract import Columns, SequenceRule

SYMBOL = SequenceRule("symbol")
CONNECTION = SequenceRule("connection")
MS = 10**6


def heard(rule: SequenceRule, numbers: list[int], at: list[int] | None = None) -> list[Missing]:
    numbering, missing = Numbering(rule, "SPY", "the numbering"), list[Missing]()
    for place, number in enumerate(numbers):
        numbering.hear(number, place * MS if at is None else at[place], missing)
    numbering.settle(missing, None)
    return missing


def runs(numbers: set[int]) -> list[tuple[int, int]]:
    """(first, size) of each run of numbers that follow each other."""
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and sum(found[-1]) == number:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((number, 1))
    return found


@given(
    first=st.integers(0, 10**12),
    kept=st.lists(st.booleans(), min_size=1, max_size=300),
    copies=st.lists(st.integers(0, 299), max_size=20),
)
@example(first=0, kept=[True, False, True], copies=[])
def test_every_loss_is_found_with_size_and_place(
    first: int, kept: list[bool], copies: list[int]
) -> None:
    kept = [True, *kept, True]
    arrive = [first + n for n, is_kept in enumerate(kept) if is_kept]
    lost = {first + n for n, is_kept in enumerate(kept) if not is_kept}
    stream = list(arrive)
    for place in sorted(copies, reverse=True):  # some come twice, at once
        if place < len(arrive):
            stream.insert(place + 1, arrive[place])
    found = heard(SYMBOL, stream)
    assert sorted((m.first_seq, m.size) for m in found) == runs(lost)
    received = {number: place * MS for place, number in reversed(list(enumerate(stream)))}
    for gap in found:
        assert gap.size is not None
        assert gap.from_ns >= received[gap.first_seq - 1]
        assert gap.to_ns == received[gap.first_seq + gap.size]


@given(
    kept=st.lists(st.booleans(), min_size=1, max_size=200),
    shuffle=st.lists(st.integers(0, LATE_MESSAGES // 4), min_size=202, max_size=202),
)
def test_messages_that_overtake_each_other_are_no_gap(kept: list[bool], shuffle: list[int]) -> None:
    kept = [True, *kept, True]
    arrive = [n for n, is_kept in enumerate(kept) if is_kept]
    late = sorted(arrive[1:], key=lambda n: n + shuffle[n])
    lost = {n for n, is_kept in enumerate(kept) if not is_kept}
    found = heard(SYMBOL, [arrive[0], *late])
    # Where a late one splits a hole, the parts are told one by one: together they are the loss.
    told = {m.first_seq + n for m in found for n in range(m.size or 0)}
    assert told == {n for n in lost if n < max(late)}
    assert sum(m.size or 0 for m in found) == len(told)


@given(
    kept=st.lists(st.booleans(), min_size=1, max_size=100),
    start=st.integers(0, 999),
)
def test_numbers_that_wrap_go_on(kept: list[bool], start: int) -> None:
    kept = [True, *kept, True]
    rule = SequenceRule("connection", wraps_after=999)
    arrive = [(start + n) % 1000 for n, is_kept in enumerate(kept) if is_kept]
    lost = {n for n, is_kept in enumerate(kept) if not is_kept}
    found = heard(rule, arrive)
    assert [(m.first_seq, m.size) for m in found] == [
        ((start + first) % 1000, size) for first, size in runs(lost)
    ]


@given(st.lists(st.integers(0, 10**6), max_size=100))
def test_numbers_that_only_increase_have_no_gaps(jumps: list[int]) -> None:
    numbers = [sum(jumps[: n + 1]) for n in range(len(jumps))]
    assert heard(SequenceRule("symbol", contiguous=False), numbers) == []


@given(st.lists(st.integers(), max_size=400))
def test_hostile_numbers_never_raise_and_never_overflow_the_ledger(numbers: list[int]) -> None:
    for missing in heard(SYMBOL, numbers):
        assert missing.size is None or 0 < missing.size < 2**63
        assert -1 <= missing.first_seq < 2**63
        assert missing.from_ns <= missing.to_ns


def test_a_replay_after_a_reconnect_is_no_new_numbering() -> None:
    assert heard(SYMBOL, [*range(500), *range(400, 700)]) == []


def test_a_numbering_that_begins_anew_is_told_and_followed() -> None:
    anew = ANEW_MESSAGES + 10
    missing = heard(SYMBOL, [*range(5000, 6000), *range(anew), anew + 3])
    assert [(m.first_seq, m.size) for m in missing] == [(ANEW_MESSAGES - 1, None), (anew, 3)]
    assert "goes on at 199 after 5999" in missing[0].reason
    assert (missing[0].from_ns, missing[0].to_ns) == (999 * MS, 1000 * MS)


def test_a_hole_is_given_up_after_a_while_without_waiting_for_messages() -> None:
    numbering, missing = Numbering(SYMBOL, "SPY", "the numbering"), list[Missing]()
    assert not numbering.hear(1, 0, missing)
    assert numbering.hear(4, 7, missing)
    numbering.settle(missing, 7 + LATE_NS)
    assert missing == []
    numbering.settle(missing, 8 + LATE_NS)
    assert [(m.first_seq, m.size, m.from_ns, m.to_ns) for m in missing] == [(2, 2, 0, 7)]


def trade(symbol: str, seq: int) -> Trade:
    return Trade(
        ts_event=1, symbol=symbol, asset_class="crypto", vendor="v", feed="f", created_at=1,
        price=1.0, size=1.0, seq=seq,
    )  # fmt: skip


def quote(symbol: str, seq: int) -> Quote:
    return Quote(
        ts_event=1, symbol=symbol, asset_class="crypto", vendor="v", feed="f", created_at=1,
        bid_price=1.0, bid_size=1.0, ask_price=2.0, ask_size=1.0, seq=seq,
    )  # fmt: skip


def test_symbols_are_numbered_each_for_itself_and_across_connections() -> None:
    numbers = Numbers([SequenceRule("symbol", event_types=("trade",))])
    missing: list[Missing] = []
    for connection, symbol, seq in [
        ("a", "SPY", 1), ("a", "QQQ", 70), ("a", "SPY", 2), ("b", "SPY", 3), ("b", "QQQ", 73),
        ("a", "SPY", 3), ("a", "SPY", 4),
    ]:  # fmt: skip
        numbers.hear_event(connection, trade(symbol, seq), 5, missing)
        numbers.hear_event(connection, quote(symbol, 9 * seq), 5, missing)  # not of this rule
    missing += numbers.settle(None)
    assert [(m.symbol, m.first_seq, m.size) for m in missing] == [("QQQ", 71, 2)]


def test_a_connections_numbers_begin_anew_with_it() -> None:
    numbers = Numbers([CONNECTION])
    missing: list[Missing] = []
    for seq in (1, 2, 5):
        numbers.hear_frame("c/0.0", seq, seq, missing)
    numbers.connection_ended("c/0.0", missing)
    for seq in (1, 2, 3):
        numbers.hear_frame("c/0.1", seq, seq, missing)
    assert [(m.symbol, m.first_seq, m.size) for m in missing] == [("", 3, 2)]
    assert list(numbers.settle(None)) == []


@given(
    rule=st.sampled_from(
        [
            SequenceRule("symbol"),
            SequenceRule("symbol", contiguous=False),
            SequenceRule("symbol", wraps_after=9),
            SequenceRule("symbol", event_types=("trade",), borne_by="event_id"),
            SequenceRule("connection"),
        ]
    ),
    reads=st.lists(
        st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from([1, 1, 1, 0, 2])), min_size=1),
        min_size=1,
    ),
)
def test_numbers_heard_together_are_heard_as_one_by_one(
    rule: SequenceRule, reads: list[list[tuple[str, int]]]
) -> None:
    together, one_by_one = Numbers([rule]), Numbers([rule])
    missing: tuple[list[Missing], list[Missing]] = [], []
    reached = {"A": 0, "B": 0}
    for at, read in enumerate(reads):
        numbers = []
        for symbol, step in read:
            reached[symbol] += step
            numbers.append(reached[symbol] if rule.counts == "symbol" else sum(reached.values()))
        trades = [
            msgspec.structs.replace(trade(symbol, number), event_id=str(number))
            for (symbol, _), number in zip(read, numbers, strict=True)
        ]
        columns = Columns(
            "trade",
            {},
            {"ts_event": np.ones(len(read), np.int64), "seq": np.array(numbers)},
            {"symbol": Coded.of([s for s, _ in read])},
            {"event_id": list(map(str, numbers))},
            np.arange(len(read)),
        )
        if not together.go_on("one", [columns], at):
            for event in trades:
                together.hear_event("one", event, at, missing[0])
        for event in trades:
            one_by_one.hear_event("one", event, at, missing[1])
    missing[0].extend(together.settle(None))
    missing[1].extend(one_by_one.settle(None))
    assert sorted(missing[0], key=str) == sorted(missing[1], key=str)


STEPS = st.sampled_from([1, 1, 1, 1, 0, 2])


@given(
    reads=st.lists(
        st.lists(st.tuples(st.sampled_from("AB"), STEPS, STEPS), min_size=1), min_size=1
    ),
    reconnects=st.sets(st.integers(0, 20)),
    quotes_first=st.booleans(),
)
def test_frames_numbers_heard_together_are_heard_as_one_by_one(
    reads: list[list[tuple[str, int, int]]], reconnects: set[int], quotes_first: bool
) -> None:
    """A connection's frames are numbered, and the trades in them: two runs at once."""
    rules = [CONNECTION, SequenceRule("symbol", event_types=("trade",), borne_by="event_id")]
    together, one_by_one = Numbers(rules), Numbers(rules)
    missing: tuple[list[Missing], list[Missing]] = [], []
    ids, frame, connection = {"A": 0, "B": 0}, 0, "c/0"
    for at, read in enumerate(reads):
        if at in reconnects:
            together.connection_ended(connection, missing[0])
            one_by_one.connection_ended(connection, missing[1])
            connection, frame = f"c/{at}", 0
        heard: list[tuple[int, AnyEvent]] = []
        for symbol, step, frame_step in read:
            ids[symbol], frame = ids[symbol] + step, frame + frame_step
            event: AnyEvent = trade(symbol, -1) if step else quote(symbol, -1)
            heard.append((frame, msgspec.structs.replace(event, event_id=str(ids[symbol]))))
        columns = [
            of_frames(of_type)
            for kind in sorted({"trade", "quote"}, reverse=not quotes_first)
            if (of_type := [(n, *h) for n, h in enumerate(heard) if h[1].event_type == kind])
        ]
        follows = together.go_on(connection, columns, at)
        for numbers, said in zip((together, one_by_one), missing, strict=True):
            for number, one in heard if not (follows and numbers is together) else []:
                numbers.hear_frame(connection, number, at, said)
                numbers.hear_event(connection, one, at, said)
    for numbers, said in zip((together, one_by_one), missing, strict=True):
        said.extend(numbers.settle(None))
    assert sorted(missing[0], key=str) == sorted(missing[1], key=str)


def of_frames(rows: Sequence[tuple[int, int, AnyEvent]]) -> Columns:
    """A row a frame: its place, its number and its event."""
    places = np.array([place for place, _, _ in rows])
    return Columns(
        rows[0][2].event_type,
        {},
        {"ts_event": np.ones(len(rows), np.int64)},
        {"symbol": Coded.of([event.symbol for _, _, event in rows])},
        {"event_id": [event.event_id for _, _, event in rows]},
        places,
        frame_numbers=(places, np.array([number for _, number, _ in rows])),
    )


def test_frames_that_follow_each_other_are_heard_together() -> None:
    numbers = Numbers([CONNECTION])
    rows = [(place, place + 8, trade("A", -1)) for place in range(3)]
    assert not numbers.go_on("one", [of_frames(rows)], 1)  # the first of a connection
    numbers.hear_frame("one", 7, 1, [])
    assert numbers.go_on("one", [of_frames(rows[1:2]), of_frames([rows[0], rows[2]])], 1)
    assert not numbers.go_on("one", [of_frames(rows)], 2)  # heard already
    assert not numbers.go_on("another", [of_frames(rows)], 2)


@pytest.mark.parametrize("borne_by", ["seq", "event_id"])
def test_numbers_that_follow_each_other_are_heard_together(
    borne_by: Literal["seq", "event_id"],
) -> None:
    numbers = Numbers([SequenceRule("symbol", event_types=("trade",), borne_by=borne_by)])
    numbers.hear_event("one", msgspec.structs.replace(trade("A", 6), event_id="6"), 1, [])
    for first, whether in ((7, True), (9, True), (12, False)):
        columns = Columns(
            "trade",
            {},
            {"ts_event": np.ones(2, np.int64), "seq": np.array([first, first + 1])},
            {"symbol": Coded.of(["A", "A"])},
            {"event_id": [str(first), str(first + 1)]},
            np.arange(2),
        )
        assert numbers.go_on("one", [columns], 2) is whether


def test_ids_may_bear_the_numbers_while_seq_counts_something_else() -> None:
    numbers, missing = Numbers([SequenceRule("symbol", borne_by="event_id")]), list[Missing]()
    for at, (event_id, seq) in enumerate([("7", 100), ("8", -1), ("", 3), ("x9", 4), ("11", 205)]):
        trade = Trade(
            ts_event=1,
            symbol="BTC/USD",
            asset_class="crypto",
            vendor="v",
            feed="f",
            event_id=event_id,
            seq=seq,
            created_at=1,
            price=1.0,
            size=1.0,
        )
        numbers.hear_event("c", trade, at, missing)
    missing += numbers.settle(None)
    assert [(m.first_seq, m.size) for m in missing] == [(9, 2)]
