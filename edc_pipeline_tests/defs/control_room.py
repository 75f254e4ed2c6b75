"""A real `edc dev` on a temporary home, and what an operator does with it: look, press, kill."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import psutil

from edc_pipeline.spool.owner import Owner, current_owner

REPOSITORY: Final = Path(__file__).resolve().parents[2]
LOCATION: Final = {
    "repositoryLocationName": "edc_pipeline",
    "repositoryName": "__repository__",
}

T = TypeVar("T")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def await_(what: str, within_s: float, look: Callable[[], T | None], every_s: float = 0.25) -> T:
    """The first answer that is not None or false, or a failure that says what was awaited."""
    end = time.monotonic() + within_s
    while True:
        answer = look()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"waited {within_s:.0f} s in vain for: {what}")
        time.sleep(every_s)


class ControlRoom:
    def __init__(self, folder: Path, feeds: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.exchange_port = free_port()
        self.spool = folder / "data" / "spool"
        self.daily = folder / "data" / "daily"
        self.log = folder / "edc_dev.log"
        config = folder / "feeds.yaml"
        config.write_text(feeds.format(data=folder / "data", port=self.exchange_port))
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("EDC_", "DAGSTER"))}
        environment["PYTHONPATH"] = str(REPOSITORY)
        command = [sys.executable, "-m", "edc_pipeline", "dev", "--config", str(config)]
        command += ["--port", str(self.port), "--home", str(folder / "home")]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    # Look

    def graphql(self, query: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            data=json.dumps({"query": query, "variables": variables or {}}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            result: dict[str, Any] = json.load(answer)
        assert "errors" not in result, result["errors"]
        data: dict[str, Any] = result["data"]
        return data

    def ui_answers(self) -> bool:
        assert self.process.poll() is None, f"edc dev has ended:\n{self.log.read_text()[-4000:]}"
        try:
            self.graphql("{ version }")
        except (urllib.error.URLError, OSError):
            return False
        return True

    def runs(self, job: str) -> list[dict[str, Any]]:
        query = """query($job: String) { runsOrError(filter: {pipelineName: $job}) {
            ... on Runs { results { runId status startTime endTime } } } }"""
        runs: list[dict[str, Any]] = self.graphql(query, {"job": job})["runsOrError"]["results"]
        return runs

    def status_of(self, run_id: str) -> str:
        query = """query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"""
        return str(self.graphql(query, {"id": run_id})["runOrError"]["status"])

    def ended(self, run_id: str) -> str:
        """How a run ended; empty while it has not."""
        status = self.status_of(run_id)
        return status if status in {"SUCCESS", "FAILURE", "CANCELED"} else ""

    def checks(self, run_id: str) -> dict[str, dict[str, Any]]:
        """What the checks of `consolidated_feeds` said in a run, by name."""
        query = """query { assetNodeOrError(assetKey: {path: ["consolidated_feeds"]}) {
            ... on AssetNode { assetChecksOrError { ... on AssetChecks { checks { name
            executionForLatestMaterialization { runId evaluation { success severity description }
            } } } } } } }"""
        node = self.graphql(query)["assetNodeOrError"]
        return {
            check["name"]: check["executionForLatestMaterialization"]["evaluation"]
            for check in node["assetChecksOrError"]["checks"]
            if check["executionForLatestMaterialization"]["runId"] == run_id
        }

    def collector(self, *, besides: str = "") -> Owner | None:
        """Who holds the spool for a run that Dagster shows as started, if it is not `besides`."""
        held, owner = current_owner(self.spool)
        if not held or owner is None or not owner.run_id or owner.run_id == besides:
            return None
        return owner if self.status_of(owner.run_id) == "STARTED" else None

    def processes(self) -> list[psutil.Process]:
        """`edc dev` and all that it started, in turn."""
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    # Press

    def switch_sensor(self, name: str, *, on: bool) -> None:
        if on:
            query = """mutation($s: SensorSelector!) { startSensor(sensorSelector: $s) {
                __typename } }"""
            said = self.graphql(query, {"s": {**LOCATION, "sensorName": name}})["startSensor"]
            assert said["__typename"] == "Sensor", said
            return
        query = """query($s: SensorSelector!) { sensorOrError(sensorSelector: $s) {
            ... on Sensor { sensorState { id } } } }"""
        state = self.graphql(query, {"s": {**LOCATION, "sensorName": name}})["sensorOrError"]
        query = "mutation($id: String!) { stopSensor(id: $id) { __typename } }"
        said = self.graphql(query, {"id": state["sensorState"]["id"]})["stopSensor"]
        assert said["__typename"] == "StopSensorMutationResult", said

    def sensor_says(self, name: str) -> str:
        query = """query($s: SensorSelector!) { sensorOrError(sensorSelector: $s) { ... on Sensor {
            sensorState { ticks(limit: 1) { status skipReason } } } } }"""
        sensor = self.graphql(query, {"s": {**LOCATION, "sensorName": name}})["sensorOrError"]
        ticks = sensor.get("sensorState", {}).get("ticks")  # none while no code server answers
        return str(ticks[0]["skipReason"] or ticks[0]["status"]) if ticks else ""

    def terminate(self, run_id: str) -> None:
        query = "mutation($id: String!) { terminateRun(runId: $id) { __typename } }"
        said = self.graphql(query, {"id": run_id})["terminateRun"]
        assert said["__typename"] == "TerminateRunSuccess", said

    def materialise(self, partition: str) -> str:
        """Launch `consolidated_feeds` as the UI's button does; the run's id."""
        query = """mutation($p: ExecutionParams!) { launchPipelineExecution(executionParams: $p) {
            __typename ... on LaunchRunSuccess { run { runId } }
            ... on PythonError { message } } }"""
        parameters = {
            "mode": "default",
            "runConfigData": "{}",
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": partition}]},
            "selector": {
                **LOCATION,
                "pipelineName": "__ASSET_JOB",
                "assetSelection": [{"path": ["consolidated_feeds"]}],
                "assetCheckSelection": None,
            },
        }
        said = self.graphql(query, {"p": parameters})["launchPipelineExecution"]
        assert said["__typename"] == "LaunchRunSuccess", said
        return str(said["run"]["runId"])

    def backfill(self, partitions: list[str]) -> str:
        """Launch several partitions of `consolidated_feeds` at once; the backfill's id."""
        query = """mutation($p: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $p)
            { __typename ... on LaunchBackfillSuccess { backfillId }
            ... on PythonError { message } } }"""
        parameters = {
            "assetSelection": [{"path": ["consolidated_feeds"]}],
            "partitionNames": partitions,
        }
        said = self.graphql(query, {"p": parameters})["launchPartitionBackfill"]
        assert said["__typename"] == "LaunchBackfillSuccess", said
        return str(said["backfillId"])

    def backfill_ended(self, backfill_id: str) -> str:
        """How a backfill ended; empty while it has not."""
        query = """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
            ... on PartitionBackfill { status } } }"""
        status = self.graphql(query, {"id": backfill_id})["partitionBackfillOrError"]["status"]
        return "" if status in {"REQUESTED", "CANCELING", "FAILING"} else str(status)

    def stumbled(self) -> list[str]:
        """Sensors that failed in one of their latest ticks, and why."""
        query = """query($s: RepositorySelector!) { sensorsOrError(repositorySelector: $s) {
            ... on Sensors { results { name sensorState { ticks(limit: 20) {
            status error { message } } } } } } }"""
        sensors = self.graphql(query, {"s": LOCATION})["sensorsOrError"]["results"]
        return [
            f"{sensor['name']}: {tick['error']}"
            for sensor in sensors
            for tick in sensor["sensorState"]["ticks"]
            if tick["status"] == "FAILURE"
        ]

    # End

    def interrupt(self, within_s: float) -> int:
        """Ctrl-C, and its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(within_s)

    def clean_up(self, started: list[psutil.Process]) -> None:
        """After a failed test too, nothing that was started here stays."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        for process in started:
            if process.is_running():  # compares the start time: a pid used anew is not ours
                process.kill()
