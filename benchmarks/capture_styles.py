"""How each vendor speaks, for the benchmark of capture. A new vendor is one entry in `STYLES`."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import capture_styles_kite as kite

SYMBOLS = kite.SYMBOLS
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


def _iso(ns: int, hours: int, digits: int) -> str:
    zone = dt.timezone(dt.timedelta(hours=hours))
    second, fraction = divmod(ns, 10**9)
    text = dt.datetime.fromtimestamp(second, zone).isoformat()
    return f"{text[:19]}.{fraction:09d}"[: 20 + digits] + text[19:]


def _json(said: Any) -> bytes:
    return json.dumps(said, separators=(",", ":")).encode()


def _message(service: str, row: list[Any]) -> bytes:
    return _json({"messageType": "A", "service": service, "data": row})


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


def _equity_quote(number: int, ns: int) -> bytes:
    """A quote and the reference price in its middle."""
    price, sizes = _price(number), (100 + number % 9, 200)
    row = [_iso(ns, -5, 9), SYMBOLS[number % 100].lower(), 0.02, sizes[0], price - 0.01, price]
    return _message("cons", [*row, price + 0.01, sizes[1]])


def _boats_trade(number: int, ns: int) -> bytes:
    row = ["T", _iso(ns, -5, 9), ns, SYMBOLS[number % 100].lower(), _price(number)]
    return _message("boats", [*row, 1 + number % 50, "@", " ", "T", "I" if number % 3 else " "])


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
    event = {"ts_event": _ns(iso), "symbol": ticker.upper(), "created_at": received_at}
    return event | dict(numbers)


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
    return _json(trade)


def _binance_book(number: int, ns: int) -> bytes:
    turn, which = divmod(number, len(TICKERS))
    price = _price(number) * 891
    book = {"u": 70_000_000_000 + 3 * turn, "s": TICKERS[which]}
    book |= {"b": f"{price:.8f}", "B": f"{number % 997 / 1000:.8f}"}
    book |= {"a": f"{price + 0.01:.8f}", "A": f"{number % 887 / 1000:.8f}"}
    return _json(book)


def _plain_binance(said: Any, received_at: int) -> dict[str, Any]:
    event = {"symbol": said["s"], "created_at": received_at, "ts_event": received_at}
    if "b" in said:
        event |= {"bid": float(said["b"]), "bid_size": float(said["B"]), "seq": said["u"]}
        return event | {"ask": float(said["a"]), "ask_size": float(said["A"])}
    event |= {"price": float(said["p"]), "size": float(said["q"]), "seq": said["t"]}
    return event | {"ts_event": said["T"] * 10**6, "event_id": str(said["t"])}


_ORDERS = {
    "maker_order_id": "3dbaddb1-3dcf-4511-b81c-89450a56deb4",
    "taker_order_id": "421f3aaa-dfdd-4192-805a-bb73462ea6db",
}
_DAY = {"open_24h": "111677.61", "volume_24h": "27783.70216674", "low_24h": "110308.01"}
_MONTH = {"high_24h": "113888", "volume_30d": "778633.19135445"}


def _coinbase_match(number: int, ns: int) -> bytes:
    turn, which = divmod(number, len(PAIRS))
    match = {"type": "match", "trade_id": 800_000_000 + turn, **_ORDERS}
    match |= {"side": "sell" if number % 2 else "buy", "size": f"{number % 997 / 1e4:.8f}"}
    match |= {"price": f"{_price(number) * 891:.2f}", "product_id": PAIRS[which].replace("/", "-")}
    return _json(match | {"sequence": 22_962_703_070 + 7 * turn, "time": f"{_iso(ns, 0, 6)[:26]}Z"})


def _coinbase_ticker(number: int, ns: int) -> bytes:
    turn, which = divmod(number, len(PAIRS))
    price, product = _price(number) * 891, PAIRS[which].replace("/", "-")
    ticker = {"type": "ticker", "sequence": 22_962_703_070 + 7 * turn, "product_id": product}
    ticker |= {"price": f"{price:.2f}", **_DAY, **_MONTH, "best_bid": f"{price - 0.01:.2f}"}
    ticker |= {"best_bid_size": f"{number % 997 / 1e3:.8f}", "best_ask": f"{price + 0.01:.2f}"}
    ticker |= {"best_ask_size": f"{number % 887 / 1e3:.8f}", "side": "buy"}
    ticker |= {"time": f"{_iso(ns, 0, 6)[:26]}Z", "trade_id": 800_000_000 + turn}
    return _json(ticker | {"last_size": "0.00031874"})


def _plain_coinbase(said: Any, received_at: int) -> dict[str, Any]:
    event = {"symbol": said["product_id"].replace("-", "/"), "created_at": received_at}
    event |= {"ts_event": _ns(said["time"]), "event_id": str(said["trade_id"])}
    event |= {"seq": said["sequence"]}
    if said["type"] == "match":
        return event | {"price": float(said["price"]), "size": float(said["size"])}
    event |= {"bid": float(said["best_bid"]), "bid_size": float(said["best_bid_size"])}
    return event | {"ask": float(said["best_ask"]), "ask_size": float(said["best_ask_size"])}


def _advanced(channel: str, number: int, ns: int, event: dict[str, Any]) -> bytes:
    envelope = {"channel": channel, "client_id": "", "timestamp": f"{_iso(ns, 0, 9)[:29]}Z"}
    return _json(envelope | {"sequence_num": number, "events": [{"type": "update", **event}]})


def _advanced_trades(number: int, ns: int) -> bytes:
    """What one order met: two trades of one moment, the newest first."""
    turn, which = divmod(number, len(PAIRS))
    trade = {"product_id": PAIRS[which].replace("/", "-"), "price": f"{_price(number) * 891:.2f}"}
    trade |= {"size": f"{number % 997 / 1e4:.8f}", "time": f"{_iso(ns, 0, 6)[:26]}Z"}
    trade |= {"side": "SELL" if number % 2 else "BUY"}
    first = 800_000_000 + 2 * turn
    trades = [{"trade_id": str(first + other)} | trade for other in (1, 0)]
    return _advanced("market_trades", number, ns, {"trades": trades})


def _advanced_ticker(number: int, ns: int) -> bytes:
    price, product = _price(number) * 891, PAIRS[number % len(PAIRS)].replace("/", "-")
    ticker = {"type": "ticker", "product_id": product, "price": f"{price:.2f}"}
    ticker |= {"volume_24_h": "27783.70216674", "low_24_h": "110308.01", "high_24_h": "113888"}
    ticker |= {"low_52_w": "49000.01", "high_52_w": "124000", "price_percent_chg_24_h": "-1.14"}
    ticker |= {"best_bid": f"{price - 0.01:.2f}", "best_bid_quantity": f"{number % 997 / 1e3:.8f}"}
    ticker |= {"best_ask": f"{price + 0.01:.2f}", "best_ask_quantity": f"{number % 887 / 1e3:.8f}"}
    return _advanced("ticker", number, ns, {"tickers": [ticker]})


def _rows_of_advanced(said: Any) -> list[Any]:
    """Each with its envelope's time."""
    (event,) = said["events"]
    rows = event["trades"] if "trades" in event else event["tickers"]
    return [row | {"timestamp": said["timestamp"]} for row in rows]


