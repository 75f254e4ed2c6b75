"""Small micro-batches read in one go say what each says by itself, and hide no bad one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edc_pipeline.consolidation import slices
from edc_pipeline.consolidation.batch_rows import read_batch
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.consolidation.plan import Batch
from edc_pipeline.consolidation.rows import Rows, assemble
from edc_pipeline.consolidation.small_batches import SMALL_ROWS, read_together, together
from edc_pipeline.events import EVENT_TYPES, EventType
from edc_pipeline.spool.micro_batch import FILE_CHECKSUM_KEY, read_footer
from edc_pipeline_tests.consolidation import test_bad_inputs as bad
from edc_pipeline_tests.consolidation.spools import DAY, OPEN, event, frames, split, write_batches
from edc_pipeline_tests.consolidation.test_slices import delivered


def plainly(rows: Rows) -> list[tuple[object, ...]]:
    """Every column of every row, NaN as what it is stored as."""
    columns = [values.view(f"V{values.itemsize}").tolist() for values in rows.numbers.values()]
    for name, text in rows.texts.items():
        columns.append([text.words[code] for code in rows.codes(name).tolist()])
    return list(zip(*columns, strict=True))


def batches_of(paths: list[Path]) -> list[Batch]:
    return [Batch(path, read_footer(path)) for path in paths]


@pytest.mark.parametrize("event_type", EVENT_TYPES)
@given(data=st.data(), parts=st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_together_is_one_by_one(event_type: EventType, data: st.DataObject, parts: int) -> None:
    rows = data.draw(delivered(event_type).filter(bool))
    with tempfile.TemporaryDirectory() as folder:
        paths = write_batches(Path(folder), split(rows, parts), event_type=event_type)
        batches = batches_of(paths)
        part, read, doubtful = read_together(batches, event_type, DAY)
        alone = [read_batch(batch, event_type, DAY) for batch in batches]
        assert part is not None
        assert doubtful == []
        assert read == [one for _, one in alone]
        expected = assemble([one for one, _ in alone], event_type)
        assert plainly(assemble([part], event_type)) == plainly(expected)


def test_plain_small_files_are_never_opened_one_by_one(
    spool: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = frames([[event(ts_event=OPEN + i, symbol=f"S{i % 7}")] for i in range(900)])
    write_batches(spool, split(rows, 300))
    monkeypatch.setattr(slices, "read_batch", lambda *_: pytest.fail("opened for itself"))
    assert consolidate(spool, out, "trade", DAY, rules={}).certificate.rows == 900


def test_large_ones_and_few_go_by_themselves(tmp_path: Path) -> None:
    rows = frames([[event(ts_event=OPEN + i)] for i in range(SMALL_ROWS + 1)])
    large, *small = batches_of(write_batches(tmp_path, [rows, *([rows[:9]] * 6)]))
    assert list(together([large, *small])) == [[large], small]
    assert list(together(small[:2])) == [[small[0]], [small[1]]]
    assert [len(group) for group in together(small * 100)] == [200, 200, 200]


def no_checksum(path: Path) -> None:
    """As micro-batches were before they bore one."""
    path.write_bytes(path.read_bytes().replace(FILE_CHECKSUM_KEY, b"edc_file_crc3."))


def with_narrow_seq(table: pa.Table) -> pa.Table:
    at = table.schema.get_field_index("seq")
    return table.set_column(at, pa.field("seq", pa.int32(), False), table["seq"].cast("int32"))


def gone(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    "spoil", [bad.flip_in_a_page, bad.truncate, bad.empty, bad.foreign, no_checksum, gone]
)
def test_one_in_doubt_is_named_and_the_others_are_read(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    batches = batches_of(write_batches(tmp_path, split(bad.rows(), 8)))  # type: ignore[arg-type]
    spoil(batches[3].path)
    part, read, doubtful = read_together(batches, "trade", DAY)
    assert doubtful == [batches[3]]
    assert part is not None
    assert part.rows == 350
    assert len(read) == 7


@pytest.mark.parametrize(
    "spoil",
    [
        bad.outside_its_day,
        bad.lost_column,
        bad.other_feed,
        bad.nul_at_the_end,
        bad.not_utf8,
        bad.nulls,
        lambda path: bad.rewritten(path, lambda t: t, rows=49, rows_by_feed={"acme/tape": 49}),
        lambda path: bad.rewritten(path, lambda t: t.append_column("more", t.column(0))),
        lambda path: bad.rewritten(path, with_narrow_seq),
        lambda path: bad.rewritten(path, lambda t: t, max_ts_event=OPEN),
    ],
)
def test_a_lie_under_a_sound_checksum_puts_all_in_doubt(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    paths = write_batches(tmp_path, split(bad.rows(800), 8))  # type: ignore[arg-type]
    spoil(paths[3])
    batches = batches_of(paths)
    assert read_together(batches, "trade", DAY) == (None, [], batches)
