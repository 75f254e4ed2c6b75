"""Putting a new daily file in the place of the former one: one at a time, whole, and undoable."""

from __future__ import annotations

import fcntl
import filecmp
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from edc_pipeline.consolidation.errors import CannotConsolidate
from edc_pipeline.consolidation.names import lock_file, next_version, version_files
from edc_pipeline.durable_file import (
    TEMPORARY_SUFFIX,
    fsync_path,
    make_durable_folder,
    write_durably,
)

_LOOK_EVERY_S: Final = 0.05
SCRATCH_SUFFIX: Final = ".scratch"  # a folder of what does not fit into memory


@contextmanager
def alone_with(path: Path, patience_s: float) -> Iterator[None]:
    """Hold a daily file's lock: a second consolidation of it waits, then says who is at it.

    The kernel gives the lock back when its holder dies; the empty lock file stays, since removing
    it would let two processes hold locks on two files of one name.
    """
    make_durable_folder(path.parent)
    descriptor = os.open(lock_file(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        end = time.monotonic() + patience_s
        while not _locked(descriptor):
            if time.monotonic() >= end:
                holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
                raise CannotConsolidate(
                    f"{path} is being consolidated by process {holder or 'unknown'} since before"
                    f" {patience_s:.0f} s: wait for it or stop it"
                )
            time.sleep(_LOOK_EVERY_S)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        _clear_up(path)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _clear_up(path: Path) -> None:
    """Whoever holds the lock is the only one who writes, so whatever is half done is a leftover."""
    for leftover in path.parent.glob(f".{path.name}.*{TEMPORARY_SUFFIX}"):
        with suppress(FileNotFoundError):
            leftover.unlink()
    for folder in path.parent.glob(f".{path.name}.*{SCRATCH_SUFFIX}"):
        shutil.rmtree(folder, ignore_errors=True)
    _forget_version_of_present(path)


def _forget_version_of_present(path: Path) -> None:
    """An attempt that ended between naming the version and the replacement superseded nothing."""
    kept = version_files(path)
    if not kept or not path.exists():
        return
    if kept[-1].samefile(path) or filecmp.cmp(kept[-1], path, shallow=False):
        kept[-1].unlink()


def replace(
    path: Path, write: Callable[[Path], None], *, versions: int, keep: Callable[[], bool]
) -> None:
    """Put what `write` makes in the place of `path`; if `keep`, the former stays as a version.

    The version is a second name of the former file, given before the new one takes its place: at
    every instant `path` is one or the other, and whoever has the former open reads on.
    """

    def write_and_keep(temporary: Path) -> None:
        write(temporary)
        if versions > 0 and keep():
            _keep_version(path)

    write_durably(path, write_and_keep)
    prune_versions(path, versions)


def prune_versions(path: Path, versions: int) -> None:
    kept = version_files(path)
    for old in kept[: max(0, len(kept) - versions)]:
        old.unlink(missing_ok=True)


def _keep_version(path: Path) -> None:
    if not path.exists():
        return
    _forget_version_of_present(path)  # of an attempt under this very lock that the disk refused
    version = next_version(path)
    make_durable_folder(version.parent)
    try:
        version.hardlink_to(path)
    except OSError:  # a file system without hard links
        write_durably(version, lambda temporary: _copy(path, temporary))
    fsync_path(version.parent)


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
