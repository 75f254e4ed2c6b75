"""The frames of one read at once, column by column: what `rows.py` reads, where all of it is plain.

Plain is: every frame a new row of the feed asked for, without a number or flag that needs a look.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edc_pipeline.vendors.contract import Columns, ReadMany
from edc_pipeline.vendors.iso_time import iso_to_ns_many
from edc_pipeline.vendors.reading import UNREADABLE, Fault
from edc_pipeline.vendors.tiingo.rows import (
    ASSET_CLASSES,
    BoatsTrade,
    CryptoQuote,
    CryptoTrade,
    EquityQuote,
    FxQuote,
    IexQuote,
    IexTrade,
    RowReader,
    marked_by,
    said_by,
)
from edc_pipeline.vendors.together import (
    Numbers,
    Places,
    Spelling,
    Times,
    Together,
    Way,
    Ways,
    by_kind,
    floats,
    required_floats,
)


def reader_of_many(feed: str, service: str, level: object, rows: RowReader) -> ReadMany | None:
    one_pass = rows.one_pass(feed, level)
    if one_pass is None:
        return None
    decode = one_pass[0].decode
    instrument = rows.instruments[feed].__getitem__
    ways = _ways(Together("tiingo", feed, ASSET_CLASSES[feed], instrument))

    def read_many(frames: Sequence[bytes], received_at: int) -> Sequence[Columns] | None:
        try:
            found = [decode(frame) for frame in frames]
            if [one.service for one in found].count(service) < len(found):
                return None
            rows = [one.data for one in found]
            columns = by_kind(rows, np.arange(len(rows)), ways)
            if columns and isinstance(rows[0], EquityQuote):
                columns += _references_in(rows, ways[tuple])
            return columns
        except UNREADABLE:
            return None

    return read_many


def _ways(together: Together) -> Ways:
    venues, conditions, marks = Spelling(str.lower), Spelling(said_by), Spelling(marked_by)

    def iex_quotes(rows: list[IexQuote], places: Places) -> Columns:
        times = np.array(_all([row.ns for row in rows]), np.int64)
        return together.columns("quote", _tickers(rows), _quotes(times, rows), places)

    def quotes(rows: list[FxQuote] | list[EquityQuote], places: Places) -> Columns:
        times = iso_to_ns_many([row.iso for row in rows])
        return together.columns("quote", _tickers(rows), _quotes(times, rows), places)

    def crypto_quotes(rows: list[CryptoQuote], places: Places) -> Columns:
        numbers = _quotes(iso_to_ns_many([row.iso for row in rows]), rows)
        coded = {"venue": venues([row.exchange for row in rows])}
        return together.columns("quote", _tickers(rows), numbers, places, coded)

    def iex_trades(rows: list[IexTrade], places: Places) -> Columns:
        numbers: Numbers = {
            "ts_event": np.array(_all([row.ns for row in rows]), np.int64),
            "price": required_floats([row.last for row in rows]),
            "size": floats([row.last_size for row in rows]),
        }
        flags = [(r.after_hours, r.halted, r.sweep, r.odd_lot, r.rule_611) for r in rows]
        coded = {"conditions": conditions(flags)}
        return together.columns("trade", _tickers(rows), numbers, places, coded)

    def boats_trades(rows: list[BoatsTrade], places: Places) -> Columns:
        numbers: Numbers = {
            "ts_event": np.array(_all([row.ns for row in rows]), np.int64),
            "price": floats([row.price for row in rows]),
            "size": floats([row.size for row in rows]),
        }
        coded = {"conditions": marks([(row.c1, row.c2, row.c3, row.c4) for row in rows])}
        return together.columns("trade", _tickers(rows), numbers, places, coded)

    def crypto_trades(rows: list[CryptoTrade], places: Places) -> Columns:
        numbers: Numbers = {
            "ts_event": iso_to_ns_many([row.iso for row in rows]),
            "price": floats([row.price for row in rows]),
            "size": floats([row.size for row in rows]),
        }
        coded = {"venue": venues([row.exchange for row in rows])}
        return together.columns("trade", _tickers(rows), numbers, places, coded)

    def references(rows: list[tuple[str, str, float]], places: Places) -> Columns:
        stamps, tickers, prices = zip(*rows, strict=True)
        numbers: Numbers = {"ts_event": iso_to_ns_many(stamps), "price": floats(prices)}
        return together.columns("ref_px", tickers, numbers, places, kind="reference")

    return {
        IexQuote: iex_quotes,
        IexTrade: iex_trades,
        FxQuote: quotes,
        CryptoQuote: crypto_quotes,
        CryptoTrade: crypto_trades,
        EquityQuote: quotes,
        BoatsTrade: boats_trades,
        tuple: references,
    }


def _references_in(rows: list[EquityQuote], references: Way) -> list[Columns]:
    """The price that liquidity is told around, where there is one."""
    told = [
        (n, (r.iso, r.ticker, r.reference)) for n, r in enumerate(rows) if r.reference is not None
    ]
    if not told:
        return []
    places, stated = zip(*told, strict=True)
    return [references(list(stated), np.array(places))]


def _quotes(
    times: Times, rows: Sequence[IexQuote | FxQuote | CryptoQuote | EquityQuote]
) -> Numbers:
    """As sent: Tiingo leaves out what there is none of."""
    return {
        "ts_event": times,
        "bid_price": floats([row.bid for row in rows]),
        "bid_size": floats([row.bid_size for row in rows]),
        "ask_price": floats([row.ask for row in rows]),
        "ask_size": floats([row.ask_size for row in rows]),
    }


def _all(times: list[int | None]) -> list[int | None]:
    if None in times:
        raise Fault("without a number of ns")
    return times


def _tickers(
    rows: Sequence[
        IexQuote | IexTrade | FxQuote | CryptoQuote | CryptoTrade | EquityQuote | BoatsTrade
    ],
) -> list[str]:
    return [row.ticker for row in rows]
