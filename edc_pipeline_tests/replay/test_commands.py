"""`edc replay`, `edc synth` and `edc simulate --replay` as a person calls them."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import select
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web
from websockets.asyncio.client import connect

from edc_pipeline_tests.cli.calling import edc, environment, start

DAY = "2026-01-22"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made day of 20,000 events, through the pipeline."""
    folder = tmp_path_factory.mktemp("made")
    call = ["replay", "--synthetic", "--events", "20000", "--symbols", "SPY,AAPL,EUR/USD,BTC/USD"]
    said = edc(*call, "--into", "day", "--json", cwd=folder)
    assert said.code == 0, said.err
    return folder / "day"


def test_a_made_day_comes_out_as_balanced_files(made: Path) -> None:
    files = sorted((made / "daily").glob("*.h5"))
    assert [f.name for f in files] == [
        "consol_feeds_quote_2026_01_22.h5",
        "consol_feeds_trade_2026_01_22.h5",
    ]
    said = edc("verify", *files, cwd=made)
    assert said.code == 0, said.out + said.err


def test_daily_files_replayed_give_the_same_daily_files(made: Path, tmp_path: Path) -> None:
    call: list[str | Path] = [
        "replay",
        "--day",
        DAY,
        "--daily",
        made / "daily",
        "--into",
        tmp_path / "again",
    ]
    said = edc(*call, "--json", cwd=tmp_path)
    assert said.code == 0, said.err
    again = {Path(f["path"]).name: f["hash"] for f in json.loads(said.out)["files"]}
    for path in (made / "daily").glob("*.h5"):
        shown = edc("show", path, "--json", cwd=tmp_path)
        assert again[path.name] in shown.out


def test_what_is_shown_is_what_is_in_the_file(made: Path, tmp_path: Path) -> None:
    call: list[str | Path] = [
        "replay",
        "--day",
        DAY,
        "--daily",
        made / "daily",
        "--speed",
        "max",
        "--json",
    ]
    said = edc(*call, "--symbols", "SPY,EUR/USD", "--from", "10:00", "--to", "10:30", cwd=tmp_path)
    assert said.code == 0, said.err
    events = [json.loads(line) for line in said.out.splitlines()]
    times = [e["ts_event"] for e in events]
    assert times == sorted(times)
    assert {e["symbol"] for e in events} == {"SPY", "EUR/USD"}
    assert 1769094000 * 10**9 <= times[0] <= times[-1] < 1769095800 * 10**9
    assert json.loads(said.err.splitlines()[-1])["events"] == len(events)
    nothing = edc(*call, "--symbols", "IBM", cwd=tmp_path)
    assert nothing.code == 1
    assert "nothing to replay" in nothing.err


def test_a_chart_in_the_terminal_and_as_svg(made: Path, tmp_path: Path) -> None:
    call: list[str | Path] = ["replay", "--day", DAY, "--daily", made / "daily", "--symbols", "SPY"]
    said = edc(*call, "--chart", cwd=tmp_path)
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert lines[0].startswith("SPY  2026-01-22  689.")
    assert "09:30" in lines[-1]
    assert "16:00" in lines[-1]
    assert any(0x2800 < ord(c) <= 0x28FF for c in said.out)
    said = edc(*call, "--chart", "spy.svg", cwd=tmp_path)
    assert said.code == 0, said.err
    root = ET.parse(tmp_path / "spy.svg").getroot()
    candles = [e for e in root.iter() if e.tag.endswith("rect") and e.get("fill") != "#fff"]
    assert len(candles) > 50


def test_a_made_day_of_any_size(tmp_path: Path) -> None:
    call = ["synth", "--events", "50000", "--symbols", "40", "--seed", "3", "--json"]
    one = edc(*call, "--into", "one", cwd=tmp_path)
    two = edc(*call, "--into", "two", cwd=tmp_path)
    assert one.code == two.code == 0, one.err + two.err
    assert sum(json.loads(one.out)["events"].values()) == 50_000
    hashes = []
    for name in ("one", "two"):
        done = edc(
            *("consolidate", "--spool", f"{name}/spool", "--out", f"{name}/daily", "--day", DAY),
            *("--type", "trade", "--json"),
            cwd=tmp_path,
        )
        assert done.code == 0, done.out
        certificate = json.loads(done.out)["files"][0]["certificate"]
        assert certificate["symbols"] == 40
        hashes.append(certificate["content_hash"])
    assert hashes[0] == hashes[1]
    again = edc(*call, "--into", "one", cwd=tmp_path)
    assert again.code == 2
    assert "a spool of its own" in again.err


def test_nothing_live_goes_into_a_replay(made: Path, tmp_path: Path) -> None:
    (tmp_path / "feeds.yaml").write_text(
        f"data_dir: {made}\nfeeds:\n  x: {{vendor: tiingo, feed: iex, symbols: [SPY],"
        " url: 'ws://127.0.0.1:1/iex'}\n"
    )
    said = edc("capture", "--for", "1", cwd=tmp_path)
    assert said.code == 2
    assert "holds a replay of synthetic 2026-01-22" in said.err


