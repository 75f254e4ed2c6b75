"""The recorded days, and how their files are to be read."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Final

import msgspec
import pytest

from edc_pipeline.replay.tick_file import Mapping, TickFile, checked

DAYS: Final = Path(__file__).parents[3] / "shared" / "corpus" / "days"
IBM_DAY: Final = dt.date(2013, 10, 7)

recorded = pytest.mark.skipif(
    not DAYS.exists(), reason="the recorded days (../shared/corpus/days) are not on this machine"
)

IBM_TRADES: Final = {
    "type": "trade",
    "time": {"column": 0, "unit": "ms", "since": "new_york_midnight"},
    "day": "2013-10-07",
    "symbol": "IBM",
    "price": {"column": 1, "divide_by": 10_000},
    "size": 2,
    "venue": 3,
    "conditions": [4, 5],
}
IBM_QUOTES: Final = {
    "type": "quote",
    "time": {"column": 0, "unit": "ms", "since": "new_york_midnight"},
    "day": "2013-10-07",
    "symbol": "IBM",
    "bid_price": {"column": 1, "divide_by": 10_000},
    "bid_size": 2,
    "ask_price": {"column": 3, "divide_by": 10_000},
    "ask_size": 4,
    "venue": 5,
    "conditions": [6, 7],
    "absent": 0,
}
EURUSD_QUOTES: Final = {
    "type": "quote",
    "time": {"column": 0, "unit": "ms", "since": "utc_midnight"},
    "day": "2014-05-02",
    "symbol": "EUR/USD",
    "asset_class": "fx",
    "bid_price": 1,
    "ask_price": 2,
}


def mapping(said: dict[str, object]) -> Mapping:
    return checked(msgspec.convert(said, Mapping))


def ibm() -> list[TickFile]:
    return [
        TickFile(DAYS / "lean_equity_usa_ibm_20131007_trade.zip", mapping(IBM_TRADES)),
        TickFile(DAYS / "lean_equity_usa_ibm_20131007_quote.zip", mapping(IBM_QUOTES)),
    ]


def eurusd() -> list[TickFile]:
    path = DAYS / "lean_forex_oanda_eurusd_20140502_quote.zip"
    return [TickFile(path, mapping(EURUSD_QUOTES))]
