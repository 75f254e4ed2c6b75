"""What came before is known for its window, bounded, and after a restart where it is durable."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from edc_pipeline.capture.delivered import WINDOW_S, Delivered, durable_of, read_kept, write_kept
from edc_pipeline.capture.journal.blocks import Line
from edc_pipeline.capture.journal.writer import Journal
from edc_pipeline.spool.layout import DELIVERED

WINDOW_NS = int(WINDOW_S * 1e9)


def run_with(durable: bool) -> Delivered:
    async def make() -> Delivered:
        waits: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        known = Delivered(10)
        known.remember(["a", "b"], waits, 1_000)
        if durable:
            waits.set_result(None)
        return known

    return asyncio.run(make())


def test_any_one_key_is_enough_until_the_window_closes() -> None:
    known = run_with(durable=True)
    assert known.find(["other", "b"], 1_000) is not None
    assert known.find(["other"], 1_000) is None
    assert known.find([], 1_000) is None
    assert known.find(["a"], 999 + WINDOW_NS) is not None
    assert known.find(["a"], 1_000 + WINDOW_NS) is None


def test_it_is_bounded() -> None:
    async def scenario() -> None:
        waits: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        known = Delivered(10)
        for i in range(1000):
            known.remember([f"k{i}"], waits, i)
        assert known.find(["k990"], 1000) is not None
        assert known.find(["k989"], 1000) is None

    asyncio.run(scenario())


@pytest.mark.parametrize("durable", [True, False])
def test_only_what_is_durable_is_kept_over_a_restart(tmp_path: Path, durable: bool) -> None:
    write_kept(tmp_path, {"alerts": durable_of(run_with(durable=durable).look())})
    next_life = Delivered(10)
    next_life.recall(read_kept(tmp_path).get("alerts", {}))
    found = next_life.find(["a"], 2_000)
    assert (found is not None) == durable
    # It is durable since before this start: nothing is to be waited for.
    assert found is None or found.durable is None


@pytest.mark.parametrize("damage", [b"", b"\xc1", b"\x93\x01\x02\x03", b'{"a": 1}'])
def test_a_damaged_file_is_none(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / DELIVERED).write_bytes(damage)
    assert read_kept(tmp_path) == {}


def test_the_journal_tells_when_all_so_far_is_durable(tmp_path: Path) -> None:
    async def scenario() -> None:
        journal = Journal(tmp_path, "c1")
        journal.new_line(Line(number=0, name="n", vendor="v", feed="f", connection="c"))
        assert journal.durable().done()  # there is nothing to wait for
        journal.append(0, 1, b"first")
        first = journal.durable()
        journal.append(0, 2, b"second")
        second, abandoned = journal.durable(), journal.durable()
        abandoned.cancel()  # its caller hung up
        assert not first.done()
        await journal.commit()
        assert first.done()
        assert second.done()
        journal.append(0, 3, b"third")
        third = journal.durable()
        await asyncio.sleep(0)
        assert not third.done()
        await journal.close()
        assert third.done()

    asyncio.run(scenario())
