"""The frames of one read at once, column by column: what the readers of several vendors share.

Such a reader is handed plain frames nearly always. Whatever is not plain it leaves to be read one
by one, so it may be as narrow as it likes, and must never differ.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain, compress
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edc_pipeline.coded import Coded, Words
from edc_pipeline.events import NS_MAX, AssetClass, EventType
from edc_pipeline.vendors.contract import Columns, ReadMany
from edc_pipeline.vendors.reading import KEPT, LONGEST, UNREADABLE, Fault, Stamp, epoch_to_ns

Places = NDArray[np.int64]
Times = NDArray[np.int64]
Ids = NDArray[np.int64]
Floats = NDArray[np.float64]
Numbers = dict[str, NDArray[Any]]
Texts = dict[str, list[str]]
CodedTexts = dict[str, Coded]
Way = Callable[[list[Any], Places], Columns]
Ways = Mapping[Any, Way]  # by kind of row

_LONGEST_LIST: Final = 160  # as Python writes it; of a text `reading.LONGEST`


class Spelling:
    """A column of texts of which few differ, as the vendor writes them: a text, a number, a tuple.

    What is written is made a word of ours once, and is a number from then on.
    """

    __slots__ = ("_codes", "_word_of", "words")

    def __init__(self, word_of: Callable[[Any], str]) -> None:
        """`word_of` raises what `UNREADABLE` names for what can't be one."""
        self.words = Words()
        self._word_of = word_of
        self._codes: dict[Any, int] = {}

    def __call__(self, written: Sequence[Hashable]) -> Coded:
        try:
            return self._coded(written)
        except KeyError:
            self._learn(written)
            return self._coded(written)

    def _coded(self, written: Sequence[Hashable]) -> Coded:
        code_of = self._codes.__getitem__
        return Coded(self.words, np.fromiter(map(code_of, written), np.int32, len(written)))

    def _learn(self, written: Sequence[Hashable]) -> None:
        if len(self._codes) >= KEPT:
            self.words, self._codes = Words(), {}
        for one in set(written) - self._codes.keys():
            if len(str(one)) > (LONGEST if isinstance(one, str) else _LONGEST_LIST):
                raise Fault("longer than any")
            self._codes[one] = self.words.number(self._word_of(one))


class Together:
    """Makes the columns of one feed's rows, as one connection hears them."""

    def __init__(
        self,
        vendor: str,
        feed: str,
        asset_class: AssetClass,
        instrument: Callable[[str], tuple[str, AssetClass]],
        *,
        several: bool = False,
    ) -> None:
        """`asset_class` is the usual one; `instrument` gives our symbol and its class of what the
        vendor writes; `several`: frames may hold more than one row."""
        self._labels = {"vendor": vendor, "feed": feed, "asset_class": asset_class}
        self._instrument = instrument
        self._several = several
        self._symbols = Spelling(self._symbol_of)
        # Looked up where one was unusual; the usual one is among the constants.
        self._asset_classes = Spelling(lambda ticker: instrument(ticker)[1])
        self._all_usual = True
        self._constants: dict[tuple[str, ...], Mapping[str, Any]] = {}

    def columns(
        self,
        event_type: EventType,
        tickers: Sequence[str],
        numbers: Numbers,
        places: Places,
        coded: CodedTexts | None = None,
        texts: Texts | None = None,
        **said: str,
    ) -> Columns:
        """`said` is what all of them say alike."""
        key = (event_type, *said.values())
        constants = self._constants.get(key)
        if constants is None:
            constants = self._constants[key] = {**self._labels, **said}
        symbols = self._symbols(tickers)
        coded = {**coded, "symbol": symbols} if coded else {"symbol": symbols}
        if not self._all_usual:
            coded["asset_class"] = self._asset_classes(tickers)
        several = self._several
        return Columns(event_type, constants, numbers, coded, texts or {}, places, several)

    def _symbol_of(self, ticker: str) -> str:
        symbol, asset_class = self._instrument(ticker)
        self._all_usual &= asset_class == self._labels["asset_class"]
        return symbol


def by_kind(
    rows: list[Any], places: Places, ways: Ways, kind_of: Callable[[Any], Any] = type
) -> list[Columns] | None:
    """Each kind of row by its own way. None: there is a kind without one."""
    kinds = list(set(map(kind_of, rows)))
    if not ways.keys() >= set(kinds):
        return None
    if len(kinds) == 1:
        return [ways[kinds[0]](rows, places)]
    number_of = {kind: number for number, kind in enumerate(kinds)}.__getitem__
    numbers = np.fromiter(map(number_of, map(kind_of, rows)), np.int8, len(rows))
    several = len(rows) > places[-1] + 1  # of a frame
    found = []
    for number, kind in enumerate(kinds):
        mine = numbers == number
        columns = ways[kind](list(compress(rows, mine.tolist())), places[mine])
        found.append(replace(columns, ranks=mine.nonzero()[0]) if several else columns)
    return found


