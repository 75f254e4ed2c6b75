"""SIGHUP: feeds come and go while the others are not touched; a wrong file changes nothing."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from edc_pipeline.spool.layout import batch_files, days_in
from edc_pipeline.spool.ledger import Ledger
from edc_pipeline.spool.micro_batch import read_footer, read_micro_batch
from edc_pipeline_tests.cli.calling import start
from edc_pipeline_tests.cli.test_commands import rows_and_ledger_agree, until


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    words = ("--port", "0", "--rate", "600", "--for", "90", "--json")
    process = start("simulate", *words, cwd=tmp_path)
    assert process.stdout is not None
    yield int(json.loads(process.stdout.readline())["port"])
    process.terminate()
    process.communicate(timeout=10)


def feed(port: int, name: str, *symbols: str, **more: Any) -> dict[str, Any]:
    url = f"ws://127.0.0.1:{port}/{name}"
    return {"vendor": "tiingo", "feed": name, "symbols": list(symbols), "url": url, **more}


class Running:
    """A capture process whose feeds.yaml changes."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.spool = home / "data" / "spool"
        self.process: subprocess.Popen[str] | None = None
        self.log = ""

    def write(self, feeds: dict[str, Any], **capture: Any) -> None:
        rules = {"flush_seconds": 1, **capture}
        (self.home / "feeds.yaml").write_text(yaml.safe_dump({"feeds": feeds, "capture": rules}))

    def reload(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def says(self, words: str) -> None:
        """Wait for words in its log."""
        assert self.process is not None
        assert self.process.stderr is not None
        end = time.monotonic() + 20
        while words not in self.log:
            assert time.monotonic() < end, self.log
            self.log += self.process.stderr.readline()

    def feeds(self) -> dict[str, dict[str, Any]]:
        try:
            said = json.loads((self.spool / "_status.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return {f["name"]: f for f in said["feeds"]}

    def delivers(self, name: str) -> None:
        until(lambda: self.feeds().get(name, {}).get("state") == "live")

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        _, err = self.process.communicate(timeout=20)
        self.log += err
        assert self.process.returncode == 0, self.log


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.communicate()


def test_feeds_come_and_go_and_the_others_are_not_touched(running: Running, port: int) -> None:
    stocks = feed(port, "iex", "SPY", "AAPL", options={"threshold_level": 0})
    running.write({"stocks": stocks, "currencies": feed(port, "fx", "EUR/USD")})
    running.process = start("capture", cwd=running.home)
    running.delivers("stocks")
    running.delivers("currencies")

    # A wrong file is told and changes nothing.
    running.write({"stocks": {**stocks, "symbls": []}})
    running.reload()
    running.says("nothing was changed: ")
    running.says("did you mean 'symbols'")
    running.write({"stocks": feed(port, "crypto", "BTC/USD")})
    running.reload()
    running.says("feeds.stocks was tiingo/iex")
    running.write({})
    running.reload()
    running.says("no feeds are left")
    assert running.feeds()["currencies"]["state"] == "live"

    # One goes, one comes, one changes its symbols.
    changed = feed(port, "fx", "EUR/USD", "USD/JPY")
    coins = feed(port, "crypto", "BTC/USD")
    running.write({"stocks": stocks, "currencies": changed, "coins": coins}, flush_seconds=2)
    running.reload()
    running.says("added coins; changed currencies")
    running.says("started anew: capture.flush_seconds")
    running.delivers("coins")
    until(lambda: running.feeds()["currencies"]["connections"] == 1)
    running.write({"stocks": stocks, "currencies": changed})
    running.reload()
    running.says("removed coins")
    until(lambda: running.feeds()["coins"]["connections"] == 0)
    assert running.feeds()["coins"]["state"] == "removed"
    went = running.feeds()["coins"]["frames"]
    running.write({"stocks": stocks, "currencies": changed, "coins": coins})
    running.reload()
    running.says("added coins\n")
    until(lambda: running.feeds()["coins"]["frames"] > went)
    running.stop()

    assert rows_and_ledger_agree(running.spool) > 500
    assert Ledger(running.spool).gaps() == []
    assert "gave up" not in running.log
    rows = rows_of(running.spool)
    # No frame of any feed went missing: the flushes follow each other frame by frame.
    spans = sorted({span for span, _ in rows})
    assert spans[0][0] == 0
    assert all(b[0] == a[1] + 1 for a, b in pairwise(spans)), spans
    by_feed = {name: {r["connection"] for _, r in rows if r["feed"] == name} for name in FEEDS}
    # Stocks had one connection all along; currencies asked for more on the one that they had; coins
    # had a new one, of a new name.
    assert {name: len(of) for name, of in by_feed.items()} == {"iex": 1, "fx": 1, "crypto": 2}
    assert {r["symbol"] for _, r in rows if r["feed"] == "fx"} == {"EUR/USD", "USD/JPY"}
    assert running.feeds()["stocks"]["reconnects"] == 0


FEEDS = ("iex", "fx", "crypto")


def rows_of(spool: Path) -> list[tuple[tuple[int, int], dict[str, Any]]]:
    found = []
    for event_type, day in days_in(spool):
        for path in batch_files(spool, event_type, day):
            footer = read_footer(path)
            span = footer.first_frame, footer.last_frame
            found += [(span, row) for row in read_micro_batch(path, event_type).to_pylist()]
    return found


def test_a_changed_feed_overlaps_and_leaves_no_hole(running: Running, port: int) -> None:
    """The exchange's own ticks of a symbol that is in both: the file has them without a hole."""
    running.write({"currencies": feed(port, "fx", "EUR/USD")})
    running.process = start("capture", cwd=running.home)
    running.delivers("currencies")
    level = {"threshold_level": 7}
    running.write({"currencies": feed(port, "fx", "EUR/USD", "USD/JPY", options=level)})
    running.reload()
    running.says("changed currencies")
    running.says("currencies: connected\n")
    until(lambda: running.feeds()["currencies"]["connections"] == 1)
    time.sleep(1)
    running.stop()
    rows = [r for _, r in rows_of(running.spool) if r["symbol"] == "EUR/USD"]
    first, second = sorted({r["connection"] for r in rows})
    left = max(r["created_at"] for r in rows if r["connection"] == first)
    came = min(r["created_at"] for r in rows if r["connection"] == second)
    assert came < left + 1_000_000_000
    assert Ledger(running.spool).gaps() == []


def hears_hang_ups(pid: int) -> bool:
    caught = re.search(r"SigCgt:\s*([0-9a-f]+)", Path(f"/proc/{pid}/status").read_text())
    return caught is not None and bool(int(caught[1], 16) >> (signal.SIGHUP - 1) & 1)


def test_a_reload_while_it_starts_or_ends_is_heard_and_harms_nobody(
    running: Running, port: int
) -> None:
    currencies = {"currencies": feed(port, "fx", "EUR/USD")}
    running.write(currencies)
    running.process = process = start("capture", cwd=running.home)
    until(lambda: hears_hang_ups(process.pid))
    running.reload()
    running.says("the settings were read again: the feeds are the same")
    running.delivers("currencies")
    process.terminate()
    end = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < end:
        process.send_signal(signal.SIGHUP)
        time.sleep(0.001)
    running.stop()
