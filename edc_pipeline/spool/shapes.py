"""What each feed's messages looked like so far: a small file, so that a restart does not forget.

Not durable and not a record: after a power cut it may be gone, and is learned again. An fsync at
each flush would compete with the journal's for the disk.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from edc_pipeline.durable_file import write_whole
from edc_pipeline.spool.layout import SHAPES


def write_shapes(spool: Path, shapes: bytes) -> None:
    write_whole(spool / SHAPES, shapes)


def read_shapes(spool: Path) -> dict[str, Any]:
    """By feed; nothing where there is none or it can't be read."""
    try:
        shapes: dict[str, Any] = msgspec.json.decode((spool / SHAPES).read_bytes(), type=dict)
    except (OSError, msgspec.MsgspecError):
        return {}
    return shapes
