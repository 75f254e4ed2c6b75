"""How each vendor speaks, for the benchmark of capture. A new vendor is one entry in `STYLES`."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping
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
    row: Callable[[int, int], bytes]  # (number, ns) → one frame with one event
    plain: Callable[[Any, int], dict[str, Any]]  # parsed JSON → the fields of a plain event
    symbols: tuple[str, ...] = SYMBOLS
    options: Mapping[str, Any] = field(default_factory=dict)


def _iso(ns: int, hours: int, digits: int) -> str:
    zone = dt.timezone(dt.timedelta(hours=hours))
    second, fraction = divmod(ns, 10**9)
    text = dt.datetime.fromtimestamp(second, zone).isoformat()
    return f"{text[:19]}.{fraction:09d}"[: 20 + digits] + text[19:]


def _message(service: str, row: list[Any]) -> bytes:
    said = {"messageType": "A", "service": service, "data": row}
    return json.dumps(said, separators=(",", ":")).encode()


def _price(number: int) -> float:
    return 100 + number * 37 % 1000 / 100


def _iex_quote(number: int, ns: int) -> bytes:
    bid, sizes = _price(number), (100 + number % 9, 200)
    ticker = SYMBOLS[number % 100].lower()
    row = ["Q", _iso(ns, -5, 9), ns, ticker, sizes[0], bid, bid + 0.01, bid + 0.02, sizes[1]]
    return _message("iex", [*row, None, None, 0, 0, None, None, None])


def _iex_trade(number: int, ns: int) -> bytes:
    ticker, odd = SYMBOLS[number % 100].lower(), number % 3 == 0
    row = ["T", _iso(ns, -5, 9), ns, ticker, *[None] * 5, _price(number), 1 + number % 50]
    return _message("iex", [*row, None, 0, 0, int(odd), 0])


def _iex_reference(number: int, ns: int) -> bytes:
    return _message("iex", [_iso(ns, -5, 9), SYMBOLS[number % 100].lower(), _price(number)])


def _fx_quote(number: int, ns: int) -> bytes:
    pair, mid = PAIRS[number % 100].replace("/", "").lower(), _price(number)
    sizes = (1e6, 1e6 + number % 7)
    row = ["Q", pair, _iso(ns, 0, 6), sizes[0], mid - 0.01, mid, sizes[1], mid + 0.01]
    return _message("fx", row)


def _crypto_trade(number: int, ns: int) -> bytes:
    pair = PAIRS[number % 100].replace("/", "").lower()
    return _message(
        "crypto_data", ["T", pair, _iso(ns, 0, 6), "gdax", number % 100 / 7, _price(number)]
    )


def _ns(text: str) -> int:
    return round(dt.datetime.fromisoformat(text).timestamp() * 1e9)


def _plain_iex(said: Any, received_at: int) -> dict[str, Any]:
    row = said["data"]
    if row[0] == "Q":
        _, _, ns, ticker, bid_size, bid, _, ask, ask_size, *_ = row
        numbers = {"bid": bid, "bid_size": bid_size, "ask": ask, "ask_size": ask_size}
    elif row[0] == "T":
        ns, ticker = row[2], row[3]
        numbers = {"price": row[9], "size": row[10]}
    else:
        ns, ticker, numbers = _ns(row[0]), row[1], {"price": row[2]}
    return {"ts_event": ns, "symbol": ticker.upper(), "created_at": received_at, **numbers}


def _plain_fx(said: Any, received_at: int) -> dict[str, Any]:
    _, pair, iso, bid_size, bid, _, ask_size, ask = said["data"]
    numbers = {"bid": bid, "bid_size": bid_size, "ask": ask, "ask_size": ask_size}
    return {"ts_event": _ns(iso), "symbol": pair.upper(), "created_at": received_at, **numbers}


def _plain_crypto(said: Any, received_at: int) -> dict[str, Any]:
    _, pair, iso, venue, size, price = said["data"]
    numbers = {"price": price, "size": size}
    ts_event, symbol = _ns(iso), pair.upper()
    return {"ts_event": ts_event, "symbol": symbol, "created_at": received_at, **numbers} | {
        "venue": venue
    }


def _binance_trade(number: int, ns: int) -> bytes:
    turn, which = divmod(number, len(TICKERS))
    trade = {"e": "trade", "E": ns // 10**6, "s": TICKERS[which], "t": 4_000_000_000 + turn}
    trade |= {"p": f"{_price(number) * 891:.8f}", "q": f"{number % 997 / 1000:.8f}"}
    trade |= {"T": ns // 10**6, "m": number % 2 == 0, "M": True}
    return json.dumps(trade, separators=(",", ":")).encode()


def _binance_book(number: int, ns: int) -> bytes:
    turn, which = divmod(number, len(TICKERS))
    price = _price(number) * 891
    book = {"u": 70_000_000_000 + 3 * turn, "s": TICKERS[which]}
    book |= {"b": f"{price:.8f}", "B": f"{number % 997 / 1000:.8f}"}
    book |= {"a": f"{price + 0.01:.8f}", "A": f"{number % 887 / 1000:.8f}"}
    return json.dumps(book, separators=(",", ":")).encode()


def _plain_binance(said: Any, received_at: int) -> dict[str, Any]:
    event = {"symbol": said["s"], "created_at": received_at, "ts_event": received_at}
    if "b" in said:
        event |= {"bid": float(said["b"]), "bid_size": float(said["B"]), "seq": said["u"]}
        return event | {"ask": float(said["a"]), "ask_size": float(said["A"])}
    event |= {"price": float(said["p"]), "size": float(said["q"]), "seq": said["t"]}
    return event | {"ts_event": said["T"] * 10**6, "event_id": str(said["t"])}


STYLES: dict[str, Style] = {
    "binance trades": Style("binance", "spot", _binance_trade, _plain_binance, COINS),
    "binance book tickers": Style("binance", "spot", _binance_book, _plain_binance, COINS),
    "tiingo crypto trades": Style("tiingo", "crypto", _crypto_trade, _plain_crypto, PAIRS),
    "tiingo iex quotes": Style(
        "tiingo", "iex", _iex_quote, _plain_iex, options={"threshold_level": 5}
    ),
    "tiingo iex trades": Style(
        "tiingo", "iex", _iex_trade, _plain_iex, options={"threshold_level": 5}
    ),
    "tiingo iex reference": Style("tiingo", "iex", _iex_reference, _plain_iex),
    "tiingo fx quotes": Style("tiingo", "fx", _fx_quote, _plain_fx, PAIRS),
}
# `vs_plain` is this one's: small frames with one event each.
SINGLE_FRAMES = "binance trades"
