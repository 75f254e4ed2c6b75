"""A market run as a script: what a client captures is held against what the exchange sent."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import ClassVar

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from edc_pipeline.simulator.exchange import Exchange
from edc_pipeline.simulator.instruments import listing
from edc_pipeline.simulator.market import Market, Tick, Ticks
from edc_pipeline.simulator.session import Asked, Reply
from edc_pipeline_tests.simulator.client import (
    START,
    capture,
    is_data,
    run,
    script,
    subscribe,
)


def test_a_script_is_received_whole_and_twice_the_same() -> None:
    got: list[list[str | bytes]] = []

    async def body() -> None:
        async with Exchange(script()) as exchange:
            (messages,) = await capture(exchange)
            assert [json.loads(m)["messageType"] for m in messages[:2]] == ["I", "H"]
            data = [m for m in messages if is_data(m)]
            assert data == [f.body for f in exchange.truth.originals("iex")]
            assert len(data) == 2_000
            assert exchange.truth.summary()["connections"] == {"iex": 1}
            got.append(data)

    run(body)
    run(body)
    assert got[0] == got[1]


def test_one_cut_one_unreadable_frame_and_the_last_frames_again() -> None:
    async def body() -> None:
        config = script(chaos="cut@500,rubbish@200:truncated", resend_on_subscribe=25)
        async with Exchange(config) as exchange:
            first, second = await capture(exchange)
            data = [list(filter(is_data, messages)) for messages in (first, second)]
            assert len(data[0]) == 501
            with pytest.raises(json.JSONDecodeError):
                json.loads(data[0][200])
            assert data[1][:25] == data[0][-25:]
            assert json.loads(second[0])["messageType"] == "I"
            kept = data[0][:200] + data[0][201:] + data[1][25:]
            assert kept == [f.body for f in exchange.truth.originals()]
            assert len(kept) == 2_000
            assert exchange.trouble.counts == {"cut": 1, "rubbish": 1}
            summary = exchange.truth.summary()
            assert summary["faults"] == {"rubbish": 1, "resend": 25}
            assert summary["not_sent"] == {}
            assert summary["ended"] == {"cut": 1}

    run(body)


def test_every_fault_at_once_and_the_truth_agrees() -> None:
    async def body() -> None:
        chaos = "duplicate=2%,delay=2%:50ms,reorder=2%,rubbish=1%,cut=0.2%,seed=3"
        async with Exchange(script(chaos=chaos, resend_on_subscribe=10)) as exchange:
            connections = await capture(exchange)
            got = Counter(m for messages in connections for m in messages if is_data(m))
            assert got == Counter(f.body for f in exchange.truth.frames)
            assert len(list(exchange.truth.originals())) == 2_000
            counts = exchange.trouble.counts
            assert set(counts) == {"duplicate", "delay", "reorder", "rubbish", "cut"}
            assert len(connections) == counts["cut"] + 1
            sent = dict(exchange.truth.faults)
            sent.pop("resend")
            assert sent == {k: v for k, v in counts.items() if k != "cut"}

    run(body)


def test_three_services_at_once_and_whoever_comes_first() -> None:
    sent: list[dict[str, list[str | bytes]]] = []

    async def body(*arrival: str) -> None:
        levels = {"iex": 0, "fx": 5, "crypto": 2}
        async with Exchange(script(audience=3, chaos="duplicate=2%,cut@fx:40")) as exchange:
            captured = await asyncio.gather(
                *(capture(exchange, service, thresholdLevel=levels[service]) for service in arrival)
            )
            sent.append({})
            for service, connections in zip(arrival, captured, strict=True):
                assert len(connections) == (2 if service == "fx" else 1)
                data = [m for messages in connections for m in messages if is_data(m)]
                assert data == [f.body for f in exchange.truth.frames if f.service == service]
                sent[-1][service] = data
            assert len(list(exchange.truth.originals())) == 2_000

    run(lambda: body("iex", "fx", "crypto"))
    run(lambda: body("crypto", "iex", "fx"))
    assert sent[0] == sent[1]


def test_the_truth_file_holds_every_frame_as_sent(tmp_path: Path) -> None:
    async def body() -> None:
        path = tmp_path / "truth.jsonl"
        async with Exchange(
            script(truth_file=path, chaos="rubbish@9:invalid_utf8", keep_frames=10)
        ) as exchange:
            (messages,) = await capture(exchange)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert len(lines) == 2_001
        assert [line.get("body") for line in lines if not line["fault"]] == [
            m for m in messages if isinstance(m, str) and is_data(m)
        ]
        assert [line["n"] for line in lines if "body_base64" in line] == [9]
        with pytest.raises(LookupError, match="no longer remembered"):
            exchange.truth.originals()

    run(body)


def test_a_full_disk_is_told_and_not_swallowed() -> None:
    async def body() -> None:
        exchange = Exchange(script(truth_file=Path("/dev/full")))
        with pytest.raises(OSError, match="No space left"):
            async with exchange:
                await capture(exchange)

    run(body)


class Recorded:
    """A source that ends, as a recorded day does."""

    def __init__(self, ticks: Ticks) -> None:
        self.instruments = listing()
        self._ticks = ticks

    def until(self, ns: int) -> Ticks:
        return self.take(int((self._ticks["at_ns"] < ns).sum()))

    def take(self, count: int) -> Ticks:
        taken, self._ticks = self._ticks[:count], self._ticks[count:]
        return taken

    def jump_to(self, ns: int) -> None:
        self._ticks = self._ticks[self._ticks["at_ns"] >= ns]


class ShortVendor:
    """Another protocol: anything subscribes, and a tick is its instrument's symbol."""

    paths: ClassVar[Mapping[str, str]] = {"/all": "all"}

    def refusal(self, asked: Asked) -> HTTPStatus | None:
        return None

    def session(self, service: str, ordinal: int, asked: Asked) -> ShortSession:
        return ShortSession()


