"""A real `edc dev`: the sensor starts capture, partitions are made, processes are killed.

One Dagster is shared by the steps, which run in the order in which they stand here. Each leaves
capture running, but the last.
"""

from __future__ import annotations

import datetime as dt
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pandas as pd
import psutil
import pyarrow.parquet as pq
import pytest

from edc_pipeline.consolidation.certificate import read_certificate
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.consolidation.names import daily_file
from edc_pipeline.defs.checks import CHECKS
from edc_pipeline.events import EVENT_TYPES
from edc_pipeline.market_day import MARKET_ZONE, market_day
from edc_pipeline.spool.layout import batch_files, days_in
from edc_pipeline.spool.ledger import Ledger
from edc_pipeline.spool.owner import Owner, current_owner
from edc_pipeline.spool.status import read_status
from edc_pipeline_tests.defs.busy_day import write_busy_day
from edc_pipeline_tests.defs.control_room import ControlRoom, await_

pytestmark = [pytest.mark.dagster_dev, pytest.mark.timeout(600)]

FEEDS: Final = """
data_dir: {data}
feeds:
  stocks:
    vendor: tiingo
    feed: iex
    symbols: [AAPL, SPY]
    options: {{threshold_level: 0}}
    connections: 2
    url: ws://127.0.0.1:{port}/iex
  references:
    vendor: tiingo
    feed: iex
    symbols: [AAPL, SPY]
    options: {{threshold_level: 6}}
    url: ws://127.0.0.1:{port}/iex
capture: {{flush_seconds: 1}}
dagster: {{report_seconds: 5}}
"""
# What a step of Dagster may take on two busy cores; alone they take a fifth of it.
SLOW_S: Final = 120.0


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlRoom]:
    yield from started(tmp_path_factory.mktemp("room"))


def started(folder: Path) -> Iterator[ControlRoom]:
    room = ControlRoom(folder, FEEDS)
    processes: list[psutil.Process] = []
    try:
        await_("the UI answers", 2 * SLOW_S, room.ui_answers)
        processes += room.processes()
        yield room
        if room.process.poll() is None:
            processes += room.processes()
    finally:
        room.clean_up(processes)


@pytest.fixture
def collector(room: ControlRoom) -> Owner:
    return capturing(room)


def capturing(room: ControlRoom) -> Owner:
    """The collector, once it has taken something from the feeds."""
    owner = await_("a run that captures", SLOW_S, room.collector)
    await_("the feeds deliver", SLOW_S, lambda: taken_by(room.spool, owner.collector))
    return owner


def taken_by(spool: Path, collector: str) -> int:
    """Events that the collector says it has taken from the feeds."""
    status = read_status(spool)
    if status is None or status["collector"] != collector:
        return 0
    return sum(n for feed in status["feeds"] for n in feed["events"].values())


def on_disk(spool: Path, collector: str) -> int:
    return sum(
        pq.read_metadata(path).num_rows
        for event_type, day in days_in(spool)
        for path in batch_files(spool, event_type, day)
        if path.name.startswith(collector)
    )


def in_ledger(spool: Path) -> int:
    ledger = Ledger(spool)
    return sum(
        sum(ledger.events_out(event_type, day).values()) for event_type, day in days_in(spool)
    )


def assert_drained(spool: Path, collector: str) -> int:
    """The lock is free, nothing waits in memory, and what was taken from the feeds is on disk."""
    assert current_owner(spool) == (False, None)
    status = read_status(spool)
    assert status is not None
    assert (status["collector"], status["waiting_rows"]) == (collector, 0)
    taken = taken_by(spool, collector)
    assert on_disk(spool, collector) == taken > 0
    return taken


def asset_metadata(room: ControlRoom, run_id: str) -> dict[str, Any]:
    query = """query($id: ID!) { runOrError(runId: $id) { ... on Run { assetMaterializations {
        metadataEntries { label ... on IntMetadataEntry { intValue }
            ... on PathMetadataEntry { path } } } } } }"""
    (made,) = room.graphql(query, {"id": run_id})["runOrError"]["assetMaterializations"]
    return {e["label"]: e.get("intValue", e.get("path")) for e in made["metadataEntries"]}


