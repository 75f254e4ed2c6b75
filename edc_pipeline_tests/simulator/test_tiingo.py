"""Tiingo's protocol as the documentation and recordings have it, server side."""

from __future__ import annotations

import datetime as dt
import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edc_pipeline.simulator.instruments import listing
from edc_pipeline.simulator.market import BREAK, QUOTE, TRADE, Market, Pace, Tick, rows
from edc_pipeline.simulator.session import Asked, Terms
from edc_pipeline.simulator.tiingo import Tiingo, TiingoSession, ticker_of

START = 1_769_094_000_000_000_000  # 2026-01-22 10:00 in New York
INSTRUMENTS = listing()
TICKS = rows(
    Market(
        INSTRUMENTS,
        start_ns=START,
        seed=1,
        pace=Pace(rate=20_000, break_share=0.01, one_sided_share=0.02),
    ).take(12_000)
)


def session(service: str = "iex", ordinal: int = 1, **terms: Any) -> TiingoSession:
    return Tiingo(INSTRUMENTS, terms=Terms(**terms)).session(service, ordinal, Asked(f"/{service}"))


def request(event: str = "subscribe", token: str = "t", **data: Any) -> str:
    return json.dumps({"eventName": event, "authorization": token, "eventData": data})


def answers(to: TiingoSession, message: str | bytes) -> list[dict[str, Any]]:
    return [json.loads(reply.body) for reply in to.on_message(message)]


def frames(service: str, **data: Any) -> list[dict[str, Any]]:
    mine = session(service)
    mine.on_message(request(**data))
    return [json.loads(f) for f in map(mine.on_tick, TICKS) if f is not None]


def test_subscribing_gives_information_then_one_heartbeat() -> None:
    mine = session()
    assert mine.on_tick(TICKS[0]) is None
    assert mine.heartbeat() is None
    information, heartbeat = answers(mine, request(thresholdLevel=6, tickers=["spy"]))
    assert information.pop("data").keys() == {"subscriptionId"}
    assert information == {"response": {"code": 200, "message": "Success"}, "messageType": "I"}
    assert heartbeat == {"response": {"code": 200, "message": "HeartBeat"}, "messageType": "H"}
    assert mine.heartbeat() is not None


@pytest.mark.parametrize(
    ("service", "level", "lengths"),
    [
        ("iex", 0, {"Q": 16, "T": 16, "B": 16}),
        ("iex", "5", {"Q": 16, "T": 16, "B": 16}),
        ("fx", 5, {"Q": 8}),
        ("fx", "7", {"Q": 8}),
        ("crypto", 2, {"Q": 9, "T": 6}),
        ("crypto", 5, {"T": 6}),
    ],
)
def test_rows_have_the_documented_shape(
    service: str, level: int | str, lengths: dict[str, int]
) -> None:
    got = frames(service, thresholdLevel=level)
    assert {(f["data"][0], len(f["data"])) for f in got} == set(lengths.items())
    assert {f["messageType"] for f in got} == {"A"}
    assert {f["service"] for f in got} == {"crypto_data" if service == "crypto" else service}


def test_level_6_has_three_elements_and_no_letter() -> None:
    for frame in frames("iex", thresholdLevel=6):
        stamp, ticker, price = frame["data"]
        assert dt.datetime.fromisoformat(stamp).utcoffset() == dt.timedelta(hours=-5)
        assert ticker == ticker.lower()
        assert price > 0


def _ns_of(stamp: str) -> int:
    head, fraction = stamp[:-6].split(".")
    assert len(fraction) == 9
    return int(dt.datetime.fromisoformat(head + stamp[-6:]).timestamp()) * 10**9 + int(fraction)


