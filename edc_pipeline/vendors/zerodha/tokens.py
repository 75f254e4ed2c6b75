"""Our symbol ↔ Kite's instrument token: by the feed's options, or by Kite's dump of instruments.

A symbol is Kite's trading symbol (`INFY`, `NIFTY 50`, `M&M`), with its exchange before it where
several list it: `NSE:INFY`. With its token in the options it may be called anything: `USD/INR`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from edc_pipeline.events import AssetClass

_SYMBOL: Final = re.compile(r"([A-Z]{2,6}:)?[A-Z0-9][A-Z0-9&./\-_* ]{0,39}(?<! )", re.ASCII)
_MOST: Final = 2**32
_TYPES: Final[Mapping[str, AssetClass]] = {
    "EQ": "equity",
    "FUT": "future",
    "CE": "option",
    "PE": "option",
}
_COLUMNS: Final = ("instrument_token", "tradingsymbol", "instrument_type", "segment", "exchange")


def tokens_of(options: Mapping[str, Any]) -> dict[str, int]:
    """Whatever stands there: an old journal's options were checked when they were new."""
    tokens = options.get("tokens")
    if not isinstance(tokens, Mapping):
        return {}
    return {str(s): t for s, t in tokens.items() if isinstance(t, int) and 0 < t < _MOST}


def check_symbol(symbol: str) -> str | None:
    if not _SYMBOL.fullmatch(symbol):
        return "is no trading symbol of Kite; write it as Kite does, e.g. INFY or NSE:INFY"
    return None


def check_tokens(tokens: object) -> str | None:
    if not isinstance(tokens, Mapping):
        return f"tokens = {tokens!r:.60}: symbols and their tokens are needed, as {{INFY: 408065}}"
    for symbol, token in tokens.items():
        if isinstance(token, bool) or not isinstance(token, int) or not 0 < token < _MOST:
            return f"tokens: {symbol}: {token!r:.40} is no instrument token"
    return None


def missing(symbols: Sequence[str], options: Mapping[str, Any]) -> list[str]:
    tokens = tokens_of(options)
    named = [symbol for symbol in symbols if symbol not in tokens]
    if not named:
        return []
    more = f" and {len(named) - 5} more" if len(named) > 5 else ""
    return [
        f"symbols: {', '.join(named[:5])}{more}: no instrument token is known; name it in"
        " options.tokens, or Kite's dump of instruments in options.instruments"
    ]


def read_dump(
    text: str, symbols: Sequence[str], options: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, AssetClass]]:
    """The options with the tokens of these symbols, and their asset classes, from Kite's dump
    (`GET /instruments`, CSV). What stands in the options goes first. `ValueError` in words."""
    wanted = [symbol for symbol in symbols if symbol not in tokens_of(options)]
    found: dict[str, dict[str, tuple[int, AssetClass | None]]] = {s: {} for s in wanted}
    for exchange, symbol, token, asset_class in _rows(text):
        for spelled in (symbol, f"{exchange}:{symbol}"):
            if spelled in found:
                found[spelled][exchange] = token, asset_class
    tokens, classes = dict(options.get("tokens") or {}), {}
    for symbol, listings in found.items():
        if len(listings) > 1:
            spellings = " or ".join(f"{exchange}:{symbol}" for exchange in sorted(listings))
            raise ValueError(f"{symbol} is listed more than once: write {spellings}")
        for token, asset_class in listings.values():
            tokens[symbol] = token
            if asset_class is not None:
                classes[symbol] = asset_class
    return {**options, "tokens": tokens}, classes


def _rows(text: str) -> Iterator[tuple[str, str, int, AssetClass | None]]:
    reader = csv.DictReader(io.StringIO(text))
    if lacking := [name for name in _COLUMNS if name not in (reader.fieldnames or ())]:
        raise ValueError(f"is no dump of Kite's instruments: it lacks {', '.join(lacking)}")
    for number, row in enumerate(reader, 2):
        token = row["instrument_token"] or ""
        if not (token.isascii() and token.isdigit()):
            raise ValueError(f"line {number}: {token!r:.40} is no instrument token")
        is_index = row["segment"] == "INDICES"
        asset_class = "index" if is_index else _TYPES.get(row["instrument_type"] or "")
        yield row["exchange"] or "", row["tradingsymbol"] or "", int(token), asset_class