def reported_partitions(room: ControlRoom) -> set[str]:
    query = """{ assetNodeOrError(assetKey: {path: ["micro_batches"]}) { ... on AssetNode {
        assetMaterializations(limit: 20) { partition runId } } } }"""
    node = room.graphql(query)["assetNodeOrError"]
    return {m["partition"] for m in node["assetMaterializations"]}


def test_the_sensor_starts_capture_which_reports(room: ControlRoom, collector: Owner) -> None:
    assert room.status_of(collector.run_id) == "STARTED"
    today = market_day(time.time_ns())
    wanted = {f"{today}|{event_type}" for event_type in EVENT_TYPES}
    await_(
        "micro_batches reported for each type", SLOW_S, lambda: wanted <= reported_partitions(room)
    )
    says = await_(
        "a tick that says what capture does",
        SLOW_S,
        lambda: (
            s if (s := room.sensor_says("keep_capture_running")).startswith("capture is") else ""
        ),
    )
    assert collector.run_id[:8] in says


def test_todays_partition_is_made(room: ControlRoom, collector: Owner) -> None:
    today = market_day(time.time_ns())
    run_id = room.materialise(f"{today}|trade")
    status = await_("the partition is made", SLOW_S, lambda: room.ended(run_id))
    assert status == "SUCCESS"
    told = asset_metadata(room, run_id)
    assert told["rows"] > 0
    assert told["rows_in"] == told["rows"] + told["duplicates"]
    frame = pd.read_hdf(told["path"])
    assert len(frame) == told["rows"]
    checks = room.checks(run_id)
    assert set(checks) == set(CHECKS)
    red = {name: c for name, c in checks.items() if not c["success"] and c["severity"] == "ERROR"}
    assert red == {}


def test_a_day_without_data_fails_in_a_line(room: ControlRoom) -> None:
    run_id = room.materialise("2025-01-02|quote")
    assert await_("the run ends", SLOW_S, lambda: room.ended(run_id)) == "FAILURE"


def test_terminate_drains_and_a_stopped_sensor_stops_capture(
    room: ControlRoom, collector: Owner
) -> None:
    room.terminate(collector.run_id)
    assert await_("the run ends", SLOW_S, lambda: room.ended(collector.run_id)) == "CANCELED"
    first = assert_drained(room.spool, collector.collector)
    another = await_("a new run", SLOW_S, lambda: room.collector(besides=collector.run_id))
    room.switch_sensor("keep_capture_running", on=False)
    assert await_("that ends too", SLOW_S, lambda: room.ended(another.run_id)) == "SUCCESS"
    assert first + assert_drained(room.spool, another.collector) == in_ledger(room.spool)
    time.sleep(11)  # longer than the sensor's interval
    assert room.collector() is None
    room.switch_sensor("keep_capture_running", on=True)
    await_("a new run captures", SLOW_S, lambda: room.collector(besides=another.run_id))


def test_a_backfill_makes_what_the_night_would_have_made(
    room: ControlRoom, collector: Owner, tmp_path: Path
) -> None:
    """While capture goes on, in the same spool."""
    today = market_day(time.time_ns())
    days = [today - dt.timedelta(days=n) for n in (8, 9)]
    types = EVENT_TYPES[:2]
    for day in days:
        for event_type in types:
            write_busy_day(room.spool, day, event_type, 2_000, micro_batches=4)
    wanted = [f"{day}|{event_type}" for day in days for event_type in types]
    backfill = room.backfill(wanted)
    ended = await_("the backfill", 4 * SLOW_S, lambda: room.backfill_ended(backfill))
    assert ended == "COMPLETED_SUCCESS"
    for day in days:
        for event_type in types:
            made = read_certificate(daily_file(room.daily, event_type, day))
            nightly = consolidate(room.spool, tmp_path, event_type, day)
            assert made.content_hash == nightly.certificate.content_hash
            assert made.state.state == "sealed"


