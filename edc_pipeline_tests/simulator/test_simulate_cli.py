"""`edc simulate` as a user runs it: a process with a terminal's signals."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from websockets.asyncio.client import connect

from edc_pipeline.cli.simulate import simulate

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from edc_pipeline.cli.simulate import simulate; simulate()"]


@contextmanager
def simulating(*options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    process = subprocess.Popen(
        [*COMMAND, "--json", "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        assert process.stdout is not None
        yield process, json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def read_frames(url: str, count: int) -> list[str]:
    async def read() -> list[str]:
        # Unlimited: a paused client with frames unread takes ten seconds to say goodbye.
        async with asyncio.timeout(10), connect(url, max_queue=None) as websocket:
            data = {"thresholdLevel": 0}
            message = {"eventName": "subscribe", "authorization": "t", "eventData": data}
            await websocket.send(json.dumps(message))
            return [str(await websocket.recv()) for _ in range(count)]

    return asyncio.run(read())


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signals_end_it_cleanly(number: signal.Signals, status: int) -> None:
    with simulating("--rate", "2000") as (process, listening):
        assert listening["event"] == "listening"
        assert listening["urls"]["fx"] == f"ws://127.0.0.1:{listening['port']}/fx"
        frames = read_frames(listening["urls"]["iex"], 50)
        assert json.loads(frames[0])["messageType"] == "I"
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
    assert process.returncode == status
    assert err == ""
    summary = json.loads(out)
    assert summary["event"] == "summary"
    assert summary["data_frames"] >= 48
    assert summary["connections"] == {"iex": 1}


def test_so_many_events_then_the_end(tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    options = ("--rate", "3000", "--events", "300", "--truth", str(truth))
    with simulating(*options, "--chaos", "rubbish@100") as (process, listening):
        frames = read_frames(listening["urls"]["iex"], 2 + 301)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 0, err
    summary = json.loads(out)
    assert summary["original_frames"] == 300
    assert summary["faults_done"] == {"rubbish": 1}
    written = [json.loads(line) for line in truth.read_text().splitlines()]
    assert len(written) == 301
    assert [w["body"] for w in written if not w["fault"]][:99] == frames[2:101]


def test_so_many_seconds_then_one_summary() -> None:
    result = subprocess.run(
        [*COMMAND, "--port", "0", "--for", "0.3"],
        capture_output=True,
        text=True,
        timeout=20,
        cwd=ROOT,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    listening, summary = result.stdout.splitlines()
    assert listening.startswith("listening on ws://127.0.0.1:")
    assert summary.startswith("0 data frames in 0.")


def test_a_taken_port_is_named_with_its_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(simulate, ["--port", port])
    assert result.exit_code == 2
    assert result.output.startswith(f"edc: port {port} on 127.0.0.1 is taken: ")
    assert "--port" in result.output
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--chaos", "explode=1%"], "'explode' is no fault"),
        (["--symbols", ","], "symbols: none given"),
        (["--rate", "nan"], "rate: nan"),
        (["--rate", "0"], "--rate"),
        (["--for", "inf"], "seconds: inf"),
        (["--truth", "/nowhere/truth.jsonl"], "--truth /nowhere/truth.jsonl: No such file"),
        (["--port", "70000"], "--port"),
        (["--host", "203.0.113.1", "--port", "0"], "cannot listen on 203.0.113.1:0"),
    ],
)
def test_a_mistake_is_one_clear_error(options: list[str], told: str) -> None:
    result = CliRunner().invoke(simulate, ["--port", "0", *options])
    assert result.exit_code == 2
    assert told in result.output
    assert "Traceback" not in result.output


def test_the_token_comes_from_the_environment_and_is_never_shown() -> None:
    result = CliRunner().invoke(
        simulate, ["--port", "0", "--for", "0.1"], env={"EDC_SIM_TOKEN": "s3cret"}
    )
    assert result.exit_code == 0
    assert "s3cret" not in result.output


def test_help_has_an_example() -> None:
    result = CliRunner().invoke(simulate, ["--help"])
    assert result.exit_code == 0
    assert "edc simulate --rate" in result.output


def test_rest_requests_are_answered_beside_the_websockets() -> None:
    with simulating("--rest-port", "0", "--rest-chaos", "503@1") as (process, listening):
        url = f"{listening['rest']}/iex/?tickers=spy&token=any"
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(url, timeout=10)
        with urllib.request.urlopen(url, timeout=10) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@pytest.mark.parametrize("vendor", ["finnhub", "fmp", "alpha_vantage"])
def test_the_rest_address_that_is_printed_can_be_pasted(vendor: str) -> None:
    with simulating("--vendor", vendor, "--rest-port", "0") as (process, listening):
        assert listening["ask"].startswith(listening["rest"] + "/")
        with urllib.request.urlopen(listening["ask"], timeout=10) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_rest_port_that_is_taken_is_told() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(simulate, ["--port", "0", "--rest-port", port])
    assert result.exit_code == 2
    assert "--rest-port" in result.output
