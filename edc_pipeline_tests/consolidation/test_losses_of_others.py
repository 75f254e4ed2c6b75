"""Four ways in which another project's consolidation of parquet files lost data, each by name
(nautilus_trader, `ParquetDataCatalog.consolidate_*`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from edc_pipeline.consolidation import attempt, pipeline
from edc_pipeline.consolidation.certificate import read_certificate
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.consolidation.verification import verify
from edc_pipeline_tests.consolidation.spools import DAY, OPEN, Row, event, frames, write_batches


def day(n: int = 900) -> list[Row]:
    return frames([[event(ts_event=OPEN + i * 1000, price=i / 7)] for i in range(n)])


def test_a_second_run_deletes_nothing(spool: Path, out: Path) -> None:
    rows = day()
    paths = write_batches(spool, [rows[:450], rows[450:]])
    images = [p.read_bytes() for p in paths]
    first = consolidate(spool, out, "trade", DAY, rules={})
    for _ in range(2):
        again = consolidate(spool, out, "trade", DAY, rules={})
        assert again.unchanged
        assert again.certificate == first.certificate
    assert [p.read_bytes() for p in paths] == images
    assert verify(first.path, spool).findings == []


def test_a_window_of_a_single_file_is_kept(
    spool: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One micro-batch, larger than a slice and alone in all of them."""
    write_batches(spool, [day()])
    monkeypatch.setattr(pipeline, "rows_of_a_slice", lambda *_: 50)
    made = consolidate(spool, out, "trade", DAY, rules={})
    assert made.certificate.rows == 900
    assert verify(made.path, spool).findings == []


def test_overlapping_windows_lose_nothing(
    spool: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Micro-batches that overlap each other, and slices that cut through all of them."""
    rows = day()
    write_batches(spool, [rows[:600], rows[300:], rows[150:750]], ledger=False)
    monkeypatch.setattr(pipeline, "rows_of_a_slice", lambda *_: 100)
    c = consolidate(spool, out, "trade", DAY, rules={}).certificate
    assert (c.rows_in, c.rows, c.duplicates.redelivered) == (1800, 900, 900)


def test_an_interrupted_rewrite_leaves_the_former(
    spool: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = day()
    write_batches(spool, [rows[:450]])
    former = consolidate(spool, out, "trade", DAY, rules={})
    before = former.path.read_bytes()
    write_batches(spool, [rows[450:]], first_number=1)
    for step in ("write_rows", "read_back", "seal"):

        def interrupted(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(attempt, step, interrupted)
            with pytest.raises(KeyboardInterrupt):
                consolidate(spool, out, "trade", DAY, rules={})
        assert former.path.read_bytes() == before, step
        assert [p.name for p in out.iterdir() if p.suffix in (".tmp", ".scratch")] == []
    made = consolidate(spool, out, "trade", DAY, rules={})
    assert made.certificate.rows == 900
    assert read_certificate(former.path) == made.certificate
