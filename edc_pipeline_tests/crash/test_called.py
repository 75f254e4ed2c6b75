"""The collector is killed (-9) again and again between accepting a delivery and answering it: what
a sender was told is kept is kept, and what it sends again is there once."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import tables

from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.settings import load
from edc_pipeline.simulator.posting import Patience, Posted, post_all
from edc_pipeline.simulator.senders import Post, Signed
from edc_pipeline.spool.layout import days_in
from edc_pipeline_tests.capture.calling import ENVIRON, SIGNED, SIGNED_SECRET, url_of, written
from edc_pipeline_tests.capture.test_collector import ledger_adds_up, rows_in
from edc_pipeline_tests.cli.calling import start

KILLS = 5
DELIVERIES = 400
NOON_MS = 1_769_101_200_000
# Long, so that nearly every moment is one between accepting and answering.
COMMIT_S = "0.3"


def deliveries() -> list[Post]:
    sender, now = Signed(SIGNED_SECRET), time.time_ns()
    return [
        sender.sign(
            {"id": f"e{i}", "items": [{"s": "SPY", "p": i + 1, "q": 1, "t": NOON_MS + i}]}, now
        )
        for i in range(DELIVERIES)
    ]


async def wait_for_port(port: int, capture: subprocess.Popen[str]) -> None:
    for _ in range(600):
        assert capture.poll() is None, capture.stderr and capture.stderr.read()
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it never listened")


def test_nothing_that_was_acknowledged_is_lost_and_nothing_is_twice(tmp_path: Path) -> None:
    config = written(tmp_path, {"fills": SIGNED}, per_second=500)
    settings = load(config, ENVIRON)
    luck, sent = random.Random(4), deliveries()

    def capture() -> subprocess.Popen[str]:
        variables = {**ENVIRON, "EDC_CAPTURE__COMMIT_SECONDS": COMMIT_S}
        return start("capture", "--config", config, cwd=tmp_path, **variables)

    async def scenario() -> tuple[Posted, list[bool]]:
        running = capture()
        killed_at: list[bool] = []
        try:
            await wait_for_port(settings.webhook.port, running)
            patience = Patience(tries=400, first_pause_s=0.05, longest_pause_s=0.1)
            posting = asyncio.create_task(
                post_all(url_of(settings, "fills"), sent, patience=patience, at_once=20)
            )
            for _ in range(KILLS):
                await asyncio.sleep(luck.uniform(0.1, 0.8))
                running.send_signal(signal.SIGKILL)
                running.communicate()
                killed_at.append(posting.done())
                running = capture()
                await wait_for_port(settings.webhook.port, running)
            posted = await posting
        finally:
            running.send_signal(signal.SIGTERM)
            _, said = running.communicate(timeout=30)
        assert running.returncode == 0, said
        assert "hush" not in said
        return posted, killed_at

    posted, killed_at = asyncio.run(scenario())
    assert killed_at.count(False) > 1  # the kills fell into the posting
    assert posted.answers.total() > DELIVERIES  # some had to be sent again
    assert set(posted.answers) - {"200"}
    assert len(posted.accepted) == DELIVERIES
    ledger_adds_up(settings)
    ids = {json.loads(post.body)["items"][0]["p"] for post in posted.accepted}
    assert {row["price"] for _, row in rows_in(settings.spool)} == ids
    kept: Counter[float] = Counter()
    for event_type, day in days_in(settings.spool):
        made = consolidate(settings.spool, settings.daily, event_type, day)
        assert made.certificate.balanced, made.certificate.reasons
        with tables.open_file(str(made.path)) as file:
            kept.update(float(row["price"]) for row in file.root.trade.table.read())
    assert kept == Counter({float(price): 1 for price in ids})
