"""`edc vendors` and `edc symbols`, as a person calls them."""

from __future__ import annotations

import json
from pathlib import Path

from edc_pipeline.vendors import VENDORS
from edc_pipeline_tests.cli.calling import edc


def test_the_table_is_the_code(tmp_path: Path) -> None:
    said = edc("vendors", "--json", cwd=tmp_path)
    assert said.code == 0
    told = {row["vendor"]: row for row in map(json.loads, said.out.splitlines())}
    assert list(told) == list(VENDORS)
    for name, vendor in VENDORS.items():
        feeds = {row["feed"]: row for row in told[name]["feeds"]}
        assert list(feeds) == list(vendor.feeds)
        for feed in vendor.feeds.values():
            row = feeds[feed.name]
            assert row["way_in"] == feed.way_in
            assert set(row["identity"]) == set(feed.event_types)
    ways = {row["way_in"] for vendor in told.values() for row in vendor["feeds"]}
    assert ways == {"websocket", "polling", "webhook"}
    shown = edc("vendors", "trading-view", "polygon", cwd=tmp_path).out
    assert "EDC_TRADINGVIEW_SECRET" in shown
    assert "52.89.214.238" in shown
    assert "Massive (massive)" in shown
    assert "Tiingo" not in shown


def test_symbols_go_both_ways(tmp_path: Path) -> None:
    said = edc("symbols", "btcusdt", "brk-b", "--json", cwd=tmp_path)
    assert said.code == 0
    coin, stock = map(json.loads, said.out.splitlines())
    assert {row["symbol"] for row in coin["found"]} == {"BTC/USDT"}
    assert {row["symbol"] for row in stock["found"]} == {"BRK.B"}
    one = edc("symbols", "EUR/USD", "--vendor", "Tiingo", cwd=tmp_path)
    assert (one.code, "eurusd" in one.out, "finnhub" in one.out) == (0, True, False)


def test_what_is_nobodys_is_told(tmp_path: Path) -> None:
    said = edc("symbols", "AAPL", "§", cwd=tmp_path)
    assert said.code == 1
    assert "'§' is no symbol" in said.err
    assert "aapl" in said.out
    wrong = edc("symbols", "AAPL", "--vendor", "nobody", cwd=tmp_path)
    assert (wrong.code, wrong.out) == (2, "")
    assert "no such vendor 'nobody'; known: " in wrong.err
