"""Records kept for later, of which there may be more than memory is meant to hold."""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from types import TracebackType
from typing import IO, Any, Final, Self

import numpy as np

from edc_pipeline.consolidation.rows import Array

_PIECE_ROWS: Final = 1 << 14  # given back at once


class RecordHeaps:
    """Dealt out over numbered heaps, and given back heap by heap, each in the order of dealing.

    What goes beyond `held_rows` lies in a file without a name, which goes with the process however
    that ends. Where the disk refuses it, it stays in memory: a full disk is no fault of the rows.
    """

    def __init__(self, dtype: np.dtype[Any], held_rows: int) -> None:
        self._dtype = dtype
        self._most = held_rows
        self._waiting: list[tuple[Array, Array]] = []
        self._waiting_rows = 0
        self._file: IO[bytes] | None = None
        self._end = 0
        self._lie: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)  # (where, rows)
        self._refused = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def on_disk(self) -> bool:
        return bool(self._lie)

    def deal(self, records: Array, heap: Array) -> None:
        """`heap` says of each record which heap it comes on."""
        if not len(records):
            return
        self._waiting.append((records, heap))
        self._waiting_rows += len(records)
        if self._waiting_rows > self._most and not self._refused:
            self._put_away()

    def rows(self, heap: int) -> int:
        waiting = sum(int((of == heap).sum()) for _, of in self._waiting)
        return waiting + sum(rows for _, rows in self._lie.get(heap, ()))

    def take(self, heap: int) -> Array:
        found = np.empty(self.rows(heap), self._dtype)
        at = 0
        for piece in self.pieces(heap):
            found[at : at + len(piece)] = piece
            at += len(piece)
        return found

    def everything(self) -> Array:
        """In the order of dealing, while none of it is `on_disk`."""
        return np.concatenate([*(r for r, _ in self._waiting), np.empty(0, self._dtype)])

    def pieces(self, heap: int) -> Iterator[Array]:
        """The heap, a little of it at a time."""
        for where, rows in self._lie.get(heap, ()):
            for first in range(0, rows, _PIECE_ROWS):
                piece = np.empty(min(_PIECE_ROWS, rows - first), self._dtype)
                self._read(piece, where + first * self._dtype.itemsize)
                yield piece
        for records, of in self._waiting:
            here = records[of == heap]
            for first in range(0, len(here), _PIECE_ROWS):
                yield here[first : first + _PIECE_ROWS]

    def _put_away(self) -> None:
        heap = np.concatenate([of for _, of in self._waiting])
        records = np.concatenate([r for r, _ in self._waiting])
        self._waiting = [(records, heap)]
        order = np.argsort(heap, kind="stable")
        try:
            self._write(
                records[order[at : at + _PIECE_ROWS]] for at in range(0, len(order), _PIECE_ROWS)
            )
        except OSError:
            self._refused = True
            return
        where = self._end
        numbers, counts = np.unique(heap, return_counts=True)
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            self._lie[number].append((where, count))
            where += count * self._dtype.itemsize
        self._end = where
        self._waiting, self._waiting_rows = [], 0

    def _write(self, pieces: Iterator[Array]) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="edc-", buffering=0)  # noqa: SIM115 - closed in __exit__
        at = self._end
        for piece in pieces:
            left = piece.view(np.uint8).data
            while left:
                written = os.pwrite(self._file.fileno(), left, at)
                left, at = left[written:], at + written

    def _read(self, into: Array, at: int) -> None:
        assert self._file is not None
        left = into.view(np.uint8).data
        while left:
            read = os.preadv(self._file.fileno(), [left], at)
            if not read:
                raise OSError("the temporary file is shorter than what was written to it")
            left, at = left[read:], at + read
