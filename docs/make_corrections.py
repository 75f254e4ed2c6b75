"""Write `docs/corrections.md`, the table of the words that take trades back or correct them:
python -m docs.make_corrections"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from edc_pipeline.consolidation.correction_words import NONE, NOT_APPLIED, WORDS
from edc_pipeline.vendors import VENDORS

PAGE: Final = Path(__file__).parent / "corrections.md"

_HEAD: Final = """\
# Corrections of trades, vendor by vendor

Generated from `consolidation/correction_words.py` by `python -m docs.make_corrections`; a test
holds it to that, and to the vendors there are. Check a line against the vendor's own page.

A daily file keeps corrections as events and applies none.
`edc_pipeline.read("trade", day, corrected=True)` applies them: a correction with an id names all
rows of that id (of the same vendor, feed, symbol and venue), and of several the last one holds; one
without names the last print before it with the same price and size. Each day is corrected by
itself: ids may begin anew with every day, so that a break names no print of another day's.

This view knows how the day ended. What could be known at an instant is the day as it is kept, up to
that instant by `created_at`: Massive marks the original print (1, 7, 8) afterwards.

Evidence: documented [doc], recorded [rec], read from a client's source [code], reported by users
[issue], not confirmed [unsure].

| vendor | word in `conditions` | means | in the corrected view | evidence |
|---|---|---|---|---|
"""


def page() -> str:
    lines = []
    for vendor in sorted({v.name: v for v in VENDORS.values()}.values(), key=lambda v: v.name):
        for name, word in WORDS.get(vendor.name, {}).items():
            lines.append(
                f"| {vendor.title} | `{name}` | {word.means} | {word.effect.value} |"
                f" {word.evidence} |"
            )
        if vendor.name in NONE:
            lines.append(f"| {vendor.title} | none | | | {NONE[vendor.name]} |")
        if vendor.name in NOT_APPLIED:
            lines.append(
                f"| {vendor.title} | others | | not applied | {NOT_APPLIED[vendor.name]} |"
            )
    return _HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
