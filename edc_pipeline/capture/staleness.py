"""Which events are STALE: the one place that says when a symbol's state is known again. Pure.

After a gap nobody knows what a symbol did meanwhile, until it speaks again:

- A quote is a full top of book, and a reference, last or mid price is a full price. The first one
  after the gap says how things stand. It is LIVE itself, and so is what follows.
- A trade is one print among others that may be missing. The first event of a symbol after the
  gap, when it is a trade, is STALE: no price change, bar or volume may be drawn from the print
  before it to this one. It tells the last price, so what follows is LIVE. Waiting for a quote
  instead would leave a subscription to trades alone STALE for ever.
- Open, high, low and closing prices neither tell where the market is, nor can they be out of date
  by it: they stay LIVE and end nothing. The same holds for what a backfill brings.

A gap of a feed or a connection concerns every symbol of the feed, also those never heard before.
Where the vendor numbers a symbol, a jump concerns that symbol, from the message that jumped on:
also when the missing ones come a moment later, since at that moment they were missing.

All of it follows from the frames in their order and from the `gap` of their line (see
`journal.blocks.Line`), both of which the journal holds. So recovery marks what capture marked.
One difference is left: symbols that were heard again in a segment that is gone already are
unknown to recovery, and their next trade is marked STALE once more. It errs to that side only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from edc_pipeline.events import AnyEvent, RefPx, Trade

# Symbols remembered as heard again after a gap. All US listings are some 12,000.
MOST_SYMBOLS: Final = 100_000

_CURRENT_PRICES: Final = frozenset({"reference", "last", "mid"})


class Staleness:
    """What is unknown of one feed."""

    __slots__ = ("_known", "_symbols", "_unknown", "active")

    def __init__(self, symbols: Sequence[str] = ()) -> None:
        self.active = False  # whether anything is unknown; False: `mark` need not be called
        self._symbols = frozenset(symbols)  # all that can come; empty: not known beforehand
        self._known: set[str] | None = None  # heard since a gap of the whole feed; None: no gap
        self._unknown: set[str] = set()

    def asks_for(self, symbols: Sequence[str]) -> None:
        self._symbols = frozenset(symbols)

    def lose_all(self) -> None:
        self._known = set()
        self._unknown.clear()
        self.active = True

    def lose(self, symbol: str) -> None:
        if self._known is not None:
            self._known.discard(symbol)
        elif len(self._unknown) < MOST_SYMBOLS:
            self._unknown.add(symbol)
        self.active = True

    def mark(self, event: AnyEvent) -> None:
        """Set the event's status, and take from it what it makes known."""
        symbol = event.symbol
        if self._known is None:
            if symbol not in self._unknown:
                return
        elif symbol in self._known:
            return
        if event.origin == "backfill":
            return
        if isinstance(event, Trade):
            event.status = "STALE"
        elif isinstance(event, RefPx) and event.kind not in _CURRENT_PRICES:
            return
        self._learn(symbol)

    def _learn(self, symbol: str) -> None:
        self._unknown.discard(symbol)
        known = self._known
        if known is not None:
            known.add(symbol)
            if len(known) >= MOST_SYMBOLS or (self._symbols and self._symbols <= known):
                self._known = None
        self.active = self._known is not None or bool(self._unknown)
