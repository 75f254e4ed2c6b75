"""What an event is while it is replayed: one numeric row of some 70 bytes.

Its texts (symbol, venue, conditions …) are few and repeat, so a row holds the number of their
combination, a label. Numpy moves such rows a hundred at a time: Arrow tables of nineteen columns
and hundreds of chunks cost more to put together than to sort.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from edc_pipeline.events import COLUMNS, EVENT_TYPES, EventType

Block = NDArray[np.void]  # of `record_dtype`, in the order of `ts_event`

KINDS: Final[dict[EventType, int]] = {name: number for number, name in enumerate(EVENT_TYPES)}

# The columns of C1 that a row's four numbers hold.
NUMBERS: Final[dict[EventType, tuple[str, ...]]] = {
    "trade": ("price", "size"),
    "quote": ("bid_price", "bid_size", "ask_price", "ask_size"),
    "ref_px": ("price", "size"),
}
_FIELDS: Final = ("price", "size", "ask_price", "ask_size")  # a quote's bid stands in the first two


class Label(NamedTuple):
    """All that a row says in words, but for its id."""

    symbol: str
    asset_class: str
    vendor: str
    feed: str
    venue: str = ""
    ts_source: str = "vendor"
    origin: str = "live"
    status: str = "LIVE"
    side: str = ""
    conditions: str = ""
    kind: str = ""


_LABEL_TEXTS: Final = frozenset(Label._fields)


@cache
def record_dtype(id_bytes: int = 0) -> np.dtype[Any]:
    """Rows whose ids take up to so many bytes; 0: none has an id."""
    fields: list[tuple[str, str]] = [
        ("ts_event", "<i8"),
        ("created_at", "<i8"),
        ("seq", "<i8"),
        *((name, "<f8") for name in _FIELDS),
        ("label", "<i4"),
        ("type", "i1"),
    ]
    return np.dtype([*fields, ("event_id", f"S{id_bytes}")] if id_bytes else fields)


class Labels:
    """The labels of one replay, numbered as they were first seen."""

    def __init__(self) -> None:
        self.known: list[Label] = []
        self._codes: dict[Label, int] = {}

    def code(self, label: Label) -> int:
        found = self._codes.get(label)
        if found is None:
            found = self._codes[label] = len(self.known)
            self.known.append(label)
        return found

    def codes(self, texts: Mapping[str, pa.Array | str], rows: int) -> NDArray[np.int32]:
        """The label of every row, from columns of text; a column that says the same in every row
        may be that text."""
        same = {name: text for name, text in texts.items() if isinstance(text, str)}
        varied = {n: t.dictionary_encode() for n, t in texts.items() if not isinstance(t, str)}
        combined = np.zeros(rows, np.int64)
        for column in varied.values():
            combined = combined * len(column.dictionary) + column.indices.to_numpy()
        found, first, inverse = np.unique(combined, return_index=True, return_inverse=True)
        codes = np.empty(len(found), np.int32)
        for place, row in enumerate(first.tolist()):
            differs = {name: column[row].as_py() for name, column in varied.items()}
            codes[place] = self.code(Label(**same, **differs))
        return codes[inverse]


def to_table(block: Block, event_type: EventType, labels: Sequence[Label]) -> pa.Table:
    """Rows of one event type as columns of C1, `occurrence` 0 throughout."""
    codes = pa.array(block["label"])
    arrays: list[pa.Array] = []
    names = []
    for column in COLUMNS[event_type]:
        names.append(column.name)
        if column.name in _LABEL_TEXTS:
            texts = pa.array([getattr(label, column.name) for label in labels], pa.string())
            same = len(labels) == 1
            arrays.append(pa.repeat(texts[0], len(block)) if same else texts.take(codes))
        elif column.name in NUMBERS[event_type]:
            place = NUMBERS[event_type].index(column.name)
            arrays.append(pa.array(np.ascontiguousarray(block[_FIELDS[place]])))
        elif column.name == "occurrence":
            arrays.append(pa.array(np.zeros(len(block), np.int32)))
        elif column.name == "event_id":
            arrays.append(_ids(block))
        else:
            arrays.append(pa.array(np.ascontiguousarray(block[column.name])))
    return pa.Table.from_arrays(arrays, names=names)


def _ids(block: Block) -> pa.Array:
    if "event_id" not in (block.dtype.names or ()):
        return pa.repeat(pa.scalar("", pa.string()), len(block))
    return pa.array(block["event_id"].tolist(), pa.binary()).cast(pa.string())


def numbers_into(
    block: Block, event_type: EventType, columns: Mapping[str, NDArray[np.float64]]
) -> None:
    """Set the rows' type and numbers; those not given are NaN."""
    block["type"] = KINDS[event_type]
    for name in _FIELDS:
        block[name] = np.nan
    for place, name in enumerate(NUMBERS[event_type]):
        if name in columns:
            block[_FIELDS[place]] = columns[name]


def widened(block: Block, id_bytes: int) -> Block:
    """Rows without ids as rows that have none among others that do."""
    if not id_bytes:
        return block
    wider = np.zeros(len(block), record_dtype(id_bytes))
    for name in block.dtype.names or ():
        wider[name] = block[name]
    return wider


def only(block: Block, labels: Labels, symbols: Iterable[str] | None) -> Block:
    """The rows of these symbols; all for None."""
    if symbols is None or not len(block):
        return block
    wanted = frozenset(symbols)
    keep = np.array([label.symbol in wanted for label in labels.known])
    chosen: Block = block[keep[block["label"]]]
    return chosen
