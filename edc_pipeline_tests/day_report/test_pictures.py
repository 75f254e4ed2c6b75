"""The pictures: small enough to be seen in their place, whatever the day, and well-formed."""

from __future__ import annotations

import datetime as dt
import re
import xml.etree.ElementTree as ET
from urllib.parse import unquote

import numpy as np
import pytest

from edc_pipeline.consolidation.certificate import Certificate, Duplicates, GapEntry
from edc_pipeline.day_report.figures import LATENCY_EDGES_S, Figures, LastPrices
from edc_pipeline.day_report.pictures import (
    IN_PLACE,
    LARGE,
    SMALL,
    busiest_in_text,
    events_per_minute,
    latency_by_hour,
    prices_of_the_busiest,
)
from edc_pipeline.market_day import midnight_ns

DAY = dt.date(2026, 1, 22)
SECOND = 10**9


def told(gaps: list[tuple[int, int | None]], day: dt.date = DAY) -> Certificate:
    first = midnight_ns(day)
    return Certificate(
        schema_version=1,
        code_version="0",
        event_type="trade",
        day=day.isoformat(),
        codec="zlib",
        rows_in=0,
        rows=0,
        duplicates=Duplicates(),
        near_duplicates=0,
        content_hash="",
        symbols=0,
        first_event=None,
        last_event=None,
        feeds={},
        balanced=True,
        reasons=[],
        events_out=[],
        frames=[],
        gaps=[
            GapEntry(
                name="stocks",
                vendor="tiingo",
                feed="iex",
                symbol="",
                from_ns=first + begins * SECOND,
                to_ns=None if ends is None else first + ends * SECOND,
                size=None,
                state="closed",
                reason="",
            )
            for begins, ends in gaps
        ],
        set_aside=[],
        inputs=[],
    )


def figures(vendors: int, symbols: int, day: dt.date = DAY, *, seed: int = 1) -> Figures:
    """A day on which every minute is another: the hardest to draw in few characters."""
    rng = np.random.default_rng(seed)
    made = Figures("trade", day)
    made.vendors = [f"vendor_{n}" for n in range(vendors)]
    made.symbols = [f"SYMBOL{n}" for n in range(symbols)]
    made.rows_of_symbol = rng.integers(1, 1000, symbols)
    for vendor in made.vendors:
        made.per_minute[vendor] = rng.integers(0, 10_000, made.minutes)
        made.latency[vendor] = rng.integers(0, 9, (25, len(LATENCY_EDGES_S) + 1))
    minutes = np.tile(np.arange(made.minutes), symbols)
    made.prices = LastPrices(
        symbol=np.repeat(np.arange(symbols), made.minutes),
        vendor=np.zeros(len(minutes), np.int64),
        minute=minutes,
        price=rng.uniform(90, 110, len(minutes)),
        spread=rng.uniform(0, 1, len(minutes)),
    )
    return made


def svg_of(markdown: str) -> ET.Element:
    found = re.fullmatch(r"!\[[a-z ]+\]\(<data:image/svg\+xml,(.*)>\)", markdown, re.DOTALL)
    assert found is not None, markdown[:200]
    assert not set("<>\n") & set(found[1])  # Markdown would end the address there
    return ET.fromstring(unquote(found[1]))


DAYS = [dt.date(2026, 1, 22), dt.date(2026, 3, 8), dt.date(2026, 11, 1)]


@pytest.mark.parametrize("day", DAYS)
@pytest.mark.parametrize("vendors", [0, 1, 2, 6])
def test_small_pictures_are_seen_in_their_place(day: dt.date, vendors: int) -> None:
    drawn = figures(vendors, 5, day)
    gaps = told([(n * 3600, n * 3600 + 60) for n in range(0, 23, 2)], day)
    for markdown in (events_per_minute(drawn, gaps, SMALL), latency_by_hour(drawn, SMALL)):
        assert len(markdown) < IN_PLACE
        svg_of(markdown)
    assert len(busiest_in_text(drawn)) < IN_PLACE


@pytest.mark.parametrize("vendors", [0, 1, 6])
def test_large_pictures_are_bounded(vendors: int) -> None:
    drawn = figures(vendors, 200)
    made = [
        events_per_minute(drawn, told([(0, None)]), LARGE),
        latency_by_hour(drawn, LARGE),
        prices_of_the_busiest(drawn, LARGE),
    ]
    for markdown in made:
        svg_of(markdown)
    assert sum(map(len, made)) < 140_000


def test_an_empty_day_is_drawn() -> None:
    empty = Figures("quote", DAY)
    svg_of(events_per_minute(empty, told([]), SMALL))
    svg_of(latency_by_hour(empty, SMALL))
    svg_of(prices_of_the_busiest(empty, LARGE))
    assert busiest_in_text(empty) == "no prices"


def test_gaps_are_shaded_where_they_were() -> None:
    drawn = figures(1, 1)
    svg = svg_of(events_per_minute(drawn, told([(6 * 3600, 12 * 3600)]), LARGE))
    (shade,) = [e for e in svg if e.get("fill") == "red"]
    assert shade.get("d") == "M360 0v200h360v-200z"  # 6:00 to 12:00, a unit a minute


def test_the_area_is_as_high_as_the_busiest_minute() -> None:
    drawn = Figures("trade", DAY)
    drawn.vendors = ["one"]
    counts = np.zeros(1440, np.int64)
    counts[600] = 50
    counts[601] = 1  # seen, however small
    drawn.per_minute["one"] = counts
    svg = svg_of(events_per_minute(drawn, told([]), LARGE))
    assert svg[0].get("d") == "M0 200h600v-200h1v196h1v4z"


def test_hostile_names_stay_text() -> None:
    drawn = figures(1, 5)
    drawn.symbols = ["<script>", "]()>", "'\"", "%3E", "a|b"]
    svg = svg_of(prices_of_the_busiest(drawn, LARGE))
    assert {e.text for e in svg.iter("{http://www.w3.org/2000/svg}text")} >= {"<script>", "]()>"}
    table = busiest_in_text(drawn)
    assert all(line.count("|") == 5 for line in table.splitlines())
    assert "<script>" not in table