def test_the_day_as_a_vendor_with_faults_and_a_report(made: Path, tmp_path: Path) -> None:
    call: list[str | Path] = [
        "simulate",
        "--replay",
        DAY,
        "--daily",
        made / "daily",
        "--port",
        "0",
        "--json",
    ]
    chaos = ["--chaos", "drop@100:7,corrupt@200", "--report", "report.jsonl", "--for", "40"]
    process = start(*call, *chaos, cwd=tmp_path)
    assert process.stdout is not None
    got: list[str | bytes] = []

    async def listen() -> None:
        async with connect(urls["iex"], max_queue=None) as websocket:
            data = {"thresholdLevel": 0, "tickers": ["spy", "aapl"]}
            asked = {"eventName": "subscribe", "authorization": "x", "eventData": data}
            await websocket.send(json.dumps(asked))
            async for message in websocket:
                got.append(message)

    try:
        urls = json.loads(process.stdout.readline())["urls"]
        asyncio.run(asyncio.wait_for(listen(), 60))
        summary = json.loads(process.stdout.readlines()[-1])
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    assert summary["faults_done"] == {"drop": 7, "corrupt": 1}
    assert summary["not_sent"] == {"drop": 7}
    assert len(got) == summary["data_frames"] + 2
    assert sum(isinstance(message, bytes) for message in got) == 1
    report = [json.loads(line) for line in (tmp_path / "report.jsonl").read_text().splitlines()]
    assert [(d["fault"], d["n"]) for d in report] == [
        *(("drop", n) for n in range(100, 107)),
        ("corrupt", 200),
    ]
    assert all(json.loads(d["body"])["data"][3] in ("spy", "aapl") for d in report)
    assert Counter(d["symbol"] for d in report).total() == 8


def test_the_day_as_webhooks(made: Path, tmp_path: Path) -> None:
    call: list[str | Path] = ["--day", DAY, "--daily", made / "daily", "--symbols", "SPY"]
    tape = edc("replay", *call, "--speed", "max", "--json", cwd=tmp_path)
    trades = [e for e in map(json.loads, tape.out.splitlines()) if e["event_type"] == "trade"]
    got: list[dict[str, str]] = []

    async def scenario() -> None:
        async def hear(request: web.Request) -> web.Response:
            got.append(json.loads(await request.text()))
            return web.Response()

        application = web.Application()
        application.router.add_post("/{tail:.*}", hear)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/alerts"
        words = ["simulate", "--vendor", "tradingview", "--post-to", url, "--replay", *call[1:]]
        said = await asyncio.to_thread(edc, *words, cwd=tmp_path, EDC_SIM_TOKEN="a secret")
        await runner.cleanup()
        assert said.code == 0, said.err
        assert f"{len(trades):,} accepted, 0 refused" in said.out

    asyncio.run(scenario())
    assert sorted(float(alert["close"]) for alert in got) == sorted(t["price"] for t in trades)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["replay"], "which day?"),
        (["replay", "--day", DAY, "--daily", "."], "no daily file of 2026-01-22"),
        (["replay", "--synthetic", "--daily", "."], "one source at a time"),
        (["replay", "--synthetic", "--speed", "fast"], "'fast' is no speed"),
        (["replay", "--synthetic", "--symbols", ","], "name at least one"),
        (["replay", "--synthetic", "--day", DAY, "--from", "noon"], "'noon' is no time"),
        (["replay", "--synthetic", "--day", DAY, "--from", "11:00", "--to", "10:00"], "not before"),
        (["replay", "--day", DAY, "--spool", "."], "they go into a pipeline"),
        (["replay", "--ticks", "x.csv"], "write FILE:MAPPING"),
        (["replay", "--ticks", "x.csv:m.yaml"], "m.yaml"),
        (["replay", "--synthetic", "--chart", "x.png", "--events", "500"], "name an .svg file"),
        (["simulate", "--replay", DAY, "--daily", "."], "no daily file"),
        (["simulate", "--replay", DAY, "--vendor", "nobody"], "nobody"),
        (["simulate", "--replay", "today"], "is not a day"),
    ],
)
def test_wrong_calls_are_told_in_words(tmp_path: Path, words: list[str], told: str) -> None:
    said = edc(*words, cwd=tmp_path)
    assert said.code == 2, said.err
    assert told in said.err
    assert "Traceback" not in said.err


def test_pause_step_seek_and_end_from_the_keyboard(made: Path, tmp_path: Path) -> None:
    """In a terminal of its own, at 1×: without the keys it would take the day."""
    ours, theirs = pty.openpty()
    call = ["replay", "--day", DAY, "--daily", str(made / "daily"), "--speed", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "edc_pipeline", *call],
        cwd=tmp_path,
        env=environment(),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = ""

    def until(what: Callable[[str], object]) -> None:
        nonlocal shown
        end = time.monotonic() + 30
        while not what(shown):
            assert time.monotonic() < end, shown[-500:]
            if select.select([ours], [], [], 0.1)[0]:
                shown += os.read(ours, 4096).decode(errors="replace")

    def events() -> int:
        return int(re.findall(r"([\d,]+) events", shown)[-1].replace(",", ""))

    try:
        until(lambda text: "1×" in text)
        os.write(ours, b" ")
        until(lambda text: "paused" in text)
        os.write(ours, b"\x1b[C")  # a minute on: one event from there, and it stands
        until(lambda text: "09:31:0" in text)
        shown = ""
        os.write(ours, b"\x1b[D")  # and back
        until(lambda text: re.search(r"09:30:\d\d  1×  paused", text))
        before = events()
        os.write(ours, b"...")
        until(lambda _: events() >= before + 3)
        os.write(ours, b"m ")  # as fast as it goes: to the end
        until(lambda text: " events in " in text)
        process.wait(30)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert process.returncode == 0
