"""How each vendor speaks, for the benchmark of capture. A new vendor is one entry in `STYLES`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import capture_styles_coins as coins
import capture_styles_kite as kite
from capture_frames import COINS, PAIRS, SYMBOLS, Style, as_json, iso, ns_of, price_of


def _message(service: str, row: list[Any]) -> bytes:
    return as_json({"messageType": "A", "service": service, "data": row})


def _iex_quote(number: int, ns: int) -> bytes:
    bid, sizes = price_of(number), (100 + number % 9, 200)
    ticker = SYMBOLS[number % 100].lower()
    row = ["Q", iso(ns, -5, 9), ns, ticker, sizes[0], bid, bid + 0.01, bid + 0.02, sizes[1]]
    return _message("iex", [*row, None, None, 0, 0, None, None, None])


def _iex_trade(number: int, ns: int) -> bytes:
    ticker, odd = SYMBOLS[number % 100].lower(), number % 3 == 0
    row = ["T", iso(ns, -5, 9), ns, ticker, *[None] * 5, price_of(number), 1 + number % 50]
    return _message("iex", [*row, None, 0, 0, int(odd), 0])


def _iex_reference(number: int, ns: int) -> bytes:
    return _message("iex", [iso(ns, -5, 9), SYMBOLS[number % 100].lower(), price_of(number)])


def _equity_quote(number: int, ns: int) -> bytes:
    """A quote and the reference price in its middle."""
    price, sizes = price_of(number), (100 + number % 9, 200)
    row = [iso(ns, -5, 9), SYMBOLS[number % 100].lower(), 0.02, sizes[0], price - 0.01, price]
    return _message("cons", [*row, price + 0.01, sizes[1]])


def _boats_trade(number: int, ns: int) -> bytes:
    row = ["T", iso(ns, -5, 9), ns, SYMBOLS[number % 100].lower(), price_of(number)]
    return _message("boats", [*row, 1 + number % 50, "@", " ", "T", "I" if number % 3 else " "])


def _fx_quote(number: int, ns: int) -> bytes:
    pair, mid = PAIRS[number % 100].replace("/", "").lower(), price_of(number)
    sizes = (1e6, 1e6 + number % 7)
    row = ["Q", pair, iso(ns, 0, 6), sizes[0], mid - 0.01, mid, sizes[1], mid + 0.01]
    return _message("fx", row)


def _crypto_trade(number: int, ns: int) -> bytes:
    pair = PAIRS[number % 100].replace("/", "").lower()
    return _message(
        "crypto_data", ["T", pair, iso(ns, 0, 6), "gdax", number % 100 / 7, price_of(number)]
    )


def _plain_iex(said: Any, received_at: int) -> dict[str, Any]:
    row = said["data"]
    if row[0] == "Q":
        _, _, ns, ticker, bid_size, bid, _, ask, ask_size, *_ = row
        numbers = {"bid": bid, "bid_size": bid_size, "ask": ask, "ask_size": ask_size}
    elif row[0] == "T":
        ns, ticker = row[2], row[3]
        numbers = {"price": row[9], "size": row[10]}
    else:
        ns, ticker, numbers = ns_of(row[0]), row[1], {"price": row[2]}
    return {"ts_event": ns, "symbol": ticker.upper(), "created_at": received_at, **numbers}


def _plain_boats(said: Any, received_at: int) -> dict[str, Any]:
    _, _, ns, ticker, price, size, *_ = said["data"]
    event = {"ts_event": ns, "symbol": ticker.upper(), "created_at": received_at}
    return event | {"price": price, "size": size}


def _rows_of_equity(said: Any) -> list[Any]:
    iso, ticker, _, bid_size, bid, reference, ask, ask_size = said["data"]
    numbers = {"bid": bid, "bid_size": bid_size, "ask": ask, "ask_size": ask_size}
    return [(iso, ticker, numbers), (iso, ticker, {"price": reference})]


def _plain_equity(row: Any, received_at: int) -> dict[str, Any]:
    iso, ticker, numbers = row
    event = {"ts_event": ns_of(iso), "symbol": ticker.upper(), "created_at": received_at}
    return event | dict(numbers)


def _plain_fx(said: Any, received_at: int) -> dict[str, Any]:
    _, pair, iso, bid_size, bid, _, ask_size, ask = said["data"]
    numbers = {"bid": bid, "bid_size": bid_size, "ask": ask, "ask_size": ask_size}
    return {"ts_event": ns_of(iso), "symbol": pair.upper(), "created_at": received_at, **numbers}


def _plain_crypto(said: Any, received_at: int) -> dict[str, Any]:
    _, pair, iso, venue, size, price = said["data"]
    numbers = {"price": price, "size": size}
    ts_event, symbol = ns_of(iso), pair.upper()
    return {"ts_event": ts_event, "symbol": symbol, "created_at": received_at, **numbers} | {
        "venue": venue
    }


def _massive_stocks(number: int, ns: int) -> bytes:
    """A trade and two quotes, of three symbols."""
    rows: list[dict[str, Any]] = []
    for other in range(3):
        symbol, price = SYMBOLS[(number + other) % 100], price_of(number + other)
        row = {
            "ev": "Q" if other else "T",
            "sym": symbol,
            "t": ns // 10**6,
            "q": 3 * number + other,
        }
        if other:
            row |= {"bx": 4, "bp": price, "bs": 1 + number % 9, "ax": 7, "ap": price + 0.01}
            row |= {"as": 2, "c": 1, "z": 3}
        else:
            row |= {"x": 4, "i": str(52_983_525_000_000 + number), "z": 3, "p": price}
            row |= {"s": 1 + number % 300, "c": [12, 37]}
        rows.append(row)
    return as_json(rows)


def _massive_forex(number: int, ns: int) -> bytes:
    rows: list[dict[str, Any]] = []
    for other in range(number, number + 3):
        price = price_of(other)
        row = {"ev": "C", "p": PAIRS[other % 100], "x": 48, "a": price + 0.01, "b": price}
        rows.append(row | {"t": ns // 10**6})
    return as_json(rows)


def _massive_crypto(number: int, ns: int) -> bytes:
    """A trade and a quote."""
    price, pair, at = price_of(number), PAIRS[number % 100].replace("/", "-"), ns // 10**6
    trade = {"ev": "XT", "pair": pair, "p": price, "t": at, "s": number % 997 / 1e3, "c": [2]}
    trade |= {"i": str(478_000_000 + number), "x": 1, "r": at + 8}
    quote = {"ev": "XQ", "pair": pair, "bp": price, "bs": number % 887 / 1e3, "ap": price + 0.01}
    return as_json([trade, quote | {"as": 0.25, "t": at, "x": 1, "r": at + 8}])


def _plain_massive(row: Any, received_at: int) -> dict[str, Any]:
    kind = row["ev"]
    symbol = row["sym"] if kind in "TQ" else row["p"] if kind == "C" else row["pair"]
    event = {"symbol": symbol.replace("-", "/"), "created_at": received_at}
    event |= {"ts_event": row["t"] * 10**6, "seq": row.get("q", -1)}
    if kind in ("T", "XT"):
        event |= {"price": row["p"], "size": row["s"], "event_id": row["i"]}
        return event | {"venue": str(row["x"])}
    if kind == "C":
        return event | {"bid": row["b"], "ask": row["a"], "venue": str(row["x"])}
    event |= {"bid": row["bp"], "bid_size": row["bs"]}
    return event | {"ask": row["ap"], "ask_size": row["as"]}


def _finnhub_trades(number: int, ns: int) -> bytes:
    """Three prints, two of them alike."""
    prints = [
        {
            "c": ["1", "12"],
            "p": price_of(number),
            "s": SYMBOLS[number % 50],
            "t": ns // 10**6,
            "v": v,
        }
        for v in (1 + number % 300, 100, 100)
    ]
    return as_json({"data": prints, "type": "trade"})


def _plain_finnhub(row: Any, received_at: int) -> dict[str, Any]:
    event = {"symbol": row["s"], "created_at": received_at, "ts_event": row["t"] * 10**6}
    return event | {"price": row["p"], "size": row["v"]}


def _fmp_quote(number: int, ns: int) -> bytes:
    price = price_of(number)
    row = {"s": SYMBOLS[number % 100].lower(), "t": ns, "type": "Q", "ap": price + 0.02, "as": 200}
    return as_json(row | {"bp": price, "bs": 100 + number % 9, "lp": None, "ls": None})


def _plain_fmp(row: Any, received_at: int) -> dict[str, Any]:
    event = {"symbol": row["s"].upper(), "created_at": received_at, "ts_event": row["t"]}
    event |= {"bid": row["bp"], "bid_size": row["bs"], "ask": row["ap"], "ask_size": row["as"]}
    return event


def _finage_coin(number: int, ns: int) -> bytes:
    row = {"s": PAIRS[number % 100].replace("/", ""), "p": f"{price_of(number) * 891:.8f}"}
    row |= {"q": f"{number % 997 / 1e4:.8f}", "dc": "-0.41", "dd": "-370.10"}
    return as_json(row | {"t": ns // 10**6})


def _plain_finage(row: Any, received_at: int) -> dict[str, Any]:
    event = {"symbol": row["s"], "created_at": received_at, "ts_event": row["t"] * 10**6}
    return event | {"price": float(row["p"]), "size": float(row["q"])}


def _twelve_data_price(number: int, ns: int) -> bytes:
    row = {"event": "price", "symbol": SYMBOLS[number % 100], "currency": "USD"}
    row |= {"exchange": "NASDAQ", "mic_code": "XNAS", "type": "Common Stock"}
    row |= {"timestamp": ns // 10**9, "price": price_of(number), "day_volume": 27_631_112}
    return as_json(row)


def _plain_twelve_data(row: Any, received_at: int) -> dict[str, Any]:
    event = {"symbol": row["symbol"], "created_at": received_at, "price": row["price"]}
    return event | {"ts_event": row["timestamp"] * 10**9, "venue": row["mic_code"]}


def _of(key: str) -> Callable[[Any], Sequence[Any]]:
    return lambda said: said[key]  # type: ignore[no-any-return]


def _kite(mode: str, row: Callable[[int, int], bytes], each: int) -> Style:
    return Style(
        "zerodha",
        "ticker",
        row,
        kite.plain_kite,
        options={"tokens": kite.TOKENS, "mode": mode},
        parse=kite.parse_kite,
        each=each,
        rows=kite.rows_of_kite,
        binary=True,
    )


STYLES: dict[str, Style] = {
    "binance trades": Style("binance", "spot", coins.binance_trade, coins.plain_binance, COINS),
    "binance book tickers": Style(
        "binance", "spot", coins.binance_book, coins.plain_binance, COINS
    ),
    "tiingo crypto trades": Style("tiingo", "crypto", _crypto_trade, _plain_crypto, PAIRS),
    "tiingo iex quotes": Style(
        "tiingo", "iex", _iex_quote, _plain_iex, options={"threshold_level": 5}
    ),
    "tiingo iex trades": Style(
        "tiingo", "iex", _iex_trade, _plain_iex, options={"threshold_level": 5}
    ),
    "tiingo iex reference": Style("tiingo", "iex", _iex_reference, _plain_iex),
    "tiingo equity quotes": Style(
        "tiingo",
        "equity",
        _equity_quote,
        _plain_equity,
        options={"threshold_level": 4},
        each=2,
        rows=_rows_of_equity,
    ),
    "tiingo boats trades": Style("tiingo", "boats", _boats_trade, _plain_boats),
    "tiingo fx quotes": Style("tiingo", "fx", _fx_quote, _plain_fx, PAIRS),
    "coinbase matches": Style(
        "coinbase", "exchange", coins.coinbase_match, coins.plain_coinbase, PAIRS
    ),
    "coinbase tickers": Style(
        "coinbase", "exchange", coins.coinbase_ticker, coins.plain_coinbase, PAIRS
    ),
    "coinbase advanced trades": Style(
        "coinbase",
        "advanced",
        coins.advanced_trades,
        coins.plain_advanced,
        PAIRS,
        each=2,
        rows=coins.rows_of_advanced,
    ),
    "coinbase advanced tickers": Style(
        "coinbase",
        "advanced",
        coins.advanced_ticker,
        coins.plain_advanced,
        PAIRS,
        rows=coins.rows_of_advanced,
    ),
    "kraken trades": Style(
        "kraken", "spot", coins.kraken_trades, coins.plain_kraken, PAIRS, each=2, rows=_of("data")
    ),
    "kraken tickers": Style(
        "kraken", "spot", coins.kraken_ticker, coins.plain_kraken, PAIRS, rows=_of("data")
    ),
    "massive stocks": Style(
        "massive", "stocks", _massive_stocks, _plain_massive, each=3, rows=list
    ),
    "massive forex": Style(
        "massive", "forex", _massive_forex, _plain_massive, PAIRS, each=3, rows=list
    ),
    "massive crypto": Style(
        "massive", "crypto", _massive_crypto, _plain_massive, PAIRS, each=2, rows=list
    ),
    "finnhub trades": Style(
        "finnhub", "trades", _finnhub_trades, _plain_finnhub, SYMBOLS[:50], each=3, rows=_of("data")
    ),
    "fmp quotes": Style("fmp", "stocks", _fmp_quote, _plain_fmp),
    "finage coins": Style("finage", "crypto", _finage_coin, _plain_finage, PAIRS),
    "twelve data prices": Style("twelve_data", "price", _twelve_data_price, _plain_twelve_data),
    "zerodha full": _kite("full", kite.kite_full, kite.FULL_EVENTS),
    "zerodha ltp": _kite("ltp", kite.kite_ltp, kite.LTP_EVENTS),
}
# `vs_plain` is this one's: small frames with one event each.
SINGLE_FRAMES = "binance trades"
