"""Many sources into one, in global order, block by block. Pure.

Each source yields blocks of rows that do not go back in time. Rows come out by time; rows of the
same time by the order of their sources, and then as their source had them, whatever the blocks'
sizes. One block a source is held, and a new one fetched for each that ran out, so memory depends
on the number of sources and not on the length of the day.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Block = NDArray[Any]

_NEVER: Final = np.iinfo(np.int64).max
# A source with less than this share of a block left gets its next one along with those that ran
# out: otherwise each round would fetch one block and look at every source for it.
_REFILL_BELOW: Final = 0.25


class WentBack(ValueError):
    """A source's time goes back: it can't be merged."""

    def __init__(self, source: int, before: int, after: int) -> None:
        super().__init__(f"source {source}: after {before} ns comes {after} ns")
        self.source, self.before, self.after = source, before, after


class _Source:
    __slots__ = ("_blocks", "_largest", "block", "key", "keys", "number", "over", "start")

    def __init__(self, number: int, blocks: Iterable[Block], key: str) -> None:
        self.number = number
        self.key = key
        self.over = False
        self.start = 0
        self.block: Block | None = None
        self.keys: NDArray[np.int64] = np.empty(0, np.int64)
        self._blocks = iter(blocks)
        self._largest = 0

    @property
    def left(self) -> int:
        return len(self.keys) - self.start

    @property
    def is_low(self) -> bool:
        return not self.over and self.left <= self._largest * _REFILL_BELOW

    def fetch(self) -> None:
        """Put the next block behind what is left."""
        following = next((b for b in self._blocks if len(b)), None)
        if following is None:
            self.over = True
            return
        keys = np.ascontiguousarray(following[self.key])
        joint = keys if not len(self.keys) else np.concatenate((self.keys[-1:], keys))
        back = np.flatnonzero(joint[1:] < joint[:-1])
        if len(back):
            raise WentBack(self.number, int(joint[back[0]]), int(joint[back[0] + 1]))
        self._largest = max(self._largest, len(following))
        if self.left and self.block is not None:
            following = np.concatenate((self.block[self.start :], following))
            keys = np.concatenate((self.keys[self.start :], keys))
        self.block, self.keys, self.start = following, keys, 0

    def take_before(self, cut: int) -> tuple[Block, NDArray[np.int64]]:
        assert self.block is not None
        end = len(self.keys) if cut == _NEVER else int(np.searchsorted(self.keys, cut))
        taken = self.block[self.start : end], self.keys[self.start : end]
        self.start = end
        return taken


def merge(sources: Sequence[Iterable[Block]], key: str = "ts_event") -> Iterator[Block]:
    """Blocks in global order. Raises `WentBack` where a source is not in order itself."""
    open_ = [_Source(number, blocks, key) for number, blocks in enumerate(sources)]
    for source in open_:
        source.fetch()
    heads = np.array([s.keys[0] if s.left else _NEVER for s in open_], np.int64)
    ends = np.array([_NEVER if s.over else s.keys[-1] for s in open_], np.int64)
    while True:
        # What comes next from a source is not before the last that it showed.
        cut = int(ends.min()) if len(ends) else _NEVER
        taken: list[tuple[Block, NDArray[np.int64]]] = []
        for number in np.flatnonzero(heads < cut).tolist():
            source = open_[number]
            taken.append(source.take_before(cut))
            heads[number] = source.keys[source.start] if source.left else _NEVER
        if taken:
            yield _in_order(taken)
        if cut == _NEVER:
            return
        for number in np.flatnonzero(ends != _NEVER).tolist():
            source = open_[number]
            if ends[number] == cut or source.is_low:
                source.fetch()
                heads[number] = source.keys[source.start] if source.left else _NEVER
                ends[number] = _NEVER if source.over else source.keys[-1]


def _in_order(taken: list[tuple[Block, NDArray[np.int64]]]) -> Block:
    if len(taken) == 1:
        return taken[0][0]
    keys = np.concatenate([keys for _, keys in taken])
    # Stable, and the sources stand in their order: that decides between rows of the same time.
    order = np.argsort(keys, kind="stable")
    return np.concatenate([block for block, _ in taken])[order]
