"""What is Kraken's own: all of `data`, an answer for each symbol, names that were."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edc_pipeline.events import Trade
from edc_pipeline.vendors.contract import Subscription
from edc_pipeline.vendors.kraken import VENDOR, KrakenSession, decoder
from edc_pipeline.vendors.kraken.rows import RowReader
from edc_pipeline.vendors.kraken.symbols import check_symbol, to_pair, to_symbol
from edc_pipeline_tests.vendors.fixtures_of import RECEIVED_AT, Case, all_cases
from edc_pipeline_tests.vendors.numbers import gaps
from edc_pipeline_tests.vendors.test_conformance import _is_json, _mutations

CASES = [case for case in all_cases() if case.vendor == "kraken"]


def session(*symbols: str, **options: Any) -> KrakenSession:
    return KrakenSession(Subscription("spot", symbols, options), "")


def answer(channel: str, symbol: str) -> bytes:
    result = {"channel": channel, "symbol": symbol, "snapshot": True}
    return json.dumps({"method": "subscribe", "result": result, "success": True}).encode()


# -- what is asked for ------------------------------------------------------------------------


def test_asks_for_trades_and_for_tickers_at_every_change_of_the_book() -> None:
    assert [json.loads(message) for message in session("BTC/USD", "ETH/EUR").opening()] == [
        {
            "method": "subscribe",
            "params": {"channel": "trade", "snapshot": True, "symbol": ["BTC/USD", "ETH/EUR"]},
            "req_id": 1,
        },
        {
            "method": "subscribe",
            "params": {
                "channel": "ticker",
                "event_trigger": "bbo",
                "snapshot": True,
                "symbol": ["BTC/USD", "ETH/EUR"],
            },
            "req_id": 2,
        },
    ]


def test_many_pairs_are_asked_for_in_several_messages() -> None:
    pairs = tuple(f"C{n}/USD" for n in range(250))
    messages = [json.loads(m)["params"]["symbol"] for m in session(*pairs).opening()]
    assert [len(m) for m in messages] == [100, 100, 50] * 2
    assert tuple(p for m in messages[:3] for p in m) == pairs


def test_the_options_are_asked_for() -> None:
    (message,) = session("BTC/USD", channels=["trade"], snapshot=False).opening()
    assert json.loads(message)["params"] == {
        "channel": "trade",
        "snapshot": False,
        "symbol": ["BTC/USD"],
    }


def test_every_symbol_of_every_channel_is_answered_for_itself() -> None:
    asked = session("BTC/USD", "ETH/EUR")
    last = ("ticker", "ETH/EUR")
    for channel, symbol in [
        ("trade", "BTC/USD"),
        ("trade", "ETH/EUR"),
        ("ticker", "BTC/USD"),
        last,
    ]:
        assert not asked.acknowledged
        said = asked.read(answer(channel, symbol), 1).control
        assert said is not None
        assert said.kind == ("acknowledged" if (channel, symbol) == last else "notice")
    assert asked.acknowledged


def test_a_refused_symbol_is_told_and_leaves_the_subscription_unanswered() -> None:
    asked = session("BTC/USD", "FOO/USD", channels=["trade"])
    asked.read(answer("trade", "BTC/USD"), 1)
    refusal = (
        b'{"error":"Currency pair not supported FOO/USD","method":"subscribe","success":false,'
        b'"symbol":"FOO/USD"}'
    )
    said = asked.read(refusal, 1).control
    assert said is not None
    assert said.kind == "refused"
    assert said.detail == "subscribe: Currency pair not supported FOO/USD (FOO/USD)"
    assert not asked.acknowledged


def test_other_pairs_are_asked_for_in_place() -> None:
    asked = session("BTC/USD", "ETH/EUR", channels=["trade"])
    changed = Subscription("spot", ("ETH/EUR", "SOL/USD"), {"channels": ["trade"]})
    asked.opening()
    assert asked.change(changed) is None  # before the first answer
    for symbol in ("BTC/USD", "ETH/EUR"):
        asked.read(answer("trade", symbol), 1)
    messages = asked.change(changed)
    assert messages is not None
    more, less = map(json.loads, messages)
    assert (more["method"], more["params"]["symbol"]) == ("subscribe", ["SOL/USD"])
    assert (less["method"], less["params"]["symbol"]) == ("unsubscribe", ["BTC/USD"])
    assert "snapshot" not in less["params"]
    assert not asked.acknowledged
    asked.read(answer("trade", "SOL/USD"), 1)
    assert asked.acknowledged


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"channels": ["book"]}, "'book' is none that spot has"),
        ({"channels": []}, "a list of"),
        ({"channels": ["trade", "trade"]}, "named twice"),
        ({"snapshot": 1}, "true or false"),
        ({"event_trigger": "trades"}, "no such option"),
    ],
)
def test_a_wrong_option_is_told(options: dict[str, Any], told: str) -> None:
    (wrong,) = VENDOR.feeds["spot"].check_options(options)
    assert told in wrong


@pytest.mark.parametrize("symbol", ["BTC/USD", "DOGE/EUR", "1INCH/USD", "USDT/ZUSD"])
def test_both_spell_alike(symbol: str) -> None:
    assert check_symbol("spot", symbol) is None
    assert to_pair("spot", symbol) == symbol == to_symbol("spot", symbol)


@pytest.mark.parametrize(
    ("symbol", "told"),
    [
        ("XBT/USD", "is BTC/USD by its present name: write that"),
        ("XDG/XBT", "is DOGE/BTC by its present name: write that"),
        ("XXBTZUSD", "is BTC/USD by its present name: write that"),
        ("XBTUSD", "is BTC/USD by its present name: write that"),
        ("BTCUSD", "BTC/USD"),
        ("btc/usd", "BTC/USD"),
    ],
)
def test_a_wrong_spelling_is_told_with_the_remedy(symbol: str, told: str) -> None:
    assert told in (check_symbol("spot", symbol) or "")


# -- what it says -------------------------------------------------------------------------------


def trades(*numbers: int, kind: str = "update") -> str:
    rows = [
        {
            "symbol": "BTC/USD",
            "side": "buy",
            "price": 1.5,
            "qty": 1,
            "trade_id": number,
            "timestamp": "2026-09-21T14:13:20.112041Z",
        }
        for number in numbers
    ]
    return json.dumps({"channel": "trade", "type": kind, "data": rows})


def test_every_trade_of_a_frame_is_read() -> None:
    events = decoder(Subscription("spot"))(trades(*range(50)).encode(), 1).events
    assert [event.event_id for event in events] == [str(n) for n in range(50)]


def test_a_missing_trade_is_a_gap_and_a_snapshot_that_fills_it_is_not() -> None:
    assert gaps("kraken", "spot", [trades(1), trades(2, 3), trades(6)]) == [("BTC/USD", 4, 2)]
    filled = [trades(1), trades(2, 3), trades(7, 6, 5, 4, 3, kind="snapshot"), trades(8)]
    assert gaps("kraken", "spot", filled) == []


def test_a_faulty_row_costs_only_itself() -> None:
    frame = json.loads(trades(1, 2))
    frame["data"][0]["price"] = None
    reading = decoder(Subscription("spot"))(json.dumps(frame).encode(), 1)
    assert [event.event_id for event in reading.events] == ["2"]
    assert len(reading.faults) == 1


@given(st.floats(min_value=0, allow_nan=False, allow_infinity=False), st.sampled_from("re"))
def test_prices_are_rounded_as_python_rounds_them(price: float, style: str) -> None:
    text = repr(price) if style == "r" else f"{price:.17e}"
    frame = trades(1).replace("1.5", text)
    (event,) = decoder(Subscription("spot"))(frame.encode(), 1).events
    assert isinstance(event, Trade)
    assert event.price == float(text)
    assert not math.isnan(event.size)


# -- the short way says of every frame what the long way says -----------------------------------


@pytest.mark.parametrize("case", CASES, ids=str)
def test_fixtures_and_their_mutations_are_read_alike(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [case.frame, *(case.frame[:length] for length in range(len(case.frame)))]
    if _is_json(case):
        frames += [json.dumps(m).encode() for m in _mutations(json.loads(case.frame))]
    decode = decoder(Subscription("spot"))
    short = [msgspec.json.encode(decode(frame, RECEIVED_AT)) for frame in frames]
    monkeypatch.setattr(RowReader, "read", lambda *_: None)
    long = [msgspec.json.encode(decode(frame, RECEIVED_AT)) for frame in frames]
    assert short == long


def test_what_kraken_sends_takes_the_short_way() -> None:
    """Else all would still be right, and slow."""
    rows = RowReader(Subscription("spot"))
    for case in CASES:
        if "events" in case.expected and case.name != "spot-version-1":
            assert rows.read(case.frame, 1) is not None, case