class ShortSession:
    service = "all"
    refused = False
    subscription: str | None = None

    def greeting(self) -> list[Reply]:
        return []

    def on_message(self, message: str | bytes) -> list[Reply]:
        self.subscription = str(message)
        return [Reply("info", '{"response":"welcome"}')]

    def on_tick(self, tick: Tick) -> str:
        return listing()[tick.instrument].symbol

    def heartbeat(self) -> None:
        return None


def test_another_source_and_another_vendor_fit_in() -> None:
    async def body() -> None:
        ticks = Market(listing(), start_ns=START).take(600)
        source, vendor = Recorded(ticks), ShortVendor()
        async with Exchange(script(events=None), source=source, vendor=vendor) as exchange:
            (messages,) = await capture(exchange, "all")
            assert [*filter(is_data, messages)] == [
                listing()[n].symbol for n in ticks["instrument"].tolist()
            ]

    run(body)


def test_the_key_expires_and_a_limit_is_reached_and_the_client_comes_back() -> None:
    async def body() -> None:
        config = script(chaos="expired@100:1,limit@300:2,clock=+90s")
        async with Exchange(config) as exchange:
            refused: list[int] = []
            codes: list[int] = []
            connections: list[list[str | bytes]] = []
            while sum(map(len, connections)) < 2_000 + 2 * len(connections):
                try:
                    async with connect(exchange.url("iex")) as websocket:
                        await websocket.send(subscribe())
                        connections.append([])
                        async for message in websocket:
                            connections[-1].append(message)
                            if sum(map(len, connections)) == 2_000 + 2 * len(connections):
                                break
                except InvalidStatus as status:
                    refused.append(status.response.status_code)
                except ConnectionClosedError as closed:
                    codes.append(closed.rcvd.code if closed.rcvd else 0)
            assert codes == [1008, 1008]
            assert refused == [401, 429, 429]
            data = [[*filter(is_data, messages)] for messages in connections]
            assert [len(d) for d in data] == [100, 300, 1_600]
            assert exchange.truth.ended["expired"] == exchange.truth.ended["limit"] == 1
            stamps = [json.loads(m)["data"][2] for messages in data for m in messages]
            assert min(stamps) > START + 60 * 10**9

    run(body)


def test_a_half_open_connection_says_nothing_and_does_not_end() -> None:
    async def body() -> None:
        async with Exchange(script(chaos="half_open@100")) as exchange:
            async with connect(exchange.url("iex"), ping_interval=None, close_timeout=0.1) as first:
                await first.send(subscribe())
                got = [await first.recv() for _ in range(102)]
                pong = await first.ping()
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(pong), 0.3)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(first.recv(), 0.1)
                (rest,) = await capture(exchange)
            data = [*filter(is_data, got), *filter(is_data, rest)]
            assert data == [f.body for f in exchange.truth.originals()]
            assert exchange.truth.ended["half_open"] == 1

    run(body)


class EveryOther:
    """A pacer that lets every other tick through."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    async def until(self, at_ns: int) -> bool:
        self.asked.append(at_ns)
        return len(self.asked) % 2 == 1


def test_a_pacer_holds_back_and_leaves_out() -> None:
    async def body() -> None:
        ticks = Market(listing(), start_ns=START).take(600)
        pacer = EveryOther()
        exchange = Exchange(
            script(events=None), source=Recorded(ticks), vendor=ShortVendor(), pacer=pacer
        )
        async with exchange:
            (messages,) = await capture(exchange, "all")
        assert pacer.asked == ticks["at_ns"].tolist()
        kept = [listing()[n].symbol for n in ticks["instrument"].tolist()[::2]]
        assert [*filter(is_data, messages)] == kept

    run(body)
