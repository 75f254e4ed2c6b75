"""`edc show`: what it tells of a file, at any width, and how it ends."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from edc_pipeline.cli import show_tables
from edc_pipeline.consolidation.glance import NoSuchSymbol, summary
from edc_pipeline.consolidation.layout import CHUNK_ROWS
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.consolidation.names import Order
from edc_pipeline.market_day import day_bounds
from edc_pipeline_tests.cli.calling import Said, edc, environment
from edc_pipeline_tests.consolidation.spools import DAY, OPEN, event, frames, write_batches

ROWS = 2 * CHUNK_ROWS + 500
EVERY_NS = 23_400 * 10**9 // ROWS
NAMES = ("SPY", "QQQ", "BRK.B")


@pytest.fixture(scope="module", params=["time", "symbol"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a session and more in three chunks; `RARE` stands at both ends of them."""
    order: Order = request.param
    folder = tmp_path_factory.mktemp("data")
    rare = {0, CHUNK_ROWS - 1, CHUNK_ROWS, ROWS - 1}
    said = [
        event(
            ts_event=OPEN + i * EVERY_NS,
            symbol="RARE" if i in rare else NAMES[i % 7 % 3],
            price=i / 4,
            conditions="@ F T I of many words" if i % 2 else "",
        )
        for i in range(ROWS)
    ]
    write_batches(folder / "spool", [frames([[e] for e in said])])
    return consolidate(folder / "spool", folder, "trade", DAY, order=order).path


def by_pandas(path: Path) -> pd.DataFrame:
    frame = pd.read_hdf(path)
    assert isinstance(frame, pd.DataFrame)
    return frame


def test_counts_are_those_of_the_rows(path: Path) -> None:
    shown, rows = summary(path, head=4, tail=CHUNK_ROWS + 3), by_pandas(path)
    stamps = rows["ts_event"].astype("int64").to_numpy()
    begin, end = day_bounds(DAY)
    expected = {
        name: (len(of), int(of.iloc[0]), int(of.iloc[-1]))
        for name, of in rows["ts_event"].astype("int64").groupby(rows["symbol"])
    }
    assert {s.symbol: (s.rows, s.first, s.last) for s in shown.symbols} == expected
    assert [s.rows for s in shown.symbols] == sorted((n for n, _, _ in expected.values()))[::-1]
    edges = np.linspace(begin, end, 49).astype(np.int64)
    assert shown.rate == np.histogram(stamps, edges)[0].tolist()
    assert sum(shown.span_rate) == ROWS
    assert min(shown.span_rate) > 0  # the file's own time is full
    assert shown.minutes == len(np.unique(stamps // (60 * 10**9)))
    assert (shown.minutes_of_day, shown.rows) == (1440, ROWS)
    assert [row["price"] for row in shown.head] == rows["price"][:4].tolist()
    assert [row["price"] for row in shown.tail] == rows["price"][-CHUNK_ROWS - 3 :].tolist()


@pytest.mark.parametrize(("head", "tail"), [(1, 1), (3, 3), (0, 2), (9, 9), (0, 0), (2, 0)])
def test_one_symbol(path: Path, head: int, tail: int) -> None:
    shown, rows = summary(path, head=head, tail=tail, symbol="RARE"), by_pandas(path)
    of = rows[rows["symbol"] == "RARE"]["price"].tolist()
    assert [row["price"] for row in shown.head] == of[:head]
    assert [row["price"] for row in shown.tail] == of[max(head, len(of) - tail) :]
    assert [s.symbol for s in shown.symbols] == ["RARE"]
    assert sum(shown.rate) == sum(shown.span_rate) == len(of) == 4


def test_a_symbol_that_is_not_there(path: Path) -> None:
    with pytest.raises(NoSuchSymbol, match=r"holds no 'brk\.b'; of its 4 symbols, e\.g\. BRK\.B"):
        summary(path, symbol="brk.b")
    told = edc("show", path, "--symbol", "IBM", cwd=path.parent)
    assert told.code == 1
    assert "holds no 'IBM'" in told.err


@pytest.mark.parametrize("width", [40, 80, 140])
def test_no_line_is_wider_than_the_terminal(path: Path, width: int) -> None:
    written = io.StringIO()
    console = Console(file=written, width=width, force_terminal=True, no_color=True)
    show_tables.draw(summary(path, head=3, tail=3), console, symbols=2, columns=[])
    text = re.sub(r"\x1b\[[0-9;]*m", "", written.getvalue())
    rows = text[text.rindex("and 2 more symbols") :].splitlines()
    assert (
        max(len(line) for line in rows if "in all of" not in line and "room" not in line) <= width
    )
    if width == 40:
        assert "no room for" in text
    assert "in all of these: ts_source vendor" in text
    head = summary(path, head=1).head[0]
    assert show_tables._clock(head["ts_event"]) in text, "a time is shown whole or not"


def test_into_a_pipe_nothing_is_cut(path: Path) -> None:
    told = edc("show", path, "--symbols", "all", "--rows", "4", cwd=path.parent, COLUMNS="60")
    assert told.code == 0
    for words in ("@ F T I of many words", "BRK.B", "sealed", "acme/tape", "counted"):
        assert words in told.out
    assert "…" not in told.out.replace("0, 1, 2 … over", "").replace("\n …", "")
    assert "more symbols" not in told.out


def test_columns_chosen(path: Path) -> None:
    asked = "price, ts_event,price"
    told = json.loads(edc("show", path, "--columns", asked, "--json", cwd=path.parent).out)
    assert [list(row) for row in told["head"]] == [["price", "ts_event"]] * 3
    wrong = edc("show", path, "--columns", "prize", cwd=path.parent)
    assert (wrong.code, wrong.out) == (2, "")
    assert "no column 'prize'; there are ts_event, ts_source" in wrong.err
    assert edc("show", path, "--symbols", "some", cwd=path.parent).code == 2


def piped(into: list[str], *words: Any) -> Said:
    """A pipe as a shell makes it: the reader ends when it has enough."""
    one = subprocess.Popen(
        [sys.executable, "-m", "edc_pipeline", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert one.stdout is not None
    assert one.stderr is not None
    other = subprocess.run(into, stdin=one.stdout, capture_output=True, timeout=60, check=False)
    one.stdout.close()
    err = one.stderr.read().decode()
    return Said(one.wait(60), other.stdout.decode(), err)


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_reader_that_has_enough(path: Path, more: list[str]) -> None:
    assert piped(["true"], "show", path, *more) == Said(0, "", "")
    assert piped(["head", "-c", "4"], "show", path, *more).code == 0


def test_a_verdict_stands_though_nobody_reads_it(path: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.h5"
    torn.write_bytes(path.read_bytes()[:-1])
    assert piped(["true"], "verify", torn) == Said(1, "", "")
    assert piped(["true"], "verify", path) == Said(0, "", "")