def _plain_advanced(row: Any, received_at: int) -> dict[str, Any]:
    event = {"symbol": row["product_id"].replace("-", "/"), "created_at": received_at}
    if "trade_id" in row:
        event |= {"ts_event": _ns(row["time"]), "event_id": row["trade_id"]}
        return event | {"price": float(row["price"]), "size": float(row["size"])}
    event |= {"ts_event": _ns(row["timestamp"]), "bid": float(row["best_bid"])}
    event |= {"bid_size": float(row["best_bid_quantity"]), "ask": float(row["best_ask"])}
    return event | {"ask_size": float(row["best_ask_quantity"])}


def _kraken_trades(number: int, ns: int) -> bytes:
    """What one order met: two trades of one moment."""
    turn, which = divmod(number, len(PAIRS))
    trade = {"symbol": PAIRS[which], "side": "sell" if number % 2 else "buy"}
    trade |= {"price": _price(number), "qty": 0.0003 + number % 997 / 1e4, "ord_type": "market"}
    first, stamp = 4_000_000 + 2 * turn, f"{_iso(ns, 0, 6)[:26]}Z"
    data = [trade | {"trade_id": first + other, "timestamp": stamp} for other in (0, 1)]
    return _json({"channel": "trade", "type": "update", "data": data})


def _kraken_ticker(number: int, ns: int) -> bytes:
    price = _price(number)
    ticker = {"symbol": PAIRS[number % len(PAIRS)], "bid": price, "bid_qty": number % 997 / 1e3}
    ticker |= {"ask": price + 0.01, "ask_qty": number % 887 / 1e3, "last": price, "volume": 2591.67}
    ticker |= {"vwap": 103.1, "low": 100.2, "high": 110.9, "change": -1.2, "change_pct": -1.14}
    ticker |= {"timestamp": f"{_iso(ns, 0, 6)[:26]}Z"}
    return _json({"channel": "ticker", "type": "update", "data": [ticker]})


