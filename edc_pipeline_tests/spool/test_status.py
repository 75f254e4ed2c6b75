"""The collector's own word is said on a full disk too, and is whole for whoever reads it."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from edc_pipeline.spool.layout import STATUS
from edc_pipeline.spool.status import read_status, write_status
from edc_pipeline_tests.capture.test_below_us import mounted


class Word(msgspec.Struct):
    at: int
    problem: str = ""


def stuff(folder: Path) -> None:
    """Fill it to the last block, those too that root alone may take."""
    for size in (1 << 16, 1 << 12, 1):
        with (folder / f"hog {size}").open("wb", buffering=0) as hog, suppress(OSError):
            while True:
                hog.write(b"x" * size)


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_it_is_said_on_a_full_disk(tmp_path: Path, kind: str) -> None:
    with mounted(kind, tmp_path) as small:
        write_status(small, Word(0))
        stuff(small)
        for at in range(1, 50):
            write_status(small, Word(at, "full " * (at % 7) * 200))
            assert read_status(small) == {"at": at, "problem": "full " * (at % 7) * 200}


def test_one_that_outgrows_its_room_on_a_full_disk_leaves_the_former(tmp_path: Path) -> None:
    with mounted("tmpfs", tmp_path) as small:
        write_status(small, Word(1))
        stuff(small)
        with pytest.raises(OSError, match="No space"):
            write_status(small, Word(2, "x" * 500_000))
        assert read_status(small) == {"at": 1, "problem": ""}
        write_status(small, Word(3))
        assert read_status(small) == {"at": 3, "problem": ""}
        assert not list(small.glob("*.tmp"))


def test_it_is_a_json_file_of_its_own(tmp_path: Path) -> None:
    for at in (1, 2, 3):
        write_status(tmp_path, Word(at))
        assert json.loads((tmp_path / STATUS).read_bytes())["at"] == at
    (tmp_path / STATUS).unlink()
    write_status(tmp_path, Word(4))
    (tmp_path / STATUS).unlink()
    (tmp_path / STATUS).write_text("rubbish")
    assert read_status(tmp_path) is None
    write_status(tmp_path, Word(5))
    assert read_status(tmp_path) == {"at": 5, "problem": ""}
    assert not list(tmp_path.glob("*.tmp"))


def test_a_file_system_without_links_has_it_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuses)
    for at in (1, 2):
        write_status(tmp_path, Word(at))
        assert read_status(tmp_path) == {"at": at, "problem": ""}
    assert not list(tmp_path.glob("*.tmp"))


def test_who_has_it_open_reads_it_whole(tmp_path: Path) -> None:
    write_status(tmp_path, Word(1, "x" * 9000))
    with (tmp_path / STATUS).open("rb") as reader:
        write_status(tmp_path, Word(2))
        assert json.loads(reader.read()) == {"at": 1, "problem": "x" * 9000}
    assert read_status(tmp_path) == {"at": 2, "problem": ""}
