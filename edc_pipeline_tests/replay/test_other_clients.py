"""A replayed day served to clients that we did not write: the vendors' own, or well-known ones.

They are no dependencies of ours. To run these: pip install massive tiingo finnhub-python
binance-connector coinbase-advanced-py python-kraken-sdk
"""

from __future__ import annotations

import asyncio
import datetime as dt
import importlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from edc_pipeline.replay.records import KINDS, Labels
from edc_pipeline.replay.synthetic_day import SyntheticDay
from edc_pipeline.replay.tick_source import RecordedDay, merged
from edc_pipeline.simulator.exchange import Exchange, ExchangeConfig
from edc_pipeline.simulator.instruments import listing
from edc_pipeline.simulator.rest_server import RestConfig, RestServer

DAY = dt.date(2026, 1, 22)
EVENTS = 400
Trade = tuple[str, float, float]


def day(*symbols: str) -> SyntheticDay:
    return SyntheticDay(DAY, listing(symbols), EVENTS, seed=5)


def trades(*symbols: str) -> list[Trade]:
    """What a client should get: symbol, price and size of every trade."""
    labels, found = Labels(), []
    for block in merged([day(*symbols)], labels):
        rows = block[block["type"] == KINDS["trade"]]
        for price, size, label in rows[["price", "size", "label"]].tolist():
            found.append((labels.known[label].symbol, price, size))
    return found


def client(module: str) -> Any:
    return pytest.importorskip(module, reason=f"{module}: the vendor's own client is not installed")


class Served:
    def __init__(self, exchange: Exchange, rest: RestServer | None) -> None:
        self.exchange = exchange
        self.port = exchange.port
        self.rest = "" if rest is None else rest.url


@contextmanager
def served(vendor: str, *symbols: str, rest: bool = False) -> Iterator[Served]:
    """The day on the vendor's protocol, on a loop in a thread of its own."""
    ready: list[Served] = []
    opened, done = threading.Event(), threading.Event()

    async def serve() -> None:
        source = RecordedDay([day(*symbols)])
        first = source.first_ns()
        assert first is not None
        config = ExchangeConfig(vendor=vendor, script_start_ns=first)
        async with Exchange(config, source=source) as exchange:
            answers = RestServer(RestConfig(vendor=vendor), exchange=exchange) if rest else None
            if answers is not None:
                await answers.__aenter__()
            ready.append(Served(exchange, answers))
            opened.set()
            await asyncio.to_thread(done.wait)
            if answers is not None:
                await answers.__aexit__()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert opened.wait(20)
    try:
        yield ready[0]
    finally:
        done.set()
        thread.join(10)


def until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not what():
        assert time.monotonic() < end, "the client did not get it in time"
        time.sleep(0.02)


def test_tiingo(monkeypatch: pytest.MonkeyPatch) -> None:
    tiingo, websocket = client("tiingo"), importlib.import_module("websocket")
    got: list[Trade] = []

    def hear(message: str) -> None:
        said = json.loads(message)
        if said.get("messageType") == "A" and said["data"][0] == "T":
            row = said["data"]
            got.append((row[3].upper(), row[9], float(row[10])))

    with served("tiingo", "SPY", "AAPL") as at:
        # Its address is written into it.
        made = websocket.WebSocketApp.__init__

        def elsewhere(self: Any, url: str, *args: Any, **more: Any) -> None:
            url = url.replace("wss://api.tiingo.com", f"ws://127.0.0.1:{at.port}")
            made(self, url, *args, **more)

        monkeypatch.setattr(websocket.WebSocketApp, "__init__", elsewhere)
        asked = {
            "eventName": "subscribe",
            "authorization": "any",
            "eventData": {"thresholdLevel": 0, "tickers": ["spy", "aapl"]},
        }
        threading.Thread(
            target=lambda: tiingo.TiingoWebsocketClient(asked, endpoint="iex", on_msg_cb=hear),
            daemon=True,
        ).start()
        wanted = trades("SPY", "AAPL")
        until(lambda: len(got) >= len(wanted))
    assert got == wanted


def test_tiingo_rest() -> None:
    tiingo, websockets = client("tiingo"), importlib.import_module("websockets.sync.client")
    with (
        served("tiingo", "SPY", rest=True) as at,
        websockets.connect(at.exchange.url("iex")) as listener,  # the day goes on for it
    ):
        asked = {"eventName": "subscribe", "authorization": "any", "eventData": {}}
        listener.send(json.dumps(asked))
        until(lambda: at.exchange.truth.data.total() > 20 and at.exchange.clients == 1)
        reader = tiingo.TiingoClient({"api_key": "any", "session": True})
        reader._base_url = at.rest
        last = reader._request("GET", "iex/?tickers=SPY").json()[0]
    assert last["ticker"] == "SPY"
    assert any(price == last["last"] for _, price, _ in trades("SPY"))


