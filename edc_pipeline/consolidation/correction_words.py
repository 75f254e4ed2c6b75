"""Which words in `conditions` take a print back or correct it, vendor by vendor, and on what
evidence. The only such table; `docs/corrections.md` is made of it.

A word counts for the vendor that it stands under and for no other: conditions are the vendors' own
words, and the same letters may come from an order's name at TradingView or a mapping of one's own.
Evidence is marked as documented [doc], recorded [rec], read from a client's source [code],
reported by users [issue], or not confirmed [unsure].
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class Effect(Enum):
    """What a row with the word does in the corrected view."""

    TAKES_BACK = "it goes, and the print that it names"
    REPLACES = "it stays, in the place of the print that it names"
    RECORD = "it goes, and no other row"


@dataclass(frozen=True, slots=True)
class Word:
    effect: Effect
    means: str
    evidence: str


_BREAK: Final = "a prior print is broken"
_DELETED: Final = "what was sent is deleted"
_UPDATED: Final = "what was sent is updated"
_ENVELOPE: Final = "documented `messageType` of an envelope [doc]; none recorded [unsure]"
_CORRECTION: Final = (
    "`correction` of `/v3/trades`; Massive's glossary of conditions and indicators [doc]"
)
_SEEN: Final = "; seen in its files of trades (polygon-io/issues 306 [issue])"

WORDS: Final[dict[str, dict[str, Word]]] = {
    "tiingo": {
        "break": Word(
            Effect.TAKES_BACK,
            _BREAK,
            "row type `B` of IEX and BOATS [doc]; it names no id, so what agrees in ticker, price"
            " and size is meant [unsure, none recorded]",
        ),
        "deleted": Word(Effect.TAKES_BACK, _DELETED, f"`D`, a {_ENVELOPE}"),
        "updated": Word(
            Effect.REPLACES,
            _UPDATED,
            f"`U`, a {_ENVELOPE}; without an id it names no print, and both stay",
        ),
    },
    "fmp": {
        "break": Word(
            Effect.TAKES_BACK,
            _BREAK,
            "`type` `B` beside `Q` and `T` [doc], read as Tiingo's, whose rows it resembles; it"
            " names no id [unsure]",
        ),
    },
    "massive": {
        "correction:1": Word(
            Effect.REPLACES,
            "the original print, with its time and the corrected data",
            f"{_CORRECTION}{_SEEN}. It replaces the print as it was heard live",
        ),
        "correction:7": Word(
            Effect.TAKES_BACK,
            "the original print, later marked as erroneous",
            f"{_CORRECTION}; none seen [unsure]",
        ),
        "correction:8": Word(
            Effect.TAKES_BACK, "the original print, later cancelled", f"{_CORRECTION}{_SEEN}"
        ),
        "correction:10": Word(
            Effect.TAKES_BACK,
            "the cancel record that follows an 8; it bears the print's id",
            f"{_CORRECTION}{_SEEN}; both rows are delivered, with one id [code]",
        ),
        "correction:11": Word(
            Effect.TAKES_BACK,
            "the error record that follows a 7",
            f"{_CORRECTION}; none seen [unsure]",
        ),
        "correction:12": Word(
            Effect.RECORD,
            "the correction record that follows a 1, with the incorrect data",
            f"{_CORRECTION}{_SEEN}; both rows are delivered, with one id [code]",
        ),
    },
    "signed_json": {
        "break": Word(Effect.TAKES_BACK, _BREAK, "ours: a mapping may give `conditions` this word"),
        "deleted": Word(
            Effect.TAKES_BACK, _DELETED, "ours: a mapping may give `conditions` this word"
        ),
        "updated": Word(
            Effect.REPLACES, _UPDATED, "ours: a mapping may give `conditions` this word"
        ),
    },
}

# Vendors whose trades bear no such word, and why we say so.
NONE: Final[dict[str, str]] = {
    "alpha_vantage": "no trades",
    "binance": "no stream has a message that takes a trade back [doc]; conditions are the kind of"
    " a trade (`insurance_fund`, `adl`); a number that stands for no trade (`X` `NA`) is no event",
    "coinbase": "no channel has a message that takes a match back [doc]; no conditions",
    "finage": "none documented; no conditions, no ids",
    "finnhub": "41 condition codes, none of which cancels [doc]; 39, a corrected consolidated"
    " close, is a price given out anew and corrects no print",
    "kraken": "no channel has a message that takes a trade back [doc]; conditions are the taker's"
    " order type",
    "tradingview": "fills of one's own strategy; conditions hold the name of an order, whatever"
    " its words are",
    "twelve_data": "no trades",
    "zerodha": "no trades: snapshots",
}

# Words that speak of corrections and are not applied.
NOT_APPLIED: Final[dict[str, str]] = {
    "massive": "`c` 38 (corrected consolidated close) is a price given out anew. 44, 46, 48, 49 and"
    " 54 (cancelled, correction, as of correction, as of cancel, errored) stand in the glossary"
    " without a code of the tape, and say of no print which; `/v3/reference/conditions` does not"
    " list them [code]. Whether the websocket tells of cancels at all is not documented [unsure]:"
    " ask `/v3/trades` for the day once it is over.",
}


def effect_of(vendor: str, conditions: str) -> Effect | None:
    """What a row does; of several words the one that takes most away."""
    words = WORDS.get(vendor)
    if words is None:
        return None
    found = {words[word].effect for word in conditions.split() if word in words}
    return next((effect for effect in Effect if effect in found), None)
