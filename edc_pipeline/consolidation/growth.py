"""A day that has grown: what its daily file holds from before the first new event is taken over.

Rows are in order of time and rows of equal content share their stamp, so new micro-batches change
nothing before the first of their events. Those chunks go into the new file as they lie in the
former one, and only the rows from that instant on are read from the spool and settled. The rows
and the certificate are those of the day made in full; where that is in doubt, it is made in full:

- the former file holds what its certificate says: its seal, and its content hash anew, since every
  chunk taken over is read back and hashed;
- it was made by this code, in the same way, of micro-batches that are all still there, unchanged by
  their hashes; none was set aside;
- no row bears our own receive time: such rows are equal without sharing a stamp;
- no new text is longer than the column that holds it;
- what the certificate counts before that instant is what it counts of the day without what the
  former micro-batches give after it, and that has to be the very rows of the former file.

What is taken over is still written, and read once for its hashes and the time index. Of 10M rows
that costs 2.3 s of CPU, and making them anew 9.8 (`benchmarks/consolidation_growth.py`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from edc_pipeline.consolidation.certificate import CERTIFICATE_VERSION, Certificate, Input
from edc_pipeline.consolidation.content_hash import content_hash, digest_of
from edc_pipeline.consolidation.errors import DamagedFile
from edc_pipeline.consolidation.h5_read import Chunk, StoredTable, open_daily
from edc_pipeline.consolidation.h5_write import DailyFile, TimeIndex
from edc_pipeline.consolidation.identity import Rules, Tally, settle
from edc_pipeline.consolidation.layout import CHUNK_ROWS
from edc_pipeline.consolidation.names import SYMBOLS
from edc_pipeline.consolidation.near_duplicates import ID_COLUMNS, NearDuplicates
from edc_pipeline.consolidation.plan import Batch, Plan, described
from edc_pipeline.consolidation.rows import Array, Rows, Text
from edc_pipeline.consolidation.slices import Reading, Slice, slices
from edc_pipeline.consolidation.standing import is_made_so
from edc_pipeline.consolidation.wish import Wish
from edc_pipeline.consolidation.words import factorized

Product = tuple[str, str]  # (vendor, feed)
Symbols = dict[bytes, tuple[int, int]]  # symbol → (rows, first row)

# Below this a day is made in full: it takes about a second. Above, where at least this part of it
# lies before the first new event.
GROWN_ROWS: Final = 1_000_000
_WORTH: Final = 0.5


class NotGrown(Exception):
    """The former file does not hold what it should: the day is to be made in full."""


@dataclass(frozen=True)
class Growth:
    former: Path
    standing: Certificate  # of the former file
    since: int  # ns UTC: before it nothing has changed
    plan: Plan  # the micro-batches that may hold rows from then on
    inputs: list[Input]  # the others

    def from_then_on(self, slice_: Slice) -> Rows:
        rows = slice_.rows
        if slice_.settled_from < rows.count:
            raise NotGrown("an instant holds too many rows to be counted with the others")
        if rows.says("ts_source", b"receive").any():
            raise NotGrown("rows bear our own receive time")
        later = rows.numbers["ts_event"] >= self.since
        return rows if later.all() else rows.take(np.flatnonzero(later))

    def check_read(self, inputs: list[Input]) -> None:
        """The micro-batches of the former file still are what they were."""
        held = {i.name: i for i in self.standing.inputs}
        if any(held.get(i.name, i) != i for i in inputs):
            raise NotGrown("a micro-batch has changed")

    def all_inputs(self, read: list[Input], tallies: dict[Product, Tally]) -> list[Input]:
        """With the micro-batches that were read. Each of their rows is counted, or a footer has
        hidden a row from before the instant."""
        self.check_read(read)
        inputs = [*self.inputs, *read]
        if sum(i.rows for i in inputs) != sum(tally.rows_in for tally in tallies.values()):
            raise NotGrown("a micro-batch holds older rows than its footer says")
        return inputs


def growth_of(plan: Plan, former: Path, standing: Certificate, wish: Wish) -> Growth | None:
    """How a day has grown since its daily file was made; None where it is to be made in full."""
    held = {i.name: i for i in standing.inputs}
    new = [b for b in plan.batches if b.path.name not in held]
    if (
        plan.rows < GROWN_ROWS
        or not is_made_so(standing, wish)
        or (standing.order, standing.certificate_version) != ("time", CERTIFICATE_VERSION)
        or plan.set_aside
        or standing.set_aside
        or not any(b.footer.rows for b in new)
        or len(new) + len(held) != len(plan.batches)
        or any(b.footer.receive_rows != 0 for b in plan.batches)
    ):
        return None
    since = min(b.footer.min_ts_event for b in new if b.footer.rows)
    again, before = list[Batch](), list[Batch]()
    for batch in plan.batches:
        later = batch.footer.max_ts_event >= since or batch.path.name not in held
        (again if later else before).append(batch)
    if sum(b.footer.rows for b in before) < plan.rows * _WORTH:
        return None
    try:
        inputs = list(described([(b.path, b.footer.rows) for b in before]))
    except OSError:
        return None
    if any(held[i.name] != i for i in inputs):
        return None
    return Growth(former, standing, since, replace(plan, batches=again), inputs)


class TakenOver(NamedTuple):
    digests: list[bytes]  # of the chunks taken over
    rows: int  # in them, and before the instant in the chunk after them
    rest: Array  # the latter
    symbols: Symbols  # of all of these rows
    tallies: dict[Product, Tally]
    first_event: list[int]  # none where there is no row


def take_over(
    grown: Growth,
    file: DailyFile,
    path: Path,
    index: TimeIndex,
    near: NearDuplicates,
    rules: Rules,
    slice_rows: int,
    scratch: Path,
) -> TakenOver:
    """Put the chunks of the former file into the new one at `path`, and count what is in them."""
    with StoredTable(grown.former, grown.plan.event_type) as former:
        if former.dtype != file.dtype:
            raise NotGrown("a text is longer than its column was")
        rows = _rows_before(former, grown.since)
        chunks, after = rows // CHUNK_ROWS, former.rows - rows
        try:
            for chunk in former.chunks[:chunks]:
                file.add(former.stored(chunk), chunk.rows)
        except DamagedFile as error:  # since its seal was looked at
            raise NotGrown(str(error)) from error
        file.flush()
        digests = _look_again(grown, path, index, near)
        rest, tail, tail_digests = _after(former, rows)
        near.take(_named(grown, rest), len(rest))
        hashed = content_hash(
            grown.plan.event_type, "time", file.dtype, former.rows, [*digests, *tail_digests]
        )
    if hashed != grown.standing.content_hash:
        raise NotGrown("the former file does not hold what its certificate says")
    tallies = _tallies_after(grown, rules, slice_rows, scratch)
    if sum(tally.rows for tally in tallies.values()) != after:
        raise NotGrown("the former file holds other rows than its micro-batches give")
    first = grown.standing.first_event
    return TakenOver(
        digests=digests,
        rows=rows,
        rest=rest,
        symbols=_symbols_before(grown, rows, tail),
        tallies=_less(grown.standing, tallies),
        first_event=[first] if rows and first is not None else [],
    )


def _rows_before(table: StoredTable, since: int) -> int:
    def first(chunk: Chunk) -> int:
        return int(table.read(chunk)["ts_event"][0])

    begun = bisect_left(table.chunks, since, key=first)
    if not begun:
        return 0
    last = table.chunks[begun - 1]
    return last.first + int(np.searchsorted(table.read(last)["ts_event"], since, side="left"))


def _look_again(grown: Growth, path: Path, index: TimeIndex, near: NearDuplicates) -> list[bytes]:
    """The hashes of the chunks taken over, as they are read back from the new file."""
    digests = []
    with StoredTable(path, grown.plan.event_type) as table:
        for digest, stamps, named in table.each(
            lambda _, block: (digest_of(block), block["ts_event"].copy(), _named(grown, block))
        ):
            digests.append(digest)
            index.add(stamps)
            near.take(named, len(stamps))
    return digests


def _named(grown: Growth, block: Array) -> Rows | None:
    """What near duplicates are told by, where ids count for anything."""
    if not any(counts.identity == "id" for counts in grown.standing.feeds.values()):
        return None
    texts = {name: Text(*factorized(block[name])) for name in ID_COLUMNS}
    return Rows(grown.plan.event_type, len(block), {}, texts)


def _after(table: StoredTable, rows: int) -> tuple[Array, Counter[bytes], list[bytes]]:
    """(the records before row `rows` of its chunk; the rows of each symbol from there on; the
    hashes of the chunks from that one on)"""

    def look(chunk: Chunk, block: Array) -> tuple[bytes, Array, dict[bytes, int]]:
        inside = max(0, rows - chunk.first)
        words, codes = factorized(block["symbol"][inside:])
        symbols = dict(zip(words, np.bincount(codes).tolist(), strict=True))
        return digest_of(block), block[:inside].copy(), symbols

    rest, tail, digests = np.empty(0, table.dtype), Counter[bytes](), []
    for digest, before, symbols in table.each(look, table.chunks[rows // CHUNK_ROWS :]):
        digests.append(digest)
        tail.update(symbols)
        rest = before if len(before) else rest
    return rest, tail, digests


def _symbols_before(grown: Growth, rows: int, tail: Counter[bytes]) -> Symbols:
    with open_daily(grown.former) as file:
        listed = file[SYMBOLS][()].tolist()
    symbols = {name: (n - tail[name], first) for name, n, first in listed if n > tail[name]}
    if sum(n for n, _ in symbols.values()) != rows:
        raise NotGrown("the list of symbols of the former file does not agree with its rows")
    return symbols


def _tallies_after(
    grown: Growth, rules: Rules, slice_rows: int, scratch: Path
) -> dict[Product, Tally]:
    """What the certificate of the former file counts from the instant on."""
    held = {i.name for i in grown.standing.inputs}
    plan = replace(grown.plan, batches=[b for b in grown.plan.batches if b.path.name in held])
    tallies: dict[Product, Tally] = {}
    reading = Reading()
    for slice_ in slices(plan, rules, slice_rows, scratch / "former", reading, lambda _rows: None):
        settled = settle(grown.from_then_on(slice_), rules)
        for product, tally in settled.feeds.items():
            tallies.setdefault(product, Tally()).add(tally)
    grown.check_read(reading.inputs)
    return tallies


def _less(standing: Certificate, after: dict[Product, Tally]) -> dict[Product, Tally]:
    """What the certificate counts before the instant."""
    before = {}
    for name, counts in standing.feeds.items():
        vendor, _, feed = name.partition("/")
        less = after.get((vendor, feed), Tally())
        before[vendor, feed] = Tally(
            rows_in=counts.rows_in - less.rows_in,
            rows=counts.rows - less.rows,
            redelivered=counts.duplicates.redelivered - less.redelivered,
            other_connection=counts.duplicates.other_connection - less.other_connection,
            same_id=counts.duplicates.same_id - less.same_id,
        )
    return before
