"""What a vendor says of us goes nowhere as it is: no key into the journal, no line of its making
into a log."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from pathlib import Path
from urllib.parse import quote

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve

from edc_pipeline.capture.collector import Collector
from edc_pipeline.capture.journal.archive import read_archive
from edc_pipeline.settings import Settings, load
from edc_pipeline.spool.layout import quarantine_days
from edc_pipeline.spool.quarantine import read_quarantine
from edc_pipeline_tests.capture.test_collector import run, until

KEY = "hush-5e1a-finnhub"


def asking(server: Server, tmp_path: Path, key: str) -> Settings:
    """A feed of Finnhub's that asks this server."""
    port = next(iter(server.sockets)).getsockname()[1]
    config = tmp_path / "feeds.yaml"
    config.write_text(
        f"data_dir: {tmp_path}/data\n"
        "feeds:\n  a: {vendor: finnhub, feed: trades, symbols: [AAPL],"
        f" url: 'ws://127.0.0.1:{port}/'}}\n"
    )
    return load(config, {"EDC_FINNHUB_TOKEN": key})


def test_a_key_that_a_vendor_echoes_is_in_no_file_and_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    said = f'{{"type":"error","msg":"bad key {KEY}\\u001b[31m\\nFAKE LOG LINE"}}'

    async def refuse(connection: ServerConnection) -> None:
        await connection.send(said)
        await connection.wait_closed()

    async def scenario() -> None:
        async with serve(refuse, "127.0.0.1", 0) as server:
            settings = asking(server, tmp_path, KEY)
            collector, stop = Collector(settings, "c1"), asyncio.Event()
            capturing = asyncio.create_task(collector.run(stop))
            for _ in range(200):
                await asyncio.sleep(0.02)
                if collector.report().feeds[0].last_problem:
                    break
            report = collector.report()
            stop.set()
            await capturing
            assert "bad key ***" in report.feeds[0].last_problem
            frames = [
                bytes(payload)
                for read in read_archive(settings.spool)
                for block in read.frames
                for payload in block.payloads
            ]
            assert frames
            assert frames[0] == said.replace(KEY, "*" * len(KEY)).encode()
            told = caplog.text + str(report)
            assert KEY not in told
            assert "\x1b" not in told
            assert "\nFAKE LOG LINE" not in told

    run(scenario)


def test_no_spelling_of_a_key_is_in_a_file_a_log_or_a_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Quotes, signs of addresses and of base64; in refusals, in what is no message, and in a
    message's fields."""
    caplog.set_level(logging.INFO)
    key = 'hush"5e/1a+x=finn'
    ways = [
        json.dumps(key)[1:-1],
        quote(key, safe=""),
        base64.b64encode(key.encode()).decode(),
    ]
    frames = [f'{{"type":"error","msg":"bad {way}"}}' for way in ways]
    frames += [f'{{"type":"{way}"}}' for way in ways]
    frames += [f'{{"type":"trade","data":[{{"s":"{way}","p":"x","t":1,"v":1}}]}}' for way in ways]
    frames += [f"rubbish {way}" for way in (key, *ways)]

    async def echo(connection: ServerConnection) -> None:
        for frame in frames:
            await connection.send(frame)
        await connection.wait_closed()

    async def scenario() -> None:
        async with serve(echo, "127.0.0.1", 0) as server:
            settings = asking(server, tmp_path, key)
            collector, stop = Collector(settings, "c1"), asyncio.Event()
            capturing = asyncio.create_task(collector.run(stop))
            await until(lambda: collector.report().feeds[0].frames == len(frames))
            report = collector.report()
            stop.set()
            await capturing
            kept = [
                frame
                for day in quarantine_days(settings.spool)
                for frame in read_quarantine(settings.spool, day)
            ]
            stored = [
                bytes(payload).decode()
                for read in read_archive(settings.spool)
                for block in read.frames
                for payload in block.payloads
            ]
        assert len(stored) == len(frames)
        assert len(kept) > len(ways)
        told = [caplog.text, str(report), *stored]
        told += [f"{frame.reason} {frame.payload.decode()}" for frame in kept]
        for words in told:
            assert not [way for way in (key, *ways) if way.lower() in words.lower()], words

    run(scenario)