def reader_of_single_rows(
    decode: Callable[[bytes], Any], ways: Ways, kind_of: Callable[[Any], Any] = type
) -> ReadMany:
    """For frames that are one row each."""

    def read_many(frames: Sequence[bytes], received_at: int) -> Sequence[Columns] | None:
        try:
            rows = [decode(frame) for frame in frames]
            return by_kind(rows, np.arange(len(rows)), ways, kind_of)
        except UNREADABLE:
            return None

    return read_many


def spread(frames: Sequence[list[Any]], places: Places) -> tuple[list[Any], Places]:
    """The rows of frames with several, and which frame each is from. `Fault`: one has none."""
    lengths = set(map(len, frames))
    if 0 in lengths:
        raise Fault("a frame without rows")
    if lengths == {1}:
        return [row for (row,) in frames], places
    each = lengths.pop() if len(lengths) == 1 else list(map(len, frames))
    return list(chain.from_iterable(frames)), places.repeat(each)


def whole(values: Sequence[int]) -> NDArray[np.int64]:
    return np.fromiter(values, np.int64, len(values))


def by_id(rows: list[Any], ids: Ids, places: Places) -> tuple[list[Any], Ids]:
    """The rows of each frame in the order of their ids, as one by one."""
    if not ((ids[1:] < ids[:-1]) & (places[1:] == places[:-1])).any():
        return rows, ids
    order = np.lexsort((ids, places))
    return [rows[number] for number in order.tolist()], ids[order]


_POWERS_OF_TEN: Final = 10 ** np.arange(1, 19)


def whole_ids(written: Sequence[str]) -> Ids:
    """Ids that are numbers, written as we write them. `UNREADABLE`: there is another one."""
    joined = "".join(written)
    if not (joined.isascii() and joined.isdecimal()):
        raise Fault("an id that is no number")
    ids = whole(list(map(int, written)))
    # A zero in front is the only way to write more digits than it has.
    if int(np.searchsorted(_POWERS_OF_TEN, ids, "right").sum()) + len(ids) < len(joined):
        raise Fault("an id with a zero in front")
    return ids


def floats(values: Sequence[float | None]) -> Floats:
    """None becomes NaN."""
    return np.fromiter(values, np.float64, len(values))


def required_floats(values: Sequence[float | None]) -> Floats:
    """Prices that have to be there."""
    found = floats(values)
    if np.isnan(found).any():
        raise Fault("without a price")
    return found


def _two(one: Sequence[float | None], other: Sequence[float | None]) -> Floats:
    """A row each. Both at once: each call of NumPy is 2 µs, as much as its work on 100 rows."""
    count = len(one)
    return np.fromiter(chain(one, other), np.float64, 2 * count).reshape(2, count)


def quote_numbers(
    times: Times,
    bid: tuple[Sequence[float | None], Sequence[float | None]],
    ask: tuple[Sequence[float | None], Sequence[float | None]],
    *,
    empty: bool = False,
) -> Numbers:
    """(prices, sizes) of each side. A price of 0 is how vendors write that there is none; then its
    size says nothing (`reading.side`). `empty`: a quote may have neither side; else `Fault`."""
    return quote_arrays(times, _two(bid[0], ask[0]), _two(bid[1], ask[1]), empty=empty)


def quote_arrays(times: Times, prices: Floats, sizes: Floats, *, empty: bool = False) -> Numbers:
    """The same of two rows each, of bids and of asks, which it may change."""
    if not prices.min() > 0:  # NaN is not
        none = (prices == 0) | np.isnan(prices)
        if not empty and none.all(axis=0).any():
            raise Fault("a quote without prices")
        prices[none] = sizes[none] = np.nan
    return {
        "ts_event": times,
        "bid_price": prices[0],
        "bid_size": sizes[0],
        "ask_price": prices[1],
        "ask_size": sizes[1],
    }


# From, below, ns: as `reading.epoch_to_ns` tells them apart, in whole numbers.
_UNITS: Final = (
    (10**11, 10**14, 10**6),
    (10**17, 2**63, 1),
    (10**14, 10**17, 10**3),
    (10**8, 10**11, 10**9),
)


def epochs_to_ns(stamps: Sequence[Stamp]) -> Times:
    """`reading.epoch_to_ns` of many: at once where all are whole numbers of one unit."""
    with suppress(TypeError, OverflowError):  # one is a float, or no time that int64 holds
        found = np.frombuffer(array("q", stamps), np.int64)
        first, last = int(found.min()), int(found.max())
        for begin, below, unit in _UNITS:
            if begin <= first and last < below and last <= NS_MAX // unit:
                return found * unit
    return np.array([epoch_to_ns(stamp) for stamp in stamps], np.int64)
