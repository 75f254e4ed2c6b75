"""The REST side of the simulator: answers over the market, and what goes wrong with them."""

from __future__ import annotations

import asyncio
import json
import time
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import aiohttp
import pytest
from websockets.asyncio.client import connect

from edc_pipeline.cli.simulate_words import Text
from edc_pipeline.simulator.exchange import Exchange, ExchangeConfig
from edc_pipeline.simulator.rest_faults import RestChaos
from edc_pipeline.simulator.rest_server import RestConfig, RestServer
from edc_pipeline.simulator.session import Terms
from edc_pipeline.simulator.speakers import RESTS
from edc_pipeline.vendors import VENDORS
from edc_pipeline.vendors.contract import Subscription

KEY = {"Authorization": "Token right"}


async def ask(server: RestServer, path: str, **headers: str) -> tuple[int, bytes]:
    async with (
        aiohttp.ClientSession(headers={**KEY, **headers}) as session,
        session.get(server.url + path, allow_redirects=False) as response,
    ):
        return response.status, await response.read()


def test_rows_are_as_documented_and_unknown_tickers_are_missing() -> None:
    async def scenario() -> None:
        async with RestServer(RestConfig(terms=Terms(token="right"))) as server:
            async with aiohttp.ClientSession(headers=KEY) as session:
                url = server.url + "/iex/?tickers=spy,brk-b,nope"
                rows = await (await session.get(url)).json()
                assert {row["ticker"] for row in rows} == {"SPY", "BRK-B"}
                assert all(row["prevClose"] > 0 and row["timestamp"] for row in rows)
                (pair,) = await (
                    await session.get(server.url + "/tiingo/fx/top?tickers=eurusd")
                ).json()
                assert pair["bidPrice"] < pair["askPrice"]
            assert (await ask(server, "/iex"))[0] == 301
            assert await ask(server, "/iex/?tickers=nope") == (200, b"[]")
            assert (await ask(server, "/iex/", Authorization="Token wrong"))[0] == 401
            assert (await ask(server, "/iex/?token=right", Authorization=""))[0] == 200

    asyncio.run(scenario())


def test_what_is_polled_is_what_is_streamed() -> None:
    async def scenario() -> None:
        exchange = Exchange(ExchangeConfig(seed=5, script_start_ns=10**18, events=400))
        server = RestServer(exchange=exchange)
        async with exchange, server:
            async with connect(exchange.url("iex"), max_queue=None) as websocket:
                told = {"thresholdLevel": 0, "tickers": ["*"]}
                message = {"eventName": "subscribe", "authorization": "t", "eventData": told}
                await websocket.send(json.dumps(message))
                await exchange.finished()
            streamed = {}
            for frame in exchange.truth.originals("iex"):
                row = json.loads(frame.body)["data"]
                if row[0] == "Q":
                    streamed[row[3].upper()] = (row[5], row[4], row[7], row[8])
            polled = json.loads((await ask(server, "/iex/"))[1])
            assert streamed
            for row in polled:
                if row["ticker"] in streamed:
                    sides = (row["bidPrice"], row["bidSize"], row["askPrice"], row["askSize"])
                    assert sides == streamed[row["ticker"]]

    asyncio.run(scenario())


def test_more_requests_than_allowed_are_refused_until_the_window_passed() -> None:
    now = 1_769_101_200_000_000_000

    async def scenario() -> None:
        nonlocal now
        config = RestConfig(requests=3, per_s=60.0, history_s=1.0)
        async with RestServer(config, clock=lambda: now) as server:
            statuses = [(await ask(server, "/iex/"))[0] for _ in range(5)]
            assert statuses == [200, 200, 200, 429, 429]
            now += 60_000_000_000
            assert (await ask(server, "/iex/"))[0] == 200

    asyncio.run(scenario())


def test_faults_come_at_their_requests() -> None:
    async def scenario() -> None:
        config = RestConfig(
            chaos="503@1:3,torn@2,redirect@3,429@4:date,rubbish@5,oversized@6:70000"
        )
        async with RestServer(config) as server, aiohttp.ClientSession(headers=KEY) as session:
            get = session.get
            first = await get(server.url + "/iex/")
            assert (first.status, first.headers["Retry-After"]) == (503, "3")
            torn = await get(server.url + "/iex/")
            with pytest.raises(aiohttp.ClientPayloadError):
                await torn.read()
            away = await get(server.url + "/iex/", allow_redirects=False)
            assert away.status == 302
            later = await get(server.url + "/iex/")
            until = parsedate_to_datetime(later.headers["Retry-After"]).timestamp()
            assert time.time() < until
            assert not (await (await get(server.url + "/iex/")).read()).startswith(b"[")
            assert len(await (await get(server.url + "/iex/")).read()) >= 70_000
            assert (await get(server.url + "/iex/")).status == 200
            assert server.chaos.done.total() == 6

    asyncio.run(scenario())


@pytest.mark.parametrize("text", ["nonsense@3", "torn", "999x@1", "slow@", "torn=half"])
def test_a_fault_that_is_none_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="rest chaos"):
        RestChaos.parse(text)


@pytest.mark.parametrize("symbol", ["SPY", "BRK.B", "EUR/USD", "BTC/USD"])
@pytest.mark.parametrize("vendor", sorted(RESTS))
def test_the_example_is_answered_with_events_of_its_symbol(vendor: str, symbol: str) -> None:
    async def scenario() -> None:
        config = RestConfig(vendor=vendor, symbols=[symbol])
        async with (
            RestServer(config) as server,
            aiohttp.ClientSession() as session,
            session.get(server.example) as response,
        ):
            assert response.status == 200
            body = await response.read()
        told = {
            event.symbol
            for spec in VENDORS[vendor].feeds.values()
            if spec.polling is not None
            for event in VENDORS[vendor]
            .decoder(Subscription(spec.name, (symbol,)))(body, time.time_ns())
            .events
        }
        assert symbol in told

    asyncio.run(scenario())


@pytest.mark.parametrize("vendor", sorted(RESTS))
def test_its_address_ends_as_the_vendors_own_does(vendor: str) -> None:
    async def scenario() -> None:
        async with RestServer(RestConfig(vendor=vendor)) as server:
            polled = [spec for spec in VENDORS[vendor].feeds.values() if spec.polling is not None]
            assert polled
            for spec in polled:
                assert urlsplit(server.address).path == urlsplit(spec.url).path

    asyncio.run(scenario())


def test_address_and_example_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        async with RestServer(RestConfig(vendor="finnhub", symbols=["SPY"])) as server:
            Text(is_terminal=False).listening_rest(server)
            told = capsys.readouterr().out
            assert f"listening on {server.url}/api/v1 " in told
            assert f'curl "{server.url}/api/v1/quote?symbol=SPY&token=any"' in told

    asyncio.run(scenario())


def test_the_key_that_is_asked_for_is_not_shown() -> None:
    async def scenario() -> None:
        async with RestServer(RestConfig(terms=Terms(token="right"))) as server:
            assert "right" not in server.example
            assert server.example.endswith("$EDC_SIM_TOKEN")

    asyncio.run(scenario())
