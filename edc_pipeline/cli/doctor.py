"""`edc doctor`: what is wrong with a set-up, and how to mend it."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import re
import shutil
import socket
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

import click

from edc_pipeline.cli import options

if TYPE_CHECKING:
    from edc_pipeline.settings import Settings

_GB: Final = 1 << 30
_DISK_SHORT_GB: Final = 1.0  # a busy day of a firehose feed is about this much in spool and file
_DISK_LOW_GB: Final = 10.0
_CONNECT_TIMEOUT_S: Final = 3.0
_FILES: Final = 1024  # sockets, parquet and HDF5 files, Dagster's own


@dataclass(frozen=True, slots=True)
class Finding:
    what: str
    state: Literal["ok", "warning", "wrong"]
    said: str
    remedy: str = ""


@click.command(epilog="Example: edc doctor --config feeds.yaml; exit 1 if something is wrong.")
@options.config
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    default=3000,
    show_default=True,
    help="Where the Dagster UI is to listen.",
)
@click.option("--offline", is_flag=True, help="Do not try to reach the vendors.")
@options.as_json
def doctor(config: Path | None, port: int, offline: bool, as_json: bool) -> int:
    """Look at versions, settings, keys, disk, clock, ports and spool; tell the remedy."""
    from edc_pipeline.settings import SettingsMistakes, load  # noqa: PLC0415

    if config is not None and not config.exists():
        raise options.WrongCall(f"--config {config}: there is no such file")
    python = Finding("python", "ok", ".".join(map(str, sys.version_info[:3])))
    findings = [python, *_packages(), *_clock(), *_limits()]
    try:
        settings = load(config)
    except SettingsMistakes as mistakes:
        findings += [
            Finding("settings", "wrong", mistake, "mend that line or variable")
            for mistake in mistakes.mistakes
        ]
    else:
        findings += _settings(settings)
        findings += _probed("data", _disk(settings))
        findings += _probed("spool", _spool(settings))
        findings += _probed("address", _addresses(settings, offline=offline))
        findings += _port(port)
        findings += _listeners(settings)
    if as_json:
        import msgspec  # noqa: PLC0415

        for finding in findings:
            click.echo(msgspec.json.encode(asdict(finding)))
    else:
        _show(findings)
    return 1 if any(f.state == "wrong" for f in findings) else 0


def _probed(what: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """A doctor does not fall ill of what he looks at."""
    try:
        yield from findings
    except (OSError, ValueError, sqlite3.DatabaseError) as error:
        yield Finding(what, "wrong", str(error), "mend or move what is named there")


def _show(findings: list[Finding]) -> None:
    marks = {
        "ok": ("ok     ", "green"),
        "warning": ("warning", "yellow"),
        "wrong": ("wrong  ", "red"),
    }
    for finding in findings:
        mark, colour = marks[finding.state]
        click.echo(f"{click.style(mark, fg=colour)} {finding.what}: {finding.said}")
        if finding.remedy:
            click.echo(f"        → {finding.remedy}")


def _packages() -> Iterator[Finding]:
    """Each package that we ask for against what is installed."""
    from packaging.requirements import Requirement  # noqa: PLC0415

    try:
        asked = importlib.metadata.requires("edc_pipeline") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding("packages", "warning", "edc_pipeline is not installed", "make install")
        return
    wrong = []
    for line in asked:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{requirement.name} is missing")
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            wrong.append(f"{requirement.name} is {found}, {requirement.specifier} is needed")
    if wrong:
        yield Finding("packages", "wrong", "; ".join(wrong), "make install")
    else:
        yield Finding("packages", "ok", "all there, in versions that fit")


def _clock() -> Iterator[Finding]:
    """Receive times are evidence: a clock that runs free makes latencies and gaps untrue."""
    now = datetime.now(UTC)
    if now.year < 2026:
        yield Finding("clock", "wrong", f"it says {now:%Y-%m-%d}", "set the machine's clock")
        return
    error_us = _kernel_clock_error_us()
    if error_us is None:
        yield Finding(
            "clock",
            "warning",
            f"{now:%Y-%m-%d %H:%M:%S} UTC, and the kernel does not know it to be synchronised",
            "run chrony or systemd-timesyncd",
        )
    else:
        yield Finding("clock", "ok", f"synchronised, off by {error_us / 1000:.1f} ms at the most")


class _Timex(ctypes.Structure):
    """The head of Linux's `struct timex`; the rest is padding that the call may write to."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 512),
    )


_UNSYNCHRONISED: Final = 0x40


def _kernel_clock_error_us() -> int | None:
    """The kernel's bound on its error, or None where it has none (or is no Linux)."""
    try:
        timex = _Timex()
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return None
    if state < 0 or timex.status & _UNSYNCHRONISED:
        return None
    return int(timex.maxerror)


def _limits() -> Iterator[Finding]:
    import resource  # noqa: PLC0415

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < _FILES:
        yield Finding("open files", "warning", f"at most {soft}", f"ulimit -n {min(hard, 65_536)}")
    else:
        yield Finding("open files", "ok", f"at most {soft:,}")


