"""A websocket client that subscribes, and writes down what it gets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from edc_pipeline.simulator.exchange import Exchange, ExchangeConfig
from edc_pipeline.simulator.faults import Chaos

START = 1_769_094_000_000_000_000


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await body()

    asyncio.run(bounded())


def script(**more: Any) -> ExchangeConfig:
    chaos = Chaos.parse(more.pop("chaos", ""))
    return ExchangeConfig(
        **{"script_start_ns": START, "rate": 1_000.0, "events": 2_000} | more, chaos=chaos
    )


def subscribe(**data: Any) -> str:
    data = {"thresholdLevel": 0} | data
    return json.dumps({"eventName": "subscribe", "authorization": "t", "eventData": data})


async def receive(websocket: ClientConnection, into: list[str | bytes]) -> None:
    async for message in websocket:
        into.append(message)


async def capture(exchange: Exchange, service: str = "iex", **data: Any) -> list[list[str | bytes]]:
    """Subscribe, again after each lost connection, until the exchange is done; by connection."""
    connections: list[list[str | bytes]] = []

    async def keep_coming() -> None:
        while True:
            connections.append([])
            async with connect(exchange.url(service)) as websocket:
                await websocket.send(subscribe(**data))
                with suppress(ConnectionClosed):
                    await receive(websocket, connections[-1])

    task = asyncio.create_task(keep_coming())
    await exchange.finished()
    while True:  # what the socket still holds
        before = sum(map(len, connections))
        await asyncio.sleep(0.05)
        if sum(map(len, connections)) == before:
            break
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return connections


def is_data(message: str | bytes) -> bool:
    return not (isinstance(message, str) and '"response"' in message)
