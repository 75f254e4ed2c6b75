"""`memory:` is held to where texts are long: ids and conditions of 128 characters in each row, and
in files of hundreds of thousands of rows; and where nearly each row has a symbol of its own."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from edc_pipeline.consolidation import pipeline
from edc_pipeline.consolidation.batch_rows import read_batch, read_in_pieces
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.consolidation.near_duplicates import NearDuplicates
from edc_pipeline.consolidation.plan import Batch, make_plan
from edc_pipeline.consolidation.rows import NUMBERS, TEXTS, Part, Rows, Text
from edc_pipeline.consolidation.slices import rows_of_a_slice
from edc_pipeline.spool.ledger import FrameCounts, Ledger, Source
from edc_pipeline.spool.micro_batch import UnreadableBatch, write_micro_batch
from edc_pipeline.spool.tables import SCHEMAS
from edc_pipeline_tests.consolidation.spools import DAY, OPEN

FILES, ROWS = 2, 200_000  # as compaction makes them
MEMORY_MIB = 512

PEAK = """
import datetime as dt, sys
from pathlib import Path
from edc_pipeline.consolidation.make import consolidate
made = consolidate(
    Path(sys.argv[1]), Path(sys.argv[2]), "trade", dt.date(2026, 1, 22), memory=f"{sys.argv[3]}MiB"
)
peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]
print(made.certificate.content_hash, int(peak) // 1024)
"""


def long_texts(spool: Path, files: int = FILES, rows: int = ROWS) -> None:
    for number in range(files):
        texts = {
            "symbol": "SPY",
            "asset_class": "etf",
            "ts_source": "vendor",
            "vendor": "acme",
            "feed": "tape",
            "origin": "live",
            "status": "LIVE",
            "connection": "a",
        }
        at = np.arange(rows) + number * rows
        numbers = {
            "ts_event": OPEN + at,
            "created_at": OPEN + at,
            "seq": at,
            "occurrence": np.zeros(rows, np.int32),
            "price": at / 8,
            "size": np.ones(rows),
            "frame": at,
        }
        columns = {}
        for field in SCHEMAS["trade"]:
            if field.name in numbers:
                columns[field.name] = pa.array(numbers[field.name])
            elif field.name in ("event_id", "conditions"):
                columns[field.name] = pa.array([f"{field.name[0]}{n:0127}" for n in at.tolist()])
            else:
                columns[field.name] = pa.array([texts.get(field.name, "")] * rows)
            if pa.types.is_dictionary(field.type):
                columns[field.name] = columns[field.name].dictionary_encode()
        write_micro_batch(
            spool,
            event_type="trade",
            day=DAY,
            collector="one",
            first_frame=number * rows,
            last_frame=(number + 1) * rows - 1,
            table=pa.table(columns),
        )
    held = files * rows
    source = Source("acme-tape", "acme", "tape")
    Ledger(spool).flushed(
        "one",
        through_frame=held - 1,
        at=OPEN,
        frames={(source, DAY): FrameCounts(received=held, with_events=held, bytes=held)},
        events={(source, "trade", DAY): held},
    )


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no peak of memory to be read")
def test_memory_is_held_to(tmp_path: Path) -> None:
    long_texts(tmp_path / "spool")
    folders = [str(tmp_path / name) for name in ("spool", "daily")]
    say = [sys.executable, "-c", PEAK, *folders, str(MEMORY_MIB)]
    said = subprocess.run(say, capture_output=True, text=True, check=True, timeout=200).stdout
    hashed, peak = said.split()
    assert int(peak) < 1.12 * MEMORY_MIB
    plenty = consolidate(tmp_path / "spool", tmp_path / "plenty", "trade", DAY, memory="4GiB")
    assert plenty.certificate.content_hash == hashed


def test_the_longer_the_texts_the_fewer_rows_in_a_slice() -> None:
    memory = 1 << 30
    usual = {"symbol": 20, "event_id": 32, "conditions": 12}
    sizes = [
        rows_of_a_slice(memory, {**usual, "event_id": width}, 100_000)
        for width in (1, 32, 128, 512)
    ]
    assert sizes[0] == sizes[1]
    assert sizes[1] > sizes[2] > sizes[3]
    long = {**usual, "event_id": 512}
    assert rows_of_a_slice(memory, long, 500_000) < rows_of_a_slice(memory, long, 1_000)


def text_of(part: Part, name: str) -> list[str]:
    if name in part.constants:
        return [part.constants[name]] * part.rows
    found: list[str] = part.arrays[name].to_pylist()
    return found


def test_a_micro_batch_in_pieces_is_that_micro_batch(tmp_path: Path) -> None:
    long_texts(tmp_path, 1, 2_500)
    (batch,) = make_plan(tmp_path, "trade", DAY).batches
    whole, read = read_batch(batch, "trade", DAY)
    pieces = list(read_in_pieces(batch, "trade", DAY, 1_000))
    assert [part.rows for part, _ in pieces] == [1_000, 1_000, 500]
    assert [given for _, given in pieces] == [None, None, read]
    for name in SCHEMAS["trade"].names:
        said = [word for part, _ in pieces for word in text_of(part, name)]
        assert said == text_of(whole, name)
    # No piece bears words of another.
    assert [len(part.arrays["event_id"].dictionary) for part, _ in pieces] == [1_000, 1_000, 500]


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows": 2_499},
        {"max_ts_event": OPEN + 2_400},
        {"rows_by_feed": {"acme/tape": 2_499, "acme/other": 1}},
    ],
)
def test_in_pieces_too_it_has_to_hold_what_its_footer_says(
    tmp_path: Path, wrong: dict[str, object]
) -> None:
    import msgspec  # noqa: PLC0415

    long_texts(tmp_path, 1, 2_500)
    (batch,) = make_plan(tmp_path, "trade", DAY).batches
    lying = replace(batch, footer=msgspec.structs.replace(batch.footer, **wrong))
    assert isinstance(lying, Batch)
    with pytest.raises(UnreadableBatch, match="its footer says"):
        list(read_in_pieces(lying, "trade", DAY, 1_000))


def test_many_symbols_take_little_memory_until_they_are_put_in_order(tmp_path: Path) -> None:
    symbols, slices = 20_000, 10
    words = [f"O:SPY260122C{n:08}".encode() for n in range(symbols)]
    long_texts(tmp_path / "spool", 1, 10)
    plan = make_plan(tmp_path / "spool", "trade", DAY)
    laid = pipeline._BySymbol(plan, dict.fromkeys(TEXTS["trade"][:-1], 20), tmp_path)
    near = NearDuplicates(tmp_path / "ids", {})
    texts = {name: Text([b""]) for name in TEXTS["trade"]}
    texts["symbol"] = Text(words, np.arange(symbols, dtype=np.int32))
    numbers = {name: np.zeros(symbols, np.int64) for name in NUMBERS["trade"]}
    rows = Rows("trade", symbols, numbers, texts)
    order, occurrence = np.arange(symbols), np.zeros(symbols, np.int32)
    list(laid.add(rows, order, occurrence, near))
    tracemalloc.start()
    try:
        for _ in range(slices):
            list(laid.add(rows, order, occurrence, near))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 20 * symbols * slices  # bytes of a run
    assert sum(len(chunk) for chunk in laid.rest()) == symbols * (slices + 1)
    assert laid.symbols[words[0]] == (slices + 1, 0)
    assert laid.symbols[words[-1]] == (slices + 1, (symbols - 1) * (slices + 1))
