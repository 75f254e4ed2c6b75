"""What the readers of many frames share, and the ways that only reads of many rows take."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edc_pipeline.vendors import reading
from edc_pipeline.vendors.contract import Subscription
from edc_pipeline.vendors.iso_time import iso_to_ns, iso_to_ns_many
from edc_pipeline.vendors.reading import UNREADABLE, Fault, Instruments, epoch_to_ns
from edc_pipeline.vendors.together import Spelling, epochs_to_ns, spread, whole_ids
from edc_pipeline_tests.vendors.test_reading_many import agree

FRAMES = 40


def alike(many: Callable[[Any], Any], one: Callable[[Any], int], told: Sequence[Any]) -> None:
    """What many give is what each gives; what one refuses, many refuse."""
    try:
        each = [one(stamp) for stamp in told]
    except (ValueError, OverflowError) as error:
        with pytest.raises(type(error)):
            many(told)
    else:
        found = many(told)
        assert found.dtype == np.int64
        assert found.tolist() == each


HEADS = st.sampled_from(["2026-01-22T09:30:00", "2026-01-22T09:30:01", "2026-01-22 09:30:00"])
OFFSETS = st.sampled_from(["Z", "+00:00", "-05:00"])
FRACTIONS = st.integers(0, 10**9 - 1).map("{:09d}".format)


@given(data=st.data())
def test_stamps_of_one_second_are_read_together(data: st.DataObject) -> None:
    head, offset, digits = data.draw(HEADS), data.draw(OFFSETS), data.draw(st.integers(1, 9))
    fractions = data.draw(st.lists(FRACTIONS, min_size=1, max_size=60))
    alike(iso_to_ns_many, iso_to_ns, [f"{head}.{f[:digits]}{offset}" for f in fractions])


@given(
    st.lists(
        st.builds(
            lambda head, fraction, digits, offset: f"{head}.{fraction[:digits]}{offset}",
            HEADS,
            FRACTIONS,
            st.sampled_from([6, 6, 6, 3, 9]),
            OFFSETS,
        ),
        min_size=1,
        max_size=80,
    )
)
def test_stamps_of_several_seconds_lengths_and_offsets_are_read_as_one_by_one(
    stamps: list[str],
) -> None:
    alike(iso_to_ns_many, iso_to_ns, stamps)


@pytest.mark.parametrize(
    "odd",
    [
        "",
        "2026-01-22T09:30:00Z",
        "2026-01-22T09:30:00.1234567890123Z",
        "2026-01-22T09:30:00.12345xZ",
        "2026-01-22T09:30:00.12345٣Z",
        "2026-01-22T09:30:60.123456Z",
        "2026-01-22T09:30:00,123456Z",
        "2026-01-22T09:30:00.123456\n",
        "2026-01-22T09:30:00.12345\nZ",
        "é026-01-22T09:30:00.123456Z",
        "2026-01-22T09:30:00.123456Z\n2026-01-22T09:30:00.123456Z",
    ],
)
@pytest.mark.parametrize("place", [0, 7, FRAMES])
def test_a_stamp_that_is_none_or_another_is_found_among_many(odd: str, place: int) -> None:
    stamps = [f"2026-01-22T09:30:00.{number:06d}Z" for number in range(FRAMES)]
    alike(iso_to_ns_many, iso_to_ns, [*stamps[:place], odd, *stamps[place:]])


def test_two_stamps_that_are_as_long_as_two_others_are_told_apart() -> None:
    """One ends where the next begins: together they are as long as two, and read as two."""
    stamps = [f"2026-01-22T09:30:00.{number:06d}Z" for number in range(FRAMES)]
    whole = "\n".join(stamps[:3])
    for cut in range(1, len(whole)):
        alike(iso_to_ns_many, iso_to_ns, [whole[:cut], whole[cut:], *stamps[2:]])


@given(
    st.lists(
        st.one_of(
            st.integers(10**12, 2 * 10**12),
            st.integers(10**18, 2 * 10**18),
            st.sampled_from([1.5e9, 10**9, 0, -1, 2**63, 10**11, 10**14, 1e12]),
        ),
        min_size=1,
    )
)
def test_epochs_are_read_as_one_by_one(stamps: list[int | float]) -> None:
    alike(epochs_to_ns, epoch_to_ns, stamps)


@given(st.lists(st.lists(st.integers(), min_size=1, max_size=4), min_size=1))
def test_rows_are_spread_with_their_places(frames: list[list[int]]) -> None:
    rows, places = spread(frames, np.arange(len(frames)) * 2)
    assert list(zip(rows, places.tolist(), strict=True)) == [
        (row, 2 * place) for place, of_frame in enumerate(frames) for row in of_frame
    ]


def test_what_is_remembered_of_tickers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "KEPT", 10)
    instruments = Instruments(Subscription("x"), {}, str.upper, lambda _: "equity")
    for number in range(35):
        assert instruments[f"t{number}"] == (f"T{number}", "equity")
        assert instruments["long" * 30 + str(number)][0].startswith("LONG")
        assert len(instruments) <= 10
    assert not any(ticker.startswith("long") for ticker in instruments)


def told(frames: Sequence[Any]) -> list[bytes]:
    return [json.dumps(frame).encode() for frame in frames]


def kraken_trade(number: int, micros: int) -> dict[str, Any]:
    second, fraction = divmod(micros, 10**6)
    trade = {"symbol": "BTC/USD", "side": "buy", "price": 1.5, "qty": number / 7}
    trade |= {"ord_type": "limit", "trade_id": number}
    return trade | {"timestamp": f"2026-01-22T09:30:{second:02d}.{fraction:06d}Z"}


@pytest.mark.parametrize("written", ["A" * 41, (" " * 200, None), (10**300,), 10**200])
def test_what_is_longer_than_any_is_not_remembered(written: Any) -> None:
    spelled = Spelling(lambda _: "")
    with pytest.raises(Fault):
        spelled([("T", "I"), written])
    assert spelled([("T", "I"), 12]).tolist() == ["", ""]
    assert written not in spelled._codes


@given(
    st.lists(st.one_of(st.integers(0, 10**19).map(str), st.sampled_from(["", "07", "-1", "1_0"])))
)
def test_whole_ids_come_back_as_they_were_written(written: list[str]) -> None:
    try:
        ids = whole_ids(written)
    except UNREADABLE:
        odd = [i for i in written if not i.isdecimal() or str(int(i)) != i or int(i) >= 2**63]
        assert odd or not written
    else:
        assert list(map(str, ids.tolist())) == written


def test_trades_of_a_frame_are_put_in_the_order_of_their_numbers() -> None:
    frames = [
        {
            "channel": "trade",
            "type": "update",
            "data": [kraken_trade(10 * frame + n, 60 * frame) for n in (3, 1, 2)[: frame % 3 + 1]],
        }
        for frame in range(FRAMES)
    ]
    assert agree("kraken", Subscription("spot"), told(frames))


def test_a_read_that_straddles_a_second_is_read_together() -> None:
    frames = [
        {"channel": "trade", "type": "update", "data": [kraken_trade(n, 999_980 + n)]}
        for n in range(FRAMES)
    ]
    assert agree("kraken", Subscription("spot"), told(frames))


@pytest.mark.parametrize("change", [{"type": "snapshot"}, {"channel": "book"}, {"data": []}])
def test_a_frame_of_another_kind_is_not_read_with_the_others(change: dict[str, Any]) -> None:
    frame = {"channel": "trade", "type": "update", "data": [kraken_trade(1, 2)]}
    assert not agree("kraken", Subscription("spot"), told([frame, frame | change]))


TRADE = {"ev": "T", "sym": "SPY", "x": 4, "p": 1.5, "s": 100, "t": 1769092200000, "c": [12, 37]}
QUOTE = {
    "ev": "Q",
    "sym": "SPY",
    "bx": 4,
    "bp": 1.5,
    "ax": 7,
    "ap": 1.6,
    "t": 1769092200000,
    "q": 5,
}
COIN = {"ev": "XT", "pair": "BTC-USD", "p": 1.5, "s": 0.1, "t": 1769092200000, "c": [2]}


@pytest.mark.parametrize(
    "ids",
    [
        ["52983525027888", "52983525027889"],
        ["007", "7", "0"],
        ["9223372036854775808", "123456789012345678901234567890"],
        [7, "7", 2**63, None],
        ["b3e6a1c0-1d0f-4f58-9d3c-0f1d2a1b9f11", "", "-1", "+1", "1_0", " 1"],
    ],
)
def test_ids_are_kept_as_they_are_written(ids: list[Any]) -> None:
    said = [ids[number % len(ids)] for number in range(FRAMES)]
    stocks = [[TRADE | {"i": i, "q": n}, QUOTE | {"q": n}] for n, i in enumerate(said)]
    assert agree("massive", Subscription("stocks"), told(stocks))
    of_facilities = [[TRADE | {"i": i, "trfi": n % 3}] for n, i in enumerate(said)]
    assert agree("massive", Subscription("stocks"), told(of_facilities))
    assert agree("massive", Subscription("crypto"), told([[COIN | {"i": i}] for i in said]))


def test_copies_of_a_frame_that_differ_in_their_ids_alone_are_no_copies() -> None:
    """Two alike, one that only its id tells apart; and a frame where the conditions do."""
    frames = [
        [TRADE | {"i": i} for i in ("1", "2", "1")],
        [TRADE | {"c": c} for c in (12, [12], ["12"], [12, 37], None, "")],
        [TRADE, TRADE, QUOTE, TRADE, QUOTE],
    ]
    assert agree("massive", Subscription("stocks"), told(frames * 3))


def test_conditions_written_in_two_ways_are_one() -> None:
    said: list[Any] = [[1, 12], ["1", "12"], None, []]
    prints = [{"s": "AAPL", "p": 1.5, "t": 1769092200000, "v": 1, "c": c} for c in said]
    frames = [{"type": "trade", "data": prints[: n % 4 + 1]} for n in range(FRAMES)]
    assert agree("finnhub", Subscription("trades"), told(frames))


@pytest.mark.parametrize("stamps", [[1769092200000], ["1769092200000"], [1769092200000, "7"]])
def test_stamps_written_as_text_are_read_with_the_others(stamps: list[int | str]) -> None:
    frames = [
        {"s": "BTCUSD", "p": "1.5", "q": str(n), "t": stamps[n % len(stamps)]}
        for n in range(FRAMES)
    ]
    assert agree("finage", Subscription("crypto"), told(frames)) == ("7" not in stamps)


def test_times_of_two_units_are_not_read_together() -> None:
    trade = {"e": "trade", "s": "BTCUSDT", "t": 1, "p": "1.5", "q": "2", "m": True}
    ms, us = trade | {"T": 1769092200000}, trade | {"T": 1769092200000123}
    assert agree("binance", Subscription("spot"), told([ms, ms | {"m": False}]))
    assert agree("binance", Subscription("spot"), told([us, us]))
    assert not agree("binance", Subscription("spot"), told([ms, us]))
