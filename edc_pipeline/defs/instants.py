"""Instants as the UI shows them."""

from __future__ import annotations

from datetime import datetime

from edc_pipeline.market_day import MARKET_ZONE, NS_PER_SECOND


def new_york(ns: int) -> str:
    """`2026-01-22 09:30:00.000000001 EST`, exact: a float would lose the last digits."""
    seconds, rest = divmod(ns, NS_PER_SECOND)
    at = datetime.fromtimestamp(seconds, MARKET_ZONE)
    return f"{at:%Y-%m-%d %H:%M:%S}.{rest:09d} {at:%Z}"
