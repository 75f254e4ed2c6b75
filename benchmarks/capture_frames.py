"""What the styles of the benchmark of capture share: symbols, times, prices; what a style is."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SYMBOLS = tuple(first + second for first in "ABCDEFGHIJ" for second in "KLMNOPQRST")
COINS = tuple(f"{symbol}/USDT" for symbol in SYMBOLS)
TICKERS = tuple(coin.replace("/", "") for coin in COINS)
PAIRS = tuple(f"{symbol}A/USD" for symbol in SYMBOLS)


@dataclass(frozen=True)
class Style:
    vendor: str
    feed: str
    row: Callable[[int, int], bytes]  # (number, ns) → one frame
    plain: Callable[[Any, int], dict[str, Any]]  # a parsed row → the fields of a plain event
    symbols: tuple[str, ...] = SYMBOLS
    options: Mapping[str, Any] = field(default_factory=dict)
    parse: Callable[[Any], Any] = json.loads  # of a whole frame
    # Where a frame holds more than one event: how many, and where they are in what is parsed.
    each: int = 1
    rows: Callable[[Any], Sequence[Any]] = lambda said: (said,)
    binary: bool = False  # its frames are no text


def iso(ns: int, hours: int, digits: int) -> str:
    zone = dt.timezone(dt.timedelta(hours=hours))
    second, fraction = divmod(ns, 10**9)
    text = dt.datetime.fromtimestamp(second, zone).isoformat()
    return f"{text[:19]}.{fraction:09d}"[: 20 + digits] + text[19:]


def as_json(said: Any) -> bytes:
    return json.dumps(said, separators=(",", ":")).encode()


def price_of(number: int) -> float:
    return 100 + number * 37 % 1000 / 100


def ns_of(text: str) -> int:
    return round(dt.datetime.fromisoformat(text).timestamp() * 1e9)
