"""Seconds over rows, both by powers of ten, as SVG: growth that is linear is a straight line that
climbs one power for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import ceil, floor, log10
from pathlib import Path
from typing import Any

WIDTH, HEIGHT, LEFT, FOOT = 720, 300, 60, 24
COLOURS = {"seconds": "#1f6feb", "plain_seconds": "#d1242f"}
NAMES = {"seconds": "ours, verified", "plain_seconds": "plain pandas"}


def plot(curve: Sequence[Mapping[str, Any]], path: Path) -> None:
    lines = {
        what: [
            (log10(told["rows"]), log10(told[what]))
            for told in curve
            # Beyond what fits into memory plain pandas' time is only reckoned.
            if told.get(what) and (what == "seconds" or told.get("plain_cpu_seconds"))
        ]
        for what in COLOURS
    }
    points = [point for line in lines.values() for point in line]
    first_x, last_x = _span(x for x, _ in points)
    first_y, last_y = _span(y for _, y in points)

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - first_x) / (last_x - first_x)
        up = (y - first_y) / (last_y - first_y)
        return LEFT + across * (WIDTH - LEFT - 20), HEIGHT - up * (HEIGHT - 10)

    drawn = []
    for power in range(first_y, last_y + 1):
        _, y = at(first_x, power)
        drawn.append(f'<path d="M{LEFT} {y:.0f}H{WIDTH}" stroke="#ddd"/>')
        drawn.append(f'<text x="2" y="{y + 4:.0f}">{10.0**power:g} s</text>')
    for power in range(first_x, last_x + 1):
        x, _ = at(power, first_y)
        drawn.append(f'<path d="M{x:.0f} 0V{HEIGHT}" stroke="#ddd"/>')
        drawn.append(f'<text x="{x - 20:.0f}" y="{HEIGHT + 16}">{_rows(power)}</text>')
    for what, line in lines.items():
        if not line:
            continue
        colour, places = COLOURS[what], [at(*point) for point in line]
        path_of = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn.append(f'<polyline points="{path_of}" fill="none" stroke="{colour}"/>')
        drawn += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        x, y = places[-1]
        anchor = f'x="{x - 8:.0f}" y="{y - 8:.0f}" text-anchor="end" fill="{colour}"'
        drawn.append(f"<text {anchor}>{NAMES[what]}</text>")
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT + FOOT}"'
        f' font-family="sans-serif" font-size="11">{"".join(drawn)}</svg>\n'
    )


def _span(values: Iterable[float]) -> tuple[int, int]:
    """Whole powers around them."""
    known = list(values)
    first, last = floor(min(known)), ceil(max(known))
    return first, max(last, first + 1)


def _rows(power: int) -> str:
    millions = power - 6
    return f"{10**millions:,}M rows" if millions >= 0 else f"{10**power:,} rows"
