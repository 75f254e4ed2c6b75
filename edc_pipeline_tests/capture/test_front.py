"""Numbers that are heard together, over several connections and very many symbols."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edc_pipeline.capture.front import Front
from edc_pipeline.capture.heard import HeardSymbols
from edc_pipeline.coded import Coded, Words

SYMBOLS = st.sampled_from(["A", "B", "C", "D"])


@given(
    st.dictionaries(SYMBOLS, st.integers(0, 3)),
    st.lists(st.tuples(st.integers(0, 1), SYMBOLS, st.integers(0, 5)), min_size=1),
    st.booleans(),
)
def test_a_read_is_awaited_where_each_number_follows_its_last(
    stands: dict[str, int], read: list[tuple[int, str, int]], contiguous: bool
) -> None:
    """Two connections number the same symbols, each with words of its own."""
    front, words = Front(10), (Words("D", "A"), Words("C"))
    for symbol, awaited in stands.items():
        front.put(front.row(symbol), awaited, heard_at=1)
    for connection in (0, 1):
        mine = [(symbol, number) for of, symbol, number in read if of == connection]
        if not mine:
            continue
        symbols = Coded.of([symbol for symbol, _ in mine], words[connection])
        numbers = np.array([number for _, number in mine])
        rows = front.rows(symbols)
        expected, follows = dict(stands), True
        for symbol, number in mine:
            awaited = expected.get(symbol, -1)
            follows &= awaited >= 0
            follows &= number == awaited if contiguous else number >= awaited
            expected[symbol] = number + 1
        assert front.awaits_all(rows, numbers, contiguous=contiguous) is follows
        if follows:
            front.advance(rows, numbers, at=7)
            stands = expected
            assert front.where(front.row(mine[-1][0])) == (stands[mine[-1][0]], 7)
    for symbol, awaited in stands.items():
        where = front.where(front.row(symbol))
        assert where is not None
        assert where[0] == awaited


def test_symbols_beyond_the_most_are_never_awaited() -> None:
    front, words = Front(2), Words()
    for number, symbol in enumerate("ABC"):
        front.put(front.row(symbol), number, 0)
        Coded.of([symbol], words)
    assert front.where(front.row("B")) == (1, 0)
    assert front.where(front.row("C")) is None
    rows = front.rows(Coded.of(["B"], words))
    assert front.awaits_all(rows, np.array([1]), contiguous=True)
    assert not front.awaits_all(front.rows(Coded.of(["C"], words)), np.array([2]), contiguous=True)


def test_the_last_number_that_int64_holds_is_looked_at_alone() -> None:
    front = Front(2)
    front.put(front.row("A"), 5, 0)
    rows = front.rows(Coded.of(["A"]))
    assert not front.awaits_all(rows, np.array([2**63 - 1]), contiguous=False)


def test_hundreds_of_symbols_keep_their_numbers_while_more_come() -> None:
    front, words = Front(1000), Words()
    for number in range(300):
        front.put(front.row(f"S{number}"), number, number)
        front.rows(Coded.of([f"S{number}"], words))
    symbols = Coded.of([f"S{number}" for number in range(300)], words)
    assert front.awaits_all(front.rows(symbols), np.arange(300), contiguous=True)


@given(st.lists(st.lists(SYMBOLS, max_size=5), max_size=5))
def test_heard_symbols_are_those_that_were_said(reads: list[list[str]]) -> None:
    heard, words, said = HeardSymbols(), Words("never"), set()
    for number, read in enumerate(reads):
        said.update(read)
        if number % 2:
            heard.add_many(Coded.of(read, words))
        else:
            for symbol in read:
                heard.add(symbol)
    assert heard.names() == said
    assert heard.take() == said
    assert heard.names() == set()
