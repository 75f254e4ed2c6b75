"""How symbols are shared out over connections, and what is refused."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edc_pipeline.vendors.contract import Websocket
from edc_pipeline.vendors.shards import beyond_limit, shards_needed, share_out

SYMBOLS = [f"S{n}" for n in range(30)]
lists = st.lists(st.sampled_from(SYMBOLS), unique=True)


def test_parts_of_even_length_in_the_order_of_the_symbols() -> None:
    customs = Websocket(symbols_per_connection=3)
    assert share_out("ABCDEFG", customs) == [("A", "B"), ("C", "D"), ("E", "F", "G")]
    assert share_out("ABC", customs) == [("A", "B", "C")]
    assert share_out((), customs) == [()]
    assert share_out("ABCDEFG", Websocket()) == [tuple("ABCDEFG")]


def test_a_change_touches_what_it_concerns_and_no_other() -> None:
    customs = Websocket(symbols_per_connection=3)
    former = [("A", "B"), ("C", "D"), ("E", "F", "G")]
    assert share_out("ABCDEFGH", customs, former) == [("A", "B", "H"), ("C", "D"), ("E", "F", "G")]
    assert share_out("ABCDEF", customs, former) == [("A", "B"), ("C", "D"), ("E", "F")]
    assert share_out("EFG", customs, former) == [(), (), ("E", "F", "G")]
    assert share_out("EFGXY", customs, [(), (), ("E", "F", "G")]) == [
        ("X", "Y"),
        (),
        ("E", "F", "G"),
    ]


def test_fewer_fuller_ones_where_more_copies_are_wanted_than_there_is_room_for() -> None:
    customs = Websocket(symbols_per_connection=3, connections=3)
    assert share_out("ACE", customs, [("A",), ("C",), ("E",)]) == [("A",), ("C",), ("E",)]
    assert share_out("ACE", customs, [("A",), ("C",), ("E",)], copies=2) == [("A", "C", "E")]


@given(st.lists(lists, min_size=1, max_size=6), st.integers(1, 7))
def test_each_symbol_once_never_too_many_and_what_stays_stays(
    changes: list[list[str]], most: int
) -> None:
    customs = Websocket(symbols_per_connection=most)
    shards: list[tuple[str, ...]] = []
    for symbols in changes:
        former = {s: n for n, shard in enumerate(shards) for s in shard}
        shards = share_out(symbols, customs, shards)
        now = {s: n for n, shard in enumerate(shards) for s in shard}
        assert sorted(s for shard in shards for s in shard) == sorted(symbols)
        assert all(len(shard) <= most for shard in shards)
        if any(symbol in former for symbol in symbols):
            assert all(former.get(s, n) == n for s, n in now.items())
        assert share_out(symbols, customs, shards) == shards


def test_the_arithmetic_of_what_is_refused() -> None:
    kite = Websocket(symbols_per_connection=3000, connections=3)
    assert shards_needed(3001, kite) == 2
    assert beyond_limit("Kite", kite, [(9000, 1)]) is None
    assert beyond_limit("Kite", kite, [(9001, 1)]) == (
        "9,001 symbols need 4: 4 connections; Kite allows 3 of one key, 3,000 symbols each"
    )
    assert beyond_limit("Kite", kite, [(4000, 1), (10, 2)]) == (
        "4,000 symbols need 2 and 10 symbols need 1 × 2 copies: 4 connections;"
        " Kite allows 3 of one key, 3,000 symbols each"
    )
    assert beyond_limit("Massive", Websocket(connections=1), [(5, 2)]) == (
        "1 × 2 copies: 2 connections; Massive allows 1 of one key"
    )
