"""Progress as lines of a log: few, and with what a person wants to know."""

from __future__ import annotations

from edc_pipeline.consolidation.progress import told_every


def test_a_line_now_and_then() -> None:
    lines: list[str] = []
    clock = iter([0.0, 0.0, 1.0, 11.0, 12.0, 25.0])
    progress = told_every(lines.append, 10.0, lambda: next(clock))
    for done in (0, 100, 2_200, 2_400, 5_000):
        progress("read and write", done, 10_000)
    assert lines == [
        "read and write: 2,200 of 10,000 rows, 200 rows/s, 39 s left",
        "read and write: 5,000 of 10,000 rows, 200 rows/s, 25 s left",
    ]


def test_nothing_to_do_is_no_line() -> None:
    lines: list[str] = []
    told_every(lines.append, 0.0)("plan", 0, 0)
    assert lines == []
