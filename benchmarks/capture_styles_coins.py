"""How the exchanges of coins speak, for the benchmark of capture: Binance, Coinbase, Kraken."""

from __future__ import annotations

from typing import Any

from capture_frames import PAIRS, TICKERS, as_json, iso, ns_of, price_of


def binance_trade(number: int, ns: int) -> bytes:
    turn, which = divmod(number, len(TICKERS))
    trade = {"e": "trade", "E": ns // 10**6, "s": TICKERS[which], "t": 4_000_000_000 + turn}
    trade |= {"p": f"{price_of(number) * 891:.8f}", "q": f"{number % 997 / 1000:.8f}"}
    trade |= {"T": ns // 10**6, "m": number % 2 == 0, "M": True}
    return as_json(trade)


def binance_book(number: int, ns: int) -> bytes:
    turn, which = divmod(number, len(TICKERS))
    price = price_of(number) * 891
    book = {"u": 70_000_000_000 + 3 * turn, "s": TICKERS[which]}
    book |= {"b": f"{price:.8f}", "B": f"{number % 997 / 1000:.8f}"}
    book |= {"a": f"{price + 0.01:.8f}", "A": f"{number % 887 / 1000:.8f}"}
    return as_json(book)


def plain_binance(said: Any, received_at: int) -> dict[str, Any]:
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


def coinbase_match(number: int, ns: int) -> bytes:
    turn, which = divmod(number, len(PAIRS))
    match = {"type": "match", "trade_id": 800_000_000 + turn, **_ORDERS}
    match |= {"side": "sell" if number % 2 else "buy", "size": f"{number % 997 / 1e4:.8f}"}
    match |= {
        "price": f"{price_of(number) * 891:.2f}",
        "product_id": PAIRS[which].replace("/", "-"),
    }
    return as_json(
        match | {"sequence": 22_962_703_070 + 7 * turn, "time": f"{iso(ns, 0, 6)[:26]}Z"}
    )


def coinbase_ticker(number: int, ns: int) -> bytes:
    turn, which = divmod(number, len(PAIRS))
    price, product = price_of(number) * 891, PAIRS[which].replace("/", "-")
    ticker = {"type": "ticker", "sequence": 22_962_703_070 + 7 * turn, "product_id": product}
    ticker |= {"price": f"{price:.2f}", **_DAY, **_MONTH, "best_bid": f"{price - 0.01:.2f}"}
    ticker |= {"best_bid_size": f"{number % 997 / 1e3:.8f}", "best_ask": f"{price + 0.01:.2f}"}
    ticker |= {"best_ask_size": f"{number % 887 / 1e3:.8f}", "side": "buy"}
    ticker |= {"time": f"{iso(ns, 0, 6)[:26]}Z", "trade_id": 800_000_000 + turn}
    return as_json(ticker | {"last_size": "0.00031874"})


def plain_coinbase(said: Any, received_at: int) -> dict[str, Any]:
    event = {"symbol": said["product_id"].replace("-", "/"), "created_at": received_at}
    event |= {"ts_event": ns_of(said["time"]), "event_id": str(said["trade_id"])}
    event |= {"seq": said["sequence"]}
    if said["type"] == "match":
        return event | {"price": float(said["price"]), "size": float(said["size"])}
    event |= {"bid": float(said["best_bid"]), "bid_size": float(said["best_bid_size"])}
    return event | {"ask": float(said["best_ask"]), "ask_size": float(said["best_ask_size"])}


def _advanced(channel: str, number: int, ns: int, event: dict[str, Any]) -> bytes:
    envelope = {"channel": channel, "client_id": "", "timestamp": f"{iso(ns, 0, 9)[:29]}Z"}
    return as_json(envelope | {"sequence_num": number, "events": [{"type": "update", **event}]})


def advanced_trades(number: int, ns: int) -> bytes:
    """What one order met: two trades of one moment, the newest first."""
    turn, which = divmod(number, len(PAIRS))
    trade = {"product_id": PAIRS[which].replace("/", "-"), "price": f"{price_of(number) * 891:.2f}"}
    trade |= {"size": f"{number % 997 / 1e4:.8f}", "time": f"{iso(ns, 0, 6)[:26]}Z"}
    trade |= {"side": "SELL" if number % 2 else "BUY"}
    first = 800_000_000 + 2 * turn
    trades = [{"trade_id": str(first + other)} | trade for other in (1, 0)]
    return _advanced("market_trades", number, ns, {"trades": trades})


def advanced_ticker(number: int, ns: int) -> bytes:
    price, product = price_of(number) * 891, PAIRS[number % len(PAIRS)].replace("/", "-")
    ticker = {"type": "ticker", "product_id": product, "price": f"{price:.2f}"}
    ticker |= {"volume_24_h": "27783.70216674", "low_24_h": "110308.01", "high_24_h": "113888"}
    ticker |= {"low_52_w": "49000.01", "high_52_w": "124000", "price_percent_chg_24_h": "-1.14"}
    ticker |= {"best_bid": f"{price - 0.01:.2f}", "best_bid_quantity": f"{number % 997 / 1e3:.8f}"}
    ticker |= {"best_ask": f"{price + 0.01:.2f}", "best_ask_quantity": f"{number % 887 / 1e3:.8f}"}
    return _advanced("ticker", number, ns, {"tickers": [ticker]})


def rows_of_advanced(said: Any) -> list[Any]:
    """Each with its envelope's time."""
    (event,) = said["events"]
    rows = event["trades"] if "trades" in event else event["tickers"]
    return [row | {"timestamp": said["timestamp"]} for row in rows]


def plain_advanced(row: Any, received_at: int) -> dict[str, Any]:
    event = {"symbol": row["product_id"].replace("-", "/"), "created_at": received_at}
    if "trade_id" in row:
        event |= {"ts_event": ns_of(row["time"]), "event_id": row["trade_id"]}
        return event | {"price": float(row["price"]), "size": float(row["size"])}
    event |= {"ts_event": ns_of(row["timestamp"]), "bid": float(row["best_bid"])}
    event |= {"bid_size": float(row["best_bid_quantity"]), "ask": float(row["best_ask"])}
    return event | {"ask_size": float(row["best_ask_quantity"])}


def kraken_trades(number: int, ns: int) -> bytes:
    """What one order met: two trades of one moment."""
    turn, which = divmod(number, len(PAIRS))
    trade = {"symbol": PAIRS[which], "side": "sell" if number % 2 else "buy"}
    trade |= {"price": price_of(number), "qty": 0.0003 + number % 997 / 1e4, "ord_type": "market"}
    first, stamp = 4_000_000 + 2 * turn, f"{iso(ns, 0, 6)[:26]}Z"
    data = [trade | {"trade_id": first + other, "timestamp": stamp} for other in (0, 1)]
    return as_json({"channel": "trade", "type": "update", "data": data})


def kraken_ticker(number: int, ns: int) -> bytes:
    price = price_of(number)
    ticker = {"symbol": PAIRS[number % len(PAIRS)], "bid": price, "bid_qty": number % 997 / 1e3}
    ticker |= {"ask": price + 0.01, "ask_qty": number % 887 / 1e3, "last": price, "volume": 2591.67}
    ticker |= {"vwap": 103.1, "low": 100.2, "high": 110.9, "change": -1.2, "change_pct": -1.14}
    ticker |= {"timestamp": f"{iso(ns, 0, 6)[:26]}Z"}
    return as_json({"channel": "ticker", "type": "update", "data": [ticker]})


def plain_kraken(row: Any, received_at: int) -> dict[str, Any]:
    event = {"symbol": row["symbol"], "created_at": received_at}
    event |= {"ts_event": ns_of(row["timestamp"])}
    if "trade_id" in row:
        event |= {"seq": row["trade_id"], "event_id": str(row["trade_id"])}
        return event | {"price": row["price"], "size": row["qty"]}
    event |= {"bid": row["bid"], "bid_size": row["bid_qty"]}
    return event | {"ask": row["ask"], "ask_size": row["ask_qty"]}
