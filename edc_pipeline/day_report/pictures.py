"""Three pictures of a day: events per minute, latency by hour, prices or spreads of the busiest.

Each is drawn twice: small, so that the UI shows it in its place (see `svg`), in the finest of a few
resolutions that fits; and large, a point a minute, for the page of the day.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np

from edc_pipeline.consolidation.certificate import Certificate
from edc_pipeline.day_report.figures import Figures, Floats, latency_quantile
from edc_pipeline.day_report.svg import (
    COLOURS,
    GAP_COLOUR,
    as_markdown,
    element,
    line,
    picture,
    shaded,
    steps,
    text,
)
from edc_pipeline.market_day import NS_PER_SECOND, day_bounds

IN_PLACE: Final = 1000  # characters below which the UI shows Markdown in its place

_MINUTES: Final = (1, 2, 3, 5, 10, 15, 20, 30, 60)  # a step of a picture
_COARSE: Final = 30
_BUSIEST: Final = 5
_BAR_MINUTES: Final = 60
_BARS: Final = "▁▂▃▄▅▆▇█"
_MINUTE_NS: Final = 60 * NS_PER_SECOND

# What a symbol may hold and Markdown would not take for a sign of its own.
_NOT_PLAIN: Final = re.compile(r"[^A-Za-z0-9./-]")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Canvas:
    width: int
    height: int  # of the plot; a line of text stands below it
    budget: int | None  # characters of Markdown; None: as fine as a minute
    marks: tuple[float, ...]  # hours that are named below the plot, 40 characters each
    pixels: int | None = None  # shown so wide, where that is not the width


# The UI's column of values is some 400 pixels wide on a screen of 1,440.
SMALL: Final = Canvas(360, 64, budget=IN_PLACE - 1, marks=(4, 9.5, 16))
# A unit a minute, drawn on so many pixels that the UI's window holds it.
LARGE: Final = Canvas(
    1440, 200, budget=None, marks=(0, 4, 8, 9.5, 12, 14, 16, 18, 20, 22), pixels=1060
)


def events_per_minute(figures: Figures, told: Certificate, canvas: Canvas) -> str:
    """Stacked by vendor, gaps shaded."""
    vendors = sorted(figures.per_minute, key=lambda v: -int(figures.per_minute[v].sum()))
    gaps = _gap_minutes(figures, told)
    peak = max((int(n) for n in sum(figures.per_minute.values(), np.zeros(1, np.int64))), default=0)

    def draw(asked: tuple[int, int]) -> str:
        minutes, layers = asked
        width = _bucket_width(figures, canvas, minutes)
        shown, rest = vendors[:layers], vendors[layers:]
        each = [figures.per_minute[v] for v in shown]
        if rest:
            shown = [*shown, f"{len(rest)} others" if shown else "all vendors"]
            each.append(sum((figures.per_minute[v] for v in rest), np.zeros(1, np.int64)))
        summed = [_summed(counts.astype(float), minutes) for counts in each]
        stacked = np.cumsum(summed[::-1], axis=0)[::-1] if summed else np.zeros((0, 1))
        top = max(float(stacked.max(initial=0.0)), 1.0)
        parts = [
            element("path", d=steps(_scaled(layer, top, canvas), width, canvas.height), fill=colour)
            for layer, colour in zip(stacked, _colours(len(shown)), strict=True)
        ]
        if gaps:
            spans = _merged([(a // minutes * width, -(-b // minutes) * width) for a, b in gaps])
            d = shaded(spans, canvas.height)
            parts.append(element("path", d=d, fill=GAP_COLOUR, opacity=".4"))
        below = [
            f"{peak:,}/min at most",
            *([f"{len(gaps)} gap{'s' * (len(gaps) > 1)}"] if gaps else []),
        ]
        return _framed(parts, [*_named(shown), *((w, "") for w in below)], canvas, figures)

    # All vendors coarsely rather than some finely, but at least as fine as half an hour.
    fitting = _minutes_that_fit(figures, canvas)
    choices = [(m, len(vendors)) for m in fitting if m <= _COARSE]
    choices += [(_COARSE, n) for n in range(len(vendors) - 1, -1, -1)]
    return _fitting(draw, "events per minute", canvas, [*choices, (_MINUTES[-1], 0)])


def latency_by_hour(figures: Figures, canvas: Canvas) -> str:
    """Vendor → receive: half of the events were quicker (line), 99 of 100 (thin line)."""
    hours = -(-figures.minutes // 60)
    vendors = [v for v in sorted(figures.latency) if figures.latency[v].any()]
    halves, worst = (
        {v: [latency_quantile(figures.latency[v][h], q) for h in range(hours)] for v in vendors}
        for q in (0.5, 0.99)
    )
    spoken = [x for by in (halves, worst) for v in vendors for x in by[v] if x is not None]
    low, high = _log_span(spoken)

    def height(seconds: float | None) -> int | None:
        if seconds is None:
            return None
        share = (np.log10(max(seconds, 1e-4)) - low) / (high - low)
        return round(float(np.clip(share, 0, 1)) * (canvas.height - 4)) + 2

    def draw(vendors_shown: int) -> str:
        width = canvas.width // hours
        names = vendors[:vendors_shown]
        paths = [
            (line([height(x) for x in by[vendor]], width, canvas.height), colour, thick)
            for vendor, colour in zip(names, _colours(len(names)), strict=True)
            for by, thick in ((halves, 3), (worst, 1))
        ]
        words = [*_named(names), (f"{_ms(10.0**low)} to {_ms(10.0**high)}", "")]
        if vendors_shown < len(vendors):
            words.append((f"and {len(vendors) - vendors_shown} more", ""))
        return _framed([_strokes(paths)], words, canvas, figures)

    return _fitting(draw, "latency", canvas, range(len(vendors), -1, -1))


def prices_of_the_busiest(figures: Figures, canvas: Canvas) -> str:
    """Each of the five symbols with the most rows: its price against the day's first, or for
    quotes its spread in basis points of the mid."""
    prices = figures.prices
    shown = figures.busiest(_BUSIEST) if prices is not None else []
    series: list[tuple[str, Floats]] = []
    for number in shown:
        values = _by_minute(figures, number)
        if not np.isnan(values).all():
            series.append((figures.symbols[number], values))
    unit = "bp spread" if figures.event_type == "quote" else "%"

    def draw(minutes: int) -> str:
        width = _bucket_width(figures, canvas, minutes)
        coarse = [_last_of(values, minutes) for _, values in series]
        spoken = np.concatenate(coarse) if coarse else np.zeros(0)
        spoken = spoken[~np.isnan(spoken)]
        low, high = (float(spoken.min()), float(spoken.max())) if len(spoken) else (0.0, 0.0)
        span = max(high - low, 1e-9)
        paths = []
        for values, colour in zip(coarse, _colours(len(coarse)), strict=True):
            heights = [
                None if np.isnan(v) else round((v - low) / span * (canvas.height - 4)) + 2
                for v in values
            ]
            paths.append((line(heights, width, canvas.height), colour, 1))
        names = [name for name, _ in series]
        words = [*_named(names), (f"{low:.2f} to {high:.2f} {unit}", "")]
        return _framed([_strokes(paths)], words, canvas, figures)

    return _fitting(draw, "the busiest", canvas, _minutes_that_fit(figures, canvas))


def busiest_in_text(figures: Figures) -> str:
    """The same as a table of text, in its place: five lines and their names in SVG take more
    characters than the UI shows."""
    quote = figures.event_type == "quote"
    rows = []
    for number in figures.busiest(_BUSIEST) if figures.prices is not None else []:
        values = _by_minute(figures, number)
        spoken = values[~np.isnan(values)]
        if not len(spoken):
            continue
        bars = _bars(_last_of(values, _BAR_MINUTES))
        said = f"{spoken[-1]:.2f} bp" if quote else f"{spoken[-1]:+.2f} %"
        span = f"{spoken.min():.2f} … {spoken.max():.2f}"
        name = _NOT_PLAIN.sub("?", figures.symbols[number])[:16]
        rows.append(f"|{name}|{said}|`{bars}`|{span}|")
    if not rows:
        return "no prices"
    what = "spread, bp of the mid" if quote else "price, % of the day's first"
    return "\n".join([f"|symbol|last|{what} (a bar an hour)|range|", "|-|-|-|-|", *rows])


# How a picture is fitted


def _fitting(draw: Callable[[T], str], title: str, canvas: Canvas, choices: Sequence[T]) -> str:
    """The first choice that fits the budget, as Markdown; the last where none does."""
    made = ""
    for choice in choices:
        made = as_markdown(title, draw(choice))
        if canvas.budget is None or len(made) <= canvas.budget:
            return made
    return made


def _framed(
    parts: Sequence[str], words: Sequence[tuple[str, str]], canvas: Canvas, figures: Figures
) -> str:
    """The plot, the hours below it, and below those what its colours mean."""
    marks = [
        text(_clock(hour), int(hour * 60 * canvas.width / figures.minutes), canvas.height + 10)
        for hour in canvas.marks
    ]
    said, at = [], 0
    for word, colour in words:
        said.append(text(word, at, canvas.height + 22, **({"fill": colour} if colour else {})))
        at += 7 * len(word) + 10
    inner = "".join([*parts, *marks, *said])
    return picture(inner, canvas.width, canvas.height + 26, canvas.pixels)


def _clock(hour: float) -> str:
    """By the clock; on the two days of another length, hours since midnight."""
    return f"{int(hour)}:{round(hour % 1 * 60):02d}"


def _strokes(paths: Sequence[tuple[str, str, int]]) -> str:
    drawn = [
        element("path", d=d, stroke=c, stroke_width=thick)
        if thick > 1
        else element("path", d=d, stroke=c)
        for d, c, thick in paths
        if d
    ]
    return element("g", "".join(drawn), fill="none", stroke_linecap="round") if drawn else ""


def _named(names: Sequence[str]) -> list[tuple[str, str]]:
    return [(name, colour) for name, colour in zip(names, _colours(len(names)), strict=True)]


def _colours(number: int) -> list[str]:
    return [COLOURS[n % len(COLOURS)] for n in range(number)]


def _bucket_width(figures: Figures, canvas: Canvas, minutes: int) -> int:
    return max(1, canvas.width * minutes // figures.minutes)


def _minutes_that_fit(figures: Figures, canvas: Canvas) -> list[int]:
    """Steps are whole units wide, so a picture of fewer units than minutes takes several a step."""
    return [m for m in _MINUTES if canvas.width * m >= figures.minutes] or [_MINUTES[-1]]


# What is drawn


def _summed(values: Floats, minutes: int) -> Floats:
    short = -len(values) % minutes
    summed: Floats = np.pad(values, (0, short)).reshape(-1, minutes).sum(axis=1)
    return summed / minutes


def _last_of(values: Floats, minutes: int) -> list[float]:
    short = -len(values) % minutes
    table = np.pad(values, (0, short), constant_values=np.nan).reshape(-1, minutes)
    return [
        float(spoken[-1]) if len(spoken := row[~np.isnan(row)]) else float("nan") for row in table
    ]


def _bars(values: Sequence[float]) -> str:
    """A bar each, as high as its value lies between the lowest and the highest."""
    spoken = [v for v in values if not np.isnan(v)]
    low, span = min(spoken), max(max(spoken) - min(spoken), 1e-9)
    return "".join(
        "·" if np.isnan(v) else _BARS[min(int((v - low) / span * len(_BARS)), len(_BARS) - 1)]
        for v in values
    )


def _scaled(layer: Floats, top: float, canvas: Canvas) -> list[int]:
    """A minute with anything in it is seen, however small it is beside the busiest."""
    return [max(1, round(v / top * canvas.height)) if v > 0 else 0 for v in layer.tolist()]


def _gap_minutes(figures: Figures, told: Certificate) -> list[tuple[int, int]]:
    """(first minute, end) of each gap, as far as it lies in the day."""
    first, end = day_bounds(figures.day)
    spans = []
    for gap in told.gaps:
        begins = max(gap.from_ns, first)
        ends = min(end if gap.to_ns is None else gap.to_ns, end)
        if gap.state != "filled" and begins < ends:
            a, b = (begins - first) // _MINUTE_NS, -(-(ends - first) // _MINUTE_NS)
            spans.append((int(a), int(max(b, a + 1))))
    return spans


def _merged(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for begins, ends in sorted(spans):
        if merged and begins <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], ends))
        else:
            merged.append((begins, ends))
    return merged


def _by_minute(figures: Figures, symbol: int) -> Floats:
    """Its price in per cent of the day's first, or its spread in basis points; NaN: silent."""
    values = np.full(figures.minutes, np.nan)
    prices = figures.prices
    if prices is None:
        return values
    mine = prices.symbol == symbol
    price, minute = prices.price[mine], prices.minute[mine]
    if figures.event_type == "quote":
        values[minute] = 10_000 * prices.spread[mine] / price
    elif len(price):
        values[minute] = 100 * (price / price[np.argmin(minute)] - 1)
    return values


def _log_span(seconds: Sequence[float]) -> tuple[int, int]:
    """Decades, at least one, around what was measured."""
    positive = [max(s, 1e-4) for s in seconds]
    if not positive:
        return -3, 0
    low = int(np.floor(np.log10(min(positive)) + 1e-9))
    return low, max(low + 1, int(np.ceil(np.log10(max(positive)) - 1e-9)))


def _ms(seconds: float) -> str:
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1e3:g} ms"
