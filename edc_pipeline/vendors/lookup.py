"""From any spelling of a symbol to ours, and from ours to every vendor's. Pure: the vendors' own
rules, asked one after another."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from edc_pipeline.events import AssetClass
from edc_pipeline.vendors.contract import Vendor
from edc_pipeline.vendors.kraken.symbols import present_name
from edc_pipeline.vendors.pairs import kind_fault

# A single word longer than this is no ticker where it can be a pair: `btcusdt`, `eurusd`.
_TICKER: Final = 5
# A vendor that takes this for a symbol takes nearly anything: names as its users write them.
_ANYTHING: Final = "A-B C"

# Vendors whose instruments are numbered: by vendor, our symbol → the number, as feeds.yaml has it.
Tokens = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Spelling:
    """One symbol at the feeds of a vendor that spell it alike."""

    symbol: str  # ours
    vendor: str
    feeds: tuple[str, ...]
    asset_class: AssetClass
    spelling: str  # the vendor's
    venue: str  # where the spelling names one


def readings(
    text: str, vendors: Iterable[Vendor], tokens: Tokens = MappingProxyType({})
) -> list[str]:
    """What this may mean in our spelling; more than one where vendors differ. Empty: nothing.

    A spelling that is one vendor's own comes back from that vendor's rules the same, but for case.
    """
    text = text.strip()
    if not text:
        return []
    numbered = [
        s for named in tokens.values() for s, number in named.items() if str(number) == text
    ]
    if numbered:
        return list(dict.fromkeys(numbered))
    if (renamed := present_name(text)) is not None:  # by a name that only one coin has
        return [renamed]
    strict = [v for v in vendors if not _takes_anything(v)]
    found: dict[str, None] = {}
    if any(v.check_symbol(feed, text) is None for v in strict for feed in v.feeds):
        found[text] = None
    for vendor in strict:
        for feed in vendor.feeds:
            ours = _symbol_of(vendor, feed, text)
            if ours and _spell(vendor, feed, ours).lower() == text.lower() and _has_names(ours):
                found[ours] = None
    if not found:
        lax = (v for v in vendors if _takes_anything(v))
        known = any(_symbol_of(v, f, text.upper()) == text.upper() for v in lax for f in v.feeds)
        return [text.upper()] if known else []
    pairs = [symbol for symbol in found if "/" in symbol]
    if "/" in text or (pairs and len(re.sub(r"\W", "", text)) > _TICKER):
        return pairs
    return list(found)


def _takes_anything(vendor: Vendor) -> bool:
    """Who posts to a webhook spells as he likes, and so do exchanges with names of their own."""
    called = all(feed.way_in == "webhook" for feed in vendor.feeds.values())
    return called or any(_symbol_of(vendor, feed, _ANYTHING) for feed in vendor.feeds)


def _has_names(symbol: str) -> bool:
    """408065 is a number, and no pair of the moneys 408 and 065."""
    return all(re.search("[A-Z]", side) for side in symbol.split("/"))


def spellings(
    symbol: str, vendors: Iterable[Vendor], tokens: Tokens = MappingProxyType({})
) -> list[Spelling]:
    """At every feed that can have it, by its form; whether it has, the vendor tells."""
    alike: dict[tuple[str, AssetClass, str], list[str]] = {}
    for vendor in vendors:
        for name, feed in vendor.feeds.items():
            if symbol_fault(vendor, name, symbol) is None:
                number = tokens.get(vendor.name, {}).get(symbol)
                spelled = _spell(vendor, name, symbol) if number is None else str(number)
                alike.setdefault((vendor.name, feed.class_of(symbol), spelled), []).append(name)
    return [
        Spelling(symbol, vendor_name, tuple(feeds), asset_class, spelled, _venue(spelled))
        for (vendor_name, asset_class, spelled), feeds in alike.items()
    ]


def symbol_fault(
    vendor: Vendor, feed: str, symbol: str, *, class_is_stated: bool = False
) -> str | None:
    """What is wrong with asking this feed for it, as far as its spelling tells. Who states what a
    pair is knows that the feed has it."""
    fault, spec = vendor.check_symbol(feed, symbol), vendor.feeds[feed]
    if fault is not None or spec.any_pairs or class_is_stated:
        return fault
    return kind_fault(symbol, spec.asset_class)


def _venue(spelling: str) -> str:
    """`BINANCE:BTCUSDT`; a single letter is a market's, not a venue's (`X:BTCUSD`)."""
    venue, colon, _ = spelling.partition(":")
    return venue if colon and len(venue) > 1 else ""


def _symbol_of(vendor: Vendor, feed: str, text: str) -> str:
    try:
        symbol = vendor.symbol_of(feed, text)
        wrong = vendor.check_symbol(feed, symbol)
    except (LookupError, ValueError):  # a vendor of numbered instruments knows only its own
        return ""
    return "" if wrong else symbol


def _spell(vendor: Vendor, feed: str, symbol: str) -> str:
    try:
        return vendor.spell(feed, symbol)
    except (LookupError, ValueError):
        return ""
