"""A recorded day as ticks of the fake exchange: any vendor's protocol is spoken over it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol, get_args

import numpy as np

from edc_pipeline.replay.merge import merge
from edc_pipeline.replay.records import KINDS, Block, Labels, only, record_dtype
from edc_pipeline.simulator import instruments
from edc_pipeline.simulator.instruments import Instrument
from edc_pipeline.simulator.market import BREAK, QUOTE, TRADE, Said, Tick, Ticks

# Asset classes that the vendors' protocols of the simulator list.
SPOKEN: Final = frozenset(get_args(instruments.AssetClass))
_NAN: Final = float("nan")


class EventSource(Protocol):
    """Where events come from; each hands out its own in the order of time."""

    @property
    def name(self) -> str: ...
    @property
    def id_bytes(self) -> int:
        """How many bytes its longest id takes; 0: it has none."""
        ...

    def symbols(self) -> Mapping[str, str]:
        """Every symbol, and its asset class."""
        ...

    def blocks(
        self, labels: Labels, id_bytes: int, from_ns: int | None = None
    ) -> Iterator[Block]: ...


def merged(
    sources: Sequence[EventSource],
    labels: Labels,
    *,
    symbols: Iterable[str] | None = None,
    from_ns: int | None = None,
    to_ns: int | None = None,
) -> Iterator[Block]:
    """All sources' events in global order, those of one time in the order of the sources."""
    id_bytes = max((source.id_bytes for source in sources), default=0)
    for block in merge([source.blocks(labels, id_bytes, from_ns) for source in sources]):
        chosen = only(block, labels, symbols)
        if to_ns is not None and len(chosen) and chosen["ts_event"][-1] >= to_ns:
            chosen = chosen[chosen["ts_event"] < to_ns]
            if len(chosen):
                yield chosen
            return
        if len(chosen):
            yield chosen


class RecordedDay:
    """A `TickSource` that also tells what its ticks say besides (`TellsMore`).

    A tick is sent when it happened: `ts_event` is both its stamp and its time. Reference prices
    are left out: vendors that send such make them from quotes and trades, and so do the speakers.
    """

    def __init__(
        self,
        sources: Sequence[EventSource],
        *,
        symbols: Iterable[str] | None = None,
        from_ns: int | None = None,
        to_ns: int | None = None,
    ) -> None:
        listed: dict[str, str] = {}
        for source in sources:
            listed |= source.symbols()
        wanted = None if symbols is None else set(symbols)
        self.instruments = tuple(
            instrument_of(symbol, asset_class)
            for symbol, asset_class in sorted(listed.items())
            if asset_class in SPOKEN and (wanted is None or symbol in wanted)
        )
        self._labels = Labels()
        self._blocks = merged(
            sources,
            self._labels,
            symbols=[i.symbol for i in self.instruments],
            from_ns=from_ns,
            to_ns=to_ns,
        )
        self._number_of = {i.symbol: n for n, i in enumerate(self.instruments)}
        self._pending: Block = np.empty(0, record_dtype())
        self._book: dict[int, tuple[float, float, float, float]] = {}
        self._says: list[tuple[int, Said]] = []  # by label: the instrument, and the words

    # -- a tick source ------------------------------------------------------------------------

    def take(self, count: int) -> Ticks:
        taken: list[Block] = []
        while count > 0 and (len(self._pending) or self._fetch()):
            part, self._pending = self._pending[:count], self._pending[count:]
            taken.append(part)
            count -= len(part)
        if not taken:
            return self._pending
        return np.concatenate(taken) if len(taken) > 1 else taken[0]

    def until(self, ns: int) -> Ticks:
        taken: list[Block] = []
        while len(self._pending) or self._fetch():
            end = int(np.searchsorted(self._pending["ts_event"], ns))
            taken.append(self._pending[:end])
            self._pending = self._pending[end:]
            if len(self._pending):
                break
        return np.concatenate(taken) if taken else self._pending

    def jump_to(self, ns: int) -> None:
        self.until(ns)

    def first_ns(self) -> int | None:
        """When the first tick is due; None: there is none."""
        if not len(self._pending) and not self._fetch():
            return None
        return int(self._pending["ts_event"][0])

    def _fetch(self) -> bool:
        for block in self._blocks:
            spoken = block[block["type"] != KINDS["ref_px"]]
            if len(spoken):
                self._pending = spoken
                return True
        return False

    # -- one by one ---------------------------------------------------------------------------

    def rows(self, ticks: Ticks) -> list[Tick]:
        for label in self._labels.known[len(self._says) :]:
            # Others than the instruments' are chosen away before they come here.
            number = self._number_of.get(label.symbol, -1)
            said = Said(venue=label.venue, side=label.side, conditions=label.conditions)
            self._says.append((number, said))
        return [self._tick(row) for row in ticks.tolist()]

    def _tick(self, row: tuple[Any, ...]) -> Tick:
        at_ns, _, seq, price, size, ask, ask_size, label, kind, *event_id = row
        instrument, said = self._says[label]
        if seq >= 0 or event_id:
            told = event_id[0].decode() if event_id else ""
            said = replace(said, event_id=told, seq=seq)
        conditions = said.conditions
        flags = (
            "halted" in conditions,
            "after_hours" in conditions,
            "intermarket_sweep" in conditions,
            "odd_lot" in conditions,
            "rule_611_exempt" in conditions,
        )
        if kind == KINDS["quote"]:
            self._book[instrument] = book = (price, size, ask, ask_size)
            return Tick(at_ns, at_ns, instrument, 0, QUOTE, *book, _NAN, _NAN, *flags, said)
        book = self._book.get(instrument, (_NAN, _NAN, _NAN, _NAN))
        is_break = conditions.startswith("break")
        what = BREAK if is_break else TRADE
        return Tick(at_ns, at_ns, instrument, 0, what, *book, price, size, *flags, said)


def instrument_of(symbol: str, asset_class: str) -> Instrument:
    """As the speakers need it; how it would behave on the synthetic market does not matter."""
    listed = instruments.LISTED.get(symbol) or instruments.invented(symbol)
    return Instrument(
        symbol=symbol,
        asset_class=asset_class,  # type: ignore[arg-type] # one of SPOKEN
        start_price=listed.start_price,
        ticks_per_unit=listed.ticks_per_unit,
        volatility=listed.volatility,
        loadings=listed.loadings,
        trade_share=listed.trade_share,
        typical_size=listed.typical_size,
    )
