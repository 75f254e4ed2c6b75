"""Rows on the way over the disk: dealt out over numbered files, and taken back one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from edc_pipeline.consolidation.rows import Array, Part


class Heaps:
    """Their files are closed by `open_files`, and removed with the folder by whoever made it."""

    def __init__(self, folder: Path, open_files: ExitStack) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._open_files = open_files
        self._writers: dict[tuple[int, bool], Any] = {}

    def deal(self, part: Part, heap: Array) -> None:
        if not part.rows:
            return
        for number in np.unique(heap).tolist():
            self._write(number, part.where(heap == number))

    def _write(self, number: int, part: Part) -> None:
        columns = dict(part.narrowed().arrays)
        for name, word in part.constants.items():
            columns[name] = pa.DictionaryArray.from_arrays(
                pa.array(np.zeros(part.rows, np.int32)), pa.array([word], pa.string())
            )
        batch = pa.record_batch({name: columns[name] for name in sorted(columns)})
        key = (number, part.settled)
        if key not in self._writers:
            sink = self._open_files.enter_context(pa.OSFile(str(self._path(key)), "wb"))
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self._writers[key] = pa.ipc.new_stream(sink, batch.schema, options=options), sink
        self._writers[key][0].write_batch(batch)

    def numbers(self) -> list[int]:
        return sorted({number for number, _ in self._writers})

    def take(self, number: int) -> list[Part]:
        """What was dealt to a number; it is dealt to no more, and gone."""
        found = list(self.parts(number))
        self.drop(number)
        return found

    def parts(self, number: int) -> Iterator[Part]:
        """One after the other; it is dealt to no more."""
        for settled in (False, True):
            key = (number, settled)
            if key not in self._writers:
                continue
            self._close(key)
            with pa.OSFile(str(self._path(key)), "rb") as file, pa.ipc.open_stream(file) as stream:
                for b in stream:
                    columns = dict(zip(b.schema.names, b.columns, strict=True))
                    yield Part(b.num_rows, columns, settled=settled)

    def drop(self, number: int) -> None:
        for key in ((number, False), (number, True)):
            if key in self._writers:
                self._close(key)
                del self._writers[key]
                self._path(key).unlink()

    def _close(self, key: tuple[int, bool]) -> None:
        writer, sink = self._writers[key]
        if not sink.closed:
            writer.close()
            sink.close()

    def _path(self, key: tuple[int, bool]) -> Path:
        number, settled = key
        return self._folder / f"{number}{'-settled' if settled else ''}.arrows"
