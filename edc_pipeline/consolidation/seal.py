"""A checksum of every byte, after the end of the HDF5 file proper, where HDF5 does not look.

A flipped bit in HDF5's own structures is not only a wrong answer: it crashed the process in one
of a few dozen flips (a segmentation fault in PyTables 3.10.2), which no `except` catches. So
whoever wants to know whether a file is sound looks at its seal before HDF5 looks at the file. It
also tells in a fifth of a second for 10M rows that a file is still the one that was written.

The last 88 bytes are a line: `\\nedc sha256 <64 hex digits> <size>\\n`, over all bytes before it;
the size in 10 hexadecimal digits. `head -c -88 FILE | sha256sum` gives the same. Among the bytes
before it is a checksum of each piece, for those who read a part of the file (`checksums`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from edc_pipeline.consolidation.checksums import (
    SEAL_BYTES,
    Checksums,
    Piece,
    as_stored,
    checksum,
    pieces_of,
)
from edc_pipeline.consolidation.errors import DamagedFile

_SEAL: Final = re.compile(rb"\nedc sha256 ([0-9a-f]{64}) ([0-9a-f]{10})\n")
_READ_BYTES: Final = 1 << 20


def seal(path: Path, chunks: Iterable[tuple[int, int]] | None = None) -> None:
    """Of each chunk where it lies, and its bytes; None: no checksums of pieces come before."""
    digest, size = hashlib.sha256(), path.stat().st_size
    sums: dict[Piece, int] = {}
    with path.open("r+b") as file:
        for piece in pieces_of(size, chunks or ()):
            content = file.read(piece.bytes)
            digest.update(content)
            if chunks is not None:
                sums[piece] = checksum(content)
        if chunks is not None:
            stored = as_stored(sums)
            file.write(stored)
            digest.update(stored)
            size += len(stored)
        line = f"\nedc sha256 {digest.hexdigest()} {size:010x}\n".encode("ascii")
        assert len(line) == SEAL_BYTES
        file.write(line)


def hdf5_bytes(path: Path) -> int:
    """How many bytes of a sealed file are HDF5's."""
    with path.open("rb") as file:
        checksums = Checksums.of(file.fileno(), path)
    return path.stat().st_size - SEAL_BYTES - (checksums.bytes if checksums is not None else 0)


def broken_seal(path: Path, *, thoroughly: bool = True) -> str | None:
    """Why a file is not as it was written, or None. Not thoroughly: only whether it is whole."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(max(0, size - SEAL_BYTES))
            match = _SEAL.fullmatch(file.read())
        if match is None or int(match[2], 16) != size - SEAL_BYTES:
            return "no seal at its end: it is torn, changed since, or no daily file of edc_pipeline"
        if thoroughly and _digest(path, size - SEAL_BYTES) != match[1].decode():
            return "its bytes are not those that were written: it is damaged"
    except FileNotFoundError:
        return "there is no such file"
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    return None


def wrong_checksums(path: Path) -> str | None:
    """Why the checksums of a file's pieces are not theirs, or None."""
    try:
        with path.open("rb") as file:
            checksums = Checksums.of(file.fileno(), path)
            if checksums is not None:
                checksums.check(chunks=True)
    except DamagedFile as error:
        return f"its checksums are not those of its bytes: {error}"
    return None


def _digest(path: Path, size: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while size > 0 and (part := file.read(min(size, _READ_BYTES))):
            digest.update(part)
            size -= len(part)
    return digest.hexdigest()
