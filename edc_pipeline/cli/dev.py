"""`edc dev`: the simulated exchange and the Dagster UI together, and an orderly end of both."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import click

from edc_pipeline.cli import EXIT_INTERRUPTED, options
from edc_pipeline.cli.dev_processes import (
    HomeIsTaken,
    Started,
    hold_lock,
    is_listening,
    port_is_free,
    start,
)
from edc_pipeline.cli.dev_ui import answers, revive_code_server
from edc_pipeline.cli.dev_yesterday import capture_yesterday
from edc_pipeline.cli.options import FallsShort, WrongCall

if TYPE_CHECKING:
    from edc_pipeline.settings import Settings

HOST: Final = "127.0.0.1"
CHECKOUT: Final = Path(__file__).resolve().parents[2]
EXAMPLE: Final = "feeds.example.yaml"
LOCK: Final = "edc-dev.lock"

_SIMULATOR_S: Final = 20.0  # measured: 1 s
_UI_S: Final = 120.0  # measured: 8 to 12 s on two noisy cores
_CODE_SERVER_S: Final = 10.0
_DAGSTER_ENDS_S: Final = 45.0  # beyond what capture takes to drain
# A newcomer should not wait a minute for the first micro-batch, nor five for the first report.
_QUICK: Final = {"EDC_CAPTURE__FLUSH_SECONDS": "10", "EDC_DAGSTER__REPORT_SECONDS": "60"}

# What Dagster says again and again and which tells an operator nothing, and its stack traces:
# the page of the run or the tick has them, and so has `edc dev --verbose`.
_NOISE: Final = re.compile(
    "|".join(
        [
            r" - DEBUG - ",  # the events of a run
            r"^\s|^$|^>|^grpc\.|Stack Trace:|Traceback \(|The above exception|Warning: ",
            r"Instance is configured with the following|LocationStateChangeEventType",
            r"Checking for new runs for sensor|skipped: (capture is live|no late micro-batches)",
            r"skipped: (switched off|nothing new|no daily file has changed|nothing is wrong)",
            r"Priority sorting and checking|Launched \d+ runs|Collected \d+ runs|Checking run ",
            r"Creating new run for|Completed launch of run",
        ]
    )
)
# Meant for who keeps dagster.yaml elsewhere; here DAGSTER_HOME links to that very file.
_NOISE_AT_START: Final = re.compile("Found a dagster instance configuration value")


@click.command(epilog="Example: edc dev --port 3001; Ctrl-C drains capture and stops everything.")
@options.config
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True)
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="DAGSTER_HOME. [default: $DAGSTER_HOME, else .dagster_home in the project]",
)
@click.option("-v", "--verbose", is_flag=True, help="Show every line that Dagster logs.")
def dev(config: Path | None, port: int, home: Path | None, verbose: bool) -> int:
    """The simulated exchange and the Dagster UI, together."""
    project = _project()
    chosen = _config(config, project)
    home = (home or Path(os.environ.get("DAGSTER_HOME") or project / ".dagster_home")).resolve()
    os.chdir(project)  # data_dir counts from here, for Dagster and for us
    settings = options.load_settings(chosen)
    if missing := settings.missing_secrets():
        raise WrongCall("\n  ".join(missing))
    if not port_is_free(HOST, port):
        raise WrongCall(
            f"port {port} on {HOST} is taken, perhaps by another `edc dev`:"
            f" stop that one, or choose another port: edc dev --port {port + 1}"
        )
    _make_dagster_home(home, project)
    environment = {
        **os.environ,
        **(_quick(os.environ) if chosen.name == EXAMPLE else {}),
        "EDC_CONFIG": str(chosen),
        "DAGSTER_HOME": str(home),
        "DAGSTER_DEV_LOCK": str(home / LOCK),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",
        # A plain checkout has nothing installed.
        "PYTHONPATH": os.pathsep.join(filter(None, [str(CHECKOUT), os.getenv("PYTHONPATH", "")])),
    }
    try:
        with hold_lock(home / LOCK):
            newcomer = chosen.name == EXAMPLE
            session = _Session(
                settings, project, environment, port, verbose=verbose, newcomer=newcomer
            )
            return session.run()
    except HomeIsTaken:
        raise WrongCall(
            f"another `edc dev` runs with {home}: stop that one, or give another folder: --home"
        ) from None


def _project() -> Path:
    """The folder that says what Dagster loads: this one, else the checkout edc runs from."""
    for folder in (Path.cwd(), CHECKOUT):
        if (folder / "workspace.yaml").is_file() and (folder / "dagster.yaml").is_file():
            return folder
    raise WrongCall("no workspace.yaml and dagster.yaml here: run it in a clone of the repository")


def _config(named: Path | None, project: Path) -> Path:
    wanted = named or (Path(v) if (v := os.environ.get("EDC_CONFIG")) else None)
    if wanted is not None:
        return wanted.resolve()
    own = project / "feeds.yaml"
    return own if own.is_file() else project / EXAMPLE


def _quick(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in _QUICK.items() if name not in environ}


def _make_dagster_home(home: Path, project: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    yaml = home / "dagster.yaml"
    # A link, so that the repository's file counts as it is now; an operator's own file stays.
    if yaml.is_symlink() or not yaml.exists():
        yaml.unlink(missing_ok=True)
        yaml.symlink_to(project / "dagster.yaml")


class _Session:
    """What was started, in the order of starting; stopped in the order that loses nothing."""

    def __init__(
        self,
        settings: Settings,
        project: Path,
        environment: Mapping[str, str],
        port: int,
        *,
        verbose: bool,
        newcomer: bool,
    ) -> None:
        self._settings = settings
        self._newcomer = newcomer
        self._project = project
        self._environment = environment
        self._url = f"http://{HOST}:{port}"
        self._port = port
        self._verbose = verbose
        self._exchanges: list[Started] = []
        self._dagster: Started | None = None
        self._asked = threading.Event()
        self._signal = 0
        self._ui_answered = False

    def run(self) -> int:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        try:
            self._start_exchanges()
            if self._newcomer:
                capture_yesterday(self._settings, self._project, self._environment, self._asked)
            self._start_dagster()
            if self._wait_for_ui():
                self._tell_where_to_look()
            self._wait_for_the_end()
        finally:
            self._stop()
        return EXIT_INTERRUPTED if self._signal == signal.SIGINT else 0

    def _on_signal(self, number: int, _frame: object) -> None:
        if self._asked.is_set():
            _say("stopping already; capture drains first")
        self._signal = self._signal or number
        self._asked.set()

    # Start

    def _start_exchanges(self) -> None:
        """One simulated exchange for each port of this machine that a feed wants and nobody has."""
        wanted = {
            (parts.hostname or HOST, parts.port or 80)
            for feed in self._settings.enabled_feeds.values()
            if feed.is_simulated and (parts := urlsplit(feed.address))
        }
        for host, port in sorted(wanted):
            if is_listening(host, port):
                _say(f"feeds come from what listens on {host}:{port} already")
                continue
            command = [sys.executable, "-m", "edc_pipeline", "simulate", "--port", str(port)]
            exchange = start("exchange", command, self._project, self._environment)
            self._exchanges.append(exchange)
            end = time.monotonic() + _SIMULATOR_S
            while not is_listening(host, port):
                if self._asked.is_set():
                    return
                if exchange.ended or time.monotonic() > end:
                    raise FallsShort(f"the simulated exchange does not listen on {host}:{port}")
                time.sleep(0.1)
            _say(f"simulated exchange on {host}:{port}")

    def _start_dagster(self) -> None:
        if self._asked.is_set():
            return
        command = [sys.executable, "-m", "dagster", "dev", "--host", HOST, "--port"]
        command += [str(self._port), "--workspace", "workspace.yaml"]
        _say("starting Dagster …")
        self._dagster = start("dagster", command, self._project, self._environment, self._readable)

    def _readable(self, line: str) -> str | None:
        # Before the UI answers, a stack trace is the only one to say why it never will.
        noise = _NOISE if self._ui_answered else _NOISE_AT_START
        return line if self._verbose or not noise.search(line) else None

    def _wait_for_ui(self) -> bool:
        end = time.monotonic() + _UI_S
        while not self._asked.wait(0.5):
            if self._dagster is None or self._dagster.ended:
                raise FallsShort("Dagster ended before its UI answered; the lines above say why")
            if answers(self._url):
                self._ui_answered = True
                return True
            if time.monotonic() > end:
                raise FallsShort(f"the UI did not answer on {self._url} within {_UI_S:.0f} s")
        return False

    def _tell_where_to_look(self) -> None:
        click.secho(
            f"""
  The Dagster UI is on {self._url}

  Asset graph        {self._url}/asset-groups
  Daily files        {self._url}/assets/consolidated_feeds?view=partitions
                     choose a day and `trade`, then Materialize
  Capture            {self._url}/runs?q[0]=job%3Acapture   (starts within half a minute)
  Spool, daily files {self._settings.spool}, {self._settings.daily}

  Ctrl-C drains capture and stops everything that was started here.
