"""What a vendor says reaches a log and a terminal as text that steers neither."""

from __future__ import annotations

import io
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edc_pipeline.cli import terminal
from edc_pipeline.printable import PrintableFormatter, printable

EVIL = "X\x1b[31mEVIL\n2026-01-01 00:00:00,000 INFO fake: line\u202e\x9b2J[bold]"


@given(st.text())
def test_it_is_printable_and_plain_words_stay(words: str) -> None:
    shown = printable(words)
    assert shown.isprintable()
    assert shown == words or not words.isprintable()


def test_it_is_shown_as_python_writes_it() -> None:
    assert printable("a\x1b[31m\n\u202e\ud800ß") == "a\\x1b[31m\\n\\u202e\\ud800ß"


def test_a_record_is_one_line_and_a_traceback_is_indented() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PrintableFormatter())
    log = logging.Logger("made")
    log.addHandler(handler)
    log.warning("%s: gap: %s", "f", EVIL)
    try:
        int(EVIL + "\n")
    except ValueError:
        log.exception("a reader failed")
    lines = stream.getvalue().splitlines()
    assert all(line.isprintable() for line in lines)
    assert [line for line in lines if not line.startswith("    ")] == [lines[0], lines[1]]
    assert "\\x1b[31mEVIL\\n2026" in lines[0]
    assert len(lines) > 3


def test_cells_and_lines_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    made = terminal.table("", "symbol", "#size")
    made.add_row(EVIL, "1")
    terminal.show(made, f"the vendor said: {EVIL}")
    said = capsys.readouterr().out
    assert all(line.isprintable() for line in said.split("\n"))
    assert "[bold]" in said
    assert len(said.strip().split("\n")) == 3
