"""The rows of a daily file, read once through all checks that rows alone can fail.

Shape, text, content hash, order, day and identity; and what they come to, for the certificate's
counts to be held against.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edc_pipeline.consolidation.certificate import Certificate
from edc_pipeline.consolidation.content_hash import ContentHash, FirstContentHash
from edc_pipeline.consolidation.findings import NAMED, Verification
from edc_pipeline.consolidation.h5_read import blocks
from edc_pipeline.consolidation.layout import table_dtype, text_columns
from edc_pipeline.consolidation.read_back import wrong_order
from edc_pipeline.consolidation.rows import Array
from edc_pipeline.consolidation.same_rows import SameRows
from edc_pipeline.consolidation.words import factorized
from edc_pipeline.market_day import day_bounds, parse_day


class RowsSeen:
    """What the rows of a table come to, block by block."""

    def __init__(self) -> None:
        self.count = 0
        self.first: int | None = None
        self.last: int | None = None
        self.by_feed: dict[str, int] = {}
        self.symbols: dict[bytes, tuple[int, int]] = {}  # symbol → (rows, first row)

    def take(self, block: Array) -> None:
        stamps = block["ts_event"]
        low, high = int(stamps.min()), int(stamps.max())
        self.first = low if self.first is None else min(self.first, low)
        self.last = high if self.last is None else max(self.last, high)
        vendors, vendor = factorized(block["vendor"])
        feeds, feed = factorized(block["feed"])
        product = vendor.astype(np.int64) * len(feeds) + feed
        for at, n in enumerate(np.bincount(product, minlength=len(vendors) * len(feeds)).tolist()):
            if n:
                name = f"{vendors[at // len(feeds)].decode()}/{feeds[at % len(feeds)].decode()}"
                self.by_feed[name] = self.by_feed.get(name, 0) + n
        names, codes = factorized(block["symbol"])
        counts = np.bincount(codes, minlength=len(names)).tolist()
        first = np.zeros(len(names), np.int64)
        first[codes[::-1]] = np.arange(len(codes) - 1, -1, -1)
        for name_, n, at in zip(names, counts, first.tolist(), strict=True):
            before = self.symbols.get(name_, (0, self.count + at))
            self.symbols[name_] = (before[0] + n, before[1])
        self.count += len(block)


def read_rows(table: Any, found: Verification) -> RowsSeen | None:
    """Stream the rows through all checks; None if they are misshapen."""
    certificate = found.certificate
    assert certificate is not None
    event_type = certificate.event_type
    found.rows = len(table)
    fields = table.dtype.fields or {}
    widths = {n: fields[n][0].itemsize for n in text_columns(event_type) if n in fields}
    if len(widths) < len(text_columns(event_type)) or table.dtype != table_dtype(
        event_type, widths
    ):
        found.error("table", f"its columns are {table.dtype}, not those of {event_type}")
        return None
    now = certificate.content_hash.startswith("edc2:")
    content = ContentHash(event_type, certificate.order)
    first_content = FirstContentHash(event_type)
    order = _Order(found)
    rows = RowsSeen()
    with SameRows(event_type, table.dtype) as same:
        for block in blocks(table):
            (content if now else first_content).update(block)
            order.take(block)
            same.take(block)
            rows.take(block)
            if (fault := _not_utf8(block, widths)) is not None:
                found.error("content", fault)
                return None
        hashed = content.result(table.dtype) if now else first_content.result()
        if hashed != certificate.content_hash:
            found.error(
                "content",
                f"its rows hash to {hashed}, its certificate says"
                f" {certificate.content_hash}: they are not the rows that were written",
            )
        _check_identity(same, table, certificate, found)
    return rows


def _not_utf8(block: Array, widths: dict[str, int]) -> str | None:
    for name in widths:
        values = np.ascontiguousarray(block[name])
        # ASCII is UTF-8, and nearly all there is.
        if (values.view(np.uint8) < 128).all():
            continue
        for word in factorized(values)[0]:
            try:
                word.decode()
            except UnicodeDecodeError as error:
                return f"a text is not UTF-8: {error}"
    return None


class _Order:
    """The index counts from 0; rows go in the order certified; all lie in the day."""

    def __init__(self, found: Verification) -> None:
        assert found.certificate is not None
        self._found = found
        self._order = found.certificate.order
        self._day = parse_day(found.certificate.day)
        self._bounds = day_bounds(self._day)
        self._last: Array | None = None
        self._rows = 0
        self._said: set[str] = set()

    def take(self, block: Array) -> None:
        start = self._rows
        self._rows += len(block)
        if not np.array_equal(block["index"], np.arange(start, self._rows)):
            self._say("table", "the index does not count the rows from 0")
        first, end = self._bounds
        outside = np.flatnonzero((block["ts_event"] < first) | (block["ts_event"] >= end))
        if len(outside):
            self._say(
                "day",
                f"row {start + outside[0]} and {len(outside) - 1} more of its block happened"
                f" outside {self._day} in New York",
            )
        if self._last is not None and len(
            wrong_order(np.concatenate([self._last, block[:1]]), self._order)
        ):
            self._say("order", f"row {start} should come before the one above it")
        back = wrong_order(block, self._order)
        if len(back):
            self._say("order", f"row {start + back[0]} should come before the one above it")
        self._last = block[-1:].copy()

    def _say(self, check: str, message: str) -> None:
        if check not in self._said:
            self._said.add(check)
            self._found.error(check, message)


def _check_identity(
    same: SameRows, table: Any, certificate: Certificate, found: Verification
) -> None:
    """No two rows are equal without `created_at`, and copies are numbered 0, 1, 2 … in order."""
    same.finish()
    for row in same.wrong[:NAMED]:
        symbol = table[row.row]["symbol"].decode("utf-8", "replace")
        found.error(
            "identity",
            f"row {row.row} ({symbol}) is copy {row.copy} of its content and says"
            f" occurrence {row.occurrence}: a duplicate, or a copy that is missing",
        )
    if same.wrong_rows > NAMED:
        found.error("identity", f"and {same.wrong_rows - NAMED} more rows like these")
    # Identities under which no content stands twice.
    once = {"id": same.repeated_ids, "content": same.repeated_stamps}
    repeated = [once[n.identity][f] for f, n in certificate.feeds.items() if n.identity in once]
    if sum(repeated):
        found.error(
            "identity", f"{sum(repeated)} rows repeat the id and the content of another row"
        )
