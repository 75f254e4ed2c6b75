"""What the readers of several vendors share: what unreadable means, stamps, symbols as heard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import msgspec

from edc_pipeline.events import NAN, AssetClass
from edc_pipeline.vendors.contract import Control, Subscription, both

# What msgspec raises for bytes that are not what was declared: malformed JSON, wrong types,
# text that is not UTF-8, brackets nested past the recursion limit.
UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)

Stamp = int | float
Number = float | None


class Fault(ValueError):
    """This can't be an event; the message says why."""


# Told of one frame; a hostile one can hold a million.
_FAULTS_TOLD: Final = 20


def add_fault(faults: list[str], told: str) -> None:
    if len(faults) < _FAULTS_TOLD:
        faults.append(told[:300])
    elif len(faults) == _FAULTS_TOLD:
        faults.append("and more")


# Symbols whose spelling is remembered: a vendor has some 100,000, a subscription far fewer. None
# that is longer than any, or a hostile sender could fill the memory with them.
KEPT: Final = 65_536
LONGEST: Final = 40

_EARLIEST_S: Final = 100_000_000  # 1973; what is less is no time, but a zero or a duration
_UNITS: Final = ((100_000_000_000, 10**9), (10**14, 10**6), (10**17, 1_000), (2**63, 1))


def epoch_to_ns(stamp: Stamp) -> int:
    """A number of seconds, ms, µs or ns since 1970 → ns; which of them is told by its size.

    From 1973 to the year 5138 the four do not overlap, and vendors do write other units than they
    document (Finage's ETFs come in seconds). What fits none is no stamp: `Fault`.
    """
    if 10**11 <= stamp < 10**14 and type(stamp) is int:
        return stamp * 1_000_000  # ms, as nearly all come
    if stamp >= _EARLIEST_S:
        for below, unit in _UNITS:
            if stamp < below:
                if isinstance(stamp, int):
                    return stamp * unit
                return int(Decimal(repr(stamp)) * unit)
    raise Fault(f"{stamp} is no time since 1970 in seconds, ms, µs or ns")


def given(number: Number) -> float:
    """NaN where the vendor gave none."""
    return NAN if number is None else number


def side(price: Number, size: Number) -> tuple[float, float]:
    """One side of a book. A price of 0 is how vendors write that there is none; then its size says
    nothing."""
    return (price, NAN if size is None else size) if price and price == price else (NAN, NAN)  # noqa: PLR0124


def required(price: Number, what: str) -> float:
    if price is None or price != price:  # noqa: PLR0124 - NaN, which lax decoding lets through
        raise Fault(f"{what} without a price")
    return price


def status_means(status: int, said: str) -> Control:
    """What an HTTP status means where a vendor has no customs of its own, in the vendor's words."""
    detail = f"HTTP {status} {said}".strip()[:200]
    if status in {401, 403}:
        return Control("fatal", detail)
    return Control("transient" if status == 429 or status >= 500 else "refused", detail)


@dataclass(frozen=True, slots=True)
class Change:
    """Other symbols on the same connection (`contract.ChangesInPlace`)."""

    more: tuple[str, ...]
    less: tuple[str, ...]
    both: Subscription  # what is under way is still of the former symbols

    @classmethod
    def between(cls, was: Subscription, now: Subscription) -> Change | None:
        """None where all symbols are wanted, or were until now."""
        if not (was.symbols and now.symbols):
            return None
        more = tuple(s for s in now.symbols if s not in was.symbols)
        return cls(more, tuple(s for s in was.symbols if s not in now.symbols), both(was, now))


class Instruments(dict[str, tuple[str, AssetClass]]):
    """A vendor's symbols as one connection hears them: ours, and its asset class.

    A dict, whose own look-up takes half of a call: one is made for every row read by itself.
    """

    def __init__(
        self,
        subscription: Subscription,
        spelled: Mapping[str, str],
        symbol_of: Callable[[str], str],
        class_of: Callable[[str], AssetClass],
    ) -> None:
        """`spelled` is the vendor's spelling of what was asked for → ours, which goes first;
        `symbol_of` and `class_of` take the vendor's spelling of anything else."""
        super().__init__()
        self._spelled = spelled
        self._asset_classes = subscription.asset_classes
        self._symbol_of = symbol_of
        self._class_of = class_of

    def __missing__(self, ticker: str) -> tuple[str, AssetClass]:
        symbol = self._spelled.get(ticker) or self._symbol_of(ticker)
        known = symbol, self._asset_classes.get(symbol) or self._class_of(ticker)
        if len(self) >= KEPT:
            self.clear()
        if len(ticker) <= LONGEST:
            self[ticker] = known
        return known
