"""One way to put a file in its place: whole and durable, or not there at all."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

# Leading dot: hidden from every reader that opens a folder of parquet or HDF5 files.
TEMPORARY_SUFFIX: Final = ".tmp"


def temporary_beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")


def write_durably(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, fsync it, rename it, fsync the folder.

    A reader sees the former file or the new one, never a part; after a power cut as well.
    """
    with named(path):
        make_durable_folder(path.parent)
        temporary = temporary_beside(path)
        try:
            write(temporary)
            fsync_path(temporary)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):  # the error that led here says more
                temporary.unlink()
            raise
        fsync_path(path.parent)


def write_whole(path: Path, data: bytes) -> None:
    """The same without an fsync, for what is no record: after a power cut it may be gone."""
    with named(path):
        temporary = temporary_beside(path)
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):  # the error that led here says more
                temporary.unlink()
            raise


@contextmanager
def named(path: Path) -> Iterator[None]:
    """A refused write or fsync does not say of which file."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def make_durable_folder(folder: Path) -> None:
    """`mkdir -p`, with each new name fsynced into its parent."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        try:
            fsync_path(new.parent)
        except OSError:
            # The next try would find a folder, and take its name to be durable.
            with suppress(OSError):  # somebody else has put something into it
                new.rmdir()
            raise


def fsync_path(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        with suppress(OSError):  # nothing was written through it
            os.close(descriptor)


def is_full(error: BaseException) -> bool:
    """Whether it is for want of room that the disk refuses."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


class Seen(NamedTuple):
    """Which file lay at a path: one that took its name since, or a change in place, shows."""

    device: int
    inode: int
    bytes: int
    changed_ns: int


def seen(path: Path | int) -> Seen:
    """To be asked for before the file is looked at, so that what comes in between shows too. A
    number is a descriptor."""
    found = os.stat(path)
    return Seen(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def is_still(path: Path, was: Seen) -> bool:
    try:
        return seen(path) == was
    except FileNotFoundError:
        return False


def unlink_seen(path: Path, was: Seen) -> bool:
    """Remove the file that was seen, and no other; False where that does not lie there any more.
    The caller fsyncs the folder."""
    if not is_still(path, was):
        return False
    path.unlink(missing_ok=True)
    return True
