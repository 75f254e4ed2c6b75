"""The figures: pure rules, a real scrape of a real collector, and hostile requests."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from edc_pipeline.capture import metrics
from edc_pipeline.capture.collector import Collector
from edc_pipeline.capture.exposition import CaptureFigures, registry_of
from edc_pipeline.capture.figures import (
    EDGES_S,
    Histogram,
    Lately,
    Latencies,
    Totals,
    quantile,
    sampled,
)
from edc_pipeline.capture.metrics import NoMetricsPort, metrics_endpoint
from edc_pipeline.simulator.exchange import Exchange
from edc_pipeline_tests.capture.test_collector import (
    CURRENCIES,
    STOCKS,
    run,
    scripted,
    settings_for,
)
from edc_pipeline_tests.cli.calling import edc, start


@given(st.lists(st.floats(-20, 5000), min_size=1), st.floats(0, 1))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(seconds: list[float], q: float) -> None:
    edges = EDGES_S["vendor_to_receive"]
    histogram = Histogram(edges)
    for one in seconds:
        histogram.observe(one)
    assert sum(histogram.counts) == len(seconds)
    found = quantile(edges, histogram.counts, q)
    assert found is not None
    rank = max(1, -(-q * len(seconds) // 1))
    true = sorted(seconds)[min(int(rank), len(seconds)) - 1]
    higher = min((e for e in edges if e >= true), default=edges[-1])
    assert found <= higher or found == pytest.approx(higher)


@given(st.lists(st.integers(0, 400), max_size=40))
def test_one_frame_in_128_is_timed_however_they_fall_into_reads(reads: list[int]) -> None:
    received, timed = 0, list[int]()
    for frames in reads:
        timed += sampled(received, received + frames)
        received += frames
    assert timed == [number for number in range(1, received + 1) if number % 128 == 1]


def test_no_sample_has_no_quantile() -> None:
    assert quantile(EDGES_S["receive_to_durable"], [0] * 16, 0.5) is None


def test_rates_and_latencies_are_of_the_last_seconds() -> None:
    lately, latencies = Lately(), Latencies()
    for _ in range(1000):
        latencies.observe("receive_to_durable", 5_000_000_000)
    assert lately.look({"a": Totals(1000, 2000, latencies)}, 0.0)["a"].frames_per_s == 0
    for second in range(1, 31):
        latencies.observe("receive_to_durable", 15_000_000)
        late = lately.look({"a": Totals(1000 + 10 * second, 2000, latencies)}, float(second))["a"]
    assert late.frames_per_s == pytest.approx(10)
    assert late.events_per_s == 0
    # What was slow half a minute ago is no more part of it.
    assert late.latency["receive_to_durable"].p99 <= 0.02
    assert late.latency["receive_to_durable"].samples == 10
    assert lately.look({}, 31.0) == {}


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def get(port: int, path: str = "/metrics", method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers={"Accept": "text/plain"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


Found = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(text: str) -> Found:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def labelled(
    name: str, feed: str, product: str, **more: str
) -> tuple[str, frozenset[tuple[str, str]]]:
    told = {"feed": feed, "vendor": "tiingo", "product": product, **more}
    return name, frozenset(told.items())


def test_a_scrape_tells_what_the_report_tells(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Exchange(scripted(3000, 2, "rubbish@iex:100")) as exchange:
            settings = settings_for(exchange, tmp_path, stocks=STOCKS, currencies=CURRENCIES)
            collector, stop = Collector(settings, "c1"), asyncio.Event()
            port = free_port()
            registry = registry_of(CaptureFigures(collector.totals, collector.latencies))
            with metrics_endpoint("127.0.0.1", port, registry):
                capturing = asyncio.create_task(collector.run(stop))
                while sum(collector.report().events.values()) < 3000:
                    status, _ = await asyncio.to_thread(get, port)  # meanwhile
                    assert status == 200
                await asyncio.sleep(0.1)
                stop.set()
                await capturing
                found = scraped((await asyncio.to_thread(get, port))[1])
                assert (await asyncio.to_thread(get, port, "/"))[0] == 404
                assert (await asyncio.to_thread(get, port, "/metrics", "POST"))[0] == 405
                assert await asyncio.to_thread(get, port, "/metrics", "HEAD") == (200, "")
            agrees(found, collector)

    run(scenario)


def agrees(found: Found, collector: Collector) -> None:
    report = collector.report()
    for feed in report.feeds:
        name, product = feed.name, feed.feed
        assert found[labelled("edc_frames_total", name, product)] == feed.frames > 0
        assert found[labelled("edc_received_bytes_total", name, product)] == feed.bytes
        assert found[labelled("edc_frames_quarantined_total", name, product)] == feed.quarantined
        for event_type, number in feed.events.items():
            key = labelled("edc_events_total", name, product, event_type=event_type)
            assert found[key] == number
        for way in ("receive_to_published", "receive_to_durable"):
            assert found[labelled(f"edc_{way}_seconds_count", name, product)] > 0
            assert found[labelled(f"edc_{way}_seconds_sum", name, product)] >= 0
    frames = next(f for f in report.feeds if f.name == "stocks")
    # One frame in 128 is timed.
    timed = found[labelled("edc_receive_to_published_seconds_count", "stocks", "iex")]
    assert timed == -(-(frames.frames) // 128)
    everything = frozenset[tuple[str, str]]()
    assert found["edc_commits_total", everything] == report.commits > 0
    assert found["edc_commit_interval_seconds", everything] == 0.05
    assert found["edc_commit_wait_worst_seconds", everything] == report.commit_worst_s > 0
    assert found["edc_waiting_rows", everything] == 0
    assert found["edc_waiting_bytes", everything] == 0
    assert found["edc_disk_problem", everything] == 0


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(metrics, "_PATIENCE_S", 0.5)
    port = free_port()
    with metrics_endpoint("127.0.0.1", port, CollectorRegistry()):
        yield port


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        (b"GET /metrics HTTP/1.1\r\nX: " + b"y" * 100_000, b"HTTP/1.1 431"),
        (b"\r\n\r\n", b"HTTP/1.1 400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"HTTP/1.1 400"),
        (b"GET /metrics HTTP/1.1\r\nAccept: text/plain;version=x;q\xff\r\n\r\n", b"HTTP/1.1 "),
        (b"GET /metrics HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", b"HTTP/1.1 200"),
        (b"GET /../../etc/passwd HTTP/1.1\r\n\r\n", b"HTTP/1.1 404"),
        (b"GET /metrics HTTP/9\r\n\r\n", b"HTTP/1.1 400"),
        (b"GET /met", b""),
    ],
    ids=["long", "empty", "TLS", "accept", "body", "path", "version", "unfinished"],
)
def test_whatever_is_asked_gets_an_answer_or_is_cut(
    endpoint: int, request_bytes: bytes, answer: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", endpoint), timeout=5) as peer:
        try:
            peer.sendall(request_bytes)
            said = peer.recv(64)
        except ConnectionError:
            said = b""
        assert said.startswith(answer) or (len(request_bytes) > 8192 and not said)
    assert get(endpoint)[0] == 200


def test_many_who_dawdle_are_let_go(endpoint: int) -> None:
    peers = [socket.create_connection(("127.0.0.1", endpoint), timeout=5) for _ in range(40)]
    try:
        for peer in peers:
            with suppress(ConnectionError):
                peer.sendall(b"GET ")
        time.sleep(0.8)
        assert get(endpoint)[0] == 200
    finally:
        for peer in peers:
            peer.close()


def test_a_taken_port_is_told_in_a_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = pytest.raises(NoMetricsPort, match=f"127.0.0.1:{port}")
        with told, metrics_endpoint("127.0.0.1", port, CollectorRegistry()):
            pass
        (tmp_path / "feeds.yaml").write_text(
            "feeds: {a: {vendor: tiingo, feed: fx, symbols: [EUR/USD], url: 'ws://127.0.0.1:1/'}}\n"
            f"capture: {{metrics_port: {port}}}\n"
        )
        said = edc("capture", cwd=tmp_path)
    assert said.code == 2
    assert said.err.splitlines()[-1].startswith("edc: capture.metrics_port: can't listen")
    assert "Traceback" not in said.err


def test_status_and_metrics_of_a_running_capture(tmp_path: Path) -> None:
    port = free_port()
    exchange = start(
        "simulate", "--port", "0", "--rate", "2000", "--for", "60", "--json", cwd=tmp_path
    )
    capture = None
    try:
        assert exchange.stdout is not None
        at = json.loads(exchange.stdout.readline())["port"]
        (tmp_path / "feeds.yaml").write_text(
            "feeds: {stocks: {vendor: tiingo, feed: iex, symbols: [SPY, AAPL],"
            f" options: {{threshold_level: 0}}, url: 'ws://127.0.0.1:{at}/iex'}}}}\n"
            f"capture: {{metrics_port: {port}, flush_seconds: 1}}\n"
        )
        capture = start("capture", cwd=tmp_path)
        said: dict[str, Any] = {}
        end = time.monotonic() + 25
        while not said.get("of_late", {}).get("latency", {}).get("receive_to_durable"):
            assert time.monotonic() < end
            time.sleep(0.3)
            status = json.loads(edc("status", "--json", cwd=tmp_path).out)
            said = status["collector"]["feeds"][0] if status["capturing"] else {}
        assert said["of_late"]["frames_per_s"] > 100
        assert 0 < said["of_late"]["latency"]["receive_to_durable"]["p50"] < 10
        shown = edc("status", cwd=tmp_path).out
        assert "50 ms allowed" in shown
        assert "receive→durable p50, p99" in shown
        found = scraped(get(port)[1])
        assert found[labelled("edc_frames_total", "stocks", "iex")] > 100
        assert (
            found[labelled("edc_vendor_to_receive_seconds_bucket", "stocks", "iex", le="+Inf")] > 0
        )
    finally:
        for process in filter(None, (capture, exchange)):
            process.terminate()
            process.communicate(timeout=20)
