"""TradingView's customs: where the secret stands, what is one delivery, whose symbols."""

from __future__ import annotations

import pytest

from edc_pipeline.vendors import VENDORS, named
from edc_pipeline.vendors.contract import Delivery, Subscription

VENDOR = VENDORS["tradingview"]
WEBHOOK = VENDOR.feeds["alerts"].webhook
SECRET = "hush-0123456789abcdef"


def verify(body: bytes, path: str = "") -> str | None:
    assert WEBHOOK is not None
    return WEBHOOK.verify(Delivery(body, {}, "52.89.214.238", path=path), SECRET, 0, {})


def test_the_secret_stands_in_the_path_or_the_body() -> None:
    mine = b'{"secret" : "%s", "volume": NaN}' % SECRET.encode()
    assert verify(mine) is None
    assert verify(b"", SECRET) is None
    assert verify(b"") == verify(b'{"secret":""}') == "no secret"
    assert verify(b'{"secret":"nearly"}') == verify(b"", "nearly") == "wrong secret"
    # A wrong one in the path is not made good by one in the body.
    assert verify(mine, "nearly") == "wrong secret"
    # It must stand there as it is, or it could not be starred out before the body is kept.
    escaped = mine.replace(SECRET[:1].encode(), b"\\u0068")
    assert verify(escaped) == "no secret"


def test_the_same_body_is_one_delivery_only_where_it_tells_when() -> None:
    assert WEBHOOK is not None

    def keys(body: bytes) -> list[str]:
        assert WEBHOOK is not None
        return list(WEBHOOK.idempotency_keys(Delivery(body, {}, ""), {}))

    timed = b'{"ticker":"SPY","close":"1","timenow":"2026-01-22T14:31:02Z"}'
    assert len(keys(timed)) == 1
    assert keys(timed) == keys(timed) != keys(timed.replace(b'"1"', b'"2"'))
    assert keys(b'{"ticker":"SPY","close":"1"}') == []
    assert keys(b'{"ticker":"SPY","timenow":"{{timenow}}"}') == []


def test_the_feeds_own_spelling_goes_first_and_others_are_quarantined() -> None:
    asked = Subscription("alerts", ("BTC/USD", "SPY"), asset_classes={"SPY": "etf"})
    decode = VENDOR.decoder(asked)
    (coin,) = decode(b'{"ticker":"BTCUSD","exchange":"NEWVENUE","close":1}', 1).events
    (fund,) = decode(b'{"ticker":"AMEX:SPY","exchange":"AMEX","close":1}', 1).events
    assert (coin.symbol, fund.symbol, fund.asset_class) == ("BTC/USD", "SPY", "etf")
    other = decode(b'{"ticker":"AAPL","exchange":"NASDAQ","close":1}', 1)
    assert "none of the feed's symbols" in other.faults[0]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("tradingview", "tradingview"),
        ("TradingView", "tradingview"),
        ("trading-view", "tradingview"),
        ("Signed JSON", "signed_json"),
        ("webhook", "signed_json"),
        ("twelvedata", "twelve_data"),
        ("twelve-data", "twelve_data"),
        ("financial_modeling_prep", "fmp"),
        ("binance_spot", "binance"),
        ("no such", None),
        ("", None),
    ],
)
def test_a_vendor_is_found_by_any_of_its_names(name: str, found: str | None) -> None:
    vendor = named(name)
    assert (vendor.name if vendor else None) == found
