"""Whichever way a table is cut into blocks, the same copies of its rows are found to be wrong."""

from __future__ import annotations

import random
import tracemalloc
from collections import Counter

import numpy as np
import pytest

from edc_pipeline.consolidation import same_rows
from edc_pipeline.consolidation.layout import table_dtype, text_columns
from edc_pipeline.consolidation.rows import Array
from edc_pipeline.consolidation.same_rows import SameRows, WrongCopy

KIND = table_dtype("trade", dict.fromkeys(text_columns("trade"), 8))


def rows(count: int) -> Array:
    made = np.zeros(count, KIND)
    made["index"] = np.arange(count)
    made["ts_source"], made["vendor"], made["feed"] = b"vendor", b"acme", b"tape"
    return made


def table(dice: random.Random, count: int) -> Array:
    """A few contents over and over, on stamps of one row and of many, with some copies misnumbered:
    and which these are."""
    made = rows(count)
    long = dice.choice([0.0, 0.5, 0.9, 0.99])
    made["ts_event"] = np.cumsum([dice.random() >= long for _ in range(count)])
    made["price"] = [float(dice.randrange(4)) for _ in range(count)]
    made["ts_source"] = [dice.choice([b"vendor"] * 4 + [b"receive"]) for _ in range(count)]
    made["event_id"] = [dice.choice([b"", b"7"]) for _ in range(count)]
    return made


def copies_in(made: Array) -> list[int]:
    seen: Counter[tuple[object, ...]] = Counter()
    copies = []
    for row in made:
        own = row["ts_source"] == b"receive"
        content = (0 if own else row["ts_event"], own, row["price"], row["event_id"])
        copies.append(seen[content])
        seen[content] += 1
    return copies


def looked_at(made: Array, cuts: list[int]) -> SameRows:
    with SameRows("trade", KIND) as same:
        for first, end in zip([0, *cuts], [*cuts, len(made)], strict=True):
            same.take(made[first:end])
        same.finish()
        return same


@pytest.mark.parametrize("held", [0, 1, 5, 1 << 14])
@pytest.mark.parametrize("kept", [0, 20, 1 << 20])
def test_in_blocks_of_any_size(held: int, kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(same_rows, "_MOST_HELD", held)
    monkeypatch.setattr(same_rows, "_KEPT_ROWS", kept)
    found_wrong = 0
    for seed in range(40):
        dice = random.Random(seed)
        made = table(dice, dice.randrange(2, 120))
        copies = copies_in(made)
        made["occurrence"] = copies
        at = np.array([i for i in range(len(made)) if dice.random() < 0.03], np.int64)
        made["occurrence"][at] += 1
        cuts = sorted(dice.sample(range(1, len(made)), dice.randrange(min(9, len(made)))))
        same = looked_at(made, cuts)
        assert same.wrong == [WrongCopy(i, copies[i], copies[i] + 1) for i in at.tolist()], seed
        assert same.wrong_rows == len(at)
        numbered = made["occurrence"] > 0
        assert same.repeated_ids.total() == (numbered & (made["event_id"] != b"")).sum()
        assert same.repeated_stamps.total() == (numbered & (made["ts_source"] == b"vendor")).sum()
        found_wrong += len(at)
    assert found_wrong > 40


@pytest.mark.parametrize("clock", [b"vendor", b"receive"])
def test_a_busy_instant_is_not_held(clock: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(same_rows, "_KEPT_ROWS", 50_000)
    peaks = []
    for blocks in (5, 25):
        tracemalloc.start()
        with SameRows("trade", KIND) as same:
            for number in range(blocks):
                block = rows(20_000)
                block["ts_source"] = clock
                block["price"] = np.arange(20_000) + number * 20_000
                same.take(block)
            same.finish()
        assert same.wrong_rows == 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