def test_capture_hands_over_to_the_next_run_without_a_hole(
    room: ControlRoom, collector: Owner
) -> None:
    """As every evening, only that the evening is this very minute."""
    sources = {source.name for source in Ledger(room.spool).frames()}

    def minute_after_its_start() -> str:
        now = dt.datetime.now(MARKET_ZONE)
        began = collector.started_at / 1e9
        return f"{now:%H:%M}" if now.replace(second=0, microsecond=0).timestamp() > began else ""

    rotate_at = await_("the next minute", 70, minute_after_its_start)
    settings = room.folder / "feeds.yaml"
    former = settings.read_text()
    settings.write_text(
        former.replace("report_seconds: 5", f"report_seconds: 5, rotate_at: '{rotate_at}'")
    )
    assert settings.read_text() != former
    try:
        successor = await_(
            "the next run captures",
            2 * SLOW_S,
            lambda: room.collector(besides=collector.run_id),
        )
    finally:
        settings.write_text(former)
    assert await_("the run ends", SLOW_S, lambda: room.ended(collector.run_id)) == "SUCCESS"
    await_("the feeds deliver", SLOW_S, lambda: taken_by(room.spool, successor.collector))
    handed_over = [gap for gap in Ledger(room.spool).gaps() if gap.from_ns >= collector.started_at]
    assert handed_over == []
    assert {source.name for source in Ledger(room.spool).frames()} == sources


def test_no_sensor_stumbles(room: ControlRoom) -> None:
    assert room.stumbled() == []


def test_a_killed_worker_is_replaced(room: ControlRoom, collector: Owner) -> None:
    assert collector.pid in {p.pid for p in room.processes()}
    psutil.Process(collector.pid).kill()
    await_("a new run captures", SLOW_S, lambda: room.collector(besides=collector.run_id))
    assert room.ended(collector.run_id) == "FAILURE"


def test_a_killed_code_server_leaves_one_collector(room: ControlRoom, collector: Owner) -> None:
    (server,) = [p for p in room.processes() if p.cmdline()[2:5] == ["dagster", "api", "grpc"]]
    orphan = psutil.Process(collector.pid)
    assert orphan.ppid() == server.pid
    server.kill()
    successor = await_(
        "the orphan is replaced", 2 * SLOW_S, lambda: room.collector(besides=collector.run_id)
    )
    assert successor.pid in {p.pid for p in room.processes()}
    all_gone([orphan], 10)
    assert room.ended(collector.run_id) == "CANCELED"  # told to make way, and drained


def test_ctrl_c_drains_and_leaves_nothing_behind(room: ControlRoom, collector: Owner) -> None:
    processes = room.processes()
    assert collector.pid in {p.pid for p in processes}
    assert room.interrupt(SLOW_S) == 130
    all_gone(processes, 10)
    assert_drained(room.spool, collector.collector)


def test_edc_dev_killed_takes_everything_with_it(tmp_path: Path) -> None:
    for room in started(tmp_path):
        collector = capturing(room)
        processes = room.processes()
        room.process.send_signal(signal.SIGKILL)
        room.process.wait(10)
        all_gone(processes, SLOW_S)
        assert_drained(room.spool, collector.collector)


def all_gone(processes: list[psutil.Process], within_s: float) -> None:
    await_("every process is gone", within_s, lambda: not any(map(alive, processes)))


def alive(process: psutil.Process) -> bool:
    """Not gone, and no zombie that only waits for whoever inherited it."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_a_killed_daemon_ends_in_order_and_a_restart_goes_on(tmp_path: Path) -> None:
    for room in started(tmp_path):
        collector = capturing(room)
        processes = room.processes()
        (daemon,) = [p for p in processes if "dagster._daemon" in p.cmdline()]
        daemon.kill()
        # `dagster dev` ends when one of its own dies; whoever supervises `edc dev` starts it anew.
        assert room.process.wait(2 * SLOW_S) == 1
        all_gone(processes, SLOW_S)
        assert_drained(room.spool, collector.collector)
    for room in started(tmp_path):
        successor = capturing(room)
        assert successor.run_id != collector.run_id
        assert room.ended(collector.run_id)  # nothing stays STARTED for ever
        run_id = room.materialise(f"{market_day(time.time_ns())}|trade")
        ended = partial(room.ended, run_id)
        assert await_("the partition is made", SLOW_S, ended) == "SUCCESS"
        assert room.checks(run_id)["ledger_balances"]["success"]
        assert room.interrupt(2 * SLOW_S) == 130
