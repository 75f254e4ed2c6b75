"""What somebody else leaves in the folders of the journal and the raw archive is let be."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from edc_pipeline.capture.journal.archive import read_archive
from edc_pipeline.capture.recovery import recover
from edc_pipeline.replay.recorded_frames import spans_of
from edc_pipeline.spool.layout import journal_folder, raw_folder, segment_files
from edc_pipeline.spool.ledger import Ledger
from edc_pipeline_tests.capture.test_bounded_memory import rubbish
from edc_pipeline_tests.capture.test_segments_read import (
    DAY,
    NOON,
    RULES,
    SOURCE,
    write_journal,
)
from edc_pipeline_tests.cli.calling import edc


def test_a_copy_of_a_segment_is_no_segment(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_journal(tmp_path, [[rubbish(n)] for n in range(3)])
    folder = journal_folder(tmp_path, "c")
    (segment,) = segment_files(folder)
    copy = folder / f"{segment.stem}.bak.wal"
    copy.write_bytes(segment.read_bytes())
    (folder / "notes.txt").write_text("of somebody else")
    listed = edc("journal", "list", "--spool", tmp_path, "--json", cwd=tmp_path)
    assert (listed.code, len(listed.out.splitlines())) == (0, 1)
    assert "1 segments, 3 frames" in edc("journal", "verify", "--spool", tmp_path, cwd=tmp_path).out
    with caplog.at_level(logging.WARNING):
        (done,) = recover(tmp_path, RULES, lambda: NOON)
    (told,) = [r.getMessage() for r in caplog.records if "no segments of ours" in r.getMessage()]
    assert f"{copy.name}, notes.txt in {folder}" in told
    assert done.frames == 3
    assert sorted(p.name for p in folder.iterdir()) == [copy.name, "notes.txt"]
    assert Ledger(tmp_path).frames()[SOURCE].quarantined == 3
    heard = Ledger(tmp_path).last_heard(NOON + 1_000)
    # They stay, and their collector is not brought to its end once more.
    assert recover(tmp_path, RULES, lambda: NOON + 1_000) == []
    assert Ledger(tmp_path).last_heard(NOON + 1_000) == heard
    assert copy.exists()
    listed = edc("journal", "list", "--spool", tmp_path, "--json", cwd=tmp_path)
    assert (listed.code, listed.out) == (0, "")


def test_a_copy_in_the_raw_archive_is_no_segment(tmp_path: Path) -> None:
    write_journal(tmp_path, [[rubbish(n)] for n in range(3)])
    recover(tmp_path, RULES, lambda: NOON)
    (read,) = read_archive(tmp_path)
    for name in (f"{read.path.stem}.bak.wal", "copy.wal"):
        (raw_folder(tmp_path, DAY) / name).write_bytes(read.path.read_bytes())
    assert [kept.path for kept in read_archive(tmp_path)] == [read.path]
    assert [frame.frame for span in spans_of(tmp_path, DAY) for _, frame in span.frames()] == [
        0,
        1,
        2,
    ]
