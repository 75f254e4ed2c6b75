"""The file that HDF5 writes through, so that nothing the disk refuses goes unheard.

On a full disk HDF5 1.14.3, writing by itself, raised nothing, left a torn file, and crashed at the
end of the process. Here Python writes every byte: the first refusal is kept, HDF5 is told that all
is well so that it can close in peace, and the work fails with the system's own words.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


class Disk:
    """A file for h5py's `fileobj` driver. After a refusal nothing more is written."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._at = 0
        self.refusal: OSError | None = None

    def check(self) -> None:
        """Raise what the disk refused, if it did."""
        if self.refusal is not None:
            raise self.refusal

    def close(self) -> None:
        os.close(self._descriptor)

    # What h5py calls

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            offset += os.fstat(self._descriptor).st_size
        elif whence == os.SEEK_CUR:
            offset += self._at
        self._at = offset
        return offset

    def tell(self) -> int:
        return self._at

    def read(self, size: int) -> bytes:
        """h5py takes a thing for a file when it has this, and calls `readinto`."""
        found = os.pread(self._descriptor, size, self._at)
        self._at += len(found)
        return found

    def readinto(self, buffer: Any) -> int:
        read = os.preadv(self._descriptor, [buffer], self._at)
        self._at += read
        return read

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while len(left) and self.refusal is None:
                written = os.pwrite(self._descriptor, left, self._at + size - len(left))
                left = left[written:]
        except OSError as error:
            self.refusal = error
        self._at += size
        return size

    def truncate(self, size: int | None = None) -> int:
        size = self._at if size is None else size
        try:
            os.ftruncate(self._descriptor, size)
        except OSError as error:
            self.refusal = self.refusal or error
        return size

    def flush(self) -> None:
        """Nothing waits: each write goes to the system at once."""