def test_massive() -> None:
    websocket = client("massive.websocket")
    got: list[Trade] = []

    def hear(events: list[Any]) -> None:
        got.extend((e.symbol, e.price, float(e.size)) for e in events if e.event_type == "T")

    with served("massive", "SPY", "AAPL") as at:
        reader = websocket.WebSocketClient(
            api_key="any",
            feed=f"127.0.0.1:{at.port}",
            market="stocks",
            secure=False,
            subscriptions=["T.SPY", "T.AAPL"],
        )

        async def read() -> None:
            async def heard(events: list[Any]) -> None:
                hear(events)

            await reader.connect(heard)

        threading.Thread(target=lambda: asyncio.run(read()), daemon=True).start()
        wanted = trades("SPY", "AAPL")
        # What shares a frame waits for company: the last few stay with the vendor.
        until(lambda: len(got) >= len(wanted) - 20)
    assert got == wanted[: len(got)]


def test_finnhub_rest() -> None:
    finnhub, websockets = client("finnhub"), importlib.import_module("websockets.sync.client")
    got: list[Trade] = []
    wanted = trades("SPY")
    with (
        served("finnhub", "SPY", rest=True) as at,
        websockets.connect(f"ws://127.0.0.1:{at.port}/?token=any") as listener,
    ):
        listener.send(json.dumps({"type": "subscribe", "symbol": "SPY"}))
        while len(got) < len(wanted) - 20:  # what shares a frame waits for company
            said = json.loads(listener.recv(timeout=20))
            got += [(t["s"], t["p"], float(t["v"])) for t in said.get("data", ())]
        until(lambda: at.exchange.truth.data.total() > 0)
        reader = finnhub.Client("any")
        reader.API_URL = f"{at.rest}/api/v1"
        quote = reader.quote("SPY")
    assert sorted(got) == sorted(wanted[: len(got)])
    assert any(price == quote["c"] for _, price, _ in wanted)


def test_binance() -> None:
    stream = client("binance.websocket.spot.websocket_stream")
    got: list[Trade] = []

    def hear(_: Any, message: str) -> None:
        said = json.loads(message)
        if said.get("e") == "trade":
            got.append((said["s"].replace("USD", "/USD"), float(said["p"]), float(said["q"])))

    with served("binance", "BTC/USD", "ETH/USD") as at:
        reader = stream.SpotWebsocketStreamClient(
            stream_url=f"ws://127.0.0.1:{at.port}", on_message=hear
        )
        reader.subscribe(["btcusd@trade", "ethusd@trade"])
        wanted = trades("BTC/USD", "ETH/USD")
        until(lambda: len(got) >= len(wanted))
        reader.stop()
    assert got == wanted


def test_coinbase_advanced() -> None:
    websocket = client("coinbase.websocket")
    got: list[Trade] = []

    def hear(message: str) -> None:
        said = json.loads(message)
        for event in said.get("events", ()):
            if said["channel"] == "market_trades" and event["type"] == "update":
                got.extend(
                    (t["product_id"].replace("-", "/"), float(t["price"]), float(t["size"]))
                    for t in event["trades"]
                )

    with served("coinbase", "BTC/USD") as at:
        reader = websocket.WSClient(on_message=hear, base_url=f"ws://127.0.0.1:{at.port}/advanced")
        reader.open()
        reader.market_trades(["BTC-USD"])
        wanted = trades("BTC/USD")
        until(lambda: len(got) >= len(wanted))
        reader.close()
    assert got == wanted


def test_kraken() -> None:
    spot = client("kraken.spot")
    got: list[Trade] = []

    async def hear(said: dict[str, Any]) -> None:
        if said.get("channel") == "trade" and said.get("type") == "update":
            got.extend((t["symbol"], float(t["price"]), float(t["qty"])) for t in said["data"])

    with served("kraken", "BTC/USD") as at:

        async def read() -> None:
            reader = spot.SpotWSClient(callback=hear, ws_url=f"ws://127.0.0.1:{at.port}")
            await reader.start()
            await reader.subscribe(params={"channel": "trade", "symbol": ["BTC/USD"]})
            await asyncio.to_thread(until, lambda: len(got) >= len(wanted))
            await reader.close()

        wanted = trades("BTC/USD")
        asyncio.run(asyncio.wait_for(read(), 40))
    assert got == wanted
