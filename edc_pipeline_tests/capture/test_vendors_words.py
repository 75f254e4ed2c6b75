"""What a vendor says of us goes nowhere as it is: no key into the journal, no line of its making
into a log."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from edc_pipeline.capture.collector import Collector
from edc_pipeline.capture.journal.archive import read_archive
from edc_pipeline.settings import load
from edc_pipeline_tests.capture.test_collector import run

KEY = "hush-5e1a-finnhub"


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
            port = next(iter(server.sockets)).getsockname()[1]
            config = tmp_path / "feeds.yaml"
            config.write_text(
                f"data_dir: {tmp_path}/data\n"
                "feeds:\n  a: {vendor: finnhub, feed: trades, symbols: [AAPL],"
                f" url: 'ws://127.0.0.1:{port}/'}}\n"
            )
            settings = load(config, {"EDC_FINNHUB_TOKEN": KEY})
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
