"""The collector's own word on how it is, a small file that it replaces every few seconds.

Not durable and not a record: the ledger is. It is what `edc status` and the Dagster sensor read
without asking the process.

It has to be said on a full disk above all. So its room is taken beforehand: two files of some 16
KiB lie beside it, and the one that is not shown is written over in place, padded with blanks, and
then shown under the name by a link. A reader sees the former word or the new one.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from edc_pipeline.durable_file import named, temporary_beside, write_whole
from edc_pipeline.spool.layout import STATUS, STATUS_ROOM

_ROOM: Final = 16 << 10  # for a dozen feeds; more is taken while there is more


def write_status(spool: Path, report: msgspec.Struct) -> None:
    data, path = msgspec.json.encode(report), spool / STATUS
    try:
        _show(spool, data, path)
    except OSError:
        # A file system without links, or a disk that was full from the first: perhaps so.
        write_whole(path, data)


def read_status(spool: Path) -> dict[str, Any] | None:
    """What the last collector wrote last; None where there was none or it can't be read."""
    for _ in range(2):  # a reader that was held up for seconds may have met the next word but one
        try:
            status: dict[str, Any] = msgspec.json.decode((spool / STATUS).read_bytes(), type=dict)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError):
            continue
        return status
    return None


def _show(spool: Path, data: bytes, path: Path) -> None:
    rooms = [spool / name for name in STATUS_ROOM]
    for room in rooms:
        if not room.exists():
            _write_over(room, b"{}")
    room = next((r for r in rooms if not (path.exists() and r.samefile(path))), rooms[0])
    _write_over(room, data)
    link = temporary_beside(path)
    with named(path):
        try:
            with suppress(FileNotFoundError):
                link.unlink()
            link.hardlink_to(room)
            link.replace(path)
        except BaseException:
            with suppress(OSError):  # the error that led here says more
                link.unlink()
            raise


def _write_over(room: Path, data: bytes) -> None:
    with named(room):
        descriptor = os.open(room, os.O_WRONLY | os.O_CREAT, 0o666)
        try:
            there = os.fstat(descriptor).st_size
            needed = there if len(data) <= there else max(_ROOM, 2 * len(data))
            rest, at = memoryview(data.ljust(needed)), 0
            while at < needed:
                at += os.write(descriptor, rest[at:])
        finally:
            os.close(descriptor)
