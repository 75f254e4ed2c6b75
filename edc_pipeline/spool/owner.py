"""Who owns a spool. One collector at a time holds the lock; the kernel lets go when it dies."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from edc_pipeline.durable_file import make_durable_folder
from edc_pipeline.spool.layout import LOCK, SUCCESSOR

# Somebody who only looks (`current_owner`) holds the lock for microseconds; wait those out.
_PATIENCE_S: Final = 0.5


class Owner(msgspec.Struct, kw_only=True):
    """What the holder of the lock says of itself."""

    collector: str
    pid: int
    started_at: int
    run_id: str = ""  # of the Dagster run that hosts it, if one does


class SpoolIsOwned(Exception):
    def __init__(self, spool: Path, owner: Owner | None) -> None:
        held = f"collector {owner.collector}, process {owner.pid}" if owner else "another process"
        where = f" in Dagster run {owner.run_id}" if owner and owner.run_id else ""
        super().__init__(
            f"the spool {spool} is owned by {held}{where}. One collector owns a spool at a time:"
            " stop that one, or give this one another spool"
        )
        self.owner = owner


class LockIsHeld(Exception):
    def __init__(self, holder: Owner | None) -> None:
        super().__init__(f"held by process {holder.pid}" if holder else "held")
        self.holder = holder


@contextmanager
def own_spool(spool: Path, owner: Owner, patience_s: float = _PATIENCE_S) -> Iterator[None]:
    """Hold the spool's lock; `SpoolIsOwned` says who has it already."""
    make_durable_folder(spool)
    with ExitStack() as held:
        try:
            held.enter_context(hold_lock(spool / LOCK, owner, patience_s))
        except LockIsHeld as by:
            raise SpoolIsOwned(spool, by.holder) from None
        yield


@contextmanager
def hold_lock(path: Path, holder: Owner, patience_s: float = _PATIENCE_S) -> Iterator[None]:
    """Hold a lock that the kernel lets go of when we die, and say in its file who we are."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if not _lock_within(descriptor, patience_s):
            raise LockIsHeld(_read(descriptor))
        # Written over, so that the file keeps its room: a disk that is full keeps nobody out.
        said = msgspec.json.encode(holder).ljust(os.fstat(descriptor).st_size)
        os.pwrite(descriptor, said, 0)
        yield
        with suppress(OSError):  # the lock goes with the descriptor, whatever its file says
            os.pwrite(descriptor, b" " * len(said), 0)
    finally:
        _let_go(descriptor)


def successor(spool: Path) -> Owner | None:
    """Who hears the feeds already and asks the owner to let go."""
    return current_owner(spool, SUCCESSOR)[1]


def current_owner(spool: Path, lock: str = LOCK) -> tuple[bool, Owner | None]:
    """Whether the lock is held, and what its holder says of itself. Disturbs nobody."""
    try:
        descriptor = os.open(spool / lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False, None
    try:
        try:
            # A shared lock, given back at once: two who look do not see each other as owners.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True, _read(descriptor)
        return False, None
    finally:
        _let_go(descriptor)


def _let_go(descriptor: int) -> None:
    with suppress(OSError):  # Linux closes it and the lock is free, whatever the disk says
        os.close(descriptor)


def _lock_within(descriptor: int, patience_s: float) -> bool:
    end = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.02)


def _read(descriptor: int) -> Owner | None:
    try:
        return msgspec.json.decode(os.pread(descriptor, 65_536, 0), type=Owner)
    except msgspec.MsgspecError:
        return None