def _settings(settings: Settings) -> Iterator[Finding]:
    feeds = settings.enabled_feeds
    if not feeds:
        yield Finding(
            "settings", "wrong", "no feeds", "cp feeds.example.yaml feeds.yaml, and edit it"
        )
        return
    symbols = sum(len(feed.symbols) for feed in feeds.values())
    yield Finding("settings", "ok", f"{len(feeds)} feeds ({', '.join(feeds)}), {symbols} symbols")
    yield from _polling(settings)
    for line in settings.missing_secrets():
        said, _, remedy = line.partition(": ")
        yield Finding("key", "wrong", said, remedy)
    for variable in dict.fromkeys(feed.secret_variable for feed in feeds.values()):
        if variable and os.environ.get(variable):
            yield Finding("key", "ok", f"{variable} is set")


def _polling(settings: Settings) -> Iterator[Finding]:
    """What is asked of each key, beside what it allows. Too much was told already."""
    from edc_pipeline.polling_plan import budgets_of  # noqa: PLC0415

    plans = settings.polling_plans
    for key in dict.fromkeys(plan.key for plan in plans):
        of_key = [plan for plan in plans if plan.key == key]
        asked = "; ".join(f"{plan.name}: {plan.told()}" for plan in of_key)
        shares = [
            f"{sum(plan.in_a(budget.per) for plan in of_key):,.3g} of {budget.requests:,}"
            f" a {budget.per}"
            for budget in budgets_of(of_key)
        ]
        said = f"{key}: {asked}" + (f" = {', '.join(shares)}" if shares else "")
        yield Finding("polling", "ok", said)


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir.absolute()
    there = next(p for p in (folder, *folder.parents) if p.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        yield Finding(
            "data",
            "wrong",
            f"can't write to {there}: {error.strerror}",
            "chown it, or set data_dir",
        )
        return
    free_gb = shutil.disk_usage(there).free / _GB
    said = f"{free_gb:,.1f} GiB free for {folder}"
    remedy = "free some, or set data_dir to a larger disk"
    if free_gb < _DISK_SHORT_GB:
        yield Finding("disk", "wrong", said, remedy)
    elif free_gb < _DISK_LOW_GB:
        yield Finding("disk", "warning", said, remedy)
    else:
        yield Finding("disk", "ok", said)


def _spool(settings: Settings) -> Iterator[Finding]:
    from edc_pipeline.spool.ledger import Ledger  # noqa: PLC0415
    from edc_pipeline.spool.owner import current_owner  # noqa: PLC0415

    held, owner = current_owner(settings.spool)
    Ledger(settings.spool).last_flush()  # raises where it is damaged
    if settings.spool.exists() and not os.access(settings.spool, os.W_OK):
        said = f"can't write to {settings.spool}"
        yield Finding("spool", "wrong", said, "chown it, or set data_dir")
    if not held:
        yield Finding("spool", "ok", f"{settings.spool} is free")
        return
    who = f"process {owner.pid}" if owner else "another process"
    where = f" in Dagster run {owner.run_id}" if owner and owner.run_id else ""
    yield Finding("spool", "ok", f"a collector is at work: {who}{where}")


def _addresses(settings: Settings, *, offline: bool) -> Iterator[Finding]:
    addresses = {}
    for feed in settings.enabled_feeds.values():
        if not feed.address:  # it is the vendor who calls
            continue
        parts = urlsplit(feed.address)
        port = parts.port or (443 if parts.scheme in {"wss", "https"} else 80)
        addresses[parts.hostname or "", port] = feed
    for (host, port), feed in addresses.items():
        simulated = feed.is_simulated
        if offline and not simulated:
            continue
        try:
            socket.create_connection((host, port), _CONNECT_TIMEOUT_S).close()
        except OSError as error:
            why = re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__
            said = f"{host}:{port} does not answer: {why}"
            if simulated:
                option = "--rest-port" if feed.spec.way_in == "polling" else "--port"
                whose = "" if feed.vendor == "tiingo" else f"--vendor {feed.vendor} "
                remedy = f"edc simulate {whose}{option} {port}"
                yield Finding("address", "warning", said, remedy)
            else:
                yield Finding("address", "wrong", said, "look at network and firewall")
        else:
            yield Finding("address", "ok", f"{host}:{port} answers")


def _listeners(settings: Settings) -> Iterator[Finding]:
    """The ports that capture itself listens on; a collector at work has them already."""
    from edc_pipeline.spool.owner import current_owner  # noqa: PLC0415

    wanted = []
    if port := settings.capture.metrics_port:
        wanted.append(("the metrics", "capture.metrics_port", settings.capture.metrics_host, port))
    if any(feed.spec.way_in == "webhook" for feed in settings.enabled_feeds.values()):
        wanted.append(("the webhook", "webhook.port", settings.webhook.host, settings.webhook.port))
    at_work = bool(wanted) and current_owner(settings.spool)[0]
    for what, setting, host, port in wanted:
        why = _why_not(host, port)
        if why is None:
            yield Finding("port", "ok", f"{host}:{port} is free for {what}")
        elif at_work:
            yield Finding("port", "ok", f"{host}:{port} for {what}: a collector is at work")
        else:
            said = f"{host}:{port} for {what}: {why}"
            yield Finding("port", "wrong", said, f"stop what listens there, or set {setting}")


def _why_not(host: str, port: int) -> str | None:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        return (error.strerror or str(error)).partition(" (")[0]
    return None


def _port(port: int) -> Iterator[Finding]:
    with socket.socket() as trial:
        # As the server itself binds: a port in TIME_WAIT is free.
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError as error:
            remedy = f"if that is not your own Dagster: edc dev --port {port + 1}"
            yield Finding("port", "warning", f"{port} for the UI: {error.strerror}", remedy)
        else:
            yield Finding("port", "ok", f"{port} is free for the UI")
