"""Processes that `edc dev` starts: each in a group of its own, told to end when `edc dev` dies."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

import click

_PR_SET_PDEATHSIG: Final = 1


class HomeIsTaken(Exception):
    """Another `edc dev` holds the lock."""


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Held for as long as this process lives, however it ends: by it the capture run sees whether
    the `edc dev` that it belongs to is still there."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HomeIsTaken from None
        yield


def port_is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a port that is only waiting out its last connections is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def is_listening(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1.0).close()
    except OSError:
        return False
    return True


def start(
    name: str,
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    readable: Callable[[str], str | None] = lambda line: line,
) -> Started:
    """Start it in a session of its own, so that Ctrl-C in the terminal reaches `edc dev` alone and
    the order of stopping is ours. Call in the main thread: see `_end_with_parent`."""
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and modules
        command,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        preexec_fn=_end_with_parent if _LIBC else None,  # noqa: PLW1509 - one system call
    )
    assert process.stdout is not None
    reader = threading.Thread(
        target=_pass_on, args=(name, process.stdout, readable), name=f"log of {name}", daemon=True
    )
    reader.start()
    return Started(process, reader)


class Started:
    """A process that we started, and all that it started in turn: its process group."""

    def __init__(self, process: subprocess.Popen[str], reader: threading.Thread) -> None:
        self._process = process
        self._reader = reader

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    @property
    def group_lives(self) -> bool:
        self._process.poll()  # reap it: a zombie would count as a member
        try:
            os.killpg(self._process.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def has(self, pid: int) -> bool:
        """Whether that process is one of the group."""
        try:
            return os.getpgid(pid) == self._process.pid
        except ProcessLookupError:
            return False

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end_group(self, patience_s: float) -> None:
        """SIGTERM to every member, then SIGKILL to those that are left. The group's number is the
        pid of a child that we started, and can't be another's while a member lives."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not self.group_lives:
                break
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            end = time.monotonic() + patience_s
            while self.group_lives and time.monotonic() < end:
                time.sleep(0.05)
        self._reader.join(1.0)


def _pass_on(name: str, lines: IO[str], readable: Callable[[str], str | None]) -> None:
    prefix = click.style(f"{name:<8}", fg="yellow")
    for line in lines:
        # When nobody reads us any more, go on reading: a full pipe would stop the process.
        with suppress(OSError, ValueError):
            if (shown := readable(line.rstrip("\n"))) is not None:
                click.echo(f"{prefix} {shown}")


def _libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if sys.platform == "linux" else None


_LIBC: Final = _libc()


def _end_with_parent() -> None:
    """Linux: SIGINT when `edc dev` dies without a word (kill -9), upon which `dagster dev` and the
    exchange end in order. Elsewhere the capture run still drains, by the lock."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