def test_iex_rows_say_what_happened() -> None:
    by_ticker = {ticker_of(i.symbol): n for n, i in enumerate(INSTRUMENTS)}
    ticks = [t for t in TICKS if INSTRUMENTS[t.instrument].asset_class in ("equity", "etf")]
    got = frames("iex", thresholdLevel=0)
    assert len(got) == len(ticks)
    seen = set()
    for tick, frame in zip(ticks, got, strict=True):
        row = frame["data"]
        assert _ns_of(row[1]) == row[2] == tick.ts_ns
        assert by_ticker[row[3]] == tick.instrument
        seen.add(row[0])
        if row[0] == "Q":
            assert tick.kind == QUOTE
            book = [tick.bid_size, tick.bid, tick.ask, tick.ask_size]
            assert [*row[4:6], *row[7:9]] == [None if x != x else x for x in book]  # noqa: PLR0124 - NaN
            assert (row[6] is None) == (None in (row[5], row[7]))
            assert row[9:11] == [None, None]
            assert row[11:13] == [int(tick.halted), int(tick.after_hours)]
            assert row[13:] == [None, None, None]
        else:
            assert tick.kind == (TRADE if row[0] == "T" else BREAK)
            assert row[4:9] == [None] * 5
            assert row[9:11] == [tick.price, tick.size]
            assert row[11] is None
            assert all(flag in (0, 1) for flag in row[12:])
    assert seen == {"Q", "T", "B"}


def test_level_5_sends_trades_and_moves_of_a_cent() -> None:
    last: dict[str, float] = {}
    for frame in frames("iex", thresholdLevel=5):
        row = frame["data"]
        if row[0] == "Q":
            assert row[6] is not None
            assert abs(row[6] - last.get(row[3], 0.0)) > 0.0099
            last[row[3]] = row[6]


def test_fx_ends_with_ask_size_then_ask() -> None:
    for frame in frames("fx", thresholdLevel=5, tickers=["eurusd"]):
        _, ticker, stamp, bid_size, bid, mid, ask_size, ask = frame["data"]
        assert ticker == "eurusd"
        assert stamp.endswith("+00:00")
        if None not in (bid, ask):
            assert bid < mid < ask < 2
        assert all(size is None or size >= 1_000_000 for size in (bid_size, ask_size))


def test_crypto_names_venues_with_clocks_of_their_own_and_float_noise() -> None:
    got = [f["data"] for f in frames("crypto", thresholdLevel=2)]
    digits = {row[3]: len(row[2].split(".")[1]) - 6 for row in got}
    assert digits == {"gdax": 6, "binance": 3, "bitfinex": 6, "kraken": 3}
    assert any(len(repr(row[5])) > 15 for row in got if row[0] == "T")


def test_tiny_prices_are_written_with_an_exponent() -> None:
    mine = session("crypto")
    mine.on_message(request(thresholdLevel=2, tickers=["shibusd"]))
    text = "".join(filter(None, map(mine.on_tick, TICKS)))
    assert "6.255e-5" in text
    assert "e-05" not in text


def test_key_order_and_whitespace_vary() -> None:
    mine = session()
    mine.on_message(request(thresholdLevel=0))
    some = [f for f in map(mine.on_tick, TICKS) if f]
    assert len({tuple(json.loads(f)) for f in some}) > 3
    assert len({": " in f for f in some}) == 2


def test_change_and_unsubscribe_answer_with_what_is_left() -> None:
    mine = session()
    number = answers(mine, request(thresholdLevel=6, tickers=["spy", "brk-b"]))[0]["data"][
        "subscriptionId"
    ]
    (more,) = answers(mine, request(subscriptionId=number, thresholdLevel=0, tickers=["AAPL"]))
    left = {"subscriptionId": number, "tickers": ["spy", "brk-b", "aapl"], "thresholdLevel": "0"}
    assert more == {
        "response": {"code": 200, "message": "Success"},
        "data": left,
        "messageType": "I",
    }
    (less,) = answers(mine, request("unsubscribe", subscriptionId=number, tickers=["spy"]))
    assert less["data"] == {**left, "tickers": ["brk-b", "aapl"]}
    got = {json.loads(f)["data"][3] for f in map(mine.on_tick, TICKS) if f}
    assert got == {"brk-b", "aapl"}
    answers(mine, request("unsubscribe", subscriptionId=number))
    assert not any(map(mine.on_tick, TICKS))
    assert mine.heartbeat() is not None


@pytest.mark.parametrize("tickers", [None, ["*"]])
def test_firehose(tickers: list[str] | None) -> None:
    mine = session()
    data: dict[str, Any] = {"thresholdLevel": 0} | ({} if tickers is None else {"tickers": tickers})
    number = answers(mine, request(**data))[0]["data"]["subscriptionId"]
    stocks = {ticker_of(i.symbol) for i in INSTRUMENTS if i.asset_class in ("equity", "etf")}
    assert {json.loads(f)["data"][3] for f in map(mine.on_tick, TICKS) if f} == stocks
    answers(mine, request("unsubscribe", subscriptionId=number, tickers=["spy"]))
    got = {json.loads(f)["data"][3] for f in map(mine.on_tick, TICKS) if f}
    assert got == stocks - {"spy"}


