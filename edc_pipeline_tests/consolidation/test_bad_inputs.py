"""A bad file among the micro-batches is set aside with its reason; the ledger shows the loss."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edc_pipeline.consolidation.certificate import read_certificate
from edc_pipeline.consolidation.errors import CannotConsolidate
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.events import NAN
from edc_pipeline.market_day import day_bounds
from edc_pipeline.spool.micro_batch import Footer, read_footer, write_table_durably
from edc_pipeline_tests.consolidation.spools import DAY, OPEN, event, frames, split, write_batches

Spoil = Callable[[Path], None]


def rows(n: int = 400) -> list[object]:
    return frames([[event(ts_event=OPEN + i, symbol=f"S{i % 7}", price=i / 7)] for i in range(n)])  # type: ignore[return-value]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def flip_in_a_page(path: Path) -> None:
    """In the prices: their pages are the only ones here with nearly random bytes."""
    column = next(
        c
        for c in (pq.read_metadata(path).row_group(0).column(i) for i in range(19))
        if c.path_in_schema == "price"
    )
    data = bytearray(path.read_bytes())
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def foreign(path: Path) -> None:
    pq.write_table(pa.table({"price": [1.0]}), path)


def rewritten(path: Path, change: Callable[[pa.Table], pa.Table], **footer: object) -> None:
    said = read_footer(path)
    table = change(pq.read_table(path, partitioning=None))
    fields = {name: getattr(said, name) for name in Footer.__struct_fields__}
    write_table_durably(path, table, Footer(**{**fields, **footer}))


def newer_schema(path: Path) -> None:
    rewritten(path, lambda t: t, schema_version=99)


def another_day(path: Path) -> None:
    rewritten(path, lambda t: t, day="2026-01-23")


def outside_its_day(path: Path) -> None:
    stamps = pa.array([day_bounds(DAY)[1]] * 100, pa.int64())
    rewritten(path, lambda t: t.set_column(0, t.schema.field(0), stamps))


def lost_column(path: Path) -> None:
    rewritten(path, lambda t: t.drop_columns(["seq"]))


def other_feed(path: Path) -> None:
    rewritten(path, lambda t: t, rows_by_feed={"acme/other": 100})


def another_span(path: Path) -> None:
    rewritten(path, lambda t: t, min_ts_event=read_footer(path).min_ts_event + 1)


def nul_at_the_end(path: Path) -> None:
    symbols = pa.array(["SPY\x00"] * 100, pa.string())
    rewritten(path, lambda t: t.set_column(2, t.schema.field(2), symbols))


def not_utf8(path: Path) -> None:
    bad = pa.array([b"\xff\xfe"] * 100, pa.binary()).view(pa.string())
    rewritten(path, lambda t: t.set_column(2, t.schema.field(2), bad))


def nulls(path: Path) -> None:
    prices = pa.array([None] * 100, pa.float64())
    at = 13
    rewritten(path, lambda t: t.set_column(at, pa.field("price", pa.float64()), prices))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (truncate, "magic bytes"),
        (flip_in_a_page, "CRC|checksum|corrupt"),
        (empty, "size is 0 bytes|smaller than"),
        (foreign, "no 'edc' entry in its footer"),
        (newer_schema, "schema version 99"),
        (another_day, "its footer says trade of 2026-01-23"),
        (outside_its_day, "are not all of 2026-01-22"),
        (lost_column, "its columns are"),
        (other_feed, "its footer says {'acme/other': 100}"),
        (another_span, r"its footer says \d+ to \d+"),
        (nul_at_the_end, r"symbol 'SPY\\x00' holds a control character"),
        (not_utf8, "UTF8|utf-8"),
        (nulls, "null"),
    ],
)
def test_set_aside_with_a_reason(spool: Path, out: Path, spoil: Spoil, reason: str) -> None:
    paths = write_batches(spool, split(rows(), 4))  # type: ignore[arg-type]
    spoil(paths[1])
    made = consolidate(spool, out, "trade", DAY, rules={})
    c = made.certificate
    assert paths[1].exists()
    assert [s.name for s in c.set_aside] == [paths[1].name]
    assert re.search(reason, c.set_aside[0].reason), c.set_aside[0].reason
    assert c.rows == 300
    assert not c.balanced
    assert c.reasons[0] == (
        "acme/tape: the collectors gave out 400 events, the micro-batches hold 300: 100 missing"
    )
    assert paths[1].name in c.reasons[1]
    assert consolidate(spool, out, "trade", DAY, rules={}).unchanged


def test_all_bad_leaves_the_former_file(spool: Path, out: Path) -> None:
    paths = write_batches(spool, [rows()])  # type: ignore[list-item]
    made = consolidate(spool, out, "trade", DAY, rules={})
    before = made.path.read_bytes()
    for spoil in (flip_in_a_page, truncate):
        spoil(paths[0])
        with pytest.raises(CannotConsolidate, match="A daily file made before stays") as error:
            consolidate(spool, out, "trade", DAY, rules={})
        assert error.value.events_missing == 400
        assert made.path.read_bytes() == before


def test_a_stray_file_is_stated_and_takes_nothing_away(spool: Path, out: Path) -> None:
    path = write_batches(spool, [rows()])[0]  # type: ignore[list-item]
    foreign(path.with_name("stray-000000000000-000000000009.parquet"))
    made = consolidate(spool, out, "trade", DAY, rules={})
    assert made.certificate.balanced
    assert made.certificate.set_aside[0].name.startswith("stray-")
    assert "was set aside: no 'edc' entry" in made.warnings[0]
    assert consolidate(spool, out, "trade", DAY, rules={}).warnings == made.warnings


def test_a_flip_anywhere_is_caught_or_harmless(spool: Path, tmp_path: Path) -> None:
    """Pages have checksums, footers have none: what a footer says is held against the rows."""
    paths = write_batches(spool, split(rows(60), 2))  # type: ignore[arg-type]
    sound = consolidate(spool, tmp_path / "sound", "trade", DAY, rules={}).certificate
    data = paths[0].read_bytes()
    dice = random.Random(7)
    for at in dice.sample(range(len(data)), 60):
        flipped = bytearray(data)
        flipped[at] ^= 1 << dice.randrange(8)
        paths[0].write_bytes(flipped)
        c = consolidate(spool, tmp_path / "flipped", "trade", DAY, rules={}).certificate
        assert c.set_aside or c.content_hash == sound.content_hash, f"byte {at}"
        assert not c.balanced if c.set_aside else c.balanced


def test_a_micro_batch_without_rows_makes_an_empty_day(spool: Path, out: Path) -> None:
    path = write_batches(spool, [frames([[event(size=NAN)]])], ledger=False)[0]
    rewritten(path, lambda t: t.slice(0, 0), rows=0, rows_by_feed={})
    made = consolidate(spool, out, "trade", DAY, rules={})
    assert made.certificate.rows == 0
    assert made.certificate.first_event is None
    assert made.certificate.balanced
    assert made.preview().empty
    assert read_certificate(made.path).symbols == 0
