"""A vendor that names a new symbol in every message: every event is kept, and memory is bounded."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from edc_pipeline.capture import heard
from edc_pipeline.capture.collector import Collector
from edc_pipeline.coded import Coded, Words
from edc_pipeline.spool.tables import columns_to_table
from edc_pipeline_tests.capture.numbered_vendor import made_vendor, message, serving
from edc_pipeline_tests.capture.test_collector import rows_in, run
from edc_pipeline_tests.capture.test_gaps import (
    QUICK,
    captured,
    events_of,
    feed_of,
    made,
    numbered,
)


def test_those_beyond_the_most_are_stored_counted_and_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made(monkeypatch, made_vendor())
    monkeypatch.setattr(heard, "MOST_HEARD", 300)

    async def floods(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            for number in range(3000):
                symbol = "SPY" if number == 1500 else f"Z{number}"
                await connection.send(message("Q", symbol, -1))
            await connection.wait_closed()

    async def scenario() -> None:
        async with serving(floods) as url:
            settings = numbered(tmp_path, url, ("SPY",))
            collector = Collector(settings, "c1", watch=QUICK)
            await captured(collector, lambda: feed_of(collector).symbols_beyond == 3000 - 301)
            feed = feed_of(collector)
            (state,) = collector._states
            # What was asked for has room always.
            assert len(state.symbols_before - {"SPY"}) == 300
            assert "SPY" in state.symbols_before
            assert "names more than" in feed.last_problem
            assert sum("names more than" in r.message for r in caplog.records) == 1
        rows = rows_in(settings.spool)
        assert len(rows) == events_of(collector)
        assert len({row["symbol"] for _, row in rows}) == len(rows)

    run(scenario)


def table_of(words: Words, symbols: Sequence[str]) -> pa.Table:
    said = {"asset_class": "crypto", "vendor": "made", "feed": "f", "connection": "c"}
    numbers = {name: np.arange(len(symbols)) for name in ("ts_event", "frame", "created_at")}
    prices = np.ones(len(symbols))
    coded = {"symbol": Coded.of(list(symbols), words)}
    return columns_to_table(
        "ref_px", said, {**numbers, "price": prices}, coded, {"kind": list(symbols)}
    )


def test_the_words_of_a_connection_go_with_it() -> None:
    words = Words()
    gone = weakref.ref(words)
    symbols = [f"Z{number}" for number in range(1000)]
    assert table_of(words, symbols).column("symbol").to_pylist() == symbols
    del words
    gc.collect()
    assert gone() is None


def test_a_longer_list_of_words_takes_the_place_of_a_shorter() -> None:
    words = Words("A")
    for symbols in (["A"], ["A", "B"], ["B", "A", "C"]):
        assert table_of(words, symbols).column("symbol").to_pylist() == symbols
