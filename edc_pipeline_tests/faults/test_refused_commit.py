"""A disk that takes a commit's bytes, and neither syncs them nor cuts them off again; then the
collector is killed. The next one finds these frames in two segments: each is there once."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from edc_pipeline.capture.journal.reader import read_segment
from edc_pipeline.replay.recorded_frames import days_recorded, spans_of
from edc_pipeline.spool.layout import journal_collectors, journal_folder, segment_files
from edc_pipeline_tests.crash.account import Account, account_for
from edc_pipeline_tests.crash.campaign import exchange, settings_of
from edc_pipeline_tests.faults.capturing import Capturing, right
from edc_pipeline_tests.faults.shim import Fault, Faults

RATE = 400
REFUSALS = [Fault("EIO", (call,), "/_journal/") for call in ("sync", "truncate")]


def test_frames_of_a_refused_commit_are_recovered_once(tmp_path: Path, faults: Faults) -> None:
    truth, account = tmp_path / "truth.jsonl", Account()
    with exchange(truth, 5, RATE) as port:
        settings = settings_of(tmp_path, port)
        # Longer than the life: nothing is flushed, so nothing is archived.
        waits = settings.capture.model_copy(update={"flush_seconds": 300.0})
        with Capturing(
            settings.model_copy(update={"capture": waits}), tmp_path, 1, faults
        ) as killed:
            killed.until(lambda: killed.status.get("commits"), "it began")
            with faults.inject(*REFUSALS) as [_, truncate]:
                killed.until(lambda: truncate.times, "a cut is refused")
            killed.until(lambda: "takes the journal again" in killed.said, "lifted")
            killed.killed()
        days = days_recorded(settings.spool)
        told = [f.frame for day in days for span in spans_of(settings.spool, day)
                for _, f in span.frames()]  # fmt: skip
        assert told == list(range(len(told)))
        (collector,) = journal_collectors(settings.spool)
        found = [read_segment(p) for p in segment_files(journal_folder(settings.spool, collector))]
        # The kill may have torn the last.
        spans = [(r.first_frame or 0, r.last_frame or 0) for r in found if r.frames]
        assert any(last >= then for (_, last), (then, _) in pairwise(spans)), spans
        with Capturing(settings, tmp_path, 2, faults) as last:
            last.until(lambda: last.status.get("micro_batches"), "the next life")
            last.asked_to_end()
            assert last.ended() == 0, last.said
    account_for(settings, [killed.life, last.life], truth, account)
    assert right(account), account
    assert not journal_collectors(settings.spool)
