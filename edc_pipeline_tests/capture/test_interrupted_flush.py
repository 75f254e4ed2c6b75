"""A flush that was killed between its files and its ledger entry, and what recovery makes of it."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from edc_pipeline.capture.admission import Admission
from edc_pipeline.capture.flush import flush
from edc_pipeline.capture.journal.writer import Journal
from edc_pipeline.capture.queues import Queues
from edc_pipeline.capture.recovery import recover
from edc_pipeline.spool.ledger import Ledger
from edc_pipeline.spool.quarantine import read_quarantine
from edc_pipeline.vendors.contract import Subscription
from edc_pipeline_tests.capture.test_retry import (
    DAY,
    LINE,
    NOON,
    RULES,
    SOURCE,
    TIINGO,
    Mended,
    Mends,
    message,
    row,
    rows_of,
)

LINE_ASKED = Subscription("iex", LINE.symbols)
GOOD, NEW, RUBBISH = message("A", row(0)), message("N", [row(1)]), b"{torn"


def killed_in_a_flush(
    spool: Path, monkeypatch: pytest.MonkeyPatch, flushed: list[bytes], later: list[bytes]
) -> None:
    """`flushed` has its files and no ledger entry; `later` was committed while that went on."""

    async def scenario() -> None:
        Ledger(spool).collector_started("c0", NOON)
        journal, queues, admission = Journal(spool, "c0"), Queues(), Admission(7)
        session = TIINGO.open_session(LINE_ASKED, "")
        journal.new_line(LINE)
        for number, payload in enumerate(flushed):
            journal.append(0, NOON, payload)
            reading = admission.read(session, payload, NOON)
            queues.put(number, SOURCE, LINE.connection, reading, payload, NOON)
        await journal.commit()
        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "flushed", lambda *_, **__: None)
            flush(spool, "c0", queues.take(), NOON, [LINE])
        for payload in later:
            journal.append(0, NOON, payload)
        await journal.commit()

    asyncio.run(scenario())


def placed(spool: Path) -> Counter[int]:
    """Frame → in how many places it is."""
    frames = Counter(r["frame"] for r in rows_of(spool))
    frames.update(f.frame for f in read_quarantine(spool, DAY))
    return frames


def test_a_frame_that_the_mended_parser_reads_leaves_the_quarantine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_in_a_flush(tmp_path, monkeypatch, [GOOD, NEW], [GOOD])
    Mends(monkeypatch)(Mended)
    recover(tmp_path, RULES, lambda: NOON)
    assert placed(tmp_path) == {0: 1, 1: 1, 2: 1}
    assert read_quarantine(tmp_path, DAY) == []
    counts = Ledger(tmp_path).frames()[SOURCE]
    assert (counts.with_events, counts.quarantined) == (3, 0)


def test_a_flush_of_nothing_but_rubbish_is_done_again_over_the_same_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_in_a_flush(tmp_path, monkeypatch, [RUBBISH, RUBBISH], [GOOD, RUBBISH])
    recover(tmp_path, RULES, lambda: NOON)
    assert placed(tmp_path) == {0: 1, 1: 1, 2: 1, 3: 1}
    counts = Ledger(tmp_path).frames()[SOURCE]
    assert (counts.with_events, counts.quarantined) == (1, 3)