def test_unknown_tickers_are_accepted_and_stay_silent() -> None:
    mine = session()
    assert answers(mine, request(thresholdLevel=0, tickers=["nosuch"]))[0]["messageType"] == "I"
    assert not any(map(mine.on_tick, TICKS))
    assert mine.heartbeat() is not None


@pytest.mark.parametrize("level", [1, "9", "six", True, None, [], 6.5, -1, "-1", "²"])
def test_bad_threshold(level: Any) -> None:
    mine = session()
    (error,) = answers(mine, request(thresholdLevel=level))
    assert error == {
        "response": {"code": 400, "message": "thresholdLevel not valid"},
        "messageType": "E",
    }
    assert mine.subscription is None
    assert not mine.refused


def test_levels_beyond_the_tier_are_refused() -> None:
    for level, letter in ((0, "E"), (5, "E"), (6, "I")):
        got = answers(session(iex_agreement=False), request(thresholdLevel=level))
        assert got[0]["messageType"] == letter
        if letter == "E":
            assert "not valid for your subscription tier" in got[0]["response"]["message"]


@pytest.mark.parametrize("token", ["", "wrong", 7, None])
def test_a_wrong_token_is_an_error_and_the_end(token: Any) -> None:
    mine = session(token="right")
    (error,) = answers(mine, request(token=token, thresholdLevel=6))
    assert error["messageType"] == "E"
    assert error["response"]["code"] == 401
    assert "right" not in json.dumps(error)
    assert mine.refused
    assert answers(session(token="right"), request(token="right"))[0]["messageType"] == "I"


@settings(deadline=None)
@given(
    st.one_of(
        st.text(max_size=50),
        st.binary(max_size=50),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["eventName", "authorization", "eventData", "tickers"]), inner
                )
            ),
        ).map(json.dumps),
    )
)
def test_any_message_is_answered_with_json(message: str | bytes) -> None:
    for answer in answers(session(), message):
        assert answer["messageType"] in ("I", "H", "E")


@settings(max_examples=30, deadline=None)
@given(st.randoms(use_true_random=False))
def test_changes_in_any_order_never_break_the_session(choice: random.Random) -> None:
    mine = session()
    answers(mine, request(thresholdLevel=0, tickers=["spy"]))
    for _ in range(10):
        tickers = choice.sample(["spy", "aapl", "*", "nosuch", "brk-b"], choice.randrange(4))
        event = choice.choice(["subscribe", "unsubscribe"])
        (answer,) = answers(mine, request(event, thresholdLevel=0, tickers=tickers))
        assert answer["messageType"] == "I"
        left = answer["data"]["tickers"]
        if event == "unsubscribe":
            assert not set(tickers) & set(left)
        elif "*" in tickers:
            assert left == ["*"]
        else:
            assert set(tickers) <= set(left)


def test_same_connection_same_bytes_and_twins_are_whole() -> None:
    def bodies(ordinal: int) -> list[str | None]:
        mine = session(ordinal=ordinal)
        mine.on_message(request(thresholdLevel=0))
        return [mine.on_tick(t) for t in TICKS[:500]]

    assert bodies(1) == bodies(1)
    assert bodies(1) != bodies(2)  # another connection, other spelling

    def content(body: str | None) -> Any:
        return body and json.loads(body)["data"]

    assert list(map(content, bodies(1))) == list(map(content, bodies(2)))


def test_summer_time_shows_in_the_offset() -> None:
    spy = next(n for n, i in enumerate(INSTRUMENTS) if i.symbol == "SPY")
    winter = next(t for t in TICKS if t.instrument == spy and t.kind == QUOTE and t.bid < t.ask)
    summer: Tick = winter._replace(ts_ns=1_782_900_000_123_456_789)
    mine = session()
    mine.on_message(request(thresholdLevel=0))
    body = mine.on_tick(summer)
    assert body is not None
    assert json.loads(body)["data"][1].endswith(".123456789-04:00")
