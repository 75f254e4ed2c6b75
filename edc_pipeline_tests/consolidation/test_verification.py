"""`verify` trusts nobody: damage, forgery and change are each said in words."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import h5py
import msgspec
import numpy as np
import pytest
import tables

from edc_pipeline.consolidation.certificate import Certificate, NoCertificate, read_certificate
from edc_pipeline.consolidation.content_hash import ContentHash
from edc_pipeline.consolidation.glance import summary
from edc_pipeline.consolidation.h5_write import write_whole
from edc_pipeline.consolidation.identity import Rules
from edc_pipeline.consolidation.layout import text_columns
from edc_pipeline.consolidation.make import consolidate
from edc_pipeline.consolidation.names import Order
from edc_pipeline.consolidation.read_back import index_fault
from edc_pipeline.consolidation.seal import hdf5_bytes, seal
from edc_pipeline.consolidation.verification import verify
from edc_pipeline.spool.ledger import Gap, Ledger, Source
from edc_pipeline.vendors.contract import IdentityRule
from edc_pipeline_tests.consolidation.spools import DAY, OPEN, event, frames, split, write_batches


@pytest.fixture
def path(spool: Path, out: Path) -> Path:
    rows = frames(
        [
            [event(ts_event=OPEN + i * 10**6, symbol=f"S{i % 5}", price=float(i)) for _ in range(2)]
            for i in range(50)
        ]
    )
    write_batches(spool, split(rows, 3))
    return consolidate(spool, out, "trade", DAY, rules={}).path


def said(path: Path, spool: Path | None = None, severity: str = "error") -> str:
    found = verify(path, spool).findings
    return "\n".join(f"{f.check}: {f.message}" for f in found if f.severity == severity)


def forge(path: Path, change: Any, *, rehash: bool = True, **certificate: Any) -> None:
    """Write the file anew with other rows, and a certificate that fits them where it can."""
    certified = verify(path).certificate
    assert certified is not None
    with h5py.File(path) as file:
        block = change(file["trade/table"][:].copy())
        symbols = file["symbols"][:]
    content = ContentHash("trade")
    content.update(block)
    fields = {**certificate}
    if rehash:
        fields["content_hash"] = content.result(block.dtype)
    widths = {name: block.dtype[name].itemsize for name in text_columns("trade")}
    forged: Certificate = msgspec.structs.replace(certified, **fields)
    write_whole(path, [block], widths, forged, symbols)
    seal(path)


def test_a_sound_file_has_no_findings(path: Path, spool: Path) -> None:
    verified = verify(path, spool)
    assert verified.ok
    assert verified.findings == []
    assert verified.rows == 100


def test_an_untouched_forgery_is_sound(path: Path) -> None:
    """So that what follows shows the change and not the forging."""
    forge(path, lambda b: b)
    assert verify(path).findings == []


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("price", lambda b: b["price"].__setitem__(3, 99.0), "they are not the rows that were"),
        ("symbol", lambda b: b["symbol"].__setitem__(3, b"XX"), "they are not the rows that were"),
    ],
)
def test_other_rows_than_were_certified(path: Path, name: str, change: Any, says: str) -> None:
    def changed(block: Any) -> Any:
        change(block)
        return block

    forge(path, changed, rehash=False)
    assert says in said(path), name


def test_order(path: Path) -> None:
    def swapped(block: Any) -> Any:
        block[[10, 20]] = block[[20, 10]]
        block["index"] = np.arange(len(block))
        return block

    forge(path, swapped)
    assert "order: row 11 should come before the one above it" in said(path)


def test_day_bounds(path: Path) -> None:
    def moved(block: Any) -> Any:
        block["ts_event"][-1] += 86_400 * 10**9
        return block

    forge(path, moved)
    assert "day: row 99 and 0 more of its block happened outside 2026-01-22" in said(path)


@pytest.mark.parametrize("clock", [b"vendor", b"receive"])
def test_a_duplicate(path: Path, clock: bytes) -> None:
    def doubled(block: Any) -> Any:
        block["ts_source"] = clock
        block["occurrence"][1] = 0
        return block

    forge(path, doubled)
    assert "row 1 (S0) is copy 1 of its content and says occurrence 0" in said(path)


def test_a_missing_copy(path: Path) -> None:
    def skipped(block: Any) -> Any:
        block["occurrence"][1] = 2
        return block

    forge(path, skipped)
    assert "is copy 1 of its content and says occurrence 2" in said(path)


def test_counts(path: Path) -> None:
    def shorter(block: Any) -> Any:
        return block[:-2]

    forge(path, shorter)
    words = said(path)
    assert "counts: rows: 98 in the table, 100 in the certificate" in words
    assert "counts: rows by feed" in words


@pytest.mark.parametrize("order", ["time", "symbol"])
def test_which_rows_are_near_duplicates_is_looked_at(
    spool: Path, tmp_path: Path, order: Order
) -> None:
    rules: Rules = {("acme", "tape", "trade"): IdentityRule("id", "id")}
    ids = [7 if i in (10, 30) else 9 if i in (20, 40, 60) else 1000 + i for i in range(100)]
    write_batches(
        spool,
        [
            frames(
                [
                    [event(ts_event=OPEN + i, event_id=str(n), symbol=f"S{n % 2}", price=float(i))]
                    for i, n in enumerate(ids)
                ]
            )
        ],
    )
    made = consolidate(spool, tmp_path, "trade", DAY, rules=rules, order=order)
    assert made.certificate.near_duplicates == 3
    assert said(made.path) == ""
    with h5py.File(made.path) as file:
        listed = file["near_duplicates"][()]
    assert len(listed) == 5
    other = next(row for row in range(100) if row not in listed)
    forged = [
        (np.sort([*listed[1:], other]), "is listed as a near duplicate, and no other that is"),
        (listed[::-1], "does not name rows of the 100 in the table"),
        ([*listed[:-1], 100], "does not name rows of the 100 in the table"),
        (listed.astype("f8"), "is no list of rows"),
        (listed[:0], "0 rows are listed as near duplicates"),
    ]
    with h5py.File(made.path) as file:
        of = file["trade/table"]["event_id"]
    of_9 = [row for row in listed if of[row] == b"9"]
    forged.append((of_9, "3 rows are listed as near duplicates, 2 beyond the first of their id"))
    for rows, says in forged:
        image = made.path.read_bytes()
        made.path.write_bytes(image[: hdf5_bytes(made.path)])
        with h5py.File(made.path, "a") as file:
            del file["near_duplicates"]
            file["near_duplicates"] = np.asarray(rows)
        seal(made.path)
        assert says in said(made.path)
        made.path.write_bytes(image)


def test_a_certificate_that_does_not_add_up(path: Path) -> None:
    forge(path, lambda b: b, rows_in=101)
    assert "certificate: rows in: its parts add up to 100, not to 101" in said(path)


def test_a_balance_that_is_none(path: Path) -> None:
    forge(path, lambda b: b, events_out=[])
    assert "its certificate says that the ledger balances, and it does not" in said(path)


def test_an_index_of_another_table(path: Path) -> None:
    """What the index answers is held against the rows, here against others than it was made of."""
    with tables.open_file(path) as file:
        table = file.get_node("/trade/table")
        stamps = table.col("ts_event")
        assert index_fault(table, [(0, stamps)]) is None
        said = "the index on ts_event gives other rows than the table holds"
        assert index_fault(table, [(0, stamps + 1)]) == said


def test_a_lost_index(path: Path) -> None:
    with tables.open_file(path, "a") as file:
        file.get_node("/trade/table").cols.ts_event.remove_index()
    seal(path)
    assert said(path).startswith("readers: there is no index on ts_event")


def test_under_another_name(path: Path) -> None:
    other = path.with_name("consol_feeds_trade_2026_01_23.h5")
    path.rename(other)
    assert "its name says trade of 2026-01-23, its certificate trade of 2026-01-22" in said(other)


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"\x89HDF\r\n\x1a\n" + bytes(500)])
def test_a_foreign_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.h5"
    path.write_bytes(content)
    assert "x.h5: no seal at its end: it is torn, changed since, or no daily file" in said(path)
    seal(path)
    assert said(path).startswith("file: x.h5 cannot be read")
    assert "there is no such file" in said(tmp_path / "absent.h5")


def test_a_foreign_hdf5_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = [1]
    seal(tmp_path / "x.h5")
    assert said(tmp_path / "x.h5").startswith("certificate: x.h5: no certificate in it")


def test_a_torn_file(path: Path) -> None:
    data = path.read_bytes()
    for size in (len(data) // 3, len(data) - 1):
        path.write_bytes(data[:size])
        assert not verify(path).ok, size


def test_every_flip_is_caught(path: Path) -> None:
    """Before HDF5 sees it: some flips in its metadata end the process."""
    data = path.read_bytes()
    dice = random.Random(11)
    for at in [*dice.sample(range(len(data)), 300), *range(hdf5_bytes(path), len(data))]:
        flipped = bytearray(data)
        flipped[at] ^= 1 << dice.randrange(8)
        path.write_bytes(flipped)
        assert verify(path).findings[0].check == "file", f"byte {at}"
        with pytest.raises(NoCertificate):
            read_certificate(path)


def test_the_seal_can_be_recomputed(path: Path) -> None:
    data = path.read_bytes()
    line = f"\nedc sha256 {hashlib.sha256(data[:-88]).hexdigest()} {len(data) - 88:010x}\n"
    assert data[-88:] == line.encode()


def test_a_flip_in_the_rows_is_caught(path: Path) -> None:
    with h5py.File(path) as file:
        chunk = file["trade/table"].id.get_chunk_info(0)
        sound = file["trade/table"][:].tobytes()
    data = path.read_bytes()
    caught = 0
    for at in range(chunk.byte_offset + 40, chunk.byte_offset + chunk.size, chunk.size // 12):
        flipped = bytearray(data)
        flipped[at] ^= 4
        path.write_bytes(flipped)
        seal(path)  # as if whoever damaged it had sealed it
        if verify(path).ok:  # in what pads the last chunk, which nobody reads
            with h5py.File(path) as file:
                assert file["trade/table"][:].tobytes() == sound, at
        else:
            caught += 1
    assert caught >= 3


def test_with_its_spool(path: Path, spool: Path) -> None:
    inputs = sorted((spool / "event_type=trade" / "day=2026-01-22").iterdir())
    inputs[0].write_bytes(inputs[0].read_bytes() + b" ")
    inputs[1].unlink()
    late = write_batches(spool, [frames([[event(symbol="LATE")]])], first_number=9)
    errors = said(path, spool)
    assert f"spool: changed since: {inputs[0].name}" in errors
    assert f"spool: came later and are not in the file: {late[0].name}" in errors
    assert "the ledger counts other events now" in errors
    assert said(path, spool, "warning") == f"spool: no longer in the spool: {inputs[1].name}"
    assert "there is no spool at" in said(path, spool / "nowhere")


def test_a_gap_closed_since_is_a_warning(path: Path, spool: Path) -> None:
    gap = Gap(Source("acme-tape", "acme", "tape"), "", OPEN, None, None, "open", "cut")
    Ledger(spool).flushed("one", through_frame=0, at=OPEN, frames={}, events={}, gaps=[gap])
    assert verify(path, spool).ok
    assert "frames or gaps of that day have changed" in said(path, spool, "warning")


def test_summary(path: Path) -> None:
    shown = summary(path, head=2, tail=2)
    assert shown.rows == 100
    assert [s.symbol for s in shown.symbols] == ["S0", "S1", "S2", "S3", "S4"]
    assert sum(s.rows for s in shown.symbols) == sum(shown.rate) == 100
    assert (shown.symbols[1].first, shown.symbols[1].last) == (OPEN + 10**6, OPEN + 46 * 10**6)
    assert [r["price"] for r in [*shown.head, *shown.tail]] == [0.0, 0.0, 49.0, 49.0]
    assert shown.spark_line.strip() == "█"
    assert [c.name for c in shown.columns][:2] == ["ts_event", "ts_source"]
