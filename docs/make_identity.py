"""Write `docs/identity.md`, the table of what makes two events of a feed the same one, out of the
vendors' own rules: python -m docs.make_identity"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from edc_pipeline.events import EVENT_TYPES
from edc_pipeline.vendors import VENDORS

PAGE: Final = Path(__file__).parent / "identity.md"

_HEAD: Final = """\
# What makes two events the same

Generated from `FeedSpec.identity` of every vendor by `python -m docs.make_identity`; a test holds
it to that. Check a line against the vendor's own page.

- `id`: the vendor's id tells. A second row with the same id and content is a duplicate; one with
  the same id and other content stays, is counted as a near duplicate, and its row is listed in the
  daily file's dataset `/near_duplicates`.
- `content`: the vendor states how things stand, with its own time. The same content again is the
  same statement, whoever heard it and how often. Without the vendor's time, rows are counted.
- `counted`: no id. Identical content on one connection is that many genuine prints; what another
  connection delivers of them again is a duplicate. The copies kept are the most that any single
  connection delivered, numbered by `occurrence`.

Where a feed has no line for an event type that it gives all the same, `counted` applies.

| vendor | feed | event type | rule | rests on |
|---|---|---|---|---|
"""


def page() -> str:
    lines = [
        f"| {vendor.title} | `{feed.name}` | {event_type} | `{rule.kind}` | {rule.columns} |"
        for vendor in sorted({v.name: v for v in VENDORS.values()}.values(), key=lambda v: v.name)
        for feed in vendor.feeds.values()
        for event_type in EVENT_TYPES
        if (rule := feed.identity.get(event_type)) is not None
    ]
    return _HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
