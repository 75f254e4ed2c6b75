"""What is Tiingo's own: its session, its spelling, its numbers."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edc_pipeline.events import Trade
from edc_pipeline.vendors.contract import Subscription
from edc_pipeline.vendors.iso_time import iso_to_ns
from edc_pipeline.vendors.tiingo import VENDOR, TiingoSession, decoder
from edc_pipeline.vendors.tiingo.symbols import check_symbol, to_symbol, to_ticker

ERROR = b'{"messageType":"E","response":{"code":401,"message":"Bad token"}}'
ANSWER = b'{"response":{"code":200,"message":"Success"},"data":{},"messageType":"I"}'


def test_subscribes_with_the_token_in_the_message() -> None:
    session = TiingoSession(Subscription("iex", ("SPY", "BRK.B"), {"threshold_level": 5}), "tok")
    (message,) = session.opening()
    assert json.loads(message) == {
        "eventName": "subscribe",
        "authorization": "tok",
        "eventData": {"thresholdLevel": 5, "tickers": ["spy", "brk-b"]},
    }


def test_no_symbols_is_the_firehose() -> None:
    (message,) = TiingoSession(Subscription("fx"), "tok").opening()
    assert json.loads(message)["eventData"]["tickers"] == ["*"]


def test_an_error_before_the_first_answer_is_final_and_later_is_not() -> None:
    session = TiingoSession(Subscription("iex", ("SPY",)), "tok")
    first = session.read(ERROR, 1).control
    assert first is not None
    assert first.kind == "fatal"
    session.read(ANSWER, 1)
    later = session.read(ERROR, 1).control
    assert later is not None
    assert later.kind == "transient"


def test_the_subscriptions_own_spelling_goes_first() -> None:
    """`usdtusd`-like pairs can't be told apart by their tail; what was asked for can."""
    frame = (
        b'{"messageType":"A","service":"crypto_data","data":["T","wbtcbtc",'
        b'"2026-01-22T14:30:00+00:00","x",1,2]}'
    )
    asked = decoder(Subscription("crypto", ("WBTC/BTC",)))(frame, 1).events[0]
    assert asked.symbol == "WBTC/BTC"


def test_the_subscriptions_asset_class_goes_first() -> None:
    frame = b'{"messageType":"A","service":"iex","data":["2026-01-22T16:00:00-05:00","spy",620.1]}'
    asked = Subscription("iex", ("SPY",), {}, {"SPY": "etf"})
    assert decoder(asked)(frame, 1).events[0].asset_class == "etf"


@pytest.mark.parametrize(
    ("feed", "symbol", "ticker"),
    [
        ("iex", "BRK.B", "brk-b"),
        ("iex", "SPY", "spy"),
        ("fx", "EUR/USD", "eurusd"),
        ("crypto", "BTC/USD", "btcusd"),
        ("crypto", "FLDC/USDT", "fldcusdt"),
        ("crypto", "ETH/BTC", "ethbtc"),
        ("crypto", "SHIB/USD", "shibusd"),
        ("crypto", "DOT/USD", "dotusd"),
        ("crypto", "BTC/BUSD", "btcbusd"),
    ],
)
def test_spelling_goes_there_and_back(feed: str, symbol: str, ticker: str) -> None:
    assert check_symbol(feed, symbol) is None
    assert to_ticker(feed, symbol) == ticker
    assert to_symbol(feed, ticker) == symbol


@pytest.mark.parametrize(
    ("feed", "symbol"), [("iex", "spy"), ("iex", "BRK-B"), ("fx", "EURUSD"), ("crypto", "btc/usd")]
)
def test_a_wrong_spelling_is_told(feed: str, symbol: str) -> None:
    assert check_symbol(feed, symbol) is not None


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["repr", "e", "fixed"]),
)
def test_prices_are_rounded_as_python_rounds_them(price: float, style: str) -> None:
    text = {"repr": repr(price), "e": f"{price:.17e}", "fixed": f"{price:.25f}"}[style]
    frame = (
        '{"messageType":"A","service":"crypto_data","data":["T","btcusd",'
        f'"2026-01-22T14:30:00+00:00","x",null,{text}]}}'
    )
    (event,) = decoder(Subscription("crypto"))(frame.encode(), 1).events
    assert isinstance(event, Trade)
    assert event.price == float(text)
    assert math.isnan(event.size)


@given(st.integers(-(2**62), 2**62), st.sampled_from([-5, -4, 0, 9]))
def test_iso_stamps_are_exact_to_the_nanosecond(ns: int, offset_hours: int) -> None:
    from datetime import UTC, datetime, timedelta, timezone  # noqa: PLC0415

    seconds, fraction = divmod(ns, 10**9)
    zone = timezone(timedelta(hours=offset_hours))
    local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).astimezone(zone)
    text = f"{local:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + f".{fraction:09d}{local:%z}"
    assert iso_to_ns(text) == ns
    in_utc = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)).isoformat()
    for _ in range(2):  # the second time, the second is known
        assert iso_to_ns(in_utc.replace("+00:00", f".{fraction:09d}Z")) == ns


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-01-22",
        "2026-01-22T16:00:00",
        "2026-01-22T16:00:60Z",
        "2026-01-22T24:00:00Z",
        "2026-13-22T16:00:00Z",
        "2026-01-22T16:00:00.Z",
        "٢٠٢٦-01-22T16:00:00Z",
        "2026-01-22T16:00:00+99:00",
    ],
)
def test_what_is_no_stamp_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        iso_to_ns(text)


@pytest.mark.parametrize("level", [1, "0", True, None, -1])
def test_a_level_that_the_feed_has_not_is_told(level: object) -> None:
    (told,) = VENDOR.feeds["iex"].check_options({"threshold_level": level})
    assert repr(level) in told
    assert "0, 5, 6" in told
