"""What several vendors' servers do alike: check a key, know which symbols a client asked for."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterable, Mapping
from math import isnan
from typing import Any, Final

from edc_pipeline.simulator.session import Reply, ReplyKind, Terms

MS: Final = 1_000_000


def is_key(terms: Terms, key: object) -> bool:
    if not isinstance(key, str) or not key:
        return False
    return terms.token is None or hmac.compare_digest(key.encode(), terms.token.encode())


def said(kind: ReplyKind, message: object) -> Reply:
    return Reply(kind, compact(message))


def compact(message: object) -> str:
    return json.dumps(message, separators=(",", ":"), allow_nan=False)


def request(message: str | bytes) -> dict[str, Any]:
    """What a client said; empty for what is no JSON object."""
    try:
        asked = json.loads(message)
    except (ValueError, RecursionError):
        return {}
    return asked if isinstance(asked, dict) else {}


def null(value: float) -> float | None:
    return None if isnan(value) else value


class Wanted:
    """The symbols of one connection, as the vendor spells them."""

    def __init__(self, listed: Mapping[str, int]) -> None:
        self._listed = listed  # the vendor's spelling → which instrument
        self.tickers: dict[str, None] = {}
        self._of_instrument: dict[int, str] = {}

    def add(self, tickers: Iterable[str]) -> tuple[list[str], list[str]]:
        """Those that are listed here, and those that are not."""
        known: list[str] = []
        unknown: list[str] = []
        for ticker in tickers:
            (known if ticker in self._listed else unknown).append(ticker)
        self.tickers.update(dict.fromkeys(known))
        self._settle()
        return known, unknown

    def remove(self, tickers: Iterable[str]) -> None:
        for ticker in tickers:
            self.tickers.pop(ticker, None)
        self._settle()

    def _settle(self) -> None:
        self._of_instrument = {self._listed[ticker]: ticker for ticker in self.tickers}

    def ticker(self, instrument: int) -> str | None:
        """How the client spelled it; None: not asked for."""
        return self._of_instrument.get(instrument)

    @property
    def key(self) -> frozenset[str] | None:
        return frozenset(self.tickers) or None