""",
            bold=True,
        )

    def _wait_for_the_end(self) -> None:
        look_at = time.monotonic() + _CODE_SERVER_S
        while not self._asked.wait(0.5):
            if self._dagster is not None and self._dagster.ended:
                raise FallsShort("Dagster has ended; the lines above say why")
            for exchange in list(self._exchanges):
                if exchange.ended:
                    self._exchanges.remove(exchange)
                    _say("the simulated exchange has ended; capture reconnects when one listens")
            if time.monotonic() >= look_at and not self._asked.is_set():
                look_at = time.monotonic() + _CODE_SERVER_S
                if revive_code_server(self._url):
                    _say("the code server had died; it was started anew")

    # Stop

    def _stop(self) -> None:
        """Dagster first, so that its sensor starts no new run; capture drains on a signal of its
        own, since a code server that is told to stop would wait for it for ever."""
        if self._dagster is not None:
            drain_s = self._settings.capture.drain_seconds
            _say(f"stopping: capture drains (up to {drain_s:.0f} s), then Dagster ends")
            if not self._dagster.ended:
                self._dagster.signal(signal.SIGINT)
            self._drain(self._dagster, drain_s + _DAGSTER_ENDS_S)
        for exchange in self._exchanges:
            exchange.end_group(5.0)
        _say("stopped")

    def _drain(self, dagster: Started, within_s: float) -> None:
        from edc_pipeline.spool.owner import current_owner  # noqa: PLC0415 - heavy

        asked: set[int] = set()
        end = time.monotonic() + within_s
        while dagster.group_lives and time.monotonic() < end:
            held, owner = current_owner(self._settings.spool)
            # Only a collector of ours: one started by hand, or by another Dagster, goes on.
            if held and owner and owner.pid not in asked and dagster.has(owner.pid):
                _say(f"draining capture (process {owner.pid})")
                os.kill(owner.pid, signal.SIGTERM)
                asked.add(owner.pid)
            time.sleep(0.2)
        if dagster.group_lives:
            _say(f"Dagster did not end within {within_s:.0f} s: killing what is left of it")
        dagster.end_group(5.0)


def _say(text: str) -> None:
    click.echo(f"{click.style('edc dev', fg='cyan')}  {text}")
