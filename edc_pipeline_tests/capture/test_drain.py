"""A drain within its time, whatever the vendors do; and what is said of one that was broken off."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from edc_pipeline.capture import flusher
from edc_pipeline.capture.collector import Collector
from edc_pipeline.capture.recovery import recover
from edc_pipeline.capture.run import CaptureFailed, run_capture
from edc_pipeline.settings import Settings
from edc_pipeline_tests.capture.test_collector import rows_in, run, until
from edc_pipeline_tests.transports.fake_server import raw_server

COIN = {"vendor": "binance", "feed": "spot", "symbols": ("BTC/USDT",)}


def framed(payload: bytes) -> bytes:
    payload = payload.ljust(126)  # JSON all the same
    return bytes([0x81, 126, *len(payload).to_bytes(2, "big")]) + payload


def trade(number: int) -> bytes:
    at = time.time_ns() // 10**6
    said = {"e": "trade", "E": at, "s": "BTCUSDT", "t": number, "p": "1", "q": "1", "T": at,
            "m": True, "M": True}  # fmt: skip
    return framed(json.dumps(said).encode())


async def speaks_and_never_closes(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
) -> None:
    writer.write(framed(b'{"result":null,"id":1}'))
    for price in range(10_000):
        writer.write(trade(price))
        await writer.drain()
        await asyncio.sleep(0.01)


def settings_of(tmp_path: Path, url: str, drain_seconds: float) -> Settings:
    rules = {"drain_seconds": drain_seconds}
    feeds: Any = {"coin": {**COIN, "url": url}}
    return Settings(data_dir=tmp_path, feeds=feeds, capture=rules)  # type: ignore[arg-type]


@pytest.mark.parametrize("drain_seconds", [2.0, 5.0])
def test_a_vendor_that_does_not_answer_the_close_does_not_use_the_drain_up(
    tmp_path: Path, drain_seconds: float
) -> None:
    async def scenario() -> None:
        async with raw_server(speaks_and_never_closes) as url:
            settings = settings_of(tmp_path, url, drain_seconds)
            collector, stop = Collector(settings, "c1"), asyncio.Event()
            capturing = asyncio.create_task(collector.run(stop))
            await until(lambda: sum(collector.report().events.values()) > 20)
            stop.set()
            await asyncio.wait_for(capturing, drain_seconds)
            assert collector.drained
            heard = sum(collector.report().events.values())
        assert len(rows_in(settings.spool)) == heard

    run(scenario)


@contextmanager
def served_beside() -> Iterator[str]:
    """The same server on a thread of its own: capture as a process takes the main one."""
    url: Queue[str] = Queue()
    loop = asyncio.new_event_loop()
    ended = asyncio.Event()

    async def serve() -> None:
        async with raw_server(speaks_and_never_closes) as at:
            url.put(at)
            await ended.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        yield url.get(timeout=10)
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.close()


def test_a_drain_that_the_spool_refuses_says_that_the_journal_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object, **__: object) -> list[Path]:
        raise OSError(errno.ENOSPC, "No space left on device")

    with served_beside() as url:
        settings = settings_of(tmp_path, url, 1.0)
        with monkeypatch.context() as patched:
            patched.setattr(flusher, "flush", refuses)
            with pytest.raises(CaptureFailed) as failed:
                run_capture(settings, for_seconds=2.0)
    said = str(failed.value)
    assert "No space left" in said
    assert "every frame is in the journal" in said
    assert "lost" not in said
    rows = re.search(r"([\d,]+) rows", said)
    assert rows is not None
    (recovered,) = recover(settings.spool, settings.capture, time.time_ns)
    assert recovered.events == int(rows[1].replace(",", "")) == len(rows_in(settings.spool)) > 0


def test_a_drain_that_the_journal_refuses_says_how_many_are_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, many = os.pwrite, threading.Event()

    def refuses(descriptor: int, data: bytes, offset: int) -> int:
        if many.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data, offset)

    with served_beside() as url:
        settings = settings_of(tmp_path, url, 1.0)
        with monkeypatch.context() as patched:
            patched.setattr(os, "pwrite", refuses)
            threading.Timer(1.5, many.set).start()
            with pytest.raises(CaptureFailed) as failed:
                run_capture(settings, for_seconds=3.0)
    said = re.search(r"([\d,]+) frames that are not in the journal are lost", str(failed.value))
    assert said is not None, failed.value
    assert int(said[1].replace(",", "")) > 0
