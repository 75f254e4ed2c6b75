"""Small SVG pictures, as text. Pure: numbers in, a picture out.

The Dagster UI (1.13) shows Markdown in its place only below 1,000 characters, and behind a button
from there on. So a picture that is to be seen at a glance has to be drawn in fewer: whole numbers,
relative steps, equal neighbours in one step, and only `<` and `>` escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

COLOURS: Final = ("teal", "orange", "purple", "brown", "navy", "olive")
GAP_COLOUR: Final = "red"


def steps(heights: Sequence[int], width: int, base: int) -> str:
    """An area of steps: each height over `width` units, standing on `base`."""
    path, level, run = [f"M0 {base}"], 0, 0
    for height in (*heights, 0):
        if height != level:
            path.append((f"h{run}" if run else "") + f"v{level - height}")
            level, run = height, 0
        run += width
    return "".join(path) + "z"


def line(heights: Sequence[int | None], width: int, base: int) -> str:
    """A line through the middle of each step; a None breaks it, and lasts where it stands last."""
    path: list[str] = []
    at, level, pen = 0, 0, False
    for place, height in enumerate(heights):
        if height is None:
            pen = False
            continue
        x = place * width + width // 2
        if pen:
            path.append(f"l{x - at} {level - height}")
        else:
            # A lone point is drawn as well: a step of nothing with round ends.
            path.append(f"M{x} {base - height}h0")
        at, level, pen = x, height, True
    return "".join(path)


def shaded(spans: Sequence[tuple[int, int]], height: int) -> str:
    """Upright bars over the spans (first, end), the whole height."""
    return "".join(f"M{first} 0v{height}h{max(1, end - first)}v-{height}z" for first, end in spans)


def element(name: str, inner: str = "", **attributes: object) -> str:
    said = "".join(f" {key.replace('_', '-')}='{value}'" for key, value in attributes.items())
    return f"<{name}{said}>{inner}</{name}>" if inner else f"<{name}{said}/>"


def text(words: str, x: int, y: int, **attributes: object) -> str:
    safe = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("'", "’")
    return element("text", safe, x=x, y=y, **attributes)


def picture(inner: str, width: int, height: int, pixels: int | None = None) -> str:
    """`pixels`: shown so wide, where that is not the width that was drawn on."""
    size: dict[str, object] = {"width": width, "height": height}
    if pixels is not None:
        size = {"viewBox": f"0 0 {width} {height}", "width": pixels}
    return element("svg", inner, xmlns="http://www.w3.org/2000/svg", **size, font_size=10)


def as_markdown(title: str, svg: str) -> str:
    """As Markdown shows it: a picture within the text, in an address of its own."""
    # In angle brackets an address may hold spaces and parentheses, and no angle brackets.
    escaped = svg.replace("%", "%25").replace("#", "%23").replace("<", "%3C").replace(">", "%3E")
    return f"![{title}](<data:image/svg+xml,{escaped}>)"
