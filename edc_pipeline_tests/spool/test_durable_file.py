"""A file or a folder is durable and there, or it is not there."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from edc_pipeline.durable_file import make_durable_folder, write_durably


class Refusing:
    """`os.fsync`, refused so many times; counts what came through."""

    def __init__(self, times: int) -> None:
        self.left, self.synced = times, 0
        self._fsync = os.fsync

    def __call__(self, descriptor: int) -> None:
        if self.left:
            self.left -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self.synced += 1
        self._fsync(descriptor)


def test_a_folder_whose_name_did_not_become_durable_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the next try finds it, and takes its name to be durable."""
    disk = Refusing(1)
    monkeypatch.setattr(os, "fsync", disk)
    with pytest.raises(OSError, match="Input/output"):
        make_durable_folder(tmp_path / "a" / "b")
    make_durable_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    assert disk.synced == 2


def test_a_refusal_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", Refusing(1))
    with pytest.raises(OSError, match="Input/output") as refused:
        write_durably(tmp_path / "x", Path.touch)
    assert refused.value.filename == str(tmp_path / "x")
    assert list(tmp_path.iterdir()) == []