def _plain_kraken(row: Any, received_at: int) -> dict[str, Any]:
    event = {"symbol": row["symbol"], "created_at": received_at}
    event |= {"ts_event": _ns(row["timestamp"])}
    if "trade_id" in row:
        event |= {"seq": row["trade_id"], "event_id": str(row["trade_id"])}
        return event | {"price": row["price"], "size": row["qty"]}
    event |= {"bid": row["bid"], "bid_size": row["bid_qty"]}
    return event | {"ask": row["ask"], "ask_size": row["ask_qty"]}


def _massive_stocks(number: int, ns: int) -> bytes:
    """A trade and two quotes, of three symbols."""
    rows: list[dict[str, Any]] = []
    for other in range(3):
        symbol, price = SYMBOLS[(number + other) % 100], _price(number + other)
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
    return _json(rows)


def _massive_forex(number: int, ns: int) -> bytes:
    rows: list[dict[str, Any]] = []
    for other in range(number, number + 3):
        price = _price(other)
        row = {"ev": "C", "p": PAIRS[other % 100], "x": 48, "a": price + 0.01, "b": price}
        rows.append(row | {"t": ns // 10**6})
    return _json(rows)


def _massive_crypto(number: int, ns: int) -> bytes:
    """A trade and a quote."""
    price, pair, at = _price(number), PAIRS[number % 100].replace("/", "-"), ns // 10**6
    trade = {"ev": "XT", "pair": pair, "p": price, "t": at, "s": number % 997 / 1e3, "c": [2]}
    trade |= {"i": str(478_000_000 + number), "x": 1, "r": at + 8}
    quote = {"ev": "XQ", "pair": pair, "bp": price, "bs": number % 887 / 1e3, "ap": price + 0.01}
    return _json([trade, quote | {"as": 0.25, "t": at, "x": 1, "r": at + 8}])


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
        {"c": ["1", "12"], "p": _price(number), "s": SYMBOLS[number % 50], "t": ns // 10**6, "v": v}
        for v in (1 + number % 300, 100, 100)
    ]
    return _json({"data": prints, "type": "trade"})


def _plain_finnhub(row: Any, received_at: int) -> dict[str, Any]:
    event = {"symbol": row["s"], "created_at": received_at, "ts_event": row["t"] * 10**6}
    return event | {"price": row["p"], "size": row["v"]}


def _fmp_quote(number: int, ns: int) -> bytes:
    price = _price(number)
    row = {"s": SYMBOLS[number % 100].lower(), "t": ns, "type": "Q", "ap": price + 0.02, "as": 200}
    return _json(row | {"bp": price, "bs": 100 + number % 9, "lp": None, "ls": None})


def _plain_fmp(row: Any, received_at: int) -> dict[str, Any]:
    event = {"symbol": row["s"].upper(), "created_at": received_at, "ts_event": row["t"]}
    event |= {"bid": row["bp"], "bid_size": row["bs"], "ask": row["ap"], "ask_size": row["as"]}
    return event


def _finage_coin(number: int, ns: int) -> bytes:
    row = {"s": PAIRS[number % 100].replace("/", ""), "p": f"{_price(number) * 891:.8f}"}
    row |= {"q": f"{number % 997 / 1e4:.8f}", "dc": "-0.41", "dd": "-370.10"}
    return _json(row | {"t": ns // 10**6})


def _plain_finage(row: Any, received_at: int) -> dict[str, Any]:
    event = {"symbol": row["s"], "created_at": received_at, "ts_event": row["t"] * 10**6}
    return event | {"price": float(row["p"]), "size": float(row["q"])}


def _twelve_data_price(number: int, ns: int) -> bytes:
    row = {"event": "price", "symbol": SYMBOLS[number % 100], "currency": "USD"}
    row |= {"exchange": "NASDAQ", "mic_code": "XNAS", "type": "Common Stock"}
    row |= {"timestamp": ns // 10**9, "price": _price(number), "day_volume": 27_631_112}
    return _json(row)


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
    "coinbase matches": Style("coinbase", "exchange", _coinbase_match, _plain_coinbase, PAIRS),
    "coinbase tickers": Style("coinbase", "exchange", _coinbase_ticker, _plain_coinbase, PAIRS),
    "coinbase advanced trades": Style(
        "coinbase",
        "advanced",
        _advanced_trades,
        _plain_advanced,
        PAIRS,
        each=2,
        rows=_rows_of_advanced,
    ),
    "coinbase advanced tickers": Style(
        "coinbase", "advanced", _advanced_ticker, _plain_advanced, PAIRS, rows=_rows_of_advanced
    ),
    "kraken trades": Style(
        "kraken", "spot", _kraken_trades, _plain_kraken, PAIRS, each=2, rows=_of("data")
    ),
    "kraken tickers": Style(
        "kraken", "spot", _kraken_ticker, _plain_kraken, PAIRS, rows=_of("data")
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
