"""A feed's symbols shared out over connections, within what its vendor allows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil
from typing import Final

from edc_pipeline.vendors.contract import Websocket


@dataclass(frozen=True, slots=True)
class Shard:
    """Which part of a feed's symbols a connection asks for."""

    number: int = 0
    whole: bool = True  # there is no other part


WHOLE: Final = Shard()


def shards_needed(symbols: int, customs: Websocket) -> int:
    most = customs.symbols_per_connection
    return 1 if most is None else max(1, ceil(symbols / most))


def share_out(
    symbols: Sequence[str],
    customs: Websocket,
    former: Sequence[Sequence[str]] = (),
    copies: int = 1,
) -> list[tuple[str, ...]]:
    """The symbols of each shard, by its number; an empty one is not wanted any more.

    Anew: parts of even length, in the order of the symbols. With what was asked for until now, each
    symbol stays where it is and a new one goes where room is, so that a change of the list touches
    the connections that it concerns and no other.
    """
    most = customs.symbols_per_connection
    if most is None:
        return [tuple(symbols)]
    symbols = tuple(dict.fromkeys(symbols))
    needed = shards_needed(len(symbols), customs)
    wanted = set(symbols)
    kept = [[s for s in shard if s in wanted] for shard in former]
    in_use = sum(map(bool, kept))
    if customs.connections is not None and max(in_use, needed) * copies > customs.connections:
        kept = []  # fewer, fuller ones are needed
    if not any(kept):
        ends = [len(symbols) * n // needed for n in range(needed + 1)]
        return [tuple(symbols[a:b]) for a, b in pairwise(ends)]
    there = {symbol for shard in kept for symbol in shard}
    new = [symbol for symbol in symbols if symbol not in there]
    # What is in use is filled up before an empty one is used, or a further one begun.
    for shard in sorted(kept, key=lambda shard: not shard):
        room = most - len(shard)
        shard.extend(new[:room])
        del new[:room]
    kept += [new[at : at + most] for at in range(0, len(new), most)]
    return [tuple(shard) for shard in kept]


def beyond_limit(vendor: str, customs: Websocket, asked: Sequence[tuple[int, int]]) -> str | None:
    """What is wrong with asking for so many symbols in so many copies, of each feed that shares the
    vendor's limit; with the arithmetic."""
    limit = customs.connections
    if limit is None:
        return None
    parts = [(symbols, shards_needed(symbols, customs), copies) for symbols, copies in asked]
    total = sum(shards * copies for _, shards, copies in parts)
    if total <= limit:
        return None
    each = customs.symbols_per_connection
    told = " and ".join(
        (f"{symbols:,} symbols need {shards}" if each is not None else f"{shards}")
        + (f" × {copies} copies" if copies > 1 else "")
        for symbols, shards, copies in parts
    )
    limits = f"{vendor} allows {limit} of one key"
    if each is not None:
        limits += f", {each:,} symbols each"
    return f"{told}: {total} connections; {limits}"
